//! Events: written with the profiles that they change, read by the partition.

mod backfill;
mod erasure;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::{Connection, Error, PgConnection, Row, query, query_as, query_scalar, types::Uuid};

use super::{Lane, Lanes};
use crate::{
    domain::{
        audience::activity::Event,
        ids::{EventName, Uid},
        values::Millis,
    },
    ports::{
        Answer, BackfillStep, BatchWritten, EventBatch, EventRow, EventStore, Fold, FoldedPerson, Ingested, StoreError,
        StreamRow,
    },
    store::{Options, rows},
};

/// How long ids of events are told apart, in days.
const KEY_DAYS: i32 = 35;
/// Ids of old events that one statement forgets.
const OLD_KEYS: i64 = 100_000;

/// See [`EventStore`].
pub(in crate::store) struct Events {
    ingest: Lane,
    admin: Lane,
    event_days: i32,
}

impl Events {
    pub(in crate::store) fn new(lanes: &Lanes, options: &Options) -> Self {
        Self { ingest: lanes.ingest.clone(), admin: lanes.admin.clone(), event_days: options.event_days.into() }
    }
}

impl EventStore for Events {
    fn ingest(&self, batch: EventBatch) -> Answer<'_, BatchWritten> {
        self.ingest.run(move |connection| Box::pin(ingest(connection, batch)))
    }

    fn streams(&self, account: u32) -> Answer<'_, (i64, Vec<StreamRow>)> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let rows = query(
                    "select e.epoch, e.state = 'live' as live, s.id, s.definition
                     from stream_epoch e left join stream s using (account, epoch) where e.account = $1 order by e.epoch, s.id",
                )
                .bind(account.cast_signed())
                .fetch_all(connection)
                .await?;
                let epoch = rows.last().map_or(Ok(0), |row| row.try_get("epoch"))?;
                let streams = rows.iter().filter_map(|row| rows::stream(row).transpose());
                Ok((epoch, streams.collect::<Result<_, _>>()?))
            })
        })
    }

    fn add_streams(&self, account: u32, streams: Vec<StreamRow>) -> Answer<'_, ()> {
        self.ingest.run(move |connection| Box::pin(add_streams(connection, account.cast_signed(), streams)))
    }

    fn keep_types(&self, account: u32, names: Vec<EventName>, most: usize) -> Answer<'_, ()> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let keep = query(
                    "insert into event_type (account, type)
                     select $1, n.type from unnest($2::text[]) n (type)
                     where (select count(*) from event_type where account = $1) < $3
                     order by n.type on conflict do nothing",
                );
                let names: Vec<&str> = names.iter().map(EventName::as_str).collect();
                keep.bind(account.cast_signed()).bind(names).bind(most as i64).execute(connection).await.map(drop)
            })
        })
    }

    fn types(&self, account: u32) -> Answer<'_, Vec<String>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let types = query_scalar("select type from event_type where account = $1");
                types.bind(account.cast_signed()).fetch_all(connection).await
            })
        })
    }

    fn backfill(&self, account: u32, epoch: i64, names: Vec<EventName>, fold: Fold) -> Answer<'_, BackfillStep> {
        let job = backfill::Job { account, epoch, names, fold };
        self.ingest.run(move |connection| Box::pin(backfill::step(connection, job)))
    }

    fn erase_events(&self, only: Option<(u32, Vec<Uid>)>) -> Answer<'_, u64> {
        let lane = self.admin.clone();
        super::detached(erasure::erase(lane, only))
    }

    fn maintain(&self, now: Millis) -> Answer<'_, ()> {
        let (lane, event_days) = (self.admin.clone(), self.event_days);
        super::detached(async move {
            let partitions = lane.run(move |connection| {
                Box::pin(async move {
                    let call = query("select maintain_events($1, $2, $3)").bind(now.0).bind(event_days).bind(KEY_DAYS);
                    call.execute(connection).await.map(drop)
                })
            });
            let partitions = partitions.await;
            // What the function itself drops keeps pace with few events only, and not beside a backfill. Each
            // call has the lane's whole time.
            while forget_keys(&lane, now).await? >= OLD_KEYS.unsigned_abs() {}
            partitions
        })
    }
}

