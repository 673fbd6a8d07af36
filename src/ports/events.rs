//! What people did, as the store takes it.

use std::sync::Arc;

use serde_json::Value;

use super::Answer;
use crate::domain::{
    audience::activity::Event,
    ids::{EventId, EventName, Uid, UserKey},
    values::Millis,
};

/// An event to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    /// What makes it the same as another.
    pub id: EventId,
    /// Who did it.
    pub uid: Uid,
    /// The account's own name of them.
    pub key: UserKey,
    /// What they did, and when.
    pub event: Event,
    /// When it was received.
    pub received_at: Millis,
    /// Too old to be folded into the profile.
    pub late: bool,
}

/// Folds events, in any order, into a packed profile; bytes that it cannot read are left as they
/// are. It runs while the person is locked, so it must be quick and ask nobody.
pub type Fold = Arc<dyn Fn(&[u8], &[&Event]) -> Vec<u8> + Send + Sync>;

/// Events of one account to keep in one transaction.
#[derive(Clone)]
pub struct EventBatch {
    /// Number of the account.
    pub account: u32,
    /// The epoch whose streams `fold` folds.
    pub epoch: i64,
    /// The events.
    pub events: Vec<EventRow>,
    /// Folds those of one person.
    pub fold: Fold,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingested {
    /// Kept, and folded into the profile.
    Accepted,
    /// Kept, but too old to be folded.
    Late,
    /// Kept before; nothing changed.
    Duplicate,
    /// Not kept: the person was erased.
    Erased,
}

/// A person after their events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldedPerson {
    /// Who.
    pub uid: Uid,
    /// Their version before; zero where they were unknown.
    pub base: i64,
    /// Their version now; the same where nothing changed.
    pub version: i64,
    /// Their packed profile before.
    pub before: Vec<u8>,
    /// Their packed profile now.
    pub packed: Vec<u8>,
}

impl FoldedPerson {
    /// Whether their profile is another one now.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.version != self.base
    }
}

/// What became of an [`EventBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchWritten {
    /// It is durable.
    Done {
        /// What became of each event, in the same order.
        events: Vec<Ingested>,
        /// Everybody with an event that is not a repeat, the erased apart.
        people: Vec<FoldedPerson>,
        /// The transaction.
        xid: u64,
    },
    /// Nothing was written: the account is at another epoch.
    Behind,
}

/// A stream as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamRow {
    /// Follows from the definition.
    pub id: u64,
    /// What it remembers.
    pub definition: Value,
    /// The epoch that added it; zero in what is to be added.
    pub epoch: i64,
    /// Whether events before that epoch are folded into it too.
    pub live: bool,
}

/// One step of giving streams their history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackfillStep {
    /// There is more to read.
    More,
    /// Another replica is at it.
    Busy,
    /// All of it is folded.
    Live,
}

/// Events and the streams that remember them.
pub trait EventStore: Send + Sync {
    /// Keeps events in one transaction: repeats are told by their id (of the last 35 days), the
    /// rest is folded into the profiles of their people and announced on the feed. People not yet
    /// known are created, the erased stay away.
    fn ingest(&self, batch: EventBatch) -> Answer<'_, BatchWritten>;
    /// The account's epoch and all its streams.
    fn streams(&self, account: u32) -> Answer<'_, (i64, Vec<StreamRow>)>;
    /// Adds streams that are not there yet, under a new epoch. Every batch that is written
    /// afterwards must be folded with them. Of those that are there the definitions are written anew.
    fn add_streams(&self, account: u32, streams: Vec<StreamRow>) -> Answer<'_, ()>;
    /// Keeps types of events that came, while the account has fewer than `most`.
    fn keep_types(&self, account: u32, names: Vec<EventName>, most: usize) -> Answer<'_, ()>;
    /// Types of events that came.
    fn types(&self, account: u32) -> Answer<'_, Vec<String>>;
    /// Folds some events of before an epoch into the streams that it added. Progress is part of
    /// the same transaction, so that every event is folded once, whenever this is stopped.
    /// `names` are the events that the streams remember.
    fn backfill(&self, account: u32, epoch: i64, names: Vec<EventName>, fold: Fold) -> Answer<'_, BackfillStep>;
    /// Deletes the events of one erased person, under every key, at once, or of all who have waited
    /// for hours; answers how many events there were.
    fn erase_events(&self, only: Option<(u32, Vec<Uid>)>) -> Answer<'_, u64>;
    /// Makes the partitions of the coming days and drops what is past its retention.
    fn maintain(&self, now: Millis) -> Answer<'_, ()>;
}
