-- What bids showed is found by its name for as long as the revision is kept.
create function combination_crids(body json) returns text[] language sql immutable parallel safe as $$
    select coalesce(array_agg(of ->> 'crid'), '{}') from json_array_elements(coalesce(body -> 'combinations', '[]')) of
$$;

create index document_combinations on document using gin (combination_crids(body)) where kind = 'revision';
