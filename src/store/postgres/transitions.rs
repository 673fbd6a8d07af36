//! Who entered and who left which segment.

use sqlx::{Connection, PgConnection, Row, postgres::PgRow, query, query_scalar, types::Uuid};

use super::{Lane, Lanes, standings};
use crate::{
    domain::{
        ids::{SegmentKey, Uid},
        values::Millis,
    },
    ports::{
        Answer, StandingRow, StandingStep, TransitionCursor, TransitionDay, TransitionRead, TransitionRow,
        TransitionStore,
    },
    store::rows,
};

/// See [`TransitionStore`].
pub(in crate::store) struct Transitions {
    ingest: Lane,
    admin: Lane,
}

impl Transitions {
    /// Days that transitions are kept.
    const DAYS: u16 = 30;

    pub(in crate::store) fn new(lanes: &Lanes) -> Self {
        Self { ingest: lanes.ingest.clone(), admin: lanes.admin.clone() }
    }
}

impl TransitionStore for Transitions {
    fn standings(&self, account: u32, uids: Vec<Uid>) -> Answer<'_, Vec<StandingRow>> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let uids: Vec<_> = uids.into_iter().map(Uid::as_uuid).collect();
                let rows = query(
                    "select s.* from unnest($2::uuid[]) k (uid) cross join lateral (
                         select account, uid, version, base, packed, due, made from standing
                         where account = $1 and uid = k.uid limit 1) s",
                );
                let rows = rows.bind(account.cast_signed()).bind(uids).fetch_all(connection).await?;
                rows.iter().map(standing).collect()
            })
        })
    }

    fn due(&self, now: Millis, limit: u32) -> Answer<'_, Vec<StandingRow>> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let rows = query(
                    "select account, uid, version, base, packed, due, made from standing where due <= $1 order by due limit $2",
                );
                let rows = rows.bind(now.0).bind(i64::from(limit)).fetch_all(connection).await?;
                rows.iter().map(standing).collect()
            })
        })
    }

    fn step(&self, steps: Vec<StandingStep>) -> Answer<'_, Vec<(u32, Uid)>> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let mut tx = connection.begin().await?;
                let passed = standings::keep(&mut tx, &steps).await?;
                let mut told = Vec::new();
                for step in steps {
                    if passed.binary_search(&(step.account, step.uid)).is_err() {
                        told.extend(step.told);
                    }
                }
                if !told.is_empty() {
                    record(&mut tx, &told).await?;
                }
                tx.commit().await?;
                Ok(passed)
            })
        })
    }

    fn postpone(&self, who: Vec<(u32, Uid)>, until: Millis) -> Answer<'_, ()> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let (accounts, uids): (Vec<_>, Vec<_>) =
                    who.into_iter().map(|(account, uid)| (account.cast_signed(), uid.as_uuid())).unzip();
                let call = query(
                    "update standing s set due = greatest(s.due, $3) from unnest($1::int[], $2::uuid[]) w (account, uid)
                     where s.account = w.account and s.uid = w.uid",
                );
                call.bind(accounts).bind(uids).bind(until.0).execute(connection).await.map(drop)
            })
        })
    }

    fn expire(&self, now: Millis, limit: u32) -> Answer<'_, u64> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                // A page that is not full was the last one.
                let told = query_scalar::<_, i64>(
                    "with passed as materialized (
                         select *, least($1, now_ms()) as now from list_expiry where upto < $1 for update skip locked),
                     page as materialized (
                         select m.* from passed p cross join lateral (
                             select expires_at, account, list, uid from list_member
                             where expires_at is not null and expires_at <= p.now
                               and (expires_at, account, list, uid) > (p.upto, p.account, p.list, p.uid)
                             order by expires_at, account, list, uid limit $2) m),
                     last as (
                         select * from page order by expires_at desc, account desc, list desc, uid desc limit 1),
                     moved as (
                         update list_expiry e
                         set upto = case when n.more then n.expires_at else n.now end,
                             account = case when n.more then n.account else 2147483647 end,
                             list = case when n.more then n.list else 9223372036854775807 end,
                             uid = case when n.more then n.uid else 'ffffffff-ffff-ffff-ffff-ffffffffffff' end
                         from (select p.now, l.*, (select count(*) from page) = $2 as more
                               from passed p left join last l on true) n),
                     told as (
                         insert into transition (day, account, segment, uid, entered, at)
                         select m.expires_at / 86400000, m.account, l.name, m.uid, false, m.expires_at
                         from page m cross join lateral (
                             select name from list where account = m.account and list = m.list limit 1) l
                         order by m.expires_at)
                     select count(*) from page",
                );
                Ok(told.bind(now.0).bind(i64::from(limit)).fetch_one(connection).await?.unsigned_abs())
            })
        })
    }

    fn read(
        &self,
        account: u32,
        segment: SegmentKey,
        after: TransitionCursor,
        limit: u32,
    ) -> Answer<'_, Vec<TransitionRead>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let rows = query(
                    "select t.xid::text as xid, t.seq, t.segment, t.uid, p.key, t.entered, t.at
                     from transition t left join profile p on p.account = t.account and p.uid = t.uid
                     where (p.key is not null or t.erased) and t.account = $1 and t.segment = $2 and (t.xid, t.seq) > ($3::text::xid8, $4)
                       and t.xid < pg_snapshot_xmin(pg_current_snapshot())
                     order by t.xid, t.seq limit $5",
                )
                .bind(account.cast_signed())
                .bind(segment.as_str())
                .bind(after.xid.to_string())
                .bind(after.seq)
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await?;
                rows.iter().map(told).collect()
            })
        })
    }

    fn daily(&self, account: u32, segments: Vec<SegmentKey>, from: i64, to: i64) -> Answer<'_, Vec<TransitionDay>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let keys: Vec<String> = segments.iter().map(|key| key.as_str().to_owned()).collect();
                let rows = query(
                    "select segment, day, count(*) filter (where entered) as entered,
                            count(*) filter (where not entered) as gone
                     from transition where account = $1 and segment = any ($2) and day between $3 and $4
                     group by segment, day order by segment, day",
                )
                .bind(account.cast_signed())
                .bind(keys)
                .bind(i32::try_from(from).unwrap_or(0))
                .bind(i32::try_from(to).unwrap_or(i32::MAX))
                .fetch_all(connection)
                .await?;
                let day = |row: &PgRow| {
                    let count = |column: &str| row.try_get::<i64, _>(column).map(i64::unsigned_abs);
                    let (segment, day) = (rows::parsed(row, "segment")?, row.try_get::<i32, _>("day")?.into());
                    Ok(TransitionDay { segment, day, entered: count("entered")?, left: count("gone")? })
                };
                rows.iter().map(day).collect()
            })
        })
    }

    fn kept_days(&self) -> u32 {
        Self::DAYS.into()
    }

    fn end(&self) -> Answer<'_, TransitionCursor> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let low: String =
                    query_scalar("select pg_snapshot_xmin(pg_current_snapshot())::text").fetch_one(connection).await?;
                // everything of earlier transactions stands before this
                let xid = low.parse::<u64>().map_err(|error| sqlx::Error::Decode(error.into()))?;
                Ok(TransitionCursor { xid: xid.saturating_sub(1), seq: i64::MAX })
            })
        })
    }

    fn maintain(&self, now: Millis) -> Answer<'_, ()> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                query("select keep_transitions($1, $2)")
                    .bind(now.0)
                    .bind(i32::from(Self::DAYS))
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
    }
}

