//! What feeds hold: filled by upload or from an address, and kept in memory where creatives show it.

mod fill;
mod keeper;
mod source;

use std::sync::Arc;

use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use self::fill::{Job, fill};
pub use self::{
    fill::{FillError, Manner},
    keeper::Keeper,
    source::{Arriving, LARGEST},
};
use super::world::Account;
use crate::{
    domain::{
        ids::FeedId,
        products::{Shelf, Stock},
    },
    ports::{Filled, ProductStore, StockRow, StoreError},
};

/// Fills feeds, and tells how that fares.
#[derive(Clone)]
pub struct Products {
    store: Arc<dyn ProductStore>,
    /// Files that are read at a time: each has a thread of its own.
    turns: Arc<Semaphore>,
    /// The same for those that are fetched, which do not wait for slow uploads.
    fetches: Arc<Semaphore>,
}

impl Products {
    /// The most rows of a file.
    pub const MOST: u64 = 1_000_000;
    /// Rows that are refused of which is told why.
    const TOLD: usize = 100;
    /// Files that are read at a time on this replica, of those uploaded and of those fetched.
    const TURNS: usize = 2;
    /// Pieces of a filling that are read at a time.
    const PIECES: u32 = 16;
    /// Pieces of a file that wait to be read.
    const WAITING: usize = 16;

    /// Feeds of a store.
    #[must_use]
    pub fn new(store: Arc<dyn ProductStore>) -> Self {
        let turns = || Arc::new(Semaphore::new(Self::TURNS));
        Self { store, turns: turns(), fetches: turns() }
    }

    /// Begins to fill a feed. What is sent is the file, piece by piece, and `None` at its end; what
    /// comes of it is known once that was taken. It goes on to its end even when nobody waits for it.
    ///
    /// # Errors
    /// There is no such feed, or others are being filled.
    pub fn begin(
        &self,
        account: &Account,
        feed: &FeedId,
        manner: Manner,
    ) -> Result<(mpsc::Sender<Arriving>, impl Future<Output = Result<Filled, FillError>> + use<>), FillError> {
        let read_as = account.snapshot.feeds.get(feed).ok_or_else(|| FillError::NotFound(feed.clone()))?;
        let advertiser = account.snapshot.advertiser(&read_as.document.advertiser).ok_or(FillError::NoAdvertiser)?;
        let turns = if manner.fetched { &self.fetches } else { &self.turns };
        let turn = Arc::clone(turns).try_acquire_owned().map_err(|_| FillError::Busy)?;
        let job = Job {
            account: account.number(),
            feed: feed.clone(),
            read_as: Arc::clone(read_as),
            advertiser: Arc::clone(advertiser),
            manner,
        };
        let (sender, arriving) = mpsc::channel(Self::WAITING);
        let store = Arc::clone(&self.store);
        let work = tokio::spawn(async move {
            let _turn = turn;
            fill(store, job, arriving).await
        });
        let outcome = async move {
            match work.await {
                Ok(filled) => filled,
                Err(_) => Err(StoreError::Unavailable("the filling of a feed ended early".into()).into()),
            }
        };
        Ok((sender, outcome))
    }

    /// What is known of a feed's filling; nothing where it was never filled.
    ///
    /// # Errors
    /// There is no such feed; the store's.
    pub async fn status(&self, account: &Account, feed: &FeedId) -> Result<StockRow, FillError> {
        if !account.snapshot.feeds.contains_key(feed) {
            return Err(FillError::NotFound(feed.clone()));
        }
        Ok(self.store.stock(account.number(), feed.clone()).await?.unwrap_or_default())
    }

    /// Has a feed fetched soon.
    ///
    /// # Errors
    /// There is no such feed; the store's.
    pub async fn hurry(&self, account: &Account, feed: &FeedId) -> Result<(), FillError> {
        if !account.snapshot.feeds.contains_key(feed) {
            return Err(FillError::NotFound(feed.clone()));
        }
        Ok(self.store.hurry(account.number(), feed.clone()).await?)
    }

    /// What a feed holds at this moment, whether it is in memory or not; none where it was never filled. `held` is
    /// what is known of it.
    ///
    /// # Errors
    /// The store's.
    pub async fn now(&self, account: u32, feed: &FeedId, held: Option<&Stock>) -> Result<Option<Stock>, StoreError> {
        let generation = self.store.stock(account, feed.clone()).await?.map_or(0, |row| row.generation);
        if let Some(held) = held.filter(|held| held.generation == generation) {
            return Ok(Some(held.clone()));
        }
        if generation == 0 {
            return Ok(None);
        }
        let shelf = self.load(account, feed, generation).await?;
        let popular = held.map(|held| Arc::clone(&held.popular)).unwrap_or_default();
        // another took its place meanwhile: what was held is as good a choice as what could be read now
        Ok(shelf.map_or_else(|| held.cloned(), |shelf| Some(Stock { generation, shelf: Arc::new(shelf), popular })))
    }

    /// Reads a filling; `None` where it is not the one that is shown any more.
    pub(super) async fn load(&self, account: u32, feed: &FeedId, generation: i64) -> Result<Option<Shelf>, StoreError> {
        let started = Instant::now();
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        loop {
            let from = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
            let more = self.store.pieces(account, feed.clone(), generation, from, Self::PIECES).await?;
            let last = more.len() < Self::PIECES as usize;
            pieces.extend(more);
            if last {
                break;
            }
        }
        let current = self.store.stock(account, feed.clone()).await?.is_some_and(|row| row.generation == generation);
        if !current {
            return Ok(None);
        }
        let shelf = tokio::task::spawn_blocking(move || Shelf::new(pieces)).await.ok().flatten();
        let Some(shelf) = shelf else {
            tracing::error!(account, %feed, generation, "what a feed holds cannot be read; it counts as empty");
            return Ok(Some(Shelf::default()));
        };
        let (products, bytes, took) = (shelf.len(), shelf.heap_bytes(), started.elapsed().as_millis());
        tracing::info!(account, %feed, generation, products, bytes, took, "products of a feed are in memory");
        Ok(Some(shelf))
    }
}
