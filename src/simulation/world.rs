//! The truth of a scenario as tables, and the luck of a run.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::scenario::{Feedback, Phase, Scenario};

/// What is true in one phase.
pub(super) struct Truth {
    /// Per kind of person, per combination: the probability of a click; negative where a component
    /// does not exist.
    rates: Vec<Vec<f32>>,
    /// Per kind of person: the best rate and that of an even choice.
    pub(super) marks: Vec<(f64, f64)>,
    sizes: Vec<usize>,
}

impl Truth {
    pub(super) fn new(scenario: &Scenario, phase: &Phase) -> Self {
        let sizes: Vec<usize> = scenario.slots.iter().map(|slot| slot.components.len()).collect();
        let count = sizes.iter().product();
        let (mut shared, mut exists, mut choices) = (vec![phase.bias; count], vec![true; count], Vec::new());
        let widest = sizes.iter().copied().max().unwrap_or_default();
        for at in 0..count {
            let choice = digits(at, &sizes);
            let main: f64 = choice.iter().enumerate().map(|(slot, one)| phase.main[slot][*one]).sum();
            let pairs: f64 = phase.pairs.iter().map(|((d, e), table)| table[choice[*d]][choice[*e]]).sum();
            let cell = choice.iter().rev().fold(0, |cell, one| cell * widest + one);
            shared[at] += main + pairs + phase.cell.get(cell).copied().unwrap_or_default();
            exists[at] = choice.iter().enumerate().all(|(slot, one)| phase.available[slot][*one]);
            choices.push(choice);
        }
        let (mut rates, mut marks) = (Vec::new(), Vec::new());
        for user in &scenario.users {
            let base: f64 = user.features.iter().map(|feature| phase.feature[usize::from(*feature)]).sum();
            let mut worth: Vec<Vec<f64>> = sizes.iter().map(|size| vec![0.0; *size]).collect();
            for table in user.features.iter().filter_map(|feature| phase.cross.get(feature)) {
                for (sums, row) in worth.iter_mut().zip(table) {
                    sums.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
                }
            }
            let rate = |at: usize| {
                let own: f64 = choices[at].iter().enumerate().map(|(slot, one)| worth[slot][*one]).sum();
                1.0 / (1.0 + (-(shared[at] + base + own)).exp())
            };
            let table: Vec<f32> = (0..count).map(|at| if exists[at] { rate(at) as f32 } else { -1.0 }).collect();
            let there = || table.iter().filter(|rate| **rate >= 0.0).map(|rate| f64::from(*rate));
            marks.push((there().fold(0.0, f64::max), there().sum::<f64>() / there().count().max(1) as f64));
            rates.push(table);
        }
        Self { rates, marks, sizes }
    }

    /// The probability that this kind of person clicks on this; `None` where it does not exist.
    pub(super) fn rate(&self, user: usize, choice: &[u16]) -> Option<f64> {
        let at = choice.iter().zip(&self.sizes).rev().fold(0, |at, (one, size)| at * size + usize::from(*one));
        Some(f64::from(*self.rates[user].get(at)?)).filter(|rate| *rate >= 0.0)
    }
}

/// The choice of this number, the first slot changing fastest.
fn digits(mut at: usize, sizes: &[usize]) -> Vec<usize> {
    let digit = |size: &usize| {
        let digit = at % size;
        at /= size;
        digit
    };
    sizes.iter().map(digit).collect()
}

/// What happens to each decision, whoever decides.
pub(super) struct Luck {
    /// Who comes.
    pub(super) users: Vec<u32>,
    /// Below the rate: a click.
    pub(super) units: Vec<f64>,
    /// After how many decisions it is heard of; `None` for never.
    pub(super) delays: Vec<Option<f64>>,
    /// What the policy draws from.
    pub(super) seeds: Vec<u64>,
}

impl Luck {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let total: f64 = scenario.users.iter().map(|user| user.weight).sum();
        let sums = scenario.users.iter().scan(0.0, |sum, user| {
            *sum += user.weight / total;
            Some(*sum)
        });
        let sums: Vec<f64> = sums.collect();
        let mut random = generator(scenario.seed, seed);
        let mut luck = Self { users: Vec::new(), units: Vec::new(), delays: Vec::new(), seeds: Vec::new() };
        for _ in 0..scenario.decisions {
            let who = unit(&mut random);
            luck.users.push(sums.partition_point(|sum| *sum <= who).min(sums.len() - 1) as u32);
            luck.units.push(unit(&mut random));
            let late = unit(&mut random);
            luck.delays.push(match scenario.feedback {
                Feedback::Fixed { delay } => Some(delay),
                Feedback::Exponential { mean, window } => {
                    Some(-(1.0 - late).ln() * mean).filter(|delay| *delay <= window)
                }
            });
            luck.seeds.push(random.next_u64());
        }
        luck
    }
}

/// A generator for a scenario's seed and a run's.
pub(super) fn generator(scenario: u64, run: u64) -> ChaCha8Rng {
    let mut seed = *b"tessera-simulation--------------";
    seed[16..24].copy_from_slice(&scenario.to_le_bytes());
    seed[24..].copy_from_slice(&run.to_le_bytes());
    ChaCha8Rng::from_seed(seed)
}

/// In [0, 1).
pub(super) fn unit(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}
