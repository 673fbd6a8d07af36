-- Accounts, their keys and their documents. All times are Unix milliseconds (UTC), as in the engine.

create function now_ms() returns bigint language sql volatile as
$$ select (extract(epoch from clock_timestamp()) * 1000)::bigint $$;

create table account (
    number          int    primary key generated always as identity,
    id              text   not null unique,
    secret          bytea  not null check (length(secret) = 32),
    catalog_version bigint not null default 0,
    created_at      bigint not null default now_ms()
);

create table signing_key (
    number     smallint primary key check (number between 0 and 255),
    secret     bytea    not null check (length(secret) = 32),
    active     boolean  not null,
    created_at bigint   not null default now_ms()
);

create table api_key (
    account    int    not null references account,
    id         text   not null,
    hash       bytea  not null unique check (length(hash) = 32),
    scopes     json   not null,
    created_at bigint not null,
    primary key (account, id)
);

-- Every version of every document: a version holds from the commit `version_from` until the commit
-- `version_to`, and a current one until further notice. The body is json and not jsonb because it
-- must come back exactly as it went in, number spellings and \u0000 included.
create table document (
    account      int    not null references account,
    kind         text   not null,
    id           text   not null collate "C",
    version_from bigint not null,
    version_to   bigint,
    body         json   not null,
    -- The revision that a publication in force puts to work.
    serves       text   collate "C" generated always as (case
                     when kind = 'publication' and body ->> 'status' = 'published' then id || '/' || (body ->> 'revision')
                 end) stored,
    changed_by   text   not null,
    changed_at   bigint not null default now_ms(),
    primary key (account, kind, id, version_from),
    check (version_to > version_from)
);
create unique index document_current on document (account, kind, id) where version_to is null;
create index document_began on document (account, version_from);
create index document_ended on document (account, version_to) where version_to is not null;

-- What the current documents name.
create table document_ref (
    account int  not null references account,
    kind    text not null,
    id      text not null collate "C",
    to_kind text not null,
    to_id   text not null collate "C",
    primary key (account, kind, id, to_kind, to_id)
);
create index document_ref_to on document_ref (account, to_kind, to_id);

-- What decisions needed at a catalogue version: no drafts, and of revisions only those at work.
create function serving_at(of_account int, at bigint) returns setof document language sql stable as $$
    select d.* from document d
    where d.account = of_account and d.version_from <= at and (d.version_to is null or d.version_to > at)
      and d.kind in ('advertiser', 'segment', 'publication', 'placement', 'campaign')
    union all
    select r.* from document p
    join document r on r.account = p.account and r.kind = 'revision' and r.id = p.serves
    where p.account = of_account and p.kind = 'publication'
      and p.version_from <= at and (p.version_to is null or p.version_to > at)
      and r.version_from <= at and (r.version_to is null or r.version_to > at)
$$;
