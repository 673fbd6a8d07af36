//! Draws from the posterior, made in the background, among which decisions choose.
//!
//! A decision takes one draw as if it were the truth (Thompson sampling). Because there are finitely
//! many, the probability of each combination is known exactly.

use crate::domain::optimizer::{
    layout::{Group, Layout},
    posterior::{Belief, Posterior},
    random::{Random, mix},
    settings::Settings,
    statistics::Statistics,
};

/// What decisions need of what was learned. Immutable; the same inputs give the same bytes.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) layout: Layout,
    pub(super) seed: u64,
    pub(super) settings: Settings,
    pub(super) beliefs: Vec<Belief>,
    /// Member after member: mains, a square of pairs, and per feature a row of components.
    weights: Vec<f32>,
    stride: usize,
    /// Components that were hardly shown yet, by number.
    pub(super) launching: Vec<usize>,
    /// Others that were shown too seldom of late.
    pub(super) rare: Vec<usize>,
}

/// One draw.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) mains: &'a [f32],
    /// Empty where nothing is learned about pairs.
    pub(super) pairs: &'a [f32],
    pub(super) crosses: &'a [f32],
}

impl Snapshot {
    /// Draws the members.
    ///
    /// `creative` stands for the creative and `version` for the state of its statistics: replicas
    /// with the same state publish the same snapshot. Of the same state fewer members are the first of
    /// more.
    #[must_use]
    pub fn new(
        creative: u64,
        version: u64,
        posterior: &Posterior,
        statistics: &Statistics,
        settings: &Settings,
    ) -> Self {
        let layout = posterior.layout().clone();
        let seed = mix(creative ^ mix(version));
        let (mains, pairs, crosses) =
            (layout.group(Group::Main), layout.group(Group::Pair), layout.group(Group::Cross));
        let components = layout.components();
        let stride = mains.len() + pairs.len() + crosses.len();
        let mut weights = vec![0.0_f32; stride * settings.members];
        let mut random = Random::new(seed);
        let mut spare: Option<f64> = None;
        let mut normal = || match spare.take() {
            Some(z) => z,
            None => {
                let (z, other) = random.normals();
                spare = Some(other);
                z
            }
        };
        let scale = |belief: &Belief| f64::from(belief.variance).sqrt() * settings.temperature;
        let deviation: Vec<f64> = posterior.beliefs().iter().map(scale).collect();
        for member in weights.chunks_exact_mut(stride.max(1)) {
            let mut draw = |at: usize| (f64::from(posterior.beliefs()[at].mean) + deviation[at] * normal()) as f32;
            for at in mains.clone() {
                member[at - mains.start] = draw(at);
            }
            if !pairs.is_empty() {
                for slot in 0..layout.slots() {
                    for first in layout.slot(slot) {
                        for second in layout.slot(slot).end..components {
                            let drawn = draw(pairs.start + first * components + second);
                            member[mains.len() + first * components + second] = drawn;
                            member[mains.len() + second * components + first] = drawn;
                        }
                    }
                }
            }
            for at in crosses.clone() {
                member[mains.len() + pairs.len() + at - crosses.start] = draw(at);
            }
        }
        let (launching, rare) = scarce(statistics, &layout, settings);
        Self {
            beliefs: posterior.beliefs().to_vec(),
            settings: settings.clone(),
            layout,
            seed,
            weights,
            stride,
            launching,
            rare,
        }
    }

    /// What it is about.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A snapshot whose one member is what is believed, without any draw.
    #[must_use]
    pub fn believed(&self) -> Self {
        let (mains, pairs, crosses) =
            (self.layout.group(Group::Main), self.layout.group(Group::Pair), self.layout.group(Group::Cross));
        let mean = |at: usize| self.beliefs[at].mean;
        let components = self.layout.components();
        let mut weights: Vec<f32> = mains.clone().chain(pairs.clone()).chain(crosses).map(mean).collect();
        for first in 0..if pairs.is_empty() { 0 } else { components } {
            for second in 0..first {
                // of a pair only the place above the diagonal is learned
                let drawn = mean(pairs.start + second * components + first);
                weights[mains.len() + first * components + second] = drawn;
            }
        }
        let settings = Settings { members: 1, ..self.settings.clone() };
        Self {
            weights,
            settings,
            beliefs: self.beliefs.clone(),
            layout: self.layout.clone(),
            launching: Vec::new(),
            rare: Vec::new(),
            ..*self
        }
    }

    /// Names this snapshot in records: the same on all replicas that have learned the same.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.seed
    }

    /// How many members it has.
    #[must_use]
    pub fn members(&self) -> usize {
        self.settings.members
    }

    /// The bytes that it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * self.weights.len() + 8 * self.beliefs.len()
    }

    pub(super) fn member(&self, member: usize) -> Member<'_> {
        let all = &self.weights[member * self.stride..][..self.stride];
        let (mains, rest) = all.split_at(self.layout.components());
        let (pairs, crosses) = rest.split_at(self.layout.group(Group::Pair).len());
        Member { mains, pairs, crosses }
    }
}

/// Components that were hardly shown yet, and others that were shown less than the least share of
/// late. Which of them count is for each decision to say: those that may be shown in it.
fn scarce(statistics: &Statistics, layout: &Layout, settings: &Settings) -> (Vec<usize>, Vec<usize>) {
    let launches = |at: &usize| {
        let (slot, place) = layout.place(*at);
        statistics.count(slot, place, None).shown < settings.launch_until
    };
    let (launching, known): (Vec<usize>, Vec<usize>) = (0..layout.components()).partition(launches);
    // of few impressions of late nothing can be said
    let many = statistics.recent >= settings.launch_until as f64;
    // twice, so that who gets just the least keeps getting it
    let least = 2.0 * settings.least_share * statistics.recent;
    (launching, known.into_iter().filter(|at| many && statistics.recently[*at] < least).collect())
}
