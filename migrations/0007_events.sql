-- Events: what people did. The row of an event is written by the transaction that folds it into the
-- profile of its person; the key of its id, written there too, is what keeps a repeat from counting.

-- Ids of the last weeks: the first 128 bits of SHA-256 over account and id.
create table event_key (
    account int    not null,
    id      uuid   not null,
    at      bigint not null,                  -- when it was received
    primary key (account, id)
);
create index event_key_age on event_key using brin (at);

-- Partitioned by the UTC day on which it happened. No index: events are read by the partition, to
-- give a new stream its history and to erase people, and an index costs a third of the ingest.
create table event (
    at           bigint  not null,
    received_at  bigint  not null,
    -- What it was folded with: every stream that the account had at this epoch.
    folded_epoch bigint  not null,
    day          int     not null,
    account      int     not null,
    uid          uuid    not null,
    id           uuid    not null,
    late         boolean not null,            -- too old to be folded when it came
    type         text    not null,
    properties   json    not null
) partition by range (day);
create table event_default partition of event default;

-- What profiles remember of events. An account's epoch grows when streams are added; events that
-- were folded at an earlier one are folded into the new streams afterwards.
create table stream_epoch (
    account int    not null references account,
    epoch   bigint not null,
    state   text   not null default 'backfilling' check (state in ('backfilling', 'live')),
    day     int,                              -- the partition being read
    block   bigint not null default 0,        -- the first of its blocks not yet read
    events  bigint not null default 0,        -- folded so far
    began_at bigint not null default now_ms(),
    live_at  bigint,
    primary key (account, epoch)
);

create table stream (
    account    int    not null,
    id         bigint not null,
    epoch      bigint not null,
    definition json   not null,
    primary key (account, id),
    foreign key (account, epoch) references stream_epoch
);

-- Erased people whose events are yet to be deleted.
create table event_erasure (
    account int    not null,
    uid     uuid   not null,
    at      bigint not null default now_ms(),
    primary key (account, uid)
);

-- Makes the partitions of events and drops what is past its retention. Every day whose events are
-- still folded has a partition of its own. Rows that wait in the default partition are not moved
-- while a stream reads its history: it would meet them twice or never.
create function maintain_events(now bigint, event_days int, key_days int) returns void language plpgsql as $$
declare
    today   int := now / 86400000;
    oldest  int := least(now, now_ms()) / 86400000;
    reading boolean;
begin
    perform set_config('lock_timeout', '100ms', true);
    if not (pg_try_advisory_xact_lock(7358801) and pg_try_advisory_xact_lock(7358803)) then
        return;
    end if;
    reading := exists (select 1 from stream_epoch where state = 'backfilling');
    for n in today - 31 .. today + 2 loop
        if to_regclass(partition_name('event', n, false)) is null
           and not (reading and exists (select 1 from event_default where day = n)) then
            perform make_partition('event', 'day', n, false);
        end if;
    end loop;
    perform drop_partitions('event', 'day', oldest - event_days, false);
    delete from event_key where ctid = any (array(
        select ctid from event_key where at < (oldest - key_days) * 86400000::bigint limit 500000));
end $$;
