//! What another rotation would have earned, from the log of this one.
//!
//! Self-normalised inverse propensity scoring (Swaminathan and Joachims, "The self-normalized
//! estimator for counterfactual learning", NeurIPS 2015). A rotation must be evaluated on rows that it
//! did not learn from: what it learned from flatters it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::Uid,
    measurement::{
        rate::{Interval, Z},
        slate::{SlateError, SlotWeights},
    },
};

/// The most legal combinations that are weighed one by one.
pub const MOST_COMBINATIONS: u64 = 200;
/// The least effective sample size of an answer.
pub const LEAST_EFFECTIVE: f64 = 200.0;
/// The largest weight of a row in an answer.
pub const LARGEST_WEIGHT: f64 = 1_000.0;
/// The largest reward of a row, so that sums stay finite.
pub const LARGEST_REWARD: f64 = 1e15;

/// What the weights are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Propensities of whole combinations: no assumption about the rewards.
    Combinations,
    /// Propensities of components and pairs of them, assuming the additive model: that what a
    /// component adds does not depend on the other slots.
    AssumingTheAdditiveModel,
}

impl Basis {
    /// What so many legal combinations need.
    #[must_use]
    pub fn of(combinations: u64) -> Self {
        if combinations <= MOST_COMBINATIONS { Self::Combinations } else { Self::AssumingTheAdditiveModel }
    }
}

/// A logged decision by the weight that the other rotation gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged<'a> {
    /// Whose it was: a person's rows count as one observation in the interval.
    pub person: Option<Uid>,
    /// By what it is weighed.
    pub weight: Weight<'a>,
    /// What came of it: clicks, conversions or value, 0 to [`LARGEST_REWARD`].
    pub reward: f64,
}

/// How much a logged decision stands for the other rotation's.
#[derive(Clone, Debug, PartialEq)]
pub enum Weight<'a> {
    /// By the whole combination.
    Joint {
        /// Probability with which it was shown, above 0.
        propensity: f64,
        /// Probability with which the other rotation shows it to the same person, 0 to 1.
        target: f64,
    },
    /// By its components.
    Slots {
        /// The weights for the row's context.
        weights: &'a SlotWeights,
        /// The component shown in each slot, by position.
        choice: &'a [u16],
    },
}

/// A logged decision that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A propensity that is none.
    #[error("the propensity must be above 0 and at most 1")]
    Propensity,
    /// A target's probability that is none.
    #[error("the target's probability must be 0 to 1")]
    Target,
    /// A reward that is negative, not a number or above [`LARGEST_REWARD`].
    #[error("the reward must be 0 to {LARGEST_REWARD:e}")]
    Reward,
    /// The row is weighed by something else than the evaluation.
    #[error("the row's weight is of another basis")]
    Basis,
    /// A choice that does not fit.
    #[error(transparent)]
    Slate(#[from] SlateError),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The log says too little about the other rotation.
    #[error("the effective sample size is {effective:.0}, at least {LEAST_EFFECTIVE} are needed")]
    EffectiveSampleSize {
        /// The effective sample size.
        effective: f64,
    },
    /// A row would count for too many.
    #[error("the largest weight is {largest:.0}, at most {LARGEST_WEIGHT} are allowed")]
    LargestWeight {
        /// The largest weight.
        largest: f64,
    },
}

/// What the other rotation would have earned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Evaluation {
    /// What the estimate rests on.
    pub basis: Basis,
    /// Reward per decision.
    pub value: f64,
    /// Where it lies with a probability of 95%, for one look.
    pub interval: Interval,
    /// What the rotation that was logged earned per decision.
    pub logged_value: f64,
    /// Rows.
    pub rows: u64,
    /// Rows by themselves would be worth as much as so many of the other rotation.
    pub effective_sample_size: f64,
    /// The largest weight of a row.
    pub largest_weight: f64,
    /// Mean weight: about 1 where the log covers all that the other rotation does.
    pub mean_weight: f64,
}

/// Collects rows for an [`Evaluation`]. Memory grows with the number of people.
#[derive(Clone, Debug)]
pub struct Evaluator {
    basis: Basis,
    rows: u64,
    rewards: f64,
    /// Whether every reward is a share of one, as clicks are.
    fractions: bool,
    squares: f64,
    largest: f64,
    people: BTreeMap<Uid, (f64, f64)>,
    loose: Moments,
}

/// Sums over people of their weights `a` and their weighted rewards `b`.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    a: f64,
    b: f64,
    aa: f64,
    ab: f64,
    bb: f64,
}

impl Moments {
    fn add(&mut self, a: f64, b: f64) {
        self.a += a;
        self.b += b;
        self.aa += a * a;
        self.ab += a * b;
        self.bb += b * b;
    }
}

