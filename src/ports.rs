//! What the engine needs from the outside: traits, their rows and their one error.
//!
//! Rows carry plain documents and packed bytes; parsing them is the engine's and the core's work.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    catalog::key::{DocumentKey, Kind},
    ids::{AccountId, DecisionId, KeyId, NameHash, SegmentKey, Uid, UserKey},
    measurement::outcome::{Outcome, Recorded},
    values::Millis,
};

/// A call to the outside. Never drop one half way: spawn it and await the handle, because a
/// cancelled database call can poison its connection.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, refused the connection, is read-only or shutting down: try again.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It took too long: try again.
    #[error("the store timed out: {0}")]
    Timeout(String),
    /// What it holds cannot be read.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
    /// A fault of this program: a statement the database refused.
    #[error("the store refused a statement: {0}")]
    Refused(String),
}

/// Everything the engine needs from the outside.
#[derive(Clone)]
pub struct Ports {
    /// Documents, keys and secrets.
    pub catalog: Arc<dyn CatalogStore>,
    /// People.
    pub users: Arc<dyn UserStore>,
    /// Outcomes and decision records.
    pub outcomes: Arc<dyn OutcomeStore>,
    /// What changed, wherever it was changed.
    pub feed: Arc<dyn ChangeFeed>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

/// The time of day. Time-outs and limits use the monotonic clock instead.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Millis;
}

/// An account as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountRow {
    /// Its number in the store.
    pub number: u32,
    /// Its name.
    pub id: AccountId,
    /// Keys the hashing of this account's user keys.
    pub secret: [u8; 32],
    /// Counts the commits to its catalogue.
    pub catalog_version: i64,
}

/// A secret that signs tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyRow {
    /// Named in every token it signed.
    pub number: u8,
    /// The secret.
    pub secret: [u8; 32],
    /// Whether new tokens may be signed with it; old ones are verified in any case.
    pub active: bool,
}

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Ask for decisions.
    Decide,
    /// Send events and change profiles.
    Events,
    /// Change the catalogue.
    Author,
    /// Read reports, records and profiles.
    Report,
    /// Everything, keys included.
    Admin,
    /// Assert a person's consent as the first-party controller.
    Consent,
}

/// An API key as the store keeps it: never its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyRow {
    /// Its public part.
    pub id: KeyId,
    /// Number of the account it opens.
    pub account: u32,
    /// SHA-256 of the whole key as it travels. The key holds 256 random bits, so that a slow
    /// password hash would add nothing.
    pub hash: [u8; 32],
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Millis,
}

/// A document as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentRow {
    /// Its name.
    pub key: DocumentKey,
    /// The catalogue version that wrote it; the document's ETag.
    pub version: i64,
    /// When it was written.
    pub changed_at: Millis,
    /// The document.
    pub body: Value,
}

/// Documents of one account, all read at the same catalogue version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Documents {
    /// The catalogue version they were read at.
    pub version: i64,
    /// The documents.
    pub rows: Vec<DocumentRow>,
}

/// What changed in one account's serving documents between two catalogue versions.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentChanges {
    /// The catalogue version they lead to.
    pub version: i64,
    /// Written since, at their newest.
    pub written: Vec<DocumentRow>,
    /// Deleted since.
    pub deleted: Vec<DocumentKey>,
}

/// One document to write or delete.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentWrite {
    /// Its name.
    pub key: DocumentKey,
    /// The document; none deletes it.
    pub body: Option<Value>,
    /// The documents it names, which must exist and cannot be deleted while it stands.
    pub refs: Vec<DocumentKey>,
}

/// An uploaded image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetRow {
    /// Number of the account that uploaded it.
    pub account: u32,
    /// The hash of its content with an ending: what it is served under.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// The image.
    pub bytes: Vec<u8>,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Commit {
    /// It is durable under this catalogue version.
    Done {
        /// The new catalogue version.
        version: i64,
    },
    /// Somebody else changed the account's catalogue since `based_on`: read again and retry.
    Moved {
        /// Where it is now.
        version: i64,
    },
    /// A document to delete is named by others.
    InUse {
        /// What was to be deleted.
        key: DocumentKey,
        /// Some of those that name it, at most 10.
        by: Vec<DocumentKey>,
    },
    /// A reference leads nowhere.
    Missing {
        /// The document that names it.
        key: DocumentKey,
        /// What does not exist.
        missing: DocumentKey,
    },
}

