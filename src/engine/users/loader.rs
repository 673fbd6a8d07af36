//! Reads people from the store, apart from those who wait for them: a caller that gives up, or
//! whose client went away, cancels nothing, and the next one finds the person in the cache.
//!
//! Keys that miss while reads are under way gather, and the next read takes all of them; when
//! nothing is under way a key is read at once. A key is in at most one read at a time.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch, time};

use super::{
    breaker::Breaker,
    key::{BuildKeyHasher, Key, Moment},
    memory::{Fill, Memory},
};
use crate::{
    domain::{
        audience::{
            caps::CapRing,
            user::{CodecError, Lists, UserState},
        },
        decision::standing::Degraded,
        ids::Uid,
    },
    ports::{StoreError, UserRow, UserStore},
    telemetry::UserLoads,
};

/// What a read brought.
#[derive(Clone)]
pub(super) enum Loaded {
    /// Who it is, if anybody.
    Read {
        state: Option<Arc<UserState>>,
        /// Who that is, if their key was merged into another.
        merged_into: Option<Uid>,
        /// When the read began, on the memory's clock.
        began: u64,
        /// Whether something newer was announced meanwhile.
        outdated: bool,
    },
    /// Nothing, and why.
    Failed(Degraded),
}

/// What the store answers with.
type Rows = Vec<((u32, Uid), UserRow)>;

/// Where the answer will be.
pub(super) type Answer = watch::Receiver<Option<Loaded>>;

pub(super) struct Loader {
    memory: Arc<Memory>,
    store: Arc<dyn UserStore>,
    /// Reads under way at a time.
    most: usize,
    /// How long to wait for a read.
    wait: Duration,
    loads: UserLoads,
    state: Mutex<State>,
}

struct State {
    /// Every key that is queued or being read.
    flights: HashMap<Key, Answer, BuildKeyHasher>,
    queue: VecDeque<Waiting>,
    /// Reads under way, without those given up.
    running: usize,
    breaker: Breaker,
}

impl State {
    fn enqueue(&mut self, key: Key) -> Answer {
        let (sender, answer) = watch::channel(None);
        self.flights.insert(key, answer.clone());
        self.queue.push_back(Waiting { key, answer: sender });
        answer
    }
}

/// A key to read and where to put the answer.
struct Waiting {
    key: Key,
    answer: watch::Sender<Option<Loaded>>,
}

impl Loader {
    /// Keys in one read.
    const BATCH: usize = 256;
    /// Keys that may wait to be read.
    const QUEUE: usize = 8_192;

