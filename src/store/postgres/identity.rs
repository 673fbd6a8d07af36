//! Keys that are one person: merging them, and erasing whoever they name.

use std::collections::HashMap;

use sqlx::{Connection, Error, PgConnection, Row, query, query_as, query_scalar, types::Uuid};

use super::{settled, units::merge_units};
use crate::{
    domain::ids::Uid,
    ports::{Erasure, Joined, Merge, Merged, Parts, Person, UserRow},
    store::rows,
};

/// Writers of outcomes and records, which look for the erased first and write second, hold this
/// lock with others; erasing holds it alone, so that nobody writes what they looked for too early.
pub(super) const WRITE_ABOUT_PEOPLE: &str = "select pg_advisory_xact_lock_shared(7358802)";

/// Those who merge people of the account `$1` hold this lock with others; a step of an upload holds it alone.
const MERGING: &str = "select pg_advisory_xact_lock_shared(7358808, $1)";

/// Makes rows for people who have none, and fills in the name of those known from impressions
/// alone. The people must come in the order of their uid, as in every writer, so that writers never
/// wait for each other in a circle. Erased people stay as they are.
pub(super) const ENSURE: &str = "
    insert into profile (account, uid, key) select $1, * from unnest($2::uuid[], $3::text[])
    on conflict (account, uid) do update set key = excluded.key
    where profile.key is null and profile.erased_at is null";

/// Whom those among `uids` lead to that were merged.
pub(super) async fn leads(tx: &mut PgConnection, account: i32, uids: &[Uuid]) -> Result<HashMap<Uuid, Uuid>, Error> {
    let leads: Vec<(Uuid, Uuid)> = query_as(
        "select p.* from unnest($2::uuid[]) k (uid) cross join lateral (
             select uid, merged_into from profile
             where account = $1 and uid = k.uid and merged_into is not null limit 1) p",
    )
    .bind(account)
    .bind(uids)
    .fetch_all(tx)
    .await?;
    Ok(leads.into_iter().collect())
}

pub(super) async fn merge(connection: &mut PgConnection, account: i32, merge: Merge) -> Result<Merged, Error> {
    let mut tries = 0;
    loop {
        if let Some(end) = settled(join(connection, account, &merge).await, &mut tries) {
            return end;
        }
    }
}

/// What was known of somebody, if anything was.
fn known(person: &Person) -> Option<UserRow> {
    let row = &person.parts.row;
    let nothing = row.packed.is_empty() && row.caps.is_empty() && row.lists.is_empty();
    (!nothing).then(|| row.clone())
}

/// Whether a key is that of a person of whom more is known than what they were shown.
async fn is_claimed(tx: &mut PgConnection, account: i32, uid: Uid, person: &Person) -> Result<bool, Error> {
    let row = &person.parts.row;
    // events that no rule asks for leave a profile that only tells its format
    if !row.packed.is_empty() || !row.lists.is_empty() {
        return Ok(true);
    }
    let led = query("select from profile where account = $1 and merged_into = $2 limit 1");
    Ok(led.bind(account).bind(uid.as_uuid()).fetch_optional(tx).await?.is_some())
}

