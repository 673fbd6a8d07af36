//! Webhooks.

mod claim;

use sqlx::{Error, Row, postgres::PgRow, query, query_scalar, types::Uuid};

use super::{Lane, Lanes};
use crate::{
    domain::{
        ids::{SegmentKey, WebhookId},
        values::Millis,
        webhook::{Chosen, MoveKind, Secret, WebhookDoc, WebhookStatus},
    },
    ports::{
        AfterFailure, Answer, Delivered, DeliveryJob, FailureRow, PausedBy, WebhookExpect, WebhookRow, WebhookStore,
        WebhookWritten,
    },
    store::rows,
};

/// See [`WebhookStore`].
pub(in crate::store) struct Webhooks {
    admin: Lane,
}

impl Webhooks {
    pub(in crate::store) fn new(lanes: &Lanes) -> Self {
        Self { admin: lanes.admin.clone() }
    }
}

/// The parts of a document as the table has them.
struct Columns {
    segments: Option<Vec<String>>,
    entries: bool,
    exits: bool,
    paused: Option<&'static str>,
}

impl Columns {
    fn of(document: &WebhookDoc) -> Self {
        let segments = match &document.segments {
            Chosen::All => None,
            Chosen::These(keys) => Some(keys.iter().map(|key| key.as_str().to_owned()).collect()),
        };
        let paused = (document.status == WebhookStatus::Paused).then_some(word(PausedBy::Asked));
        let (entries, exits) = (document.tells(MoveKind::Entered), document.tells(MoveKind::Left));
        Self { segments, entries, exits, paused }
    }
}

fn word(by: PausedBy) -> &'static str {
    match by {
        PausedBy::Asked => "asked",
        PausedBy::Gone => "gone",
        PausedBy::GivenUp => "given_up",
    }
}

/// The version that is there, as far as a change cares: it is the one, or stands in the way.
fn standing(expect: WebhookExpect, found: Option<i64>) -> Result<(), WebhookWritten> {
    let fits = match (expect, found) {
        (WebhookExpect::Absent, None) | (WebhookExpect::Present, Some(_)) => true,
        (WebhookExpect::Version(version), Some(found)) => version == found,
        _ => false,
    };
    if fits { Ok(()) } else { Err(WebhookWritten::Stale(found)) }
}

const FOUND: &str = "select version from webhook where account = $1 and id = $2 for update";

