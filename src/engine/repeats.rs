//! Requests that may be sent again: what the first of each was answered.

use std::sync::Arc;

use crate::ports::{CatalogStore, KeptAnswer, Repeat, StoreError};

/// Keeps the answers of requests with an idempotency key, for a day.
#[derive(Clone)]
pub struct Repeats {
    store: Arc<dyn CatalogStore>,
}

impl Repeats {
    /// Answers kept in a store.
    #[must_use]
    pub fn new(store: Arc<dyn CatalogStore>) -> Self {
        Self { store }
    }

    /// Notes that a request begins, or finds what became of it before.
    ///
    /// # Errors
    /// The store's.
    pub async fn begin_once(&self, account: u32, key: String, request: [u8; 32]) -> Result<Repeat, StoreError> {
        self.store.begin_once(account, key, request).await
    }

    /// Keeps the answer of a request; with none, forgets that it was sent.
    ///
    /// # Errors
    /// The store's.
    pub async fn end_once(&self, account: u32, key: String, answer: Option<KeptAnswer>) -> Result<(), StoreError> {
        self.store.end_once(account, key, answer).await
    }
}
