//! What tags in shadow mode would have shown.

use std::collections::HashMap;

use sqlx::{Connection, Error, PgConnection, Row, query};

use super::{Lane, Lanes, identity::WRITE_ABOUT_PEOPLE};
use crate::{
    domain::{ids::LineItemId, measurement::beacon::decided_at, values::Millis},
    ports::{Answer, ShadowLine, ShadowPerson, ShadowRow, ShadowSeen, ShadowSought, ShadowStore},
    store::rows,
};

/// See [`ShadowStore`].
pub(in crate::store) struct Shadows {
    ingest: Lane,
    admin: Lane,
}

impl Shadows {
    pub(in crate::store) fn new(lanes: &Lanes) -> Self {
        Self { ingest: lanes.ingest.clone(), admin: lanes.admin.clone() }
    }
}

/// How long they are kept, in days of the decision.
const DAYS: i32 = 30;

impl ShadowStore for Shadows {
    fn keep(&self, rows: Vec<ShadowRow>, seen: Vec<ShadowSeen>) -> Answer<'_, ()> {
        self.ingest.run(move |connection| Box::pin(keep(connection, rows, seen)))
    }

    fn lines(&self, account: u32, days: (i32, i32), most: u32) -> Answer<'_, Vec<ShadowLine>> {
        self.admin.run(move |connection| Box::pin(lines(connection, account.cast_signed(), days, most)))
    }

    fn people(&self, account: u32, sought: ShadowSought) -> Answer<'_, Vec<ShadowPerson>> {
        self.admin.run(move |connection| Box::pin(people(connection, account.cast_signed(), sought)))
    }

    fn maintain(&self, now: Millis) -> Answer<'_, ()> {
        self.admin.run(move |connection| {
            Box::pin(async move {
                query("select keep_shadow($1, $2)").bind(now.0).bind(DAYS).execute(connection).await.map(drop)
            })
        })
    }
}

macro_rules! column {
    ($rows:expr, $value:expr) => {
        $rows.iter().map($value).collect::<Vec<_>>()
    };
}

