-- Who entered and who left which segment, for those who follow it. Decisions never read this.

create sequence transition_seq;
create table transition (
    day     int     not null,
    xid     xid8    not null default pg_current_xact_id(),
    seq     bigint  not null default nextval('transition_seq'),
    account int     not null,
    segment text    not null collate "C",
    uid     uuid    not null,
    entered boolean not null,
    at      bigint  not null
) partition by range (day);
-- Read in the order of transactions and never past one that is still open, so that no reader misses
-- what commits late.
create index transition_feed on transition (account, segment, xid, seq);
create table transition_default partition of transition default;

-- Makes the partitions of the coming days and drops those past the retention.
create function keep_transitions(now bigint, days int) returns void language plpgsql as $$
declare
    today int := least(now, now_ms()) / 86400000;
begin
    perform set_config('lock_timeout', '100ms', true);
    if not pg_try_advisory_xact_lock(7358801) then
        return;
    end if;
    for n in today - 1 .. today + 2 loop
        perform make_partition('transition', 'day', n, false);
    end loop;
    perform drop_partitions('transition', 'day', today - days, false);
end $$;
