//! The statements of an upload: who moves, and who would.

/// The newest row of each person in a stretch.
macro_rules! part {
    ($($rest:literal),+) => {
        concat!(
            "with part as (
                 select distinct on (uid) uid, key, expires_at from staged where uid between $2 and $3
                 order by uid, n desc) ",
            $($rest),+
        )
    };
}

/// Makes rows for people who have none, and fills in the names of those known from impressions
/// alone. Everybody is looked up by key, whatever the planner believes of the tables' sizes.
pub(super) const MEET: &str = part!(
    "insert into profile (account, uid, key)
     select $1, s.uid, s.key from part s
     where coalesce((select p.key is null and p.erased_at is null from profile p
                     where p.account = $1 and p.uid = s.uid), true)
     order by s.uid
     on conflict (account, uid) do update set key = excluded.key, updated_at = now_ms()
     where profile.key is null and profile.erased_at is null"
);

/// Ends a statement whose `moves` are memberships that change, each with what it was and is: whoever
/// enters or leaves by it is told with it.
macro_rules! telling {
    ($moves:literal) => {
        part!(
            $moves,
            ", clock as materialized (select now_ms() as now),
             crossed as materialized (
                 select m.*, m.listed and coalesce(m.was_until > c.now, true) as was,
                        m.stays and coalesce(m.until > c.now, true) as entered, c.now
                 from moves m cross join clock c),
             told as (
                 insert into transition (day, account, segment, uid, entered, at)
                 select now / 86400000, $1, $5, uid, entered, now from crossed where was <> entered order by uid)
             select uid, was <> entered as crossed, listed, was_until from crossed"
        )
    };
}

/// Only rows that differ are written, and none is locked for being looked at.
pub(super) const ENTER: &str = telling!(
    ", moves as materialized (
         select s.uid, held.uid is not null as listed, held.expires_at as was_until, true as stays, s.expires_at as until
         from part s
         cross join lateral (
             select 1 from profile p where p.account = $1 and p.uid = s.uid and p.erased_at is null and p.merged_into is null limit 1) known
         left join lateral (
             select m.uid, m.expires_at from list_member m where m.account = $1 and m.uid = s.uid and m.list = $4 limit 1
         ) held on true
         where held.uid is null or held.expires_at is distinct from s.expires_at),
     put as (
         insert into list_member (account, uid, list, expires_at)
         select $1, uid, $4, until from moves order by uid
         on conflict (account, uid, list) do update set expires_at = excluded.expires_at)"
);

pub(super) const LEAVE: &str = telling!(
    ", moves as (
         delete from list_member where ctid = any (array(
             select held.ctid from part s cross join lateral (
                 select m.ctid from list_member m
                 where m.account = $1 and m.uid = s.uid and m.list = $4 for update) held
             order by s.uid))
         returning uid, true as listed, expires_at as was_until, false as stays, null::bigint as until)"
);

/// Whoever is on the list and not in the upload leaves.
pub(super) const GO: &str = telling!(
    ", moves as (
         delete from list_member m where m.account = $1 and m.list = $4 and m.uid between $2 and $3
           and (select max(s.n) from staged s where s.uid = m.uid) is null
         returning m.uid, true as listed, m.expires_at as was_until, false as stays, null::bigint as until)"
);

pub(super) const SURVEY_ENTER: &str = part!(
    "select count(*) from part s
     left join lateral (
         select p.erased_at from profile p where p.account = $1 and p.uid = s.uid limit 1) known on true
     left join lateral (
         select m.uid, m.expires_at from list_member m where m.account = $1 and m.uid = s.uid and m.list = $4 limit 1
     ) held on true
     where known.erased_at is null and (held.uid is null or held.expires_at is distinct from s.expires_at)"
);

pub(super) const SURVEY_LEAVE: &str = part!(
    "select count(*) from part s cross join lateral (
         select 1 from list_member m where m.account = $1 and m.uid = s.uid and m.list = $4 limit 1) held"
);

pub(super) const SURVEY_GO: &str = "
    select count(*) from list_member m where m.account = $1 and m.list = $4 and m.uid between $2 and $3
      and (select max(s.n) from staged s where s.uid = m.uid) is null";
