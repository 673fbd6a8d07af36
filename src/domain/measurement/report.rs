//! Reports: cells folded into rows, each with an interval, what is believed of it among the others,
//! and when there is a best one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::{ComponentId, PlacementId, SegmentKey, SlotName},
    measurement::{
        best::{ArmStanding, BestVerdict, judge},
        cells::{Cell, Counts, Goal, Measure, Subject},
        exposure::Arm,
        rate::{Count, Rate},
    },
    values::Millis,
};

/// What a report has a row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ReportBy)]
pub enum By {
    /// Each UTC day.
    Day,
    /// Each placement.
    Placement,
    /// Each kind of device.
    Device,
    /// Each arm.
    Arm,
    /// Each combination.
    Combination,
    /// Each component, compared within its slot.
    Component,
    /// Each slot, all its components together.
    Slot,
    /// Each segment.
    Segment,
    /// Each component for each segment, compared within slot and segment: who responds to what.
    SegmentComponent,
}

/// Whose outcomes a report sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arms {
    /// Everybody's.
    All,
    /// Those of everybody for whom components were chosen: all but the control's.
    Chosen,
    /// Those of people for whom components were chosen.
    Personalised,
    /// Those of people who are held out.
    Control,
    /// Those of nobody known.
    Unassigned,
    /// Those of people who do not allow to be known or counted.
    NoConsent,
}

impl Arms {
    /// Whether outcomes of an arm are summed.
    #[must_use]
    pub fn takes(self, arm: Arm) -> bool {
        match self {
            Self::All => true,
            Self::Chosen => arm != Arm::Control,
            Self::Personalised => arm == Arm::Personalised,
            Self::Control => arm == Arm::Control,
            Self::Unassigned => arm == Arm::Unassigned,
            Self::NoConsent => arm == Arm::NoConsent,
        }
    }
}

impl By {
    /// Whose outcomes are summed where nobody says: of what the rotation chooses, not those of the
    /// control, which is chosen in another way.
    #[must_use]
    pub fn arms(self) -> Arms {
        match self {
            Self::Day | Self::Placement | Self::Device | Self::Arm => Arms::All,
            Self::Combination | Self::Component | Self::Slot | Self::Segment | Self::SegmentComponent => Arms::Chosen,
        }
    }

    /// Whether the rows of a group are alternatives of which one may be the best: what the rotation
    /// chooses, and not where or when it was shown.
    fn compares(self) -> bool {
        matches!(self, Self::Combination | Self::Component | Self::SegmentComponent)
    }

    /// The row that a cell belongs to, if it is of the kind that the report sums over.
    fn row(self, cell: &Cell) -> Option<ReportKey> {
        let key = ReportKey::default();
        match (self, &cell.key.subject) {
            (Self::Day, Subject::Combination { .. }) => Some(ReportKey { day: Some(cell.key.day), ..key }),
            (Self::Placement, Subject::Combination { .. }) => {
                Some(ReportKey { placement: cell.key.placement.clone(), ..key })
            }
            (Self::Device, Subject::Combination { .. }) => {
                Some(ReportKey { device: Some(cell.key.device.clone().into()), ..key })
            }
            (Self::Arm, Subject::Combination { .. }) => Some(ReportKey { arm: Some(cell.key.arm), ..key }),
            (Self::Combination, Subject::Combination { combination }) => {
                Some(ReportKey { combination: Some(format!("{combination:016x}")), ..key })
            }
            (Self::Component, Subject::Component { slot, component }) => {
                Some(ReportKey { slot: Some(slot.clone()), component: Some(component.clone()), ..key })
            }
            (Self::Slot, Subject::Component { slot, .. }) => Some(ReportKey { slot: Some(slot.clone()), ..key }),
            (Self::Segment, Subject::Segment { segment }) => Some(ReportKey { segment: Some(segment.clone()), ..key }),
            (Self::SegmentComponent, Subject::SegmentComponent { segment, slot, component }) => Some(ReportKey {
                segment: Some(segment.clone()),
                slot: Some(slot.clone()),
                component: Some(component.clone()),
                ..key
            }),
            _ => None,
        }
    }
}

