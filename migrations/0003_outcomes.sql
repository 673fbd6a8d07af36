-- Outcomes and decision records, partitioned by the UTC day of their decision (days since
-- 1970-01-01), which its id carries: a repeat, however late, meets the row it repeats.

create table outcome (
    day           int      not null,
    account       int      not null,
    decision      uuid     not null,
    kind          smallint not null,
    discriminator uuid     not null,
    at            bigint   not null,
    campaign      text,
    creative      text     not null,
    revision      bigint   not null,
    combination   bigint   not null,
    person        uuid,
    cap_window    bigint,
    value_micros  bigint,
    primary key (account, decision, kind, discriminator, day)
) partition by range (day);
create index outcome_person on outcome (account, person) where person is not null;
create table outcome_default partition of outcome default;

create table decision_record (
    day             int     not null,
    account         int     not null,
    decision        uuid    not null,
    at              bigint  not null,
    person          uuid,
    catalog_version bigint  not null,
    body            json    not null,
    erased          boolean not null default false,
    primary key (account, decision, day)
) partition by range (day);
create index decision_record_person on decision_record (account, person) where person is not null;
create table decision_record_default partition of decision_record default;
