//! What happened, and why it was shown.

use super::Answer;
use crate::domain::{
    ids::{DecisionId, Uid},
    measurement::outcome::{Outcome, Recorded},
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

/// Outcomes and decision records.
pub trait OutcomeStore: Send + Sync {
    /// Commits outcomes, each counted once, and counts new impressions towards the frequency
    /// caps of their person in the same transaction. Answers in the same order.
    fn record(&self, outcomes: Vec<Outcome>) -> Answer<'_, Vec<Recorded>>;
    /// Keeps decision records; one that is there already is left as it is.
    fn keep(&self, records: Vec<DecisionRecord>) -> Answer<'_, ()>;
    /// One decision record.
    fn find(&self, account: u32, decision: DecisionId) -> Answer<'_, FoundRecord>;
    /// Outcomes counted for one decision, in the order they came.
    fn outcomes_of(&self, account: u32, decision: DecisionId) -> Answer<'_, Vec<Outcome>>;
    /// Makes the partitions of the coming days and drops what is past its retention.
    fn maintain(&self, now: Millis) -> Answer<'_, ()>;
}