/// What a row is about: only what the report is by.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReportKey {
    /// Start of the UTC day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<Millis>,
    /// Where; left out for all places that are not told apart: those that are not registered, or behind the
    /// first 12 of a creative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementId>,
    /// On what kind of device; empty where it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// In which arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<SegmentKey>,
    /// Of which slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<SlotName>,
    /// Which component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentId>,
    /// Which combination, as decisions write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combination: Option<String>,
}

/// A row of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReportRow {
    /// What it is about.
    pub key: ReportKey,
    /// What happened.
    pub counts: Counts,
    /// The rate by the goal as it was seen, where that is value what an impression earned; none without
    /// impressions.
    pub rate: Option<Rate>,
    /// The share of impressions that were in view; none without impressions.
    #[serde(default)]
    pub viewability: Option<Rate>,
    /// What is believed of it among the rows that it competes with; none where rows do not compete.
    pub standing: Option<ArmStanding>,
    /// Whether it is the best of these, with at most 5% false among all that the report calls so.
    pub best: bool,
    /// About how many more impressions of these rows are needed before the best one can be named;
    /// none where it is, or where there is nothing to compare.
    pub more_impressions: Option<u64>,
}

/// Folds cells into a report's rows, sorted by their keys. Cells of kinds that the report does not
/// sum over are passed by, so the caller may give all that it has, of the days, places and arms that
/// were asked for. `dispersion` is as in [`Count::rate`]; the same seed gives the same report.
///
/// Rates compare what was shown to whom it was shown: where the rotation shows components to the
/// people who like them, that is not what everybody would do. For that there are evaluation and lift.
#[must_use]
pub fn report<'a>(
    cells: impl IntoIterator<Item = &'a Cell>,
    by: By,
    goal: Goal,
    dispersion: f64,
    seed: u64,
) -> Vec<ReportRow> {
    let mut sums: BTreeMap<ReportKey, Counts> = BTreeMap::new();
    for cell in cells {
        if let Some(key) = by.row(cell) {
            *sums.entry(key).or_default() += cell.counts;
        }
    }
    let totals = sums.values().fold(Counts::default(), |mut totals, counts| {
        totals += *counts;
        totals
    });
    let measure = Measure::new(goal, &totals);
    let mut rows: Vec<ReportRow> = sums
        .into_iter()
        .map(|(key, counts)| ReportRow {
            key,
            rate: measure.rate(&counts, dispersion),
            viewability: Count { trials: counts.impressions, successes: counts.viewables }
                .rate(dispersion)
                .filter(|_| counts.impressions > 0),
            counts,
            standing: None,
            best: false,
            more_impressions: None,
        })
        .collect();
    if by.compares() {
        compare(&mut rows, measure, dispersion, seed);
    }
    rows
}

/// Fills in how rows stand among those of the same segment and slot, which lie side by side.
fn compare(rows: &mut [ReportRow], measure: Measure, dispersion: f64, seed: u64) {
    let same = |a: &ReportRow, b: &ReportRow| a.key.segment == b.key.segment && a.key.slot == b.key.slot;
    let groups: Vec<Vec<Count>> =
        rows.chunk_by(same).map(|group| group.iter().map(|row| measure.count(&row.counts)).collect()).collect();
    let judged = judge(&groups, dispersion, seed);
    for (group, judgement) in rows.chunk_by_mut(same).zip(judged) {
        for (at, (row, standing)) in group.iter_mut().zip(judgement.arms).enumerate() {
            row.standing = Some(standing.scaled(measure.piece()));
            match judgement.verdict {
                BestVerdict::Best { arm } => row.best = arm == at,
                BestVerdict::NotEnoughData { more_impressions } => row.more_impressions = Some(more_impressions),
                BestVerdict::NoRival => {}
            }
        }
    }
}

