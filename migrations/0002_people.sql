-- People. A person is a fixed key derived from the account's secret and the account's own name of
-- them; the readable name is in their own row only.

create table profile (
    account    int    not null,
    uid        uuid   not null,
    key        text,                          -- null: known from impressions alone, or erased
    version    bigint not null default 0,     -- counts every change to traits, lists or caps
    packed     bytea  not null default '',    -- the traits as the engine reads them
    caps       bytea  not null default '',    -- impressions per campaign as the engine reads them
    traits     json   not null default '{}',  -- the traits as people read them
    created_at bigint not null default now_ms(),
    updated_at bigint not null default now_ms(),
    -- An erased person's row stays, emptied: its primary key is what keeps every later or
    -- concurrent writer from bringing them back.
    erased_at  bigint,
    primary key (account, uid)
) partition by hash (uid);

-- Room on each page for the next version of a row, no compression of bytes that are read most, and
-- no detour through the TOAST table before a row fills a page.
do $$
begin
    for n in 0..15 loop
        execute format('create table profile_%s partition of profile
            for values with (modulus 16, remainder %s)
            with (fillfactor = 80, toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.02)', n, n);
        execute format('alter table profile_%s alter column packed set storage external,
            alter column caps set storage external', n);
    end loop;
end $$;

-- The names behind the hashes in list_member.
create table list (
    account int    not null references account,
    list    bigint not null,
    name    text   not null,
    primary key (account, list)
);

create table list_member (
    account    int    not null,
    uid        uuid   not null,
    list       bigint not null,               -- hash of the list's name
    expires_at bigint,                        -- first instant at which it no longer holds
    primary key (account, uid, list)
);
create index list_member_of on list_member (account, list, uid);
create index list_member_expiry on list_member (expires_at) where expires_at is not null;
