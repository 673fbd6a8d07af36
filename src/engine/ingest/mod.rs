//! Events: gathered into small batches, each committed with the profiles that it changes, and
//! answered afterwards.
//!
//! People are spread over workers by their uid, and a worker commits one batch at a time: writers
//! of one process never wait for each other's rows, and what gathers during a commit goes with the
//! next.

mod backfill;
mod streams;
#[cfg(test)]
pub(in crate::engine) mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

pub(super) use self::streams::check_amounts;
pub use self::streams::{StreamRegistry, Streamed};
use super::{
    consistency::Reached,
    transitions::{Note, Transitions},
    users::Users,
};
use crate::{
    domain::{
        audience::activity::{AmountError, Event},
        ids::Uid,
    },
    ports::{BatchWritten, Clock, EventBatch, EventRow, EventStore, FoldedPerson, Ingested, StoreError},
    telemetry::Meters,
};

/// Settings of the ingest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestConfig {
    /// Batches under way at a time. Default 4.
    pub workers: usize,
    /// How long to gather before a commit. Default 2 ms.
    pub gather: Duration,
    /// How long a caller waits for room before being told to come back. Default 1 s.
    pub patience: Duration,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self { workers: 4, gather: Duration::from_millis(2), patience: Duration::from_secs(1) }
    }
}

/// Why events were not kept. Sending them again is safe: those that were kept count once.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IngestError {
    /// Too much waits already.
    #[error("too many events wait to be kept")]
    Busy,
    /// The store's.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
}

/// What became of some events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Of each, in the order in which they were given.
    pub became: Vec<Ingested>,
    /// What makes a decision reflect them.
    pub reached: Option<Reached>,
}

/// Events for one worker, and who waits for them.
struct Parcel {
    account: u32,
    events: Vec<EventRow>,
    answer: oneshot::Sender<Result<Part, Arc<StoreError>>>,
}

/// What became of a parcel.
struct Part {
    became: Vec<Ingested>,
    /// The only person and their version, if there is just one.
    person: Option<(Uid, u64)>,
    xid: u64,
}

struct Shard {
    sender: mpsc::Sender<Parcel>,
    receiver: Mutex<mpsc::Receiver<Parcel>>,
}

struct Shared {
    shards: Vec<Shard>,
    store: Arc<dyn EventStore>,
    users: Users,
    streams: Arc<StreamRegistry>,
    changed: Changed,
    config: IngestConfig,
    meters: Meters,
}

/// Whom to tell of people that events changed.
struct Changed(Option<(Transitions, Arc<dyn Clock>)>);

impl Changed {
    async fn folded(&self, account: u32, person: FoldedPerson) {
        if let Some((transitions, clock)) = &self.0 {
            let sides = (person.before, person.packed);
            let note = Note::written(account, person.uid, clock.now(), (person.base, person.version), sides);
            transitions.note(note).await;
        }
    }
}

/// Where events are taken. Clones are the same place.
#[derive(Clone)]
pub struct Ingest(Arc<Shared>);

impl Ingest {
    /// Events in one commit.
    pub const BATCH: usize = 2_000;
    /// Parcels that may wait for each worker.
    const QUEUE: usize = 256;
    /// How often a batch is folded again because streams were added meanwhile.
    const TRIES: usize = 8;

    /// A place to take events, which tells `changed`, if given, of those whom they change. Run [`Ingest::work`] and [`Ingest::backfill`] as background tasks.
    #[must_use]
    pub fn new(
        config: IngestConfig,
        store: Arc<dyn EventStore>,
        users: Users,
        streams: Arc<StreamRegistry>,
        changed: Option<(Transitions, Arc<dyn Clock>)>,
        meters: Meters,
    ) -> Self {
        let shard = |_| {
            let (sender, receiver) = mpsc::channel(Self::QUEUE);
            Shard { sender, receiver: Mutex::new(receiver) }
        };
        let shards = (0..config.workers.max(1)).map(shard).collect();
        Self(Arc::new(Shared { shards, store, users, streams, changed: Changed(changed), config, meters }))
    }

