//! Accounts, keys and documents as the store keeps them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Answer;
use crate::domain::{
    access::Scope,
    catalog::key::{DocumentKey, Kind},
    ids::{AccountId, CreativeId, KeyId},
    values::Millis,
};

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
    /// When it was made, or its secret last replaced.
    pub created_at: Millis,
    /// Grows with every change, and never returns; the store's to choose.
    #[serde(default)]
    pub version: i64,
    /// The secret before this one, as long as it opens as well.
    #[serde(default)]
    pub old: Option<OldSecret>,
}

/// A secret of an API key that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldSecret {
    /// SHA-256 of the whole key as it travels.
    pub hash: [u8; 32],
    /// First instant at which it opens nothing any more.
    pub until: Millis,
}

/// What to change about an API key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyChange {
    /// What it may do from now on.
    pub scopes: Option<Vec<Scope>>,
    /// The hash of another secret, when it was made, and until when the one before opens as well.
    pub secret: Option<([u8; 32], Millis, Millis)>,
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
    /// Width and height in pixels; none of images that were kept before these were.
    pub sides: Option<(u32, u32)>,
    /// The image.
    pub bytes: Vec<u8>,
}

/// What is known of an uploaded image without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetFacts {
    /// What it is served under.
    pub name: String,
    /// Width and height in pixels; none of images that were kept before these were.
    pub sides: Option<(u32, u32)>,
    /// The size of the file, in bytes.
    pub bytes: u32,
}

/// What became of an image that was to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetGone {
    /// It is deleted.
    Done(AssetFacts),
    /// The account has no such image.
    Missing,
    /// Some of the documents that name it, at most 10.
    InUse(Vec<DocumentKey>),
}

/// What became of a request with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeat {
    /// It is the first.
    First,
    /// The first one is still under way.
    UnderWay,
    /// The first one was answered.
    Answered(KeptAnswer),
    /// The first one with this key was another request.
    Other,
}

/// An answer, kept for when its request is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// The headers that belong to it.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// A document as it was from one catalogue version on.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionRow {
    /// The catalogue version that wrote it.
    pub version: i64,
    /// The catalogue version that replaced or deleted it; none: it is in force.
    pub until: Option<i64>,
    /// When it was written.
    pub changed_at: Millis,
    /// Who wrote it.
    pub changed_by: String,
    /// The document.
    pub body: Value,
}

/// The numbers that revisions of a creative have had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionNumbers {
    /// The creative.
    pub creative: String,
    /// The highest, of deleted ones too.
    pub newest: u32,
    /// The lowest of those that are there.
    pub first: Option<u32>,
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
    /// An image that a template, a component or a revision names was deleted; not asked in a dry run,
    /// whose images are not kept yet.
    NoAsset {
        /// Its name.
        name: String,
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
    /// Adds an API key; whether there was none of the same id.
    fn add_api_key(&self, key: ApiKeyRow) -> Answer<'_, bool>;
    /// Changes an API key, at a version or at whatever version there is; whether there was such.
    fn change_api_key(&self, account: u32, id: KeyId, at: Option<i64>, change: KeyChange) -> Answer<'_, bool>;
    /// Revokes an API key, at a version or at whatever version there is; whether there was such.
    fn revoke_api_key(&self, account: u32, id: KeyId, at: Option<i64>) -> Answer<'_, bool>;
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
    /// What a document was, the newest first, before a catalogue version, at most `limit`.
    fn history(&self, account: u32, key: DocumentKey, before: Option<i64>, limit: u32) -> Answer<'_, Vec<VersionRow>>;
    /// The numbers that revisions of one creative, or of each, have had.
    fn revision_numbers(&self, account: u32, creative: Option<CreativeId>) -> Answer<'_, Vec<RevisionNumbers>>;
    /// A revision of a creative among whose combinations one has this name, deleted ones too; the first of several,
    /// and before all others one that is in force.
    fn revision_with(&self, account: u32, creative: CreativeId, crid: String) -> Answer<'_, Option<DocumentRow>>;
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
    /// Notes that a request with an idempotency key begins, or finds what became of it before.
    fn begin_once(&self, account: u32, key: String, request: [u8; 32]) -> Answer<'_, Repeat>;
    /// Keeps the answer of a request for a day; with none, forgets that it was sent.
    fn end_once(&self, account: u32, key: String, answer: Option<KeptAnswer>) -> Answer<'_, ()>;
    /// Keeps an image; one that is there already is left as it is.
    fn put_asset(&self, asset: AssetRow) -> Answer<'_, ()>;
    /// An image by its name, whoever uploaded it: the name is its content.
    fn asset(&self, name: String) -> Answer<'_, Option<AssetRow>>;
    /// What is known of some images of an account; those that it does not have are left out.
    fn asset_facts(&self, account: u32, names: Vec<String>) -> Answer<'_, Vec<AssetFacts>>;
    /// Images of an account in the order of their names, after one, at most `limit`.
    fn list_assets(&self, account: u32, after: Option<String>, limit: u32) -> Answer<'_, Vec<AssetFacts>>;
    /// Deletes an image of an account unless a template, a component or a revision names it. With
    /// `dry_run`, checks everything and changes nothing.
    fn delete_asset(&self, account: u32, name: String, dry_run: bool) -> Answer<'_, AssetGone>;
    /// How many components a creative has for each slot.
    fn filled_slots(&self, account: u32, creative: CreativeId) -> Answer<'_, Vec<(String, u64)>>;
}
