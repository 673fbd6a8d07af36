//! Announces who enters and leaves segments: never on the way of a decision or of a change, which
//! only puts a note into a queue once it is durable.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex, mpsc},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{catalogue::Catalogue, unpack::unpack};
use crate::{
    domain::{
        audience::{
            caps::CapRing,
            transition::transitions,
            user::{Lists, UserState},
        },
        ids::{NameHash, SegmentKey, Uid},
        values::Millis,
    },
    ports::{CrowdRow, CrowdStore, StoreError, TransitionCursor, TransitionRead, TransitionRow, TransitionStore},
};

/// A change to a person that is durable.
#[derive(Debug, Clone)]
pub struct Note {
    /// Number of the account.
    pub account: u32,
    /// Who.
    pub uid: Uid,
    /// When.
    pub at: Millis,
    /// What they were before.
    pub before: Before,
}

/// What a person was before a change.
#[derive(Debug, Clone)]
pub enum Before {
    /// Their packed profile before and after; their lists stayed as they are.
    Packed(Vec<u8>, Vec<u8>),
    /// Their lists; the rest stayed as it is.
    Lists(Lists),
    /// Whether they were on one list, and until when. Told is what that did to `others`; the list
    /// itself is told already.
    Listed {
        /// The list.
        list: SegmentKey,
        /// What they were on it.
        was: Option<Option<Millis>>,
        /// The segments that rest on it.
        others: Arc<[SegmentKey]>,
    },
    /// All of them: they are erased.
    Erased(Box<UserState>),
    /// All of them before and after; none: nobody.
    Whole(Option<Box<UserState>>, Option<Box<UserState>>),
}

/// Takes notes of changes and tells who entered and left. Clones are the same.
#[derive(Clone)]
pub struct Transitions(Arc<Shared>);

struct Shared {
    store: Arc<dyn TransitionStore>,
    crowds: Arc<dyn CrowdStore>,
    catalogue: Arc<Catalogue>,
    sender: mpsc::Sender<Note>,
    receiver: Mutex<mpsc::Receiver<Note>>,
    /// Notes that found no room.
    /// Whether anybody works on the queue.
    working: AtomicBool,
}

impl Transitions {
    /// Notes that may wait.
    const QUEUE: usize = 20_000;
    /// Notes taken together.
    const BATCH: usize = 1_000;
    /// How long to gather them.
    const GATHER: Duration = Duration::from_millis(50);

    /// A queue that nobody works on yet: run [`Transitions::work`].
    #[must_use]
    pub fn new(store: Arc<dyn TransitionStore>, crowds: Arc<dyn CrowdStore>, catalogue: Arc<Catalogue>) -> Self {
        let (sender, receiver) = mpsc::channel(Self::QUEUE);
        let receiver = Mutex::new(receiver);
        Self(Arc::new(Shared { store, crowds, catalogue, sender, receiver, working: AtomicBool::new(false) }))
    }

    /// Notes a change that is durable, and waits until there is room: whoever changes people faster
    /// than it can be told is held back. Never on the way of a decision.
    pub async fn note(&self, note: Note) {
        if self.0.working.load(Ordering::Relaxed) {
            // the receiver lives as long as the sender
            let _never = self.0.sender.send(note).await;
        } else {
            // A command that serves nobody tells what there is room for.
            let _full = self.0.sender.try_send(note);
        }
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

    /// Works on the notes until `stop`.
    pub async fn work(self, stop: CancellationToken) {
        let mut notes = self.0.receiver.lock().await;
        self.0.working.store(true, Ordering::Relaxed);
        loop {
            let first = match stop.run_until_cancelled(notes.recv()).await {
                Some(note) => note,
                None => notes.try_recv().ok(),
            };
            let Some(first) = first else {
                // whoever waits for room need not any more
                return notes.close();
            };
            let (mut batch, until) = (vec![first], Instant::now() + Self::GATHER);
            while batch.len() < Self::BATCH {
                let Ok(Some(note)) = time::timeout_at(until, notes.recv()).await else { break };
                batch.push(note);
            }
            let count = batch.len();
            if let Err(error) = self.tell(batch).await {
                tracing::warn!(%error, count, "changes whose transitions could not be recorded");
            }
        }
    }

    async fn tell(&self, notes: Vec<Note>) -> Result<(), StoreError> {
        let mut people: BTreeMap<u32, Vec<Uid>> = BTreeMap::new();
        for note in &notes {
            people.entry(note.account).or_default().push(note.uid);
        }
        let mut known = BTreeMap::new();
        for (account, mut uids) in people {
            uids.sort_unstable();
            uids.dedup();
            let rows = self.0.crowds.people(account, uids).await?;
            known.extend(rows.into_iter().map(|who| ((account, who.uid), who)));
        }
        let world = self.0.catalogue.world();
        let work = move || -> Vec<TransitionRow> {
            let told = notes.iter().filter_map(|note| {
                let rules = &world.account(note.account)?.snapshot.rules;
                let (before, after) = sides(note, known.get(&(note.account, note.uid)))?;
                let (before, after, erased) =
                    (before.as_ref(), after.as_ref(), matches!(note.before, Before::Erased(_)));
                let moved = match &note.before {
                    Before::Listed { others, .. } => {
                        let others = others.iter().filter_map(|key| rules.ix(key));
                        transitions(note.uid, before, after, rules, others, note.at)
                    }
                    _ => transitions(note.uid, before, after, rules, rules.all(), note.at),
                };
                Some(moved.into_iter().map(move |one| TransitionRow {
                    account: note.account,
                    segment: rules.key(one.segment).clone(),
                    uid: note.uid,
                    entered: one.entered,
                    at: note.at,
                    erased,
                }))
            });
            told.flatten().collect()
        };
        let told =
            tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Refused("telling panicked".into()))?;
        if told.is_empty() { Ok(()) } else { self.0.store.record(told).await }
    }
}

/// The person before and after the change; `None` when what is kept of them is gone or cannot be read.
fn sides(note: &Note, now: Option<&CrowdRow>) -> Option<(Option<UserState>, Option<UserState>)> {
    let state = |packed: &[u8], lists: Lists| UserState::decode(packed, 0, lists, CapRing::default()).ok();
    let relisted = |lists: &dyn Fn(&Lists) -> Lists| {
        let after = unpack(now?.row.clone()).ok()?;
        let mut before = after.clone();
        before.lists = lists(&after.lists);
        Some((Some(before), Some(after)))
    };
    match &note.before {
        Before::Whole(before, after) => {
            let side = |side: &Option<Box<UserState>>| side.as_deref().cloned();
            Some((side(before), side(after)))
        }
        Before::Packed(before, after) => {
            let lists = Lists::new(now?.row.lists.iter().copied());
            let was =
                if before.is_empty() && lists.iter().len() == 0 { None } else { Some(state(before, lists.clone())?) };
            Some((was, Some(state(after, lists)?)))
        }
        Before::Lists(lists) => relisted(&|_| lists.clone()),
        Before::Listed { list, was, .. } => {
            let list = NameHash::of(list.as_str());
            let own = was.map(|until| (list, until));
            relisted(&|lists| Lists::new(lists.iter().filter(|(other, _)| *other != list).chain(own)))
        }
        Before::Erased(before) => Some((Some((**before).clone()), None)),
    }
}
