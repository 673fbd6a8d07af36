//! The events of erased people.

use sqlx::{AssertSqlSafe, query, query_scalar, types::Uuid};

use super::super::Lane;
use crate::{domain::ids::Uid, ports::StoreError};

/// People in one pass.
const MOST: i64 = 10_000;
/// Blocks of a table in one statement: 256 MiB of the usual 8 KiB.
const BLOCKS: usize = 32_768;
/// How long somebody may wait for a pass that nobody asked for.
const PATIENCE_MS: i64 = 6 * 3_600_000;

/// Deletes the events of one erased person, under every key, at once; without one, of all erased people once the
/// first of them waits for some hours, so that everything is read a few times a day at most. The default partition comes
/// first: rows may move out of it into a partition, never the other way.
pub(super) async fn erase(lane: Lane, only: Option<(u32, Vec<Uid>)>) -> Result<u64, StoreError> {
    let uuids = |uids: Vec<Uid>| uids.into_iter().map(Uid::as_uuid).collect::<Vec<_>>();
    let (account, uids) = only.map(|(account, uids)| (account.cast_signed(), uuids(uids))).unzip();
    let due: Vec<(i32, Uuid)> = lane
        .run(move |connection| {
            Box::pin(
                sqlx::query_as(
                    "select account, uid from event_erasure
                     where account = $1 and uid = any($2) or $1::int is null and (select min(at) from event_erasure) < now_ms() - $4
                     limit $3",
                )
                .bind(account)
                .bind(uids)
                .bind(MOST)
                .bind(PATIENCE_MS)
                .fetch_all(connection),
            )
        })
        .await?;
    if due.is_empty() {
        return Ok(0);
    }
    let (accounts, uids): (Vec<i32>, Vec<Uuid>) = due.into_iter().unzip();
    let mut gone = delete(&lane, "event_default", &accounts, &uids).await?;
    let partitions: Vec<String> = lane
        .run(|connection| {
            Box::pin(
                query_scalar(
                    "select inhrelid::regclass::text from pg_inherits where inhparent = 'event'::regclass
                     and inhrelid <> 'event_default'::regclass order by 1",
                )
                .fetch_all(connection),
            )
        })
        .await?;
    for partition in partitions {
        gone += delete(&lane, &partition, &accounts, &uids).await?;
    }
    delete(&lane, "event_erasure", &accounts, &uids).await?;
    Ok(gone)
}

/// Deletes the rows of people from a table, some of its blocks in each statement: none takes long, however large
/// the table is, and what one deleted stays so. Nothing is added of the erased, so no block needs to be read again.
async fn delete(lane: &Lane, table: &str, accounts: &[i32], uids: &[Uuid]) -> Result<u64, StoreError> {
    let (name, mut gone) = (table.to_owned(), 0);
    let size = lane.run(move |connection| {
        let size = "select pg_relation_size(to_regclass($1)) / current_setting('block_size')::bigint";
        Box::pin(query_scalar::<_, Option<i64>>(size).bind(name).fetch_one(connection))
    });
    // A partition past its retention is gone with all its events.
    let blocks = size.await?.unwrap_or(0);
    for from in (0..blocks).step_by(BLOCKS) {
        gone += delete_between(lane, table, from, accounts, uids).await?;
    }
    Ok(gone)
}

async fn delete_between(
    lane: &Lane,
    table: &str,
    from: i64,
    accounts: &[i32],
    uids: &[Uuid],
) -> Result<u64, StoreError> {
    let (accounts, uids) = (accounts.to_vec(), uids.to_vec());
    let upto = from + BLOCKS as i64;
    let sql = format!(
        "delete from {table} e using unnest($1::int[], $2::uuid[]) q (account, uid)
         where e.account = q.account and e.uid = q.uid and e.ctid >= '({from},0)' and e.ctid < '({upto},0)'"
    );
    let deleted = lane.run(move |connection| {
        Box::pin(async move {
            // The name comes from the database itself, quoted where it must be.
            let call = query(AssertSqlSafe(sql)).persistent(false).bind(accounts).bind(uids);
            call.execute(connection).await.map(|done| done.rows_affected())
        })
    });
    match deleted.await {
        // gone meanwhile
        Err(StoreError::Refused(why)) if why.starts_with("42P01") => Ok(0),
        other => other,
    }
}
