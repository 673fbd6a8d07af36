-- Uploaded images, named by the hash of their content.
create table asset (
    account int not null references account,
    name text not null,
    media_type text not null,
    bytes bytea not null,
    created_at timestamptz not null default now(),
    primary key (name, account)
);
alter table asset alter column bytes set storage external;
