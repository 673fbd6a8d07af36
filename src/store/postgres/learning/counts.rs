//! What was counted: of combinations and of features.

use std::collections::BTreeMap;

use sqlx::{Error, PgConnection, query, query_as};

use super::{column, packing::pack};
use crate::{
    domain::{
        ids::CampaignId,
        measurement::outcome::{Outcome, OutcomeKind},
    },
    ports::{CombinationCell, FeatureCell, Subject},
    store::postgres::attribution::day,
};

/// Adds to what combinations were shown and earned. What had no number yet, which stands as the largest, may have one
/// by now.
pub(super) async fn count_combinations(
    tx: &mut PgConnection,
    subject: &Subject,
    cells: Vec<CombinationCell>,
) -> Result<(), Error> {
    if cells.is_empty() {
        return Ok(());
    }
    query(
        "insert into combination_cell as c (account, campaign, creative, day, arm, revision, choice, combination,
                                            impressions, viewables, clicks, conversions, value_micros,
                                            programs, too_fast, replays, view_conversions, value_squares)
         select $1, $2, $3, * from unnest($4::int[], $5::smallint[], $6::bigint[], $7::bytea[], $16::bigint[], $8::bigint[],
             $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[],
             $17::bigint[], $18::float8[])
         on conflict (account, campaign, day, creative, arm, revision, combination) do update
         set choice = case when length(excluded.choice) = length(c.choice) then least(c.choice, excluded.choice)
                           when length(excluded.choice) > length(c.choice) then excluded.choice else c.choice end,
             impressions = c.impressions + excluded.impressions, viewables = c.viewables + excluded.viewables,
             clicks = c.clicks + excluded.clicks, conversions = c.conversions + excluded.conversions,
             value_micros = least(c.value_micros::numeric + excluded.value_micros, 9e18)::bigint, programs = c.programs + excluded.programs,
             too_fast = c.too_fast + excluded.too_fast, replays = c.replays + excluded.replays,
             view_conversions = c.view_conversions + excluded.view_conversions,
             value_squares = c.value_squares + excluded.value_squares",
    )
    .bind(subject.account.cast_signed())
    .bind(subject.campaign.as_str())
    .bind(subject.creative.as_str())
    .bind(column!(cells, |c| c.day))
    .bind(column!(cells, |c| i16::from(c.arm.number())))
    .bind(column!(cells, |c| i64::from(c.revision)))
    .bind(column!(cells, |c| pack(&c.choice)))
    .bind(column!(cells, |c| c.counts.impressions.cast_signed()))
    .bind(column!(cells, |c| c.counts.viewables.cast_signed()))
    .bind(column!(cells, |c| c.counts.clicks.cast_signed()))
    .bind(column!(cells, |c| c.counts.conversions.cast_signed()))
    .bind(column!(cells, |c| c.counts.value_micros))
    .bind(column!(cells, |c| c.counts.invalid.known_program.cast_signed()))
    .bind(column!(cells, |c| c.counts.invalid.impossible_rate.cast_signed()))
    .bind(column!(cells, |c| c.counts.invalid.replay.unwrap_or_default().cast_signed()))
    .bind(column!(cells, |c| c.combination.cast_signed()))
    .bind(column!(cells, |c| c.counts.view_conversions.cast_signed()))
    .bind(column!(cells, |c| c.counts.value_squares))
    .execute(tx)
    .await
    .map(drop)
}

