//! Impressions that were decided but not yet reported, so that frequency caps hold between the
//! decision and its beacon.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use metrics::Counter;
use tokio::time::Instant;

use super::users::Moment;
use crate::domain::{
    decision::decided::Decision,
    ids::{DecisionId, NameHash, Uid},
    values::Millis,
};

/// How long a reservation stands when no impression is reported. The monotonic clock measures it,
/// so a jump of the time of day neither holds nor frees one.
const TTL: Duration = Duration::from_secs(60);

/// How long a bid's stands when nobody says that it has won: most bids lose, and few exchanges say so.
const AUCTION: Duration = Duration::from_secs(10);

/// An impression that will count, unless its minute passes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The decision whose impression it is.
    pub decision: DecisionId,
    /// What it shows.
    pub campaign: NameHash,
    /// When it was served.
    pub at: Millis,
}

impl Reservation {
    /// The impressions of capped campaigns that a decision leads to.
    #[must_use]
    pub fn all_of(decision: &Decision, at: Millis) -> Vec<Self> {
        capped(decision).map(|(decision, campaign)| Self { decision, campaign, at }).collect()
    }
}

/// What of a decision shows capped campaigns, and which.
fn capped(decision: &Decision) -> impl Iterator<Item = (DecisionId, NameHash)> {
    decision.placements.iter().flatten().filter_map(|item| {
        // a bid that leaves its components open has shown nothing yet
        let showing = item.shown.as_ref().filter(|showing| showing.deferred.is_none())?;
        let campaign = showing.campaign.as_ref().filter(|campaign| !campaign.caps.is_empty())?;
        Some((item.id, campaign.hash))
    })
}

/// What became of a reservation.
struct Fate {
    decision: DecisionId,
    end: Instant,
    /// When its impression was known to be committed: profiles read from then on count it.
    settled: Option<Moment>,
}

/// Reservations of one person, in the order they were made.
struct Held {
    /// Campaign and serving time, as decisions read them.
    entries: Vec<(NameHash, Millis)>,
    /// What became of each.
    fates: Vec<Fate>,
}

impl Held {
    /// Room for `count`: most people hold one, and there are many people.
    fn of(count: usize) -> Self {
        Self { entries: Vec::with_capacity(count), fates: Vec::with_capacity(count) }
    }

    fn drop_ended(&mut self, now: Instant) {
        if self.fates.iter().all(|fate| fate.end > now) {
            return;
        }
        let mut fates = self.fates.iter();
        self.entries.retain(|_| fates.next().is_some_and(|fate| fate.end > now));
        self.fates.retain(|fate| fate.end > now);
    }

    /// What a profile does not count yet that reflects all that was committed before the moments
    /// that `reflects` says.
    fn beside(&self, reflects: impl Fn(Moment) -> bool) -> Cow<'_, [(NameHash, Millis)]> {
        let counted = |fate: &Fate| fate.settled.is_some_and(&reflects);
        if !self.fates.iter().any(counted) {
            return Cow::Borrowed(&self.entries);
        }
        self.entries.iter().zip(&self.fates).filter(|(_, fate)| !counted(fate)).map(|(&entry, _)| entry).collect()
    }
}

#[derive(Default)]
struct Shard {
    people: HashMap<Uid, Held>,
    /// When it was full and swept last.
    swept: Option<Instant>,
}

impl Shard {
    fn sweep(&mut self, now: Instant) {
        self.people.retain(|_, held| {
            held.drop_ended(now);
            !held.entries.is_empty()
        });
        if self.people.capacity() > 4 * self.people.len().max(16) {
            self.people.shrink_to_fit();
        }
    }

    /// Whether there is room for one more person. A full shard is swept for it, but not again and again:
    /// others wait meanwhile.
    fn has_room(&mut self, room: usize, now: Instant) -> bool {
        let rested = self.swept.is_none_or(|swept| now.duration_since(swept) >= Reservations::REST);
        if self.people.len() >= room && rested {
            self.sweep(now);
            self.swept = Some(now);
        }
        self.people.len() < room
    }
}

/// The reservations of one replica.
pub struct Reservations {
    shards: Box<[Mutex<Shard>]>,
    /// People a shard may hold.
    room: usize,
    /// How long a reservation stands on when its impression was committed.
    settled: Duration,
    /// The shard to sweep next.
    hand: AtomicUsize,
    refused: Counter,
}

impl Reservations {
    const SHARDS: usize = 64;
    /// Reservations of one person; caps are far below.
    const PER_PERSON: usize = 256;

    /// How long a full shard is not swept again.
    const REST: Duration = Duration::from_secs(1);
    /// Shards swept in one call.
    const AT_ONCE: usize = 4;

    /// Room for about `people` at a time, some 200 bytes each. When it is full, further people get
    /// no reservations, their caps count committed impressions only, and `refused` counts these.
    ///
    /// `settled` is how long a decision may take that has read a person, and how long what was read may
    /// be used: for so long an impression stays reserved once it was committed.
    #[must_use]
    pub fn new(people: usize, settled: Duration, refused: Counter) -> Self {
        let shards = (0..Self::SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, room: people.div_ceil(Self::SHARDS).max(1), settled, hand: AtomicUsize::new(0), refused }
    }

