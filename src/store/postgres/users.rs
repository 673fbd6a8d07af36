//! People.

use std::collections::{BTreeMap, HashMap};

use sqlx::{Connection, Error, PgConnection, Row, query, query_scalar, types::Uuid};

use super::{Lane, Lanes};
use crate::{
    domain::{
        ids::{NameHash, SegmentKey, Uid, UserKey},
        values::Millis,
    },
    ports::{Answer, MemberChange, Membership, ProfileRow, ProfileWrite, ProfileWritten, UserRow, UserStore},
    store::rows,
};

/// See [`UserStore`].
pub(in crate::store) struct Users {
    serving: Lane,
    ingest: Lane,
    admin: Lane,
}

impl Users {
    pub(in crate::store) fn new(lanes: &Lanes) -> Self {
        Self { serving: lanes.serving.clone(), ingest: lanes.ingest.clone(), admin: lanes.admin.clone() }
    }
}

/// The limit changes no answer, but makes it a look-up for each person whatever the plan was made from.
const LOAD: &str = "
    select p.account, p.uid, p.version, p.packed, p.caps, m.lists, m.expiries
    from unnest($1::int[], $2::uuid[]) k (account, uid)
    cross join lateral (
        select * from profile where account = k.account and uid = k.uid and erased_at is null limit 1
    ) p
    left join lateral (
        select array_agg(l.list) as lists, array_agg(l.expires_at) as expiries
        from list_member l where l.account = p.account and l.uid = p.uid
    ) m on true";

/// Makes rows for people who have none, and fills in the name of those known from impressions
/// alone. The people must come in the order of their uid, as in every writer, so that writers never
/// wait for each other in a circle. Erased people stay as they are.
const ENSURE: &str = "
    insert into profile (account, uid, key) select $1, * from unnest($2::uuid[], $3::text[])
    on conflict (account, uid) do update set key = excluded.key
    where profile.key is null and profile.erased_at is null";

impl UserStore for Users {
    fn load(&self, people: Vec<(u32, Uid)>) -> Answer<'_, Vec<((u32, Uid), UserRow)>> {
        self.serving.run(move |connection| {
            Box::pin(async move {
                let accounts: Vec<_> = people.iter().map(|(account, _)| account.cast_signed()).collect();
                let uids: Vec<_> = people.iter().map(|(_, uid)| uid.as_uuid()).collect();
                let rows = query(LOAD).bind(accounts).bind(uids).fetch_all(connection).await?;
                rows.iter().map(rows::user).collect()
            })
        })
    }

    fn profile(&self, account: u32, uid: Uid) -> Answer<'_, Option<ProfileRow>> {
        self.admin.run(move |connection| Box::pin(profile(connection, account.cast_signed(), uid.as_uuid())))
    }

    fn write_profiles(&self, account: u32, writes: Vec<ProfileWrite>) -> Answer<'_, Vec<ProfileWritten>> {
        self.ingest.run(move |connection| Box::pin(write_profiles(connection, account.cast_signed(), writes)))
    }

    fn change_members(&self, account: u32, list: SegmentKey, changes: Vec<MemberChange>) -> Answer<'_, u64> {
        self.ingest.run(move |connection| Box::pin(change_members(connection, account.cast_signed(), list, changes)))
    }

    fn members(
        &self,
        account: u32,
        list: SegmentKey,
        after: Option<Uid>,
        limit: u32,
    ) -> Answer<'_, Vec<(Uid, UserKey, Option<Millis>)>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let rows = query(
                    "select m.uid, p.key, m.expires_at from list_member m join profile p using (account, uid)
                     where m.account = $1 and m.list = $2 and ($3::uuid is null or m.uid > $3) and p.key is not null
                     order by m.uid limit $4",
                )
                .bind(account.cast_signed())
                .bind(hash(&list))
                .bind(after.map(Uid::as_uuid))
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await?;
                rows.iter()
                    .map(|row| {
                        Ok((rows::uid(row, "uid")?, rows::parsed(row, "key")?, rows::maybe_millis(row, "expires_at")?))
                    })
                    .collect()
            })
        })
    }

    fn erase(&self, account: u32, uid: Uid) -> Answer<'_, bool> {
        self.ingest.run(move |connection| Box::pin(erase(connection, account.cast_signed(), uid.as_uuid())))
    }
}