impl Evaluator {
    /// Nothing collected yet.
    #[must_use]
    pub fn new(basis: Basis) -> Self {
        let (people, loose) = (BTreeMap::new(), Moments::default());
        Self { basis, rows: 0, rewards: 0.0, fractions: true, squares: 0.0, largest: 0.0, people, loose }
    }

    /// Takes a row in.
    ///
    /// # Errors
    /// Why it cannot be used; nothing was taken in.
    pub fn push(&mut self, row: &Logged<'_>) -> Result<(), RowError> {
        let weight = match (&row.weight, self.basis) {
            (Weight::Joint { propensity, target }, Basis::Combinations) => {
                if !(*propensity > 0.0 && *propensity <= 1.0 + 1e-9) {
                    return Err(RowError::Propensity);
                }
                if !(0.0..=1.0 + 1e-9).contains(target) {
                    return Err(RowError::Target);
                }
                target / propensity
            }
            (Weight::Slots { weights, choice }, Basis::AssumingTheAdditiveModel) => weights.of(choice)?,
            _ => return Err(RowError::Basis),
        };
        if !(0.0..=LARGEST_REWARD).contains(&row.reward) {
            return Err(RowError::Reward);
        }
        self.rows += 1;
        self.rewards += row.reward;
        self.fractions &= row.reward <= 1.0;
        self.squares += weight * weight;
        self.largest = self.largest.max(weight.abs());
        match row.person {
            None => self.loose.add(weight, weight * row.reward),
            Some(person) => {
                let sums = self.people.entry(person).or_default();
                sums.0 += weight;
                sums.1 += weight * row.reward;
            }
        }
        Ok(())
    }

    /// The answer.
    ///
    /// The interval contains each value that the weighted differences from it do not exclude (Fieller,
    /// JRSS B 1954), people being the observations. For rewards of at most 1 it is widened to what as
    /// many plain observations as the effective sample would give (Wilson, JASA 1927), because few
    /// rewards vary less among themselves than their chance does.
    ///
    /// # Errors
    /// The log does not carry an answer.
    pub fn finish(self) -> Result<Evaluation, Refusal> {
        let mut all = self.loose;
        self.people.values().for_each(|&(a, b)| all.add(a, b));
        // a negative sum says nothing, and no rows say the same
        let effective = if all.a > 0.0 { all.a * all.a / self.squares } else { 0.0 };
        if effective < LEAST_EFFECTIVE {
            return Err(Refusal::EffectiveSampleSize { effective });
        }
        if self.largest > LARGEST_WEIGHT {
            return Err(Refusal::LargestWeight { largest: self.largest });
        }
        let independent = all.a * all.a / all.aa;
        if independent < LEAST_EFFECTIVE {
            return Err(Refusal::EffectiveSampleSize { effective: independent });
        }
        let value = (all.b / all.a).max(0.0);
        let mut interval = all.fieller();
        if self.fractions {
            let wilson = wilson(value.min(1.0), independent);
            interval = Interval { low: interval.low.min(wilson.low), high: interval.high.max(wilson.high) };
        }
        let rows = self.rows as f64;
        Ok(Evaluation {
            basis: self.basis,
            value,
            interval,
            logged_value: self.rewards / rows,
            rows: self.rows,
            effective_sample_size: effective,
            largest_weight: self.largest,
            mean_weight: all.a / rows,
        })
    }
}

impl Moments {
    /// The values v with `(b - v a)^2 <= z^2 sum (b_i - v a_i)^2`: there are some above and below the
    /// estimate, because the effective sample is larger than `z^2`.
    fn fieller(&self) -> Interval {
        let square = Z * Z;
        let lead = self.a * self.a - square * self.aa;
        let middle = self.a * self.b - square * self.ab;
        let last = self.b * self.b - square * self.bb;
        let root = (middle * middle - lead * last).max(0.0).sqrt();
        Interval { low: ((middle - root) / lead).max(0.0), high: ((middle + root) / lead).max(0.0) }
    }
}

