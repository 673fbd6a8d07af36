//! Whom the caches speak of, and when what they hold was read.

use std::{
    hash::{Hash, Hasher},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::domain::ids::Uid;

/// A person of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) account: u32,
    pub(super) uid: Uid,
}

impl Key {
    /// 128 bits that stand for account and person. The uid is a keyed hash already, so nobody can
    /// choose colliding ones; the account is folded in for good measure.
    pub(super) fn bits(self) -> [u64; 2] {
        let (high, low) = ((self.uid.0 >> 64) as u64, self.uid.0 as u64);
        [high ^ u64::from(self.account).wrapping_mul(0x9e37_79b9_7f4a_7c15), low]
    }

    /// One well-mixed word (the finaliser of splitmix64).
    pub(super) fn mixed(self) -> u64 {
        let [high, low] = self.bits();
        let word = high ^ low.rotate_left(32);
        let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.mixed());
    }
}

/// Hashes a [`Key`] by the word it writes, which is mixed already.
#[derive(Clone, Copy, Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, &byte| hash.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

pub(super) type BuildKeyHasher = std::hash::BuildHasherDefault<KeyHasher>;

/// When something was read from the store, taken **before** the read began: what it brings was
/// true then. Also tells whether everything cached was dropped since, or lists of many changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds on the [`Times`]' clock.
    pub(super) at: u64,
    pub(super) generation: u32,
    pub(super) lists: u32,
}

/// The monotonic clock of the caches and what the feed has proven.
pub(super) struct Times {
    base: Instant,
    /// Start of the last good look at the feed.
    proven: AtomicU64,
    /// Counts the times at which everything was dropped.
    generation: AtomicU32,
    /// Numbers the changes to the lists of many.
    list_changes: AtomicU32,
    /// The newest such change, by account and by parts of its people. Accounts share parts, which
    /// costs an unneeded read now and then.
    lists: Box<[AtomicU32]>,
}

/// What is held, judged: since when nothing is known of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Currency {
    /// The last instant at which it is known to have been current.
    pub(super) at: u64,
    /// Whether it is known to be outdated.
    pub(super) changed: bool,
}

impl Times {
    /// Accounts that are told apart.
    const ACCOUNTS: usize = 64;
    /// Parts of an account's people, by the first bits of their uid.
    const PARTS: usize = 64;

    pub(super) fn new() -> Self {
        Self {
            base: Instant::now(),
            proven: AtomicU64::new(0),
            generation: AtomicU32::new(0),
            list_changes: AtomicU32::new(0),
            lists: (0..Self::ACCOUNTS * Self::PARTS).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Nanoseconds since the start.
    pub(super) fn nanos(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.base).as_nanos() as u64
    }

    pub(super) fn now(&self) -> u64 {
        self.nanos(Instant::now())
    }

    pub(super) fn age(&self, at: u64) -> Duration {
        Duration::from_nanos(self.now().saturating_sub(at))
    }

    /// The present moment, to be taken before a read.
    pub(super) fn moment(&self) -> Moment {
        Moment { at: self.now(), generation: self.generation(), lists: self.list_changes.load(Ordering::SeqCst) }
    }

    fn generation(&self) -> u32 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Where a person's part is noted.
    fn part(account: u32, uid: Uid) -> usize {
        account as usize % Self::ACCOUNTS * Self::PARTS + (uid.0 >> 122) as usize
    }

    /// What the feed has proven. Read it before looking into a cache: what is dropped from the
    /// cache afterwards was still current then.
    pub(super) fn proven(&self) -> u64 {
        self.proven.load(Ordering::SeqCst)
    }

    /// The feed has told everything that was committed before `start`.
    pub(super) fn prove(&self, start: Instant) {
        self.proven.fetch_max(self.nanos(start), Ordering::SeqCst);
    }

    /// Numbered first and noted second: what is read from then on saw the change.
    pub(super) fn lists_changed(&self, account: u32, from: Uid, upto: Uid) {
        let change = self.list_changes.fetch_add(1, Ordering::SeqCst) + 1;
        for part in &self.lists[Self::part(account, from)..=Self::part(account, upto.max(from))] {
            part.fetch_max(change, Ordering::SeqCst);
        }
    }

    pub(super) fn drop_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether nothing was dropped since `moment`.
    pub(super) fn stands(&self, moment: Moment) -> bool {
        moment.generation == self.generation()
    }

    /// Judges what was read at `moment` and found in a cache after `proven` was read. None if it
    /// must not be used at all.
    pub(super) fn judge(&self, key: Key, moment: Moment, proven: u64) -> Option<Currency> {
        let noted = self.lists[Self::part(key.account, key.uid)].load(Ordering::SeqCst);
        let changed = noted > moment.lists;
        let at = if changed { moment.at } else { moment.at.max(proven) };
        self.stands(moment).then_some(Currency { at, changed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEBODY: Key = Key { account: 1, uid: Uid(7) };

    #[tokio::test(start_paused = true)]
    async fn the_feed_proves_what_has_not_changed() {
        let times = Times::new();
        let moment = times.moment();
        tokio::time::advance(Duration::from_secs(2)).await;
        times.prove(Instant::now());
        let two = 2_000_000_000;
        assert_eq!(times.judge(SOMEBODY, moment, times.proven()), Some(Currency { at: two, changed: false }));
        times.prove(Instant::now() - Duration::from_secs(1));
        assert_eq!(times.proven(), two, "a late proof takes nothing back");
        times.lists_changed(2, Uid(0), Uid(u128::MAX));
        assert_eq!(times.judge(SOMEBODY, moment, times.proven()), Some(Currency { at: two, changed: false }));
        times.lists_changed(1, Uid(0), Uid(u128::MAX));
        assert_eq!(times.judge(SOMEBODY, moment, times.proven()), Some(Currency { at: 0, changed: true }));
        times.drop_all();
        assert_eq!(times.judge(SOMEBODY, moment, times.proven()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_to_lists_touches_its_stretch_of_people() {
        let times = Times::new();
        let moment = times.moment();
        let half = Uid(1 << 127);
        times.lists_changed(1, half, Uid(u128::MAX));
        let changed = |uid: Uid, moment| times.judge(Key { account: 1, uid }, moment, 0).expect("it stands").changed;
        assert!(!changed(Uid(half.0 - 1), moment) && changed(half, moment) && changed(Uid(u128::MAX), moment));
        assert!(!changed(half, times.moment()), "what is read from now on saw it");
        assert!(!times.judge(Key { account: 2, uid: half }, moment, 0).expect("it stands").changed);
    }
}
