//! What feeds hold, and how filling them fares.

use uuid::Uuid;

use super::Answer;
use crate::domain::{ids::FeedId, values::Millis, violation::Violation};

/// What is wrong with a row of a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[schema(example = json!({"line": 17, "pointer": "/price", "code": "not_a_price", "detail": "must be an amount and a currency such as 12.90 EUR"}))]
pub struct RefusedRow {
    /// The line that the row begins on; the first is 1.
    pub line: u64,
    /// The column, as a pointer; empty for the row as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// Stable, machine-readable name of the rule that was broken.
    pub code: String,
    /// What to change.
    pub detail: String,
}

impl RefusedRow {
    /// A fault of the row that begins on a line.
    #[must_use]
    pub fn new(line: u64, Violation { pointer, code, detail }: Violation) -> Self {
        Self { line, pointer, code: code.to_owned(), detail }
    }
}

/// What a file held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filled {
    /// Rows read.
    pub rows: u64,
    /// Products taken.
    pub items: u64,
    /// Those of them that can be bought.
    pub available: u64,
    /// Rows refused.
    pub rejected: u64,
    /// The lines of the first of those, and what is wrong with them by column.
    pub refused: Vec<(u64, Violation)>,
}

impl Filled {
    /// What is wrong with the first rows that were refused.
    #[must_use]
    pub fn told(self) -> Vec<RefusedRow> {
        self.refused.into_iter().map(|(line, fault)| RefusedRow::new(line, fault)).collect()
    }
}

/// What a feed holds at the moment, and when it is fetched next.
#[derive(Debug, Clone, PartialEq)]
pub struct StockState {
    /// Number of the account.
    pub account: u32,
    /// The feed.
    pub feed: FeedId,
    /// Which filling is shown; 0 for none.
    pub generation: i64,
    /// How the version that was fetched last was read.
    pub reading: Option<String>,
    /// Whether the next fetch is due by the store's clock.
    pub due: bool,
    /// Whether somebody fetches it.
    pub claimed: bool,
}

/// What is known of a feed's filling.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StockRow {
    /// Which filling is shown; 0 for none.
    pub generation: i64,
    /// Since when.
    pub filled_at: Option<Millis>,
    /// Whether it was fetched, not uploaded.
    pub fetched: bool,
    /// Products in it.
    pub items: u64,
    /// Those of them that can be bought.
    pub available: u64,
    /// Rows that were refused.
    pub rejected: u64,
    /// The last fetch.
    pub fetched_at: Option<Millis>,
    /// What was wrong with it.
    pub error: Option<String>,
    /// What was wrong with its rows.
    pub refused: Vec<RefusedRow>,
    /// When the next one is due; none before the first.
    pub next_at: Option<Millis>,
}

/// What a server said of the version that it gave, to be asked whether it has another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// The `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// What came of a fetch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FetchNote {
    /// What was wrong with it.
    pub error: Option<String>,
    /// What was wrong with its rows; none where they are those of the fetch before.
    pub refused: Option<Vec<RefusedRow>>,
    /// What the server said of the version.
    pub validators: Validators,
    /// How it was read.
    pub reading: String,
    /// When the next one is due, in ms from now.
    pub next_in: i64,
}

/// Keeps what feeds hold. A filling is a number of packed pieces; it is shown as a whole.
pub trait ProductStore: Send + Sync {
    /// What every feed of every account holds.
    fn stocks(&self) -> Answer<'_, Vec<StockState>>;
    /// What is known of one feed's filling.
    fn stock(&self, account: u32, feed: FeedId) -> Answer<'_, Option<StockRow>>;
    /// A number for a filling: greater than all before.
    fn generation(&self) -> Answer<'_, i64>;
    /// Keeps a piece of a filling; nobody sees it yet.
    fn stage(&self, account: u32, feed: FeedId, generation: i64, n: u32, piece: Vec<u8>) -> Answer<'_, ()>;
    /// Shows a filling; whether it is: not where one that was begun later is shown already.
    fn publish(&self, account: u32, feed: FeedId, generation: i64, filled: Filled, fetched: bool) -> Answer<'_, bool>;
    /// Drops a filling that is not shown.
    fn discard(&self, account: u32, feed: FeedId, generation: i64) -> Answer<'_, ()>;
    /// Pieces of a filling from the `from`-th on, at most `limit`.
    fn pieces(&self, account: u32, feed: FeedId, generation: i64, from: u32, limit: u32) -> Answer<'_, Vec<Vec<u8>>>;
    /// Takes the fetch of a feed that is due or was read otherwise before, for `lease` milliseconds;
    /// none where somebody else has it. Gives what the server said last, if it was read the same way.
    fn claim(
        &self,
        account: u32,
        feed: FeedId,
        claim: Uuid,
        reading: String,
        lease: i64,
    ) -> Answer<'_, Option<Validators>>;
    /// Ends a claim.
    fn settle(&self, account: u32, feed: FeedId, claim: Uuid, note: FetchNote) -> Answer<'_, ()>;
    /// Gives a claim up; the fetch stays due.
    fn release(&self, account: u32, feed: FeedId, claim: Uuid) -> Answer<'_, ()>;
    /// Makes the fetch of a feed due.
    fn hurry(&self, account: u32, feed: FeedId) -> Answer<'_, ()>;
    /// Drops what is not shown any more, what was left behind, and what feeds held that are gone.
    fn sweep(&self) -> Answer<'_, ()>;
}
