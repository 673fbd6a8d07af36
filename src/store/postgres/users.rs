//! People.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use sqlx::{Connection, Error, PgConnection, Row, query, query_as, query_scalar, types::Uuid};
use tokio::time::timeout;

use super::{
    Lane, Lanes,
    crowds::{BESIDE, CHANGE},
    detached, identity, leftovers, settled,
};
use crate::{
    domain::{
        ids::{NameHash, SegmentKey, Uid, UserKey},
        values::Millis,
    },
    ports::{
        Answer, Erasure, FoundProfile, MemberChange, Membership, Merge, Merged, Moved, Person, ProfileRow,
        ProfileWrite, ProfileWritten, UserRow, UserStore,
    },
    store::rows,
};

/// How long whoever erases somebody waits for the kept answers that name them to be gone.
const ANSWERS_PATIENCE: Duration = Duration::from_secs(2);

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
    select p.account, p.uid, p.version, p.packed, p.caps, p.merged_into, m.lists, m.expiries, m.since
    from unnest($1::int[], $2::uuid[]) k (account, uid)
    cross join lateral (
        select * from profile where account = k.account and uid = k.uid and erased_at is null limit 1
    ) p
    left join lateral (
        select array_agg(l.list) as lists, array_agg(l.expires_at) as expiries, array_agg(l.added_at) as since
        from list_member l where l.account = p.account and l.uid = p.uid
    ) m on true";

/// Those who were merged are read as whoever their key leads to.
const PEOPLE: &str = "
    select k.uid as asked, p.*, m.lists, m.expiries, m.since
    from unnest($2::uuid[]) k (uid)
    cross join lateral (select merged_into from profile where account = $1 and uid = k.uid limit 1) a
    cross join lateral (
        select account, uid, key, version, packed, caps, traits, merged_into, erased_at is not null as erased
        from profile where account = $1 and uid = coalesce(a.merged_into, k.uid) limit 1
    ) p
    left join lateral (
        select array_agg(l.list) as lists, array_agg(l.expires_at) as expiries, array_agg(l.added_at) as since
        from list_member l where l.account = p.account and l.uid = p.uid
    ) m on true";

const PAGE: &str = "
    select p.uid, p.key, p.version, p.traits, p.created_at, p.updated_at, m.names, m.expiries
    from profile p
    left join lateral (
        select array_agg(l.name) as names, array_agg(m.expires_at) as expiries
        from list_member m join list l using (account, list) where m.account = p.account and m.uid = p.uid
    ) m on true
    where p.account = $1 and p.uid > $2 and p.erased_at is null and p.merged_into is null and p.key is not null
    order by p.uid limit $3";

impl UserStore for Users {
    fn load(&self, people: Vec<(u32, Uid)>) -> Answer<'_, Vec<((u32, Uid), UserRow)>> {
        self.serving.run(move |connection| Box::pin(load(connection, people)))
    }

    fn profile(&self, account: u32, uid: Uid) -> Answer<'_, FoundProfile> {
        self.admin.run(move |connection| Box::pin(profile(connection, account.cast_signed(), uid.as_uuid())))
    }

    fn people(&self, account: u32, uids: Vec<Uid>) -> Answer<'_, Vec<(Uid, Person)>> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let uids: Vec<_> = uids.into_iter().map(Uid::as_uuid).collect();
                let rows = query(PEOPLE).bind(account.cast_signed()).bind(uids).fetch_all(connection).await?;
                rows.iter().map(|row| Ok((rows::uid(row, "asked")?, rows::person(row)?))).collect()
            })
        })
    }

    fn page(&self, account: u32, after: Option<Uid>, limit: u32) -> Answer<'_, Vec<(Uid, ProfileRow)>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                // Nobody's uid is zero: it is a hash.
                let rows = query(PAGE)
                    .bind(account.cast_signed())
                    .bind(after.unwrap_or(Uid(0)).as_uuid())
                    .bind(i64::from(limit))
                    .fetch_all(connection)
                    .await?;
                rows.iter().map(|row| Ok((rows::uid(row, "uid")?, rows::profile(row)?))).collect()
            })
        })
    }

    fn write_profiles(&self, account: u32, writes: Vec<ProfileWrite>) -> Answer<'_, Vec<ProfileWritten>> {
        self.ingest.run(move |connection| Box::pin(write_profiles(connection, account.cast_signed(), writes)))
    }

    fn change_members(&self, account: u32, list: SegmentKey, changes: Vec<MemberChange>) -> Answer<'_, Moved> {
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
                       and p.merged_into is null
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

    fn merge(&self, account: u32, merge: Merge) -> Answer<'_, Merged> {
        self.ingest.run(move |connection| Box::pin(identity::merge(connection, account.cast_signed(), merge)))
    }

    fn erase(&self, account: u32, uid: Uid) -> Answer<'_, Erasure> {
        let (ingest, admin) = (self.ingest.clone(), self.admin.clone());
        detached(async move {
            let erase = ingest
                .run(move |connection| Box::pin(identity::erase(connection, account.cast_signed(), uid.as_uuid())));
            let erased = erase.await?;
            // goes on when it takes longer, and is done by upkeep when it fails
            let rest = tokio::spawn(async move { leftovers::clear_answers(&admin).await });
            if let Ok(Ok(Err(error))) = timeout(ANSWERS_PATIENCE, rest).await {
                tracing::warn!(%error, "kept answers that name somebody erased are deleted later");
            }
            Ok(erased)
        })
    }

    fn clear_leftovers(&self) -> Answer<'_, ()> {
        let lane = self.admin.clone();
        detached(async move {
            leftovers::clear_answers(&lane).await?;
            leftovers::clear_lists(&lane).await
        })
    }
}

