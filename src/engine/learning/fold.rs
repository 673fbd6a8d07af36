//! From what is known of a creative and new outcomes to what is known then, and what is counted.
//! Pure: the same lessons after the same knowledge give the same bytes.

use std::{collections::BTreeMap, ops::AddAssign as _};

use serde_json::json;

use crate::{
    domain::{
        catalog::document::GoalDoc,
        decision::exposing::Numbers,
        measurement::{
            beacon::decided_at,
            cells::Counts,
            exposure::{Arm, Exposure},
            outcome::OutcomeKind,
        },
        optimizer::{Epoch, Lesson, LessonKind, Lore, NotStatistics, Rewards, Settings, Shape, Statistics},
        values::Millis,
    },
    ports::{CombinationCell, FeatureCell, Learned, LearnedBody, LearnedRow, LessonRow, Unit},
};

/// What is known of a creative within a campaign.
#[derive(Debug, Clone, Default)]
pub struct Knowledge {
    /// The numbers of components and features.
    pub shape: Shape,
    /// What was learned.
    pub lore: Lore,
    /// For which goal; none where that is not known.
    pub goal: Option<GoalDoc>,
    /// Decisions of before this time were made for another goal, and teach nothing.
    pub since: Millis,
}

/// What is kept of a creative cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A newer version may have written it.
    #[error("what was learned was written by a newer version")]
    Newer,
    /// Nobody can.
    #[error("what was learned cannot be read: {0}")]
    Broken(String),
}

impl Knowledge {
    /// What a row keeps.
    ///
    /// # Errors
    /// When it is not of this program.
    pub fn read(body: &LearnedBody) -> Result<Self, Unreadable> {
        let statistics = Statistics::decode(&body.statistics).map_err(|error| match error {
            NotStatistics::Newer => Unreadable::Newer,
            NotStatistics::Broken => Unreadable::Broken(error.to_string()),
        })?;
        let broken = |error: serde_json::Error| Unreadable::Broken(error.to_string());
        let shape: Shape = serde_json::from_value(body.shape.clone()).map_err(broken)?;
        shape.check().map_err(|_| Unreadable::Broken("its shape is none".into()))?;
        // one that cannot be read only starts to watch anew
        let detector = serde_json::from_value(body.watch.clone()).unwrap_or_default();
        let lore = Lore { statistics, epoch: Epoch(body.epoch), detector };
        let goal = serde_json::from_value(body.goal.clone()).ok();
        Ok(Self { shape, lore, goal, since: Millis(body.since) })
    }

    fn write(&self) -> LearnedBody {
        LearnedBody {
            shape: serde_json::to_value(&self.shape).unwrap_or_default(),
            statistics: self.lore.statistics.encode(),
            epoch: self.lore.epoch.0,
            watch: serde_json::to_value(&self.lore.detector).unwrap_or_else(|_| json!({})),
            goal: self.goal.as_ref().and_then(|goal| serde_json::to_value(goal).ok()).unwrap_or_default(),
            since: self.since.0,
        }
    }

    /// Begins anew where what was learned is about another goal. Whether anything changed.
    fn aim(&mut self, goal: &GoalDoc, now: Millis) -> bool {
        if self.goal.as_ref() == Some(goal) {
            return false;
        }
        if self.goal.replace(goal.clone()).is_some() {
            (self.lore, self.since) = (Lore::default(), now);
        }
        true
    }
}

/// What a campaign wants.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// What counts as a reward; none where the campaign is gone.
    pub(super) goal: Option<GoalDoc>,
    /// For how long conversions are its own, in ms.
    pub(super) longest_ms: i64,
    /// What decisions expect before anything is seen.
    pub(super) settings: Settings,
}

impl Wish {
    /// The most that a conversion counts as, in usual ones: one large order says little of others.
    const MOST: f64 = 10.0;
    /// How much more values vary than whether there is one.
    const VARIED: f64 = 4.0;

    fn rewards(&self, goal: &GoalDoc) -> Rewards {
        let varied = if matches!(goal, GoalDoc::Value(_)) { Self::VARIED } else { 1.0 };
        Rewards { varied, longest_ms: self.longest_ms }
    }
}

/// What an outcome is to a goal.
fn kind(goal: &GoalDoc, lesson: &LessonRow) -> Option<LessonKind> {
    match (goal, lesson.kind) {
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
            is.then_some(LessonKind::Rewarded { value: value.clamp(0.0, Wish::MOST) })
        }
        _ => None,
    }
}