impl ReportRow {
    /// Names of a record's fields.
    pub const COLUMNS: [&'static str; 30] = [
        "day",
        "placement",
        "device",
        "arm",
        "segment",
        "slot",
        "component",
        "combination",
        "impressions",
        "viewables",
        "clicks",
        "conversions",
        "view_conversions",
        "value_micros",
        "invalid_known_program",
        "invalid_impossible_rate",
        "invalid_replay",
        "rate",
        "rate_low",
        "rate_high",
        "shrunk_rate",
        "shrunk_low",
        "shrunk_high",
        "probability_best",
        "best",
        "verdict",
        "more_impressions",
        "viewability",
        "viewability_low",
        "viewability_high",
    ];

    /// The row as texts, in the order of [`ReportRow::COLUMNS`]; empty where there is nothing. Not escaped.
    #[must_use]
    pub fn record(&self) -> [String; 30] {
        fn text(value: Option<impl ToString>) -> String {
            value.map_or_else(String::new, |value| value.to_string())
        }
        let Self { key, counts, rate, viewability, standing, best, more_impressions } = self;
        let arm = key.arm.map(|arm| match arm {
            Arm::Personalised => "personalised",
            Arm::Control => "control",
            Arm::Unassigned => "unassigned",
            Arm::NoConsent => "no_consent",
        });
        let more = more_impressions.map(|more_impressions| BestVerdict::NotEnoughData { more_impressions });
        let verdict = if *best { Some(BestVerdict::Best { arm: 0 }) } else { more };
        [
            text(key.day),
            text(key.placement.as_ref()),
            text(key.device.as_ref()),
            text(arm),
            text(key.segment.as_ref()),
            text(key.slot.as_ref()),
            text(key.component.as_ref()),
            text(key.combination.as_ref()),
            counts.impressions.to_string(),
            counts.viewables.to_string(),
            counts.clicks.to_string(),
            counts.conversions.to_string(),
            counts.view_conversions.to_string(),
            counts.value_micros.to_string(),
            counts.invalid.known_program.to_string(),
            counts.invalid.impossible_rate.to_string(),
            text(counts.invalid.replay),
            text(rate.map(|rate| rate.value)),
            text(rate.map(|rate| rate.interval.low)),
            text(rate.map(|rate| rate.interval.high)),
            text(standing.map(|standing| standing.rate)),
            text(standing.map(|standing| standing.interval.low)),
            text(standing.map(|standing| standing.interval.high)),
            text(standing.map(|standing| standing.probability_best)),
            best.to_string(),
            text(verdict),
            text(*more_impressions),
            text(viewability.map(|rate| rate.value)),
            text(viewability.map(|rate| rate.interval.low)),
            text(viewability.map(|rate| rate.interval.high)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::measurement::cells::CellKey;

    fn cell(day: i64, subject: Subject, impressions: u64, clicks: u64) -> Cell {
        let placement = "home-top".parse().ok();
        let key = CellKey {
            day: Millis(day * 86_400_000),
            placement,
            device: "mobile".into(),
            arm: Arm::Personalised,
            subject,
        };
        Cell { key, counts: Counts { impressions, clicks, ..Counts::default() } }
    }

    fn component(of: Option<&str>, name: &str) -> Subject {
        let (slot, component) = ("headline".parse().expect("a slot"), name.parse().expect("an id"));
        match of {
            None => Subject::Component { slot, component },
            Some(segment) => Subject::SegmentComponent { segment: segment.parse().expect("a key"), slot, component },
        }
    }

    fn cells() -> Vec<Cell> {
        vec![
            cell(1, Subject::Combination { combination: 255 }, 60_000, 1_000),
            cell(2, Subject::Combination { combination: 10 }, 40_000, 1_400),
            cell(1, component(None, "a"), 60_000, 1_000),
            cell(2, component(None, "b"), 30_000, 1_300),
            cell(1, component(None, "b"), 10_000, 100),
            cell(1, component(Some("flyers"), "a"), 20_000, 900),
            cell(1, component(Some("flyers"), "b"), 20_000, 300),
            cell(1, component(Some("sleepers"), "a"), 30, 2),
            cell(1, component(Some("sleepers"), "b"), 40, 1),
        ]
    }

    fn made(by: By) -> Vec<ReportRow> {
        report(&cells(), by, Goal::Click, 1.0, 1)
    }

    #[test]
    fn nothing_is_counted_twice() {
        for by in [By::Day, By::Placement, By::Device, By::Arm, By::Combination, By::Component, By::Slot] {
            let rows = made(by);
            let totals = rows.iter().fold((0, 0), |(n, s), row| (n + row.counts.impressions, s + row.counts.clicks));
            assert_eq!(totals, (100_000, 2_400), "{by:?}");
            assert!(rows.iter().all(|row| row.rate.is_some() && row.standing.is_some() == by.compares()), "{by:?}");
        }
        assert_eq!(made(By::Combination)[1].key.combination.as_deref(), Some("00000000000000ff"));
    }

    #[test]
    fn segments_have_winners_only_where_they_know() {
        let rows = made(By::SegmentComponent);
        let best: Vec<_> = rows.iter().filter(|row| row.best).map(|row| row.key.clone()).collect();
        assert_eq!(best.len(), 1);
        assert_eq!(best[0].segment.as_ref().map(SegmentKey::as_str), Some("flyers"));
        assert_eq!(best[0].component.as_ref().map(ComponentId::as_str), Some("a"));
        assert!(rows[2..].iter().all(|row| row.more_impressions.is_some_and(|more| more > 1_000)), "{rows:?}");
        assert!(rows[..2].iter().all(|row| row.more_impressions.is_none()));
    }

    #[test]
    fn documents_and_records_say_the_same() {
        let rows = made(By::SegmentComponent);
        let json = serde_json::to_value(&rows[3]).expect("json");
        assert_eq!(json["key"], serde_json::json!({"segment": "sleepers", "slot": "headline", "component": "b"}));
        let record = rows[3].record();
        let at = |name: &str| &record[ReportRow::COLUMNS.iter().position(|column| *column == name).expect("a column")];
        assert_eq!((at("component").as_str(), at("impressions").as_str(), at("day").as_str()), ("b", "40", ""));
        assert!(at("verdict").starts_with("not enough data: about "), "{record:?}");
        assert_eq!(at("rate").parse::<f64>().ok(), json["rate"]["value"].as_f64());
        assert_eq!((at("viewability_low").as_str(), json["viewability"]["interval"]["low"].as_f64()), ("0", Some(0.0)));
        assert!(at("viewability_high").parse::<f64>().ok() == json["viewability"]["interval"]["high"].as_f64());
        assert_eq!((at("invalid_replay").as_str(), json["counts"]["invalid"].get("replay")), ("", None));
        let best = rows.iter().find(|row| row.best).expect("a best one").record();
        let place = |name: &str| ReportRow::COLUMNS.iter().position(|column| *column == name).expect("a column");
        assert_eq!((best[place("best")].as_str(), best[place("verdict")].as_str()), ("true", "best"));
        let day = made(By::Day)[0].record();
        assert_eq!(day[0], "1970-01-02T00:00:00.000Z");
        assert_eq!(serde_json::from_value::<ReportRow>(json).expect("a row"), rows[3]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn order_does_not_matter(order in Just(cells()).prop_shuffle()) {
            prop_assert_eq!(report(&order, By::Component, Goal::Click, 1.0, 3), made_with(3));
        }
    }

    fn made_with(seed: u64) -> Vec<ReportRow> {
        report(&cells(), By::Component, Goal::Click, 1.0, seed)
    }
}
