-- What campaigns with a budget have spent, by the day of the bid in the campaign's own time zone (days
-- since 1970-01-01), in billionths of the currency's unit: a price of so many millionths per thousand
-- impressions is so many of these for one.
create table campaign_spend (
    account     int    not null,
    campaign    text   not null collate "C",
    currency    text   not null collate "C",
    day         int    not null,
    -- what was billed, and for how many impressions
    spent       bigint not null default 0,
    impressions bigint not null default 0,
    -- the price of everything that was bid, won or not
    bid         bigint not null default 0,
    primary key (account, campaign, currency, day)
);

-- Replicas that bid by themselves.
create table bidder (
    replica uuid   primary key,
    at      bigint not null
);

-- What a replica may still bid of a campaign's budget, and what it has bid that may yet be billed.
create table campaign_lease (
    replica  uuid   not null,
    account  int    not null,
    campaign text   not null collate "C",
    currency text   not null collate "C",
    day      int    not null,
    held     bigint not null,
    at       bigint not null,
    primary key (account, campaign, currency, day, replica)
);
create index campaign_lease_at on campaign_lease (at);