/// Documents, keys and secrets.
pub trait CatalogStore: Send + Sync {
    /// Every account. The account `default` always exists.
    fn accounts(&self) -> Answer<'_, Vec<AccountRow>>;
    /// Creates an account with a fresh secret; one that exists is answered as it is.
    fn create_account(&self, id: AccountId) -> Answer<'_, AccountRow>;
    /// Secrets for tokens, of which at least one is active; the first call makes one.
    fn signing_keys(&self) -> Answer<'_, Vec<SigningKeyRow>>;
    /// Every API key that is not revoked.
    fn api_keys(&self) -> Answer<'_, Vec<ApiKeyRow>>;
    /// Adds an API key, or replaces the one of the same id.
    fn put_api_key(&self, key: ApiKeyRow) -> Answer<'_, ()>;
    /// Revokes an API key of an account; whether there was one.
    fn revoke_api_key(&self, account: u32, id: KeyId) -> Answer<'_, bool>;
    /// Everything that decisions of an account need: all documents but drafts of creatives,
    /// components and templates; of revisions only those that a publication names. At the
    /// newest catalogue version, or as it was at an earlier one.
    fn serving(&self, account: u32, at: Option<i64>) -> Answer<'_, Documents>;
    /// The difference of [`CatalogStore::serving`] between an earlier version and now.
    fn serving_changes(&self, account: u32, after: i64) -> Answer<'_, DocumentChanges>;
    /// Some documents, all at the same catalogue version; those that do not exist are left out.
    fn get(&self, account: u32, keys: Vec<DocumentKey>) -> Answer<'_, Documents>;
    /// Documents of a kind whose id starts with `prefix` and comes after `after`, in the order
    /// of their ids, at most `limit`.
    fn list(
        &self,
        account: u32,
        kind: Kind,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Answer<'_, Documents>;
    /// Writes documents in one transaction, all or none, if the account's catalogue still is at
    /// `based_on`. References are checked against the state after the writes. Announces the
    /// change on the feed. With `dry_run`, checks everything and changes nothing.
    fn commit(
        &self,
        account: u32,
        based_on: i64,
        by: String,
        writes: Vec<DocumentWrite>,
        dry_run: bool,
    ) -> Answer<'_, Commit>;
    /// Keeps an image; one that is there already is left as it is.
    fn put_asset(&self, asset: AssetRow) -> Answer<'_, ()>;
    /// An image by its name, whoever uploaded it: the name is its content.
    fn asset(&self, name: String) -> Answer<'_, Option<AssetRow>>;
}

/// A person as the store keeps them for decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// Counts the changes to this person; orders cache updates.
    pub version: i64,
    /// Packed traits (and event summary).
    pub packed: Vec<u8>,
    /// Packed impression rings for frequency caps.
    pub caps: Vec<u8>,
    /// Static lists, with the instant at which the membership expires.
    pub lists: Vec<(NameHash, Option<Millis>)>,
}

/// A person as people read them.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileRow {
    /// The account's own name of the person.
    pub key: UserKey,
    /// Counts the changes to this person.
    pub version: i64,
    /// Each trait with its value and when it was set: `{"age": {"value": 24, "set_at": "..."}}`.
    pub traits: Value,
    /// Static lists by name, with expiry.
    pub lists: BTreeMap<SegmentKey, Option<Millis>>,
    /// First seen.
    pub created_at: Millis,
    /// Last changed.
    pub updated_at: Millis,
}

/// A person's traits to write.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileWrite {
    /// Who.
    pub uid: Uid,
    /// The account's own name of them.
    pub key: UserKey,
    /// The version this is based on; zero where the person is unknown.
    pub based_on: i64,
    /// Packed traits (and event summary).
    pub packed: Vec<u8>,
    /// The same traits for people, as in [`ProfileRow::traits`].
    pub traits: Value,
}

/// What became of a [`ProfileWrite`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileWritten {
    /// It is durable under this version.
    Done {
        /// The person's new version.
        version: i64,
    },
    /// The person changed since: read again and retry.
    Moved,
    /// The person was erased and stays so.
    Erased,
}

/// One change to a static list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// Who.
    pub uid: Uid,
    /// The account's own name of them.
    pub key: UserKey,
    /// In (with the instant at which the membership expires, if it does) or out.
    pub change: Membership,
}

/// In or out of a static list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// In, until it expires.
    In {
        /// First instant at which it no longer holds.
        expires_at: Option<Millis>,
    },
    /// Out.
    Out,
}

/// People.
pub trait UserStore: Send + Sync {
    /// Many people in one round trip; those the store does not know are left out.
    fn load(&self, people: Vec<(u32, Uid)>) -> Answer<'_, Vec<((u32, Uid), UserRow)>>;
    /// One person as people read them.
    fn profile(&self, account: u32, uid: Uid) -> Answer<'_, Option<ProfileRow>>;
    /// Writes traits of people, each if their version still is what the write is based on.
    /// Answers in the same order. Announces each change on the feed.
    fn write_profiles(&self, account: u32, writes: Vec<ProfileWrite>) -> Answer<'_, Vec<ProfileWritten>>;
    /// Moves people in and out of a static list, at most 1,000 in one transaction; announces it
    /// on the feed. Answers how many memberships changed.
    fn change_members(&self, account: u32, list: SegmentKey, changes: Vec<MemberChange>) -> Answer<'_, u64>;
    /// Members of a static list in the order of their uid, after one, at most `limit`.
    fn members(
        &self,
        account: u32,
        list: SegmentKey,
        after: Option<Uid>,
        limit: u32,
    ) -> Answer<'_, Vec<(Uid, UserKey, Option<Millis>)>>;
    /// Erases a person: profile, lists, caps, the person in outcomes and decision records. Later
    /// writes about them are refused. Whether there was anything.
    fn erase(&self, account: u32, uid: Uid) -> Answer<'_, bool>;
}

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
    /// Inputs, answer and explanation.
    pub body: Value,
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
