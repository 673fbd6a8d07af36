//! What is left to be learned from, and the log of decisions.

use sqlx::{Connection, Error, PgConnection, Row, postgres::PgRow, query};
use uuid::Uuid;

use super::{
    column,
    packing::{choice, pack, pack_lists, unpack_lists},
};
use crate::{
    domain::{
        ids::DecisionId,
        measurement::{attribution::Credit, beacon::decided_at},
        values::Millis,
    },
    ports::{LogQuery, LogRead, LoggedDecision, Measured, Rewarded},
    store::{
        postgres::{attribution::Judged, identity::WRITE_ABOUT_PEOPLE},
        rows,
    },
};

/// Leaves new outcomes to be learned from, within the transaction that counts them.
pub(in crate::store::postgres) async fn leave(
    tx: &mut PgConnection,
    new: impl Iterator<Item = Judged<'_>>,
) -> Result<(), Error> {
    let told: Vec<_> = new
        .filter(|(o, _)| o.kind.is_of_people())
        .filter_map(|(o, credit)| Some((o, o.campaign.as_ref()?, o.exposure.as_ref()?, credit == Some(Credit::View))))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($outcome:ident, $campaign:ident, $exposure:ident => $value:expr) => {
            told.iter().map(|($outcome, $campaign, $exposure, _)| $value).collect::<Vec<_>>()
        };
    }
    query(
        "insert into lesson (account, campaign, creative, decision, kind, goal, value_micros, revision, person, exposure, invalid, combination, by_view)
         select l.account, l.campaign, l.creative, l.decision, l.kind, l.goal, l.value_micros, l.revision,
                case when p.erased_at is null then coalesce(p.merged_into, l.person) end, l.exposure, l.invalid, l.combination, l.by_view
         from unnest($1::int[], $2::text[], $3::text[], $4::uuid[], $5::smallint[], $6::text[], $7::bigint[],
                     $8::bigint[], $9::uuid[], $10::bytea[], $11::smallint[], $12::bigint[], $13::boolean[])
              l (account, campaign, creative, decision, kind, goal, value_micros, revision, person, exposure, invalid, combination, by_view)
         left join profile p on p.account = l.account and p.uid = l.person",
    )
    .bind(column!(o, _c, _e => o.account.cast_signed()))
    .bind(column!(_o, c, _e => c.as_str()))
    .bind(column!(o, _c, _e => o.creative.as_str()))
    .bind(column!(o, _c, _e => o.decision.0))
    .bind(column!(o, _c, _e => i16::from(o.kind.number())))
    .bind(column!(o, _c, _e => o.goal.as_ref().map(|goal| goal.as_str())))
    .bind(column!(o, _c, _e => o.value_micros))
    .bind(column!(o, _c, _e => i64::from(o.revision)))
    .bind(column!(o, _c, _e => o.measured_person().map(|person| person.as_uuid())))
    .bind(column!(_o, _c, e => e.to_vec()))
    .bind(column!(o, _c, _e => o.invalid.map(|why| i16::from(why.number()))))
    .bind(column!(o, _c, _e => o.combination.cast_signed()))
    .bind(told.iter().map(|(.., by_view)| *by_view).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

pub(super) async fn log(connection: &mut PgConnection, logged: Vec<LoggedDecision>) -> Result<(), Error> {
    let mut tx = connection.begin().await?;
    query(WRITE_ABOUT_PEOPLE).execute(&mut *tx).await?;
    query(
        "insert into decision_log (day, account, decision, campaign, creative, person, version, choice, features, eligible, propensity, mixture)
         select l.day, l.account, l.decision, l.campaign, l.creative,
                case when p.erased_at is null then coalesce(p.merged_into, l.person) end,
                l.version, l.choice, l.features, l.eligible, l.propensity, l.mixture
         from unnest($1::int[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::bigint[], $8::bytea[],
                     $9::bytea[], $10::bytea[], $11::real[], $12::bytea[])
              l (day, account, decision, campaign, creative, person, version, choice, features, eligible, propensity, mixture)
         left join profile p on p.account = l.account and p.uid = l.person",
    )
    .bind(column!(logged, |l| (decided_at(l.decision).0 / 86_400_000) as i32))
    .bind(column!(logged, |l| l.account.cast_signed()))
    .bind(column!(logged, |l| l.decision.0))
    .bind(column!(logged, |l| l.campaign.as_str()))
    .bind(column!(logged, |l| l.creative.as_str()))
    .bind(column!(logged, |l| l.person.map(|person| person.as_uuid())))
    .bind(column!(logged, |l| l.version.cast_signed()))
    .bind(column!(logged, |l| pack(&l.choice)))
    .bind(column!(logged, |l| pack(&l.features)))
    .bind(column!(logged, |l| pack_lists(&l.eligible)))
    .bind(column!(logged, |l| l.propensity as f32))
    .bind(column!(logged, |l| l.mixture.clone()))
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// Logged decisions of a campaign whose probability is known.
macro_rules! of_campaign {
    () => {
        "from decision_log l left join unnest($5::text[], $6::uuid[]) b (creative, before) on b.creative = l.creative
         where l.account = $1 and l.campaign = $2 and l.day >= $3 and l.day < $4 and l.propensity > 0"
    };
}

/// Those of them that are old enough, with a measure of their outcomes. The first by a hash are a sample
/// as even as any.
macro_rules! old_enough {
    ($measured:literal) => {
        concat!(
            "select l.*, (select (",
            $measured,
            ")::float8 from outcome o where o.account = l.account and o.decision = l.decision and o.day = l.day
                                     and o.invalid is null and coalesce(o.credit, 0) < 2) as reward
             from (select l.* ",
            of_campaign!(),
            " and l.decision < coalesce(b.before, $7)
              order by uuid_hash_extended(l.decision, 0), l.decision limit $8) l"
        )
    };
}

pub(super) async fn logged(connection: &mut PgConnection, sought: LogQuery) -> Result<LogRead, Error> {
    let LogQuery { account, campaign, days, before, otherwise, measured, most } = sought;
    // ids of decisions begin with the time
    let first = |at: &Millis| Uuid::from_u128(u128::from(at.0.max(0).cast_unsigned()) << 80);
    let creatives = column!(before, |(creative, _)| creative.as_str().to_owned());
    let before = column!(before, |(_, before)| first(before));
    let counted = query(concat!(
        "select count(*) filter (where l.decision < coalesce(b.before, $7)) as sought, count(*) as whole ",
        of_campaign!()
    ))
    .bind(account.cast_signed())
    .bind(campaign.as_str())
    .bind(days.0)
    .bind(days.1)
    .bind(&creatives)
    .bind(&before)
    .bind(first(&otherwise))
    .fetch_one(&mut *connection)
    .await?;
    let count = |column| Ok::<_, Error>(counted.try_get::<i64, _>(column)?.unsigned_abs());
    let (count, whole) = (count("sought")?, count("whole")?);
    let statement = match measured {
        Measured::Clicks => old_enough!("count(*) filter (where o.kind = 2)"),
        Measured::Conversions => old_enough!("count(*) filter (where o.kind = 3)"),
        Measured::Value => old_enough!("coalesce(sum(o.value_micros) filter (where o.kind = 3), 0) / 1e6"),
    };
    let rows = query(statement)
        .bind(account.cast_signed())
        .bind(campaign.as_str())
        .bind(days.0)
        .bind(days.1)
        .bind(creatives)
        .bind(before)
        .bind(first(&otherwise))
        .bind(i64::from(most))
        .fetch_all(connection)
        .await?;
    let read = |row: &PgRow| {
        let logged = LoggedDecision {
            account,
            decision: DecisionId(row.try_get("decision")?),
            campaign: rows::parsed(row, "campaign")?,
            creative: rows::parsed(row, "creative")?,
            person: rows::maybe_uid(row, "person")?,
            version: row.try_get::<i64, _>("version")?.unsigned_abs(),
            choice: choice(row.try_get("choice")?),
            features: choice(row.try_get("features")?),
            eligible: unpack_lists(row.try_get("eligible")?),
            propensity: row.try_get::<f32, _>("propensity")?.into(),
            mixture: row.try_get("mixture")?,
        };
        Ok(Rewarded { logged, reward: row.try_get("reward")? })
    };
    let rows = rows.iter().map(read).collect::<Result<_, Error>>()?;
    Ok(LogRead { rows, count, later: whole.saturating_sub(count) })
}
