//! Uploads to static segments: any number of people, few of them in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    people::{PeopleError, must_be_static},
    users::Users,
    world::Account,
};
use crate::{
    domain::{
        ids::{SegmentKey, UserKey},
        values::Millis,
    },
    ports::{CrowdStore, ListUpload, UploadMode, UploadRow},
};

/// Takes uploads to static segments.
#[derive(Clone)]
pub struct Members {
    store: Arc<dyn CrowdStore>,
    users: Users,
    /// Uploads at a time: each has a connection of its own.
    turns: Arc<Semaphore>,
}

/// An upload under way.
pub struct Upload {
    account: Arc<Account>,
    users: Users,
    upload: Box<dyn ListUpload>,
    rows: Vec<UploadRow>,
    _turn: OwnedSemaphorePermit,
}

impl Members {
    /// Uploads at a time on this replica.
    const TURNS: usize = 2;

    /// Uploads into a store; caches behind `users` learn of changes at once.
    #[must_use]
    pub fn new(store: Arc<dyn CrowdStore>, users: Users) -> Self {
        Self { store, users, turns: Arc::new(Semaphore::new(Self::TURNS)) }
    }

    /// Begins an upload. Nothing changes before [`Upload::apply`].
    ///
    /// # Errors
    /// The segment is unknown or has a rule; others upload already; the store's.
    pub async fn begin(
        &self,
        account: &Arc<Account>,
        segment: &SegmentKey,
        mode: UploadMode,
    ) -> Result<Upload, PeopleError> {
        must_be_static(account, segment)?;
        let turn = Arc::clone(&self.turns).try_acquire_owned().map_err(|_| PeopleError::Busy)?;
        let upload = self.store.upload(account.number(), segment.clone(), mode).await?;
        let (account, users) = (Arc::clone(account), self.users.clone());
        Ok(Upload { account, users, upload, rows: Vec::with_capacity(Upload::BATCH), _turn: turn })
    }
}

impl Upload {
    /// People kept in memory.
    const BATCH: usize = 10_000;

    /// Takes one more person. Of several rows about the same one the last counts.
    ///
    /// # Errors
    /// The store's.
    pub async fn push(&mut self, key: UserKey, expires_at: Option<Millis>) -> Result<(), PeopleError> {
        self.rows.push(UploadRow { uid: self.account.uid(&key), key, expires_at });
        if self.rows.len() >= Self::BATCH { self.flush().await } else { Ok(()) }
    }

    /// How many memberships the upload would change.
    ///
    /// # Errors
    /// The store's.
    pub async fn survey(mut self) -> Result<u64, PeopleError> {
        self.flush().await?;
        Ok(self.upload.survey().await?)
    }

    /// Changes the list; answers how many memberships changed. Runs to its end even when the
    /// caller has left.
    ///
    /// # Errors
    /// The store's; what was changed before stays so, and repeating the upload is safe.
    pub async fn apply(mut self) -> Result<u64, PeopleError> {
        let work = tokio::spawn(async move {
            self.flush().await?;
            let mut changed = 0;
            while let Some(step) = self.upload.step().await? {
                changed += step.changed;
                if step.changed > 0 {
                    self.users.on_lists(self.account.number(), step.from, step.upto);
                }
            }
            Ok(changed)
        });
        work.await.unwrap_or_else(|_| Err(PeopleError::Contended))
    }

    async fn flush(&mut self) -> Result<(), PeopleError> {
        let rows = std::mem::replace(&mut self.rows, Vec::with_capacity(Self::BATCH));
        if rows.is_empty() { Ok(()) } else { Ok(self.upload.stage(rows).await?) }
    }
}
