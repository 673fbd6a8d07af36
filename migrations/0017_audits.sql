-- What exchanges approved decides what is bid to them.
create or replace function serving_at(of_account int, at bigint) returns setof document language sql stable as $$
    select d.* from document d
    where d.account = of_account and d.version_from <= at and (d.version_to is null or d.version_to > at)
      and d.kind in ('advertiser', 'model', 'segment', 'publication', 'audit', 'placement', 'campaign', 'write_key')
    union all
    select r.* from document p
    join document r on r.account = p.account and r.kind = 'revision' and r.id = p.serves
    where p.account = of_account and p.kind = 'publication'
      and p.version_from <= at and (p.version_to is null or p.version_to > at)
      and r.version_from <= at and (r.version_to is null or r.version_to > at)
$$;
