-- The version of the person's profile that the row began with: changes up to it are told by their own notes.
alter table standing add column base bigint not null default 0;
