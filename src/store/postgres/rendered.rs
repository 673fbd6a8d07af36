//! What was rendered late.

use sqlx::{query, query_scalar};

use super::{Lane, Lanes};
use crate::{
    domain::{ids::DecisionId, measurement::beacon::decided_at, values::Millis},
    ports::{Answer, RenderedRow, RenderedStore},
};

/// See [`RenderedStore`].
pub(in crate::store) struct Rendered {
    serving: Lane,
    ingest: Lane,
    admin: Lane,
}

impl Rendered {
    pub(in crate::store) fn new(lanes: &Lanes) -> Self {
        Self { serving: lanes.serving.clone(), ingest: lanes.ingest.clone(), admin: lanes.admin.clone() }
    }
}

/// How long it is kept, in days of the decision besides the day itself: frames open for an hour.
const DAYS: i32 = 1;

/// The UTC day of a decision, since 1970-01-01.
fn day(decision: DecisionId) -> i32 {
    (decided_at(decision).0 / 86_400_000) as i32
}

impl RenderedStore for Rendered {
    fn keep(&self, rows: Vec<RenderedRow>) -> Answer<'_, ()> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                query(
                    "insert into late_shown (day, account, decision, markup)
                     select * from unnest($1::int[], $2::int[], $3::uuid[], $4::text[]) on conflict do nothing",
                )
                .bind(rows.iter().map(|row| day(row.decision)).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.account.cast_signed()).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.decision.0).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.markup.as_str()).collect::<Vec<_>>())
                .execute(connection)
                .await
                .map(drop)
            })
        })
    }

    fn find(&self, account: u32, decision: DecisionId) -> Answer<'_, Option<String>> {
        self.serving.run(move |connection| {
            Box::pin(
                query_scalar("select markup from late_shown where account = $1 and decision = $2 and day = $3")
                    .bind(account.cast_signed())
                    .bind(decision.0)
                    .bind(day(decision))
                    .fetch_optional(connection),
            )
        })
    }

    fn maintain(&self, now: Millis) -> Answer<'_, ()> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                query("select keep_late($1, $2)").bind(now.0).bind(DAYS).execute(connection).await.map(drop)
            })
        })
    }
}
