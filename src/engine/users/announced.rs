//! What the feed and the writers of this replica told lately, to catch reads that began before a
//! change and end after it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::key::{BuildKeyHasher, Key};

/// What is known of the changes to one person.
#[derive(Clone, Copy, Default)]
struct Change {
    /// The newest version announced.
    version: u64,
    /// When it was announced first.
    at: u64,
    /// Nothing read before this instant may be kept, whatever its version.
    not_before: u64,
}

type Changes = HashMap<Key, Change, BuildKeyHasher>;

/// Changes of the last 10 to 20 seconds.
#[derive(Default)]
pub(super) struct Announced(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    new: Changes,
    old: Changes,
    turned_at: u64,
}

impl Announced {
    /// How long announcements are remembered at least, in nanoseconds. What was read longer ago
    /// cannot be checked and must not be kept.
    pub(super) const KEPT: u64 = 10_000_000_000;

    /// A change to this version is visible to reads that begin from now on.
    pub(super) fn version(&self, key: Key, version: u64, now: u64) {
        self.note(key, now, |change| {
            // Repeats keep the first instant: reads since then have seen this version.
            if version > change.version {
                (change.version, change.at) = (version, now);
            }
        });
    }

    /// Reads that begin before now are outdated, whatever their version.
    pub(super) fn everything(&self, key: Key, now: u64) {
        self.note(key, now, |change| change.not_before = now);
    }

    fn note(&self, key: Key, now: u64, edit: impl FnOnce(&mut Change)) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(recent.turned_at) > Self::KEPT {
            recent.old = std::mem::take(&mut recent.new);
            recent.turned_at = now;
        }
        let known = recent.old.get(&key).copied().unwrap_or_default();
        edit(recent.new.entry(key).or_insert(known));
    }

    /// Whether a read of `version` that began at `began` may be kept.
    pub(super) fn admits(&self, key: Key, version: u64, began: u64) -> bool {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let change = recent.new.get(&key).or_else(|| recent.old.get(&key)).copied().unwrap_or_default();
        let whole = change.not_before == 0 || began > change.not_before;
        whole && (version >= change.version || began > change.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Uid;

    const KEY: Key = Key { account: 1, uid: Uid(1) };

    #[test]
    fn reads_older_than_an_announcement_are_refused() {
        let announced = Announced::default();
        assert!(announced.admits(KEY, 0, 0));
        announced.version(KEY, 5, 100);
        assert!(!announced.admits(KEY, 4, 99));
        assert!(announced.admits(KEY, 5, 99));
        assert!(announced.admits(KEY, 4, 101), "a store that went back is believed");
        announced.version(KEY, 5, 200);
        assert!(announced.admits(KEY, 4, 101), "a repeat says nothing new");
        announced.everything(KEY, 300);
        assert!(!announced.admits(KEY, 9, 300));
        assert!(announced.admits(KEY, 9, 301));
        announced.version(KEY, 6, 400);
        assert!(!announced.admits(KEY, 5, 399));
    }

    #[test]
    fn announcements_are_kept_long_enough_and_not_for_ever() {
        let announced = Announced::default();
        let other = Key { account: 1, uid: Uid(2) };
        announced.version(KEY, 5, 1);
        announced.version(other, 1, Announced::KEPT + 2);
        assert!(!announced.admits(KEY, 4, 0));
        announced.version(other, 2, 2 * Announced::KEPT + 4);
        assert!(announced.admits(KEY, 4, 0));
    }
}
