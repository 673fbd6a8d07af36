-- Who was erased left every segment; their name is gone, so they are told by their uid alone.
alter table transition add column erased boolean not null default false;

-- Whoever follows all segments of an account reads in this order.
create index transition_account on transition (account, xid, seq);

-- Who is told of transitions. A version is never used twice, not even by another webhook of the same id.
create sequence webhook_version;
create table webhook (
    account        int     not null references account,
    id             text    not null collate "C",
    version        bigint  not null default nextval('webhook_version'),
    changed_at     bigint  not null default now_ms(),
    url            text    not null,
    -- of which segments; null: of all
    segments       text[],
    entries        boolean not null,
    exits          boolean not null,
    -- why nothing is delivered: 'asked', 'gone' or 'given_up'
    paused         text,
    secret         bytea   not null,
    -- signs beside the newer one until then
    old_secret     bytea,
    old_until      bigint,
    -- everything up to here is delivered
    xid            xid8    not null,
    seq            bigint  not null,
    -- where the batch under way ends: it stays the same until it is accepted
    upto_xid       xid8,
    upto_seq       bigint,
    -- who delivers it, and until when nobody else does
    claim          uuid,
    claimed_until  bigint  not null default 0,
    looked_at      bigint  not null default 0,
    next_at        bigint  not null default 0,
    failures       int     not null default 0,
    failing_since  bigint,
    last_success   bigint,
    last_failure   bigint,
    last_status    int,
    last_error     text,
    primary key (account, id)
);
