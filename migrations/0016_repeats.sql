-- What a request with an idempotency key was answered, so that sending it again makes nothing twice.
create table repeat_answer (
    account int    not null references account,
    key     text   not null collate "C",
    -- A hash of the request: the same key with another request is a mistake.
    request bytea  not null check (length(request) = 32),
    -- Empty while the first request is under way.
    status  int,
    headers json,
    body    bytea,
    at      bigint not null default now_ms(),
    primary key (account, key)
);
create index repeat_answer_at on repeat_answer (at);
