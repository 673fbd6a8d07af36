//! The history of new streams: partitions read block by block.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, Error, PgConnection, Row, query, query_as, types::Uuid};

use super::hold;
use crate::{
    domain::{
        audience::activity::Event,
        ids::{EventName, Uid},
    },
    ports::{BackfillStep, Fold},
    store::rows,
};

/// Blocks read in one step: some 2,500 events.
const BLOCKS: i64 = 64;

/// Stands for the default partition, which comes last.
const DEFAULT_DAY: i32 = i32::MAX;

/// Events of before an epoch, to be folded into the streams that it added.
pub(super) struct Job {
    pub(super) account: u32,
    pub(super) epoch: i64,
    pub(super) names: Vec<EventName>,
    pub(super) fold: Fold,
}

/// Where the reading stands.
struct Place {
    partition: String,
    day: i32,
    from: i64,
}

/// One step. Which blocks are read, what is folded and how far it came are one transaction. Blocks
/// may be appended to meanwhile: what comes now is folded with the new streams already and is left
/// out by its epoch.
pub(super) async fn step(connection: &mut PgConnection, job: Job) -> Result<BackfillStep, Error> {
    let account = job.account.cast_signed();
    let mut tx = connection.begin().await?;
    // Rows of the default partition stay where they are for so long.
    query("select pg_advisory_xact_lock_shared(7358803)").execute(&mut *tx).await?;
    let at: Option<(String, Option<i32>, i64)> =
        query_as("select state, day, block from stream_epoch where account = $1 and epoch = $2 for update skip locked")
            .bind(account)
            .bind(job.epoch)
            .fetch_optional(&mut *tx)
            .await?;
    let Some((state, day, block)) = at else { return Ok(BackfillStep::Busy) };
    if state == "live" {
        return Ok(BackfillStep::Live);
    }
    let Some(place) = next(&mut tx, day, block).await? else {
        query("update stream_epoch set state = 'live', live_at = now_ms() where account = $1 and epoch = $2")
            .bind(account)
            .bind(job.epoch)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        return Ok(BackfillStep::Live);
    };
    let events = read(&mut tx, &job, &place).await?;
    fold(&mut tx, account, &job, &events).await?;
    query("update stream_epoch set day = $3, block = $4, events = events + $5 where account = $1 and epoch = $2")
        .bind(account)
        .bind(job.epoch)
        .bind(place.day)
        .bind(place.from + BLOCKS)
        .bind(events.len() as i64)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(BackfillStep::More)
}

/// The next blocks with anything in them.
async fn next(tx: &mut PgConnection, day: Option<i32>, block: i64) -> Result<Option<Place>, Error> {
    let row = query(
        "select p.* from (
             select c.oid::regclass::text as partition, pg_relation_size(c.oid) / current_setting('block_size')::int as blocks,
                    case c.relname when 'event_default' then $3 else to_date(right(c.relname, 8), 'YYYYMMDD') - date '1970-01-01' end as day
             from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'event'::regclass) p
         where $1::int is null and p.blocks > 0 or p.day > $1 and p.blocks > 0 or p.day = $1 and p.blocks > $2
         order by p.day limit 1",
    )
    .bind(day)
    .bind(block)
    .bind(DEFAULT_DAY)
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let found: i32 = row.try_get("day")?;
    let from = if day == Some(found) { block } else { 0 };
    Ok(Some(Place { partition: row.try_get("partition")?, day: found, from }))
}

async fn read(tx: &mut PgConnection, job: &Job, place: &Place) -> Result<Vec<(Uid, Event)>, Error> {
    let names: Vec<&str> = job.names.iter().map(EventName::as_str).collect();
    // The name comes from the database itself, quoted where it must be.
    let sql = format!(
        "select at, uid, type, properties from only {} where ctid >= $1::text::tid and ctid < $2::text::tid
         and account = $3 and folded_epoch < $4 and not late and type = any($5)",
        place.partition
    );
    let rows = query(AssertSqlSafe(sql))
        .persistent(false)
        .bind(format!("({},0)", place.from))
        .bind(format!("({},0)", place.from + BLOCKS))
        .bind(job.account.cast_signed())
        .bind(job.epoch)
        .bind(names)
        .fetch_all(tx)
        .await?;
    rows.iter().map(rows::event).collect()
}

async fn fold(tx: &mut PgConnection, account: i32, job: &Job, events: &[(Uid, Event)]) -> Result<(), Error> {
    let mut people: BTreeMap<Uid, Vec<&Event>> = BTreeMap::new();
    for (uid, event) in events {
        people.entry(*uid).or_default().push(event);
    }
    let (held, _) = hold(tx, account, &mut people).await?;
    let (mut uids, mut packed): (Vec<Uuid>, Vec<Vec<u8>>) = Default::default();
    for (uid, events) in &people {
        let Some(person) = held.get(uid).filter(|person| !person.erased) else { continue };
        let folded = (job.fold)(&person.packed, events);
        if folded != person.packed {
            uids.push(uid.as_uuid());
            packed.push(folded);
        }
    }
    if uids.is_empty() {
        return Ok(());
    }
    query(
        "with written as (
             insert into profile (account, uid, packed) select $1, * from unnest($2::uuid[], $3::bytea[])
             on conflict (account, uid) do update
             set packed = excluded.packed, version = profile.version + 1, updated_at = excluded.updated_at
             returning uid, version)
         insert into change_log (kind, account, uid, version) select 'person', $1, uid, version from written",
    )
    .bind(account)
    .bind(uids)
    .bind(packed)
    .execute(tx)
    .await
    .map(drop)
}
