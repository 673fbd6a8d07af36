//! What was rendered late.

use super::Answer;
use crate::domain::{ids::DecisionId, values::Millis};

/// What a decision showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedRow {
    /// Number of the account.
    pub account: u32,
    /// The decision.
    pub decision: DecisionId,
    /// Its markup.
    pub markup: String,
}

/// What was rendered late, for replicas that did not render it. Kept for a day or two.
pub trait RenderedStore: Send + Sync {
    /// Keeps what decisions showed; of several for one the first.
    fn keep(&self, rows: Vec<RenderedRow>) -> Answer<'_, ()>;
    /// What a decision showed.
    fn find(&self, account: u32, decision: DecisionId) -> Answer<'_, Option<String>>;
    /// Makes coming partitions and drops what is past its retention.
    fn maintain(&self, now: Millis) -> Answer<'_, ()>;
}
