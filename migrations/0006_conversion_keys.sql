-- Conversions that carry the sender's order number count once per account, campaign, goal and number,
-- whichever decision they are attributed to: the first decision to name one owns it.
create table conversion_key (
    account  int    not null references account,
    key      uuid   not null,
    decision uuid   not null,
    at       bigint not null default now_ms(),
    primary key (account, key)
);
