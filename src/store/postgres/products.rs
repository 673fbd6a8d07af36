//! What feeds hold.

use sqlx::{Error, Row, postgres::PgRow, query, query_scalar};
use uuid::Uuid;

use super::{Lane, Lanes};
use crate::{
    domain::ids::FeedId,
    ports::{Answer, FetchNote, Filled, ProductStore, StockRow, StockState, Validators},
    store::rows,
};

/// See [`ProductStore`].
pub(in crate::store) struct Products {
    admin: Lane,
}

impl Products {
    /// How long pieces of a filling may wait to be shown, in ms: longer than any upload lasts.
    const WAITING: i64 = 6 * 3_600_000;

    pub(in crate::store) fn new(lanes: &Lanes) -> Self {
        Self { admin: lanes.admin.clone() }
    }
}

impl ProductStore for Products {
    fn stocks(&self) -> Answer<'_, Vec<StockState>> {
        self.admin.run(|connection| {
            Box::pin(async move {
                let rows = query(
                    "select account, feed, generation, reading, next_at <= now_ms() as due,
                            claimed_until > now_ms() as claimed from feed_stock",
                );
                rows.fetch_all(connection).await?.iter().map(state).collect()
            })
        })
    }

    fn stock(&self, account: u32, feed: FeedId) -> Answer<'_, Option<StockRow>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let row = query(
                    "select generation, filled_at, source, items, available, rejected, fetched_at, error,
                            faults::text as faults, nullif(next_at, 0) as next_at
                     from feed_stock where account = $1 and feed = $2",
                );
                let row = row.bind(account.cast_signed()).bind(feed.as_str()).fetch_optional(connection).await?;
                row.as_ref().map(stock).transpose()
            })
        })
    }

    fn generation(&self) -> Answer<'_, i64> {
        self.admin.run(|connection| {
            Box::pin(async move { query_scalar("select nextval('feed_generation')").fetch_one(connection).await })
        })
    }

    fn stage(&self, account: u32, feed: FeedId, generation: i64, n: u32, piece: Vec<u8>) -> Answer<'_, ()> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                query("insert into feed_piece (account, feed, generation, n, body) values ($1, $2, $3, $4, $5)")
                    .bind(account.cast_signed())
                    .bind(feed.as_str())
                    .bind(generation)
                    .bind(n.cast_signed())
                    .bind(piece)
                    .execute(connection)
                    .await
                    .map(drop)
            })
        })
    }

    fn publish(&self, account: u32, feed: FeedId, generation: i64, filled: Filled, fetched: bool) -> Answer<'_, bool> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                // a feed that was deleted meanwhile stays gone
                let shown = query(
                    "insert into feed_stock as s
                        (account, feed, generation, filled_at, source, items, available, rejected)
                     select d.account, d.id, $3, now_ms(), $4, $5, $6, $7 from document d
                     where d.account = $1 and d.kind = 'feed' and d.id = $2 and d.version_to is null
                     on conflict (account, feed) do update set generation = $3, filled_at = now_ms(), source = $4,
                        items = $5, available = $6, rejected = $7
                     where s.generation < $3",
                )
                .bind(account.cast_signed())
                .bind(feed.as_str())
                .bind(generation)
                .bind(if fetched { "url" } else { "upload" })
                .bind(filled.items.cast_signed())
                .bind(filled.available.cast_signed())
                .bind(filled.rejected.cast_signed())
                .execute(connection)
                .await?;
                Ok(shown.rows_affected() > 0)
            })
        })
    }

    fn discard(&self, account: u32, feed: FeedId, generation: i64) -> Answer<'_, ()> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                query("delete from feed_piece where account = $1 and feed = $2 and generation = $3")
                    .bind(account.cast_signed())
                    .bind(feed.as_str())
                    .bind(generation)
                    .execute(connection)
                    .await
                    .map(drop)
            })
        })
    }

    fn pieces(&self, account: u32, feed: FeedId, generation: i64, from: u32, limit: u32) -> Answer<'_, Vec<Vec<u8>>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                query_scalar(
                    "select body from feed_piece where account = $1 and feed = $2 and generation = $3 and n >= $4
                     order by n limit $5",
                )
                .bind(account.cast_signed())
                .bind(feed.as_str())
                .bind(generation)
                .bind(from.cast_signed())
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await
            })
        })
    }

    fn claim(
        &self,
        account: u32,
        feed: FeedId,
        claim: Uuid,
        reading: String,
        lease: i64,
    ) -> Answer<'_, Option<Validators>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let row = query(
                    "insert into feed_stock as s (account, feed, claim, claimed_until)
                     values ($1, $2, $3, now_ms() + $5)
                     on conflict (account, feed) do update set claim = $3, claimed_until = now_ms() + $5
                     where s.claimed_until <= now_ms()
                       and (s.next_at <= now_ms() or s.reading is distinct from $4)
                     returning case when reading = $4 then etag end as etag,
                               case when reading = $4 then last_modified end as last_modified",
                )
                .bind(account.cast_signed())
                .bind(feed.as_str())
                .bind(claim)
                .bind(reading)
                .bind(lease)
                .fetch_optional(connection)
                .await?;
                row.map(|row| {
                    Ok(Validators { etag: row.try_get("etag")?, last_modified: row.try_get("last_modified")? })
                })
                .transpose()
            })
        })
    }

    fn settle(&self, account: u32, feed: FeedId, claim: Uuid, note: FetchNote) -> Answer<'_, ()> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                query(
                    "update feed_stock set claim = null, claimed_until = 0, fetched_at = now_ms(), error = $4,
                        faults = coalesce($5::json, faults), etag = $6, last_modified = $7, reading = $8, next_at = now_ms() + $9
                     where account = $1 and feed = $2 and claim = $3",
                )
                .bind(account.cast_signed())
                .bind(feed.as_str())
                .bind(claim)
                .bind(note.error)
                .bind(note.refused.map(|refused| serde_json::to_string(&refused).unwrap_or_default()))
                .bind(note.validators.etag)
                .bind(note.validators.last_modified)
                .bind(note.reading)
                .bind(note.next_in)
                .execute(connection)
                .await
                .map(drop)
            })
        })
    }

    fn release(&self, account: u32, feed: FeedId, claim: Uuid) -> Answer<'_, ()> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                query(
                    "update feed_stock set claim = null, claimed_until = 0
                     where account = $1 and feed = $2 and claim = $3",
                )
                .bind(account.cast_signed())
                .bind(feed.as_str())
                .bind(claim)
                .execute(connection)
                .await
                .map(drop)
            })
        })
    }

    fn hurry(&self, account: u32, feed: FeedId) -> Answer<'_, ()> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                query("update feed_stock set next_at = 0 where account = $1 and feed = $2")
                    .bind(account.cast_signed())
                    .bind(feed.as_str())
                    .execute(connection)
                    .await
                    .map(drop)
            })
        })
    }

    fn sweep(&self) -> Answer<'_, ()> {
        self.admin.run(|connection| {
            Box::pin(async move {
                query(
                    "delete from feed_stock s where not exists (
                         select from document d
                         where d.account = s.account and d.kind = 'feed' and d.id = s.feed and d.version_to is null)",
                )
                .execute(&mut *connection)
                .await?;
                // what is shown may still be read for a moment when another takes its place
                query(
                    "delete from feed_piece p where (account, feed, generation, n) in (
                         select p.account, p.feed, p.generation, p.n from feed_piece p
                         left join feed_stock s on s.account = p.account and s.feed = p.feed
                         where p.generation < s.generation and s.filled_at < now_ms() - 10000
                            or (s.generation is null or p.generation > s.generation) and p.at < now_ms() - $1
                         limit 500)",
                )
                .bind(Self::WAITING)
                .execute(connection)
                .await
                .map(drop)
            })
        })
    }
}

fn state(row: &PgRow) -> Result<StockState, Error> {
    Ok(StockState {
        account: rows::account(row, "account")?,
        feed: feed(row)?,
        generation: row.try_get("generation")?,
        reading: row.try_get("reading")?,
        due: row.try_get("due")?,
        claimed: row.try_get("claimed")?,
    })
}

fn feed(row: &PgRow) -> Result<FeedId, Error> {
    row.try_get::<&str, _>("feed")?.parse().map_err(|_| Error::Decode("no id of a feed".into()))
}

fn stock(row: &PgRow) -> Result<StockRow, Error> {
    let count = |name: &str| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
    let faults: Option<&str> = row.try_get("faults")?;
    Ok(StockRow {
        generation: row.try_get("generation")?,
        filled_at: rows::maybe_millis(row, "filled_at")?,
        fetched: row.try_get::<Option<&str>, _>("source")? == Some("url"),
        items: count("items")?,
        available: count("available")?,
        rejected: count("rejected")?,
        fetched_at: rows::maybe_millis(row, "fetched_at")?,
        error: row.try_get("error")?,
        refused: faults.and_then(|faults| serde_json::from_str(faults).ok()).unwrap_or_default(),
        next_at: rows::maybe_millis(row, "next_at")?,
    })
}
