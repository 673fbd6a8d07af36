//! Decisions of the past: their records, explanations and replays.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use moka::sync::Cache;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use tokio::{
    sync::{Mutex, Semaphore},
    time::timeout,
};

use crate::{
    domain::{
        catalog::snapshot::Snapshot,
        decision::{
            answer::write_item,
            assemble::{Issuer, assemble},
            explanation::ItemExplanation,
            record::{Inputs, Recorded, ReplayError},
            request::Explain,
        },
        ids::{CampaignId, DecisionId},
        values::Json,
    },
    engine::{
        catalogue::{Catalogue, stocked},
        quiet::Quiet,
        world::Account,
    },
    ports::{DecisionRecord, FoundRecord, OutcomeStore, StoreError, Tally},
};

/// Why a past decision cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Unknown, not sampled or past its retention.
    #[error("there is no record of this decision")]
    NotFound,
    /// The person it was about was erased.
    #[error("the person this decision was about was erased")]
    Erased,
    /// The record cannot be read.
    #[error("the record cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The decision cannot be made again.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The key that signed it is gone.
    #[error("the key that signed this decision is gone")]
    KeyGone,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Past decisions.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn OutcomeStore>,
    catalogue: Arc<Catalogue>,
    versions: Versions,
    queue: Arc<Queue>,
}

/// The record of an item whose inputs stand in that of another item of its request.
#[derive(Deserialize)]
struct Beside<'a> {
    inputs_of: DecisionId,
    #[serde(borrow)]
    item: &'a RawValue,
}

/// Those who cannot wait for long, as decisions are counted with them.
struct Queue {
    seats: Semaphore,
    quiet: Quiet,
}

impl Queue {
    /// How many may wait; others go away at once.
    const SEATS: usize = 32;
    /// How long they wait.
    const PATIENCE: Duration = Duration::from_secs(2);

    fn new() -> Self {
        Self { seats: Semaphore::new(Self::SEATS), quiet: Quiet::default() }
    }

    /// Waits, where there is a seat, and nobody has waited in vain a moment ago.
    async fn wait<T, E: std::fmt::Display>(&self, work: impl Future<Output = Result<T, E>>) -> Option<T> {
        let _seat = self.seats.try_acquire().ok().filter(|_| !self.quiet.holds())?;
        match timeout(Self::PATIENCE, work).await {
            Ok(Ok(done)) => Some(done),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a catalogue of the past is out of reach");
                None
            }
            Err(_) => {
                self.quiet.begin();
                tracing::warn!("a catalogue of the past takes too long");
                None
            }
        }
    }
}

/// Catalogues of earlier versions that were asked for lately, by account and version. They are compiled
/// one at a time, however many ask.
#[derive(Clone)]
struct Versions {
    kept: Cache<(u32, i64), Arc<Snapshot>>,
    turn: Arc<Mutex<()>>,
}

impl Versions {
    fn new() -> Self {
        let kept = Cache::builder().max_capacity(4).time_to_idle(Duration::from_secs(300)).build();
        Self { kept, turn: Arc::default() }
    }

    /// One that is kept, or else is compiled. What has begun goes on when its caller has left, so that
    /// whoever asks next finds it.
    async fn get<F>(&self, key: (u32, i64), compile: impl FnOnce() -> F) -> Result<Arc<Snapshot>, StoreError>
    where
        F: Future<Output = Result<Arc<Snapshot>, StoreError>> + Send + 'static,
    {
        if let Some(known) = self.kept.get(&key) {
            return Ok(known);
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if let Some(known) = self.kept.get(&key) {
            return Ok(known);
        }
        let (kept, compiling) = (self.kept.clone(), compile());
        let compiled = tokio::spawn(async move {
            let _turn = turn;
            let snapshot = compiling.await?;
            kept.insert(key, Arc::clone(&snapshot));
            Ok(snapshot)
        });
        compiled.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the compiling ended early".into())))
    }
}

impl Archive {
    /// Past decisions of a store.
    #[must_use]
    pub fn new(store: Arc<dyn OutcomeStore>, catalogue: Arc<Catalogue>) -> Self {
        Self { store, catalogue, versions: Versions::new(), queue: Arc::new(Queue::new()) }
    }