impl WebhookStore for Webhooks {
    fn list(&self, account: u32, after: Option<String>, limit: u32) -> Answer<'_, Vec<WebhookRow>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let rows = query("select * from webhook where account = $1 and id > $2 order by id limit $3")
                    .bind(account.cast_signed())
                    .bind(after.unwrap_or_default())
                    .bind(i64::from(limit))
                    .fetch_all(connection)
                    .await?;
                rows.iter().map(webhook).collect()
            })
        })
    }

    fn get(&self, account: u32, id: WebhookId) -> Answer<'_, Option<WebhookRow>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let row = query("select * from webhook where account = $1 and id = $2")
                    .bind(account.cast_signed())
                    .bind(id.as_str())
                    .fetch_optional(connection)
                    .await?;
                row.as_ref().map(webhook).transpose()
            })
        })
    }

    fn put(
        &self,
        account: u32,
        id: WebhookId,
        expect: WebhookExpect,
        document: WebhookDoc,
        secret: Secret,
    ) -> Answer<'_, WebhookWritten> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                use sqlx::Connection as _;
                let mut tx = connection.begin().await?;
                let found: Option<i64> =
                    query_scalar(FOUND).bind(account.cast_signed()).bind(id.as_str()).fetch_optional(&mut *tx).await?;
                if let Err(stale) = standing(expect, found) {
                    return Ok(stale);
                }
                let columns = Columns::of(&document);
                // A claim ends with what it was made for; a batch of another choice is another batch.
                let put = "
                    insert into webhook as w (account, id, url, segments, entries, exits, paused, secret, xid, seq)
                    values ($1, $2, $3, $4, $5, $6, $7, $8,
                            ((pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1)::text)::xid8, $9)
                    on conflict (account, id) do update set
                        version = nextval('webhook_version'), changed_at = now_ms(), url = $3, segments = $4,
                        entries = $5, exits = $6, paused = $7, failures = 0, failing_since = null, next_at = 0,
                        claim = null, claimed_until = 0,
                        (upto_xid, upto_seq) = (
                            select w.upto_xid, w.upto_seq
                            where (w.segments, w.entries, w.exits) is not distinct from ($4, $5, $6))
                    where $10
                    returning version";
                let version: Option<i64> = query_scalar(put)
                    .bind(account.cast_signed())
                    .bind(id.as_str())
                    .bind(document.url.as_str())
                    .bind(columns.segments)
                    .bind(columns.entries)
                    .bind(columns.exits)
                    .bind(columns.paused)
                    .bind(secret.bytes())
                    .bind(i64::MAX)
                    .bind(found.is_some())
                    .fetch_optional(&mut *tx)
                    .await?;
                let written = match version {
                    Some(version) => WebhookWritten::Done(version),
                    // somebody else made it in between
                    None => WebhookWritten::Stale(
                        query_scalar(FOUND)
                            .bind(account.cast_signed())
                            .bind(id.as_str())
                            .fetch_optional(&mut *tx)
                            .await?,
                    ),
                };
                tx.commit().await?;
                Ok(written)
            })
        })
    }

    fn delete(&self, account: u32, id: WebhookId, expect: WebhookExpect) -> Answer<'_, WebhookWritten> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                use sqlx::Connection as _;
                let mut tx = connection.begin().await?;
                let found: Option<i64> =
                    query_scalar(FOUND).bind(account.cast_signed()).bind(id.as_str()).fetch_optional(&mut *tx).await?;
                if let Err(stale) = standing(expect, found) {
                    return Ok(stale);
                }
                query("delete from webhook where account = $1 and id = $2")
                    .bind(account.cast_signed())
                    .bind(id.as_str())
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(WebhookWritten::Done(found.unwrap_or_default()))
            })
        })
    }

    fn rotate(&self, account: u32, id: WebhookId, secret: Secret, overlap: i64) -> Answer<'_, Option<Millis>> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let until: Option<i64> = query_scalar(
                    "update webhook set old_secret = secret, old_until = now_ms() + $4, secret = $3
                     where account = $1 and id = $2 returning old_until",
                )
                .bind(account.cast_signed())
                .bind(id.as_str())
                .bind(secret.bytes())
                .bind(overlap)
                .fetch_optional(connection)
                .await?;
                Ok(until.map(Millis))
            })
        })
    }

    fn backlog(&self, account: u32, id: WebhookId, most: u32) -> Answer<'_, u64> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let waiting: i64 = query_scalar(
                    "select count(*) from (
                         select from webhook w join transition t on t.account = w.account
                           and (t.xid, t.seq) > (w.xid, w.seq) and (w.segments is null or t.segment = any (w.segments))
                           and case when t.entered then w.entries else w.exits end
                         where w.account = $1 and w.id = $2 limit $3) waiting",
                )
                .bind(account.cast_signed())
                .bind(id.as_str())
                .bind(i64::from(most))
                .fetch_one(connection)
                .await?;
                Ok(waiting.unsigned_abs())
            })
        })
    }

    fn claim(&self, batch: u32, lease: i64) -> Answer<'_, Option<DeliveryJob>> {
        self.admin.run(move |connection| Box::pin(claim::claim(connection, batch, lease)))
    }

    fn settle(&self, account: u32, id: WebhookId, claim: Uuid, delivered: Delivered) -> Answer<'_, bool> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                let settled = match delivered {
                    Delivered::Accepted { sent } => {
                        query(
                            "update webhook set xid = coalesce(upto_xid, xid), seq = coalesce(upto_seq, seq),
                                 upto_xid = null, upto_seq = null, claim = null, claimed_until = 0, next_at = 0,
                                 failures = 0, failing_since = null,
                                 last_success = case when $4 then now_ms() else last_success end
                             where account = $1 and id = $2 and claim = $3",
                        )
                        .bind(account.cast_signed())
                        .bind(id.as_str())
                        .bind(claim)
                        .bind(sent)
                        .execute(connection)
                        .await?
                    }
                    Delivered::Failed { status, detail, then } => {
                        let (wait, pause) = match then {
                            AfterFailure::Retry(wait) => (wait, None),
                            AfterFailure::Pause(by) => (0, Some(word(by))),
                        };
                        query(
                            "update webhook set claim = null, claimed_until = 0, failures = failures + 1,
                                 failing_since = coalesce(failing_since, now_ms()), next_at = now_ms() + $6,
                                 last_failure = now_ms(), last_status = $4, last_error = $5, paused = $7,
                                 version = case when $7 is null then version else nextval('webhook_version') end,
                                 changed_at = case when $7 is null then changed_at else now_ms() end
                             where account = $1 and id = $2 and claim = $3",
                        )
                        .bind(account.cast_signed())
                        .bind(id.as_str())
                        .bind(claim)
                        .bind(status.map(i32::from))
                        .bind(detail)
                        .bind(wait)
                        .bind(pause)
                        .execute(connection)
                        .await?
                    }
                };
                Ok(settled.rows_affected() > 0)
            })
        })
    }
}

