//! What is learned and counted of creatives.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Answer, StoreError};
use crate::domain::{
    ids::{CampaignId, CreativeId, DecisionId, EventName, Uid},
    measurement::{
        attribution::Unattributed,
        cells::Counts,
        exposure::Arm,
        holdout::Excluded,
        lift::Sums,
        outcome::{Invalid, OutcomeKind},
    },
    values::Millis,
};

/// What is learned about: a creative within a campaign.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Number of the account.
    pub account: u32,
    /// The campaign.
    pub campaign: CampaignId,
    /// The creative.
    pub creative: CreativeId,
}

/// A committed outcome that nothing was learned from yet.
#[derive(Debug, Clone, PartialEq)]
pub struct LessonRow {
    /// Its decision.
    pub decision: DecisionId,
    /// What happened.
    pub kind: OutcomeKind,
    /// What a conversion was, where its sender said so.
    pub goal: Option<EventName>,
    /// What a conversion was worth, in millionths of the sender's currency unit.
    pub value_micros: Option<i64>,
    /// The revision that was shown.
    pub revision: u32,
    /// Which combination of its components.
    pub combination: u64,
    /// Who, where the purposes allow counting per person.
    pub person: Option<Uid>,
    /// Why it does not count, if it does not.
    pub invalid: Option<Invalid>,
    /// Whether a conversion is the campaign's by a view alone.
    pub by_view: bool,
    /// What was shown, packed.
    pub exposure: Box<[u8]>,
}

/// What is known of a subject.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnedRow {
    /// Counts the changes.
    pub version: i64,
    /// What is known.
    pub body: LearnedBody,
}

/// Which version of what is known there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedVersion {
    /// Of what.
    pub subject: Subject,
    /// Counts the changes.
    pub version: i64,
    /// When it was written, by the store's clock.
    pub updated_at: i64,
}

/// See [`LearnedRow`].
#[derive(Debug, Clone, PartialEq)]
pub struct LearnedBody {
    /// The numbers of components and features, as a document.
    pub shape: Value,
    /// The additive statistics, packed.
    pub statistics: Vec<u8>,
    /// The hour they are of.
    pub epoch: i64,
    /// What watches for changes, as a document.
    pub watch: Value,
    /// For which goal, as a document; null where that is not known.
    pub goal: Value,
    /// From decisions of when on, in ms.
    pub since: i64,
}

/// Outcomes of one combination on one day.
#[derive(Debug, Clone, PartialEq)]
pub struct CombinationCell {
    /// UTC day of the decision, since 1970-01-01.
    pub day: i32,
    /// The side of the experiment.
    pub arm: Arm,
    /// The revision.
    pub revision: u32,
    /// The combination, as decisions name it.
    pub combination: u64,
    /// Its components by number.
    pub choice: Vec<u16>,
    /// How many.
    pub counts: Counts,
}

/// Outcomes of one component with one feature on one day.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureCell {
    /// UTC day of the decision, since 1970-01-01.
    pub day: i32,
    /// The side of the experiment.
    pub arm: Arm,
    /// Number of the feature.
    pub feature: u16,
    /// Number of the slot and of the component in it; none: whatever was shown.
    pub component: Option<(u8, u16)>,
    /// How many.
    pub counts: Counts,
}

/// What a person in an experiment did.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// Who.
    pub person: Uid,
    /// Of which experiment.
    pub experiment: u32,
    /// On which side they are.
    pub arm: Arm,
    /// When they were first decided for.
    pub at: Millis,
    /// What they did.
    pub counts: Counts,
}

/// What learning from some lessons gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Learned {
    /// What is known now; none: as before.
    pub body: Option<LearnedBody>,
    /// To be added to what was counted.
    pub combinations: Vec<CombinationCell>,
    /// To be added to what was counted.
    pub features: Vec<FeatureCell>,
    /// To be added to what people did.
    pub units: Vec<Unit>,
    /// Impressions to be added to those of experiments, by side or neither.
    pub shown: Vec<(u32, Arm, u64)>,
}

/// Learns: from what is known of a subject, if anything, and lessons. An error leaves both as they are.
pub type Learn = Box<dyn FnOnce(Option<LearnedRow>, Vec<LessonRow>) -> Result<Learned, StoreError> + Send>;

/// What is measured of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// Clicks.
    Clicks,
    /// Conversions.
    Conversions,
    /// What conversions were worth, in the sender's currency unit.
    Value,
}

/// A decision that was chosen by what was learned.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedDecision {
    /// Number of the account.
    pub account: u32,
    /// Which decision.
    pub decision: DecisionId,
    /// Of which campaign.
    pub campaign: CampaignId,
    /// The creative.
    pub creative: CreativeId,
    /// About whom, where the purposes allow keeping it.
    pub person: Option<Uid>,
    /// The version of what was learned.
    pub version: u64,
    /// Per slot the number of the component.
    pub choice: Vec<u16>,
    /// The features of the person and the request, by number.
    pub features: Vec<u16>,
    /// Per slot the numbers of the components that could stand in it.
    pub eligible: Vec<Vec<u16>>,
    /// The probability with which the combination was chosen; 0 where it is not known.
    pub propensity: f64,
    /// How likely every choice was, packed; only where there were too many to weigh one by one.
    pub mixture: Option<Vec<u8>>,
}

