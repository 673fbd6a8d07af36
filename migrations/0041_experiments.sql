-- People by the experiment that they were in: one is another once its share or its control changes.
-- Which one the rows of before are of is not known, so they count for none: 0.
alter table experiment_unit add column experiment bigint not null default 0;
alter table experiment_unit drop constraint experiment_unit_pkey;
alter table experiment_unit add primary key (account, campaign, experiment, person);