async fn keep(connection: &mut PgConnection, rows: Vec<ShadowRow>, seen: Vec<ShadowSeen>) -> Result<(), Error> {
    let mut tx = connection.begin().await?;
    if !rows.is_empty() {
        query(WRITE_ABOUT_PEOPLE).execute(&mut *tx).await?;
        query(
            "insert into shadow_decision (day, account, decision, line_item, person, personalised, rules)
             select s.day, s.account, s.decision, s.line_item,
                    case when p.erased_at is null then coalesce(p.merged_into, s.person) end, s.personalised,
                    array(select jsonb_array_elements_text(s.rules))
             from unnest($1::int[], $2::int[], $3::uuid[], $4::text[], $5::uuid[], $6::boolean[], $7::jsonb[])
                  s (day, account, decision, line_item, person, personalised, rules)
             left join profile p on p.account = s.account and p.uid = s.person
             on conflict do nothing",
        )
        .bind(column!(rows, |row| day(decided_at(row.decision))))
        .bind(column!(rows, |row| row.account.cast_signed()))
        .bind(column!(rows, |row| row.decision.0))
        .bind(column!(rows, |row| row.line_item.as_ref().map_or("", LineItemId::as_str)))
        .bind(column!(rows, |row| row.person.map(|person| person.as_uuid())))
        .bind(column!(rows, |row| row.personalised))
        .bind(column!(rows, |row| row.causes.iter().map(ToString::to_string).collect::<serde_json::Value>()))
        .execute(&mut *tx)
        .await?;
    }
    if !seen.is_empty() {
        query(
            "insert into shadow_seen (day, account, decision, ms)
             select * from unnest($1::int[], $2::int[], $3::uuid[], $4::int[]) on conflict do nothing",
        )
        .bind(column!(seen, |seen| day(decided_at(seen.decision))))
        .bind(column!(seen, |seen| seen.account.cast_signed()))
        .bind(column!(seen, |seen| seen.decision.0))
        .bind(column!(seen, |seen| seen.ms.cast_signed()))
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await
}

/// The UTC day of a time, since 1970-01-01.
fn day(at: Millis) -> i32 {
    (at.0 / 86_400_000) as i32
}

fn line_item(row: &sqlx::postgres::PgRow) -> Result<Option<LineItemId>, Error> {
    match row.try_get::<&str, _>("line_item")? {
        "" => Ok(None),
        _ => rows::parsed(row, "line_item").map(Some),
    }
}

async fn lines(
    connection: &mut PgConnection,
    account: i32,
    days: (i32, i32),
    most: u32,
) -> Result<Vec<ShadowLine>, Error> {
    let found = query(
        "select d.line_item, count(*) as requests, count(s.decision) as seen,
                count(*) filter (where d.personalised) as personalised,
                count(*) filter (where d.rules <> '{}') as different,
                count(distinct d.person) filter (where d.rules <> '{}') as people,
                percentile_disc(array[0.5, 0.95, 0.99]) within group (order by s.ms) as latency
         from shadow_decision d
         left join shadow_seen s on s.account = d.account and s.decision = d.decision and s.day = d.day
         where d.account = $1 and d.day between $2 and $3
         group by d.line_item order by requests desc, d.line_item limit $4",
    )
    .bind(account)
    .bind(days.0)
    .bind(days.1)
    .bind(i64::from(most))
    .fetch_all(&mut *connection)
    .await?;
    let mut lines = Vec::with_capacity(found.len());
    for row in &found {
        let count = |column| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
        let latency = row.try_get::<Option<Vec<Option<i32>>>, _>("latency")?.unwrap_or_default();
        let latency: Vec<u32> = latency.into_iter().flatten().map(i32::cast_unsigned).collect();
        lines.push(ShadowLine {
            line_item: line_item(row)?,
            requests: count("requests")?,
            seen: count("seen")?,
            personalised: count("personalised")?,
            different: count("different")?,
            people: count("people")?,
            latency: latency.try_into().ok(),
            causes: Vec::new(),
        });
    }
    let places: HashMap<Option<LineItemId>, usize> =
        lines.iter().enumerate().map(|(at, line)| (line.line_item.clone(), at)).collect();
    let found = query(
        "select d.line_item, r.rule, count(*) as requests, count(distinct d.person) as people
         from shadow_decision d cross join lateral unnest(d.rules) r (rule)
         where d.account = $1 and d.day between $2 and $3 and d.line_item = any($4)
         group by 1, 2 order by requests desc, r.rule",
    )
    .bind(account)
    .bind(days.0)
    .bind(days.1)
    .bind(column!(lines, |line| line.line_item.as_ref().map_or("", LineItemId::as_str).to_owned()))
    .fetch_all(connection)
    .await?;
    for row in &found {
        let count = |column| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
        if let Some(at) = places.get(&line_item(row)?) {
            lines[*at].causes.push((rows::parsed(row, "rule")?, count("requests")?, count("people")?));
        }
    }
    Ok(lines)
}

async fn people(connection: &mut PgConnection, account: i32, sought: ShadowSought) -> Result<Vec<ShadowPerson>, Error> {
    let found = query(
        "select p.key, count(*) as requests, max(('x' || left(replace(d.decision::text, '-', ''), 12))::bit(48)::bigint) as last_at
         from shadow_decision d join profile p on p.account = d.account and p.uid = d.person
         where d.account = $1 and d.day between $2 and $3 and d.rules <> '{}' and p.key is not null
           and ($4::text is null or $4 = any(d.rules)) and ($5::text is null or d.line_item = $5)
           and ($6::text is null or p.key collate \"C\" > $6)
         group by p.key order by p.key collate \"C\" limit $7",
    )
    .bind(account)
    .bind(sought.days.0)
    .bind(sought.days.1)
    .bind(sought.cause.map(|cause| cause.to_string()))
    .bind(sought.line_item.as_ref().map(LineItemId::as_str))
    .bind(sought.after.as_ref().map(|key| key.as_str()))
    .bind(i64::from(sought.most))
    .fetch_all(connection)
    .await?;
    let read = |row| {
        Ok(ShadowPerson {
            user: rows::parsed(row, "key")?,
            requests: row.try_get::<i64, _>("requests")?.cast_unsigned(),
            last_at: rows::millis(row, "last_at")?,
        })
    };
    found.iter().map(read).collect()
}