fn hash(list: &SegmentKey) -> i64 {
    NameHash::of(list.as_str()).0.cast_signed()
}

async fn profile(connection: &mut PgConnection, account: i32, uid: Uuid) -> Result<Option<ProfileRow>, Error> {
    let rows = query(
        "select p.key, p.version, p.traits, p.created_at, p.updated_at, l.name, m.expires_at
         from profile p left join (list_member m join list l using (account, list)) using (account, uid)
         where p.account = $1 and p.uid = $2 and p.key is not null",
    )
    .bind(account)
    .bind(uid)
    .fetch_all(connection)
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let mut lists = BTreeMap::new();
    for row in &rows {
        if row.try_get::<Option<&str>, _>("name")?.is_some() {
            lists.insert(rows::parsed(row, "name")?, rows::maybe_millis(row, "expires_at")?);
        }
    }
    Ok(Some(ProfileRow {
        key: rows::parsed(first, "key")?,
        version: first.try_get("version")?,
        traits: rows::json(first, "traits")?,
        lists,
        created_at: rows::millis(first, "created_at")?,
        updated_at: rows::millis(first, "updated_at")?,
    }))
}

async fn write_profiles(
    connection: &mut PgConnection,
    account: i32,
    writes: Vec<ProfileWrite>,
) -> Result<Vec<ProfileWritten>, Error> {
    let order: Vec<Uid> = writes.iter().map(|write| write.uid).collect();
    // In the order of their uid. A person written twice in one call is changed by the first write,
    // of which the second did not know.
    let mut first = BTreeMap::new();
    for write in writes {
        first.entry(write.uid).or_insert(write);
    }
    let uids: Vec<_> = first.keys().map(|uid| uid.as_uuid()).collect();
    let (mut keys, mut bases, mut packed, mut traits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for write in first.into_values() {
        keys.push(write.key.as_str().to_owned());
        bases.push(write.based_on);
        packed.push(write.packed);
        traits.push(write.traits.to_string());
    }
    // Rows never go away, so that one which is there to be changed is still there when it is.
    let rows = query(
        "with written as (
             insert into profile (account, uid, key, version, packed, traits)
             select $1, w.uid, w.key, w.base + 1, w.packed, w.traits::json
             from unnest($2::uuid[], $3::text[], $4::bigint[], $5::bytea[], $6::text[]) w (uid, key, base, packed, traits)
             where w.base = 0
                or (select p.version from profile p where p.account = $1 and p.uid = w.uid) is not null
             on conflict (account, uid) do update
             set key = excluded.key, version = excluded.version, packed = excluded.packed, traits = excluded.traits,
                 updated_at = excluded.updated_at
             where profile.version = excluded.version - 1 and profile.erased_at is null
             returning uid, version),
         told as (
             insert into change_log (kind, account, uid, version) select 'person', $1, uid, version from written)
         select uid, version from written",
    )
    .bind(account)
    .bind(&uids)
    .bind(keys)
    .bind(bases)
    .bind(packed)
    .bind(traits)
    .fetch_all(&mut *connection)
    .await?;
    let mut became = HashMap::with_capacity(rows.len());
    for row in &rows {
        became.insert(rows::uid(row, "uid")?, ProfileWritten::Done { version: row.try_get("version")? });
    }
    if became.len() < uids.len() {
        let erased: Vec<Uuid> = query_scalar(
            "select k.uid from unnest($2::uuid[]) k (uid)
             where (select p.erased_at from profile p where p.account = $1 and p.uid = k.uid) is not null",
        )
        .bind(account)
        .bind(uids)
        .fetch_all(connection)
        .await?;
        became.extend(erased.into_iter().map(|uid| (Uid::from(uid), ProfileWritten::Erased)));
    }
    Ok(order
        .into_iter()
        .map(|uid| match became.get(&uid) {
            Some(ProfileWritten::Erased) => ProfileWritten::Erased,
            _ => became.remove(&uid).unwrap_or(ProfileWritten::Moved),
        })
        .collect())
}

