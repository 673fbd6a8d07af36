//! Announces who enters and leaves segments: never on the way of a decision or of a change, which
//! only puts a note into a queue once it is durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use metrics::Counter;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

pub use super::{
    followers::Follower,
    standings::{Before, Note},
};
use super::{
    followers::Followers,
    standings::{Known, advance},
    telling::{People, Tell, insist},
    world::World,
};
use crate::{
    domain::ids::{SegmentKey, Uid},
    ports::{Clock, Crossing, CrowdStore, StoreError, TransitionCursor, TransitionRead, TransitionStore},
};

/// Takes notes of changes and tells who entered and left. Clones are the same.
#[derive(Clone)]
pub struct Transitions(Arc<Shared>);

struct Shared {
    store: Arc<dyn TransitionStore>,
    crowds: Arc<dyn CrowdStore>,
    world: Box<dyn Fn() -> Arc<World> + Send + Sync>,
    clock: Arc<dyn Clock>,
    sender: mpsc::Sender<(Note, OwnedSemaphorePermit)>,
    receiver: Mutex<mpsc::Receiver<(Note, OwnedSemaphorePermit)>>,
    /// KiB that are left for notes that wait.
    room: Arc<Semaphore>,
    /// Whether anybody works on the queue.
    working: AtomicBool,
    followers: Followers,
    /// People of whom nothing could be told.
    lost: Counter,
}

impl Transitions {
    /// Notes that may wait.
    const QUEUE: usize = 20_000;
    /// KiB that they may take.
    const ROOM: u32 = 64 << 10;
    /// Notes taken together.
    const BATCH: usize = 1_000;
    /// How long to gather them.
    const GATHER: Duration = Duration::from_millis(50);
    /// People told of in one transaction whose time on a list is over.
    const PAGE: u32 = 5_000;
    /// How often to look for people whom time alone moved.
    const LOOK: Duration = Duration::from_millis(250);
    /// For how long somebody is left alone of whom nothing can be told, in milliseconds.
    const LATER: i64 = 600_000;
    /// How many may follow the segments of one account as it happens, here.
    const FOLLOWERS: usize = 64;
    /// How often a person is looked at again who changed meanwhile, by another replica.
    const TRIES: usize = 8;

    /// A queue that nobody works on yet: run [`Transitions::work`]. Rules are those of the `world` of the moment.
    #[must_use]
    pub fn new(
        store: Arc<dyn TransitionStore>,
        crowds: Arc<dyn CrowdStore>,
        world: impl Fn() -> Arc<World> + Send + Sync + 'static,
        clock: Arc<dyn Clock>,
        lost: Counter,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(Self::QUEUE);
        let receiver = Mutex::new(receiver);
        let (world, room) = (Box::new(world), Arc::new(Semaphore::new(Self::ROOM as usize)));
        let (working, followers) = Default::default();
        let shared = Shared { store, crowds, world, clock, sender, receiver, room, working, followers, lost };
        Self(Arc::new(shared))
    }

    /// Notes a change that is durable, and waits until there is room: whoever changes people faster
    /// than it can be told is held back. Never on the way of a decision.
    pub async fn note(&self, note: Note) {
        let (room, size) = (Arc::clone(&self.0.room), note.kib().min(Self::ROOM));
        if self.0.working.load(Ordering::Relaxed) {
            // none is left, and nobody takes any more, once it is over
            if let Ok(place) = room.acquire_many_owned(size).await {
                let _over = self.0.sender.send((note, place)).await;
            }
        } else if let Ok(place) = room.try_acquire_many_owned(size) {
            // A command that serves nobody tells what there is room for.
            let _full = self.0.sender.try_send((note, place));
        }
    }

    /// Notes people whose memberships of a list became others, of whom the `others` that rest on it are
    /// told. Waits for those who tell, so that no more than a few thousand are ever on their way to them.
    pub async fn listed(&self, account: u32, list: &SegmentKey, others: &Arc<[SegmentKey]>, crossed: Vec<Crossing>) {
        for Crossing { uid, was, at } in crossed.into_iter().filter(|_| !others.is_empty()) {
            let before = Before::Listed { list: list.clone(), was, others: Arc::clone(others) };
            self.note(Note { account, uid, at, versions: None, before }).await;
        }
    }

    /// A place to follow the account's segments from as it happens, until it is dropped; none where too
    /// many do.
    pub fn follower(&self, account: u32) -> Option<Follower> {
        self.0.followers.enter(account, Self::FOLLOWERS)
    }

