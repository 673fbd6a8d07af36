//! What is held in memory of people: those who are known, those who are not, and what was
//! announced lately. Never waits.

use std::{sync::Arc, time::Duration};

use moka::{ops::compute::Op, sync::Cache};
use tokio::time::Instant;

use super::{
    absent::Absent,
    announced::Announced,
    key::{BuildKeyHasher, Currency, Key, Moment, Times},
};
use crate::domain::{
    audience::{
        caps::CapRing,
        profile::Traits,
        user::{Lists, UserState},
    },
    ids::Uid,
};

/// A cached person.
#[derive(Clone)]
struct Entry {
    state: Arc<UserState>,
    moment: Moment,
    /// Once it is known to be outdated, the last instant at which it was current: it is kept for
    /// when nothing newer can be had.
    outdated: Option<u64>,
    /// Whom the key leads to that was merged into another: this is for good, so it counts as long
    /// as it is held.
    leads: Option<Uid>,
}

/// What was found.
pub(super) enum Look {
    /// Something is held: a person, or that nobody of this key exists.
    Held(Option<Arc<UserState>>, Currency),
    /// Nothing is held.
    Nothing,
}

/// What became of something read from the store.
pub(super) enum Fill {
    /// It, or something newer, is held now.
    Kept(Option<Arc<UserState>>),
    /// It was true when the read began, and is known to be outdated or cannot be checked; it is
    /// not held.
    Outdated(Option<Arc<UserState>>),
}

pub(super) struct Memory {
    people: Cache<Key, Entry, BuildKeyHasher>,
    absent: Absent,
    announced: Announced,
    times: Times,
}

impl Memory {
    /// What a cached person costs beside their state's heap: the cache's own bookkeeping and the
    /// allocator's, measured as process memory.
    const OVERHEAD: usize = 448;
    /// The longest way from a key to a person: one that led to another who was merged later may be
    /// held for a while.
    const HOPS: usize = 8;