/// A logged decision with what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewarded {
    /// The decision.
    pub logged: LoggedDecision,
    /// What came of it.
    pub reward: f64,
}

/// Which logged decisions are sought.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// Number of the account.
    pub account: u32,
    /// The campaign.
    pub campaign: CampaignId,
    /// From one UTC day (since 1970-01-01) to before another.
    pub days: (i32, i32),
    /// By creative, before when decisions must have been made.
    pub before: Vec<(CreativeId, Millis)>,
    /// The same for creatives that are not named.
    pub otherwise: Millis,
    /// What is measured of each.
    pub measured: Measured,
    /// How many at most.
    pub most: u32,
}

/// Logged decisions with what came of each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogRead {
    /// All that are sought; where there are too many, an even sample of them, the same at each look.
    pub rows: Vec<Rewarded>,
    /// How many are sought, with those that were left out of a sample.
    pub count: u64,
    /// How many of the days were made too late.
    pub later: u64,
}

/// Keeps what is learned. Each lesson is learned from exactly once, whichever replica does it.
pub trait LearningStore: Send + Sync {
    /// Subjects with lessons waiting.
    fn waiting(&self) -> Answer<'_, Vec<Subject>>;
    /// Looks again at conversions that had no click or view yet; those that came two days before `now` for the
    /// last time. Answers how many have one now.
    fn settle(&self, now: Millis) -> Answer<'_, usize>;
    /// Takes at most `most` lessons of a subject, oldest first, has `learn` learn from them and
    /// keeps the result, in one transaction that no other works on the subject in. Answers how many
    /// lessons there were; `None`, at once and without asking `learn`, while another works on it.
    ///
    /// Also fails with what `learn` fails with; then nothing has changed.
    fn learn(&self, subject: Subject, most: u32, learn: Learn) -> Answer<'_, Option<usize>>;
    /// The versions of everything that has changed since a time by the store's clock.
    fn versions(&self, since: i64) -> Answer<'_, Vec<LearnedVersion>>;
    /// What is known of these.
    fn known(&self, subjects: Vec<Subject>) -> Answer<'_, Vec<(Subject, LearnedRow)>>;
    /// What has which number of each creative of a campaign, as [`LearnedBody::shape`]: everything that had one in
    /// what was counted until then.
    fn shapes(&self, account: u32, campaign: CampaignId) -> Answer<'_, Vec<(CreativeId, Value)>>;
    /// Enrols people in the experiment of their campaign; who is enrolled stays on their side.
    fn enrol(&self, people: Vec<(u32, CampaignId, Unit)>) -> Answer<'_, ()>;
    /// What was counted of a campaign's combinations, from one day to before another.
    fn combinations(
        &self,
        account: u32,
        campaign: CampaignId,
        days: (i32, i32),
    ) -> Answer<'_, Vec<(CreativeId, CombinationCell)>>;
    /// What was counted of a campaign's features, from one day to before another.
    fn features(
        &self,
        account: u32,
        campaign: CampaignId,
        days: (i32, i32),
    ) -> Answer<'_, Vec<(CreativeId, FeatureCell)>>;
    /// Conversions that are not the campaign's, from one day of their decision to before another.
    fn unattributed(&self, account: u32, campaign: CampaignId, days: (i32, i32)) -> Answer<'_, Unattributed>;
    /// Beacons of a campaign that came again, by the day of their decision, from one to before another.
    fn repeated(&self, account: u32, campaign: CampaignId, days: (i32, i32)) -> Answer<'_, BTreeMap<i32, u64>>;
    /// Keeps rows of the decision log.
    fn log(&self, rows: Vec<LoggedDecision>) -> Answer<'_, ()>;
    /// Logged decisions of a campaign, with what came of each.
    fn logged(&self, sought: LogQuery) -> Answer<'_, LogRead>;
    /// Makes the partitions of the coming days and drops what is past its retention.
    fn maintain(&self, now: Millis) -> Answer<'_, ()>;
    /// What the people of each side of one experiment did.
    fn sides(&self, account: u32, campaign: CampaignId, experiment: u32, measured: Measured) -> Answer<'_, Sides>;
}

/// What the people of a campaign did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sides {
    /// Those of the experiment who got what the rotation chose.
    pub personalised: Sums,
    /// Those of it who got the control.
    pub control: Sums,
    /// Those who got what the rotation chose, of the experiments before too.
    pub ever: Sums,
    /// Those of the experiment who were met on both sides; they count on the one that they were on first.
    pub crossed_over: u64,
    /// Impressions of the experiment that are on neither side.
    pub excluded: Excluded,
}
