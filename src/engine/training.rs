//! Training in this process, on the sample of people in memory, one model at a time.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Mutex;

use super::{reservoir::Reservoir, world::Account};
use crate::{
    domain::{
        audience::training::{Proposal, Settings, TooFew, train},
        ids::{EventName, ModelKey},
        violation::Violation,
    },
    ports::{Clock, StoreError},
};

/// What a model would become, and how much is known of what it is learned from.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Trained {
    /// What the model would become.
    #[serde(flatten)]
    pub proposal: Proposal,
    /// Whether the sample is as large as it will be; false for some seconds after a start.
    pub complete: bool,
    /// Events that the model takes and whose history is still being read: it was learned without
    /// some of them.
    pub unread_events: Vec<EventName>,
}

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// There is no such model that can be used.
    #[error("there is no model {0}")]
    NotFound(ModelKey),
    /// It cannot be trained so.
    #[error("the settings are out of range")]
    Invalid(Vec<Violation>),
    /// Too little is known.
    #[error(transparent)]
    TooFew(#[from] TooFew),
    /// Another model is being trained.
    #[error("another training is under way")]
    Busy,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The training itself failed: a fault of this program.
    #[error("the training ended early")]
    Ended,
}

/// Proposes models anew.
pub struct Trainer {
    reservoir: Arc<Reservoir>,
    clock: Arc<dyn Clock>,
    /// Training takes a processor for itself, so it happens once at a time.
    turn: Arc<Mutex<()>>,
}

impl Trainer {
    /// Training on these people.
    #[must_use]
    pub fn new(reservoir: Arc<Reservoir>, clock: Arc<dyn Clock>) -> Self {
        Self { reservoir, clock, turn: Arc::default() }
    }

    /// What the live model would become. Changes nothing.
    ///
    /// # Errors
    /// See [`TrainingError`].
    pub async fn train(&self, account: &Account, key: &ModelKey, settings: Settings) -> Result<Trained, TrainingError> {
        settings.check().map_err(TrainingError::Invalid)?;
        let document = account.snapshot.model(key).ok_or_else(|| TrainingError::NotFound(key.clone()))?;
        let document = Arc::clone(document);
        let turn = Arc::clone(&self.turn).try_lock_owned().map_err(|_| TrainingError::Busy)?;
        let streams = document.streams().into_iter().collect();
        let unread_events = self.reservoir.unread(account.number(), &streams).await?;
        let drawn = self.reservoir.draw(account.number());
        let people: Vec<_> = drawn.people.into_iter().map(|(_, state)| state).collect();
        let now = self.clock.now();
        let learn = move || {
            // held until the end, even when the caller has left
            let _turn = turn;
            train(&document, &people, now, &settings)
        };
        let proposal = tokio::task::spawn_blocking(learn).await.map_err(|_| TrainingError::Ended)??;
        Ok(Trained { proposal, complete: drawn.complete, unread_events })
    }
}
