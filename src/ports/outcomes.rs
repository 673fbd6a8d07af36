//! What happened, and why it was shown.

use std::ops::RangeInclusive;

use super::Answer;
use crate::domain::{
    ids::{CampaignId, CreativeId, DecisionId, Uid},
    measurement::{
        attribution::Terms,
        outcome::{Outcome, OutcomeKind, Recorded},
    },
    values::Millis,
};

/// Everything about one decision that replaying and explaining it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionRecord {
    /// Number of its account.
    pub account: u32,
    /// Which decision.
    pub decision: DecisionId,
    /// When it was made.
    pub at: Millis,
    /// About whom, where the purposes allow keeping it.
    pub person: Option<Uid>,
    /// The catalogue version it was made with.
    pub catalog_version: i64,
    /// What went in and what came out, as JSON.
    pub body: String,
}

/// A decision record, or why there is none to show.
#[derive(Debug, Clone, PartialEq)]
pub enum FoundRecord {
    /// It is kept.
    Kept(Box<DecisionRecord>),
    /// The person it was about was erased.
    Erased,
    /// Unknown, not sampled or past its retention.
    Absent,
}

/// How outcomes are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// As they were reported: what comes again was sent again.
    Live,
    /// From the local log: what comes again may only have been kept twice.
    Kept,
    /// Not at all: the answer says what would be.
    Rehearsed,
}

/// A person whose conversion it is, of a campaign.
#[derive(Debug, Clone, PartialEq)]
pub struct Sought {
    /// Who.
    pub person: Uid,
    /// The campaign.
    pub campaign: CampaignId,
    /// When the conversion happened.
    pub at: Millis,
    /// How long before it a click or a view may lie.
    pub terms: Terms,
}

/// What a person clicked or saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Touched {
    /// Its decision.
    pub decision: DecisionId,
    /// The creative that was shown.
    pub creative: CreativeId,
    /// Its revision.
    pub revision: u32,
    /// Which combination of components.
    pub combination: u64,
    /// The person, under the key that leads.
    pub person: Option<Uid>,
    /// What was shown, packed.
    pub exposure: Option<Box<[u8]>>,
}

/// Outcomes of one kind that a creative of a campaign had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The creative.
    pub creative: CreativeId,
    /// What happened.
    pub kind: OutcomeKind,
    /// How often.
    pub count: u64,
}

/// Outcomes and decision records.
pub trait OutcomeStore: Send + Sync {
    /// Commits outcomes, each counted once, and counts new impressions towards the frequency
    /// caps of their person in the same transaction. Conversions wait for their click from `now` on. Answers in
    /// the same order.
    fn record_as(&self, outcomes: Vec<Outcome>, how: Recording, now: Millis) -> Answer<'_, Vec<Recorded>>;
    /// The same, of what was reported as it happened.
    fn record(&self, outcomes: Vec<Outcome>) -> Answer<'_, Vec<Recorded>> {
        let now = outcomes.iter().map(|outcome| outcome.at).max().unwrap_or_default();
        self.record_as(outcomes, Recording::Live, now)
    }
    /// What each person last clicked of a campaign within its terms, else last saw. Answers in the
    /// same order.
    fn touched(&self, account: u32, sought: Vec<Sought>) -> Answer<'_, Vec<Option<Touched>>>;
    /// Keeps decision records; one that is there already is left as it is.
    fn keep(&self, records: Vec<DecisionRecord>) -> Answer<'_, ()>;
    /// One decision record.
    fn find(&self, account: u32, decision: DecisionId) -> Answer<'_, FoundRecord>;
    /// Decision records of some UTC days, first and last, the newest first, of decisions before one, at
    /// most `most`. Those of people who were erased are left out.
    fn records(
        &self,
        account: u32,
        days: RangeInclusive<i32>,
        before: Option<DecisionId>,
        most: u32,
    ) -> Answer<'_, Vec<DecisionRecord>>;
    /// Outcomes counted for one decision, in the order they came.
    fn outcomes_of(&self, account: u32, decision: DecisionId) -> Answer<'_, Vec<Outcome>>;
    /// What was counted of a campaign's decisions on some UTC days, by creative and kind.
    fn tallies(&self, account: u32, campaign: CampaignId, days: RangeInclusive<i32>) -> Answer<'_, Vec<Tally>>;
    /// Makes the partitions of the coming days and drops what is past its retention.
    fn maintain(&self, now: Millis) -> Answer<'_, ()>;
}
