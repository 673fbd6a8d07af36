//! Keeps the [`World`] current: loads it, follows the feed, and survives without the store.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use crate::{
    domain::{
        catalog::snapshot::{Changed, Snapshot},
        decision::learned::Learned,
        products::Stocks,
        values::Millis,
    },
    engine::{
        disk::Disk,
        world::{Account, World},
    },
    ports::{CatalogStore, Clock, DocumentChanges, Documents, StoreError},
};

/// The live catalogue.
pub struct Catalogue {
    world: ArcSwap<World>,
    store: Arc<dyn CatalogStore>,
    clock: Arc<dyn Clock>,
    disk: Disk,
    public_url: String,
    /// One writer at a time; readers never wait.
    writing: Mutex<()>,
    /// Told after every swap.
    swapped: watch::Sender<()>,
}

/// Where a catalogue came from when the service started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The store.
    Store,
    /// The last one written to disk: the store was out of reach.
    Disk,
}

/// Neither the store nor the disk has a catalogue.
#[derive(Debug, thiserror::Error)]
#[error("the store is out of reach and there is no catalogue on disk: {0}")]
pub struct NoCatalogue(#[source] pub StoreError);

impl Catalogue {
    /// A catalogue that has nothing yet: [`Catalogue::start`] it.
    #[must_use]
    pub fn new(store: Arc<dyn CatalogStore>, clock: Arc<dyn Clock>, disk: Disk, public_url: String) -> Self {
        Self {
            world: ArcSwap::from_pointee(World::new(&[], &[], &[])),
            store,
            clock,
            disk,
            public_url,
            writing: Mutex::new(()),
            swapped: watch::Sender::new(()),
        }
    }

    /// The world as it is now.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        self.world.load_full()
    }

    /// Where beacons and assets are addressed.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Loads everything from the store, or what was last written to disk when the store does not
    /// answer.
    ///
    /// # Errors
    /// Neither has anything.
    pub async fn start(&self) -> Result<Origin, NoCatalogue> {
        match self.reload().await {
            Ok(()) => Ok(Origin::Store),
            Err(error) => self.start_from_disk().await.ok_or(NoCatalogue(error)),
        }
    }

    /// Loads what was last written to disk; `None` when there is nothing.
    pub async fn start_from_disk(&self) -> Option<Origin> {
        let world = self.read_disk().await?;
        self.swap(world);
        Some(Origin::Disk)
    }

    /// Loads everything from the store anew.
    ///
    /// # Errors
    /// The store's.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let (accounts, keys, secrets) = self.access().await?;
        let mut world = World::new(&accounts, &keys, &secrets);
        for account in &accounts {
            let documents = self.store.serving(account.number, None).await?;
            let (version, documents) = written(documents);
            self.disk.replace(account.number, version, &documents).await;
            let mut snapshot = self.compile(Arc::new(Snapshot::empty()), (version, documents)).await;
            let before = self.world().account(account.number).cloned();
            if let Some(before) = &before {
                snapshot = stocked(snapshot, Arc::clone(&before.snapshot.stocks)).await;
            }
            world = world.with_snapshot(account.number, snapshot);
            if let Some(before) = before {
                world = world.with_learned(account.number, Arc::clone(&before.learned));
            }
        }
        self.disk.access(&accounts, &keys, &secrets).await;
        self.swap(world);
        Ok(())
    }

    /// Follows an account to at least a version. Returns once the world has it.
    ///
    /// # Errors
    /// The store's.
    pub async fn follow(&self, account: u32, version: i64) -> Result<(), StoreError> {
        let known = |world: &World| world.account(account).map(|account| account.snapshot.version);
        if known(&self.world()).is_some_and(|known| known >= version) {
            return Ok(());
        }
        let _writing = self.writing.lock().await;
        let world = self.world();
        let Some(current) = world.account(account) else {
            drop(_writing);
            return self.reload().await;
        };
        if current.snapshot.version >= version {
            return Ok(());
        }
        let changes = self.store.serving_changes(account, current.snapshot.version).await?;
        let (version, changes) = changed(changes);
        if !self.disk.append(account, version, &changes).await {
            self.rewrite(account).await;
        }
        let snapshot = self.compile(Arc::clone(&current.snapshot), (version, changes)).await;
        self.swap(world.with_snapshot(account, snapshot));
        Ok(())
    }

    /// Writes an account's documents to disk anew, because something is missing there.
    async fn rewrite(&self, account: u32) {
        match self.store.serving(account, None).await {
            Ok(documents) => {
                let (version, documents) = written(documents);
                self.disk.replace(account, version, &documents).await;
            }
            Err(error) => tracing::warn!(%error, account, "the catalogue on disk stays as it was"),
        }
    }

    /// Reads accounts, API keys and secrets again.
    ///
    /// # Errors
    /// The store's.
    pub async fn follow_access(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let (accounts, keys, secrets) = self.access().await?;
        self.disk.access(&accounts, &keys, &secrets).await;
        self.swap(self.world().with_access(&accounts, &keys, &secrets));
        Ok(())
    }

    /// Waits, at most so long, until an account is at a version; whether it is. Only the feed (or
    /// a write on this replica) brings it there.
    pub async fn reached(&self, account: u32, version: i64, at_most: Duration) -> bool {
        let mut swapped = self.swapped.subscribe();
        let there = || self.world().account(account).is_some_and(|account| account.snapshot.version >= version);
        let wait = async {
            while !there() {
                if swapped.changed().await.is_err() {
                    break;
                }
            }
        };
        // what the time-out drops is only the wait
        let _ = tokio::time::timeout(at_most, wait).await;
        there()
    }

    /// The snapshot of an account as it was at an earlier version, compiled anew.
    ///
    /// # Errors
    /// The store's.
    pub async fn at(&self, account: u32, version: i64) -> Result<Arc<Snapshot>, StoreError> {
        if let Some(current) = self.world().account(account)
            && current.snapshot.version == version
        {
            return Ok(Arc::clone(&current.snapshot));
        }
        let documents = self.store.serving(account, Some(version)).await?;
        Ok(self.compile(Arc::new(Snapshot::empty()), (version, written(documents).1)).await)
    }

    async fn read_disk(&self) -> Option<World> {
        let (accounts, keys, secrets) = self.disk.read_access().await?;
        let mut world = World::new(&accounts, &keys, &secrets);
        for account in &accounts {
            let mut snapshot = Arc::new(Snapshot::empty());
            for (version, changes) in self.disk.read(account.number).await {
                snapshot = self.compile(snapshot, (version, changes)).await;
            }
            world = world.with_snapshot(account.number, snapshot);
        }
        Some(world)
    }

    async fn access(&self) -> Result<super::disk::Access, StoreError> {
        Ok((self.store.accounts().await?, self.store.api_keys().await?, self.store.signing_keys().await?))
    }

    /// Compiles beside the threads that answer requests.
    async fn compile(&self, base: Arc<Snapshot>, (version, changes): (i64, Vec<Changed>)) -> Arc<Snapshot> {
        let (url, now) = (self.public_url.clone(), self.clock.now());
        let before = Arc::clone(&base);
        let work = move || Arc::new(base.evolve(version, changes, &url, now));
        match tokio::task::spawn_blocking(work).await {
            Ok(snapshot) => {
                report(&before, &snapshot);
                snapshot
            }
            Err(error) => {
                tracing::error!(%error, version, "compiling the catalogue failed; the one before stays");
                before
            }
        }
    }

    /// Gives decisions what was learned about an account's creatives.
    pub async fn teach(&self, account: u32, learned: Arc<Learned>) {
        let _writing = self.writing.lock().await;
        self.swap(self.world().with_learned(account, learned));
    }

    /// Gives decisions what an account's feeds hold.
    pub async fn stock(&self, account: u32, stocks: Arc<Stocks>) {
        let _writing = self.writing.lock().await;
        let world = self.world();
        if let Some(current) = world.account(account) {
            let snapshot = stocked(Arc::clone(&current.snapshot), stocks).await;
            self.swap(world.with_snapshot(account, snapshot));
        }
    }

    fn swap(&self, world: World) {
        let world = Arc::new(world);
        let before = self.world.swap(Arc::clone(&world));
        for Account { row, snapshot, .. } in before.accounts().map(Arc::as_ref) {
            if !world.account(row.number).is_some_and(|now| Arc::ptr_eq(&now.snapshot, snapshot)) {
                tokio::spawn(retire(Arc::clone(snapshot)));
            }
        }
        self.swapped.send_replace(());
    }
}

