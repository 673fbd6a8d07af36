//! The live part: what is kept in memory, what waits in queues, and until when anybody waits.
//!
//! The edge sees one face, [`Engine`], with a part for everything that can be asked of it.
//!
//! | module | what it does |
//! |---|---|
//! | [`decider`] | the walk of a decision |
//! | [`users`] | the one door to what is known of a person |
//! | [`world`], [`catalogue`], [`disk`] | the snapshot that requests see, how it is kept current, and its copy on disk |
//! | [`feed`] | keeps the caches current, and proves that they are |
//! | [`reservations`] | impressions that were decided but not yet reported, for frequency caps |
//! | [`ingest`] | events, committed in groups with the profiles that they change |
//! | [`outcomes`], [`spool`] | beacons, committed in groups or kept in a local log until they can be |
//! | [`decision_log`] | what was chosen by what was learned, and how likely that was |
//! | [`rendered`] | what won bids showed, for whoever loads it again |
//! | [`shadows`] | what tags in shadow mode would have shown, and why |
//! | [`spending`] | what campaigns that bid by themselves may spend |
//! | [`records`], [`archive`] | decision records, written off the path, read and replayed |
//! | [`authoring`], [`people`], [`identity`], [`imports`], [`members`], [`keys`], [`assets`], [`images`], [`repeats`] | changes by those who own the account |
//! | [`enrichment`] | what a client's network and user agent tell, where a request does not |
//! | [`consistency`] | what a decision has to reflect |
//! | [`reservoir`], [`insight`] | a sample of people in memory, and what a rule would mean to them |
//! | [`reports`] | segments side by side, from that sample and from what is recorded |
//! | [`results`], [`evaluation`] | what campaigns achieved, and what another rotation would have |
//! | [`products`] | what feeds hold: filled, fetched when due, and in memory where creatives show it |
//! | [`training`] | models learned from that sample |
//! | [`learning`] | which components work, learned from outcomes |
//! | [`transitions`], `standings`, `telling`, `followers` | announces who enters and leaves segments, by what happens and as time passes |
//! | [`webhooks`], [`deliveries`] | who is told of that elsewhere, and the telling |
//! | [`simulated`] | a clock that requests set |
//! | [`deadline`] | until when an answer is worth anything |
//! | [`tasks`] | background work, supervised and drained |

pub mod archive;
pub mod assets;
pub mod authoring;
mod backoff;
pub mod catalogue;
pub mod consistency;
pub mod deadline;
pub mod decider;
pub mod decision_log;
pub mod deliveries;
pub mod disk;
mod draft;
pub mod enrichment;
pub mod evaluation;
#[cfg(test)]
mod fakes;
pub mod feed;
mod followers;
pub mod identity;
pub mod images;
pub mod imports;
pub mod ingest;
pub mod insight;
pub mod keys;
pub mod learning;
pub mod members;
mod memberships;
pub mod outcomes;
pub mod people;
pub mod products;
mod queue;
mod quiet;
pub mod records;
pub mod rendered;
pub mod repeats;
pub mod reports;
pub mod reservations;
pub mod reservoir;
pub mod results;
mod seeds;
pub mod shadows;
pub mod simulated;
pub mod spending;
pub mod spool;
mod standings;
pub mod tasks;
mod telling;
pub mod training;
pub mod transitions;
mod unpack;
pub mod users;
pub mod webhooks;
pub mod what_if;
pub mod world;

use std::sync::Arc;

use crate::ports::Clock;
/// What the engine's parts take and answer with, so that the edge need not know the ports.
pub use crate::ports::{
    ApiKeyRow, AssetFacts, AssetGone, DecisionRecord, DocumentRow, EventRow, FailureRow, Filled, Ingested, KeptAnswer,
    Membership, PausedBy, ProfileRow, RefusedRow, Repeat, ShadowLine, ShadowPerson, ShadowSeen, ShadowSought, Sought,
    StockRow, StoreError, Touched, TransitionCursor, TransitionRead, UploadMode, VersionRow, WebhookRow,
};

/// Everything that can be asked of the service: the one face that the edge sees.
pub struct Engine {
    /// What requests see.
    pub catalogue: Arc<catalogue::Catalogue>,
    /// Decides.
    pub decider: decider::Decider,
    /// Takes what people did.
    pub ingest: ingest::Ingest,
    /// Takes what beacons report.
    pub outcomes: outcomes::Outcomes,
    /// Shows past decisions.
    pub archive: archive::Archive,
    /// What was rendered late, for those who load it again.
    pub rendered: rendered::Rendered,
    /// Changes the catalogue.
    pub authoring: authoring::Authoring,
    /// Reads and changes people.
    pub people: people::People,
    /// Fills feeds.
    pub products: products::Products,
    /// Takes uploads to static segments.
    pub members: members::Members,
    /// Tells who enters and leaves segments.
    pub transitions: transitions::Transitions,
    /// Keeps those who are told of it elsewhere.
    pub webhooks: webhooks::Webhooks,
    /// Tells what rules would mean.
    pub insight: insight::Insight,
    /// Puts segments side by side.
    pub reports: reports::Reports,
    /// Proposes models.
    pub trainer: training::Trainer,
    /// Makes and revokes API keys.
    pub keys: keys::Keys,
    /// What tags in shadow mode would have shown.
    pub shadows: shadows::Shadows,
    /// The money of campaigns that bid by themselves.
    pub spending: spending::Spending,
    /// Says what campaigns achieved.
    pub results: results::Results,
    /// Learns which components work.
    pub learning: learning::Learning,
    /// Keeps the answers of requests that may be sent again.
    pub repeats: repeats::Repeats,
    /// Keeps and serves images.
    pub assets: assets::Assets,
    /// Tells what drafts would change.
    pub what_ifs: what_if::WhatIfs,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}
