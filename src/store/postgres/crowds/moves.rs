//! The statements that move people in and out of lists: who moves, and who would.

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

/// While an upload moves some people, nobody else moves anybody in that list, so that whoever moves is told of
/// once, and nobody of the account is merged, so that none moves under a key that leads elsewhere. `$1` is the
/// account and `$2` the list. Taken before anything of people is locked.
pub(super) const ALONE: &str =
    "select pg_advisory_xact_lock(7358808, $1), pg_advisory_xact_lock(7358807, hashint8($1::bigint # $2))";

/// Those who move single people, whom they lock, share it.
pub(in crate::store::postgres) const BESIDE: &str =
    "select pg_advisory_xact_lock_shared(7358807, hashint8($1::bigint # $2))";

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

/// Ends a statement whose `moves` are memberships of the list `$4`, called `$5`, that change, each
/// with what it was and is: whoever enters or leaves by it is told with it. Who left because the time
/// was over, which was not told yet, leaves by it too.
macro_rules! telling {
    ($($moves:expr),+) => {
        concat!(
            $($moves),+,
            ", clock as materialized (
                 select now_ms() as now, e.* from (select) one left join list_expiry e on true),
             crossed as materialized (
                 select m.*, m.listed and coalesce((m.was_until, $1, $4, m.uid) > (c.upto, c.account, c.list, c.uid), true) as was,
                        m.stays and coalesce(m.until > c.now, true) as entered, c.now
                 from moves m cross join clock c),
             told as (
                 insert into transition (day, account, segment, uid, entered, at)
                 select now / 86400000, $1, $5, uid, entered, now from crossed where was <> entered order by uid)
             select uid, was or entered as crossed, listed, was_until, now as at from crossed"
        )
    };
}

/// Changes of single people, who are locked: `$2` whom, `$3` whether they stay, `$6` until when.
pub(in crate::store::postgres) const CHANGE: &str = telling!(
    "with wanted as materialized (
         select * from unnest($2::uuid[], $3::bool[], $6::bigint[]) w (uid, stays, until)),
     moves as materialized (
         select w.uid, m.uid is not null as listed, m.expires_at as was_until, w.stays, w.until
         from wanted w left join list_member m on m.account = $1 and m.list = $4 and m.uid = w.uid
         where case when w.stays then m.uid is null or m.expires_at is distinct from w.until else m.uid is not null end),
     gone as (
         delete from list_member
         where account = $1 and list = $4 and uid = any (array(select uid from moves where not stays))),
     put as (
         insert into list_member (account, uid, list, expires_at)
         select $1, uid, $4, until from moves where stays order by uid
         on conflict (account, uid, list) do update set expires_at = excluded.expires_at,
             added_at = case when list_member.expires_at <= excluded.added_at then excluded.added_at
                             else list_member.added_at end),
     changed as (
         insert into profile (account, uid) select $1, uid from moves order by uid
         on conflict (account, uid) do update set version = profile.version + 1, updated_at = now_ms()
         returning uid, version),
     logged as (
         insert into change_log (kind, account, uid, version) select 'person', $1, uid, version from changed)"
);

/// Only rows that differ are written.
pub(super) const ENTER: &str = telling!(
    part!(
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
         on conflict (account, uid, list) do update set expires_at = excluded.expires_at,
             added_at = case when list_member.expires_at <= excluded.added_at then excluded.added_at
                             else list_member.added_at end)"
    )
);

/// By their uid, so that who is changed meanwhile leaves all the same.
pub(super) const LEAVE: &str = telling!(part!(
    ", moves as (
         delete from list_member where account = $1 and list = $4 and uid = any (array(select uid from part))
         returning uid, true as listed, expires_at as was_until, false as stays, null::bigint as until)"
));

/// Whoever is on the list and not in the upload leaves.
pub(super) const GO: &str = telling!(part!(
    ", moves as (
         delete from list_member m where m.account = $1 and m.list = $4 and m.uid between $2 and $3
           and (select max(s.n) from staged s where s.uid = m.uid) is null
         returning m.uid, true as listed, m.expires_at as was_until, false as stays, null::bigint as until)"
));

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