    /// Transitions of a segment after a place.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(
        &self,
        account: u32,
        segment: SegmentKey,
        after: TransitionCursor,
        limit: u32,
    ) -> Result<Vec<TransitionRead>, StoreError> {
        self.0.store.read(account, segment, after, limit).await
    }

    /// Where to follow from, to see only what comes.
    ///
    /// # Errors
    /// The store's.
    pub async fn end(&self) -> Result<TransitionCursor, StoreError> {
        self.0.store.end().await
    }

    /// Works on the notes, and on those whom time alone moves, until `stop`.
    pub async fn work(self, stop: CancellationToken) {
        tokio::join!(self.follow(&stop), self.watch(&stop));
    }

    async fn follow(&self, stop: &CancellationToken) {
        let mut notes = self.0.receiver.lock().await;
        self.0.working.store(true, Ordering::Relaxed);
        loop {
            let first = match stop.run_until_cancelled(notes.recv()).await {
                Some(note) => note,
                None => notes.try_recv().ok(),
            };
            let Some(first) = first else {
                // whoever waits for room need not any more
                self.0.room.close();
                return notes.close();
            };
            let (mut batch, until) = (vec![first], Instant::now() + Self::GATHER);
            while batch.len() < Self::BATCH {
                let Ok(Some(note)) = time::timeout_at(until, notes.recv()).await else { break };
                batch.push(note);
            }
            let mut people = People::new();
            for (note, _) in batch {
                people.entry((note.account, note.uid)).or_default().push(note);
            }
            for notes in people.values_mut() {
                // two who changed one person may have noted it in another order; what moved them in lists comes
                // last, as if it had come after all else
                notes.sort_by_key(|note| note.versions.map_or(i64::MAX, |(_, version)| version));
            }
            self.0.lost.increment(insist(self, people, stop).await.len() as u64);
        }
    }

    async fn watch(&self, stop: &CancellationToken) {
        let mut well = true;
        while stop.run_until_cancelled(time::sleep(Self::LOOK)).await.is_some() {
            loop {
                // neither keeps the other from what it has to do
                let looks = [self.expire().await, self.look(stop).await];
                let error = looks.iter().find_map(|look| look.as_ref().err());
                if let Some(error) = error.filter(|_| well) {
                    tracing::warn!(%error, "people whom time moved could not be looked at");
                }
                well = error.is_none();
                if stop.is_cancelled() || !looks.iter().any(|more| matches!(more, Ok(true))) {
                    break;
                }
            }
        }
    }

    /// Tells of some whose time on a list is over; whether there may be more.
    async fn expire(&self) -> Result<bool, StoreError> {
        let told = self.0.store.expire(self.0.clock.now(), Self::PAGE).await?;
        Ok(told >= u64::from(Self::PAGE))
    }

    /// Looks at people who are due; whether there may be more.
    async fn look(&self, stop: &CancellationToken) -> Result<bool, StoreError> {
        let due = self.0.store.due(self.0.clock.now(), Self::BATCH as u32).await?;
        let full = due.len() >= Self::BATCH;
        let people: People = due.iter().map(|row| ((row.account, row.uid), Vec::new())).collect();
        let lost: Vec<_> = insist(self, people, stop).await.into_keys().collect();
        if !lost.is_empty() {
            // whoever is due behind them is not to wait for them
            self.0.lost.increment(lost.len() as u64);
            self.0.store.postpone(lost, self.0.clock.now().plus(Self::LATER)).await?;
        }
        Ok(full)
    }

    /// What is kept of some people, and what was told of them.
    async fn known(&self, who: impl Iterator<Item = (u32, Uid)>) -> Result<BTreeMap<(u32, Uid), Known>, StoreError> {
        let mut accounts: BTreeMap<u32, Vec<Uid>> = BTreeMap::new();
        for (account, uid) in who {
            accounts.entry(account).or_default().push(uid);
        }
        let mut known: BTreeMap<_, Known> = BTreeMap::new();
        for (account, uids) in accounts {
            for row in self.0.store.standings(account, uids.clone()).await? {
                let who = (account, row.uid);
                known.entry(who).or_default().standing = Some(row);
            }
            for person in self.0.crowds.people(account, uids).await? {
                let who = (account, person.uid);
                known.entry(who).or_default().person = Some(person);
            }
        }
        Ok(known)
    }
}

impl Tell for Transitions {
    /// Looks at people, each with what is noted of them, and tells what there is to tell.
    async fn tell(&self, people: &mut People) -> Result<(), StoreError> {
        for _ in 0..Self::TRIES {
            let known = self.known(people.keys().copied()).await?;
            let (world, now) = ((self.0.world)(), self.0.clock.now());
            let asked = Arc::new(std::mem::take(people));
            let looked_at = Arc::clone(&asked);
            let work = move || {
                let steps = looked_at.iter().filter_map(|((account, uid), notes)| {
                    let rules = &world.account(*account)?.snapshot.rules;
                    advance(rules, *account, *uid, notes, known.get(&(*account, *uid)), now)
                });
                steps.collect::<Vec<_>>()
            };
            let steps = tokio::task::spawn_blocking(work).await;
            // they are not lost with a thread that panicked
            *people = Arc::unwrap_or_clone(asked);
            let steps = steps.map_err(|_| StoreError::Refused("telling panicked".into()))?;
            if steps.is_empty() {
                people.clear();
                return Ok(());
            }
            let passed: BTreeSet<_> = self.0.store.step(steps).await?.into_iter().collect();
            people.retain(|who, _| passed.contains(who));
            if people.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError::Refused("the same people keep changing".into()))
    }
}
