//! What is kept: the only room that speaks to PostgreSQL.
//!
//! [`open`] gives the ports without touching the database, so that a server starts while it is
//! away; [`Opened::migrate`] brings the schema up to date, and may be tried until it succeeds.
//!
//! Every call runs in a task of its own, so that dropping its answer harms nothing; none lasts
//! longer than its lane allows, and a connection that was given up half way is closed, never reused.

pub mod embedded;
mod postgres;
mod rows;

use std::{sync::Arc, time::Duration};

use crate::{
    domain::values::Millis,
    ports::{
        Answer, CatalogStore, ChangeFeed, CrowdStore, EventStore, LearningStore, OutcomeStore, ProductStore,
        RenderedStore, ShadowStore, SpendStore, StoreError, TransitionStore, UserStore, WebhookStore,
    },
};

/// Where the database is and how much of it to use.
#[derive(Debug, Clone)]
pub struct Options {
    /// `postgresql://user@host/database`, PostgreSQL 15 or newer; transaction poolers in between
    /// are not supported.
    pub url: String,
    /// Connections for loading people on behalf of decisions.
    pub serving_connections: u32,
    /// Connections for outcomes, events, records and changes to people.
    pub ingest_connections: u32,
    /// Connections for the catalogue and for reading by people.
    pub admin_connections: u32,
    /// Longest wait for people on behalf of a decision, once a connection is free; for that, a quarter of it.
    pub serving_limit: Duration,
    /// How long outcomes are kept, in days of their decision.
    pub outcome_days: u16,
    /// How long decision records are kept, in days of their decision.
    pub record_days: u16,
    /// How long events are kept, in days.
    pub event_days: u16,
}

impl Options {
    /// The database at `url` with the defaults: 4 connections each, 1 s, 400, 7 and 400 days.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            serving_connections: 4,
            ingest_connections: 4,
            admin_connections: 4,
            serving_limit: Duration::from_secs(1),
            outcome_days: 400,
            record_days: 7,
            event_days: 400,
        }
    }
}

/// The ports of one database.
#[derive(Clone)]
pub struct Opened {
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
    /// What feeds hold.
    pub products: Arc<dyn ProductStore>,
    /// Outcomes and decision records.
    pub outcomes: Arc<dyn OutcomeStore>,
    /// What was rendered late.
    pub rendered: Arc<dyn RenderedStore>,
    /// What tags in shadow mode would have shown.
    pub shadows: Arc<dyn ShadowStore>,
    /// What campaigns spend by bidding themselves.
    pub spending: Arc<dyn SpendStore>,
    /// What is learned and counted.
    pub learning: Arc<dyn LearningStore>,
    /// Events and the streams that remember them.
    pub events: Arc<dyn EventStore>,
    /// What changed, wherever it was changed.
    pub feed: Arc<dyn ChangeFeed>,
    schema: postgres::Schema,
}

impl Opened {
    /// Brings the schema up to date and makes the account `default` where it is missing. Any
    /// number of processes may do so at once.
    pub fn migrate(&self) -> Answer<'_, ()> {
        self.schema.migrate()
    }

    /// Deletes what is left of the erased, which comes first, and sees to the partitions. Answers which
    /// steps failed; what is left undone is done the next time.
    pub async fn maintain(&self, now: Millis) -> Vec<(&'static str, StoreError)> {
        let left = [
            ("erased", self.events.erase_events(None).await.map(drop)),
            ("leftovers", self.users.clear_leftovers().await),
        ];
        let failed = left.into_iter().filter_map(|(step, done)| Some((step, done.err()?)));
        failed.chain(self.keep_partitions(now).await).collect()
    }

    /// Makes the partitions of the coming days and drops what is past its retention, each step on its
    /// own, so that none waits for another that fails. Answers which failed.
    pub async fn keep_partitions(&self, now: Millis) -> Vec<(&'static str, StoreError)> {
        let done = [
            ("outcomes", self.outcomes.maintain(now).await),
            ("events", self.events.maintain(now).await),
            ("transitions", self.transitions.maintain(now).await),
            ("learning", self.learning.maintain(now).await),
            ("shadows", self.shadows.maintain(now).await),
            ("rendered", self.rendered.maintain(now).await),
        ];
        done.into_iter().filter_map(|(step, done)| Some((step, done.err()?))).collect()
    }
}

/// The ports of a database; connects when first used. Must be called within a tokio runtime.
///
/// # Errors
/// [`StoreError::Refused`] when the URL cannot be read.
pub fn open(options: &Options) -> Result<Opened, StoreError> {
    let lanes = postgres::Lanes::new(options)?;
    Ok(Opened {
        catalog: Arc::new(postgres::Catalog::new(&lanes)),
        users: Arc::new(postgres::Users::new(&lanes)),
        crowds: Arc::new(postgres::Crowds::new(&lanes)),
        transitions: Arc::new(postgres::Transitions::new(&lanes)),
        webhooks: Arc::new(postgres::Webhooks::new(&lanes)),
        products: Arc::new(postgres::Products::new(&lanes)),
        outcomes: Arc::new(postgres::Outcomes::new(&lanes, options)),
        rendered: Arc::new(postgres::Rendered::new(&lanes)),
        shadows: Arc::new(postgres::Shadows::new(&lanes)),
        spending: Arc::new(postgres::Spending::new(&lanes)),
        learning: Arc::new(postgres::Learning::new(&lanes)),
        events: Arc::new(postgres::Events::new(&lanes, options)),
        feed: Arc::new(postgres::Changes::new(&lanes)),
        schema: postgres::Schema::new(&lanes),
    })
}
