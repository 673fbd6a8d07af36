-- What a transaction leaves for later because it may take long.

-- Names of erased people that answers kept for repeats may hold; here until those are gone.
create table answer_erasure (
    account int  not null,
    key     text not null collate "C",
    primary key (account, key)
);

-- Lists that were deleted, while some are on them still.
create table list_leaving (
    account int    not null,
    list    bigint not null,
    primary key (account, list)
);
