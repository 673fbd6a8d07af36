-- What was rendered late, by the hour of the decision and with the person it was chosen for: it goes with them,
-- and when its frame opens no more. What the old table holds is younger than that or not to be kept.
drop function keep_late(bigint, int);
drop table late_shown;
create table late_shown (
    hour     int  not null,
    account  int  not null,
    decision uuid not null,
    person   uuid,
    markup   text not null,
    primary key (account, decision, hour)
) partition by range (hour);
create index late_shown_person on late_shown (account, person) where person is not null;
create table late_shown_default partition of late_shown default;

create function keep_late(now bigint) returns void language plpgsql as $$
declare
    this_hour int := least(now, now_ms()) / 3600000;
begin
    perform set_config('lock_timeout', '100ms', true);
    if not pg_try_advisory_xact_lock(7358806) then
        return;
    end if;
    for n in this_hour - 1 .. this_hour + 2 loop
        perform make_partition('late_shown', 'hour', n, true);
    end loop;
    perform drop_partitions('late_shown', 'hour', this_hour - 1, true);
end $$;
