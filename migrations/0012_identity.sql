-- Keys that turned out to be one person. The row of a key that was merged stays, emptied: it leads
-- to the person, and nobody whom it leads to leads on, so that one look is enough.
alter table profile add column merged_into uuid;
create index profile_merged on profile (account, merged_into) where merged_into is not null;
