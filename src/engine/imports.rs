//! People brought from elsewhere, and all of them told: as files, many at a time.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{
    draft::Draft,
    people::{People, PeopleError},
    transitions::Note,
    unpack::unpack,
    world::Account,
};
use crate::{
    domain::{
        audience::profile::TraitPatch,
        ids::{SegmentKey, Uid, UserKey},
        values::Millis,
        violation::Violation,
    },
    ports::{Membership, Person, ProfileRow, ProfileWritten},
};

/// What a row tells of a person.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportRow {
    /// The line it begins on.
    pub line: u64,
    /// Who.
    pub user: UserKey,
    /// Traits to set and to remove.
    pub traits: TraitPatch,
    /// Static segments to enter and to leave.
    pub lists: Vec<(SegmentKey, Membership)>,
}

/// A row that was refused: its line, and why.
pub type Refused = (u64, Violation);

/// A person with what rows make of them.
struct Change<'a> {
    key: UserKey,
    based_on: i64,
    before: Vec<u8>,
    draft: Draft,
    rows: Vec<&'a ImportRow>,
}

impl<'a> Change<'a> {
    /// Somebody to be changed; none where what is kept of them cannot be read.
    fn of(row: &ImportRow, person: Option<&Person>) -> Option<Self> {
        let Some(Person { key, parts, .. }) = person else {
            let draft = Draft { state: Default::default(), traits: Value::Null };
            return Some(Self { key: row.user.clone(), based_on: 0, before: Vec::new(), draft, rows: Vec::new() });
        };
        let draft = Draft { state: unpack(parts.row.clone()).ok()?, traits: parts.traits.clone() };
        let key = key.clone().unwrap_or_else(|| row.user.clone());
        Some(Self { key, based_on: parts.row.version, before: parts.row.packed.clone(), draft, rows: Vec::new() })
    }
}

impl People {
    /// Takes rows, at most [`People::BATCH`]; of several about the same person each adds to those
    /// before. A row with a fault is left out and told, all others are durable. `dry_run` only tells.
    ///
    /// # Errors
    /// Others kept changing the same people; the store's. Some rows may have been taken: repeating
    /// them is safe.
    pub async fn import(
        &self,
        account: &Account,
        rows: &[ImportRow],
        dry_run: bool,
    ) -> Result<Vec<Refused>, PeopleError> {
        let (mut refused, mut taken) = (Vec::new(), Vec::with_capacity(rows.len()));
        let mut waiting: Vec<&ImportRow> = rows.iter().collect();
        for _ in 0..Self::TRIES {
            let changes = self.draft(account, &waiting, &mut refused).await?;
            if dry_run {
                return Ok(refused);
            }
            waiting = self.write(account, changes, &mut taken, &mut refused).await?;
            if waiting.is_empty() {
                self.enter(account, &taken).await?;
                return Ok(refused);
            }
        }
        Err(PeopleError::Contended)
    }

    /// What rows make of people.
    async fn draft<'a>(
        &self,
        account: &Account,
        rows: &[&'a ImportRow],
        refused: &mut Vec<Refused>,
    ) -> Result<BTreeMap<Uid, Change<'a>>, PeopleError> {
        let mut uids: Vec<Uid> = rows.iter().map(|row| account.uid(&row.user)).collect();
        uids.sort_unstable();
        uids.dedup();
        let known: HashMap<Uid, Person> = self.store.people(account.number(), uids).await?.into_iter().collect();
        let now = self.clock.now();
        let mut changes: BTreeMap<Uid, Change<'a>> = BTreeMap::new();
        for &row in rows {
            let asked = account.uid(&row.user);
            let person = known.get(&asked);
            let uid = person.map_or(asked, |person| person.uid);
            if person.is_some_and(|person| person.erased) {
                refused.push((row.line, erased()));
                continue;
            }
            let change = match changes.remove(&uid) {
                Some(change) => Some(change),
                None => Change::of(row, person),
            };
            let Some(mut change) = change else {
                let detail = "what is kept of this person cannot be read";
                refused.push((row.line, Violation::new("/user", "unreadable", detail)));
                continue;
            };
            match change.draft.apply(&row.traits, now) {
                Ok(()) => change.rows.push(row),
                Err(fault) => refused.push((row.line, fault.under("/traits"))),
            }
            changes.insert(uid, change);
        }
        changes.retain(|_, change| !change.rows.is_empty());
        Ok(changes)
    }

    /// Writes people; those who changed meanwhile have to wait for another try.
    async fn write<'a>(
        &self,
        account: &Account,
        changes: BTreeMap<Uid, Change<'a>>,
        taken: &mut Vec<&'a ImportRow>,
        refused: &mut Vec<Refused>,
    ) -> Result<Vec<&'a ImportRow>, PeopleError> {
        let (mut writes, mut written) = (Vec::new(), Vec::new());
        for (uid, change) in changes {
            let Change { key, based_on, before, draft, rows } = change;
            // Nothing is said of somebody who is known.
            if based_on > 0 && rows.iter().all(|row| row.traits.iter().next().is_none()) {
                taken.extend(rows);
                continue;
            }
            let write = draft.into_write(uid, key, based_on);
            written.push((uid, based_on, before, write.packed.clone(), rows));
            writes.push(write);
        }
        let became = self.store.write_profiles(account.number(), writes).await?;
        let mut again = Vec::new();
        for ((uid, based_on, before, after, rows), became) in written.into_iter().zip(became) {
            match became {
                ProfileWritten::Done { version } => {
                    self.changed(account, uid, version);
                    let note =
                        Note::written(account.number(), uid, self.clock.now(), (based_on, version), (before, after));
                    self.transitions.note(note).await;
                    taken.extend(rows);
                }
                ProfileWritten::Erased => refused.extend(rows.into_iter().map(|row| (row.line, erased()))),
                ProfileWritten::Moved => again.extend(rows),
            }
        }
        again.sort_by_key(|row| row.line);
        Ok(again)
    }

    async fn enter(&self, account: &Account, taken: &[&ImportRow]) -> Result<(), PeopleError> {
        let mut taken = taken.to_vec();
        taken.sort_by_key(|row| row.line);
        let mut lists: BTreeMap<&SegmentKey, Vec<(UserKey, Membership)>> = BTreeMap::new();
        for row in taken {
            for (list, membership) in &row.lists {
                lists.entry(list).or_default().push((row.user.clone(), *membership));
            }
        }
        for (list, changes) in lists {
            self.change_members(account, list, changes).await?;
        }
        Ok(())
    }

    /// People with a name in an order that does not change, after one, at most [`People::BATCH`].
    /// Memberships that are over are left out.
    ///
    /// # Errors
    /// The store's.
    pub async fn export(&self, account: &Account, after: Option<Uid>) -> Result<Vec<(Uid, ProfileRow)>, PeopleError> {
        let now: Millis = self.clock.now();
        let mut people = self.store.page(account.number(), after, Self::BATCH as u32).await?;
        for (_, person) in &mut people {
            person.lists.retain(|_, expires_at| expires_at.is_none_or(|at| at > now));
        }
        Ok(people)
    }
}

fn erased() -> Violation {
    Violation::new("/user", "erased", "this person was erased and stays so")
}
