//! The holdout: whether people were split as they should be, who is in no arm, and before the start
//! what such an experiment can show.

use serde::{Deserialize, Serialize};

use crate::domain::measurement::{numbers::ln_beta, sequence::critical};

/// How sure one must be that a split is wrong: one false alarm in a thousand experiments.
const MISMATCH: f64 = 0.001;
/// How many people the assumption that a wrong split is near the right one is worth, each as likely as the others:
/// a gross mistake is seen among some hundreds of people, a small one among many.
const SPLIT_STRENGTHS: [f64; 3] = [100.0, 1_000.0, 10_000.0];
/// The standard normal's 80% quantile, for a chance of 80% to find what is there.
const POWER_Z: f64 = 0.841_621_233_572_914;

/// Whether two arms have the people that they should have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SampleRatio {
    /// People whom the control should have of all that were assigned.
    pub expected_control: f64,
    /// People whom it has.
    pub seen_control: u64,
    /// People in both arms.
    pub people: u64,
    /// Always-valid p-value of the split, 0 to 1.
    pub p_value: f64,
    /// Whether the p-value is below 0.001, which blocks the lift.
    pub mismatch: bool,
}

impl SampleRatio {
    /// Tests a split against the planned share, which may be done at any time and as often as one
    /// likes: the multinomial test of Lindon and Malek ("Anytime-valid inference for multinomial
    /// count data", NeurIPS 2022). A share that is not within (0, 1) is a mismatch as soon as there
    /// are people where there should be none.
    #[must_use]
    pub fn of(personalised: u64, control: u64, holdout: f64) -> Self {
        let (treated, held) = (personalised as f64, control as f64);
        let share = if holdout.is_nan() { 0.0 } else { holdout.clamp(0.0, 1.0) };
        let p_value = if 0.0 < share && share < 1.0 {
            let evidence = SPLIT_STRENGTHS.map(|strength| {
                let (a, b) = (strength * share, strength * (1.0 - share));
                let mixed = ln_beta(a + held, b + treated) - ln_beta(a, b);
                (mixed - held * share.ln() - treated * (1.0 - share).ln()).exp()
            });
            // a mean of martingales is one
            (SPLIT_STRENGTHS.len() as f64 / evidence.iter().sum::<f64>()).min(1.0)
        } else {
            let impossible = if share == 0.0 { control } else { personalised };
            f64::from(u8::from(impossible == 0))
        };
        Self {
            expected_control: share * (treated + held),
            seen_control: control,
            people: personalised.saturating_add(control),
            p_value,
            mismatch: p_value < MISMATCH,
        }
    }
}

/// A lift that no experiment needs to find: what would take more is told as this.
const MOST_LIFT: f64 = 1e6;

/// Impressions that count in no arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Excluded {
    /// All impressions of the experiment, excluded or not.
    pub impressions: u64,
    /// Those without a key that lasts.
    pub no_key: u64,
    /// Those whose person does not allow to be known or counted.
    pub no_consent: u64,
}

impl Excluded {
    /// The share that was excluded, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        let excluded = self.no_key.saturating_add(self.no_consent);
        excluded as f64 / self.impressions.max(excluded).max(1) as f64
    }
}

impl std::ops::AddAssign for Excluded {
    fn add_assign(&mut self, other: Self) {
        self.impressions = self.impressions.saturating_add(other.impressions);
        self.no_key = self.no_key.saturating_add(other.no_key);
        self.no_consent = self.no_consent.saturating_add(other.no_consent);
    }
}

/// An experiment before its start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Plan {
    /// Clicks or conversions that a person of the control is expected to give, above 0: rate times
    /// exposures.
    pub per_person: f64,
    /// How much more people differ than independent rare events do, 1 or more
    /// ([`Sums::dispersion`](super::lift::Sums::dispersion)).
    pub dispersion: f64,
    /// Share of people in the control, within (0, 1).
    pub holdout: f64,
    /// People expected in both arms, 1 or more.
    pub people: u64,
}

/// A plan by which nothing can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// What a person gives is not above 0 and finite.
    #[error("a person must be expected to give more than nothing")]
    PerPerson,
    /// The dispersion is below 1 or not finite.
    #[error("the dispersion must be 1 or more")]
    Dispersion,
    /// The holdout leaves one arm empty.
    #[error("the holdout must be above 0 and below 1")]
    Holdout,
    /// Nobody is expected.
    #[error("people must be expected")]
    People,
}

