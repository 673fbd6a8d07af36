//! Batches of webhooks, handed out to one deliverer at a time.
//!
//! A claim is a lease and no lock: a transaction that stayed open while a receiver takes its time
//! would hold back everything that is read in the order of transactions.

use sqlx::{Connection as _, Error, PgConnection, Row, postgres::PgRow, query, query_scalar, types::Uuid};

use super::document;
use crate::{
    domain::{values::Millis, webhook::Secret},
    ports::{DeliveryJob, TransitionCursor},
    store::{postgres::transitions::told, rows},
};

/// A webhook with something to deliver, or one that was not looked at for a minute, whose place then
/// moves past what it does not tell. Those of chosen segments look at these alone.
const DUE: &str = "
    select w.account, w.id, w.url, w.segments, w.entries, w.exits, w.paused, w.secret, w.failures, w.failing_since,
           case when w.old_until > now_ms() then w.old_secret end as old_secret, now_ms() as now,
           w.xid::text as xid, w.seq, w.upto_xid::text as upto_xid, w.upto_seq, low.xid::text as low
    from webhook w, (select pg_snapshot_xmin(pg_current_snapshot()) as xid, now_ms() as now) low
    where w.paused is null and w.next_at <= low.now and w.claimed_until <= low.now
      and (w.upto_xid is not null or w.looked_at <= low.now - 60000
        or w.segments is null and exists (
            select from transition t where t.account = w.account and (t.xid, t.seq) > (w.xid, w.seq)
              and t.xid < low.xid and case when t.entered then w.entries else w.exits end)
        or exists (
            select from unnest(w.segments) chosen (segment) cross join lateral (
                select from transition t where t.account = w.account and t.segment = chosen.segment
                  and (t.xid, t.seq) > (w.xid, w.seq) and t.xid < low.xid
                  and case when t.entered then w.entries else w.exits end limit 1) one))
    order by w.next_at, w.looked_at limit 1
    for update of w skip locked";

/// The batch: what lies between two places and below the oldest open transaction, which is all that
/// will ever lie there.
macro_rules! batch {
    ($from:literal) => {
        concat!(
            "select t.xid::text as xid, t.seq, t.segment, t.uid, p.key, t.entered, t.at from ",
            $from,
            " left join profile p on p.account = t.account and p.uid = t.uid
             where p.key is not null or t.erased order by t.xid, t.seq limit $9"
        )
    };
}

const OF_ALL: &str = batch!(
    "(select * from transition t
      where account = $1 and (xid, seq) > ($3::text::xid8, $4) and (xid, seq) <= ($5::text::xid8, $6)
        and case when entered then $7 else $8 end and $2::text[] is null) t"
);

const OF_CHOSEN: &str = batch!(
    "unnest($2::text[]) chosen (segment) cross join lateral (
         select * from transition t
         where account = $1 and t.segment = chosen.segment
           and (xid, seq) > ($3::text::xid8, $4) and (xid, seq) <= ($5::text::xid8, $6)
           and case when entered then $7 else $8 end
         order by xid, seq) t"
);

/// What a look at the webhooks came to.
enum Look {
    Claimed(Box<DeliveryJob>),
    /// One had nothing to tell; there may be others.
    Passed,
    Nothing,
}

/// See [`crate::ports::WebhookStore::claim`].
pub(super) async fn claim(connection: &mut PgConnection, batch: u32, lease: i64) -> Result<Option<DeliveryJob>, Error> {
    loop {
        match look(connection, batch, lease).await? {
            Look::Claimed(job) => return Ok(Some(*job)),
            Look::Passed => {}
            Look::Nothing => return Ok(None),
        }
    }
}

async fn look(connection: &mut PgConnection, batch: u32, lease: i64) -> Result<Look, Error> {
    let mut tx = connection.begin().await?;
    let Some(row) = query(DUE).fetch_optional(&mut *tx).await? else {
        tx.rollback().await?;
        return Ok(Look::Nothing);
    };
    let number = |column: &str| -> Result<u64, Error> {
        row.try_get::<&str, _>(column)?.parse().map_err(|error: std::num::ParseIntError| Error::Decode(error.into()))
    };
    let (account, id): (i32, String) = (row.try_get("account")?, row.try_get("id")?);
    let from = TransitionCursor { xid: number("xid")?, seq: row.try_get("seq")? };
    let pinned = match row.try_get::<Option<i64>, _>("upto_seq")? {
        Some(seq) => Some(TransitionCursor { xid: number("upto_xid")?, seq }),
        None => None,
    };
    let low = TransitionCursor { xid: number("low")?.saturating_sub(1), seq: i64::MAX };
    let reach = pinned.unwrap_or(low);
    let segments: Option<Vec<String>> = row.try_get("segments")?;
    let batch_of = if segments.is_some() { OF_CHOSEN } else { OF_ALL };
    let read = query(batch_of)
        .bind(account)
        .bind(segments)
        .bind(from.xid.to_string())
        .bind(from.seq)
        .bind(reach.xid.to_string())
        .bind(reach.seq)
        .bind(row.try_get::<bool, _>("entries")?)
        .bind(row.try_get::<bool, _>("exits")?)
        .bind(i64::from(batch))
        .fetch_all(&mut *tx)
        .await?;
    let transitions = read.iter().map(told).collect::<Result<Vec<_>, _>>()?;
    if pinned.is_none() && transitions.is_empty() {
        // nothing to tell up to here
        query(
            "update webhook set xid = greatest(xid, $3::text::xid8), looked_at = now_ms(),
                 seq = case when xid < $3::text::xid8 then $4 else seq end
             where account = $1 and id = $2",
        )
        .bind(account)
        .bind(&id)
        .bind(low.xid.to_string())
        .bind(low.seq)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        return Ok(Look::Passed);
    }
    let upto = pinned.or(transitions.last().map(|last| last.cursor)).unwrap_or(low);
    let claim: Uuid = query_scalar(
        "update webhook set claim = gen_random_uuid(), claimed_until = now_ms() + $5, looked_at = now_ms(),
             upto_xid = $3::text::xid8, upto_seq = $4
         where account = $1 and id = $2 returning claim",
    )
    .bind(account)
    .bind(&id)
    .bind(upto.xid.to_string())
    .bind(upto.seq)
    .bind(lease)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Look::Claimed(Box::new(DeliveryJob {
        claim,
        account: account.cast_unsigned(),
        id: rows::parsed(&row, "id")?,
        document: document(&row)?,
        secrets: secrets(&row)?,
        from,
        upto,
        transitions,
        failures: row.try_get::<i32, _>("failures")?.unsigned_abs(),
        failing_since: rows::maybe_millis(&row, "failing_since")?,
        now: Millis(row.try_get("now")?),
    })))
}

fn secrets(row: &PgRow) -> Result<Vec<Secret>, Error> {
    let newest = Some(row.try_get::<Vec<u8>, _>("secret")?);
    let older = row.try_get::<Option<Vec<u8>>, _>("old_secret")?;
    let secrets = newest.into_iter().chain(older).map(Secret::new);
    secrets.collect::<Result<_, _>>().map_err(|error| Error::Decode(error.into()))
}
