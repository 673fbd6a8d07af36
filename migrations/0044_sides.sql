-- Whether somebody was met on both sides of an experiment, as when two keys turn out to be one person.
alter table experiment_unit add column crossed boolean not null default false;

-- Impressions of an experiment by side, with those that are on neither. Of which experiment those of before
-- were is not known.
create table experiment_shown (
    account     int      not null,
    campaign    text     not null,
    experiment  bigint   not null,
    arm         smallint not null,
    impressions bigint   not null,
    primary key (account, campaign, experiment, arm)
);

-- Since when a conversion waits for its click, by the clock that its time was told by; null: as since says.
alter table unattributed add column came bigint;