/// Learns from lessons, after `admit` gave numbers to what is new about the creative; whether it
/// did is what it answers.
///
/// # Errors
/// What is known is of a newer version: the lessons are left to who can read it.
pub(super) fn learn(
    known: Option<LearnedRow>,
    lessons: Vec<LessonRow>,
    wish: &Wish,
    now: Millis,
    admit: impl FnOnce(&mut Shape) -> bool,
) -> Result<Learned, Unreadable> {
    let mut knowledge = match known.as_ref().map(|row| Knowledge::read(&row.body)).transpose() {
        Ok(knowledge) => knowledge.unwrap_or_default(),
        Err(Unreadable::Newer) => return Err(Unreadable::Newer),
        // the counts go on, what was learned begins anew
        Err(Unreadable::Broken(_)) => Knowledge::default(),
    };
    let mut changed = admit(&mut knowledge.shape) || known.is_none();
    if let Some(goal) = &wish.goal {
        changed |= knowledge.aim(goal, now);
    }
    knowledge.lore.statistics.fit(&knowledge.shape.layout());
    // outcomes of a campaign that is gone are taken as it was known last
    let goal = knowledge.goal.clone().unwrap_or_default();
    let slots = knowledge.shape.slots().len();
    let mut tallies = Tallies::default();
    let mut told = Vec::new();
    let mut numbers = None;
    for lesson in &lessons {
        let Some(mut exposure) = Exposure::unpack(&lesson.exposure) else { continue };
        // decided before anything was known of what was shown
        let whole = !exposure.is_unnumbered()
            || numbers.get_or_insert_with(|| Numbers::of(&knowledge.shape)).give(&mut exposure);
        let at = decided_at(lesson.decision);
        tallies.count(lesson, &exposure, at);
        let teaches = whole && lesson.invalid.is_none() && at >= knowledge.since;
        if let Some(kind) = kind(&goal, lesson).filter(|_| teaches) {
            exposure.choice.resize(slots, Exposure::DEFAULT);
            told.push((exposure, kind, at));
        }
    }
    if !told.is_empty() {
        let lessons = told.iter().map(|(exposure, kind, at)| Lesson {
            choice: &exposure.choice,
            features: &exposure.features,
            kind: *kind,
            at: *at,
        });
        knowledge.lore.learn(lessons, &wish.settings, &wish.rewards(&goal), now);
        changed = true;
    }
    Ok(tallies.into_learned(changed.then(|| knowledge.write())))
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
    shown: BTreeMap<(u32, Arm), u64>,
}

impl Tallies {
    fn count(&mut self, lesson: &LessonRow, exposure: &Exposure, at: Millis) {
        let (arm, mut counts) = (exposure.arm, Counts::of(lesson.kind, lesson.value_micros, lesson.invalid));
        if lesson.by_view {
            counts.view_conversions = counts.conversions;
        }
        let day = i32::try_from(at.0.div_euclid(86_400_000)).unwrap_or_default();
        let key = (day, arm, lesson.revision, lesson.combination);
        let (choice, sum) = self.combinations.entry(key).or_default();
        sum.add_assign(counts);
        // what had no number yet may have one by now
        choice.resize(choice.len().max(exposure.choice.len()), Exposure::DEFAULT);
        choice.iter_mut().zip(&exposure.choice).for_each(|(known, one)| *known = (*known).min(*one));
        let shown = exposure.choice.iter().enumerate().filter(|(_, one)| **one != Exposure::DEFAULT);
        let components: Vec<_> = shown.map(|(slot, one)| Some((slot as u8, *one))).collect();
        for feature in &exposure.features {
            for component in std::iter::once(None).chain(components.iter().copied()) {
                self.features.entry((day, arm, *feature, component)).or_default().add_assign(counts);
            }
        }
        let experiment = exposure.experiment;
        if experiment != 0 && counts.impressions > 0 {
            *self.shown.entry((experiment, arm)).or_default() += counts.impressions;
        }
        // without an experiment too: how unlike people are makes the intervals of every report
        let counted = arm.is_side() && lesson.invalid.is_none();
        if let Some(person) = lesson.person.filter(|_| counted) {
            self.units.push(Unit { person, experiment, arm, at, counts });
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
            shown: self
                .shown
                .into_iter()
                .map(|((experiment, arm), impressions)| (experiment, arm, impressions))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ids::{DecisionId, NameHash, Uid},
        values::Money,
    };

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
        let learned = learn(None, lessons, &wish(goal), NOW, admit).expect("learned");
        let body = learned.body.expect("something");
        (Statistics::decode(&body.statistics).expect("statistics"), learned.combinations[0].counts)
    }

