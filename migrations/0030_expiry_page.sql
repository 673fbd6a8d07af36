-- Who leaves a list because their time on it is over is told some people at a time, in the order of
-- this index: here stands the last one told. Where a look came to its end, it is the last there can be.
alter table list_expiry
    add column account int    not null default 2147483647,
    add column list    bigint not null default 9223372036854775807,
    add column uid     uuid   not null default 'ffffffff-ffff-ffff-ffff-ffffffffffff';
drop index list_member_expiry;
create index list_member_expiry on list_member (expires_at, account, list, uid) where expires_at is not null;
