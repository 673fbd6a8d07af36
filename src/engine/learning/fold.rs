//! From what is known of a creative and new outcomes to what is known then, and what is counted.
//! Pure: the same lessons after the same knowledge give the same bytes.

use std::{collections::BTreeMap, ops::AddAssign as _};

use serde_json::json;

use crate::{
    domain::{
        catalog::document::GoalDoc,
        measurement::{
            beacon::decided_at,
            cells::Counts,
            exposure::{Arm, Exposure},
            outcome::OutcomeKind,
        },
        optimizer::{Detector, Epoch, Expected, Layout, Lesson, LessonKind, Posterior, Settings, Shape, Statistics},
        values::Millis,
    },
    ports::{CombinationCell, FeatureCell, Learned, LearnedBody, LearnedRow, LessonRow, Unit},
};

/// What is known of a creative within a campaign.
#[derive(Debug, Clone)]
pub struct Knowledge {
    /// The numbers of components and features.
    pub shape: Shape,
    /// What was seen, as it weighs in the hour below.
    pub statistics: Statistics,
    /// The hour.
    pub epoch: i64,
    /// Watches for changes.
    pub detector: Detector,
}

/// What is kept of a creative cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("what was learned cannot be read: {0}")]
pub struct Unreadable(String);

impl Default for Knowledge {
    fn default() -> Self {
        let statistics = Statistics::new(Layout::default());
        Self { shape: Shape::default(), statistics, epoch: 0, detector: Detector::default() }
    }
}

impl Knowledge {
    /// What a row keeps.
    ///
    /// # Errors
    /// When it is not of this program.
    pub fn read(body: &LearnedBody) -> Result<Self, Unreadable> {
        let shape: Shape = serde_json::from_value(body.shape.clone()).map_err(|error| Unreadable(error.to_string()))?;
        shape.check().map_err(|_| Unreadable("its shape is none".into()))?;
        let statistics = Statistics::decode(&body.statistics).map_err(|error| Unreadable(error.to_string()))?;
        // one that cannot be read only starts to watch anew
        let detector = serde_json::from_value(body.watch.clone()).unwrap_or_default();
        Ok(Self { shape, statistics, epoch: body.epoch, detector })
    }

    fn write(&self) -> LearnedBody {
        LearnedBody {
            shape: serde_json::to_value(&self.shape).unwrap_or_default(),
            statistics: self.statistics.encode(),
            epoch: self.epoch,
            watch: serde_json::to_value(&self.detector).unwrap_or_else(|_| json!({})),
        }
    }

    /// Lets time pass: what was learned weighs less.
    fn fade(&mut self, now: Millis) {
        let hour = Epoch::of(now);
        if hour.0 > self.epoch {
            self.statistics = Statistics::sum([(Epoch(self.epoch), &self.statistics)], &[], now);
            self.epoch = hour.0;
        }
    }
}

/// What a campaign wants.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// What counts as a reward.
    pub(super) goal: GoalDoc,
    /// What decisions expect before anything is seen.
    pub(super) settings: Settings,
}

impl Wish {
    /// The most that a conversion counts as, in usual ones: one large order says little of others.
    const MOST: f64 = 10.0;
    /// How much more values vary than whether there is one.
    const VARIED: f64 = 4.0;

    /// How much more rewards vary than those that are all alike.
    fn varied(&self) -> f64 {
        if matches!(self.goal, GoalDoc::Value(_)) { Self::VARIED } else { 1.0 }
    }

    /// How long rewards take to come, before their absence says something, in ms.
    fn maturity(&self) -> i64 {
        match self.goal {
            GoalDoc::Click => 30 * 60_000,
            GoalDoc::Conversion(_) | GoalDoc::Value(_) => 3 * 86_400_000,
        }
    }