fn wilson(share: f64, trials: f64) -> Interval {
    let square = Z * Z / trials;
    let centre = share + 0.5 * square;
    let half = (square * share * (1.0 - share) + 0.25 * square * square).sqrt();
    Interval { low: ((centre - half) / (1.0 + square)).max(0.0), high: (centre + half) / (1.0 + square) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::measurement::slate::Design;

    fn row(propensity: f64, target: f64, reward: f64) -> Logged<'static> {
        Logged { person: None, weight: Weight::Joint { propensity, target }, reward }
    }

    fn evaluated(rows: impl IntoIterator<Item = Logged<'static>>) -> Result<Evaluation, Refusal> {
        let mut evaluator = Evaluator::new(Basis::Combinations);
        rows.into_iter().for_each(|row| evaluator.push(&row).expect("a row"));
        evaluator.finish()
    }

    #[test]
    fn the_same_rotation_earns_the_same() {
        let rows = (0..1_000).map(|at| row(0.25, 0.25, f64::from(u8::from(at % 20 == 0))));
        let same = evaluated(rows).expect("an answer");
        assert!((same.value - 0.05).abs() < 1e-12 && (same.logged_value - 0.05).abs() < 1e-12);
        assert!((same.effective_sample_size - 1_000.0).abs() < 1e-6 && (same.mean_weight - 1.0).abs() < 1e-12);
        assert!(
            (0.036..0.039).contains(&same.interval.low) && (0.064..0.067).contains(&same.interval.high),
            "{same:?}"
        );
    }

    #[test]
    fn weak_evidence_is_refused() {
        assert_eq!(evaluated([]), Err(Refusal::EffectiveSampleSize { effective: 0.0 }));
        assert!(matches!(evaluated((0..199).map(|_| row(0.5, 0.5, 1.0))), Err(Refusal::EffectiveSampleSize { .. })));
        assert!(evaluated((0..200).map(|_| row(0.5, 0.5, 1.0))).is_ok());
        assert!(matches!(evaluated((0..500).map(|_| row(0.5, 0.0, 1.0))), Err(Refusal::EffectiveSampleSize { .. })));
        let one_large = (0..900_000).map(|at| if at == 0 { row(1e-4, 0.11, 0.0) } else { row(1.0, 1.0, 0.0) });
        assert!(matches!(evaluated(one_large), Err(Refusal::LargestWeight { .. })));
    }

    #[test]
    fn impossible_rows_are_refused_one_by_one() {
        let mut evaluator = Evaluator::new(Basis::Combinations);
        for (bad, error) in [
            (row(0.0, 0.5, 0.0), RowError::Propensity),
            (row(f64::NAN, 0.5, 0.0), RowError::Propensity),
            (row(0.5, -0.1, 0.0), RowError::Target),
            (row(0.5, f64::NAN, 0.0), RowError::Target),
            (row(0.5, 0.5, -1.0), RowError::Reward),
            (row(0.5, 0.5, f64::NAN), RowError::Reward),
        ] {
            assert_eq!(evaluator.push(&bad), Err(error));
        }
        assert_eq!(evaluator.rows, 0);
        let mut additive = Evaluator::new(Basis::of(201));
        assert_eq!(additive.push(&row(0.5, 0.5, 0.0)), Err(RowError::Basis));
        let mut design = Design::new(&[2]).expect("a design");
        design.mix_independent(1.0, &[vec![0.5, 0.5]]).expect("a mixture");
        let weights = design.weights(&[vec![0.5, 0.5]]).expect("weights");
        let slots = |choice| Logged { person: None, weight: Weight::Slots { weights: &weights, choice }, reward: 0.0 };
        assert_eq!(additive.push(&slots(&[0, 0])), Err(RowError::Slate(SlateError::Shape)));
        assert_eq!(additive.push(&slots(&[1])), Ok(()));
    }

    #[test]
    fn nothing_earned_is_not_certainly_nothing() {
        let none = evaluated((0..400).map(|_| row(0.5, 0.5, 0.0))).expect("an answer");
        assert!(none.value == 0.0 && none.interval.low == 0.0 && none.interval.high > 0.005, "{none:?}");
    }

    #[test]
    fn a_persons_rows_are_one_observation() {
        let rows = |of: u128| {
            (0..4_000_u128).map(move |at| Logged {
                person: Some(Uid(at / of)),
                ..row(0.5, 0.5, f64::from(u8::from(at / 10 % 10 == 0)))
            })
        };
        let width = |of| evaluated(rows(of)).map(|found| found.interval.high - found.interval.low).expect("an answer");
        assert!((width(10) / width(1) - 10_f64.sqrt()).abs() < 0.2, "{} {}", width(10), width(1));
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_estimate(
            rows in prop::collection::vec((0.05_f64..=1.0, 0.0_f64..=1.0, 0.0_f64..50.0, 0_u128..400), 600..900),
        ) {
            let mut evaluator = Evaluator::new(Basis::of(200));
            for (propensity, target, reward, person) in rows {
                evaluator.push(&Logged { person: Some(Uid(person)), ..row(propensity, target, reward) }).expect("a row");
            }
            if let Ok(found) = evaluator.finish() {
                prop_assert!(found.interval.low <= found.value && found.value <= found.interval.high, "{:?}", found);
            }
        }
    }
}