/// Forgets some ids of events that are too old to come again; how many.
async fn forget_keys(lane: &Lane, now: Millis) -> Result<u64, StoreError> {
    let forget = lane.run(move |connection| {
        Box::pin(async move {
            let old = query(
                "delete from event_key where ctid = any (array(
                     select ctid from event_key where at < least($1, now_ms()) - $2 limit $3))",
            );
            let old = old.bind(now.0).bind(i64::from(KEY_DAYS) * 86_400_000).bind(OLD_KEYS);
            Ok(old.execute(connection).await?.rows_affected())
        })
    });
    forget.await
}

/// The UTC day of an instant.
fn day(at: Millis) -> i32 {
    i32::try_from(at.0.div_euclid(86_400_000)).unwrap_or(if at.0 < 0 { i32::MIN } else { i32::MAX })
}

/// Whoever adds streams holds this lock alone, whoever folds events with others: an event that is
/// folded without a stream was there before the stream. Ids stand for meanings, so that what is
/// written otherwise than it was is only told better.
async fn add_streams(connection: &mut PgConnection, account: i32, streams: Vec<StreamRow>) -> Result<(), Error> {
    let mut tx = connection.begin().await?;
    query("select pg_advisory_xact_lock(7358804, $1)").bind(account).execute(&mut *tx).await?;
    let (ids, definitions): (Vec<_>, Vec<_>) =
        streams.into_iter().map(|stream| (stream.id.cast_signed(), stream.definition.to_string())).unzip();
    query(
        "with new as (
             select * from unnest($2::bigint[], $3::text[]) w (id, definition)
             where (select s.epoch from stream s where s.account = $1 and s.id = w.id) is null),
         mended as (
             update stream s set definition = w.definition::json
             from unnest($2::bigint[], $3::text[]) w (id, definition)
             where s.account = $1 and s.id = w.id and s.definition::text <> w.definition),
         added as (
             insert into stream_epoch (account, epoch)
             select $1, 1 + coalesce((select max(epoch) from stream_epoch where account = $1), 0)
             where (select count(*) from new) > 0
             returning epoch)
         insert into stream (account, id, epoch, definition)
         select $1, new.id, added.epoch, new.definition::json from new, added",
    )
    .bind(account)
    .bind(ids)
    .bind(definitions)
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

async fn ingest(connection: &mut PgConnection, batch: EventBatch) -> Result<BatchWritten, Error> {
    let mut tries = 0;
    loop {
        if let Some(end) = super::settled(write(connection, &batch).await, &mut tries) {
            return end;
        }
    }
}

/// A person as they are held for their events.
struct Held {
    base: i64,
    packed: Vec<u8>,
    erased: bool,
    /// Whether the row has to be written even if the profile stays as it is.
    new: bool,
}

/// One try; none when somebody else created or changed a person in between, who was not there to
/// be locked.
async fn write(connection: &mut PgConnection, batch: &EventBatch) -> Result<Option<BatchWritten>, Error> {
    let account = batch.account.cast_signed();
    let mut tx = connection.begin().await?;
    query("select pg_advisory_xact_lock_shared(7358804, $1)").bind(account).execute(&mut *tx).await?;
    let Some((new, xid)) = take_ids(&mut tx, account, batch).await? else { return Ok(Some(BatchWritten::Behind)) };
    let first: Vec<bool> = first_of_each(&batch.events, &new);
    let mut people: BTreeMap<Uid, Vec<&EventRow>> = BTreeMap::new();
    for (event, _) in batch.events.iter().zip(&first).filter(|(_, first)| **first) {
        people.entry(event.uid).or_default().push(event);
    }
    let (mut held, leads) = hold(&mut tx, account, &mut people).await?;
    let mut folded = Vec::with_capacity(people.len());
    let mut changed = Vec::new();
    for (uid, events) in &people {
        let person = held.entry(*uid).or_insert(Held { base: 0, packed: Vec::new(), erased: false, new: true });
        if person.erased {
            continue;
        }
        let young: Vec<&Event> = events.iter().filter(|event| !event.late).map(|event| &event.event).collect();
        let packed = if young.is_empty() { person.packed.clone() } else { (batch.fold)(&person.packed, &young) };
        let is_changed = person.new || packed != person.packed;
        let version = person.base + i64::from(is_changed);
        if is_changed {
            changed.push((*uid, events[0].key.as_str(), folded.len()));
        }
        let before = std::mem::take(&mut person.packed);
        folded.push(FoldedPerson { uid: *uid, base: person.base, version, before, packed });
    }
    let erased = |uid: &Uid| held.get(leads.get(uid).unwrap_or(uid)).is_some_and(|person| person.erased);
    let kept = people.iter().filter(|(uid, _)| !erased(uid));
    let kept: Vec<(Uid, &EventRow)> =
        kept.flat_map(|(uid, events)| events.iter().map(|event| (*uid, *event))).collect();
    if keep(&mut tx, account, batch.epoch, &changed, &folded, &kept).await? < changed.len() as i64 {
        return Ok(None);
    }
    tx.commit().await?;
    let became = |(event, first): (&EventRow, &bool)| match first {
        false => Ingested::Duplicate,
        true if erased(&event.uid) => Ingested::Erased,
        true if event.late => Ingested::Late,
        true => Ingested::Accepted,
    };
    let events = batch.events.iter().zip(&first).map(became).collect();
    Ok(Some(BatchWritten::Done { events, people: folded, xid }))
}

