-- Catalogues of products are documents that serve.
create or replace function serving_at(of_account int, at bigint) returns setof document language sql stable as $$
    select d.* from document d
    where d.account = of_account and d.version_from <= at and (d.version_to is null or d.version_to > at)
      and d.kind in ('advertiser', 'model', 'segment', 'feed', 'publication', 'audit', 'placement', 'campaign', 'write_key')
    union all
    select r.* from document p
    join document r on r.account = p.account and r.kind = 'revision' and r.id = p.serves
    where p.account = of_account and p.kind = 'publication'
      and p.version_from <= at and (p.version_to is null or p.version_to > at)
      and r.version_from <= at and (r.version_to is null or r.version_to > at)
$$;

-- What a feed holds, and how filling it fares. A generation is never used twice.
create sequence feed_generation;
create table feed_stock (
    account       int    not null references account,
    feed          text   not null collate "C",
    -- the pieces that are shown; 0: none yet
    generation    bigint not null default 0,
    -- when it was filled, and from where: 'upload' or 'url'
    filled_at     bigint,
    source        text,
    items         bigint not null default 0,
    available     bigint not null default 0,
    rejected      bigint not null default 0,
    -- the last fetch: when, what came of it, and the rows that were refused
    fetched_at    bigint,
    error         text,
    faults        json,
    -- what the server said of the version that was fetched last, and how it was read
    etag          text,
    last_modified text,
    reading       text,
    next_at       bigint not null default 0,
    -- who fetches, and until when nobody else does
    claim         uuid,
    claimed_until bigint not null default 0,
    primary key (account, feed)
);

-- Packed products. Pieces of a generation that is not shown are of a filling under way, or left behind.
create table feed_piece (
    account    int    not null,
    feed       text   not null collate "C",
    generation bigint not null,
    n          int    not null,
    at         bigint not null default now_ms(),
    body       bytea  not null,
    primary key (account, feed, generation, n)
);
alter table feed_piece alter column body set storage external;