    fn shard(&self, person: Uid) -> &Mutex<Shard> {
        &self.shards[person.0 as usize % Self::SHARDS]
    }

    /// Calls `decide` with what is reserved for `person` (campaign and serving time) and not in the
    /// profile that is decided on, and adds what it returns, with nobody else deciding about this
    /// person between the two. `reflects` tells whether everything committed before a moment is in
    /// that profile. The whole shard waits, so `decide` must be short and must not wait for
    /// anything.
    pub fn with<R>(
        &self,
        person: Uid,
        reflects: impl Fn(Moment) -> bool,
        decide: impl FnOnce(&[(NameHash, Millis)]) -> (R, Vec<Reservation>),
    ) -> R {
        let now = Instant::now();
        // A decision that panicked has added nothing, so what the lock guards is whole.
        let mut shard = self.shard(person).lock().unwrap_or_else(PoisonError::into_inner);
        let beside = match shard.people.get_mut(&person) {
            Some(held) => {
                held.drop_ended(now);
                held.beside(reflects)
            }
            None => Cow::default(),
        };
        let (answer, added) = decide(&beside);
        if added.is_empty() {
            return answer;
        }
        if !shard.people.contains_key(&person) && !shard.has_room(self.room, now) {
            self.refused.increment(added.len() as u64);
            return answer;
        }
        let held = shard.people.entry(person).or_insert_with(|| Held::of(added.len().min(Self::PER_PERSON)));
        let room = Self::PER_PERSON - held.entries.len().min(Self::PER_PERSON);
        for Reservation { decision, campaign, at } in added.into_iter().take(room) {
            held.entries.push((campaign, at));
            held.fates.push(Fate { decision, end: now + TTL, settled: None });
        }
        answer
    }

    /// The impression of `decision` to `person` was committed before `moment`: profiles that
    /// reflect this moment count it themselves. It stays reserved a little for those that were read
    /// earlier and are decided on only now.
    pub fn settle(&self, person: Uid, decision: DecisionId, moment: Moment) {
        let mut shard = self.shard(person).lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = shard.people.get_mut(&person) else { return };
        if let Some(fate) = held.fates.iter_mut().find(|fate| fate.decision == decision) {
            fate.settled.get_or_insert(moment);
            fate.end = fate.end.min(Instant::now() + self.settled);
        }
    }

    /// What became of a decision in an auction: what was not bid holds nothing of the person's caps, and what was
    /// does so for as long as auctions last.
    pub fn auctioned(&self, person: Uid, decision: &Decision, made: &[DecisionId]) {
        for (id, _) in capped(decision) {
            if made.contains(&id) {
                self.bid(person, id);
            } else {
                self.release(person, id);
            }
        }
    }

    /// The decision was bid: what it reserves ends soon, unless the bid wins.
    fn bid(&self, person: Uid, decision: DecisionId) {
        self.change(person, decision, |fate| fate.end = fate.end.min(Instant::now() + AUCTION));
    }

    /// The bid has won: it is being served.
    pub fn won(&self, person: Uid, decision: DecisionId) {
        self.change(person, decision, |fate| fate.end = Instant::now() + TTL);
    }

    /// There will be no impression of the decision.
    pub fn release(&self, person: Uid, decision: DecisionId) {
        self.change(person, decision, |fate| fate.end = Instant::now());
    }

    /// Changes what becomes of a reservation whose impression was not committed.
    fn change(&self, person: Uid, decision: DecisionId, change: impl FnOnce(&mut Fate)) {
        let mut shard = self.shard(person).lock().unwrap_or_else(PoisonError::into_inner);
        let held = shard.people.get_mut(&person);
        let fate = held.and_then(|held| held.fates.iter_mut().find(|fate| fate.decision == decision));
        if let Some(fate) = fate.filter(|fate| fate.settled.is_none()) {
            change(fate);
        }
    }

    /// Frees what has ended in a few shards, the next ones at each call: called every second, the
    /// memory of ended reservations is freed within a quarter of a minute.
    pub fn sweep(&self) {
        for _ in 0..Self::AT_ONCE {
            let shard = &self.shards[self.hand.fetch_add(1, Ordering::Relaxed) % Self::SHARDS];
            shard.lock().unwrap_or_else(PoisonError::into_inner).sweep(Instant::now());
        }
    }

    /// People with reservations, ended ones included until they are swept.
    #[must_use]
    pub fn people(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).people.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const CAMPAIGN: NameHash = NameHash(7);

    const SETTLED: Duration = Duration::from_secs(3);

    fn room_for(people: usize) -> Reservations {
        Reservations::new(people, SETTLED, Counter::noop())
    }

    fn reservation(decision: u128) -> Reservation {
        Reservation { decision: DecisionId(Uuid::from_u128(decision)), campaign: CAMPAIGN, at: Millis(1) }
    }

    fn reserve(reservations: &Reservations, person: Uid, cap: usize) -> bool {
        reserve_as(reservations, person, cap, 0)
    }

