//! People whom the store does not know, remembered compactly: half of all traffic may be keys
//! that were never seen, and each would cost a read.

use std::sync::{Mutex, PoisonError};

use super::key::{Key, Moment};

/// One remembered key: its 128 bits, when it was read, and the counters of that moment. All zero
/// is an empty place. Arrays of words so that a new table costs no memory until it is used.
type Slot = [u64; 4];

/// Remembers keys in sets of 8 places, in each set the most recently used first.
pub(super) struct Absent {
    shards: Box<[Mutex<Vec<Slot>>]>,
    /// Sets in a shard.
    sets: usize,
}

impl Absent {
    const SHARDS: usize = 64;
    const WAYS: usize = 8;

    /// Room for at least `keys` keys, 32 bytes each.
    pub(super) fn new(keys: usize) -> Self {
        let sets = keys.div_ceil(Self::SHARDS * Self::WAYS).max(1);
        let shards = (0..Self::SHARDS).map(|_| Mutex::new(vec![[0; 4]; sets * Self::WAYS])).collect();
        Self { shards, sets }
    }

    /// Runs `with` on the set of `key`.
    fn in_set<R>(&self, key: Key, with: impl FnOnce(&mut [Slot]) -> R) -> R {
        let word = key.mixed() as usize;
        let mut shard = self.shards[word % Self::SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        let set = word / Self::SHARDS % self.sets;
        with(&mut shard[set * Self::WAYS..][..Self::WAYS])
    }

    fn place(set: &[Slot], bits: [u64; 2]) -> Option<usize> {
        set.iter().position(|slot| slot[..2] == bits)
    }

    /// When `key` was found to be unknown.
    pub(super) fn get(&self, key: Key) -> Option<Moment> {
        let bits = key.bits();
        self.in_set(key, |set| {
            let place = Self::place(set, bits)?;
            set[..=place].rotate_right(1);
            let [_, _, at, counters] = set[0];
            Some(Moment { at, generation: (counters >> 32) as u32, lists: counters as u32 })
        })
    }

    /// Remembers that `key` was unknown at `moment`, for the least recently used of its set.
    pub(super) fn insert(&self, key: Key, moment: Moment) {
        let bits = key.bits();
        self.in_set(key, |set| {
            let place = Self::place(set, bits).unwrap_or(Self::WAYS - 1);
            set[..=place].rotate_right(1);
            set[0] = [bits[0], bits[1], moment.at, u64::from(moment.generation) << 32 | u64::from(moment.lists)];
        });
    }

    /// Forgets `key`.
    pub(super) fn remove(&self, key: Key) {
        let bits = key.bits();
        self.in_set(key, |set| {
            if let Some(place) = Self::place(set, bits) {
                set[place..].rotate_left(1);
                set[Self::WAYS - 1] = [0; 4];
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Uid;

    fn key(uid: u128) -> Key {
        // Spread like real ones.
        Key { account: 1, uid: Uid(uid.wrapping_mul(0x0123_4567_89ab_cdef_1357_9bdf_0246_8ace) | 1) }
    }

    fn moment(at: u64) -> Moment {
        Moment { at, generation: 3, lists: u32::MAX }
    }

    #[test]
    fn a_key_costs_32_bytes() {
        assert_eq!(size_of::<Slot>(), 32);
    }

    #[test]
    fn keys_are_remembered_until_they_are_forgotten() {
        let absent = Absent::new(10_000);
        for uid in 0..2_000 {
            absent.insert(key(uid), moment(uid as u64));
        }
        for uid in 0..2_000 {
            assert_eq!(absent.get(key(uid)), Some(moment(uid as u64)));
        }
        assert_eq!(absent.get(Key { account: 2, ..key(5) }), None);
        absent.remove(key(5));
        absent.remove(key(5));
        assert_eq!(absent.get(key(5)), None);
        absent.insert(key(6), moment(99));
        assert_eq!(absent.get(key(6)), Some(moment(99)));
    }

    #[test]
    fn a_full_set_gives_up_the_least_recently_used() {
        let absent = Absent { shards: (0..Absent::SHARDS).map(|_| Mutex::new(vec![[0; 4]; 8])).collect(), sets: 1 };
        let same_shard: Vec<_> = (0..).map(key).filter(|key| key.mixed() % 64 == 7).take(9).collect();
        for (at, &key) in same_shard.iter().take(8).enumerate() {
            absent.insert(key, moment(at as u64));
        }
        assert!(absent.get(same_shard[0]).is_some());
        absent.insert(same_shard[8], moment(8));
        assert_eq!(absent.get(same_shard[1]), None);
        assert!([0, 2, 3, 4, 5, 6, 7, 8].iter().all(|&at| absent.get(same_shard[at]).is_some()));
    }

    #[test]
    fn most_of_a_working_set_of_half_the_size_stays() {
        let absent = Absent::new(10_000);
        for uid in 0..5_000 {
            absent.insert(key(uid), moment(0));
        }
        let kept = (0..5_000).filter(|&uid| absent.get(key(uid)).is_some()).count();
        assert!(kept > 4_700, "{kept}");
    }
}
