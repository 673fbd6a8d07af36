//! What every handler can reach.

use std::{
    ops::Deref,
    sync::{Arc, Mutex},
};

use axum::extract::FromRef;

use super::{bidding::Bidding, client::Proxies, player_errors::PlayerErrors, rate::Limit};
use crate::{
    domain::{consent::Rules, measurement::traffic::Pace},
    engine::{Engine, enrichment::Enrichment},
    schema::Schemas,
    telemetry::DecisionSteps,
};

/// The state of the router. One pointer: routers clone their state several times for every request.
#[derive(Clone)]
pub struct App(Arc<Parts>);

impl App {
    /// Where handlers can reach all of this.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What handlers can reach.
pub struct Parts {
    /// The one face of the engine.
    pub engine: Arc<Engine>,
    /// Reads documents with all their faults.
    pub schemas: Arc<Schemas>,
    /// The longest a decision may take, in ms, and what of it is kept for writing the answer.
    pub budget_ms: u64,
    /// See `budget_ms`.
    pub reserve_ms: u64,
    /// How privacy signals are read.
    pub consent: Rules,
    /// Counts the time of the steps of decisions.
    pub steps: DecisionSteps,
    /// Whose word on the client's address is taken.
    pub proxies: Proxies,
    /// Whether requests say when they happen.
    pub simulation: bool,
    /// What beacons send, by network.
    pub pace: Mutex<Pace>,
    /// Finds out what requests do not say of themselves.
    pub enrichment: Arc<Enrichment>,
    /// How bids are made.
    pub bidding: Bidding,
    /// Counts what players could not show.
    pub player_errors: PlayerErrors,
    /// What pages send, by network.
    pub pages: Limit,
}

impl FromRef<App> for Arc<Engine> {
    fn from_ref(app: &App) -> Self {
        Self::clone(&app.engine)
    }
}

impl FromRef<App> for Arc<Schemas> {
    fn from_ref(app: &App) -> Self {
        Self::clone(&app.schemas)
    }
}
