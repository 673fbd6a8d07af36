//! Who changes an account waits for whoever is changing it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

/// Lets the authors of an account in one after the other, in the order in which they came.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<u32, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for a turn, which lasts as long as what it answers.
    pub(super) async fn wait(&self, account: u32) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(account).or_default());
        turn.lock_owned().await
    }
}
