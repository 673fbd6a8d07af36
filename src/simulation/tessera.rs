//! The optimizer as a service of one replica runs it: what learns, draws and chooses is the same.

use super::{
    policy::{Impression, Policy},
    scenario::Scenario,
};
use crate::domain::{
    optimizer::{Free, Layout, Lesson, LessonKind, Lore, Posterior, Rewards, Settings, Snapshot, Space},
    values::Millis,
};

/// When the first decision is made.
const START: Millis = Millis(1_700_000_000_000);

pub(super) struct Tessera {
    settings: Settings,
    step_ms: i64,
    rewards: Rewards,
    /// Per kind of person.
    features: Vec<Vec<u16>>,
    space: Option<Space<Free>>,
    layout: Layout,
    creative: u64,
    version: u64,
    lore: Lore,
    snapshot: Snapshot,
    /// What came since the last look.
    waiting: Vec<(Impression, LessonKind)>,
}

impl Tessera {
    pub(super) fn new(scenario: &Scenario, settings: Settings, seed: u64) -> Self {
        let sizes: Vec<u16> = scenario.slots.iter().map(|slot| slot.components.len() as u16).collect();
        let layout = Layout::new(&sizes, scenario.features.len() as u16);
        let lore = Lore::new(layout.clone());
        let longest_ms = (scenario.feedback.window().ceil() as i64).saturating_mul(scenario.step_ms);
        Self {
            step_ms: scenario.step_ms,
            rewards: Rewards { varied: 1.0, longest_ms },
            features: scenario.users.iter().map(|user| user.features.clone()).collect(),
            space: None,
            creative: scenario.seed ^ seed,
            version: 0,
            snapshot: drawn(scenario.seed ^ seed, 0, &lore, &settings),
            lore,
            waiting: Vec::new(),
            settings,
            layout,
        }
    }

    fn at(&self, step: usize) -> Millis {
        START.plus(step as i64 * self.step_ms)
    }
}

fn drawn(creative: u64, version: u64, lore: &Lore, settings: &Settings) -> Snapshot {
    Snapshot::new(creative, version, &Posterior::new(&lore.statistics, settings), &lore.statistics, settings)
}

impl Policy for Tessera {
    fn offer(&mut self, options: &[Vec<u16>]) {
        self.space = Space::new(&self.layout, options.to_vec(), Free).ok();
    }

    fn choose(&mut self, user: usize, seed: u64) -> Vec<u16> {
        let space = self.space.as_ref();
        space.map(|space| self.snapshot.choose(space, &self.features[user], seed).choice).unwrap_or_default()
    }

    fn shown(&mut self, impression: &Impression) {
        self.waiting.push((impression.clone(), LessonKind::Shown));
    }

    fn clicked(&mut self, impression: &Impression) {
        self.waiting.push((impression.clone(), LessonKind::Rewarded { value: 1.0 }));
    }

    fn tick(&mut self, _: &Scenario, step: usize) {
        let (waiting, mut lore) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.lore));
        let lessons = waiting.iter().map(|(impression, kind)| Lesson {
            choice: &impression.choice,
            features: &self.features[impression.user],
            kind: *kind,
            at: self.at(impression.step),
        });
        let now = self.at(step);
        lore.learn(lessons, &self.settings, &self.rewards, now);
        self.lore = lore;
        self.version += 1;
        self.snapshot = drawn(self.creative, self.version, &self.lore, &self.settings);
    }
}
