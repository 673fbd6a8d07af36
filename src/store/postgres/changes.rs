//! The change feed: an overlapping cursor over transaction ids, read on a connection of its own.
//!
//! A poll answers rows of all transactions from the cursor on and moves the cursor to the oldest
//! transaction that was still running at that moment. Whatever is not visible yet belongs to that
//! one or a later one and is read next time, so nothing is lost, however long a writer takes and
//! in whatever order writers commit. Rows are read again as long as an older writer runs; they
//! carry versions, so repeats do no harm.

use std::{sync::Arc, time::Duration};

use sqlx::{
    Error, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
    query,
    types::Uuid,
};
use tokio::{sync::Mutex, time::timeout};

use super::{Lanes, detached, dial, limited};
use crate::{
    ports::{Answer, Change, ChangeFeed, Cursor, FeedBatch, ServerIdentity, StoreError},
    store::rows,
};

/// Longest wait for one look at the feed.
const LIMIT: Duration = Duration::from_secs(1);

/// How far the clock of a server may have gone back across a crash.
const CLOCK_SLACK: i64 = 10_000;

/// See [`ChangeFeed`].
pub(in crate::store) struct Changes {
    connect: PgConnectOptions,
    reader: Arc<Mutex<Reader>>,
}

/// What is kept between two looks.
#[derive(Default)]
struct Reader {
    link: Option<PgConnection>,
    /// The server's time at the last look, in Unix milliseconds.
    looked_at: i64,
}

impl Changes {
    pub(in crate::store) fn new(lanes: &Lanes) -> Self {
        // By index alone: right after a partition is made, statistics know nothing of it.
        let connect = limited(lanes.connect.clone(), LIMIT).options([("enable_seqscan", "off")]);
        Self { connect, reader: Arc::default() }
    }
}

/// Tells every replica that lists of people changed, of `first` to `last`.
pub(super) async fn tell_lists(tx: &mut PgConnection, account: i32, first: Uuid, last: Uuid) -> Result<(), Error> {
    query(
        "insert into change_log (kind, account, uid, upto, version)
         values ('lists', $1, $2, $3, nextval('list_change'))",
    )
    .bind(account)
    .bind(first)
    .bind(last)
    .execute(tx)
    .await
    .map(drop)
}

impl ChangeFeed for Changes {
    fn poll(&self, cursor: Option<Cursor>) -> Answer<'_, FeedBatch> {
        let (connect, reader) = (self.connect.clone(), Arc::clone(&self.reader));
        detached(async move {
            let mut reader = reader.lock().await;
            let (mut link, again) = match reader.link.take() {
                Some(link) => (link, false),
                None => (dial(&connect).await?, true),
            };
            // Not put back unless all went well, so that a connection given up half way is closed.
            let since = again.then_some(reader.looked_at - CLOCK_SLACK);
            let low = cursor.as_ref().map(|cursor| cursor.low.as_str());
            let rows = timeout(LIMIT, look(&mut link, low, since))
                .await
                .map_err(|_| StoreError::Timeout("no answer in time".into()))??;
            let first = rows.first().ok_or_else(|| StoreError::Corrupt("the feed has no state".into()))?;
            reader.looked_at = first.try_get("looked_at")?;
            reader.link = Some(link);
            Ok(batch(cursor, first, &rows)?)
        })
    }
}

/// The server's state, which is there even when nothing changed, beside each change. The position,
/// the server it belongs to and the changes come from one statement and so from one moment.
macro_rules! look {
    ($from:literal) => {
        concat!(
            "select pg_snapshot_xmin(pg_current_snapshot())::text as low, now_ms() as looked_at,
                    pg_snapshot_xmin(pg_current_snapshot()) < pg_snapshot_xmax(pg_current_snapshot()) as held,
                    (select system_identifier from pg_control_system()) as system,
                    ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int as timeline,
                    coalesce(f.xid >= $1::text::xid8, false) as missed,
                    c.kind, c.account, c.uid, c.upto, c.version
             from change_log_floor f left join change_log c on c.xid >= ",
            $from
        )
    };
}

/// A server that crashed may hand out again the ids of transactions that it lost before it wrote
/// anything of them, and those may lie before the cursor. So the first look over a new connection
/// goes back to all that was written since the last look over the old one.
async fn look(link: &mut PgConnection, low: Option<&str>, since: Option<i64>) -> Result<Vec<PgRow>, Error> {
    match since {
        None => query(look!("$1::text::xid8")).bind(low).fetch_all(link).await,
        Some(since) => {
            query(look!(
                "case when $1::text is not null then (
                     select least($1::text::xid8, min(r.xid)) from change_log r where r.hour >= $2 / 3600000 and r.at >= $2)
                 end"
            ))
            .bind(low)
            .bind(since)
            .fetch_all(link)
            .await
        }
    }
}

fn batch(cursor: Option<Cursor>, first: &PgRow, rows: &[PgRow]) -> Result<FeedBatch, Error> {
    let server = ServerIdentity { system: first.try_get("system")?, timeline: first.try_get("timeline")? };
    let failed_over = match &cursor {
        Some(cursor) => cursor.server != server || first.try_get("missed")?,
        None => false,
    };
    let changes = match cursor {
        Some(_) if !failed_over => rows.iter().filter_map(|row| change(row).transpose()).collect::<Result<_, _>>()?,
        _ => Vec::new(),
    };
    Ok(FeedBatch {
        held: first.try_get("held")?,
        cursor: Cursor { server, low: first.try_get("low")? },
        failed_over,
        changes,
    })
}

fn change(row: &PgRow) -> Result<Option<Change>, Error> {
    Ok(Some(match row.try_get::<Option<&str>, _>("kind")? {
        None => return Ok(None),
        Some("keys") => Change::Keys,
        Some("lists") => Change::Lists {
            account: rows::account(row, "account")?,
            change: row.try_get("version")?,
            from: rows::uid(row, "uid")?,
            upto: rows::uid(row, "upto")?,
        },
        Some("catalog") => {
            Change::Catalog { account: rows::account(row, "account")?, version: row.try_get("version")? }
        }
        Some("erased") => Change::Erased { account: rows::account(row, "account")?, uid: rows::uid(row, "uid")? },
        Some("person") => Change::Person {
            account: rows::account(row, "account")?,
            uid: rows::uid(row, "uid")?,
            version: row.try_get("version")?,
        },
        Some(_) => return Err(Error::Decode("no kind of change".into())),
    }))
}
