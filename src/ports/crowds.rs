//! Many people at once: lists replaced in bulk, everyone read in turn.

use super::{Answer, UserRow};
use crate::domain::{
    ids::{SegmentKey, Uid, UserKey},
    values::Millis,
};

/// How an upload changes a static list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UploadMode {
    /// Those uploaded enter, all others stay as they are.
    #[default]
    Add,
    /// Those uploaded leave, all others stay as they are.
    Remove,
    /// Those uploaded are the list from now on.
    Replace,
}

/// A person of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    /// Who.
    pub uid: Uid,
    /// The account's own name of them.
    pub key: UserKey,
    /// First instant at which the membership no longer holds.
    pub expires_at: Option<Millis>,
}

/// What one transaction of an upload changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadStep {
    /// What became another.
    pub moved: Moved,
    /// The first person who may have been touched.
    pub from: Uid,
    /// The last one.
    pub upto: Uid,
}

/// Memberships of a list that became others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many there are.
    pub changed: u64,
    /// Of whom that may move other segments; their transitions of the list itself are recorded already.
    pub crossed: Vec<Crossing>,
}

/// Somebody who entered or left a list, or is on it until another instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crossing {
    /// Who.
    pub uid: Uid,
    /// Whether they were on the list, and until when.
    pub was: Option<Option<Millis>>,
    /// When, by the store's clock.
    pub at: Millis,
}

/// An upload under way, with a connection of its own; dropping it leaves the list as the steps
/// taken so far made it.
pub trait ListUpload: Send {
    /// Keeps rows aside. Of several about the same person the last one counts.
    fn stage(&mut self, rows: Vec<UploadRow>) -> Answer<'_, ()>;
    /// Ends staging. Answers how many memberships the upload would change as things stand.
    fn survey(&mut self) -> Answer<'_, u64>;
    /// Ends staging and changes the next stretch of people, in the order of their uid, in one
    /// transaction that also announces it on the feed and records who entered and left; `None` when all are done. Each person
    /// changes at once, so nobody is seen to have left a list that they are still on.
    fn step(&mut self) -> Answer<'_, Option<UploadStep>>;
}

/// A person as they are read in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrowdRow {
    /// Who.
    pub uid: Uid,
    /// The account's own name of them; none: known from impressions alone.
    pub key: Option<UserKey>,
    /// What is kept of them.
    pub row: UserRow,
}

/// Many people at once.
pub trait CrowdStore: Send + Sync {
    /// Begins an upload to a static list.
    fn upload(&self, account: u32, list: SegmentKey, mode: UploadMode) -> Answer<'_, Box<dyn ListUpload>>;
    /// People in the order of their uid, after one, at most `limit`; the erased are left out.
    fn scan(&self, account: u32, after: Option<Uid>, limit: u32) -> Answer<'_, Vec<CrowdRow>>;
    /// Some people; those the store does not know and the erased are left out.
    fn people(&self, account: u32, uids: Vec<Uid>) -> Answer<'_, Vec<CrowdRow>>;
    /// Names of traits that people up to one have, in order, at most 10,000.
    fn trait_names(&self, account: u32, upto: Uid) -> Answer<'_, Vec<String>>;
}
