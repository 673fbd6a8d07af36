-- What slots ask of images, without reading them. Of those kept before, nobody knows it here: they are looked at
-- when somebody names them.
alter table asset add column width int, add column height int;
