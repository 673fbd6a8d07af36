-- When a document was replaced or deleted: images of deleted revisions are kept for four days more.
alter table document add column ended_at bigint;
