//! Who entered and who left which segment.

use super::Answer;
use crate::domain::{
    ids::{SegmentKey, Uid, UserKey},
    values::Millis,
};

/// Somebody who entered or left a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransitionRow {
    /// Number of the account.
    pub account: u32,
    /// The segment.
    pub segment: SegmentKey,
    /// Who.
    pub uid: Uid,
    /// In, or out.
    pub entered: bool,
    /// When.
    pub at: Millis,
}

/// A place among the transitions of a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransitionCursor {
    /// The transaction that recorded it.
    pub xid: u64,
    /// Its number.
    pub seq: i64,
}

/// A transition as its followers read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransitionRead {
    /// Where it stands.
    pub cursor: TransitionCursor,
    /// The account's own name of who it was.
    pub key: UserKey,
    /// In, or out.
    pub entered: bool,
    /// When.
    pub at: Millis,
}

/// Keeps transitions for some weeks.
pub trait TransitionStore: Send + Sync {
    /// Keeps transitions.
    fn record(&self, rows: Vec<TransitionRow>) -> Answer<'_, ()>;
    /// Those of a segment after a place, in an order in which none is ever missed, at most `limit`;
    /// those of erased people are left out.
    fn read(
        &self,
        account: u32,
        segment: SegmentKey,
        after: TransitionCursor,
        limit: u32,
    ) -> Answer<'_, Vec<TransitionRead>>;
    /// Where the next one will stand, or later.
    fn end(&self) -> Answer<'_, TransitionCursor>;
    /// Makes the partitions of the coming days and drops what is past its retention.
    fn maintain(&self, now: Millis) -> Answer<'_, ()>;
}