    /// What profiles remember of events.
    #[must_use]
    pub fn streams(&self) -> &Arc<StreamRegistry> {
        &self.0.streams
    }

    /// Keeps events of an account, at most [`Ingest::BATCH`], and waits until they are durable.
    /// Once called it is carried through, whether or not the caller goes on waiting.
    ///
    /// # Errors
    /// Some of them may not have been kept.
    pub async fn ingest(&self, account: u32, events: Vec<EventRow>) -> Result<Report, IngestError> {
        let mut became = vec![Ingested::Duplicate; events.len()];
        let mut parts: BTreeMap<usize, (Vec<usize>, Vec<EventRow>)> = BTreeMap::new();
        for (at, event) in events.into_iter().enumerate() {
            // the low bits: the store spreads by others
            let shard = (event.uid.0 as u64 % self.0.shards.len() as u64) as usize;
            let (places, parcel) = parts.entry(shard).or_default();
            places.push(at);
            parcel.push(event);
        }
        let mut waiting = Vec::with_capacity(parts.len());
        let until = Instant::now() + self.0.config.patience;
        for (shard, (places, events)) in parts {
            let (answer, part) = oneshot::channel();
            let sent = self.0.shards[shard].sender.send(Parcel { account, events, answer });
            match time::timeout_at(until, sent).await {
                Ok(Ok(())) => waiting.push((places, part)),
                _ => return Err(IngestError::Busy),
            }
        }
        let mut reached: Option<Reached> = None;
        for (places, part) in waiting {
            let part = part.await.map_err(|_| IngestError::Busy)??;
            for (place, is) in places.into_iter().zip(part.became) {
                became[place] = is;
            }
            let own = Reached { person: part.person, xid: part.xid };
            reached = Some(reached.map_or(own, |others| others.and(own)));
        }
        self.count(&became);
        Ok(Report { became, reached })
    }

    fn count(&self, became: &[Ingested]) {
        let meters = &self.0.meters.events;
        let count = |of: Ingested| became.iter().filter(|is| **is == of).count() as u64;
        meters.applied.increment(count(Ingested::Accepted));
        meters.late.increment(count(Ingested::Late));
        meters.duplicate.increment(count(Ingested::Duplicate));
        meters.refused.increment(count(Ingested::Erased));
    }

    /// Deletes what is kept of the events of somebody who was erased, under all their uids; answers
    /// how many there were.
    ///
    /// # Errors
    /// The store's; they are deleted within a day in any case.
    pub async fn erase_events(&self, account: u32, uids: Vec<Uid>) -> Result<u64, StoreError> {
        self.0.store.erase_events(Some((account, uids))).await
    }

    /// Counts events that were refused before they came here.
    pub fn count_refused(&self, events: u64) {
        self.0.meters.events.refused.increment(events);
    }

    /// The number of workers, each to be run by [`Ingest::work`].
    #[must_use]
    pub fn workers(&self) -> usize {
        self.0.shards.len()
    }

    /// Runs one worker until `stop`, and until nothing waits for it then.
    pub async fn work(self, worker: usize, stop: CancellationToken) {
        let mut parcels = self.0.shards[worker].receiver.lock().await;
        while let Some(parcels) = self.gather(&mut parcels, &stop).await {
            let mut by_account: BTreeMap<u32, Vec<Parcel>> = BTreeMap::new();
            for parcel in parcels {
                by_account.entry(parcel.account).or_default().push(parcel);
            }
            for (account, parcels) in by_account {
                self.commit(account, parcels).await;
            }
        }
    }

    /// What gathers from the first parcel on; none once it is over.
    async fn gather(&self, from: &mut mpsc::Receiver<Parcel>, stop: &CancellationToken) -> Option<Vec<Parcel>> {
        let first = match stop.run_until_cancelled(from.recv()).await {
            Some(parcel) => parcel,
            None => from.try_recv().ok(),
        }?;
        let until = Instant::now() + self.0.config.gather;
        let mut count = first.events.len();
        let mut parcels = vec![first];
        while count < Self::BATCH {
            let Ok(Some(parcel)) = time::timeout_at(until, from.recv()).await else { break };
            count += parcel.events.len();
            parcels.push(parcel);
        }
        Some(parcels)
    }

