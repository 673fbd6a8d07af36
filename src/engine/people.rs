//! Reading and changing what is known of people, on behalf of the account that knows them.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::Value;

use crate::{
    domain::{
        audience::{
            activity::Told,
            compile::SegmentKind,
            profile::TraitPatch,
            transition::resting_on,
            user::{CodecError, UserState},
        },
        ids::{SegmentKey, Uid, UserKey},
        values::Millis,
        violation::Violation,
    },
    engine::{
        catalogue::Catalogue,
        consistency::Consistency,
        draft::Draft,
        memberships::memberships,
        rendered::Rendered,
        transitions::{Note, Transitions},
        unpack::unpack,
        users::Users,
        world::Account,
    },
    ports::{Clock, FoundProfile, MemberChange, Membership, ProfileWritten, StoreError, UserStore},
};

pub use super::memberships::{MembershipView, OtherView, Source};

/// Why people could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// Nobody is known under the key.
    #[error("nobody is known under this key")]
    NotFound,
    /// The person was erased and stays so.
    #[error("the person was erased")]
    Erased,
    /// The key is another key of somebody else already.
    #[error("key was merged into {0} before")]
    MergedElsewhere(UserKey),
    /// The segment does not exist.
    #[error("there is no segment {0}")]
    NoSegment(SegmentKey),
    /// The segment has a rule, so nobody can be put into it by name.
    #[error("segment {0} has a rule; only static segments have members by name")]
    NotStatic(SegmentKey),
    /// The document is invalid.
    #[error("the document is invalid")]
    Invalid(Vec<Violation>),
    /// Others kept changing the same person.
    #[error("the person changes too fast")]
    Contended,
    /// As many uploads as may run at a time are running.
    #[error("others upload already")]
    Busy,
    /// What the store holds of the person cannot be read.
    #[error("the person's profile cannot be read: {0}")]
    Corrupt(#[from] CodecError),
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A person as their account reads them.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ProfileView {
    /// The account's own name of the person.
    #[schema(value_type = String)]
    pub user: UserKey,
    /// Counts the changes to the person.
    pub version: i64,
    /// Each trait with its value and when it was set.
    #[schema(value_type = BTreeMap<String, TraitView>)]
    pub traits: Value,
    /// Static segments the person was put into.
    #[schema(value_type = BTreeMap<String, ListView>)]
    pub lists: BTreeMap<SegmentKey, ListView>,
    /// What is remembered of the person's events: what rules ask about, no more.
    pub events: Vec<Told>,
    /// Every segment the person is in now.
    pub segments: Vec<MembershipView>,
    /// First seen.
    pub created_at: Millis,
    /// Last changed.
    pub updated_at: Millis,
}

/// A trait of a person, as it is kept.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct TraitView {
    /// Its value.
    pub value: Value,
    /// When it was set.
    pub set_at: Millis,
}

/// A static segment that a person was put into.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ListView {
    /// First instant at which the membership no longer holds; none: it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Millis>,
}

/// A change to a person that is durable, or of a dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Changed {
    /// The person's new version; in a dry run, the one that it would get.
    pub version: i64,
    /// Send it with a decision to have the change reflected there; not of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency_token: Option<String>,
}

/// Reads and changes people.
#[derive(Clone)]
pub struct People {
    pub(super) store: Arc<dyn UserStore>,
    pub(super) users: Users,
    catalogue: Arc<Catalogue>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) transitions: Transitions,
    pub(super) rendered: Rendered,
}

/// What is found under a key.
#[derive(Debug, Clone)]
pub enum Found {
    /// The person.
    Person(Box<ProfileView>),
    /// The key was merged into this one.
    Merged(UserKey),
}

impl People {
    /// How often a change is tried again because somebody else was faster.
    pub(super) const TRIES: usize = 10;
    /// People changed in one transaction.
    pub const BATCH: usize = 1_000;

    /// People behind a store; caches behind `users` and followers of `transitions` learn of changes, and
    /// `rendered` of who is erased.
    #[must_use]
    pub fn new(
        store: Arc<dyn UserStore>,
        users: Users,
        catalogue: Arc<Catalogue>,
        clock: Arc<dyn Clock>,
        transitions: Transitions,
        rendered: Rendered,
    ) -> Self {
        Self { store, users, catalogue, clock, transitions, rendered }
    }

    /// A person with their memberships.
    ///
    /// # Errors
    /// Nobody is known under the key, or somebody who was erased; the store's.
    pub async fn get(&self, account: &Account, key: &UserKey) -> Result<Found, PeopleError> {
        let row = match self.store.profile(account.number(), account.uid(key)).await? {
            FoundProfile::Nobody => return Err(PeopleError::NotFound),
            FoundProfile::Erased => return Err(PeopleError::Erased),
            FoundProfile::Merged(_, into) => return Ok(Found::Merged(into)),
            FoundProfile::Known(row) => *row,
        };
        let user = row.key.ok_or(PeopleError::NotFound)?;
        let (uid, state) = self.state(account, key).await?;
        let segments = memberships(account, uid, &state, self.clock.now()).0;
        Ok(Found::Person(Box::new(ProfileView {
            user,
            version: row.version,
            traits: row.traits,
            lists: row.lists.into_iter().map(|(key, expires_at)| (key, ListView { expires_at })).collect(),
            events: state.activity.told(&account.snapshot.streams),
            segments,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })))
    }

