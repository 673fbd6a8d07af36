//! People in experiments: on which side each is, and what they did.

use std::collections::BTreeMap;

use sqlx::{Error, PgConnection, Row, query, query_as, types::Uuid};

use crate::{
    domain::{
        ids::{CampaignId, Uid},
        measurement::{cells::Counts, exposure::Arm, lift::Sums},
    },
    ports::{Measured, Sides, Unit},
};

/// Until the end of the transaction nobody of the account `$1` is merged.
const NOBODY_MERGES: &str = "select pg_advisory_xact_lock(7358808, $1)";

macro_rules! column {
    ($rows:expr, $value:expr) => {
        $rows.iter().map($value).collect::<Vec<_>>()
    };
}

/// What was done by somebody who has a row: on the side that they were on first.
macro_rules! joined {
    ($insert:literal) => {
        concat!(
            $insert,
            " on conflict (account, campaign, experiment, person) do update
              set arm = case when excluded.first_at < u.first_at then excluded.arm else u.arm end,
                  first_at = least(u.first_at, excluded.first_at),
                  crossed = u.crossed or excluded.crossed or u.arm <> excluded.arm,
                  impressions = u.impressions + excluded.impressions, clicks = u.clicks + excluded.clicks,
                  conversions = u.conversions + excluded.conversions,
                  value_micros = least(u.value_micros::numeric + excluded.value_micros, 9e18)::bigint"
        )
    };
}

