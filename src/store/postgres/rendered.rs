//! What was rendered late.

use sqlx::{Connection, query, query_scalar};

use super::{Lane, Lanes, identity::WRITE_ABOUT_PEOPLE};
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

/// The hour of a decision, since 1970-01-01.
fn hour(decision: DecisionId) -> i32 {
    (decided_at(decision).0 / 3_600_000) as i32
}

impl RenderedStore for Rendered {
    fn keep(&self, rows: Vec<RenderedRow>) -> Answer<'_, ()> {
        self.ingest.run(move |connection| {
            Box::pin(async move {
                let mut tx = connection.begin().await?;
                query(WRITE_ABOUT_PEOPLE).execute(&mut *tx).await?;
                query(
                    "insert into late_shown (hour, account, decision, person, markup)
                     select r.* from unnest($1::int[], $2::int[], $3::uuid[], $4::uuid[], $5::text[])
                         r (hour, account, decision, person, markup)
                     left join profile p on p.account = r.account and p.uid = r.person
                     where p.erased_at is null
                     on conflict do nothing",
                )
                .bind(rows.iter().map(|row| hour(row.decision)).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.account.cast_signed()).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.decision.0).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.person.map(|person| person.as_uuid())).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.markup.as_str()).collect::<Vec<_>>())
                .execute(&mut *tx)
                .await?;
                tx.commit().await
            })
        })
    }

    fn find(&self, account: u32, decision: DecisionId) -> Answer<'_, Option<String>> {
        self.serving.run(move |connection| {
            Box::pin(
                query_scalar("select markup from late_shown where account = $1 and decision = $2 and hour = $3")
                    .bind(account.cast_signed())
                    .bind(decision.0)
                    .bind(hour(decision))
                    .fetch_optional(connection),
            )
        })
    }

    fn maintain(&self, now: Millis) -> Answer<'_, ()> {
        self.admin.run(move |connection| {
            Box::pin(async move { query("select keep_late($1)").bind(now.0).execute(connection).await.map(drop) })
        })
    }
}
