//! API keys: making, changing, listing and revoking them. A key's secret is shown once and never kept.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    domain::{access::Scope, ids::KeyId},
    engine::{authoring::Expect, catalogue::Catalogue, seeds, world::key_hash},
    ports::{ApiKeyRow, CatalogStore, Clock, KeyChange, StoreError},
};

/// Why a key was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("there is no key {0}")]
    NotFound(KeyId),
    /// Another version than expected is there, or none.
    #[error("another version is there")]
    Stale {
        /// The version that is there.
        current: Option<i64>,
    },
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenKey {
    /// What is kept of it.
    pub row: ApiKeyRow,
    /// The whole key as it travels, where it is new. This is the only time that it can be read.
    pub secret: Option<String>,
}

/// Makes, changes, lists and revokes API keys.
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

    /// A key.
    ///
    /// # Errors
    /// There is none; the store's.
    pub async fn get(&self, account: u32, id: &KeyId) -> Result<ApiKeyRow, KeyError> {
        self.find(account, id).await?.ok_or_else(|| KeyError::NotFound(id.clone()))
    }

    /// Makes a key, or changes what one may do, which keeps its secret. `dry_run` only checks.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn put(
        &self,
        account: u32,
        id: &KeyId,
        expect: Expect,
        scopes: Vec<Scope>,
        dry_run: bool,
    ) -> Result<WrittenKey, KeyError> {
        let Some(row) = self.expected(account, id, expect).await? else {
            let secret = new_secret();
            let row = self.fresh(account, id, scopes, &secret);
            if dry_run {
                return Ok(WrittenKey { row, secret: None });
            }
            if !self.store.add_api_key(row).await? {
                return Err(self.stale(account, id).await?);
            }
            self.catalogue.follow_access().await?;
            return Ok(WrittenKey { row: self.get(account, id).await?, secret: Some(secret) });
        };
        if dry_run {
            return Ok(WrittenKey { row: ApiKeyRow { scopes, version: row.version + 1, ..row }, secret: None });
        }
        let change = KeyChange { scopes: Some(scopes), secret: None };
        if !self.store.change_api_key(account, id.clone(), version(expect), change).await? {
            return Err(self.stale(account, id).await?);
        }
        self.catalogue.follow_access().await?;
        Ok(WrittenKey { row: self.get(account, id).await?, secret: None })
    }

    /// Gives a key another secret. The one before opens as well for `overlap` ms, and any older one
    /// no more.
    ///
    /// # Errors
    /// There is none; the store's.
    pub async fn rotate(&self, account: u32, id: &KeyId, overlap: i64) -> Result<WrittenKey, KeyError> {
        let secret = new_secret();
        if !self.replace(account, id, KeyChange::default(), &secret, overlap).await? {
            return Err(KeyError::NotFound(id.clone()));
        }
        Ok(WrittenKey { row: self.get(account, id).await?, secret: Some(secret) })
    }

    /// Makes a key, or another secret for the one of the same id, which stops working; answers the
    /// secret, which cannot be read again.
    ///
    /// # Errors
    /// The store's.
    pub async fn make(&self, account: u32, id: KeyId, scopes: Vec<Scope>) -> Result<String, StoreError> {
        let secret = new_secret();
        self.keep(account, id, scopes, &secret).await?;
        Ok(secret)
    }

    /// Keeps a key whose secret somebody else chose; another one of the same id stops working.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep(&self, account: u32, id: KeyId, scopes: Vec<Scope>, secret: &str) -> Result<(), StoreError> {
        if self.store.add_api_key(self.fresh(account, &id, scopes.clone(), secret)).await? {
            return self.catalogue.follow_access().await;
        }
        let change = KeyChange { scopes: Some(scopes), secret: None };
        self.replace(account, &id, change, secret, 0).await.map(drop)
    }

    /// Revokes a key; answers what it was. `dry_run` only checks.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn revoke(&self, account: u32, id: &KeyId, expect: Expect, dry_run: bool) -> Result<ApiKeyRow, KeyError> {
        let row = match self.expected(account, id, expect).await {
            Ok(Some(row)) => row,
            Ok(None) | Err(KeyError::Stale { current: None }) => return Err(KeyError::NotFound(id.clone())),
            Err(error) => return Err(error),
        };
        if dry_run {
            return Ok(row);
        }
        if !self.store.revoke_api_key(account, id.clone(), version(expect)).await? {
            return Err(self.stale(account, id).await?);
        }
        self.catalogue.follow_access().await?;
        Ok(row)
    }

    /// Revokes a key at whatever version.
    ///
    /// # Errors
    /// There is none; the store's.
    pub async fn revoke_any(&self, account: u32, id: &KeyId) -> Result<(), KeyError> {
        self.revoke(account, id, Expect::Present, false).await.map(drop)
    }

    async fn find(&self, account: u32, id: &KeyId) -> Result<Option<ApiKeyRow>, StoreError> {
        Ok(self.store.api_keys().await?.into_iter().find(|row| row.account == account && row.id == *id))
    }

    /// What is there, if it is what the caller expects.
    async fn expected(&self, account: u32, id: &KeyId, expect: Expect) -> Result<Option<ApiKeyRow>, KeyError> {
        let there = self.find(account, id).await?;
        let current = there.as_ref().map(|row| row.version);
        let fits = match expect {
            Expect::Absent => current.is_none(),
            Expect::Version(version) => current == Some(version),
            Expect::Present => current.is_some(),
            Expect::Any => true,
        };
        if fits { Ok(there) } else { Err(KeyError::Stale { current }) }
    }

    /// Somebody else was faster.
    async fn stale(&self, account: u32, id: &KeyId) -> Result<KeyError, StoreError> {
        Ok(KeyError::Stale { current: self.find(account, id).await?.map(|row| row.version) })
    }

    async fn replace(
        &self,
        account: u32,
        id: &KeyId,
        change: KeyChange,
        secret: &str,
        overlap: i64,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let change = KeyChange { secret: Some((key_hash(secret), now, now.plus(overlap))), ..change };
        let known = self.store.change_api_key(account, id.clone(), None, change).await?;
        self.catalogue.follow_access().await?;
        Ok(known)
    }

    fn fresh(&self, account: u32, id: &KeyId, scopes: Vec<Scope>, secret: &str) -> ApiKeyRow {
        let (id, hash, created_at) = (id.clone(), key_hash(secret), self.clock.now());
        ApiKeyRow { id, account, hash, scopes, created_at, version: 1, old: None }
    }
}

/// A secret that nobody can guess.
fn new_secret() -> String {
    format!("tsk_{}", URL_SAFE_NO_PAD.encode(seeds::secret()))
}

/// The version that must be there, where it matters which.
fn version(expect: Expect) -> Option<i64> {
    match expect {
        Expect::Version(version) => Some(version),
        Expect::Absent | Expect::Present | Expect::Any => None,
    }
}
