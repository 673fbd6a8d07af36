-- For which goal something was learned (null: not known, taken for the campaign's own), and from
-- decisions of when on.
alter table learned
    add column goal  json,
    add column since bigint not null default 0;
