//! Decision records, written off the path: a decision never waits for them, and losing some in a
//! crash is accepted and counted.

use std::{sync::Arc, time::Duration};

use metrics::Counter;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::queue::Queue;
use crate::ports::{DecisionRecord, OutcomeStore};

/// Where decision records go. Clones lead to the same place.
#[derive(Clone)]
pub struct Records {
    queue: Arc<Queue<DecisionRecord>>,
    store: Arc<dyn OutcomeStore>,
    lost: Counter,
}

impl Records {
    /// Records in one write.
    const BATCH: usize = 200;
    /// Records that may wait to be written.
    const QUEUE: usize = 4_096;
    /// The same in bytes.
    const BYTES: usize = 64 << 20;
    /// How long a record waits for others.
    const GATHER: Duration = Duration::from_secs(1);
    /// A write that takes longer is given up, not cancelled.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// A queue to `store`; `lost` counts records that were not written, or not surely. Run
    /// [`Records::write`] as a background task.
    #[must_use]
    pub fn new(store: Arc<dyn OutcomeStore>, lost: Counter) -> Self {
        Self { queue: Arc::new(Queue::weighing(Self::QUEUE, Self::BYTES, |record| record.body.len())), store, lost }
    }

    /// Keeps a record if there is room. Never waits.
    pub fn keep(&self, record: DecisionRecord) {
        if !self.queue.offer(record) {
            self.lost.increment(1);
        }
    }

    /// Waits until all records kept so far are written or lost.
    pub async fn flush(&self) {
        self.queue.flush().await;
    }

    /// Writes what is kept, until `stop` and until the queue is empty then.
    pub async fn write(self, stop: CancellationToken) {
        let mut reader = self.queue.reader().await;
        while let Some(group) = reader.next(&stop, Self::BATCH, Self::GATHER).await {
            if !group.items.is_empty() {
                self.store(group.items).await;
            }
            if let Some(done) = group.flush {
                let _gone = done.send(());
            }
        }
    }

    async fn store(&self, records: Vec<DecisionRecord>) {
        let count = records.len() as u64;
        let store = self.store.clone();
        // Apart, so that giving up cancels nothing.
        let call = tokio::spawn(async move { store.keep(records).await });
        match time::timeout(Self::PATIENCE, call).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => tracing::warn!(count, %error, "decision records are lost"),
            Ok(Err(_)) | Err(_) => tracing::warn!(count, "decision records are lost: writing them took too long"),
        }
        self.lost.increment(count);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::{ids::DecisionId, values::Millis},
        engine::fakes::{FakeOutcomes, Fault},
        telemetry,
    };

    fn record(number: u128) -> DecisionRecord {
        let decision = DecisionId(Uuid::from_u128(number));
        DecisionRecord { account: 1, decision, at: Millis(0), person: None, catalog_version: 1, body: String::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn records_are_written_in_groups_and_losses_counted() {
        let store = Arc::new(FakeOutcomes::default());
        let (meters, exposition) = telemetry::metrics();
        let records = Records::new(store.clone(), meters.records_dropped);
        let stop = CancellationToken::new();
        let writer = tokio::spawn(records.clone().write(stop.clone()));
        (0..450).for_each(|number| records.keep(record(number)));
        records.flush().await;
        assert_eq!((store.kept(), store.keeps()), (450, 3));

        store.set(Fault::Hang);
        (0..10).for_each(|number| records.keep(record(number)));
        records.flush().await;
        (0..5_000).for_each(|number| records.keep(record(number)));
        let lost = 10 + 5_000 - Records::QUEUE;
        assert!(exposition.render().contains(&format!("tessera_records_dropped_total {lost}\n")));

        store.set(Fault::None);
        stop.cancel();
        writer.await.expect("stopped");
        // The queue is emptied before the end, and what was given up was not cancelled.
        assert_eq!(store.kept(), 450 + 10 + Records::QUEUE);
    }
}