/// Each person once in each experiment, in the order of their uid, whoever led to them by then; whoever was
/// erased is left out.
pub(super) async fn count_units(
    tx: &mut PgConnection,
    account: i32,
    campaign: &str,
    units: Vec<Unit>,
) -> Result<(), Error> {
    let mut by_person = BTreeMap::<(Uuid, u32, Arm), Unit>::new();
    for unit in units {
        let person = by_person
            .entry((unit.person.as_uuid(), unit.experiment, unit.arm))
            .or_insert_with(|| Unit { counts: Counts::default(), ..unit.clone() });
        person.counts += unit.counts;
        person.at = person.at.min(unit.at);
    }
    let units: Vec<Unit> = by_person.into_values().collect();
    if units.is_empty() {
        return Ok(());
    }
    // else somebody merged meanwhile would keep a row that nobody looks for again
    query(NOBODY_MERGES).bind(account).execute(&mut *tx).await?;
    query(joined!(
        "insert into experiment_unit as u (account, campaign, person, experiment, arm, first_at, crossed, impressions, clicks, conversions, value_micros)
         select $1, $2, l.uid, k.experiment, (array_agg(k.arm order by k.at, k.arm))[1], min(k.at), count(distinct k.arm) > 1,
                sum(k.impressions)::bigint, sum(k.clicks)::bigint, sum(k.conversions)::bigint,
                least(sum(k.value_micros), 9e18)::bigint
         from unnest($3::uuid[], $4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
              k (person, arm, at, impressions, clicks, conversions, value_micros, experiment)
         left join profile p on p.account = $1 and p.uid = k.person
         cross join lateral (select coalesce(p.merged_into, k.person) as uid) l
         where p.erased_at is null
         group by l.uid, k.experiment order by l.uid, k.experiment"
    ))
    .bind(account)
    .bind(campaign)
    .bind(column!(units, |u| u.person.as_uuid()))
    .bind(column!(units, |u| i16::from(u.arm.number())))
    .bind(column!(units, |u| u.at.0))
    .bind(column!(units, |u| u.counts.impressions.cast_signed()))
    .bind(column!(units, |u| u.counts.clicks.cast_signed()))
    .bind(column!(units, |u| u.counts.conversions.cast_signed()))
    .bind(column!(units, |u| u.counts.value_micros))
    .bind(column!(units, |u| i64::from(u.experiment)))
    .execute(tx)
    .await
    .map(drop)
}

/// Makes two people of experiments one.
pub(super) async fn merge_units(tx: &mut PgConnection, account: i32, from: Uid, into: Uid) -> Result<(), Error> {
    // in the order of those who count
    let held = query(
        "select from experiment_unit where account = $1 and person in ($2, $3)
         order by campaign, person, experiment for update",
    );
    held.bind(account).bind(from.as_uuid()).bind(into.as_uuid()).execute(&mut *tx).await?;
    query(joined!(
        "with gone as (delete from experiment_unit where account = $1 and person = $2 returning *)
         insert into experiment_unit as u (account, campaign, person, experiment, arm, first_at, crossed, impressions, clicks, conversions, value_micros)
         select account, campaign, $3, experiment, arm, first_at, crossed, impressions, clicks, conversions, value_micros from gone"
    ))
    .bind(account)
    .bind(from.as_uuid())
    .bind(into.as_uuid())
    .execute(tx)
    .await
    .map(drop)
}

/// Counts impressions of experiments, always in the same order.
pub(super) async fn count_shown(
    tx: &mut PgConnection,
    account: i32,
    campaign: &str,
    shown: Vec<(u32, Arm, u64)>,
) -> Result<(), Error> {
    if shown.is_empty() {
        return Ok(());
    }
    query(
        "insert into experiment_shown as s (account, campaign, experiment, arm, impressions)
         select $1, $2, * from unnest($3::bigint[], $4::smallint[], $5::bigint[])
         on conflict (account, campaign, experiment, arm) do update set impressions = s.impressions + excluded.impressions",
    )
    .bind(account)
    .bind(campaign)
    .bind(column!(shown, |(experiment, ..)| i64::from(*experiment)))
    .bind(column!(shown, |(_, arm, _)| i16::from(arm.number())))
    .bind(column!(shown, |(.., impressions)| impressions.cast_signed()))
    .execute(tx)
    .await
    .map(drop)
}

/// Sums over people by side and by whether they are of one experiment, of one measure.
macro_rules! arms {
    ($measured:literal) => {
        concat!(
            "select arm, own, count(*) as people, sum(y) as sum, sum(y * y) as squares,
                    count(*) filter (where crossed) as crossed
             from (select arm, crossed, experiment = $3 as own, ",
            $measured,
            " as y from experiment_unit where account = $1 and campaign = $2) u group by arm, own"
        )
    };
}

/// What the people of each side did.
pub(super) async fn sides(
    connection: &mut PgConnection,
    account: i32,
    campaign: CampaignId,
    experiment: u32,
    measured: Measured,
) -> Result<Sides, Error> {
    let statement = match measured {
        Measured::Clicks => arms!("clicks::float8"),
        Measured::Conversions => arms!("conversions::float8"),
        Measured::Value => arms!("value_micros / 1e6::float8"),
    };
    let rows = query(statement)
        .bind(account)
        .bind(campaign.as_str())
        .bind(i64::from(experiment))
        .fetch_all(&mut *connection)
        .await?;
    let mut sides = Sides::default();
    for row in &rows {
        let number = |column| Ok::<_, Error>(row.try_get::<i64, _>(column)?.unsigned_abs());
        let sums = Sums { people: number("people")?, sum: row.try_get("sum")?, squares: row.try_get("squares")? };
        let own: bool = row.try_get("own")?;
        sides.crossed_over += if own { number("crossed")? } else { 0 };
        match (row.try_get::<i16, _>("arm")?, own) {
            (0, own) => {
                sides.personalised += if own { sums } else { Sums::default() };
                sides.ever += sums;
            }
            (1, true) => sides.control = sums,
            _ => {}
        }
    }
    let shown: Vec<(i16, i64)> = query_as(
        "select arm, impressions from experiment_shown where account = $1 and campaign = $2 and experiment = $3",
    )
    .bind(account)
    .bind(campaign.as_str())
    .bind(i64::from(experiment))
    .fetch_all(connection)
    .await?;
    for (arm, impressions) in shown {
        let impressions = impressions.unsigned_abs();
        sides.excluded.impressions += impressions;
        match Arm::ALL.into_iter().find(|known| i16::from(known.number()) == arm) {
            Some(Arm::Unassigned) => sides.excluded.no_key += impressions,
            Some(Arm::NoConsent) => sides.excluded.no_consent += impressions,
            Some(Arm::Personalised | Arm::Control) | None => {}
        }
    }
    Ok(sides)
}
