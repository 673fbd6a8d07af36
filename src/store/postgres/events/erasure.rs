//! The events of erased people.

use sqlx::{AssertSqlSafe, query, query_scalar, types::Uuid};

use super::super::Lane;
use crate::{domain::ids::Uid, ports::StoreError};

/// People in one pass.
const MOST: i64 = 10_000;
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

async fn delete(lane: &Lane, table: &str, accounts: &[i32], uids: &[Uuid]) -> Result<u64, StoreError> {
    let (accounts, uids) = (accounts.to_vec(), uids.to_vec());
    let sql = format!(
        "delete from {table} e using unnest($1::int[], $2::uuid[]) q (account, uid)
         where e.account = q.account and e.uid = q.uid"
    );
    let deleted = lane.run(move |connection| {
        Box::pin(async move {
            // The name comes from the database itself, quoted where it must be.
            let call = query(AssertSqlSafe(sql)).persistent(false).bind(accounts).bind(uids);
            call.execute(connection).await.map(|done| done.rows_affected())
        })
    });
    match deleted.await {
        // A partition past its retention is gone with all its events.
        Err(StoreError::Refused(why)) if why.starts_with("42P01") => Ok(0),
        other => other,
    }
}
