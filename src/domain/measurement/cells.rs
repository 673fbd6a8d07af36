//! What reports are folded from: additive counts by day, place and subject.

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::{ComponentId, PlacementId, SegmentKey, SlotName},
    measurement::{
        exposure::Arm,
        outcome::{Invalid, OutcomeKind},
        rate::Count,
        traffic::InvalidTally,
    },
    values::Millis,
};

const DAY_MS: i64 = 86_400_000;

/// What a cell counts for. An outcome adds to one cell of its combination, to one for each slot, to
/// one for each segment of its person and to one for each of these and slot; so sums over the cells
/// of one kind count nothing twice, but for people in several segments, who are in each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// What was shown, whole.
    Combination {
        /// The combination's number.
        combination: u64,
    },
    /// A component.
    Component {
        /// The slot that it was shown in.
        slot: SlotName,
        /// Its id.
        component: ComponentId,
    },
    /// Everything that a segment's people were shown.
    Segment {
        /// The segment.
        segment: SegmentKey,
    },
    /// A component for a segment's people.
    SegmentComponent {
        /// The segment.
        segment: SegmentKey,
        /// The slot that it was shown in.
        slot: SlotName,
        /// Its id.
        component: ComponentId,
    },
}

/// Where and for what a count was made. The campaign is the caller's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CellKey {
    /// Start of the UTC day of the decision, so that an outcome never moves to another day than its
    /// impression; see [`day`].
    pub day: Millis,
    /// Where it was shown.
    pub placement: PlacementId,
    /// On what kind of device; empty where it is unknown.
    pub device: Box<str>,
    /// In which arm.
    pub arm: Arm,
    /// For what.
    pub subject: Subject,
}

/// The start of an instant's UTC day.
#[must_use]
pub fn day(at: Millis) -> Millis {
    Millis(at.0.saturating_sub(at.0.rem_euclid(DAY_MS)))
}

/// What happened. Counts add, whatever the order and the replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Counts {
    /// Rendered.
    pub impressions: u64,
    /// In view.
    pub viewables: u64,
    /// Clicks.
    pub clicks: u64,
    /// Conversions.
    pub conversions: u64,
    /// Those of them that followed a view without a click; the others followed a click.
    #[serde(default)]
    pub view_conversions: u64,
    /// What the conversions were worth, in millionths of the sender's currency unit.
    pub value_micros: i64,
    /// What was left out of the other counts as invalid.
    pub invalid: InvalidTally,
}

impl Counts {
    /// One outcome; an invalid one only by its reason.
    #[must_use]
    pub fn of(kind: OutcomeKind, value_micros: Option<i64>, invalid: Option<Invalid>) -> Self {
        let mut one = Self::default();
        one.record(kind, value_micros, invalid);
        one
    }

    /// Counts an outcome; an invalid one only by its reason.
    pub fn record(&mut self, kind: OutcomeKind, value_micros: Option<i64>, invalid: Option<Invalid>) {
        if let Some(reason) = invalid {
            return self.invalid.count(reason);
        }
        let counter = match kind {
            OutcomeKind::Impression => &mut self.impressions,
            OutcomeKind::Viewable => &mut self.viewables,
            OutcomeKind::Click => &mut self.clicks,
            OutcomeKind::Conversion => {
                self.value_micros = self.value_micros.saturating_add(value_micros.unwrap_or(0));
                &mut self.conversions
            }
            // notices of an auction are no outcomes of what was shown
            OutcomeKind::Win | OutcomeKind::Billing | OutcomeKind::Loss => return,
        };
        *counter = counter.saturating_add(1);
    }

    /// Successes by the goal among impressions.
    #[must_use]
    pub fn by(&self, goal: Goal) -> Count {
        let successes = match goal {
            Goal::Click => self.clicks,
            Goal::Conversion => self.conversions,
        };
        Count { trials: self.impressions, successes }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.impressions = self.impressions.saturating_add(other.impressions);
        self.viewables = self.viewables.saturating_add(other.viewables);
        self.clicks = self.clicks.saturating_add(other.clicks);
        self.conversions = self.conversions.saturating_add(other.conversions);
        self.view_conversions = self.view_conversions.saturating_add(other.view_conversions);
        self.value_micros = self.value_micros.saturating_add(other.value_micros);
        self.invalid += other.invalid;
    }
}

/// What an impression succeeds by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// A click.
    #[default]
    Click,
    /// A conversion.
    Conversion,
}

/// Additive counts of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Cell {
    /// Where and for what.
    pub key: CellKey,
    /// What happened there.
    pub counts: Counts,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn invalid_outcomes_are_counted_apart() {
        let mut counts = Counts::default();
        counts.record(OutcomeKind::Conversion, Some(5_000_000), None);
        counts.record(OutcomeKind::Conversion, Some(7_000_000), Some(Invalid::Replay));
        counts.record(OutcomeKind::Impression, None, None);
        counts.record(OutcomeKind::Click, None, Some(Invalid::KnownProgram));
        let invalid = InvalidTally { known_program: 1, impossible_rate: 0, replay: 1 };
        let expected = Counts { impressions: 1, conversions: 1, value_micros: 5_000_000, invalid, ..Counts::default() };
        assert_eq!(counts, expected);
        assert_eq!(counts.by(Goal::Conversion), Count { trials: 1, successes: 1 });
    }

    proptest! {
        #[test]
        fn a_day_begins_before_and_ends_after(at in i64::MIN / 2..i64::MAX / 2) {
            let start = day(Millis(at)).0;
            prop_assert!(start % DAY_MS == 0 && start <= at && at - start < DAY_MS);
        }
    }
}
