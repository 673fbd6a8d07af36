//! Webhooks: what they are, how far each has been told, and what comes next.

use uuid::Uuid;

use super::{Answer, TransitionCursor, TransitionRead};
use crate::domain::{
    ids::WebhookId,
    values::Millis,
    webhook::{Secret, WebhookDoc},
};

/// A webhook with how its deliveries fare.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookRow {
    /// Its id.
    pub id: WebhookId,
    /// Grows with every change of the document, and never returns.
    pub version: i64,
    /// When the document changed last.
    pub changed_at: Millis,
    /// What its owner wrote; paused where deliveries were given up.
    pub document: WebhookDoc,
    /// Why it is paused.
    pub paused: Option<PausedBy>,
    /// Until when an older secret signs beside the newest.
    pub old_secret_until: Option<Millis>,
    /// Deliveries that failed since the last that did not.
    pub failures: u32,
    /// Since when they fail.
    pub failing_since: Option<Millis>,
    /// When the next try is due, while they fail.
    pub next_at: Option<Millis>,
    /// The last delivery that was accepted.
    pub last_success: Option<Millis>,
    /// The last that was not.
    pub last_failure: Option<FailureRow>,
}

/// Why a webhook is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PausedBy {
    /// Its owner wants it so.
    Asked,
    /// Its receiver answered 410: it is gone for good.
    Gone,
    /// Its receiver accepted nothing for a day.
    GivenUp,
}

/// A delivery that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureRow {
    /// When.
    pub at: Millis,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// What was wrong.
    pub detail: String,
}

/// What a change expects to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookExpect {
    /// Nothing.
    Absent,
    /// The webhook, at whatever version.
    Present,
    /// The webhook at this version.
    Version(i64),
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookWritten {
    /// It is made, and this is the version now.
    Done(i64),
    /// Something else is there; none: nothing is.
    Stale(Option<i64>),
}

/// A batch to deliver, held for a while by whoever claimed it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryJob {
    /// Names the claim.
    pub claim: Uuid,
    /// Number of the account.
    pub account: u32,
    /// The webhook.
    pub id: WebhookId,
    /// What its owner wrote.
    pub document: WebhookDoc,
    /// What signs: the newest secret, then an older one while it still does.
    pub secrets: Vec<Secret>,
    /// Behind which place the batch begins, and where it ends.
    pub from: TransitionCursor,
    /// See `from`.
    pub upto: TransitionCursor,
    /// The transitions; none where all of them are of people erased since.
    pub transitions: Vec<TransitionRead>,
    /// Deliveries of it that failed.
    pub failures: u32,
    /// Since when the webhook's deliveries fail.
    pub failing_since: Option<Millis>,
    /// The store's time of the claim.
    pub now: Millis,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// It was accepted, or there was nothing left to tell.
    Accepted {
        /// Whether anything was sent.
        sent: bool,
    },
    /// It failed.
    Failed {
        /// The status of the answer, where there was one.
        status: Option<u16>,
        /// What was wrong.
        detail: String,
        /// What comes next.
        then: AfterFailure,
    },
}

/// What comes after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Another try, after so many milliseconds.
    Retry(i64),
    /// None before its owner says so.
    Pause(PausedBy),
}

/// Keeps webhooks, and hands their batches out to one deliverer at a time.
pub trait WebhookStore: Send + Sync {
    /// Webhooks of an account in the order of their ids, after one, at most `limit`.
    fn list(&self, account: u32, after: Option<String>, limit: u32) -> Answer<'_, Vec<WebhookRow>>;
    /// One webhook.
    fn get(&self, account: u32, id: WebhookId) -> Answer<'_, Option<WebhookRow>>;
    /// Writes a webhook, which begins with the transitions to come, under `secret` where it is new.
    /// One that is there goes on where it stands, at once and as if nothing had failed.
    fn put(
        &self,
        account: u32,
        id: WebhookId,
        expect: WebhookExpect,
        document: WebhookDoc,
        secret: Secret,
    ) -> Answer<'_, WebhookWritten>;
    /// Deletes a webhook.
    fn delete(&self, account: u32, id: WebhookId, expect: WebhookExpect) -> Answer<'_, WebhookWritten>;
    /// Gives a webhook another secret. The one before signs beside it for `overlap` milliseconds, and
    /// any older one no more. Answers until when; none where there is no such webhook.
    fn rotate(&self, account: u32, id: WebhookId, secret: Secret, overlap: i64) -> Answer<'_, Option<Millis>>;
    /// Transitions that wait to be delivered, counted up to `most`.
    fn backlog(&self, account: u32, id: WebhookId, most: u32) -> Answer<'_, u64>;
    /// The next batch that is due, of at most `batch` transitions, which nobody else gets for `lease`
    /// milliseconds. It is the same until it is accepted, but for people erased meanwhile.
    fn claim(&self, batch: u32, lease: i64) -> Answer<'_, Option<DeliveryJob>>;
    /// Ends a claim; whether it still held.
    fn settle(&self, account: u32, id: WebhookId, claim: Uuid, delivered: Delivered) -> Answer<'_, bool>;
}