    /// Every segment a person is in at a time, and every other. Nobody known is in those that say so. For a
    /// time that is past, who was put into a list later was not in it then, if it is known when that was; traits,
    /// and lists that the person was taken off since, are those of now.
    ///
    /// # Errors
    /// The person was erased; the store's.
    pub async fn segments(
        &self,
        account: &Account,
        key: &UserKey,
        at: Option<Millis>,
    ) -> Result<(Vec<MembershipView>, Vec<OtherView>), PeopleError> {
        let (uid, mut state) = self.state(account, key).await?;
        let now = self.clock.now();
        let at = at.unwrap_or(now);
        if at < now {
            state.lists = state.lists.as_of(at);
        }
        Ok(memberships(account, uid, &state, at))
    }

    /// Sets and removes traits by a merge patch (RFC 7396); `dry_run` only checks whether it could.
    ///
    /// # Errors
    /// See [`PeopleError`].
    pub async fn patch(
        &self,
        account: &Account,
        key: &UserKey,
        patch: &Value,
        dry_run: bool,
    ) -> Result<Changed, PeopleError> {
        let parsed = TraitPatch::parse(patch).map_err(PeopleError::Invalid)?;
        let (mut uid, mut key) = (account.uid(key), key.clone());
        for _ in 0..Self::TRIES {
            let row = match self.store.profile(account.number(), uid).await? {
                FoundProfile::Nobody => None,
                FoundProfile::Erased => return Err(PeopleError::Erased),
                FoundProfile::Merged(person, into) => {
                    (uid, key) = (person, into);
                    continue;
                }
                FoundProfile::Known(row) => Some(*row),
            };
            let loaded = self.store.load(vec![(account.number(), uid)]).await?;
            let state = loaded.into_iter().next().map(|(_, row)| unpack(row)).transpose()?;
            let based_on = row.as_ref().map_or(0, |row| row.version);
            if state.as_ref().map_or(0, |state| state.version) != based_on.unsigned_abs() {
                continue;
            }
            let before = state.as_ref().map(UserState::encode).unwrap_or_default();
            let mut draft =
                Draft { state: state.unwrap_or_default(), traits: row.map(|row| row.traits).unwrap_or_default() };
            draft.apply(&parsed, self.clock.now()).map_err(|fault| PeopleError::Invalid(vec![fault]))?;
            if dry_run {
                return Ok(Changed { version: based_on + 1, consistency_token: None });
            }
            let write = draft.into_write(uid, key.clone(), based_on);
            let after = write.packed.clone();
            match self.store.write_profiles(account.number(), vec![write]).await?.first() {
                Some(ProfileWritten::Done { version }) => {
                    let note =
                        Note::written(account.number(), uid, self.clock.now(), (based_on, *version), (before, after));
                    self.transitions.note(note).await;
                    let consistency_token = Some(self.changed(account, uid, *version));
                    return Ok(Changed { version: *version, consistency_token });
                }
                Some(ProfileWritten::Erased) => return Err(PeopleError::Erased),
                Some(ProfileWritten::Moved) | None => {}
            }
        }
        Err(PeopleError::Contended)
    }

    /// Moves people in and out of a static segment; answers how many memberships changed.
    ///
    /// # Errors
    /// See [`PeopleError`].
    pub async fn change_members(
        &self,
        account: &Account,
        segment: &SegmentKey,
        changes: Vec<(UserKey, Membership)>,
    ) -> Result<u64, PeopleError> {
        must_be_static(account, segment)?;
        let others: Arc<[SegmentKey]> = resting_on(segment, account.snapshot.segments()).into();
        let mut changed = 0;
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let batch = changes.by_ref().take(Self::BATCH);
            let batch: Vec<_> =
                batch.map(|(key, change)| MemberChange { uid: account.uid(&key), key, change }).collect();
            let asked: Vec<_> = batch.iter().map(|change| change.uid).collect();
            let moved = self.store.change_members(account.number(), segment.clone(), batch).await?;
            changed += moved.changed;
            for uid in asked.into_iter().chain(moved.crossed.iter().map(|one| one.uid)) {
                self.users.forget(account.number(), uid);
            }
            self.transitions.listed(account.number(), segment, &others, moved.crossed).await;
        }
        Ok(changed)
    }

    /// Members of a static segment after one, at most `limit`, in an order that does not change.
    ///
    /// # Errors
    /// See [`PeopleError`].
    pub async fn members(
        &self,
        account: &Account,
        segment: &SegmentKey,
        after: Option<Uid>,
        limit: u32,
    ) -> Result<Vec<(Uid, UserKey, Option<Millis>)>, PeopleError> {
        must_be_static(account, segment)?;
        Ok(self.store.members(account.number(), segment.clone(), after, limit).await?)
    }

    /// The catalogue that memberships are read with.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Whoever a key stands for.
    pub(super) async fn state(&self, account: &Account, key: &UserKey) -> Result<(Uid, UserState), PeopleError> {
        let asked = account.uid(key);
        let loaded = self.store.load(vec![(account.number(), asked)]).await?;
        let Some((_, row)) = loaded.into_iter().next() else {
            return Err(match self.store.profile(account.number(), asked).await? {
                FoundProfile::Erased => PeopleError::Erased,
                _ => PeopleError::NotFound,
            });
        };
        Ok((row.merged_into.unwrap_or(asked), unpack(row)?))
    }

    /// Has decisions follow a change; answers the token that waits for it.
    pub(super) fn changed(&self, account: &Account, uid: Uid, version: i64) -> String {
        self.users.on_remote_change(account.number(), uid, version);
        Consistency::Version(version.unsigned_abs()).to_string()
    }
}

pub(super) fn must_be_static(account: &Account, segment: &SegmentKey) -> Result<(), PeopleError> {
    let rules = &account.snapshot.rules;
    match rules.ix(segment).map(|ix| rules.kind(ix)) {
        Some(SegmentKind::Static) => Ok(()),
        Some(SegmentKind::Dynamic) => Err(PeopleError::NotStatic(segment.clone())),
        None => Err(PeopleError::NoSegment(segment.clone())),
    }
}