    /// Reads so many at a time, and waits so long for each.
    pub(super) fn new(
        memory: Arc<Memory>,
        store: Arc<dyn UserStore>,
        (most, wait): (usize, Duration),
        loads: UserLoads,
    ) -> Self {
        let (flights, queue) = (HashMap::default(), VecDeque::new());
        let state = Mutex::new(State { flights, queue, running: 0, breaker: Breaker::new() });
        Self { memory, store, most: most.max(1), wait, loads, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of it is whole before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `key` read. None when waiting for it is in vain: the store is known to be down, or too
    /// much waits already. In the first case the key goes with the next try.
    pub(super) fn ask(self: &Arc<Self>, key: Key) -> Option<Answer> {
        let mut state = self.state();
        let down = state.breaker.is_open();
        let room = if down { Self::BATCH } else { Self::QUEUE };
        let answer = match state.flights.get(&key) {
            Some(answer) => Some(answer.clone()),
            None if state.queue.len() >= room => None,
            None => Some(state.enqueue(key)),
        };
        self.start_one(&mut state);
        answer.filter(|_| !down)
    }

    /// Starts a reader if there is something to read and room for one.
    fn start_one(self: &Arc<Self>, state: &mut State) {
        // Without a runtime, which is when it shuts down, nobody waits any more.
        if !state.queue.is_empty()
            && state.breaker.allows(state.running, self.most)
            && let Ok(runtime) = Handle::try_current()
        {
            state.running += 1;
            runtime.spawn(self.clone().read_on());
        }
    }

    /// Reads until the queue is empty or the store fails.
    async fn read_on(self: Arc<Self>) {
        while let Some(mut batch) = self.next_batch() {
            let moments: Vec<Moment> = batch.keys().map(|_| self.memory.moment()).collect();
            let people = batch.keys().map(|key| (key.account, key.uid)).collect();
            let mut call = self.store.load(people);
            match time::timeout(self.wait, &mut call).await {
                Ok(result) => {
                    if !batch.finish(result, &moments) {
                        return;
                    }
                }
                Err(_) => {
                    batch.give_up();
                    let result = call.await;
                    batch.finish(result, &moments);
                    return;
                }
            }
        }
    }

    /// The next keys to read; none gives the reader's place back.
    fn next_batch(self: &Arc<Self>) -> Option<Batch> {
        let mut state = self.state();
        let count = state.queue.len().min(Self::BATCH);
        if count == 0 {
            state.running -= 1;
            return None;
        }
        let waiting = state.queue.drain(..count).collect();
        Some(Batch { loader: self.clone(), waiting, in_time: true })
    }

    /// After a failure: if the breaker is open now, nobody queued waits in vain. Some of their keys
    /// stay, to go with the next try.
    fn failed(self: &Arc<Self>, state: &mut State) {
        state.breaker.failed();
        if state.breaker.is_open() {
            for Waiting { key, answer } in std::mem::take(&mut state.queue) {
                state.flights.remove(&key);
                answer.send_replace(Some(Loaded::Failed(Degraded::StoreUnavailable)));
                if state.queue.len() < Self::BATCH {
                    state.enqueue(key);
                }
            }
        }
        self.start_one(state);
    }

    fn parse(row: &UserRow) -> Result<UserState, CodecError> {
        let lists = Lists::new(row.lists.iter().copied());
        let version = u64::try_from(row.version).unwrap_or_default();
        UserState::decode(&row.packed, version, lists, CapRing::decode(&row.caps)?)
    }

    /// What a read that began at `moment` brings for `key`.
    fn loaded(&self, key: Key, row: Option<&UserRow>, moment: Moment) -> Loaded {
        let state = match row.map(Self::parse).transpose() {
            Ok(state) => state.map(Arc::new),
            Err(error) => {
                self.loads.failed.increment(1);
                tracing::error!(account = key.account, person = ?key.uid, %error, "a stored profile cannot be read");
                return Loaded::Failed(Degraded::StoreUnavailable);
            }
        };
        if state.is_some() { &self.loads.found } else { &self.loads.absent }.increment(1);
        let merged_into = row.and_then(|row| row.merged_into);
        let person = Key { uid: merged_into.unwrap_or(key.uid), ..key };
        if let (Some(uid), Some(state)) = (merged_into, &state) {
            self.memory.fill_lead(key, uid, state.version, moment);
        }
        let (state, outdated) = match self.memory.fill(person, state, moment) {
            Fill::Kept(state) => (state, false),
            Fill::Outdated(state) => (state, true),
        };
        Loaded::Read { state, merged_into, began: moment.at, outdated }
    }
}

/// Keys being read. Whatever becomes of the read, also a panic, they are freed again.
struct Batch {
    loader: Arc<Loader>,
    waiting: Vec<Waiting>,
    /// Whether it still holds its place among the reads under way, and its keys.
    in_time: bool,
}

impl Batch {
    fn keys(&self) -> impl Iterator<Item = Key> {
        self.waiting.iter().map(|waiting| waiting.key)
    }

    /// Frees the keys, so that they can be asked for again.
    fn free(&mut self, state: &mut State) {
        if std::mem::take(&mut self.in_time) {
            for key in self.keys() {
                state.flights.remove(&key);
            }
        }
    }

    /// It took too long: makes room for other reads.
    fn give_up(&mut self) {
        let loader = self.loader.clone();
        let mut state = loader.state();
        self.free(&mut state);
        state.running -= 1;
        loader.failed(&mut state);
    }

    /// Hands out what was read, and answers whether the reader may go on. If not, its place is
    /// given back.
    fn finish(mut self, result: Result<Rows, StoreError>, moments: &[Moment]) -> bool {
        let loader = self.loader.clone();
        let in_time = self.in_time;
        let answers: Vec<Loaded> = match &result {
            Ok(rows) => {
                let rows: HashMap<_, _> = rows.iter().map(|(who, row)| (*who, row)).collect();
                let row = |key: Key| rows.get(&(key.account, key.uid)).copied();
                self.keys().zip(moments).map(|(key, &moment)| loader.loaded(key, row(key), moment)).collect()
            }
            Err(error) => {
                loader.loads.failed.increment(self.waiting.len() as u64);
                tracing::warn!(keys = self.waiting.len(), %error, "reading people failed");
                let timeout = matches!(error, StoreError::Timeout(_) | StoreError::Busy);
                let why = if timeout { Degraded::StoreTimeout } else { Degraded::StoreUnavailable };
                vec![Loaded::Failed(why); self.waiting.len()]
            }
        };
        let mut state = loader.state();
        self.free(&mut state);
        for (waiting, answer) in self.waiting.drain(..).zip(answers) {
            waiting.answer.send_replace(Some(answer));
        }
        let down = result.as_ref().is_err_and(StoreError::is_passing);
        match (in_time, down) {
            (true, false) => {
                state.breaker.succeeded();
                true
            }
            (true, true) => {
                state.running -= 1;
                loader.failed(&mut state);
                false
            }
            (false, false) => {
                state.breaker.answered_late();
                loader.start_one(&mut state);
                false
            }
            (false, true) => false,
        }
    }
}

impl Drop for Batch {
    /// Only a read that panicked still holds its place here.
    fn drop(&mut self) {
        if self.in_time {
            self.give_up();
        }
    }
}
