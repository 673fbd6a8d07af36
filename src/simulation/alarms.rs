//! How often a difference is seen where there is none.

use serde::Serialize;

use super::{run::Stage, world::Luck};
use crate::domain::measurement::{
    holdout::Excluded,
    lift::{Experiment, LiftState, Sums, lift},
};

/// What whoever looks at a report again and again is told in a scenario whose combinations are all alike.
///
/// A tenth of the decisions, each a person's only one, are held out. Whatever is chosen for the others is
/// worth the same, so nothing is to be found, and what reports call significant is a false alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Alarms {
    /// Runs.
    pub runs: u64,
    /// Decisions between two looks.
    pub every: usize,
    /// Runs in which the always-valid interval of reports left out zero at any look.
    pub always_valid: u64,
    /// The same of an interval of 95% for one look.
    pub naive: u64,
}

/// The share of decisions that are held out.
const HOLDOUT: f64 = 0.1;
/// Decisions between two looks, in a scenario of many.
const EVERY: usize = 1_000;
/// Looks at a scenario of fewer.
const LOOKS: usize = 20;
/// Within so many standard deviations 95 of 100 single looks find what is due to chance.
const ONCE: f64 = 1.96;

impl Alarms {
    /// Counts them over so many runs; `None` where some combination is better than another.
    #[must_use]
    pub fn of(stage: &Stage<'_>, seeds: u64) -> Option<Self> {
        let alike = |(best, even): &(f64, f64)| best - even < 1e-9;
        if !stage.truths.iter().all(|truth| truth.marks.iter().all(alike)) {
            return None;
        }
        let every = (stage.scenario.decisions / LOOKS).clamp(1, EVERY);
        let mut alarms = Self { runs: seeds.max(1), every, always_valid: 0, naive: 0 };
        for seed in 1..=alarms.runs {
            let (always_valid, naive) = run(stage, seed, every);
            alarms.always_valid += u64::from(always_valid);
            alarms.naive += u64::from(naive);
        }
        Some(alarms)
    }
}

/// Whether there was an alarm in a run, of either kind.
fn run(stage: &Stage<'_>, seed: u64, every: usize) -> (bool, bool) {
    let luck = Luck::new(stage.scenario, seed);
    let (mut personalised, mut control, mut phase) = (Sums::default(), Sums::default(), 0);
    let mut alarms = (false, false);
    for (step, user) in luck.users.iter().enumerate() {
        if stage.scenario.phases.get(phase + 1).is_some_and(|next| next.from <= step) {
            phase += 1;
        }
        let (rate, _) = stage.truths[phase].marks[*user as usize];
        let clicked = luck.units[step] < rate && luck.delays[step].is_some();
        let held_out = (luck.seeds[step] >> 11) as f64 / ((1_u64 << 53) as f64) < HOLDOUT;
        let side = if held_out { &mut control } else { &mut personalised };
        let of_one = f64::from(u8::from(clicked));
        *side += Sums { people: 1, sum: of_one, squares: of_one };
        if (step + 1) % every == 0 {
            let experiment =
                Experiment { personalised, control, holdout: HOLDOUT, excluded: Excluded::default(), crossed_over: 0 };
            let told = lift(&experiment).result;
            alarms.0 |= matches!(told, LiftState::Estimated { significant: true, .. });
            // where too little is known for any interval, nobody is told of one
            alarms.1 |= matches!(told, LiftState::Estimated { .. }) && differs(&personalised, &control);
        }
    }
    alarms
}

/// Whether the means differ by more than chance does in 95 of 100 single looks.
fn differs(one: &Sums, other: &Sums) -> bool {
    let of = |sums: &Sums| Some((sums.mean()?, sums.variance()? / sums.people as f64));
    of(one).zip(of(other)).is_some_and(|((a, a_error), (b, b_error))| (a - b).abs() > ONCE * (a_error + b_error).sqrt())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simulation::Scenario;

    fn alarms(main: f64, seeds: u64) -> Option<Alarms> {
        let document = json!({
            "format": "dco-bandit-heldout/1", "name": "alike", "T": 30_000, "seed": 7, "step_ms": 1_000,
            "slots": [{"id": "image", "components": ["a", "b"]}], "features": ["young"],
            "population": [
                {"weight": 1, "features": [], "request": {}}, {"weight": 1, "features": ["young"], "request": {}}
            ],
            "truth": {"phases": [{
                "from": 0, "bias": -3.0, "main": [[0.0, main]], "pair": {}, "feature_bias": {"young": 0.5},
                "feature_component": {}, "available": [[true, true]]
            }]},
            "feedback": {"kind": "fixed", "delay": 10}
        });
        let scenario = Scenario::parse(&document).unwrap_or_else(|faults| panic!("{faults:?}"));
        Alarms::of(&Stage::new(&scenario), seeds)
    }

    #[test]
    fn looking_often_misleads_only_those_who_look_once_by_right() {
        let found = alarms(0.0, 60).expect("all are alike");
        assert_eq!((found.runs, found.every), (60, 1_000));
        assert!(found.always_valid * 20 <= found.runs && found.naive * 10 > found.runs, "{found:?}");
    }

    #[test]
    fn where_something_is_better_there_is_nothing_false_to_count() {
        assert_eq!(alarms(0.3, 1), None);
    }
}
