-- A change to the lists of many is announced by the stretch of people whom it touched, from `uid` to
-- `upto`, and by a number of its own, so that a reader of the feed who sees it again knows it.
alter table change_log add column upto uuid;
create sequence list_change;
