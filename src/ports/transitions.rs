//! Who entered and who left which segment.

use super::Answer;
use crate::domain::{
    ids::{SegmentKey, Uid, UserKey},
    values::Millis,
    webhook::{MoveKind, Telling},
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
    /// Whether they left because they were erased.
    pub erased: bool,
}

/// What was told of somebody whom time alone may move, and when it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingRow {
    /// Number of the account.
    pub account: u32,
    /// Who.
    pub uid: Uid,
    /// Counts the changes of the row.
    pub version: i64,
    /// The version of the person's profile that it began with: what changed up to it, it never saw.
    pub base: i64,
    /// The packed [`Standing`](crate::domain::audience::standing::Standing).
    pub packed: Vec<u8>,
    /// When to look at the person again.
    pub due: Millis,
    /// When the row was made, by the store's clock: what moved the person in a list before, it may take
    /// for told.
    pub made: Millis,
}

/// What a look at somebody comes to: told and kept together, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingStep {
    /// Number of the account.
    pub account: u32,
    /// Who.
    pub uid: Uid,
    /// The version of the row that was seen; none: there was no row.
    pub seen: Option<i64>,
    /// The version of the profile that a new row begins with.
    pub base: i64,
    /// The row from now on: packed, and when it is due; none: time alone moves them nowhere any more.
    pub kept: Option<(Vec<u8>, Millis)>,
    /// What is told.
    pub told: Vec<TransitionRow>,
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
    /// The segment.
    pub segment: SegmentKey,
    /// Who.
    pub uid: Uid,
    /// The account's own name of them; none: they left because they were erased.
    pub key: Option<UserKey>,
    /// In, or out.
    pub entered: bool,
    /// When.
    pub at: Millis,
}

impl TransitionCursor {
    /// The place as its followers send it back.
    #[must_use]
    pub fn id(self) -> String {
        format!("{}-{}", self.xid, self.seq)
    }
}

impl From<TransitionRead> for Telling {
    fn from(read: TransitionRead) -> Self {
        let erased = read.key.is_none();
        let event = if read.entered { MoveKind::Entered } else { MoveKind::Left };
        let (id, person) = (read.cursor.id(), read.uid);
        Self { id, segment: read.segment, person, user: read.key, event, at: read.at, erased }
    }
}

/// How often a segment was entered and left on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransitionDay {
    /// The segment.
    pub segment: SegmentKey,
    /// The day, counted from 1970-01-01, in UTC.
    pub day: i64,
    /// Entries.
    pub entered: u64,
    /// Exits.
    pub left: u64,
}

/// Keeps transitions for some weeks.
pub trait TransitionStore: Send + Sync {
    /// What was told of those of some people whom time alone may move.
    fn standings(&self, account: u32, uids: Vec<Uid>) -> Answer<'_, Vec<StandingRow>>;
    /// Those who were due at `now`, the longest first, at most `limit`.
    fn due(&self, now: Millis, limit: u32) -> Answer<'_, Vec<StandingRow>>;
    /// Takes steps, at most one of a person; answers whose row was another meanwhile: of them nothing
    /// is kept nor told.
    fn step(&self, steps: Vec<StandingStep>) -> Answer<'_, Vec<(u32, Uid)>>;
    /// Leaves people alone until then, of whom nothing can be told.
    fn postpone(&self, who: Vec<(u32, Uid)>, until: Millis) -> Answer<'_, ()>;
    /// Tells who left a list because their time on it was over by `now`, each once and as of then, at
    /// most `limit`; how many: fewer than that when nobody is left to be told of, or others tell.
    fn expire(&self, now: Millis, limit: u32) -> Answer<'_, u64>;
    /// Those of a segment after a place, in an order in which none is ever missed, at most `limit`;
    /// of erased people only that they left by it.
    fn read(
        &self,
        account: u32,
        segment: SegmentKey,
        after: TransitionCursor,
        limit: u32,
    ) -> Answer<'_, Vec<TransitionRead>>;
    /// How often segments were entered and left on each day of some, in order; days on which nothing
    /// happened are left out.
    fn daily(&self, account: u32, segments: Vec<SegmentKey>, from: i64, to: i64) -> Answer<'_, Vec<TransitionDay>>;
    /// For how many days they are kept.
    fn kept_days(&self) -> u32;
    /// Where the next one will stand, or later.
    fn end(&self) -> Answer<'_, TransitionCursor>;
    /// Makes the partitions of the coming days and drops what is past its retention.
    fn maintain(&self, now: Millis) -> Answer<'_, ()>;
}
