-- What is learned and counted of creatives within campaigns.

-- Outcomes that were committed and not yet learned from. Whoever learns from some deletes them in
-- the transaction that keeps what was learned, so that each is learned from exactly once.
create table lesson (
    id           bigint generated always as identity,
    account      int      not null,
    campaign     text     not null,
    creative     text     not null,
    decision     uuid     not null,
    kind         smallint not null,
    goal         text,
    value_micros bigint,
    revision     bigint   not null,
    combination  bigint   not null,
    person       uuid,
    -- why it does not count, if it does not
    invalid      smallint,
    exposure     bytea    not null,
    primary key (account, campaign, creative, id)
);

-- One row for a creative within a campaign: the numbers of its components and of the features of
-- people (shape), the additive statistics, and what watches for changes.
create table learned (
    account    int    not null,
    campaign   text   not null,
    creative   text   not null,
    version    bigint not null,
    shape      json   not null,
    statistics bytea  not null,
    epoch      bigint not null,
    watch      json   not null,
    updated_at bigint not null default now_ms(),
    primary key (account, campaign, creative)
);

-- Counted outcomes by the UTC day of their decision (days since 1970-01-01) and the side of the
-- experiment: per combination, by the numbers of its components, ...
create table combination_cell (
    account      int      not null,
    campaign     text     not null,
    creative     text     not null,
    day          int      not null,
    arm          smallint not null,
    revision     bigint   not null,
    combination  bigint   not null,
    choice       bytea    not null,
    impressions  bigint   not null default 0,
    viewables    bigint   not null default 0,
    clicks       bigint   not null default 0,
    conversions  bigint   not null default 0,
    value_micros bigint   not null default 0,
    -- what was left out of these as invalid
    programs     bigint   not null default 0,
    too_fast     bigint   not null default 0,
    replays      bigint   not null default 0,
    primary key (account, campaign, day, creative, arm, revision, combination)
);

-- ... and per feature and component. Slot -1: whatever was shown.
create table feature_cell (
    account      int      not null,
    campaign     text     not null,
    creative     text     not null,
    day          int      not null,
    arm          smallint not null,
    feature      int      not null,
    slot         smallint not null,
    component    int      not null,
    impressions  bigint   not null default 0,
    viewables    bigint   not null default 0,
    clicks       bigint   not null default 0,
    conversions  bigint   not null default 0,
    value_micros bigint   not null default 0,
    -- what was left out of these as invalid
    programs     bigint   not null default 0,
    too_fast     bigint   not null default 0,
    replays      bigint   not null default 0,
    primary key (account, campaign, day, creative, arm, feature, slot, component)
);

-- People in the experiment of a campaign with a holdout: on which side each is for good, and what
-- they did.
create table experiment_unit (
    account      int      not null,
    campaign     text     not null,
    person       uuid     not null,
    arm          smallint not null,
    first_at     bigint   not null,
    impressions  bigint   not null default 0,
    clicks       bigint   not null default 0,
    conversions  bigint   not null default 0,
    value_micros bigint   not null default 0,
    primary key (account, campaign, person)
);
create index experiment_unit_person on experiment_unit (account, person);
