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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Counts changes to the lists of many, by account. Accounts share counters, which costs an
    /// unneeded read now and then.
    lists: [AtomicU32; Self::COUNTERS],
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
    const COUNTERS: usize = 256;

    pub(super) fn new() -> Self {
        Self {
            base: Instant::now(),
            proven: AtomicU64::new(0),
            generation: AtomicU32::new(0),
            lists: [const { AtomicU32::new(0) }; Self::COUNTERS],
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
    pub(super) fn moment(&self, account: u32) -> Moment {
        Moment { at: self.now(), generation: self.generation(), lists: self.lists(account) }
    }

    fn generation(&self) -> u32 {
        self.generation.load(Ordering::SeqCst)
    }

    fn lists(&self, account: u32) -> u32 {
        self.lists[account as usize % Self::COUNTERS].load(Ordering::SeqCst)
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

    pub(super) fn lists_changed(&self, account: u32) {
        self.lists[account as usize % Self::COUNTERS].fetch_add(1, Ordering::SeqCst);
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
    pub(super) fn judge(&self, account: u32, moment: Moment, proven: u64) -> Option<Currency> {
        let changed = moment.lists != self.lists(account);
        let at = if changed { moment.at } else { moment.at.max(proven) };
        self.stands(moment).then_some(Currency { at, changed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_feed_proves_what_has_not_changed() {
        let times = Times::new();
        let moment = times.moment(1);
        tokio::time::advance(Duration::from_secs(2)).await;
        times.prove(Instant::now());
        let two = 2_000_000_000;
        assert_eq!(times.judge(1, moment, times.proven()), Some(Currency { at: two, changed: false }));
        times.prove(Instant::now() - Duration::from_secs(1));
        assert_eq!(times.proven(), two, "a late proof takes nothing back");
        times.lists_changed(2);
        assert_eq!(times.judge(1, moment, times.proven()), Some(Currency { at: two, changed: false }));
        times.lists_changed(1);
        assert_eq!(times.judge(1, moment, times.proven()), Some(Currency { at: 0, changed: true }));
        times.drop_all();
        assert_eq!(times.judge(1, moment, times.proven()), None);
    }
}