/// Takes the ids that nobody has taken, in one order, so that two batches with repeats of each
/// other's events never wait for each other in a circle. None at another epoch.
async fn take_ids(
    tx: &mut PgConnection,
    account: i32,
    batch: &EventBatch,
) -> Result<Option<(HashSet<Uuid>, u64)>, Error> {
    let ids: BTreeMap<Uuid, i64> =
        batch.events.iter().rev().map(|event| (event.id.as_uuid(), event.received_at.0)).collect();
    let (ids, times): (Vec<_>, Vec<_>) = ids.into_iter().unzip();
    let row = query(
        "with now as (select coalesce(max(epoch), 0) as epoch from stream_epoch where account = $1),
         new as (
             insert into event_key (account, id, at)
             select $1, w.id, w.at from unnest($3::uuid[], $4::bigint[]) w (id, at) where (select epoch from now) = $2
             on conflict do nothing returning id)
         select epoch, array(select id from new) as new, pg_current_xact_id()::text as xid from now",
    )
    .bind(account)
    .bind(batch.epoch)
    .bind(ids)
    .bind(times)
    .fetch_one(tx)
    .await?;
    if row.try_get::<i64, _>("epoch")? != batch.epoch {
        return Ok(None);
    }
    let new: Vec<Uuid> = row.try_get("new")?;
    let xid = row.try_get::<&str, _>("xid")?.parse().map_err(|error| Error::Decode(Box::new(error)))?;
    Ok(Some((new.into_iter().collect(), xid)))
}

/// Of events with the same id the first one counts, if the id is new.
fn first_of_each(events: &[EventRow], new: &HashSet<Uuid>) -> Vec<bool> {
    let mut new = new.clone();
    events.iter().map(|event| new.remove(&event.id.as_uuid())).collect()
}

/// Those who are held, and whom the keys lead to that were merged.
type Hold = (HashMap<Uid, Held>, HashMap<Uid, Uid>);

