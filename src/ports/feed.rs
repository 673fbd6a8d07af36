//! What changed, for caches to follow.

use super::Answer;
use crate::domain::ids::Uid;

/// Where a reader of the feed stands: the oldest transaction that may still become visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The server the position belongs to; a position means nothing on another.
    pub server: ServerIdentity,
    /// Transactions from this one on are read again.
    pub low: String,
}

/// Tells a database server from the one that replaced it after a failover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerIdentity {
    /// The cluster.
    pub system: i64,
    /// Its timeline, which a promotion changes.
    pub timeline: i32,
}

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A person.
    Person {
        /// Number of the account.
        account: u32,
        /// Who.
        uid: Uid,
        /// Their version after the change.
        version: i64,
    },
    /// A person was erased.
    Erased {
        /// Number of the account.
        account: u32,
        /// Who.
        uid: Uid,
    },
    /// Static lists of many people.
    Lists {
        /// Number of the account.
        account: u32,
        /// Tells this change from all others, so that a repeat is known as one. Says nothing of
        /// their order.
        change: i64,
        /// The first person whom it may have touched.
        from: Uid,
        /// The last one.
        upto: Uid,
    },
    /// The catalogue of an account.
    Catalog {
        /// Number of the account.
        account: u32,
        /// The catalogue version after the change.
        version: i64,
    },
    /// Accounts or API keys.
    Keys,
}

/// What one look at the feed saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedBatch {
    /// Whether a transaction that is still open keeps the cursor from moving on.
    pub held: bool,
    /// Where to read on.
    pub cursor: Cursor,
    /// Whether the server is another one than the given cursor's, or no longer remembers all that
    /// changed since, so that everything cached must go.
    pub failed_over: bool,
    /// What changed, repeats included; the order means nothing, versions do.
    pub changes: Vec<Change>,
}

/// What changed, wherever it was changed.
pub trait ChangeFeed: Send + Sync {
    /// Changes since `cursor`; without one, only a cursor to start from. Take a cursor before
    /// filling a cache that the feed is to keep current.
    fn poll(&self, cursor: Option<Cursor>) -> Answer<'_, FeedBatch>;
}