fn hash(list: &SegmentKey) -> i64 {
    NameHash::of(list.as_str()).0.cast_signed()
}

/// Reads people, and once more those whom keys among them lead to that were merged: ordinary people
/// pay nothing for these.
async fn load(connection: &mut PgConnection, people: Vec<(u32, Uid)>) -> Result<Vec<((u32, Uid), UserRow)>, Error> {
    let (mut found, mut leads) = (Vec::with_capacity(people.len()), BTreeMap::<(u32, Uid), Vec<Uid>>::new());
    let mut asked = people;
    while !asked.is_empty() {
        let accounts: Vec<_> = asked.iter().map(|(account, _)| account.cast_signed()).collect();
        let uids: Vec<_> = asked.iter().map(|(_, uid)| uid.as_uuid()).collect();
        let mut next = BTreeMap::<_, Vec<Uid>>::new();
        for row in query(LOAD).bind(accounts).bind(uids).fetch_all(&mut *connection).await? {
            let ((account, uid), row) = rows::user(&row)?;
            match (row.merged_into, leads.remove(&(account, uid))) {
                (None, None) => found.push(((account, uid), row)),
                (None, Some(keys)) => {
                    let row = UserRow { merged_into: Some(uid), ..row };
                    found.extend(keys.into_iter().map(|key| ((account, key), row.clone())));
                }
                (Some(person), keys) => {
                    next.entry((account, person)).or_default().extend(keys.unwrap_or_else(|| vec![uid]));
                }
            }
        }
        asked = next.keys().copied().collect();
        leads = next;
    }
    Ok(found)
}

async fn profile(connection: &mut PgConnection, account: i32, uid: Uuid) -> Result<FoundProfile, Error> {
    let row = query(
        "select p.key, p.version, p.traits, p.created_at, p.updated_at, p.erased_at, p.merged_into, m.names, m.expiries,
                (select key from profile q where q.account = p.account and q.uid = p.merged_into) as into_key
         from profile p
         left join lateral (
             select array_agg(l.name) as names, array_agg(m.expires_at) as expiries
             from list_member m join list l using (account, list) where m.account = p.account and m.uid = p.uid
         ) m on true
         where p.account = $1 and p.uid = $2",
    )
    .bind(account)
    .bind(uid)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(FoundProfile::Nobody) };
    if rows::maybe_millis(&row, "erased_at")?.is_some() {
        return Ok(FoundProfile::Erased);
    }
    Ok(match rows::maybe_uid(&row, "merged_into")? {
        Some(into) => FoundProfile::Merged(into, rows::parsed(&row, "into_key")?),
        None => FoundProfile::Known(Box::new(rows::profile(&row)?)),
    })
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
) -> Result<Moved, Error> {
    let mut tries = 0;
    loop {
        if let Some(end) = settled(move_members(connection, account, &list, &changes).await, &mut tries) {
            return end;
        }
    }
}

/// One try; none when somebody was merged meanwhile.
async fn move_members(
    connection: &mut PgConnection,
    account: i32,
    list: &SegmentKey,
    changes: &[MemberChange],
) -> Result<Option<Moved>, Error> {
    let mut tx = connection.begin().await?;
    query(BESIDE).bind(account).bind(hash(list)).execute(&mut *tx).await?;
    let asked: Vec<_> = changes.iter().map(|change| change.uid.as_uuid()).collect();
    let leads = identity::leads(&mut tx, account, &asked).await?;
    // In the order of their uid; of several changes to the same person the last one counts.
    let person = |uid: Uid| leads.get(&uid.as_uuid()).map_or(uid, |&to| to.into());
    let last: BTreeMap<_, _> =
        changes.iter().map(|change| (person(change.uid), (&change.key, change.change))).collect();
    let all: Vec<_> = last.keys().map(|uid| uid.as_uuid()).collect();
    let (mut entering, mut keys) = (Vec::new(), Vec::new());
    for (uid, (key, change)) in &last {
        if let Membership::In { .. } = change {
            entering.push(uid.as_uuid());
            keys.push(key.as_str().to_owned());
        }
    }
    query("insert into list (account, list, name) values ($1, $2, $3) on conflict do nothing")
        .bind(account)
        .bind(hash(list))
        .bind(list.as_str())
        .execute(&mut *tx)
        .await?;
    query(identity::ENSURE).bind(account).bind(&entering).bind(keys).execute(&mut *tx).await?;
    let held: Vec<(Uuid, bool)> = query_as(
        "select p.* from unnest($2::uuid[]) k (uid) cross join lateral (
             select uid, merged_into is not null from profile
             where account = $1 and uid = k.uid and erased_at is null for update) p",
    )
    .bind(account)
    .bind(all)
    .fetch_all(&mut *tx)
    .await?;
    if held.iter().any(|(_, merged)| *merged) {
        return Ok(None);
    }
    let (mut uids, mut stay, mut until) = (Vec::new(), Vec::new(), Vec::new());
    for (uid, _) in held {
        if let Some((_, change)) = last.get(&Uid::from(uid)) {
            let (stays, end) = match change {
                Membership::In { expires_at } => (true, expires_at.map(|at| at.0)),
                Membership::Out => (false, None),
            };
            uids.push(uid);
            stay.push(stays);
            until.push(end);
        }
    }
    let moved = query(CHANGE)
        .bind(account)
        .bind(uids)
        .bind(stay)
        .bind(hash(list))
        .bind(list.as_str())
        .bind(until)
        .fetch_all(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Some(rows::moved(&moved)?))
}
