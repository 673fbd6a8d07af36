//! What reports are folded from: additive counts by day, place and subject.

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::{ComponentId, PlacementId, SegmentKey, SlotName},
    measurement::{
        exposure::Arm,
        outcome::{Invalid, OutcomeKind},
        rate::{Count, Interval, Rate},
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
    /// Where it was shown; none where that is not told apart.
    pub placement: Option<PlacementId>,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Counts {
    /// Rendered.
    pub impressions: u64,
    /// In view.
    pub viewables: u64,
    /// Clicks.
    pub clicks: u64,
    /// Conversions.
    pub conversions: u64,
    /// Those of them that followed a view without a click that had been told by then; the others followed a click.
    #[serde(default)]
    pub view_conversions: u64,
    /// What the conversions were worth, in millionths of the sender's currency unit.
    pub value_micros: i64,
    /// The sum of the squares of what each was worth, in units of the sender's currency.
    #[serde(skip)]
    pub value_squares: f64,
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
                let micros = value_micros.unwrap_or(0);
                self.value_micros = self.value_micros.saturating_add(micros);
                self.value_squares += (micros as f64 / 1e6).powi(2);
                &mut self.conversions
            }
            // notices of an auction are no outcomes of what was shown
            OutcomeKind::Win | OutcomeKind::Billing | OutcomeKind::Loss => return,
            // nor does it matter to them how far a video was played
            OutcomeKind::Start
            | OutcomeKind::FirstQuartile
            | OutcomeKind::Midpoint
            | OutcomeKind::ThirdQuartile
            | OutcomeKind::Complete
            | OutcomeKind::Error => return,
        };
        *counter = counter.saturating_add(1);
    }

    /// What the conversions were worth, in units of the sender's currency.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value_micros as f64 / 1e6
    }
}

impl Counts {
    /// What is left without a part of these counts.
    #[must_use]
    pub fn without(&self, part: &Self) -> Self {
        let (all, gone) = (self.invalid, part.invalid);
        Self {
            impressions: self.impressions.saturating_sub(part.impressions),
            viewables: self.viewables.saturating_sub(part.viewables),
            clicks: self.clicks.saturating_sub(part.clicks),
            conversions: self.conversions.saturating_sub(part.conversions),
            view_conversions: self.view_conversions.saturating_sub(part.view_conversions),
            value_micros: self.value_micros.saturating_sub(part.value_micros),
            value_squares: (self.value_squares - part.value_squares).max(0.0),
            invalid: InvalidTally {
                known_program: all.known_program.saturating_sub(gone.known_program),
                impossible_rate: all.impossible_rate.saturating_sub(gone.impossible_rate),
                replay: all.replay.map(|all| all.saturating_sub(gone.replay.unwrap_or_default())),
            },
        }
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
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
        self.value_squares += other.value_squares;
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
    /// What conversions are worth, in the campaign's currency.
    Value,
}

/// How success is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    goal: Goal,
    /// What one success stands for: 1, or a piece of value.
    piece: f64,
}

impl Measure {
    /// Successes by a goal. Value is counted in pieces of the mean value that a unit of it comes in, so
    /// that as many pieces vary as the values that they stand for do, whatever their sizes.
    #[must_use]
    pub fn new(goal: Goal, totals: &Counts) -> Self {
        let piece = totals.value_squares / totals.value();
        let usable = goal == Goal::Value && piece.is_finite() && piece > 0.0;
        Self { goal, piece: if usable { piece } else { 1.0 } }
    }

    /// What one success stands for.
    #[must_use]
    pub fn piece(&self) -> f64 {
        self.piece
    }

    /// Successes among impressions.
    #[must_use]
    pub fn count(&self, counts: &Counts) -> Count {
        let successes = match self.goal {
            Goal::Click => counts.clicks,
            Goal::Conversion => counts.conversions,
            Goal::Value => (counts.value() / self.piece).round() as u64,
        };
        Count { trials: counts.impressions, successes }
    }

    /// The rate by the goal: for value, what an impression earned.
    #[must_use]
    pub fn rate(&self, counts: &Counts, dispersion: f64) -> Option<Rate> {
        let rate = self.count(counts).rate(dispersion)?;
        if self.goal != Goal::Value {
            return Some(rate);
        }
        // pieces are whole, values are not
        let value = counts.value() / counts.impressions.max(1) as f64;
        let Interval { low, high } = rate.interval;
        Some(Rate {
            value,
            interval: Interval { low: value.min(low * self.piece), high: value.max(high * self.piece) },
        })
    }
}

/// Additive counts of one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
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
        let invalid = InvalidTally { known_program: 1, impossible_rate: 0, replay: Some(1) };
        let value = Counts { value_micros: 5_000_000, value_squares: 25.0, ..Counts::default() };
        let expected = Counts { impressions: 1, conversions: 1, invalid, ..value };
        assert_eq!(counts, expected);
        let measure = Measure::new(Goal::Conversion, &counts);
        assert_eq!(measure.count(&counts), Count { trials: 1, successes: 1 });
    }

    #[test]
    fn value_is_counted_in_pieces() {
        let sold = |values: &[i64]| {
            let mut counts = Counts { impressions: 1_000, ..Counts::default() };
            values.iter().for_each(|value| counts.record(OutcomeKind::Conversion, Some(value * 1_000_000), None));
            counts
        };
        let (even, wild) = (sold(&[50; 20]), sold(&[5, 5, 5, 5, 5, 5, 5, 5, 5, 955]));
        let rate = |counts: &Counts| Measure::new(Goal::Value, counts).rate(counts, 1.0).expect("impressions");
        assert_eq!((rate(&even).value, rate(&wild).value), (1.0, 1.0));
        assert_eq!(Measure::new(Goal::Value, &even).count(&even).successes, 20);
        assert_eq!(Measure::new(Goal::Value, &wild).count(&wild).successes, 1, "one sale says little");
        assert!(rate(&wild).interval.high > 2.0 * rate(&even).interval.high);
        let none = sold(&[]);
        assert_eq!((rate(&none).value, rate(&none).interval.low), (0.0, 0.0));
    }

    proptest! {
        #[test]
        fn a_day_begins_before_and_ends_after(at in i64::MIN / 2..i64::MAX / 2) {
            let start = day(Millis(at)).0;
            prop_assert!(start % DAY_MS == 0 && start <= at && at - start < DAY_MS);
        }
    }
}
