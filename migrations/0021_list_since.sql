-- When each person was put into a list: null for those who were in it before this was kept.
alter table list_member add column added_at bigint;
alter table list_member alter column added_at set default now_ms();
