//! People as the store keeps them.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{Answer, Moved};
use crate::domain::{
    audience::user::Listed,
    ids::{SegmentKey, Uid, UserKey},
    values::Millis,
};

/// A person as the store keeps them for decisions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserRow {
    /// Counts the changes to this person; orders cache updates.
    pub version: i64,
    /// Packed traits (and event summary).
    pub packed: Vec<u8>,
    /// Packed impression rings for frequency caps.
    pub caps: Vec<u8>,
    /// Static lists.
    pub lists: Vec<Listed>,
    /// Who the person is, where the uid asked for was merged into another.
    pub merged_into: Option<Uid>,
}

/// A person as people read them.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileRow {
    /// The account's own name of the person; none: they are known from impressions alone.
    pub key: Option<UserKey>,
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

/// What the store has under a uid.
#[derive(Debug, Clone, PartialEq)]
pub enum FoundProfile {
    /// Nothing.
    Nobody,
    /// A person who was erased.
    Erased,
    /// Another key of a person.
    Merged(Uid, UserKey),
    /// A person.
    Known(Box<ProfileRow>),
}

/// A person to be changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// Who; where they were merged, whoever their key leads to.
    pub uid: Uid,
    /// The account's own name of the person.
    pub key: Option<UserKey>,
    /// Whether they were erased.
    pub erased: bool,
    /// What is kept of them.
    pub parts: Parts,
}

/// What is kept of a person, for decisions and for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// As decisions read them.
    pub row: UserRow,
    /// Traits as people read them.
    pub traits: Value,
}

/// Joins the second into the first; none when one of them cannot be read. It runs while both are
/// locked, so it must be quick and ask nobody.
pub type Join = Arc<dyn Fn(&Parts, &Parts, Uid) -> Option<Parts> + Send + Sync>;

/// Two keys of one person.
#[derive(Clone)]
pub struct Merge {
    /// The key that becomes another key of the person, such as that of a browser.
    pub from: (Uid, UserKey),
    /// The person's.
    pub into: (Uid, UserKey),
    /// Joins what is kept of both.
    pub join: Join,
    /// Whether anything but impressions is known of the key already keeps it from being theirs.
    pub unclaimed: bool,
}

/// What became of a [`Merge`].
#[derive(Debug, Clone, PartialEq)]
pub enum Merged {
    /// They are one from now on.
    Done(Box<Joined>),
    /// They were one before; nothing changed.
    Already {
        /// The key that the person is kept under.
        into: UserKey,
        /// The person's version.
        version: i64,
    },
    /// The key was merged into somebody else's before.
    Elsewhere(UserKey),
    /// One of them was erased and stays so.
    Erased,
}

/// Two who are one now.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// The person.
    pub uid: Uid,
    /// The key that the person is kept under.
    pub key: UserKey,
    /// The version of the key that leads to them.
    pub from_version: i64,
    /// The person as they were; none: nothing was known.
    pub before: Option<UserRow>,
    /// Whoever was known under the other key.
    pub other: Option<UserRow>,
    /// What was told of whoever was known under the other key, where that was kept.
    pub told: Option<Vec<u8>>,
    /// The person as they are.
    pub after: UserRow,
}

/// What was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Whether there was anything.
    pub known: bool,
    /// Every uid of the person.
    pub uids: Vec<Uid>,
    /// What was told of them, if that was kept: a packed [`Standing`](crate::domain::audience::standing::Standing).
    pub told: Option<Vec<u8>>,
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
    /// Many people in one round trip, and one more for keys that were merged; those the store does
    /// not know are left out.
    fn load(&self, people: Vec<(u32, Uid)>) -> Answer<'_, Vec<((u32, Uid), UserRow)>>;
    /// One person as people read them.
    fn profile(&self, account: u32, uid: Uid) -> Answer<'_, FoundProfile>;
    /// Many people to be changed, by the uid they were asked for; those unknown are left out.
    fn people(&self, account: u32, uids: Vec<Uid>) -> Answer<'_, Vec<(Uid, Person)>>;
    /// People with a name in the order of their uid, after one, at most `limit`.
    fn page(&self, account: u32, after: Option<Uid>, limit: u32) -> Answer<'_, Vec<(Uid, ProfileRow)>>;
    /// Writes traits of people, each if their version still is what the write is based on.
    /// Answers in the same order. Announces each change on the feed.
    fn write_profiles(&self, account: u32, writes: Vec<ProfileWrite>) -> Answer<'_, Vec<ProfileWritten>>;
    /// Moves people in and out of a static list, at most 1,000 in one transaction; announces it
    /// on the feed and records who entered and left.
    fn change_members(&self, account: u32, list: SegmentKey, changes: Vec<MemberChange>) -> Answer<'_, Moved>;
    /// Members of a static list in the order of their uid, after one, at most `limit`.
    fn members(
        &self,
        account: u32,
        list: SegmentKey,
        after: Option<Uid>,
        limit: u32,
    ) -> Answer<'_, Vec<(Uid, UserKey, Option<Millis>)>>;
    /// Makes two keys one person, in one transaction. Everything that was or will be written under
    /// the one key is the other's from then on. Announces it on the feed.
    fn merge(&self, account: u32, merge: Merge) -> Answer<'_, Merged>;
    /// Erases a person under every key: profile, lists, caps, the person in outcomes and decision
    /// records. Later writes about them are refused.
    fn erase(&self, account: u32, uid: Uid) -> Answer<'_, Erasure>;
    /// Deletes what may be much and is left for later: answers kept for repeats that name erased people, and
    /// the members of deleted lists.
    fn clear_leftovers(&self) -> Answer<'_, ()>;
}
