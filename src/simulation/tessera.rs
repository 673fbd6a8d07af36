//! The optimizer as a service of one replica would run it.

use std::collections::BTreeMap;

use super::{
    policy::{Impression, Policy},
    scenario::Scenario,
};
use crate::domain::{
    optimizer::{
        Alarm, Detector, Epoch, Free, Layout, Lesson, LessonKind, Posterior, Settings, Snapshot, Space, Statistics,
    },
    values::Millis,
};

/// When the first decision is made.
const START: Millis = Millis(1_700_000_000_000);

pub(super) struct Tessera {
    settings: Settings,
    step_ms: i64,
    maturity_ms: i64,
    /// Per kind of person.
    features: Vec<Vec<u16>>,
    space: Option<Space<Free>>,
    layout: Layout,
    creative: u64,
    version: u64,
    rows: BTreeMap<Epoch, Statistics>,
    alarms: Vec<Alarm>,
    known: Statistics,
    posterior: Posterior,
    snapshot: Snapshot,
    detector: Detector,
    now: Millis,
}

impl Tessera {
    pub(super) fn new(scenario: &Scenario, settings: Settings, seed: u64) -> Self {
        let sizes: Vec<u16> = scenario.slots.iter().map(|slot| slot.components.len() as u16).collect();
        let layout = Layout::new(&sizes, scenario.features.len() as u16);
        let known = Statistics::new(layout.clone());
        let posterior = Posterior::new(&known, &settings);
        Self {
            step_ms: scenario.step_ms,
            maturity_ms: (scenario.feedback.window().ceil() as i64).saturating_mul(scenario.step_ms),
            features: scenario.users.iter().map(|user| user.features.clone()).collect(),
            space: None,
            creative: scenario.seed ^ seed,
            version: 0,
            rows: BTreeMap::new(),
            alarms: Vec::new(),
            snapshot: Snapshot::new(scenario.seed ^ seed, 0, &posterior, &known, &settings),
            known,
            posterior,
            detector: Detector::default(),
            now: START,
            settings,
            layout,
        }
    }

    fn at(&self, step: usize) -> Millis {
        START.plus(step as i64 * self.step_ms)
    }

    fn learn(&mut self, impression: &Impression, kind: LessonKind) {
        let lesson = Lesson {
            choice: &impression.choice,
            features: &self.features[impression.user],
            kind,
            at: self.at(impression.step),
        };
        // the scenario was checked, so there is nothing here that the layout does not have
        if let Ok(expected) = self.posterior.learn(&lesson) {
            match kind {
                LessonKind::Shown => self.detector.shown(lesson.at, expected),
                LessonKind::Rewarded { value } => self.detector.rewarded(lesson.at, value),
            }
        }
    }
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
        self.learn(impression, LessonKind::Shown);
    }

    fn clicked(&mut self, impression: &Impression) {
        self.learn(impression, LessonKind::Rewarded { value: 1.0 });
    }

    fn tick(&mut self, _: &Scenario, step: usize) {
        let (before, now) = (Epoch::of(self.now), self.at(step));
        self.now = now;
        let epoch = Epoch::of(now);
        let news = self.posterior.take();
        self.rows.entry(epoch).or_insert_with(|| Statistics::new(self.layout.clone())).merge(&news);
        let alarm = self.detector.judge(now, self.maturity_ms);
        if alarm {
            self.alarms.push(Alarm { before: epoch });
        }
        if alarm || before != epoch {
            self.known = Statistics::sum(self.rows.iter().map(|(epoch, row)| (*epoch, row)), &self.alarms, now);
        } else {
            self.known.merge(&news);
        }
        self.version += 1;
        self.posterior = Posterior::new(&self.known, &self.settings);
        self.snapshot = Snapshot::new(self.creative, self.version, &self.posterior, &self.known, &self.settings);
    }
}