    #[test]
    fn people_are_told_apart_where_nothing_is_held_back_too() {
        let (person, arm) = (Uid(7), Arm::Personalised);
        let exposure = Exposure { choice: vec![0], arm, experiment: 0, ..Exposure::default() };
        let of = |arm| Exposure { arm, ..exposure.clone() }.pack().into();
        let lesson = |arm| LessonRow { person: Some(person), exposure: of(arm), ..lesson(OutcomeKind::Click, None) };
        let told = |arm| learn(None, vec![lesson(arm)], &wish(GoalDoc::Click), NOW, admit).expect("learned").units;
        assert_eq!(told(arm).iter().map(|unit| (unit.person, unit.experiment)).collect::<Vec<_>>(), [(person, 0)]);
        assert!(told(Arm::Unassigned).is_empty());
    }

    const NOW: Millis = Millis(1_770_000_000_000);

    fn wish(goal: GoalDoc) -> Wish {
        Wish { goal: Some(goal), longest_ms: 30 * 86_400_000, settings: Settings::default() }
    }

    fn admit(shape: &mut Shape) -> bool {
        let slot = shape.admit_slot(&"image".parse().expect("a name")).expect("room");
        shape.admit_component(slot, &"beach".parse().expect("an id"));
        true
    }

    #[test]
    fn what_was_shown_before_it_had_a_number_counts_and_teaches() {
        let shown = |id: &str| {
            let new_components = vec![Exposure::stand_in(NameHash::of(id))];
            let exposure = Exposure { new_components, ..Exposure::default() };
            LessonRow { exposure: exposure.pack().into(), ..lesson(OutcomeKind::Impression, None) }
        };
        for lessons in [["beach", "gone"], ["gone", "beach"]] {
            let made = learn(None, lessons.map(shown).into(), &wish(GoalDoc::Click), NOW, admit);
            let made = made.expect("what can be read");
            let of_both = &made.combinations[0];
            assert_eq!((of_both.counts.impressions, &of_both.choice), (2, &vec![0]));
            let taught = Statistics::decode(&made.body.expect("something").statistics).expect("statistics");
            assert_eq!(taught.total().shown, 1, "what is not known teaches nothing");
        }
    }

    #[test]
    fn another_goal_is_learned_anew_and_a_campaign_that_is_gone_keeps_its_own() {
        let impressions = || vec![lesson(OutcomeKind::Impression, None); 3];
        let step = |known: LearnedBody, lessons, wish: &Wish| {
            let known = Some(LearnedRow { version: 1, body: known });
            learn(known, lessons, wish, NOW.plus(60_000), |_| false).expect("learned")
        };
        let clicks = learn(None, impressions(), &wish(GoalDoc::Click), NOW, admit).expect("learned");
        let clicks = clicks.body.expect("something");
        let shown = |body: &LearnedBody| Knowledge::read(body).expect("own").lore.statistics.total().shown;
        assert_eq!(shown(&clicks), 3);
        assert_eq!(step(clicks.clone(), vec![], &wish(GoalDoc::Click)).body, None, "nothing new");

        let bought = GoalDoc::Conversion("purchase".parse().expect("a name"));
        let anew = step(clicks.clone(), vec![], &wish(bought.clone())).body.expect("another goal");
        assert_eq!(shown(&anew), 0);
        // decisions of before were made for the clicks: they are counted, and teach nothing
        let late = step(anew.clone(), impressions(), &wish(bought.clone()));
        assert_eq!((late.combinations[0].counts.impressions, late.body), (3, None));

        let gone = Wish { goal: None, ..wish(GoalDoc::Click) };
        let kept = Knowledge::read(&step(clicks, impressions(), &gone).body.expect("more")).expect("own");
        assert_eq!((kept.goal, kept.lore.statistics.total().shown), (Some(GoalDoc::Click), 6));
        // what was learned before goals were noted is the campaign's
        let unnoted = LearnedBody { goal: serde_json::Value::Null, ..anew };
        assert_eq!(Knowledge::read(&unnoted).expect("own").goal, None);
    }

    #[test]
    fn what_a_newer_version_wrote_is_left_to_it_and_what_is_broken_begins_anew() {
        let (wish, lessons) = (wish(GoalDoc::Click), || vec![lesson(OutcomeKind::Impression, None)]);
        let learn = |body| learn(Some(LearnedRow { version: 1, body }), lessons(), &wish, NOW, admit);
        let known = super::learn(None, lessons(), &wish, NOW, admit).expect("learned").body.expect("something");
        let mut newer = known.clone();
        newer.statistics[0] = Statistics::VERSION + 1;
        assert!(matches!(learn(newer.clone()), Err(Unreadable::Newer)));
        // what else of it this version cannot read makes no difference
        assert!(matches!(learn(LearnedBody { shape: json!({"v": 2}), ..newer }), Err(Unreadable::Newer)));
        let broken = LearnedBody { statistics: known.statistics[..3].to_vec(), ..known };
        let anew = learn(broken).expect("learned").body.expect("something");
        assert_eq!(Knowledge::read(&anew).expect("own").lore.statistics.total().shown, 1);
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
