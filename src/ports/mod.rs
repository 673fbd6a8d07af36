//! What the engine needs from the outside: traits, their rows and their one error.
//!
//! Rows carry plain documents and packed bytes; parsing them is the engine's and the core's work.

mod catalog;
mod courier;
mod crowds;
mod events;
mod feed;
mod learning;
mod outcomes;
mod products;
mod rendered;
mod shadow;
mod spending;
mod transitions;
mod users;
mod webhooks;

use std::{future::Future, pin::Pin, sync::Arc};

pub use self::{
    catalog::*, courier::*, crowds::*, events::*, feed::*, learning::*, outcomes::*, products::*, rendered::*,
    shadow::*, spending::*, transitions::*, users::*, webhooks::*,
};
use crate::domain::values::Millis;

/// A call to the outside. Never drop one half way: spawn it and await the handle, because a
/// cancelled database call can poison its connection.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, refused the connection, is read-only or shutting down: try again.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It took too long: try again.
    #[error("the store timed out: {0}")]
    Timeout(String),
    /// No connection was free in time, so nothing was asked: try again.
    #[error("no connection to the store was free in time")]
    Busy,
    /// What it holds cannot be read.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
    /// A fault of this program: a statement the database refused.
    #[error("the store refused a statement: {0}")]
    Refused(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Timeout(_) | Self::Busy)
    }
}

/// Everything the engine needs from the outside.
#[derive(Clone)]
pub struct Ports {
    /// Documents, keys and secrets.
    pub catalog: Arc<dyn CatalogStore>,
    /// People.
    pub users: Arc<dyn UserStore>,
    /// Many people at once.
    pub crowds: Arc<dyn CrowdStore>,
    /// Who entered and left segments.
    pub transitions: Arc<dyn TransitionStore>,
    /// Who is told of transitions.
    pub webhooks: Arc<dyn WebhookStore>,
    /// Outcomes and decision records.
    pub outcomes: Arc<dyn OutcomeStore>,
    /// What campaigns spend by bidding themselves.
    pub spending: Arc<dyn SpendStore>,
    /// What is learned and counted.
    pub learning: Arc<dyn LearningStore>,
    /// Events and the streams that remember them.
    pub events: Arc<dyn EventStore>,
    /// What changed, wherever it was changed.
    pub feed: Arc<dyn ChangeFeed>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

/// The time of day. Time-outs and limits use the monotonic clock instead.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Millis;
}
