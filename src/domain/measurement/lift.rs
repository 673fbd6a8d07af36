//! The lift of personalisation over the control creative, by intention to treat.
//!
//! The unit is the person: whoever was eligible for the campaign counts in the arm that their key
//! was given, from the first eligible decision on and whatever they were shown, with all that they
//! did since. So it does not matter how many exposures a person had nor how alike these are.

use serde::{Deserialize, Serialize};

use crate::domain::measurement::{
    holdout::{Excluded, SampleRatio},
    sequence::critical,
};

/// What the lift is called wherever it is shown.
pub const NAME: &str = "lift of personalisation over control creative";

/// Fewer people or, in effect, events in an arm than these are not near normal.
const FEWEST_PEOPLE: u64 = 100;
const FEWEST_EVENTS: f64 = 10.0;

/// An amount that nobody can have done: negative, infinite or not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be zero or more and finite")]
pub struct NotAnAmount;

/// Sums over an arm's people of what each has done so far: clicks, conversions or value. They add up
/// whatever the order and the replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Sums {
    /// People.
    pub people: u64,
    /// Sum of their amounts.
    pub sum: f64,
    /// Sum of the squares of their amounts.
    pub squares: f64,
}

impl Sums {
    /// A person's first eligible decision.
    pub fn enter(&mut self) {
        self.people = self.people.saturating_add(1);
    }

    /// A person who has entered did more.
    ///
    /// # Errors
    /// An amount that is negative or not finite; nothing was changed.
    pub fn add(&mut self, before: f64, more: f64) -> Result<(), NotAnAmount> {
        let squares = self.squares + more * (2.0 * before + more);
        if !(before >= 0.0 && more >= 0.0 && squares.is_finite()) {
            return Err(NotAnAmount);
        }
        self.sum += more;
        self.squares = squares;
        Ok(())
    }

    /// Amount per person; none without people.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.people > 0).then(|| self.sum / self.people as f64)
    }

    /// Variance of a person's amount; none with fewer than two.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.people > 1)?;
        Some(((self.squares - self.sum * mean) / (self.people as f64 - 1.0)).max(0.0))
    }

    /// How much more people's counts vary than those of independent rare events, 1 or more: what the
    /// same people's repeated exposures cost in certainty.
    #[must_use]
    pub fn dispersion(&self) -> f64 {
        self.dispersion_in(1.0)
    }

    /// The same of amounts that come in pieces of this size.
    #[must_use]
    pub fn dispersion_in(&self, piece: f64) -> f64 {
        match (self.mean(), self.variance()) {
            (Some(mean), Some(variance)) if mean > 0.0 => (variance / mean / piece).max(1.0),
            _ => 1.0,
        }
    }

    /// Mean and squared standard error, if the mean is near normal.
    fn normal(&self) -> Option<(f64, f64)> {
        let (mean, variance) = (self.mean()?, self.variance()?);
        let error = variance / self.people as f64;
        let enough = self.people >= FEWEST_PEOPLE && mean > 0.0 && mean * mean >= FEWEST_EVENTS * error;
        (enough && error > 0.0).then_some((mean, error))
    }
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.people = self.people.saturating_add(other.people);
        self.sum += other.sum;
        self.squares += other.squares;
    }
}

/// All that a lift is computed from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Experiment {
    /// People who got what the campaign's rotation chose.
    pub personalised: Sums,
    /// People who got the control creative.
    pub control: Sums,
    /// The share of people that the control was meant to get, within (0, 1).
    pub holdout: f64,
    /// Eligible decisions without a person, who are in neither arm.
    pub excluded: Excluded,
    /// People who were met in both arms.
    pub crossed_over: u64,
}

/// What may be said of the lift.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LiftState {
    /// The arms do not have the people they should have: something assigns, loses or counts them
    /// unevenly, and no difference of theirs means anything.
    SampleRatioMismatch,
    /// Too few people or events in one of the arms.
    NotEnoughData,
    /// An estimate.
    Estimated {
        /// Relative: 0.1 is a tenth more per person than in the control.
        lift: f64,
        /// Lower end of the always-valid interval.
        low: f64,
        /// Upper end; none where the control does too little to give one.
        high: Option<f64>,
        /// Whether the interval leaves out zero.
        significant: bool,
    },
}

/// The lift with all that is needed to judge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiftReport {
    /// Always [`NAME`].
    pub name: String,
    /// Sums of the personalised arm.
    pub personalised: Sums,
    /// Sums of the control arm.
    pub control: Sums,
    /// Whether the arms have the people that they should have.
    pub sample_ratio: SampleRatio,
    /// People who were met in both arms, as when two keys turned out to be one person. They count in the arm
    /// that they were in first, with all that they did.
    #[serde(default)]
    pub crossed_over: u64,
    /// Impressions of this experiment, of all its days, and which of them are in no arm.
    pub excluded: Excluded,
    /// The share of them that are in no arm, 0 to 1.
    pub excluded_share: f64,
    /// The lift itself, or why there is none.
    pub result: LiftState,
}

/// The lift of an experiment, with a 95% interval that holds at all looks together.
///
/// The interval contains each ratio that the boundary does not exclude for the difference between
/// the personalised mean and the ratio times the control's, after Fieller (JRSS B 1954): no
/// linearisation, and no upper end where the control's mean may be zero.
#[must_use]
pub fn lift(experiment: &Experiment) -> LiftReport {
    let Experiment { personalised, control, holdout, excluded, crossed_over } = *experiment;
    let sample_ratio = SampleRatio::of(personalised.people, control.people, holdout);
    let result = match (personalised.normal(), control.normal()) {
        _ if sample_ratio.mismatch => LiftState::SampleRatioMismatch,
        (Some(treated), Some(control)) => estimated(treated, control),
        _ => LiftState::NotEnoughData,
    };
    LiftReport {
        name: NAME.to_owned(),
        personalised,
        control,
        sample_ratio,
        crossed_over,
        excluded,
        excluded_share: excluded.share(),
        result,
    }
}