    fn kind(&self, lesson: &LessonRow) -> Option<LessonKind> {
        match (&self.goal, lesson.kind) {
            (_, OutcomeKind::Impression) => Some(LessonKind::Shown),
            (GoalDoc::Click, OutcomeKind::Click) => Some(LessonKind::Rewarded { value: 1.0 }),
            (GoalDoc::Conversion(wanted), OutcomeKind::Conversion) => {
                let is = lesson.goal.as_ref().is_none_or(|goal| goal == wanted);
                is.then_some(LessonKind::Rewarded { value: 1.0 })
            }
            (GoalDoc::Value(wanted), OutcomeKind::Conversion) => {
                let is = lesson.goal.as_ref().is_none_or(|goal| *goal == wanted.conversion);
                let usual = wanted.usual.amount.micros().max(1) as f64;
                let value = lesson.value_micros.map_or(1.0, |micros| micros as f64 / usual);
                is.then_some(LessonKind::Rewarded { value: value.clamp(0.0, Self::MOST) })
            }
            _ => None,
        }
    }
}

/// Learns from lessons, after `admit` gave numbers to what is new about the creative; whether it
/// did is what it answers.
pub(super) fn learn(
    known: Option<LearnedRow>,
    lessons: Vec<LessonRow>,
    wish: &Wish,
    now: Millis,
    admit: impl FnOnce(&mut Shape) -> bool,
) -> Learned {
    let mut knowledge = match known.as_ref().map(|row| Knowledge::read(&row.body)).transpose() {
        Ok(knowledge) => knowledge.unwrap_or_default(),
        // the counts go on, what was learned begins anew
        Err(_) => Knowledge::default(),
    };
    let grown = admit(&mut knowledge.shape) || known.is_none();
    knowledge.fade(now);
    knowledge.statistics.grow(&knowledge.shape.layout());
    let mut tallies = Tallies::default();
    let mut posterior: Option<Posterior> = None;
    for lesson in &lessons {
        let Some(mut exposure) = Exposure::unpack(&lesson.exposure) else { continue };
        let at = decided_at(lesson.decision);
        tallies.count(lesson, &exposure, at);
        let Some(kind) = wish.kind(lesson).filter(|_| lesson.invalid.is_none()) else { continue };
        exposure.choice.resize(knowledge.shape.slots().len(), Exposure::DEFAULT);
        let posterior = posterior.get_or_insert_with(|| Posterior::new(&knowledge.statistics, &wish.settings));
        let lesson = Lesson { choice: &exposure.choice, features: &exposure.features, kind, at };
        // what names components that nobody knows teaches nothing; it was counted all the same
        if let Ok(expected) = posterior.learn(&lesson) {
            match kind {
                LessonKind::Shown => {
                    let variance = wish.varied() * expected.variance;
                    knowledge.detector.shown(at, Expected { variance, ..expected });
                }
                LessonKind::Rewarded { value } => knowledge.detector.rewarded(at, value),
            }
        }
    }
    let learned = posterior.is_some();
    if let Some(mut posterior) = posterior {
        knowledge.statistics.merge(&posterior.take());
        if knowledge.detector.judge(now, wish.maturity()) {
            knowledge.statistics.forget();
        }
    }
    tallies.into_learned((learned || grown).then(|| knowledge.write()))
}

/// A day, a side and a revision's combination.
type OfCombination = (i32, Arm, u32, u64);
/// A day, a side, a feature and a component, or none for whatever was shown.
type OfFeature = (i32, Arm, u16, Option<(u8, u16)>);

/// Outcomes by what they are counted under.
#[derive(Default)]
struct Tallies {
    combinations: BTreeMap<OfCombination, (Vec<u16>, Counts)>,
    features: BTreeMap<OfFeature, Counts>,
    units: Vec<Unit>,
}