/// Frees a catalogue that nothing serves by any more, once those who were deciding by it have: freeing a
/// large one takes longer than a decision may. Who holds it for longer frees it.
async fn retire(snapshot: Arc<Snapshot>) {
    const STEP: Duration = Duration::from_millis(10);
    for _ in 0..100 {
        if Arc::strong_count(&snapshot) == 1 {
            break;
        }
        tokio::time::sleep(STEP).await;
    }
    tokio::task::spawn_blocking(move || drop(snapshot));
}

/// The same catalogue with other products in its feeds, made beside the threads that answer requests:
/// all of it is copied but what it shares.
pub(super) async fn stocked(snapshot: Arc<Snapshot>, stocks: Arc<Stocks>) -> Arc<Snapshot> {
    let base = Arc::clone(&snapshot);
    let work = move || Arc::new(base.with_stocks(stocks));
    tokio::task::spawn_blocking(work).await.unwrap_or(snapshot)
}

/// Logs documents that cannot be used and could before.
fn report(before: &Snapshot, after: &Snapshot) {
    for (key, faults) in after.faults.iter().filter(|(key, _)| !before.faults.contains_key(*key)) {
        let first = faults.first().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(document = %key, faults = faults.len(), first, "a document is left out of the catalogue, or a part of it");
    }
}

fn written(documents: Documents) -> (i64, Vec<Changed>) {
    let rows = documents.rows.into_iter().map(|row| (row.key, Some(row.body)));
    (documents.version, rows.collect())
}

fn changed(changes: DocumentChanges) -> (i64, Vec<Changed>) {
    let deleted = changes.deleted.into_iter().map(|key| (key, None));
    let written = changes.written.into_iter().map(|row| (row.key, Some(row.body)));
    (changes.version, deleted.chain(written).collect())
}

/// The time of day from the machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct MachineClock;

impl Clock for MachineClock {
    fn now(&self) -> Millis {
        #[expect(clippy::disallowed_methods, reason = "this is the Clock")]
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
