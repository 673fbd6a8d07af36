//! API keys: making, listing and revoking them. A key's secret is shown once and never kept.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    domain::{access::Scope, ids::KeyId},
    engine::{catalogue::Catalogue, seeds, world::key_hash},
    ports::{ApiKeyRow, CatalogStore, Clock, StoreError},
};

/// A key that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What is kept of it.
    pub row: ApiKeyRow,
    /// The whole key as it travels. This is the only time that it can be read.
    pub secret: String,
}

/// Makes, lists and revokes API keys.
#[derive(Clone)]
pub struct Keys {
    store: Arc<dyn CatalogStore>,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
}

impl Keys {
    /// Keys of a store; changes are live on this replica when the call returns.
    #[must_use]
    pub fn new(store: Arc<dyn CatalogStore>, catalogue: Arc<Catalogue>, clock: Arc<dyn Clock>) -> Self {
        Self { store, catalogue, clock }
    }

    /// The keys of an account, oldest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, account: u32) -> Result<Vec<ApiKeyRow>, StoreError> {
        let mut rows = self.store.api_keys().await?;
        rows.retain(|row| row.account == account);
        rows.sort_by_key(|row| row.created_at);
        Ok(rows)
    }

    /// Makes a key, or replaces the secret of the one of the same id.
    ///
    /// # Errors
    /// The store's.
    pub async fn make(&self, account: u32, id: KeyId, scopes: Vec<Scope>) -> Result<NewKey, StoreError> {
        let secret = format!("tsk_{}", URL_SAFE_NO_PAD.encode(seeds::secret()));
        self.keep(account, id, scopes, secret).await
    }

    /// Keeps a key whose secret somebody else chose.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep(
        &self,
        account: u32,
        id: KeyId,
        scopes: Vec<Scope>,
        secret: String,
    ) -> Result<NewKey, StoreError> {
        let row = ApiKeyRow { id, account, hash: key_hash(&secret), scopes, created_at: self.clock.now() };
        self.store.put_api_key(row.clone()).await?;
        self.catalogue.follow_access().await?;
        Ok(NewKey { row, secret })
    }

    /// Revokes a key; whether there was one.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke(&self, account: u32, id: KeyId) -> Result<bool, StoreError> {
        let known = self.store.revoke_api_key(account, id).await?;
        self.catalogue.follow_access().await?;
        Ok(known)
    }
}
