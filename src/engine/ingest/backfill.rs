//! Gives new streams the history that is kept of their events.

use std::{sync::Arc, time::Duration};

use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{Ingest, streams::fold_into};
use crate::{
    engine::world::World,
    ports::{BackfillStep, StoreError},
};

/// Time between looks for streams that lack something.
const EVERY: Duration = Duration::from_millis(250);

/// Looks again and again until `stop`, later after a look that failed.
async fn again<F: Future<Output = Result<(), StoreError>>>(stop: &CancellationToken, mut look: impl FnMut() -> F) {
    let mut pause = EVERY;
    while stop.run_until_cancelled(time::sleep(pause)).await.is_some() {
        pause = match look().await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "streams could not be brought up to date; trying again");
                Duration::from_secs(2)
            }
        };
    }
}

impl Ingest {
    /// Keeps the store's streams those that the world's rules need, and folds what was kept of
    /// earlier events into those that are new, until `stop`. What rules need is looked after however
    /// long a history takes.
    pub async fn backfill(self, world: impl Fn() -> Arc<World> + Send + Sync, stop: CancellationToken) {
        tokio::join!(
            again(&stop, || self.register(world())),
            again(&stop, || self.catch_up(&stop)),
            again(&stop, || self.streams().keep_types())
        );
    }

    /// Has the store remember what the rules of every account need from now on.
    async fn register(&self, world: Arc<World>) -> Result<(), StoreError> {
        for account in world.accounts() {
            self.streams().ensure(account.number(), &account.snapshot.streams).await?;
        }
        Ok(())
    }

    /// Gives every account's streams the history that they lack.
    async fn catch_up(&self, stop: &CancellationToken) -> Result<(), StoreError> {
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
