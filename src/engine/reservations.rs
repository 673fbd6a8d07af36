//! Impressions that were decided but not yet reported, so that frequency caps hold between the
//! decision and its beacon.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::domain::{
    ids::{NameHash, Uid},
    values::Millis,
};

/// How long a reservation stands when no impression is reported. The monotonic clock measures it,
/// so a jump of the time of day neither holds nor frees one.
const TTL: Duration = Duration::from_secs(60);

/// Reservations of one person, in the order they were made.
#[derive(Default)]
struct Held {
    /// Campaign and serving time, as decisions read them.
    entries: Vec<(NameHash, Millis)>,
    /// When each ends.
    ends: Vec<Instant>,
}

impl Held {
    fn drop_ended(&mut self, now: Instant) {
        let ended = self.ends.partition_point(|&end| end <= now);
        self.ends.drain(..ended);
        self.entries.drain(..ended);
    }
}

type Shard = HashMap<Uid, Held>;

/// The reservations of one replica.
pub struct Reservations {
    shards: Box<[Mutex<Shard>]>,
    /// People a shard may hold.
    room: usize,
    /// The shard to sweep next.
    hand: AtomicUsize,
}

impl Reservations {
    const SHARDS: usize = 64;
    /// Reservations of one person; caps are far below.
    const PER_PERSON: usize = 256;

    /// Room for about `people` at a time, some 200 bytes each. When it is full, further people get
    /// no reservations, and their caps count committed impressions only.
    #[must_use]
    pub fn new(people: usize) -> Self {
        let shards = (0..Self::SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, room: people.div_ceil(Self::SHARDS).max(1), hand: AtomicUsize::new(0) }
    }

    fn shard(&self, person: Uid) -> &Mutex<Shard> {
        &self.shards[person.0 as usize % Self::SHARDS]
    }

    /// Calls `decide` with what is reserved for `person` (campaign and serving time) and adds what
    /// it returns, with nobody else deciding about this person between the two. The whole shard
    /// waits, so `decide` must be short and must not wait for anything.
    pub fn with<R>(
        &self,
        person: Uid,
        decide: impl FnOnce(&[(NameHash, Millis)]) -> (R, Vec<(NameHash, Millis)>),
    ) -> R {
        let now = Instant::now();
        // A decision that panicked has added nothing, so what the lock guards is whole.
        let mut shard = self.shard(person).lock().unwrap_or_else(PoisonError::into_inner);
        let empty = Held::default();
        let held = match shard.get_mut(&person) {
            Some(held) => {
                held.drop_ended(now);
                &*held
            }
            None => &empty,
        };
        let (answer, added) = decide(&held.entries);
        if added.is_empty() {
            return answer;
        }
        if shard.len() >= self.room && !shard.contains_key(&person) {
            Self::sweep_shard(&mut shard, now);
            if shard.len() >= self.room {
                return answer;
            }
        }
        let held = shard.entry(person).or_default();
        for entry in added.into_iter().take(Self::PER_PERSON - held.entries.len().min(Self::PER_PERSON)) {
            held.entries.push(entry);
            held.ends.push(now + TTL);
        }
        answer
    }

    /// Gives back the oldest reservation of `campaign` for `person`, because an impression of it
    /// was committed and counts from now on. Call it once the committed count is what decisions
    /// read, or one impression may go uncounted for a moment.
    pub fn settle(&self, person: Uid, campaign: NameHash) {
        let mut shard = self.shard(person).lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = shard.get_mut(&person) else { return };
        if let Some(place) = held.entries.iter().position(|entry| entry.0 == campaign) {
            held.entries.remove(place);
            held.ends.remove(place);
        }
        if held.entries.is_empty() {
            shard.remove(&person);
        }
    }

    /// Frees what has ended in one shard, the next one at each call: called every second, the
    /// memory of ended reservations is freed about a minute later.
    pub fn sweep(&self) {
        let shard = &self.shards[self.hand.fetch_add(1, Ordering::Relaxed) % Self::SHARDS];
        Self::sweep_shard(&mut shard.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    }

    fn sweep_shard(shard: &mut Shard, now: Instant) {
        shard.retain(|_, held| {
            held.drop_ended(now);
            !held.entries.is_empty()
        });
        if shard.capacity() > 4 * shard.len().max(16) {
            shard.shrink_to_fit();
        }
    }

    /// People with reservations, ended ones included until they are swept.
    #[must_use]
    pub fn people(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMPAIGN: NameHash = NameHash(7);

    /// Reserves one impression if fewer than `cap` are reserved; whether it did.
    fn reserve(reservations: &Reservations, person: Uid, cap: usize) -> bool {
        reservations.with(person, |held| {
            let free = held.iter().filter(|entry| entry.0 == CAMPAIGN).count() < cap;
            (free, if free { vec![(CAMPAIGN, Millis(1))] } else { vec![] })
        })
    }

    #[test]
    fn a_cap_is_exact_under_64_threads() {
        let reservations = Reservations::new(1_000);
        let won = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    for person in 0..200 {
                        won.fetch_add(usize::from(reserve(&reservations, Uid(person), 3)), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(won.load(Ordering::Relaxed), 200 * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn reservations_end_after_a_minute() {
        let reservations = Reservations::new(100);
        assert!(reserve(&reservations, Uid(1), 1));
        tokio::time::advance(TTL - Duration::from_millis(1)).await;
        assert!(!reserve(&reservations, Uid(1), 1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(reserve(&reservations, Uid(1), 1));
        tokio::time::advance(TTL).await;
        for _ in 0..Reservations::SHARDS {
            reservations.sweep();
        }
        assert_eq!(reservations.people(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_committed_impression_frees_one() {
        let reservations = Reservations::new(100);
        assert!(reserve(&reservations, Uid(1), 2) && reserve(&reservations, Uid(1), 2));
        reservations.settle(Uid(1), NameHash(8));
        assert!(!reserve(&reservations, Uid(1), 2));
        reservations.settle(Uid(1), CAMPAIGN);
        assert!(reserve(&reservations, Uid(1), 2));
        reservations.settle(Uid(2), CAMPAIGN);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let reservations = Reservations::new(Reservations::SHARDS * 2);
        for person in 0..10_000 {
            reserve(&reservations, Uid(person), 1);
        }
        assert_eq!(reservations.people(), Reservations::SHARDS * 2);
        tokio::time::advance(TTL).await;
        assert!(reserve(&reservations, Uid(20_000), 1), "ended ones make room");
        assert!(!reserve(&reservations, Uid(20_000), 1));
        for _ in 0..1_000 {
            reserve(&reservations, Uid(20_000), usize::MAX);
        }
        reservations.with(Uid(20_000), |held| {
            assert_eq!(held.len(), Reservations::PER_PERSON);
            ((), vec![])
        });
    }
}
