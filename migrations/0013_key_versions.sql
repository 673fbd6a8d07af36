-- A version of a key is never used twice, not even by another key of the same id. A secret that was
-- replaced opens as well until its time is over.
create sequence api_key_version;
alter table api_key
    add column version   bigint not null default nextval('api_key_version'),
    add column old_hash  bytea unique check (length(old_hash) = 32),
    add column old_until bigint;
