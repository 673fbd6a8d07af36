//! People as the store keeps them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Answer;
use crate::domain::{
    ids::{NameHash, SegmentKey, Uid, UserKey},
    values::Millis,
};

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