/// Each mean with its squared standard error.
fn estimated((treated, treated_error): (f64, f64), (control, control_error): (f64, f64)) -> LiftState {
    let information = 1.0 / (treated_error / (treated * treated) + control_error / (control * control));
    let square = critical(information).powi(2);
    // the ratios r with (treated - r control)^2 <= square (treated_error + r^2 control_error)
    let a = control * control - square * control_error;
    let b = treated * control;
    let c = treated * treated - square * treated_error;
    let root = (b * b - a * c).max(0.0).sqrt();
    // the smaller root in the form that is exact for small and negative a; there is none above zero
    // where even nothing in the personalised arm is possible
    let low = if c > 0.0 { c / (b + root) - 1.0 } else { -1.0 };
    let high = (a > 0.0).then(|| (b + root) / a - 1.0);
    let significant = low > 0.0 || high.is_some_and(|high| high < 0.0);
    LiftState::Estimated { lift: treated / control - 1.0, low, high, significant }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sums(people: u64, clicks: f64) -> Sums {
        Sums { people, sum: clicks, squares: 1.2 * clicks }
    }

    fn experiment(personalised: Sums, control: Sums) -> Experiment {
        Experiment { personalised, control, holdout: 0.1, excluded: Excluded::default(), crossed_over: 0 }
    }

    #[test]
    fn a_large_lift_is_seen_and_a_small_one_is_not() {
        let report = lift(&experiment(sums(900_000, 27_000.0), sums(100_000, 2_000.0)));
        let LiftState::Estimated { lift: value, low, high: Some(high), significant } = report.result else {
            panic!("{report:?}")
        };
        assert!(
            (value - 0.5).abs() < 1e-9 && (0.35..0.45).contains(&low) && (0.55..0.70).contains(&high),
            "{report:?}"
        );
        assert!(significant && report.name == "lift of personalisation over control creative");
        let report = lift(&experiment(sums(900_000, 18_500.0), sums(100_000, 2_000.0)));
        assert!(matches!(report.result, LiftState::Estimated { significant: false, .. }), "{report:?}");
    }

    #[test]
    fn there_is_no_lift_of_uneven_arms_or_little_data() {
        let report = lift(&experiment(sums(900_000, 27_000.0), sums(90_000, 2_000.0)));
        assert_eq!(report.result, LiftState::SampleRatioMismatch);
        assert!((report.sample_ratio.expected_control - 99_000.0).abs() < 1e-6);
        assert_eq!(report.sample_ratio.seen_control, 90_000);
        for (treated, control) in [(0.0, 30.0), (200.0, 2.0), (0.0, 0.0)] {
            assert_eq!(lift(&experiment(sums(9_000, treated), sums(1_000, control))).result, LiftState::NotEnoughData);
        }
        assert_eq!(lift(&experiment(Sums::default(), Sums::default())).result, LiftState::NotEnoughData);
    }

    #[test]
    fn a_control_that_does_little_gives_no_upper_end() {
        let report = lift(&experiment(sums(9_000, 3_000.0), sums(1_000, 13.0)));
        let LiftState::Estimated { low, high, .. } = report.result else { panic!("{report:?}") };
        assert!(high.is_none() && low > 0.0, "{report:?}");
    }

    #[test]
    fn impossible_amounts_change_nothing() {
        let mut arm = sums(10, 3.0);
        for (before, more) in [(0.0, f64::NAN), (0.0, -1.0), (-1.0, 1.0), (0.0, f64::INFINITY), (f64::NAN, 0.0)] {
            assert_eq!(arm.add(before, more), Err(NotAnAmount));
        }
        assert_eq!(arm, sums(10, 3.0));
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_people(people in prop::collection::vec(prop::collection::vec(0_u32..5, 0..6), 2..30)) {
            let mut arm = Sums::default();
            for person in &people {
                arm.enter();
                let mut before = 0.0;
                for &more in person {
                    arm.add(before, f64::from(more)).expect("an amount");
                    before += f64::from(more);
                }
            }
            let amounts: Vec<f64> = people.iter().map(|person| f64::from(person.iter().sum::<u32>())).collect();
            let mean = amounts.iter().sum::<f64>() / amounts.len() as f64;
            let variance = amounts.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / (amounts.len() as f64 - 1.0);
            prop_assert!((arm.mean().expect("a mean") - mean).abs() < 1e-9);
            prop_assert!((arm.variance().expect("a variance") - variance).abs() < 1e-7);
        }

        #[test]
        fn the_interval_contains_the_estimate_and_no_scale_matters(
            treated in 50.0_f64..5_000.0, control in 15.0_f64..2_000.0, scale in 0.001_f64..1e6,
        ) {
            let result = |scale: f64| {
                let arm = |people, events: f64| Sums { people, sum: events * scale, squares: 1.3 * events * scale * scale };
                lift(&experiment(arm(90_000, treated), arm(10_000, control))).result
            };
            let LiftState::Estimated { lift, low, high, .. } = result(1.0) else { return Ok(()) };
            prop_assert!(-1.0 <= low && low <= lift && high.is_none_or(|high| lift <= high));
            let LiftState::Estimated { low: scaled, .. } = result(scale) else { panic!("no estimate") };
            prop_assert!((scaled - low).abs() < 1e-6 * (1.0 + low.abs()));
        }
    }
}