pub(super) async fn count_features(
    tx: &mut PgConnection,
    subject: &Subject,
    cells: Vec<FeatureCell>,
) -> Result<(), Error> {
    if cells.is_empty() {
        return Ok(());
    }
    query(
        "insert into feature_cell as c (account, campaign, creative, day, arm, feature, slot, component,
                                        impressions, viewables, clicks, conversions, value_micros,
                                        programs, too_fast, replays, view_conversions, value_squares)
         select $1, $2, $3, * from unnest($4::int[], $5::smallint[], $6::int[], $7::smallint[], $8::int[],
             $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[],
             $17::bigint[], $18::float8[])
         on conflict (account, campaign, day, creative, arm, feature, slot, component) do update
         set impressions = c.impressions + excluded.impressions, viewables = c.viewables + excluded.viewables,
             clicks = c.clicks + excluded.clicks, conversions = c.conversions + excluded.conversions,
             value_micros = least(c.value_micros::numeric + excluded.value_micros, 9e18)::bigint, programs = c.programs + excluded.programs,
             too_fast = c.too_fast + excluded.too_fast, replays = c.replays + excluded.replays,
             view_conversions = c.view_conversions + excluded.view_conversions,
             value_squares = c.value_squares + excluded.value_squares",
    )
    .bind(subject.account.cast_signed())
    .bind(subject.campaign.as_str())
    .bind(subject.creative.as_str())
    .bind(column!(cells, |c| c.day))
    .bind(column!(cells, |c| i16::from(c.arm.number())))
    .bind(column!(cells, |c| i32::from(c.feature)))
    .bind(column!(cells, |c| c.component.map_or(-1, |(slot, _)| i16::from(slot))))
    .bind(column!(cells, |c| c.component.map_or(0, |(_, component)| i32::from(component))))
    .bind(column!(cells, |c| c.counts.impressions.cast_signed()))
    .bind(column!(cells, |c| c.counts.viewables.cast_signed()))
    .bind(column!(cells, |c| c.counts.clicks.cast_signed()))
    .bind(column!(cells, |c| c.counts.conversions.cast_signed()))
    .bind(column!(cells, |c| c.counts.value_micros))
    .bind(column!(cells, |c| c.counts.invalid.known_program.cast_signed()))
    .bind(column!(cells, |c| c.counts.invalid.impossible_rate.cast_signed()))
    .bind(column!(cells, |c| c.counts.invalid.replay.unwrap_or_default().cast_signed()))
    .bind(column!(cells, |c| c.counts.view_conversions.cast_signed()))
    .bind(column!(cells, |c| c.counts.value_squares))
    .execute(tx)
    .await
    .map(drop)
}

/// Counts beacons that came again, per campaign. Of conversions those by pixel without an order number: others
/// are told again on purpose.
pub(in crate::store::postgres) async fn count_repeats<'a>(
    tx: &mut PgConnection,
    repeats: impl Iterator<Item = &'a Outcome>,
) -> Result<(), Error> {
    let mut counts = BTreeMap::<(i32, &str, i32), i64>::new();
    let on_purpose =
        |outcome: &Outcome| outcome.kind == OutcomeKind::Conversion && (outcome.across_decisions || !outcome.by_pixel);
    for outcome in repeats.filter(|outcome| outcome.kind.is_of_people() && !on_purpose(outcome)) {
        if let Some(campaign) = &outcome.campaign {
            let key = (outcome.account.cast_signed(), campaign.as_str(), day(outcome.decision));
            *counts.entry(key).or_default() += 1;
        }
    }
    if counts.is_empty() {
        return Ok(());
    }
    query(
        "insert into repeated as r (account, campaign, day, beacons)
         select * from unnest($1::int[], $2::text[], $3::int[], $4::bigint[])
         on conflict (account, campaign, day) do update set beacons = r.beacons + excluded.beacons",
    )
    .bind(counts.keys().map(|(account, ..)| *account).collect::<Vec<_>>())
    .bind(counts.keys().map(|(_, campaign, _)| *campaign).collect::<Vec<_>>())
    .bind(counts.keys().map(|(.., day)| *day).collect::<Vec<_>>())
    .bind(counts.values().copied().collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

/// How many beacons of a campaign came again, by day.
pub(super) async fn repeated(
    connection: &mut PgConnection,
    account: u32,
    campaign: CampaignId,
    days: (i32, i32),
) -> Result<BTreeMap<i32, u64>, Error> {
    let rows: Vec<(i32, i64)> =
        query_as("select day, beacons from repeated where account = $1 and campaign = $2 and day >= $3 and day < $4")
            .bind(account.cast_signed())
            .bind(campaign.as_str())
            .bind(days.0)
            .bind(days.1)
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().map(|(day, beacons)| (day, beacons.unsigned_abs())).collect())
}
