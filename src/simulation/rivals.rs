//! What the optimizer is compared with.

use rand_chacha::ChaCha8Rng;

use super::{
    policy::{Impression, Policy},
    scenario::Scenario,
    world::{generator, unit},
};
use crate::domain::measurement::ln_beta;

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

/// The same for each kind of person: what a component earns with a kind is drawn around what it earns
/// with everybody, the closer the less kinds were seen to differ (empirical Bayes).
pub(super) struct SlotShrunk {
    options: Vec<Vec<u16>>,
    /// Per kind of person, per slot, per component: shown and clicked.
    counts: Vec<Vec<Vec<(f64, f64)>>>,
    /// The same of everybody.
    everybody: Vec<Vec<(f64, f64)>>,
    /// Per kind of person, whatever was shown; and of everybody.
    kinds: Vec<(f64, f64)>,
    all: (f64, f64),
    /// How many impressions of a kind's own what everybody's say is worth.
    strength: f64,
    ticks: usize,
}

impl SlotShrunk {
    /// Ticks between two fits of the strength.
    const FIT_EVERY: usize = 40;
    /// Strengths that are tried.
    const STRENGTHS: [f64; 6] = [30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0];

    pub(super) fn new(scenario: &Scenario) -> Self {
        let of_one: Vec<_> = scenario.slots.iter().map(|slot| vec![(0.0, 0.0); slot.components.len()]).collect();
        let kinds = vec![(0.0, 0.0); scenario.users.len()];
        Self {
            options: Vec::new(),
            counts: vec![of_one.clone(); kinds.len()],
            everybody: of_one,
            kinds,
            all: (0.0, 0.0),
            strength: 200.0,
            ticks: 0,
        }
    }

    fn note(&mut self, impression: &Impression, shown: f64, clicked: f64) {
        let add = |count: &mut (f64, f64)| *count = (count.0 + shown, count.1 + clicked);
        add(&mut self.all);
        add(&mut self.kinds[impression.user]);
        for (slot, one) in impression.choice.iter().enumerate() {
            add(&mut self.everybody[slot][usize::from(*one)]);
            add(&mut self.counts[impression.user][slot][usize::from(*one)]);
        }
    }

    /// The rate over all.
    fn base(&self) -> f64 {
        (self.all.1 + 1.0) / (self.all.0.max(1.0) + 50.0)
    }

    /// How many times as likely as others a kind of person clicks.
    fn lift(&self, user: usize) -> f64 {
        let ((shown, clicked), base) = (self.kinds[user], self.base());
        (clicked + 20.0 * base) / (shown + 20.0) / base
    }

    /// Takes the strength under which what was seen is most likely.
    fn fit(&mut self) {
        let base = self.base();
        let mut likelihoods = [0.0; Self::STRENGTHS.len()];
        for (user, slots) in self.counts.iter().enumerate() {
            let lift = self.lift(user);
            for (own, everybody) in slots.iter().flatten().zip(self.everybody.iter().flatten()) {
                let rate = ((everybody.1 + 1.0) / (everybody.0 + 1.0 / base) * lift).clamp(1e-5, 0.9);
                for (sum, strength) in likelihoods.iter_mut().zip(Self::STRENGTHS) {
                    let (a, b) = (strength * rate, strength * (1.0 - rate));
                    *sum += ln_beta(a + own.1, b + (own.0 - own.1).max(0.0)) - ln_beta(a, b);
                }
            }
        }
        let best = likelihoods.iter().zip(Self::STRENGTHS).max_by(|a, b| a.0.total_cmp(b.0));
        self.strength = best.map_or(self.strength, |(_, strength)| strength);
    }
}

impl Policy for SlotShrunk {
    fn offer(&mut self, options: &[Vec<u16>]) {
        self.options = options.to_vec();
    }

    fn choose(&mut self, user: usize, seed: u64) -> Vec<u16> {
        let (mut random, base, lift) = (generator(seed, 0), self.base(), self.lift(user));
        let mut draw = |slot: usize, one: usize| {
            let (shown, clicked) = self.everybody[slot][one];
            let rate = beta(&mut random, clicked + 1.0, (shown - clicked).max(0.0) + 1.0 / base - 1.0);
            let rate = (rate * lift).clamp(1e-5, 0.9);
            let (shown, clicked) = self.counts[user][slot][one];
            let missed = (shown - clicked).max(0.0);
            beta(&mut random, self.strength * rate + clicked, self.strength * (1.0 - rate) + missed)
        };
        let best = |(slot, options): (usize, &Vec<u16>)| {
            let draws = options.iter().map(|one| (draw(slot, usize::from(*one)), *one));
            draws.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, one)| one).unwrap_or_default()
        };
        self.options.iter().enumerate().map(best).collect()
    }

    fn shown(&mut self, impression: &Impression) {
        self.note(impression, 1.0, 0.0);
    }

    fn clicked(&mut self, impression: &Impression) {
        self.note(impression, 0.0, 1.0);
    }

    fn tick(&mut self, _: &Scenario, _: usize) {
        self.ticks += 1;
        if self.ticks.is_multiple_of(Self::FIT_EVERY) {
            self.fit();
        }
    }
}

fn beta(random: &mut ChaCha8Rng, a: f64, b: f64) -> f64 {
    let (x, y) = (gamma(random, a), gamma(random, b));
    x / (x + y)
}

/// A gamma variate (Marsaglia and Tsang, ACM TOMS 2000).
fn gamma(random: &mut ChaCha8Rng, shape: f64) -> f64 {
    if shape < 1.0 {
        let more = gamma(random, shape + 1.0);
        return more * (1.0 - unit(random)).powf(1.0 / shape);
    }
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
