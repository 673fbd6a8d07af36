-- A row for each decision that was chosen by what was learned, so that other rotations can be
-- evaluated: what was shown, by which state of knowledge, to whom with which features, what else
-- could have been shown, and how likely the choice was. By the UTC day of the decision.

create table decision_log (
    day        int    not null,
    account    int    not null,
    decision   uuid   not null,
    campaign   text   not null,
    creative   text   not null,
    person     uuid,
    version    bigint not null,
    choice     bytea  not null,
    features   bytea  not null,
    eligible   bytea  not null,
    propensity real   not null
) partition by range (day);
create index decision_log_campaign on decision_log (account, campaign);
create index decision_log_person on decision_log (account, person) where person is not null;
create table decision_log_default partition of decision_log default;

-- Makes the partitions of the coming days and drops those past the retention.
create function keep_decision_log(now bigint, days int) returns void language plpgsql as $$
declare
    today int := least(now, now_ms()) / 86400000;
begin
    perform set_config('lock_timeout', '100ms', true);
    if not pg_try_advisory_xact_lock(7358803) then
        return;
    end if;
    for n in today - 1 .. today + 2 loop
        perform make_partition('decision_log', 'day', n, false);
    end loop;
    perform drop_partitions('decision_log', 'day', today - days, false);
end $$;
