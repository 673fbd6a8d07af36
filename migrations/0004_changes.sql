-- The change feed: a row for each change, written by the transaction that makes it, and read with an
-- overlapping cursor over transaction ids, so that the order of commits does not matter.

create table change_log (
    hour    int    not null default now_ms() / 3600000,
    xid     xid8   not null default pg_current_xact_id(),
    at      bigint not null default now_ms(),
    kind    text   not null check (kind in ('person', 'erased', 'lists', 'catalog', 'keys')),
    account int,
    uid     uuid,
    version bigint
) partition by range (hour);
create index change_log_xid on change_log (xid);
create table change_log_default partition of change_log default;

-- The newest transaction whose row was dropped. A reader that stands before it has missed something.
create table change_log_floor (xid xid8 not null);
insert into change_log_floor values ('0');

-- The partition of `parent` for the value `n` of its key. Fixed width, so that names sort as days do.
create function partition_name(parent text, n int, hourly boolean) returns text language sql immutable as $$
    select parent || to_char(to_timestamp(n::bigint * case when hourly then 3600 else 86400 end) at time zone 'UTC',
                             case when hourly then '_YYYYMMDDHH24' else '_YYYYMMDD' end)
$$;

-- Makes one partition unless it is there, and moves what waited for it in the default partition.
-- Attaching, unlike creating in place, does not lock the parent against readers and writers.
create function make_partition(parent text, key text, n int, hourly boolean) returns void language plpgsql as $$
declare
    name text := partition_name(parent, n, hourly);
begin
    if to_regclass(name) is null then
        execute format('lock table %I in access exclusive mode', parent || '_default');
        execute format('create table %I (like %I including defaults including constraints including storage)', name, parent);
        execute format('with waited as (delete from %I where %I = %s returning *) insert into %I select * from waited',
                       parent || '_default', key, n, name);
        execute format('alter table %I attach partition %I for values from (%s) to (%s)', parent, name, n, n + 1);
    end if;
exception when lock_not_available then
    null; -- a long transaction is in the way: the default partition serves until the next time
end $$;

-- Drops the partitions of `parent` before the value `first` of its key.
create function drop_partitions(parent text, key text, first int, hourly boolean) returns void language plpgsql as $$
declare
    child text;
begin
    for child in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = parent::regclass
          and c.relname like parent || '\_2%' and c.relname < partition_name(parent, first, hourly)
    loop
        begin
            execute format('lock table only %I in access exclusive mode', parent);
            execute format('lock table %I in access exclusive mode', child);
            if parent = 'change_log' then
                execute format('update change_log_floor f set xid = d.xid
                    from (select xid from %I order by xid desc limit 1) d where d.xid > f.xid', child);
            end if;
            execute format('drop table %I', child);
        exception when lock_not_available then
            null; -- a long transaction is in the way: the next time will do
        end;
    end loop;
    if parent = 'change_log' then
        with gone as (delete from change_log_default where hour < first returning xid)
        update change_log_floor f set xid = d.xid
        from (select xid from gone order by xid desc limit 1) d where d.xid > f.xid;
    else
        execute format('delete from %I where %I < %s', parent || '_default', key, first);
    end if;
end $$;

-- Makes the partitions of the coming days and hours; by one server process at a time. `now` is the
-- caller's clock, which may be simulated; the feed follows the database's clock alone.
create function make_partitions(now bigint) returns void language plpgsql as $$
declare
    today     int := now / 86400000;
    this_hour int := now_ms() / 3600000;
begin
    perform set_config('lock_timeout', '100ms', true);
    if not pg_try_advisory_xact_lock(7358801) then
        return;
    end if;
    for n in today - 1 .. today + 2 loop
        perform make_partition('outcome', 'day', n, false);
        perform make_partition('decision_record', 'day', n, false);
    end loop;
    for n in this_hour .. this_hour + 2 loop
        perform make_partition('change_log', 'hour', n, true);
    end loop;
end $$;

-- Drops what is past its retention. What a clock that runs ahead takes for old must be old by the
-- database's clock as well.
create function drop_expired(now bigint, outcome_days int, record_days int) returns void language plpgsql as $$
declare
    today int := least(now, now_ms()) / 86400000;
begin
    perform set_config('lock_timeout', '100ms', true);
    if not pg_try_advisory_xact_lock(7358801) then
        return;
    end if;
    -- Expired memberships do not count at any read; their rows go when nobody asks about them any more.
    delete from list_member where ctid = any (array(
        select ctid from list_member where expires_at < (today - 1) * 86400000::bigint limit 10000));
    perform drop_partitions('outcome', 'day', today - outcome_days, false);
    perform drop_partitions('decision_record', 'day', today - record_days, false);
    -- At least an hour of the feed is kept: a reader that slept longer must start anew.
    perform drop_partitions('change_log', 'hour', (now_ms() / 3600000)::int - 1, true);
end $$;