    /// The record of a decision.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub async fn record(&self, account: &Account, id: DecisionId) -> Result<DecisionRecord, ArchiveError> {
        let mut record = self.find(account, id).await?;
        // of several items of a request one holds what went into all
        if let Ok(Beside { inputs_of, item }) = serde_json::from_str(&record.body) {
            let first = self.find(account, inputs_of).await?;
            let first: Recorded<&RawValue, IgnoredAny> = serde_json::from_str(&first.body)?;
            record.body = format!("{{\"inputs\":{},\"item\":{item}}}", first.inputs);
        }
        Ok(record)
    }

    async fn find(&self, account: &Account, id: DecisionId) -> Result<DecisionRecord, ArchiveError> {
        match self.store.find(account.number(), id).await? {
            FoundRecord::Kept(record) => Ok(*record),
            FoundRecord::Erased => Err(ArchiveError::Erased),
            FoundRecord::Absent => Err(ArchiveError::NotFound),
        }
    }

    /// Records of some UTC days, the newest first, of decisions before one, at most `most`.
    ///
    /// # Errors
    /// The store's.
    pub async fn page(
        &self,
        account: u32,
        days: RangeInclusive<i32>,
        before: Option<DecisionId>,
        most: u32,
    ) -> Result<Vec<DecisionRecord>, StoreError> {
        self.store.records(account, days, before, most).await
    }

    /// What was counted of a campaign's decisions on some UTC days, by creative and kind.
    ///
    /// # Errors
    /// The store's.
    pub async fn tallies(
        &self,
        account: &Account,
        campaign: CampaignId,
        days: RangeInclusive<i32>,
    ) -> Result<Vec<Tally>, ArchiveError> {
        Ok(self.store.tallies(account.number(), campaign, days).await?)
    }

    /// The full explanation of a decision, from its recorded inputs.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub async fn explanation(&self, account: &Account, id: DecisionId) -> Result<ItemExplanation, ArchiveError> {
        let mut inputs = inputs(self.record(account, id).await?)?;
        inputs.request.explain = Explain::Full;
        let snapshot = self.snapshot(account, inputs.catalog_version).await?;
        let (decision, ..) = inputs.replay(&snapshot, id)?;
        let found = decision.explanation.into_iter().find(|explained| explained.decision_id == id);
        found.ok_or(ArchiveError::Replay(ReplayError::Decision))
    }

    /// Decides again from the recorded inputs; the item as it was sent.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub async fn replay(&self, account: &Account, id: DecisionId) -> Result<Box<RawValue>, ArchiveError> {
        let inputs = inputs(self.record(account, id).await?)?;
        let snapshot = self.snapshot(account, inputs.catalog_version).await?;
        let (decision, at, item) = inputs.replay(&snapshot, id)?;
        let item = &decision.placements[at][item];
        let world = self.catalogue.world();
        let keys = world.tokens.signing_with(inputs.signing_key).ok_or(ArchiveError::KeyGone)?;
        let issuer = Issuer { account: account.number(), keys: &keys, public_url: &inputs.public_url };
        let placement = &inputs.request.placements[at];
        let assembled = item
            .shown
            .as_ref()
            .map(|showing| assemble(item, showing, &inputs.request, placement, inputs.purposes, issuer));
        let mut json = Json::default();
        write_item(&mut json, item, assembled.as_ref(), &snapshot.rules);
        Ok(RawValue::from_string(json.into_text())?)
    }

    /// The catalogue of an account as it was at a version.
    ///
    /// # Errors
    /// The store's.
    pub async fn snapshot(&self, account: &Account, version: i64) -> Result<Arc<Snapshot>, ArchiveError> {
        if account.snapshot.version == version {
            return Ok(Arc::clone(&account.snapshot));
        }
        let catalogue = Arc::clone(&self.catalogue);
        let number = account.number();
        let compile = || async move { catalogue.at(number, version).await };
        Ok(self.versions.get((number, version), compile).await?)
    }

    /// The same, with what the account's feeds hold now: for a page that waits, if it comes within two seconds.
    pub async fn at_hand(&self, account: &Account, version: i64) -> Option<Arc<Snapshot>> {
        if self.versions.kept.contains_key(&(account.number(), version)) {
            return self.serving(account, version).await.ok();
        }
        self.queue.wait(self.serving(account, version)).await
    }

    async fn serving(&self, account: &Account, version: i64) -> Result<Arc<Snapshot>, ArchiveError> {
        let then = self.snapshot(account, version).await?;
        let stocks = &account.snapshot.stocks;
        if then.shown_feeds.is_empty() || Arc::ptr_eq(&then.stocks, stocks) {
            return Ok(then);
        }
        let stocked = stocked(then, Arc::clone(stocks)).await;
        self.versions.kept.insert((account.number(), version), Arc::clone(&stocked));
        Ok(stocked)
    }
}

