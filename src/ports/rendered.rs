//! What was rendered late.

use super::Answer;
use crate::domain::{
    ids::{DecisionId, Uid},
    values::Millis,
};

/// What a decision showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedRow {
    /// Number of the account.
    pub account: u32,
    /// The decision.
    pub decision: DecisionId,
    /// Whom it was chosen for, where that was known: it is erased with them.
    pub person: Option<Uid>,
    /// Its markup.
    pub markup: String,
}

/// What was rendered late, for replicas that did not render it. Kept for as long as
/// its frame opens, and an hour at most after that.
pub trait RenderedStore: Send + Sync {
    /// Keeps what decisions showed; of several for one the first. Not for people who were erased.
    fn keep(&self, rows: Vec<RenderedRow>) -> Answer<'_, ()>;
    /// What a decision showed.
    fn find(&self, account: u32, decision: DecisionId) -> Answer<'_, Option<String>>;
    /// Makes coming partitions and drops what is past its retention.
    fn maintain(&self, now: Millis) -> Answer<'_, ()>;
}
