//! What the optimizer is compared with.

use rand_chacha::ChaCha8Rng;

use super::{
    policy::{Impression, Policy},
    scenario::Scenario,
    world::{generator, unit},
};

fn below(random: &mut ChaCha8Rng, end: usize) -> usize {
    (unit(random) * end as f64) as usize
}

fn even(random: &mut ChaCha8Rng, options: &[Vec<u16>]) -> Vec<u16> {
    options.iter().map(|options| options[below(random, options.len())]).collect()
}

/// Every combination alike.
pub(super) struct Uniform {
    options: Vec<Vec<u16>>,
}

impl Uniform {
    pub(super) fn new() -> Self {
        Self { options: Vec::new() }
    }
}

impl Policy for Uniform {
    fn offer(&mut self, options: &[Vec<u16>]) {
        self.options = options.to_vec();
    }

    fn choose(&mut self, _: usize, seed: u64) -> Vec<u16> {
        even(&mut generator(seed, 0), &self.options)
    }

    fn shown(&mut self, _: &Impression) {}

    fn clicked(&mut self, _: &Impression) {}
}

/// Sixteen combinations get a fifth of the decisions, then the best of them gets all.
pub(super) struct AbCommit {
    candidates: Vec<Vec<u16>>,
    counts: Vec<(f64, f64)>,
    trial: usize,
    decided: usize,
    winner: Option<usize>,
    random: ChaCha8Rng,
}

impl AbCommit {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        Self {
            candidates: Vec::new(),
            counts: vec![(0.0, 0.0); 16],
            trial: scenario.decisions / 5,
            decided: 0,
            winner: None,
            random: generator(scenario.seed ^ 16, seed),
        }
    }

    fn note(&mut self, impression: &Impression, shown: f64, clicked: f64) {
        for (candidate, count) in self.candidates.iter().zip(&mut self.counts) {
            if *candidate == impression.choice {
                *count = (count.0 + shown, count.1 + clicked);
            }
        }
    }
}

impl Policy for AbCommit {
    fn offer(&mut self, options: &[Vec<u16>]) {
        if self.candidates.is_empty() {
            self.candidates = (0..16).map(|_| even(&mut self.random, options)).collect();
        }
    }

    fn choose(&mut self, _: usize, seed: u64) -> Vec<u16> {
        self.decided += 1;
        if self.decided <= self.trial {
            return self.candidates[below(&mut generator(seed, 0), self.candidates.len())].clone();
        }
        let rate = |at: &usize| (self.counts[*at].1 + 1.0) / (self.counts[*at].0 + 50.0);
        let best = (0..self.candidates.len()).max_by(|a, b| rate(a).total_cmp(&rate(b))).unwrap_or_default();
        let winner = *self.winner.get_or_insert(best);
        self.candidates[winner].clone()
    }

    fn shown(&mut self, impression: &Impression) {
        self.note(impression, 1.0, 0.0);
    }

    fn clicked(&mut self, impression: &Impression) {
        self.note(impression, 0.0, 1.0);
    }
}

/// A Beta-Bernoulli Thompson bandit for each slot by itself, the same for everybody.
pub(super) struct SlotThompson {
    options: Vec<Vec<u16>>,
    /// Per slot, per component: shown and clicked.
    counts: Vec<Vec<(f64, f64)>>,
}

impl SlotThompson {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let counts = scenario.slots.iter().map(|slot| vec![(0.0, 0.0); slot.components.len()]).collect();
        Self { options: Vec::new(), counts }
    }
}

impl Policy for SlotThompson {
    fn offer(&mut self, options: &[Vec<u16>]) {
        self.options = options.to_vec();
    }

    fn choose(&mut self, _: usize, seed: u64) -> Vec<u16> {
        let mut random = generator(seed, 0);
        let best = |(options, counts): (&Vec<u16>, &Vec<(f64, f64)>)| {
            let draws = options.iter().map(|one| {
                let (shown, clicked) = counts[usize::from(*one)];
                (beta(&mut random, clicked + 1.0, (shown - clicked).max(0.0) + 1.0), *one)
            });
            draws.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, one)| one).unwrap_or_default()
        };
        self.options.iter().zip(&self.counts).map(best).collect()
    }

    fn shown(&mut self, impression: &Impression) {
        impression.choice.iter().zip(&mut self.counts).for_each(|(one, counts)| counts[usize::from(*one)].0 += 1.0);
    }

    fn clicked(&mut self, impression: &Impression) {
        impression.choice.iter().zip(&mut self.counts).for_each(|(one, counts)| counts[usize::from(*one)].1 += 1.0);
    }
}

fn beta(random: &mut ChaCha8Rng, a: f64, b: f64) -> f64 {
    let (x, y) = (gamma(random, a), gamma(random, b));
    x / (x + y)
}

/// A gamma variate of a shape of at least 1 (Marsaglia and Tsang, ACM TOMS 2000).
fn gamma(random: &mut ChaCha8Rng, shape: f64) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = (-2.0 * (1.0 - unit(random)).ln()).sqrt() * (std::f64::consts::TAU * unit(random)).cos();
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && (1.0 - unit(random)).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}