    /// Commits parcels of one account and answers them. What the store refuses is tried parcel by
    /// parcel, so that nobody's events stop those of others.
    async fn commit(&self, account: u32, mut parcels: Vec<Parcel>) {
        let events: Vec<EventRow> = parcels.iter().flat_map(|parcel| parcel.events.iter().cloned()).collect();
        match self.write(account, events).await {
            Ok(written) => self.answer(account, parcels, written).await,
            Err(StoreError::Refused(_)) if parcels.len() > 1 => {
                while let Some(parcel) = parcels.pop() {
                    match self.write(account, parcel.events.clone()).await {
                        Ok(written) => self.answer(account, vec![parcel], written).await,
                        Err(error) => refuse(vec![parcel], error),
                    }
                }
            }
            Err(error) => refuse(parcels, error),
        }
    }

    /// Answers senders, and then has followers told: when there is no room for that, what comes next
    /// waits, and not who is answered already.
    async fn answer(&self, account: u32, parcels: Vec<Parcel>, written: Written) {
        let (people, events) = answer(parcels, written);
        self.streams().note_types(account, events.iter().map(|event| &event.event.name));
        for person in people.into_iter().filter(FoldedPerson::is_changed) {
            self.0.changed.folded(account, person).await;
        }
    }

    /// Writes events and moves the cached copies of their people on.
    async fn write(&self, account: u32, events: Vec<EventRow>) -> Result<Written, StoreError> {
        let shared = &self.0;
        for _ in 0..Self::TRIES {
            let streams = shared.streams.of(account).await?;
            let batch =
                EventBatch { account, epoch: streams.epoch, events: events.clone(), fold: streams.fold(&events)? };
            match shared.store.ingest(batch).await? {
                BatchWritten::Done { events, people, xid } => {
                    for person in people.iter().filter(|person| person.is_changed()) {
                        shared.users.advance(account, person.uid, person.base, person.version, &person.packed);
                    }
                    return Ok(Written { became: events, people, xid });
                }
                BatchWritten::Behind => shared.streams.reload(account).await?,
            }
        }
        Err(StoreError::Unavailable("streams are added too fast".into()))
    }

    /// The properties of an event that rules add up and that cannot be, with what they must be.
    #[must_use]
    pub fn check_amounts<'a>(streamed: &'a Streamed, event: &Event) -> Vec<(&'a str, AmountError)> {
        streams::check_amounts(&streamed.streams, event)
    }

    /// The streams of an account, to check events against.
    ///
    /// # Errors
    /// The store's.
    pub async fn streamed(&self, account: u32) -> Result<Arc<Streamed>, StoreError> {
        self.0.streams.of(account).await
    }
}

/// What became of a batch.
struct Written {
    became: Vec<Ingested>,
    people: Vec<FoldedPerson>,
    xid: u64,
}

/// Answers senders; the people who were written, and the events.
fn answer(parcels: Vec<Parcel>, written: Written) -> (Vec<FoldedPerson>, Vec<EventRow>) {
    let Written { became, people, xid } = written;
    let (mut became, mut events) = (became.into_iter(), Vec::new());
    for parcel in parcels {
        let became: Vec<Ingested> = became.by_ref().take(parcel.events.len()).collect();
        let version = |event: &EventRow| {
            people.iter().find(|person| person.uid == event.uid).map(|one| (one.uid, one.version.unsigned_abs()))
        };
        // of several people, versions say nothing; of repeats alone there is none
        let alone = parcel.events.windows(2).all(|pair| pair[0].uid == pair[1].uid);
        let person = parcel.events.first().filter(|_| alone).and_then(version);
        let _gone = parcel.answer.send(Ok(Part { became, person, xid }));
        events.extend(parcel.events);
    }
    (people, events)
}

fn refuse(parcels: Vec<Parcel>, error: StoreError) {
    tracing::warn!(%error, parcels = parcels.len(), "events could not be kept; their senders are told");
    let error = Arc::new(error);
    for parcel in parcels {
        let _gone = parcel.answer.send(Err(Arc::clone(&error)));
    }
}