impl Plan {
    /// The smallest relative lift that the experiment finds with a chance of 80% by the time all its
    /// people are in. Above 1 means: only more than a doubling.
    ///
    /// # Errors
    /// What makes the plan void.
    pub fn minimum_detectable_lift(&self) -> Result<f64, PlanError> {
        let Self { per_person, dispersion, holdout, people } = *self;
        if !(per_person > 0.0 && per_person.is_finite()) {
            return Err(PlanError::PerPerson);
        }
        if !(dispersion >= 1.0 && dispersion.is_finite()) {
            return Err(PlanError::Dispersion);
        }
        if !(holdout > 0.0 && holdout < 1.0) {
            return Err(PlanError::Holdout);
        }
        if people == 0 {
            return Err(PlanError::People);
        }
        let events = people as f64 * per_person / dispersion;
        let (control, personalised) = (events * holdout, events * (1.0 - holdout));
        // the lift itself adds events to the personalised arm: a few rounds settle it
        let step = |lift: f64| {
            let information = 1.0 / (1.0 / control + 1.0 / (personalised * (1.0 + lift)));
            ((critical(information) + POWER_Z) / information.sqrt()).exp_m1()
        };
        Ok((0..20).fold(0.0, |lift, _| step(lift).min(MOST_LIFT)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::measurement::numbers::Random;

    const PLAN: Plan = Plan { per_person: 0.02, dispersion: 1.0, holdout: 0.1, people: 200_000 };

    #[test]
    fn what_nobody_could_find_is_a_number_all_the_same() {
        for (people, per_person) in [(1, 0.02), (10, 0.02), (1, 1e-300)] {
            let lift = Plan { people, per_person, ..PLAN }.minimum_detectable_lift().expect("a plan");
            assert!(lift == MOST_LIFT, "{lift}");
        }
    }

    #[test]
    fn a_split_is_judged_strictly_and_at_any_time() {
        assert!(!SampleRatio::of(0, 0, 0.1).mismatch);
        assert!(!SampleRatio::of(90_200, 9_800, 0.1).mismatch);
        assert!(SampleRatio::of(91_000, 9_000, 0.1).mismatch);
        // gross mistakes among few
        assert!(SampleRatio::of(200, 0, 0.1).mismatch && SampleRatio::of(678, 82, 0.3).mismatch);
        assert!(!SampleRatio::of(40, 0, 0.1).mismatch && !SampleRatio::of(540, 220, 0.3).mismatch);
        assert_eq!(SampleRatio::of(u64::MAX, 0, 0.1).p_value, 0.0);
        assert!(SampleRatio::of(100, 1, 0.0).mismatch && !SampleRatio::of(100, 0, 0.0).mismatch);
        assert!(SampleRatio::of(1, 100, 1.0).mismatch && !SampleRatio::of(0, 0, f64::NAN).mismatch);
        let (mut random, mut alarms) = (Random::new(9), 0);
        for _ in 0..200 {
            let (mut treated, mut held, mut alarm) = (0, 0, false);
            for _ in 0..40 {
                let more = (0..250).filter(|_| random.unit() < 0.1).count() as u64;
                (treated, held) = (treated + 250 - more, held + more);
                alarm |= SampleRatio::of(treated, held, 0.1).mismatch;
            }
            alarms += u32::from(alarm);
        }
        assert!(alarms <= 2, "{alarms} of 200 right splits");
    }

    #[test]
    fn a_plan_says_what_it_can_show() {
        // in simulations with these figures +20% was found in about 78% of runs at some look
        let found = PLAN.minimum_detectable_lift().expect("a plan");
        assert!((0.18..0.28).contains(&found), "{found}");
        let err = |plan: Plan| plan.minimum_detectable_lift().expect_err("void");
        assert_eq!(err(Plan { per_person: f64::NAN, ..PLAN }), PlanError::PerPerson);
        assert_eq!(err(Plan { dispersion: 0.0, ..PLAN }), PlanError::Dispersion);
        assert_eq!(err(Plan { holdout: 1.0, ..PLAN }), PlanError::Holdout);
        assert_eq!(err(Plan { people: 0, ..PLAN }), PlanError::People);
    }

    proptest! {
        #[test]
        fn more_people_show_more(people in 1_000_u64..100_000_000, dispersion in 1.0_f64..10.0) {
            let at = |people, dispersion| Plan { people, dispersion, ..PLAN }.minimum_detectable_lift().expect("a plan");
            prop_assert!(at(2 * people, dispersion) < at(people, dispersion));
            prop_assert!(at(people, 2.0 * dispersion) > at(people, dispersion));
        }

        #[test]
        fn a_p_value_is_a_probability(treated: u32, held: u32, share in 0.0_f64..=1.0) {
            let ratio = SampleRatio::of(treated.into(), held.into(), share);
            prop_assert!((0.0..=1.0).contains(&ratio.p_value), "{:?}", ratio);
        }

        #[test]
        fn shares_are_shares(impressions: u64, no_key: u64, no_consent: u64) {
            let share = Excluded { impressions, no_key, no_consent }.share();
            prop_assert!((0.0..=1.0).contains(&share), "{}", share);
        }
    }
}
