//! What was rendered late: whoever loads it again sees the same, on whichever replica.

use std::{sync::Arc, time::Duration};

use metrics::Counter;
use moka::sync::Cache;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{deadline::Deadline, queue::Queue, quiet::Quiet};
use crate::{
    domain::{decision::late::LIFE_MS, ids::DecisionId},
    ports::{RenderedRow, RenderedStore},
};

/// Markup by its decision, for as long as it may be loaded. Clones lead to the same place.
#[derive(Clone)]
pub struct Rendered {
    here: Cache<DecisionId, Arc<str>>,
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
        let weight = |_: &DecisionId, markup: &Arc<str>| u32::try_from(markup.len() + 128).unwrap_or(u32::MAX);
        let life = Duration::from_millis(LIFE_MS.unsigned_abs());
        Self {
            here: Cache::builder().max_capacity(Self::BYTES).weigher(weight).time_to_live(life).build(),
            queue: Arc::new(Queue::new(Self::QUEUE)),
            store,
            lost,
            quiet: Arc::default(),
        }
    }

    /// What a decision showed, here or, as far as the store answers within half of what is left of the
    /// time, elsewhere. Where nothing is found it is chosen again by the same seed, and so differs only
    /// where the person or what was learned has changed.
    pub async fn find(&self, account: u32, decision: DecisionId, deadline: Deadline) -> Option<Arc<str>> {
        if let Some(here) = self.here.get(&decision) {
            return Some(here);
        }
        let given = deadline.remaining() / 2;
        if given.is_zero() || self.quiet.holds() {
            return None;
        }
        let store = Arc::clone(&self.store);
        // apart, so that giving up cancels nothing
        let found = tokio::spawn(async move { store.find(account, decision).await });
        match time::timeout(given, found).await {
            Ok(Ok(Ok(found))) => return found.map(|markup| self.here.get_with(decision, || markup.into())),
            // what waited for its turn to the end of its time says nothing of the store
            Err(_) if given < Self::FAIR => {}
            _ => self.quiet.begin(),
        }
        None
    }

    /// Keeps what a decision shows, unless something is kept already: that is what it shows. Never waits.
    #[must_use]
    pub fn keep(&self, account: u32, decision: DecisionId, markup: String) -> Arc<str> {
        self.here.get_with(decision, || {
            if !self.queue.offer(RenderedRow { account, decision, markup: markup.clone() }) {
                self.lost.increment(1);
            }
            markup.into()
        })
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
            assert_eq!(rendered.find(1, DecisionId(Uuid::from_u128(7)), deadline).await, None);
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