/// Writes down who entered and who left.
pub(in crate::store) async fn record(connection: &mut PgConnection, rows: &[TransitionRow]) -> Result<(), sqlx::Error> {
    let accounts: Vec<i32> = rows.iter().map(|row| row.account.cast_signed()).collect();
    let segments: Vec<&str> = rows.iter().map(|row| row.segment.as_str()).collect();
    let uids: Vec<Uuid> = rows.iter().map(|row| row.uid.as_uuid()).collect();
    let entered: Vec<bool> = rows.iter().map(|row| row.entered).collect();
    let at: Vec<i64> = rows.iter().map(|row| row.at.0).collect();
    let erased: Vec<bool> = rows.iter().map(|row| row.erased).collect();
    query(
        "insert into transition (day, account, segment, uid, entered, at, erased)
         select w.at / 86400000, w.account, w.segment, w.uid, w.entered, w.at, w.erased
         from unnest($1::int[], $2::text[], $3::uuid[], $4::bool[], $5::bigint[], $6::bool[])
              w (account, segment, uid, entered, at, erased)",
    )
    .bind(accounts)
    .bind(segments)
    .bind(uids)
    .bind(entered)
    .bind(at)
    .bind(erased)
    .execute(connection)
    .await?;
    Ok(())
}

fn standing(row: &PgRow) -> Result<StandingRow, sqlx::Error> {
    let (account, uid) = (rows::account(row, "account")?, rows::uid(row, "uid")?);
    let (version, base, packed) = (row.try_get("version")?, row.try_get("base")?, row.try_get("packed")?);
    let (due, made) = (rows::millis(row, "due")?, rows::millis(row, "made")?);
    Ok(StandingRow { account, uid, version, base, packed, due, made })
}

/// A transition that followers are told.
pub(super) fn told(row: &PgRow) -> Result<TransitionRead, sqlx::Error> {
    Ok(TransitionRead {
        cursor: TransitionCursor { xid: rows::parsed(row, "xid")?, seq: row.try_get("seq")? },
        segment: rows::parsed(row, "segment")?,
        uid: rows::uid(row, "uid")?,
        key: rows::maybe_key(row)?,
        entered: row.try_get("entered")?,
        at: rows::millis(row, "at")?,
    })
}
