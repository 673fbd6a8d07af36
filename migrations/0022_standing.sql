-- What was told of people whom time alone may move into or out of segments, and when to look at them
-- again. Decisions never read this.
create table standing (
    account int    not null,
    uid     uuid   not null,
    version bigint not null,
    packed  bytea  not null,                  -- the segments they were told to be in, and those that wait to be told
    due     bigint not null,                  -- time alone changes nothing before
    primary key (account, uid)
) with (fillfactor = 80);
create index standing_due on standing (due);

-- Up to when leaving a list because the time on it was over has been told.
create table list_expiry (
    upto bigint not null
);
insert into list_expiry values (now_ms());
