-- What was rendered late, for replicas that did not render it: whoever loads a frame again sees the same. By
-- the UTC day of the decision. A frame opens for an hour.
create table late_shown (
    day      int  not null,
    account  int  not null,
    decision uuid not null,
    markup   text not null,
    primary key (account, decision, day)
) partition by range (day);
create table late_shown_default partition of late_shown default;

create function keep_late(now bigint, days int) returns void language plpgsql as $$
declare
    today int := least(now, now_ms()) / 86400000;
begin
    perform set_config('lock_timeout', '100ms', true);
    if not pg_try_advisory_xact_lock(7358806) then
        return;
    end if;
    for n in today - 1 .. today + 2 loop
        perform make_partition('late_shown', 'day', n, false);
    end loop;
    perform drop_partitions('late_shown', 'day', today - days, false);
end $$;
