//! From what is known of a creative and new outcomes to what is known then. What serves and what
//! simulates learn by this alike.

use crate::domain::{
    optimizer::{
        change::Detector,
        layout::Layout,
        lesson::{Lesson, LessonKind},
        posterior::{Expected, Posterior},
        settings::Settings,
        statistics::{Epoch, Statistics},
    },
    values::Millis,
};

/// What is known of a creative, and what watches whether it is still true.
#[derive(Clone, Debug, PartialEq)]
pub struct Lore {
    /// What was seen, as it weighs in the hour below.
    pub statistics: Statistics,
    /// The hour.
    pub epoch: Epoch,
    /// Watches for changes.
    pub detector: Detector,
}

/// What is known of rewards before any comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rewards {
    /// How much more they vary than those that are all alike: 1 for clicks.
    pub varied: f64,
    /// After how long none comes any more, in ms.
    pub longest_ms: i64,
}

impl Default for Lore {
    fn default() -> Self {
        Self::new(Layout::default())
    }
}

impl Lore {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { statistics: Statistics::new(layout), epoch: Epoch(0), detector: Detector::default() }
    }

    /// Lets time pass: what was learned weighs less.
    pub fn fade(&mut self, now: Millis) {
        let hour = Epoch::of(now);
        if hour > self.epoch {
            self.statistics.fade(self.epoch, now);
            self.epoch = hour;
        }
    }

    /// Learns from lessons, oldest first, and forgets where rewards fall short of what was expected.
    /// What names components or features that the statistics do not have teaches nothing.
    pub fn learn<'a>(
        &mut self,
        lessons: impl IntoIterator<Item = Lesson<'a>>,
        settings: &Settings,
        rewards: &Rewards,
        now: Millis,
    ) {
        self.fade(now);
        let (patience, passed) = self.detector.patience(now);
        self.statistics.settle(patience.map_or(0.0, |patience| patience.left(passed)));
        let mut posterior = Posterior::new(&self.statistics, settings).crediting(patience, now);
        for lesson in lessons {
            let Ok(expected) = posterior.learn(&lesson) else { continue };
            match lesson.kind {
                LessonKind::Shown => {
                    let variance = rewards.varied * expected.variance;
                    self.detector.shown(lesson.at, Expected { variance, ..expected });
                }
                LessonKind::Rewarded { value } => self.detector.rewarded(lesson.at, value, now),
            }
        }
        self.statistics.follow(&posterior.take());
        if self.detector.judge(now, rewards.longest_ms) {
            self.statistics.forget();
        }
    }
}
