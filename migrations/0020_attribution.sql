-- Which conversions are a campaign's own.

alter table outcome
    -- why it does not count, if it does not
    add column invalid  smallint,
    -- what a conversion is to its campaign
    add column credit   smallint,
    -- what was shown, where a conversion may be joined to it by its person
    add column exposure bytea;

alter table lesson add column by_view boolean not null default false;
alter table combination_cell
    add column view_conversions bigint not null default 0,
    -- the sum of the squares of values, in units of the sender's currency
    add column value_squares double precision not null default 0;
alter table feature_cell
    add column view_conversions bigint not null default 0,
    add column value_squares double precision not null default 0;

-- Conversions that are not their campaign's: too late, of another kind, or without a click or view. Of
-- the last it is looked again whether one was counted meanwhile, ever more seldom, for two days.
create table unattributed (
    account       int      not null,
    campaign      text     not null,
    day           int      not null,
    decision      uuid     not null,
    discriminator uuid     not null,
    at            bigint   not null,
    credit        smallint not null,
    terms         json     not null,
    creative      text     not null,
    revision      bigint   not null,
    combination   bigint   not null,
    person        uuid,
    goal          text,
    value_micros  bigint,
    exposure      bytea,
    since         bigint   not null default now_ms(),
    look_at       bigint,
    primary key (account, campaign, day, decision, discriminator)
);
create index unattributed_look on unattributed (look_at) where look_at is not null;
create index unattributed_person on unattributed (account, person) where person is not null;

-- Beacons that came again, by the UTC day of their decision.
create table repeated (
    account  int    not null,
    campaign text   not null,
    day      int    not null,
    beacons  bigint not null,
    primary key (account, campaign, day)
);

create index learned_updated on learned (updated_at);

-- How likely every choice was, where there are too many combinations to weigh them one by one.
alter table decision_log add column mixture bytea;