/// One try; none when one of them was merged into somebody meanwhile.
async fn join(connection: &mut PgConnection, account: i32, merge: &Merge) -> Result<Option<Merged>, Error> {
    let (from, asked) = (merge.from.0, merge.into.0);
    let mut tx = connection.begin().await?;
    query(WRITE_ABOUT_PEOPLE).execute(&mut *tx).await?;
    query(MERGING).bind(account).execute(&mut *tx).await?;
    let into = leads(&mut tx, account, &[asked.as_uuid()]).await?.get(&asked.as_uuid()).map_or(asked, |&to| to.into());
    let mut people = vec![(from, &merge.from.1), (into, &merge.into.1)];
    people.sort_unstable_by_key(|(uid, _)| *uid);
    people.dedup_by_key(|(uid, _)| *uid);
    let (uids, keys): (Vec<Uuid>, Vec<&str>) =
        people.into_iter().map(|(uid, key)| (uid.as_uuid(), key.as_str())).unzip();
    query(ENSURE).bind(account).bind(&uids).bind(keys).execute(&mut *tx).await?;
    let mut held = hold(&mut tx, account, &uids).await?;
    let Some(person) = held.remove(&into) else { return Ok(None) };
    let key = person.key.clone().unwrap_or_else(|| merge.into.1.clone());
    let already = Ok(Some(Merged::Already { into: key.clone(), version: person.parts.row.version }));
    if person.erased {
        return Ok(Some(Merged::Erased));
    }
    let Some(other) = held.remove(&from) else { return already };
    if other.erased {
        return Ok(Some(Merged::Erased));
    }
    match (other.parts.row.merged_into, person.parts.row.merged_into) {
        (Some(to), _) if to == into => return already,
        (Some(to), _) => return elsewhere(&mut tx, account, to).await,
        (None, Some(_)) => return Ok(None),
        (None, None) if merge.unclaimed && is_claimed(&mut tx, account, from, &other).await? => {
            return elsewhere(&mut tx, account, from).await;
        }
        (None, None) => {}
    }
    let joined = (merge.join)(&person.parts, &other.parts, from);
    let joined = joined.ok_or_else(|| Error::Decode("a person cannot be read".into()))?;
    let (version, from_version, told) = write(&mut tx, account, (from, &other), (into, &person), &joined).await?;
    merge_units(&mut tx, account, from, into).await?;
    tx.commit().await?;
    let after = UserRow { version, ..joined.row };
    let (before, other) = (known(&person), known(&other));
    Ok(Some(Merged::Done(Box::new(Joined { uid: into, key, from_version, before, other, told, after }))))
}

/// Locks people in the order of their uid, as every writer does.
async fn hold(tx: &mut PgConnection, account: i32, uids: &[Uuid]) -> Result<HashMap<Uid, Person>, Error> {
    let rows = query(
        "with held as materialized (
             select p.* from unnest($2::uuid[]) k (uid) cross join lateral (
                 select account, uid, key, version, packed, caps, traits, merged_into,
                        erased_at is not null as erased
                 from profile where account = $1 and uid = k.uid for update) p)
         select held.*, m.lists, m.expiries, m.since from held left join lateral (
             select array_agg(l.list) as lists, array_agg(l.expires_at) as expiries, array_agg(l.added_at) as since
             from list_member l where l.account = $1 and l.uid = held.uid) m on true",
    )
    .bind(account)
    .bind(uids)
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok((rows::uid(row, "uid")?, rows::person(row)?))).collect()
}

async fn elsewhere(tx: &mut PgConnection, account: i32, to: Uid) -> Result<Option<Merged>, Error> {
    let row = query("select key from profile where account = $1 and uid = $2")
        .bind(account)
        .bind(to.as_uuid())
        .fetch_one(tx)
        .await?;
    Ok(Some(Merged::Elsewhere(rows::parsed(&row, "key")?)))
}

/// Writes both; the versions of the person and of the key that leads to them, and what was told of the key. Whoever led to that
/// key leads to the person.
async fn write(
    tx: &mut PgConnection,
    account: i32,
    (from, other): (Uid, &Person),
    (into, person): (Uid, &Person),
    joined: &Parts,
) -> Result<(i64, i64, Option<Vec<u8>>), Error> {
    let row = query(
        "with joined as (
             update profile set packed = $4, caps = $5, traits = $6::json, version = $7, updated_at = now_ms(),
                                created_at = least(created_at, (select created_at from profile where account = $1 and uid = $2))
             where account = $1 and uid = $3 returning uid, version),
         led as (
             update profile set packed = '', caps = '', traits = '{}', merged_into = $3, version = version + 1,
                                updated_at = now_ms()
             where account = $1 and uid = any (array(
                 select $2 union all select uid from profile where account = $1 and merged_into = $2))
             returning uid, version),
         told as (
             insert into change_log (kind, account, uid, version)
             select 'person', $1, uid, version from (table joined union all table led) changed),
         untold as (delete from standing where account = $1 and uid = $2 returning packed),
         moved as (delete from list_member where account = $1 and uid = $2 returning list, expires_at, added_at),
         listed as (
             insert into list_member as held (account, uid, list, expires_at, added_at)
             select $1, $3, list, expires_at, added_at from moved
             on conflict (account, uid, list) do update
             set expires_at = case when held.expires_at is not null and excluded.expires_at is not null
                                   then greatest(held.expires_at, excluded.expires_at) end,
                 added_at = case when held.expires_at <= now_ms() then excluded.added_at
                                 when excluded.expires_at <= now_ms() then held.added_at
                                 when held.added_at is null or excluded.added_at is null then null
                                 else least(held.added_at, excluded.added_at) end)
         select joined.version, led.version as from_version, (select packed from untold) as told
         from joined, led where led.uid = $2",
    )
    .bind(account)
    .bind(from.as_uuid())
    .bind(into.as_uuid())
    .bind(&joined.row.packed)
    .bind(&joined.row.caps)
    .bind(joined.traits.to_string())
    // newer than either, so that a token for the one is good for both
    .bind(other.parts.row.version.max(person.parts.row.version) + 1)
    .fetch_one(tx)
    .await?;
    Ok((row.try_get("version")?, row.try_get("from_version")?, row.try_get("told")?))
}

