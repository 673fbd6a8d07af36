//! One policy through one scenario.

use std::{cmp::Reverse, collections::BinaryHeap};

use serde::Serialize;

use super::{
    policy::{Impression, Policy},
    rivals::{AbCommit, SlotShrunk, SlotThompson, Uniform},
    scenario::Scenario,
    tessera::Tessera,
    world::{Luck, Truth},
};
use crate::domain::optimizer::Settings;

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The optimizer.
    Tessera,
    /// Every combination alike.
    Uniform,
    /// A test of some combinations, then the best of them for everybody.
    AbCommit,
    /// Thompson sampling for each slot by itself.
    SlotThompson,
    /// The same for each kind of person, shrunk towards everybody.
    SlotShrunk,
}

impl Contender {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Tessera, Self::Uniform, Self::AbCommit, Self::SlotThompson, Self::SlotShrunk];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tessera => "tessera",
            Self::Uniform => "uniform",
            Self::AbCommit => "ab_commit",
            Self::SlotThompson => "slot_ts",
            Self::SlotShrunk => "slot_beta_eb",
        }
    }
}

/// Decisions between two looks at what was learned: a service looks every few seconds.
const TICK: usize = 250;
/// Points of a curve.
pub(super) const POINTS: usize = 50;

/// How a policy fared, as a mean over runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Regret as a share of an even choice's.
    pub norm: f64,
    /// The same over the first tenth of the decisions.
    pub norm_t10: f64,
    /// The same over the last tenth.
    pub end_norm: f64,
    /// Decisions.
    pub decisions: usize,
    /// The share over each fiftieth of the decisions.
    #[serde(skip)]
    pub curve: Vec<f64>,
}

/// A scenario with its truth worked out.
pub struct Stage<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) truths: Vec<Truth>,
}

impl<'a> Stage<'a> {
    /// Works out the truth of a scenario.
    #[must_use]
    pub fn new(scenario: &'a Scenario) -> Self {
        Self { scenario, truths: scenario.phases.iter().map(|phase| Truth::new(scenario, phase)).collect() }
    }

    /// How a contender fares, as the mean of so many runs. Every contender has the same luck in the
    /// run of the same seed.
    #[must_use]
    pub fn run(&self, contender: Contender, settings: &Settings, seeds: u64) -> Outcome {
        let scenario = self.scenario;
        let run = |seed: u64| {
            let luck = Luck::new(scenario, seed);
            match contender {
                Contender::Tessera => self.one(&luck, Tessera::new(scenario, settings.clone(), seed)),
                Contender::Uniform => self.one(&luck, Uniform::new()),
                Contender::AbCommit => self.one(&luck, AbCommit::new(scenario, seed)),
                Contender::SlotThompson => self.one(&luck, SlotThompson::new(scenario)),
                Contender::SlotShrunk => self.one(&luck, SlotShrunk::new(scenario)),
            }
        };
        mean(&(1..=seeds.max(1)).map(run).collect::<Vec<_>>())
    }

    fn one(&self, luck: &Luck, mut policy: impl Policy) -> Outcome {
        let (scenario, truths) = (self.scenario, &self.truths);
        let (count, mut phase) = (scenario.decisions, 0);
        let mut due: BinaryHeap<Reverse<(usize, usize)>> = BinaryHeap::new();
        let mut made: Vec<Impression> = Vec::with_capacity(count);
        let (mut regrets, mut chances) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for step in 0..count {
            if scenario.phases.get(phase + 1).is_some_and(|next| next.from <= step) {
                phase += 1;
            }
            if scenario.phases[phase].from == step {
                let slots = scenario.phases[phase].available.iter();
                let options = slots.map(|slot| (0..slot.len() as u16).filter(|at| slot[usize::from(*at)]).collect());
                policy.offer(&options.collect::<Vec<_>>());
            }
            if step > 0 && step % TICK == 0 {
                while let Some(Reverse((_, of))) = due.pop_if_due(step) {
                    policy.clicked(&made[of]);
                }
                policy.tick(scenario, step);
            }
            let user = luck.users[step] as usize;
            let choice = policy.choose(user, luck.seeds[step]);
            let rate = truths[phase].rate(user, &choice).unwrap_or(0.0);
            let (best, even) = truths[phase].marks[user];
            regrets.push(best - rate);
            chances.push(best - even);
            if let (true, Some(delay)) = (luck.units[step] < rate, luck.delays[step]) {
                due.push(Reverse((step + delay.ceil() as usize, step)));
            }
            made.push(Impression { step, user, choice });
            policy.shown(&made[step]);
        }
        let share = |from: usize, to: usize| {
            let (regret, chance): (f64, f64) = (regrets[from..to].iter().sum(), chances[from..to].iter().sum());
            if chance > 1e-9 { regret / chance } else { 0.0 }
        };
        Outcome {
            norm: share(0, count),
            norm_t10: share(0, count.div_ceil(10)),
            end_norm: share(count - count.div_ceil(10), count),
            decisions: count,
            curve: (0..POINTS).map(|point| share(point * count / POINTS, (point + 1) * count / POINTS)).collect(),
        }
    }
}

fn mean(runs: &[Outcome]) -> Outcome {
    let of = |get: &dyn Fn(&Outcome) -> f64| runs.iter().map(get).sum::<f64>() / runs.len().max(1) as f64;
    Outcome {
        norm: of(&|run| run.norm),
        norm_t10: of(&|run| run.norm_t10),
        end_norm: of(&|run| run.end_norm),
        decisions: runs.first().map_or(0, |run| run.decisions),
        curve: (0..POINTS).map(|point| of(&|run| run.curve[point])).collect(),
    }
}

trait PopIfDue {
    /// The earliest, if its time has come.
    fn pop_if_due(&mut self, step: usize) -> Option<Reverse<(usize, usize)>>;
}

impl PopIfDue for BinaryHeap<Reverse<(usize, usize)>> {
    fn pop_if_due(&mut self, step: usize) -> Option<Reverse<(usize, usize)>> {
        self.peek().is_some_and(|Reverse((at, _))| *at <= step).then(|| self.pop()).flatten()
    }
}
