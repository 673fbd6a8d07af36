//! Webhooks as their owners see them.

use std::sync::Arc;

use super::{authoring::Expect, seeds, world::Account};
use crate::{
    domain::{
        ids::WebhookId,
        values::Millis,
        violation::Violation,
        webhook::{Reach, Secret, WebhookDoc, WebhookStatus},
    },
    ports::{PausedBy, StoreError, WebhookExpect, WebhookRow, WebhookStore, WebhookWritten},
};

/// Why a webhook was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// There is none.
    #[error("there is no webhook {0}")]
    NotFound(WebhookId),
    /// Another version than expected is there, or none.
    #[error("another version is there")]
    Stale {
        /// The version that is there.
        current: Option<i64>,
    },
    /// The document is invalid.
    #[error("the document is invalid")]
    Invalid(Vec<Violation>),
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A webhook that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenWebhook {
    /// It, as it is now.
    pub row: WebhookRow,
    /// Its secret, where it is new. This is the only time that it can be read.
    pub secret: Option<Secret>,
}

/// A secret that was just made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSecret {
    /// The newest secret. This is the only time that it can be read.
    pub secret: Secret,
    /// Until when the one before signs beside it.
    pub until: Millis,
}

/// Keeps webhooks.
#[derive(Clone)]
pub struct Webhooks {
    store: Arc<dyn WebhookStore>,
    reach: Reach,
}

impl Webhooks {
    /// Transitions of a backlog that are counted at most.
    pub const COUNTED: u32 = 10_000;
    /// How long a secret that was replaced goes on signing, in ms.
    const OVERLAP: i64 = 24 * 3_600_000;

    /// Webhooks of a store that may lead so far.
    #[must_use]
    pub fn new(store: Arc<dyn WebhookStore>, reach: Reach) -> Self {
        Self { store, reach }
    }

    /// Webhooks in the order of their ids, after one, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, account: u32, after: Option<String>, limit: u32) -> Result<Vec<WebhookRow>, WebhookError> {
        Ok(self.store.list(account, after, limit).await?)
    }

    /// A webhook, with how many transitions wait to be delivered, up to [`Webhooks::COUNTED`].
    ///
    /// # Errors
    /// There is none; the store's.
    pub async fn get(&self, account: u32, id: &WebhookId) -> Result<(WebhookRow, u64), WebhookError> {
        let row = self.row(account, id).await?;
        Ok((row, self.store.backlog(account, id.clone(), Self::COUNTED).await?))
    }

    /// Writes a webhook.
    ///
    /// # Errors
    /// See [`WebhookError`].
    pub async fn put(
        &self,
        account: &Account,
        id: &WebhookId,
        expect: Expect,
        document: WebhookDoc,
    ) -> Result<WrittenWebhook, WebhookError> {
        self.check(account, &document)?;
        let (number, secret) = (account.number(), new_secret());
        let expected = expected(expect);
        let put = self.store.put(number, id.clone(), expected, document.canonical(), secret.clone());
        match put.await? {
            WebhookWritten::Stale(current) => Err(WebhookError::Stale { current }),
            WebhookWritten::Done(_) => {
                let secret = (expected == WebhookExpect::Absent).then_some(secret);
                Ok(WrittenWebhook { row: self.row(number, id).await?, secret })
            }
        }
    }

    /// The webhook that [`Webhooks::put`] would write at `now`, with a guess at its version.
    ///
    /// # Errors
    /// Those of the write.
    pub async fn would_put(
        &self,
        account: &Account,
        id: &WebhookId,
        expect: Expect,
        document: WebhookDoc,
        now: Millis,
    ) -> Result<WebhookRow, WebhookError> {
        self.check(account, &document)?;
        let document = document.canonical();
        let paused = (document.status == WebhookStatus::Paused).then_some(PausedBy::Asked);
        let there = self.expected(account.number(), id, expect).await?;
        let (version, old_secret_until, last_success, last_failure) = there.map_or((0, None, None, None), |row| {
            (row.version, row.old_secret_until, row.last_success, row.last_failure)
        });
        Ok(WebhookRow {
            id: id.clone(),
            version: version + 1,
            changed_at: now,
            document,
            paused,
            old_secret_until,
            failures: 0,
            failing_since: None,
            next_at: None,
            last_success,
            last_failure,
        })
    }

    /// The webhook that [`Webhooks::delete`] would delete.
    ///
    /// # Errors
    /// Those of the deletion.
    pub async fn would_delete(&self, account: u32, id: &WebhookId, expect: Expect) -> Result<WebhookRow, WebhookError> {
        let not_found = || WebhookError::NotFound(id.clone());
        match self.expected(account, id, expect).await {
            Err(WebhookError::Stale { current: None }) => Err(not_found()),
            found => found?.ok_or_else(not_found),
        }
    }

    /// Deletes a webhook: what waits is not delivered any more.
    ///
    /// # Errors
    /// There is none, or another version; the store's.
    pub async fn delete(&self, account: u32, id: &WebhookId, expect: Expect) -> Result<(), WebhookError> {
        match self.store.delete(account, id.clone(), expected(expect)).await? {
            WebhookWritten::Done(_) => Ok(()),
            WebhookWritten::Stale(None) => Err(WebhookError::NotFound(id.clone())),
            WebhookWritten::Stale(current) => Err(WebhookError::Stale { current }),
        }
    }

    /// Gives a webhook another secret; the one before signs beside it for a day.
    ///
    /// # Errors
    /// There is none; the store's.
    pub async fn rotate(&self, account: u32, id: &WebhookId) -> Result<NewSecret, WebhookError> {
        let secret = new_secret();
        let until = self.store.rotate(account, id.clone(), secret.clone(), Self::OVERLAP).await?;
        let until = until.ok_or_else(|| WebhookError::NotFound(id.clone()))?;
        Ok(NewSecret { secret, until })
    }

    fn check(&self, account: &Account, document: &WebhookDoc) -> Result<(), WebhookError> {
        let faults = document.faults(self.reach, |key| account.snapshot.rules.ix(key).is_some());
        if faults.is_empty() { Ok(()) } else { Err(WebhookError::Invalid(faults)) }
    }

    /// What is there, if it is what the caller expects.
    async fn expected(&self, account: u32, id: &WebhookId, expect: Expect) -> Result<Option<WebhookRow>, WebhookError> {
        let there = self.store.get(account, id.clone()).await?;
        let current = there.as_ref().map(|row| row.version);
        let fits = match expected(expect) {
            WebhookExpect::Absent => current.is_none(),
            WebhookExpect::Version(version) => current == Some(version),
            WebhookExpect::Present => current.is_some(),
        };
        if fits { Ok(there) } else { Err(WebhookError::Stale { current }) }
    }

    async fn row(&self, account: u32, id: &WebhookId) -> Result<WebhookRow, WebhookError> {
        let row = self.store.get(account, id.clone()).await?;
        row.ok_or_else(|| WebhookError::NotFound(id.clone()))
    }
}

fn expected(expect: Expect) -> WebhookExpect {
    match expect {
        Expect::Absent => WebhookExpect::Absent,
        Expect::Version(version) => WebhookExpect::Version(version),
        Expect::Present | Expect::Any => WebhookExpect::Present,
    }
}

fn new_secret() -> Secret {
    Secret::new(seeds::secret()).expect("32 bytes are enough")
}