pub(super) async fn erase(connection: &mut PgConnection, account: i32, uid: Uuid) -> Result<Erasure, Error> {
    let mut tx = connection.begin().await?;
    query("select pg_advisory_xact_lock(7358802)").execute(&mut *tx).await?;
    // Somebody unknown is kept away all the same; only what is there is emptied, and counted.
    query("insert into profile (account, uid, version, erased_at) values ($1, $2, 1, now_ms()) on conflict do nothing")
        .bind(account)
        .bind(uid)
        .execute(&mut *tx)
        .await?;
    let person = leads(&mut tx, account, &[uid]).await?.remove(&uid).unwrap_or(uid);
    let uids: Vec<Uuid> =
        query_scalar("select $2 union all select uid from profile where account = $1 and merged_into = $2 order by 1")
            .bind(account)
            .bind(person)
            .fetch_all(&mut *tx)
            .await?;
    let mut found = 0;
    // Answers that are kept for those who send a request again may name them. There may be many, and
    // everybody else waits: they go in a pass of their own.
    query(
        "insert into answer_erasure (account, key)
         select $1, key from profile where account = $1 and uid = any($2) and key is not null on conflict do nothing",
    )
    .bind(account)
    .bind(&uids)
    .execute(&mut *tx)
    .await?;
    // Whoever follows is to be told that they are gone from what was told, whatever holds now.
    let told = query_scalar("delete from standing where account = $1 and uid = $2 returning packed")
        .bind(account)
        .bind(person)
        .fetch_optional(&mut *tx)
        .await?;
    for statement in [
        "update profile set key = null, packed = '', caps = '', traits = '{}', merged_into = null, version = version + 1,
                created_at = now_ms(), updated_at = now_ms(), erased_at = now_ms()
         where account = $1 and uid = any($2) and erased_at is null",
        "delete from list_member where account = $1 and uid = any($2)",
        "delete from late_shown where account = $1 and person = any($2)",
        "update outcome set person = null where account = $1 and person = any($2)",
        "update decision_log set person = null where account = $1 and person = any($2)",
        "update shadow_decision set person = null where account = $1 and person = any($2)",
        "update unattributed set person = null where account = $1 and person = any($2)",
        "update lesson set person = null where account = $1 and person = any($2)",
        "delete from experiment_unit where account = $1 and person = any($2)",
        "update decision_record set person = null, body = '{}', erased = true where account = $1 and person = any($2)",
    ] {
        found += query(statement).bind(account).bind(&uids).execute(&mut *tx).await?.rows_affected();
    }
    // Events are read by the partition only: they go in a pass of their own.
    query(
        "with due as (
             insert into event_erasure (account, uid) select $1, * from unnest($2::uuid[]) on conflict do nothing)
         insert into change_log (kind, account, uid) select 'erased', $1, * from unnest($2::uuid[])",
    )
    .bind(account)
    .bind(&uids)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Erasure { known: found > 0, uids: uids.into_iter().map(Uid::from).collect(), told })
}