    /// Holds about `bytes` of people and `absent` unknown keys of 32 bytes.
    pub(super) fn new(bytes: u64, absent: usize) -> Self {
        let people = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, entry: &Entry| {
                u32::try_from(Self::OVERHEAD + size_of::<UserState>() + entry.state.heap_bytes()).unwrap_or(u32::MAX)
            })
            .build_with_hasher(BuildKeyHasher::default());
        Self { people, absent: Absent::new(absent), announced: Announced::default(), times: Times::new() }
    }

    /// What is held of whoever `key` stands for, and under which key.
    pub(super) fn look(&self, mut key: Key) -> (Key, Look) {
        for _ in 0..Self::HOPS {
            match self.people.get(&key) {
                Some(Entry { leads: Some(uid), moment, .. }) if self.times.stands(moment) => key.uid = uid,
                held => return (key, self.judge(key, held)),
            }
        }
        (key, Look::Nothing)
    }

    fn judge(&self, key: Key, held: Option<Entry>) -> Look {
        let proven = self.times.proven();
        let (state, moment) = match held {
            Some(Entry { leads: Some(_), .. }) => return Look::Nothing,
            Some(Entry { state, moment, outdated: Some(at), .. }) if self.times.stands(moment) => {
                return Look::Held(Some(state), Currency { at, changed: true });
            }
            Some(entry) => (Some(entry.state), entry.moment),
            None => match self.absent.get(key) {
                Some(moment) => (None, moment),
                None => return Look::Nothing,
            },
        };
        match self.times.judge(key, moment, proven) {
            Some(currency) => Look::Held(state, currency),
            None => Look::Nothing,
        }
    }

    pub(super) fn moment(&self) -> Moment {
        self.times.moment()
    }

    pub(super) fn now(&self) -> u64 {
        self.times.now()
    }

    pub(super) fn age(&self, at: u64) -> Duration {
        self.times.age(at)
    }

    /// Takes what the store said of `key` in a read that began at `moment`, unless something
    /// newer is held or was announced.
    pub(super) fn fill(&self, key: Key, state: Option<Arc<UserState>>, moment: Moment) -> Fill {
        self.fill_as(key, state, None, moment)
    }

    /// Takes that `key` was merged into a person, who is at `version`: newer than the key ever was.
    pub(super) fn fill_lead(&self, key: Key, person: Uid, version: u64, moment: Moment) {
        let state = Arc::new(UserState::new(version, Traits::default(), Lists::default(), CapRing::default()));
        self.fill_as(key, Some(state), Some(person), moment);
    }

    fn fill_as(&self, key: Key, state: Option<Arc<UserState>>, leads: Option<Uid>, moment: Moment) -> Fill {
        let version = state.as_ref().map_or(0, |state| state.version);
        let checkable = self.now().saturating_sub(moment.at) < Announced::KEPT && self.times.stands(moment);
        if !checkable || !self.announced.admits(key, version, moment.at) {
            return Fill::Outdated(state);
        }
        let held = match &state {
            Some(state) => {
                self.absent.remove(key);
                Some(self.keep_newer(key, Entry { state: state.clone(), moment, outdated: None, leads }))
            }
            None => {
                self.drop_if(key, |entry| entry.moment.at < moment.at);
                if self.people.contains_key(&key) {
                    return Fill::Outdated(None);
                }
                self.absent.insert(key, moment);
                None
            }
        };
        // Announcements are noted before the caches are searched for what they outdate, and here
        // it is the other way around: whatever the order of the two, one of them sees the other.
        if !self.announced.admits(key, version, moment.at) || !self.times.stands(moment) {
            self.absent.remove(key);
            self.outdate_if(key, |entry| entry.state.version <= version && entry.moment.at <= moment.at);
            return Fill::Outdated(state);
        }
        Fill::Kept(held)
    }

    /// Caches `entry` unless a newer version is cached; answers what is cached then.
    fn keep_newer(&self, key: Key, entry: Entry) -> Arc<UserState> {
        let result = self.people.entry(key).and_compute_with(|held| match held {
            Some(held) if held.value().outdated.is_none() && Self::order(held.value()) > Self::order(&entry) => Op::Nop,
            _ => Op::Put(entry.clone()),
        });
        result.into_entry().map_or(entry.state, |held| held.into_value().state)
    }

    /// Newer versions first; of the same version, what was read last (lists change without it).
    fn order(entry: &Entry) -> (u32, u64, u64) {
        (entry.moment.generation, entry.state.version, entry.moment.at)
    }

    fn drop_if(&self, key: Key, outdated: impl FnOnce(&Entry) -> bool) {
        if self.people.contains_key(&key) {
            self.people.entry(key).and_compute_with(|held| match held {
                Some(held) if outdated(held.value()) => Op::Remove,
                _ => Op::Nop,
            });
        }
    }

    /// Notes that what is held is no longer current.
    fn outdate_if(&self, key: Key, outdated: impl FnOnce(&Entry) -> bool) {
        if self.people.contains_key(&key) {
            let proven = self.times.proven();
            self.people.entry(key).and_compute_with(|held| match held.map(|held| held.into_value()) {
                Some(held) if held.outdated.is_none() && outdated(&held) => {
                    Op::Put(Entry { outdated: Some(held.moment.at.max(proven)), ..held })
                }
                _ => Op::Nop,
            });
        }
    }

    /// A person was written here, based on what was read at `moment`.
    pub(super) fn put(&self, key: Key, state: Arc<UserState>, moment: Moment) {
        self.announced.version(key, state.version, self.now());
        self.absent.remove(key);
        self.fill(key, Some(state), moment);
    }

    /// A person was written here: `packed` at `version`, made from `base`. Only what is held at
    /// `base`, and is current, is moved on: what `packed` does not hold is the same there.
    pub(super) fn advance(&self, key: Key, base: u64, version: u64, packed: &[u8]) {
        self.announced.version(key, version, self.now());
        self.absent.remove(key);
        self.people.entry(key).and_compute_with(|held| match held.map(|held| held.into_value()) {
            Some(held) if held.outdated.is_none() && held.leads.is_none() && held.state.version == base => {
                let UserState { lists, caps, .. } = (*held.state).clone();
                match UserState::decode(packed, version, lists, caps) {
                    Ok(state) => Op::Put(Entry { state: Arc::new(state), ..held }),
                    Err(_) => Op::Nop,
                }
            }
            _ => Op::Nop,
        });
        self.outdate_if(key, |entry| entry.state.version < version);
    }

    /// A person changed to `version`.
    pub(super) fn changed(&self, key: Key, version: u64) {
        self.announced.version(key, version, self.now());
        self.absent.remove(key);
        self.outdate_if(key, |entry| entry.state.version < version);
    }

    /// Whatever is held of whoever `key` stands for is outdated.
    pub(super) fn forget(&self, key: Key) {
        let (person, _) = self.look(key);
        if person != key {
            self.forget_one(person);
        }
        self.forget_one(key);
    }

    fn forget_one(&self, key: Key) {
        self.announced.everything(key, self.now());
        self.absent.remove(key);
        self.outdate_if(key, |_| true);
    }

    /// Nothing that was known of a person may be used any more.
    pub(super) fn erase(&self, key: Key) {
        self.announced.everything(key, self.now());
        self.absent.remove(key);
        self.people.invalidate(&key);
    }

    /// Lists of many people of an account changed, all between two of them.
    pub(super) fn lists_changed(&self, account: u32, from: Uid, upto: Uid) {
        self.times.lists_changed(account, from, upto);
    }

    /// Nothing held may be used any more.
    pub(super) fn forget_all(&self) {
        self.times.drop_all();
        self.people.invalidate_all();
    }

    /// The feed has told everything that was committed before `start`.
    pub(super) fn prove(&self, start: Instant) {
        self.times.prove(start);
    }

    /// Age of the feed's last proof.
    pub(super) fn proof_age(&self) -> Duration {
        self.times.age(self.times.proven())
    }

    /// People held and their estimated bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        self.people.run_pending_tasks();
        (self.people.entry_count(), self.people.weighted_size())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    /// Whatever the order in which reads, announcements and own writes meet, nothing that was
    /// outdated by an announcement stays.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test runs on plain threads")]
    fn no_order_of_events_leaves_something_outdated() {
        const PEOPLE: usize = 4;
        const CHANGES: usize = 20_000;
        let memory = Memory::new(1 << 20, 64);
        // Stored versions; zero is nobody.
        let stored: Vec<AtomicU64> = (0..PEOPLE).map(|_| AtomicU64::new(0)).collect();
        let (done, misses) = (AtomicBool::new(false), AtomicU64::new(0));
        let key = |person: usize| Key { account: 1, uid: Uid(person as u128) };
        let state = |version: u64| {
            let state = UserState::decode(&[], version, Lists::default(), CapRing::default());
            (version > 0).then(|| Arc::new(state.expect("a person without traits")))
        };
        let version = |state: &Option<Arc<UserState>>| state.as_ref().map_or(0, |state| state.version);
        let mut found_at = None;
        std::thread::scope(|scope| {
            for reader in 0..3 {
                let (memory, stored, done, misses) = (&memory, &stored, &done, &misses);
                scope.spawn(move || {
                    for turn in reader.. {
                        if done.load(Ordering::SeqCst) {
                            return;
                        }
                        let person = turn % PEOPLE;
                        if !matches!(memory.look(key(person)).1, Look::Held(_, Currency { changed: false, .. })) {
                            misses.fetch_add(1, Ordering::Relaxed);
                            let moment = memory.moment();
                            let read = stored[person].load(Ordering::SeqCst);
                            std::thread::yield_now();
                            memory.fill(key(person), state(read), moment);
                        }
                    }
                });
            }
            for change in 0..CHANGES {
                let person = change * 7 % PEOPLE;
                let moment = memory.moment();
                let new = stored[person].load(Ordering::SeqCst) + 1;
                stored[person].store(new, Ordering::SeqCst);
                match change % 3 {
                    0 => memory.put(key(person), state(new).expect("a person"), moment),
                    1 => memory.changed(key(person), new),
                    _ => memory.forget(key(person)),
                }
                let outdated = || matches!(memory.look(key(person)).1, Look::Held(held, currency) if !currency.changed && version(&held) < new);
                // A reader may be between its fill and its check for a moment, and a busy machine makes it longer.
                if outdated()
                    && !(0..2_500).any(|_| {
                        std::thread::sleep(Duration::from_millis(2));
                        !outdated()
                    })
                {
                    found_at = Some(change);
                    break;
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        assert_eq!(found_at, None, "the change after which something outdated was held");
        assert!(misses.load(Ordering::Relaxed) > 100, "readers and writer met");
        for (person, stored) in stored.iter().enumerate() {
            if let Look::Held(held, Currency { changed: false, .. }) = memory.look(key(person)).1 {
                assert_eq!(version(&held), stored.load(Ordering::SeqCst));
            }
        }
    }
}
