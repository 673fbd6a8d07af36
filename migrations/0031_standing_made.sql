-- When the row was made: what moved the person in a list before, it took for told.
alter table standing add column made bigint not null default now_ms();
