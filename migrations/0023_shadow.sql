-- What tags in shadow mode would have shown, beside the tags of somebody else. A row for each request, by
-- the UTC day of its decision, and a row for each that a browser told of.

create table shadow_decision (
    day          int     not null,
    account      int     not null,
    decision     uuid    not null,
    line_item    text    not null collate "C",  -- as the ad server names it; empty: it did not
    person       uuid,                          -- only where the purposes allow
    personalised boolean not null,
    rules        text[]  not null,              -- what made it another creative than without the profile
    primary key (account, decision, day)
) partition by range (day);
create index shadow_decision_person on shadow_decision (account, person) where person is not null;
create table shadow_decision_default partition of shadow_decision default;

create table shadow_seen (
    day      int  not null,
    account  int  not null,
    decision uuid not null,
    ms       int  not null,                     -- from asking to running, by the browser's clock
    primary key (account, decision, day)
) partition by range (day);
create table shadow_seen_default partition of shadow_seen default;

-- Makes the partitions of the coming days and drops those past the retention.
create function keep_shadow(now bigint, days int) returns void language plpgsql as $$
declare
    today int := least(now, now_ms()) / 86400000;
begin
    perform set_config('lock_timeout', '100ms', true);
    if not pg_try_advisory_xact_lock(7358805) then
        return;
    end if;
    for n in today - 1 .. today + 2 loop
        perform make_partition('shadow_decision', 'day', n, false);
        perform make_partition('shadow_seen', 'day', n, false);
    end loop;
    perform drop_partitions('shadow_decision', 'day', today - days, false);
    perform drop_partitions('shadow_seen', 'day', today - days, false);
end $$;
