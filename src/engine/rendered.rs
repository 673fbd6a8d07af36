//! What was rendered late: whoever loads it again sees the same, on whichever replica.

use std::{sync::Arc, time::Duration};

use metrics::Counter;
use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{deadline::Deadline, queue::Queue, quiet::Quiet};
use crate::{
    domain::{
        decision::late::LIFE_MS,
        ids::{DecisionId, Uid},
    },
    ports::{RenderedRow, RenderedStore},
};

/// Whose frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Number of the account.
    pub account: u32,
    /// The decision.
    pub decision: DecisionId,
    /// Whom it was bid for, where that is known.
    pub person: Option<Uid>,
}

/// What a frame showed.
#[derive(Clone)]
struct Shown {
    person: Option<(u32, Uid)>,
    markup: Arc<str>,
}

/// Markup by its decision, for as long as it may be loaded. Clones lead to the same place.
#[derive(Clone)]
pub struct Rendered {
    here: Cache<DecisionId, Shown>,
    /// Who was erased while their frames may open: a rendering that was under way is not kept.
    erased: Cache<(u32, Uid), ()>,
    queue: Arc<Queue<RenderedRow>>,
    store: Arc<dyn RenderedStore>,
    lost: Counter,
    quiet: Arc<Quiet>,
}

impl Rendered {
    /// Most bytes of markup held here.
    const BYTES: u64 = 32 << 20;
    /// Rows in one write.
    const BATCH: usize = 200;
    /// What may wait to be written.
    const QUEUE: usize = 4_096;
    /// The same in bytes of markup.
    const QUEUE_BYTES: usize = 16 << 20;
    /// So many of those erased last are known.
    const ERASED: u64 = 100_000;
    /// How long a row waits for others.
    const GATHER: Duration = Duration::from_millis(10);
    /// A write that takes longer is given up, not cancelled.
    const PATIENCE: Duration = Duration::from_secs(2);
    /// A store that had less time than this is not left alone for not answering in it.
    const FAIR: Duration = Duration::from_millis(5);

    /// Keeps what is rendered in `store`; `lost` counts what was not written. Run [`Rendered::write`] as a
    /// background task.
    #[must_use]
    pub fn new(store: Arc<dyn RenderedStore>, lost: Counter) -> Self {
        let weight = |_: &DecisionId, shown: &Shown| u32::try_from(shown.markup.len() + 160).unwrap_or(u32::MAX);
        let life = Duration::from_millis(LIFE_MS.unsigned_abs());
        let here = Cache::builder().max_capacity(Self::BYTES).weigher(weight).time_to_live(life);
        let erased = Cache::builder().max_capacity(Self::ERASED).time_to_live(life);
        Self {
            here: here.support_invalidation_closures().build(),
            // whoever came last is kept, however often others are asked for
            erased: erased.eviction_policy(EvictionPolicy::lru()).build(),
            queue: Arc::new(Queue::weighing(Self::QUEUE, Self::QUEUE_BYTES, |row| row.markup.len())),
            store,
            lost,
            quiet: Arc::default(),
        }
    }

    /// What a decision showed, here or, as far as the store answers within half of what is left of the
    /// time, elsewhere. Where nothing is found it is chosen again by the same seed, and so differs only
    /// where the person or what was learned has changed. Nothing of people who were erased.
    pub async fn find(&self, frame: Frame, deadline: Deadline) -> Option<Arc<str>> {
        if self.is_erased(frame) {
            return None;
        }
        if let Some(here) = self.here.get(&frame.decision) {
            return Some(here.markup);
        }
        let given = deadline.remaining() / 2;
        if given.is_zero() || self.quiet.holds() {
            return None;
        }
        let store = Arc::clone(&self.store);
        // apart, so that giving up cancels nothing
        let found = tokio::spawn(async move { store.find(frame.account, frame.decision).await });
        match time::timeout(given, found).await {
            Ok(Ok(Ok(found))) => return found.map(|markup| self.hold(frame, markup.into(), |_| {})),
            // what waited for its turn to the end of its time says nothing of the store
            Err(_) if given < Self::FAIR => {}
            _ => self.quiet.begin(),
        }
        None
    }