    /// Reserves one impression if fewer than `cap` are reserved; whether it did.
    fn reserve_as(reservations: &Reservations, person: Uid, cap: usize, decision: u128) -> bool {
        reservations.with(
            person,
            |_| true,
            |held| {
                let free = held.iter().filter(|entry| entry.0 == CAMPAIGN).count() < cap;
                (free, if free { vec![reservation(decision)] } else { vec![] })
            },
        )
    }

    #[test]
    fn a_cap_is_exact_under_64_threads() {
        let reservations = room_for(1_000);
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
        let reservations = room_for(100);
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
    async fn a_committed_impression_is_counted_once_by_profiles_old_and_new() {
        let reservations = room_for(100);
        assert!(reserve_as(&reservations, Uid(1), 2, 1) && reserve_as(&reservations, Uid(1), 2, 2));
        let committed = Moment::default();
        reservations.settle(Uid(1), reservation(3).decision, committed);
        assert!(!reserve_as(&reservations, Uid(1), 2, 4), "that of another decision settles nothing here");
        reservations.settle(Uid(1), reservation(1).decision, committed);
        reservations.settle(Uid(2), reservation(2).decision, committed);
        let beside = |reflects: bool| reservations.with(Uid(1), |_| reflects, |held| (held.len(), vec![]));
        assert_eq!((beside(false), beside(true)), (2, 1), "a profile read earlier does not count it yet");
        assert!(reserve_as(&reservations, Uid(1), 2, 4));
        assert_eq!((beside(false), beside(true)), (3, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn bids_hold_a_cap_while_they_may_win() {
        let reservations = room_for(100);
        let id = |number| reservation(number).decision;
        assert!(reserve_as(&reservations, Uid(1), 1, 1));
        reservations.release(Uid(1), id(2));
        reservations.release(Uid(2), id(1));
        assert!(!reserve_as(&reservations, Uid(1), 1, 2), "that of others releases nothing");
        reservations.release(Uid(1), id(1));
        assert!(reserve_as(&reservations, Uid(1), 1, 2), "it was lost");
        reservations.bid(Uid(1), id(2));
        tokio::time::advance(AUCTION - Duration::from_millis(1)).await;
        assert!(!reserve_as(&reservations, Uid(1), 1, 3));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(reserve_as(&reservations, Uid(1), 1, 3), "nobody said that it won");
        reservations.bid(Uid(1), id(3));
        reservations.won(Uid(1), id(3));
        tokio::time::advance(TTL - Duration::from_millis(1)).await;
        assert!(!reserve_as(&reservations, Uid(1), 1, 4));
        reservations.settle(Uid(1), id(3), Moment::default());
        reservations.release(Uid(1), id(3));
        let beside = reservations.with(Uid(1), |_| false, |held| (held.len(), vec![]));
        assert_eq!(beside, 1, "what was seen was seen, whatever is said of the auction");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_committed_makes_room_once_nobody_can_have_read_it_earlier() {
        let reservations = room_for(1);
        let committed = Moment::default();
        assert!(reserve_as(&reservations, Uid(1), 9, 1) && reserve_as(&reservations, Uid(1), 9, 2));
        tokio::time::advance(Duration::from_secs(1)).await;
        reservations.settle(Uid(1), reservation(2).decision, committed);
        let beside = |reflects: bool| reservations.with(Uid(1), |_| reflects, |held| (held.len(), vec![]));
        tokio::time::advance(SETTLED - Duration::from_millis(1)).await;
        reservations.settle(Uid(1), reservation(2).decision, committed);
        assert_eq!((beside(false), beside(true)), (2, 1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!((beside(false), beside(true)), (1, 1), "a repeat holds it no longer");
        reservations.settle(Uid(1), reservation(1).decision, committed);
        tokio::time::advance(SETTLED).await;
        let another = Uid(1 + Reservations::SHARDS as u128);
        assert!(reserve(&reservations, another, 1), "there is room for somebody else");
        assert!(!reserve(&reservations, another, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_shard_is_swept_once_a_second_and_refusals_are_counted() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let refused = metrics::with_local_recorder(&recorder, || metrics::counter!("refused"));
        let reservations = Reservations::new(1, SETTLED, refused);
        let uid = |number: usize| Uid((number * Reservations::SHARDS) as u128);
        let swept = || reservations.shards[0].lock().expect("a lock").swept;
        assert!(reserve(&reservations, uid(0), 1));
        assert!(reserve(&reservations, uid(1), 1) && reserve(&reservations, uid(1), 1), "nothing is reserved");
        let first = swept().expect("a sweep");
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(reserve(&reservations, uid(2), 1));
        assert_eq!(swept(), Some(first));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(reserve(&reservations, uid(2), 1));
        assert!(swept() > Some(first));
        assert!(recorder.handle().render().contains("refused 4"), "{}", recorder.handle().render());
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let reservations = room_for(Reservations::SHARDS * 2);
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
        reservations.with(
            Uid(20_000),
            |_| true,
            |held| {
                assert_eq!(held.len(), Reservations::PER_PERSON);
                ((), vec![])
            },
        );
    }
}