/// Locks people as every writer about several people does, so that no two wait for each other in a
/// circle: first whoever is not there is put there, then all are locked, each in the order of
/// their uids. What is about a key that was merged becomes about the person whom it leads to,
/// before anybody is locked; only of keys merged at this very moment is the person locked last.
async fn hold<T>(tx: &mut PgConnection, account: i32, people: &mut BTreeMap<Uid, Vec<T>>) -> Result<Hold, Error> {
    let (mut held, mut leads): Hold = Default::default();
    let uids: Vec<Uuid> = people.keys().map(|uid| uid.as_uuid()).collect();
    // Asked whether they exist, and not for what they are, the planner would read everybody there is.
    let led: Vec<(Uuid, Uuid)> = query_as(
        "with new as (
             insert into profile (account, uid)
             select $1, uid from unnest($2::uuid[]) k (uid)
             where (select true from profile p where p.account = $1 and p.uid = k.uid) is null
             order by uid on conflict do nothing)
         select p.* from unnest($2::uuid[]) k (uid) cross join lateral (
             select uid, merged_into from profile
             where account = $1 and uid = k.uid and merged_into is not null limit 1) p",
    )
    .bind(account)
    .bind(&uids)
    .fetch_all(&mut *tx)
    .await?;
    for (key, person) in led {
        let (key, person) = (Uid::from(key), Uid::from(person));
        let about = people.remove(&key).unwrap_or_default();
        people.entry(person).or_default().extend(about);
        leads.insert(key, person);
    }
    let mut uids: Vec<Uuid> = people.keys().map(|uid| uid.as_uuid()).collect();
    while !uids.is_empty() {
        let rows = query(
            "select p.* from unnest($2::uuid[]) k (uid) cross join lateral (
                 select uid, version, packed, merged_into, erased_at is not null as erased, key is null as nameless
                 from profile where account = $1 and uid = k.uid for update) p",
        )
        .bind(account)
        .bind(uids)
        .fetch_all(&mut *tx)
        .await?;
        let mut next = BTreeSet::new();
        for row in &rows {
            let uid = rows::uid(row, "uid")?;
            if let Some(person) = rows::maybe_uid(row, "merged_into")? {
                let about = people.remove(&uid).unwrap_or_default();
                people.entry(person).or_default().extend(about);
                leads.insert(uid, person);
                next.insert(person);
                continue;
            }
            let (base, packed) = (row.try_get("version")?, row.try_get("packed")?);
            held.insert(uid, Held { base, packed, erased: row.try_get("erased")?, new: row.try_get("nameless")? });
        }
        uids = next.into_iter().filter(|uid| !held.contains_key(uid)).map(Uid::as_uuid).collect();
    }
    Ok((held, leads))
}

/// Writes changed people, tells of them and keeps the events; answers how many people were
/// written: fewer when one of them was not there to be locked and is now.
async fn keep(
    tx: &mut PgConnection,
    account: i32,
    epoch: i64,
    changed: &[(Uid, &str, usize)],
    folded: &[FoldedPerson],
    kept: &[(Uid, &EventRow)],
) -> Result<i64, Error> {
    macro_rules! column {
        ($from:expr, $value:expr) => {
            $from.iter().map($value).collect::<Vec<_>>()
        };
    }
    let row = query(
        "with written as (
             insert into profile (account, uid, key, version, packed)
             select $1, w.uid, w.key, w.base + 1, w.packed
             from unnest($3::uuid[], $4::text[], $5::bigint[], $6::bytea[]) w (uid, key, base, packed)
             on conflict (account, uid) do update
             set key = coalesce(profile.key, excluded.key), version = excluded.version, packed = excluded.packed,
                 updated_at = excluded.updated_at
             where profile.version = excluded.version - 1 and profile.erased_at is null
             returning uid, version),
         told as (
             insert into change_log (kind, account, uid, version) select 'person', $1, uid, version from written),
         kept as (
             insert into event (account, folded_epoch, day, at, received_at, uid, id, late, type, properties)
             select $1, $2, e.day, e.at, e.received_at, e.uid, e.id, e.late, e.type, e.properties::json
             from unnest($7::int[], $8::bigint[], $9::bigint[], $10::uuid[], $11::uuid[], $12::bool[], $13::text[], $14::text[])
                  e (day, at, received_at, uid, id, late, type, properties))
         select count(*) as written from written",
    )
    .bind(account)
    .bind(epoch)
    .bind(column!(changed, |(uid, ..)| uid.as_uuid()))
    .bind(column!(changed, |(_, key, _)| *key))
    .bind(column!(changed, |(.., at)| folded[*at].base))
    .bind(column!(changed, |(.., at)| folded[*at].packed.as_slice()))
    .bind(column!(kept, |(_, event)| day(event.event.at)))
    .bind(column!(kept, |(_, event)| event.event.at.0))
    .bind(column!(kept, |(_, event)| event.received_at.0))
    .bind(column!(kept, |(uid, _)| uid.as_uuid()))
    .bind(column!(kept, |(_, event)| event.id.as_uuid()))
    .bind(column!(kept, |(_, event)| event.late))
    .bind(column!(kept, |(_, event)| event.event.name.as_str()))
    .bind(column!(kept, |(_, event)| serde_json::to_string(&event.event.properties).unwrap_or_else(|_| "{}".into())))
    .fetch_one(tx)
    .await?;
    row.try_get("written")
}