    /// Keeps what a decision shows, unless something is kept already: that is what it shows. Never waits.
    #[must_use]
    pub fn keep(&self, frame: Frame, markup: String) -> Arc<str> {
        self.hold(frame, markup.into(), |markup| {
            let Frame { account, decision, person } = frame;
            if !self.queue.offer(RenderedRow { account, decision, person, markup: markup.to_owned() }) {
                self.lost.increment(1);
            }
        })
    }

    /// Drops what is held of a person who was erased.
    pub fn on_erased(&self, account: u32, uid: Uid) {
        self.erased.insert((account, uid), ());
        let theirs = move |_: &DecisionId, shown: &Shown| shown.person == Some((account, uid));
        // refused only where the cache was not built for it
        let _dropped = self.here.invalidate_entries_if(theirs);
    }

    /// Drops everything: who was erased may not have been told.
    pub fn on_reset(&self) {
        self.here.invalidate_all();
    }

    fn is_erased(&self, frame: Frame) -> bool {
        frame.person.is_some_and(|uid| self.erased.contains_key(&(frame.account, uid)))
    }

    /// What is held of a decision, or else `markup`, after telling `new` of it.
    fn hold(&self, frame: Frame, markup: Arc<str>, new: impl FnOnce(&str)) -> Arc<str> {
        let person = frame.person.map(|uid| (frame.account, uid));
        let shown = self.here.get_with(frame.decision, || {
            if !self.is_erased(frame) {
                new(&markup);
            }
            Shown { person, markup }
        });
        // also who was erased meanwhile
        if self.is_erased(frame) {
            self.here.invalidate(&frame.decision);
        }
        shown.markup
    }

    /// Writes what is kept, until `stop` and until the queue is empty then.
    pub async fn write(self, stop: CancellationToken) {
        let mut reader = self.queue.reader().await;
        while let Some(group) = reader.next(&stop, Self::BATCH, Self::GATHER).await {
            let count = group.items.len() as u64;
            let store = Arc::clone(&self.store);
            // apart, so that giving up cancels nothing
            let call = tokio::spawn(async move { store.keep(group.items).await });
            if !matches!(time::timeout(Self::PATIENCE, call).await, Ok(Ok(Ok(())))) {
                tracing::warn!(count, "what was rendered late is kept on this replica alone");
                self.lost.increment(count);
            }
            if let Some(done) = group.flush {
                let _gone = done.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::Instant;
    use uuid::Uuid;

    use super::*;
    use crate::{domain::values::Millis, ports::Answer};

    /// A store that answers nobody.
    #[derive(Default)]
    struct Frozen(AtomicUsize);

    impl RenderedStore for Frozen {
        fn keep(&self, _: Vec<RenderedRow>) -> Answer<'_, ()> {
            Box::pin(std::future::pending())
        }

        fn find(&self, _: u32, _: DecisionId) -> Answer<'_, Option<String>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::pending())
        }

        fn maintain(&self, _: Millis) -> Answer<'_, ()> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_store_is_left_alone_but_not_for_those_who_came_too_late() {
        let store = Arc::new(Frozen::default());
        let rendered = Rendered::new(store.clone(), Counter::noop());
        let find = async |left_ms: u64| {
            let deadline = Deadline::starting(Instant::now(), Duration::from_millis(left_ms));
            let frame = Frame { account: 1, decision: DecisionId(Uuid::from_u128(7)), person: None };
            assert_eq!(rendered.find(frame, deadline).await, None);
            tokio::task::yield_now().await;
            store.0.load(Ordering::Relaxed)
        };
        assert_eq!(find(0).await, 0, "no time is left");
        assert_eq!((find(4).await, find(18).await), (1, 2), "a late one keeps nobody else away");
        assert_eq!(find(18).await, 2, "who has waited does");
        time::advance(Duration::from_secs(1)).await;
        assert_eq!(find(18).await, 3);
    }
}