fn document(row: &PgRow) -> Result<WebhookDoc, Error> {
    let decode = |error: Box<dyn std::error::Error + Send + Sync>| Error::Decode(error);
    let segments = match row.try_get::<Option<Vec<String>>, _>("segments")? {
        None => Chosen::All,
        Some(keys) => {
            let keys: Result<Vec<SegmentKey>, _> = keys.iter().map(|key| key.parse()).collect();
            Chosen::These(keys.map_err(|error| decode(error.into()))?)
        }
    };
    let (entries, exits): (bool, bool) = (row.try_get("entries")?, row.try_get("exits")?);
    let kinds = [entries.then_some(MoveKind::Entered), exits.then_some(MoveKind::Left)];
    let paused = row.try_get::<Option<&str>, _>("paused")?.is_some();
    let status = if paused { WebhookStatus::Paused } else { WebhookStatus::Active };
    Ok(WebhookDoc { url: rows::parsed(row, "url")?, segments, kinds: kinds.into_iter().flatten().collect(), status })
}

fn webhook(row: &PgRow) -> Result<WebhookRow, Error> {
    let paused = row.try_get::<Option<&str>, _>("paused")?.map(|by| match by {
        "gone" => PausedBy::Gone,
        "given_up" => PausedBy::GivenUp,
        _ => PausedBy::Asked,
    });
    let failures: i32 = row.try_get("failures")?;
    let last_failure = match rows::maybe_millis(row, "last_failure")? {
        None => None,
        Some(at) => Some(FailureRow {
            at,
            status: row.try_get::<Option<i32>, _>("last_status")?.and_then(|status| status.try_into().ok()),
            detail: row.try_get::<Option<String>, _>("last_error")?.unwrap_or_default(),
        }),
    };
    Ok(WebhookRow {
        id: rows::parsed(row, "id")?,
        version: row.try_get("version")?,
        changed_at: rows::millis(row, "changed_at")?,
        document: document(row)?,
        old_secret_until: rows::maybe_millis(row, "old_until")?,
        failures: failures.unsigned_abs(),
        failing_since: rows::maybe_millis(row, "failing_since")?,
        next_at: Some(rows::millis(row, "next_at")?).filter(|_| failures > 0 && paused.is_none()),
        last_success: rows::maybe_millis(row, "last_success")?,
        last_failure,
        paused,
    })
}
