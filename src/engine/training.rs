//! Training in this process, on the sample of people in memory, one model at a time.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{reservoir::Reservoir, world::Account};
use crate::{
    domain::{
        audience::training::{Proposal, Settings, TooFew, train},
        ids::ModelKey,
        violation::Violation,
    },
    ports::Clock,
};

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
    pub async fn train(
        &self,
        account: &Account,
        key: &ModelKey,
        settings: Settings,
    ) -> Result<Proposal, TrainingError> {
        settings.check().map_err(TrainingError::Invalid)?;
        let document = account.snapshot.model(key).ok_or_else(|| TrainingError::NotFound(key.clone()))?;
        let document = Arc::clone(document);
        let turn = Arc::clone(&self.turn).try_lock_owned().map_err(|_| TrainingError::Busy)?;
        let people: Vec<_> = self.reservoir.draw(account.number()).people.into_iter().map(|(_, state)| state).collect();
        let now = self.clock.now();
        let learn = move || {
            // held until the end, even when the caller has left
            let _turn = turn;
            train(&document, &people, now, &settings)
        };
        Ok(tokio::task::spawn_blocking(learn).await.map_err(|_| TrainingError::Ended)??)
    }
}
