//! Gives new streams the history that is kept of their events.

use std::{sync::Arc, time::Duration};

use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{Ingest, streams::fold_into};
use crate::{
    engine::catalogue::Catalogue,
    ports::{BackfillStep, StoreError},
};

impl Ingest {
    /// Time between looks for streams that lack history.
    const EVERY: Duration = Duration::from_millis(250);

    /// Keeps the store's streams those that the catalogue's rules need, and folds what was kept of
    /// earlier events into those that are new, until `stop`.
    pub async fn backfill(self, catalogue: Arc<Catalogue>, stop: CancellationToken) {
        let mut pause = Self::EVERY;
        while stop.run_until_cancelled(time::sleep(pause)).await.is_some() {
            pause = match self.catch_up(&catalogue, &stop).await {
                Ok(()) => Self::EVERY,
                Err(error) => {
                    tracing::warn!(%error, "streams could not be brought up to date; trying again");
                    Duration::from_secs(2)
                }
            };
        }
    }

    /// One look at every account.
    ///
    /// # Errors
    /// The store's.
    pub async fn catch_up(&self, catalogue: &Catalogue, stop: &CancellationToken) -> Result<(), StoreError> {
        let world = catalogue.world();
        for account in world.accounts() {
            self.streams().ensure(account.number(), &account.snapshot.streams).await?;
        }
        for account in self.streams().accounts() {
            self.catch_up_account(account, stop).await?;
        }
        Ok(())
    }

    async fn catch_up_account(&self, account: u32, stop: &CancellationToken) -> Result<(), StoreError> {
        let streamed = self.streams().of(account).await?;
        for epoch in streamed.unfinished() {
            let added = streamed.added_by(epoch);
            let mut names: Vec<_> = added.iter().map(|stream| stream.event().clone()).collect();
            names.dedup();
            let fold = fold_into(added);
            while !stop.is_cancelled() {
                match self.0.store.backfill(account, epoch, names.clone(), Arc::clone(&fold)).await? {
                    BackfillStep::More => {}
                    // another replica is at it, and this one looks again
                    BackfillStep::Busy => break,
                    BackfillStep::Live => {
                        tracing::info!(account, epoch, streams = names.len(), "new streams have their history");
                        break;
                    }
                }
            }
        }
        if streamed.backfilling.is_empty() { Ok(()) } else { self.streams().reload(account).await }
    }
}