fn inputs(record: DecisionRecord) -> Result<Inputs, serde_json::Error> {
    serde_json::from_str::<Recorded<Inputs, IgnoredAny>>(&record.body).map(|recorded| recorded.inputs)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{task::JoinSet, time::sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn few_wait_for_what_does_not_come_and_then_nobody() {
        let queue = Arc::new(Queue::new());
        let never = || std::future::pending::<Result<(), StoreError>>();
        let begun = tokio::time::Instant::now();
        let mut asked = JoinSet::new();
        for _ in 0..200 {
            let queue = Arc::clone(&queue);
            asked.spawn(async move {
                assert_eq!(queue.wait(never()).await, None);
                begun.elapsed()
            });
        }
        let waited = asked.join_all().await;
        assert_eq!(waited.iter().filter(|waited| waited.is_zero()).count(), 200 - Queue::SEATS);
        assert_eq!(queue.wait(async { Ok::<_, StoreError>(()) }).await, None, "left alone");
        assert_eq!(begun.elapsed(), Queue::PATIENCE);
        sleep(SECOND).await;
        assert_eq!(queue.wait(async { Ok::<_, StoreError>(()) }).await, Some(()));
        assert_eq!(queue.wait(async { Err::<(), _>(StoreError::Unavailable("gone".into())) }).await, None);
        assert_eq!(queue.wait(async { Ok::<_, StoreError>(()) }).await, Some(()), "what answers is asked again");
    }

    #[tokio::test(start_paused = true)]
    async fn versions_are_compiled_once_and_one_at_a_time() {
        let versions = Versions::new();
        let (compiled, running) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let compile = {
            let compiled = Arc::clone(&compiled);
            move || async move {
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                sleep(SECOND).await;
                running.fetch_sub(1, Ordering::SeqCst);
                compiled.fetch_add(1, Ordering::SeqCst);
                Ok(Arc::new(Snapshot::empty()))
            }
        };
        // whoever does not wait so long leaves, and what has begun goes on
        assert!(timeout(SECOND / 2, versions.get((1, 5), compile.clone())).await.is_err());
        let mut asked = JoinSet::new();
        for of in 0..20 {
            let (versions, compile) = (versions.clone(), compile.clone());
            asked.spawn(async move { versions.get((1, 5 + of % 2), compile).await.is_ok() });
        }
        assert!(asked.join_all().await.into_iter().all(|answered| answered));
        assert_eq!(compiled.load(Ordering::SeqCst), 2, "two versions");
        // what fails is tried again
        let failing = || async { Err(StoreError::Unavailable("gone".into())) };
        assert!(versions.get((1, 7), failing).await.is_err());
        versions.get((1, 7), compile).await.expect("a snapshot");
    }
}
