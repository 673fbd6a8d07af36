//! What tags in shadow mode would have shown.

use super::Answer;
use crate::domain::{
    decision::shadow::Cause,
    ids::{DecisionId, LineItemId, Uid, UserKey},
    values::Millis,
};

/// A request of a tag in shadow mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowRow {
    /// Number of the account.
    pub account: u32,
    /// What was decided.
    pub decision: DecisionId,
    /// Under which line the ad server served.
    pub line_item: Option<LineItemId>,
    /// Who was looking, where that may be kept.
    pub person: Option<Uid>,
    /// Whether it was decided with what is known of them.
    pub personalised: bool,
    /// What made it another creative than without that; nothing, where it was none.
    pub causes: Vec<Cause>,
}

/// What a browser told of such a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShadowSeen {
    /// Number of the account.
    pub account: u32,
    /// What was decided.
    pub decision: DecisionId,
    /// How long it took from asking to running, by the browser's clock, in ms.
    pub ms: u32,
}

/// What was counted of a line item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShadowLine {
    /// Which; none: those that the ad server did not name.
    pub line_item: Option<LineItemId>,
    /// Requests.
    pub requests: u64,
    /// Those that a browser told of.
    pub seen: u64,
    /// Those decided with what is known of the person.
    pub personalised: u64,
    /// Those in which that made a difference.
    pub different: u64,
    /// People in these, as far as they may be counted.
    pub people: u64,
    /// What browsers measured, in ms: the middle, 95 and 99 in 100; none where none told.
    pub latency: Option<[u32; 3]>,
    /// What made the difference, the most frequent first: requests and people.
    pub causes: Vec<(Cause, u64, u64)>,
}

/// Somebody who would have been shown something else than without what is known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowPerson {
    /// Who, by the account's own name.
    pub user: UserKey,
    /// In how many requests.
    pub requests: u64,
    /// When last.
    pub last_at: Millis,
}

/// Whom to tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowSought {
    /// By this cause; none: any.
    pub cause: Option<Cause>,
    /// Of this line item; none: any.
    pub line_item: Option<LineItemId>,
    /// Of decisions on these days, by UTC, since 1970-01-01.
    pub days: (i32, i32),
    /// Behind this one in the order of their names.
    pub after: Option<UserKey>,
    /// At most so many.
    pub most: u32,
}

/// What tags in shadow mode would have shown, kept for 30 days.
pub trait ShadowStore: Send + Sync {
    /// Keeps requests, and what browsers told of these or of earlier ones. Repeats change nothing;
    /// the erased are left out.
    fn keep(&self, rows: Vec<ShadowRow>, seen: Vec<ShadowSeen>) -> Answer<'_, ()>;
    /// Line items of requests on these days, by UTC, since 1970-01-01: those with the most requests first,
    /// at most so many.
    fn lines(&self, account: u32, days: (i32, i32), most: u32) -> Answer<'_, Vec<ShadowLine>>;
    /// People to whom it would have made a difference, in the order of their names.
    fn people(&self, account: u32, sought: ShadowSought) -> Answer<'_, Vec<ShadowPerson>>;
    /// Makes coming partitions and drops what is past its retention.
    fn maintain(&self, now: Millis) -> Answer<'_, ()>;
}