impl Tallies {
    fn count(&mut self, lesson: &LessonRow, exposure: &Exposure, at: Millis) {
        let (arm, mut counts) = (exposure.arm, Counts::of(lesson.kind, lesson.value_micros, lesson.invalid));
        if lesson.by_view {
            counts.view_conversions = counts.conversions;
        }
        let day = i32::try_from(at.0.div_euclid(86_400_000)).unwrap_or_default();
        let key = (day, arm, lesson.revision, lesson.combination);
        let of_combination =
            self.combinations.entry(key).or_insert_with(|| (exposure.choice.clone(), Counts::default()));
        of_combination.1.add_assign(counts);
        let shown = exposure.choice.iter().enumerate().filter(|(_, one)| **one != Exposure::DEFAULT);
        let components: Vec<_> = shown.map(|(slot, one)| Some((slot as u8, *one))).collect();
        for feature in &exposure.features {
            for component in std::iter::once(None).chain(components.iter().copied()) {
                self.features.entry((day, arm, *feature, component)).or_default().add_assign(counts);
            }
        }
        if let Some(person) = lesson.person.filter(|_| arm.is_side() && lesson.invalid.is_none()) {
            self.units.push(Unit { person, arm, at, counts });
        }
    }

    fn into_learned(self, body: Option<LearnedBody>) -> Learned {
        let combinations = self.combinations.into_iter();
        let features = self.features.into_iter();
        Learned {
            body,
            combinations: combinations
                .map(|((day, arm, revision, combination), (choice, counts))| CombinationCell {
                    day,
                    arm,
                    revision,
                    combination,
                    choice,
                    counts,
                })
                .collect(),
            features: features
                .map(|((day, arm, feature, component), counts)| FeatureCell { day, arm, feature, component, counts })
                .collect(),
            units: self.units,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ids::DecisionId, values::Money};

    fn lesson(kind: OutcomeKind, value_micros: Option<i64>) -> LessonRow {
        let exposure = Exposure { choice: vec![0], ..Exposure::default() };
        LessonRow {
            decision: DecisionId(uuid::Uuid::from_u128(1_770_000_000_000 << 80)),
            kind,
            goal: None,
            value_micros,
            revision: 1,
            combination: 1,
            person: None,
            invalid: None,
            by_view: kind == OutcomeKind::Conversion,
            exposure: exposure.pack().into(),
        }
    }

    fn learned(goal: GoalDoc, lessons: Vec<LessonRow>) -> (Statistics, Counts) {
        let wish = Wish { goal, settings: Settings::default() };
        let admit = |shape: &mut Shape| {
            let slot = shape.admit_slot(&"image".parse().expect("a name")).expect("room");
            shape.admit_component(slot, &"beach".parse().expect("an id"));
            true
        };
        let learned = learn(None, lessons, &wish, Millis(1_770_000_000_000), admit);
        let body = learned.body.expect("something");
        (Statistics::decode(&body.statistics).expect("statistics"), learned.combinations[0].counts)
    }

    #[test]
    fn a_conversion_counts_as_its_value_within_bounds() {
        let usual = Money { amount: "50".parse().expect("an amount"), currency: "EUR".parse().expect("a currency") };
        let goal = GoalDoc::Value(crate::domain::catalog::document::ValueDoc {
            conversion: "purchase".parse().expect("a name"),
            usual,
        });
        let bought = |units: i64| lesson(OutcomeKind::Conversion, Some(units * 1_000_000));
        for (lessons, value) in [
            (vec![bought(25)], 0.5),
            (vec![bought(100), bought(50)], 3.0),
            (vec![bought(1_000_000_000)], Wish::MOST),
            (vec![lesson(OutcomeKind::Conversion, Some(i64::MIN)), bought(50)], 1.0),
            (vec![lesson(OutcomeKind::Conversion, None)], 1.0),
            (vec![lesson(OutcomeKind::Click, None)], 0.0),
        ] {
            let count = lessons.len() as u64;
            let (statistics, counts) = learned(goal.clone(), lessons);
            assert!(statistics.is_sound());
            assert_eq!(statistics.total().value, value);
            assert!(value == 0.0 || counts.conversions == count && counts.view_conversions == count);
        }
    }
}
