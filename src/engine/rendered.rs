//! What was rendered late: whoever loads it again sees the same, on whichever replica.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use metrics::Counter;
use moka::sync::Cache;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{deadline::Deadline, queue::Queue};
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
    /// Until when the store is not asked because it did not answer, in ms since `begun`.
    quiet: Arc<AtomicU64>,
    begun: Instant,
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
    /// How long the store is left alone when it did not answer.
    const QUIET_MS: u64 = 1_000;

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
            begun: Instant::now(),
        }
    }

    /// What a decision showed, here or, as far as the store answers within half of what is left of the
    /// time, elsewhere. Where nothing is found it is chosen again by the same seed, and so differs only
    /// where the person or what was learned has changed.
    pub async fn find(&self, account: u32, decision: DecisionId, deadline: Deadline) -> Option<Arc<str>> {
        if let Some(here) = self.here.get(&decision) {
            return Some(here);
        }
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now < self.quiet.load(Ordering::Relaxed) {
            return None;
        }
        let store = Arc::clone(&self.store);
        // apart, so that giving up cancels nothing
        let found = tokio::spawn(async move { store.find(account, decision).await });
        match time::timeout(deadline.remaining() / 2, found).await {
            Ok(Ok(Ok(found))) => found.map(|markup| self.here.get_with(decision, || markup.into())),
            _ => {
                self.quiet.store(now + Self::QUIET_MS, Ordering::Relaxed);
                None
            }
        }
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