async fn change_members(
    connection: &mut PgConnection,
    account: i32,
    list: SegmentKey,
    changes: Vec<MemberChange>,
) -> Result<u64, Error> {
    // In the order of their uid; of several changes to the same person the last one counts.
    let last: BTreeMap<_, _> = changes.into_iter().map(|change| (change.uid, (change.key, change.change))).collect();
    let (mut entering, mut keys, mut expiries, mut leaving) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let all: Vec<_> = last.keys().map(|uid| uid.as_uuid()).collect();
    for (uid, (key, change)) in last {
        match change {
            Membership::In { expires_at } => {
                entering.push(uid.as_uuid());
                keys.push(key.as_str().to_owned());
                expiries.push(expires_at.map(|at| at.0));
            }
            Membership::Out => leaving.push(uid.as_uuid()),
        }
    }
    let mut tx = connection.begin().await?;
    query("insert into list (account, list, name) values ($1, $2, $3) on conflict do nothing")
        .bind(account)
        .bind(hash(&list))
        .bind(list.as_str())
        .execute(&mut *tx)
        .await?;
    query(ENSURE).bind(account).bind(&entering).bind(keys).execute(&mut *tx).await?;
    let held: Vec<Uuid> = query_scalar(
        "select p.uid from unnest($2::uuid[]) k (uid) cross join lateral (
             select uid from profile where account = $1 and uid = k.uid and erased_at is null for update) p",
    )
    .bind(account)
    .bind(all)
    .fetch_all(&mut *tx)
    .await?;
    let changed = query(
        "with gone as (
             delete from list_member where account = $1 and list = $2 and uid = any($6) returning uid),
         came as (
             insert into list_member (account, uid, list, expires_at)
             select $1, w.uid, $2, w.expires_at from unnest($4::uuid[], $5::bigint[]) w (uid, expires_at)
             where w.uid = any($3)
             on conflict (account, uid, list) do update set expires_at = excluded.expires_at
             where list_member.expires_at is distinct from excluded.expires_at
             returning uid),
         changed as (
             insert into profile (account, uid) select $1, uid from (table gone union all table came) touched
             on conflict (account, uid) do update set version = profile.version + 1, updated_at = now_ms()
             returning uid, version)
         insert into change_log (kind, account, uid, version) select 'person', $1, uid, version from changed",
    )
    .bind(account)
    .bind(hash(&list))
    .bind(held)
    .bind(entering)
    .bind(expiries)
    .bind(leaving)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok(changed)
}

/// Writers of outcomes and records, which look for the erased first and write second, hold this
/// lock with others; erasing holds it alone, so that nobody writes what they looked for too early.
pub(super) const WRITE_ABOUT_PEOPLE: &str = "select pg_advisory_xact_lock_shared(7358802)";

async fn erase(connection: &mut PgConnection, account: i32, uid: Uuid) -> Result<bool, Error> {
    let mut tx = connection.begin().await?;
    query("select pg_advisory_xact_lock(7358802)").execute(&mut *tx).await?;
    // Somebody unknown is kept away all the same; only what is there is emptied, and counted.
    query("insert into profile (account, uid, version, erased_at) values ($1, $2, 1, now_ms()) on conflict do nothing")
        .bind(account)
        .bind(uid)
        .execute(&mut *tx)
        .await?;
    let mut found = 0;
    for statement in [
        "update profile set key = null, packed = '', caps = '', traits = '{}', version = version + 1,
                created_at = now_ms(), updated_at = now_ms(), erased_at = now_ms()
         where account = $1 and uid = $2 and erased_at is null",
        "delete from list_member where account = $1 and uid = $2",
        "update outcome set person = null where account = $1 and person = $2",
        "update decision_record set person = null, body = '{}', erased = true where account = $1 and person = $2",
    ] {
        found += query(statement).bind(account).bind(uid).execute(&mut *tx).await?.rows_affected();
    }
    // Events are read by the partition only: they go in a pass of their own.
    query(
        "with due as (insert into event_erasure (account, uid) values ($1, $2) on conflict do nothing)
         insert into change_log (kind, account, uid) values ('erased', $1, $2)",
    )
    .bind(account)
    .bind(uid)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(found > 0)
}
