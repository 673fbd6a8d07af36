//! Telling others: where to, how it is signed, and when it is tried again.

mod document;
mod message;
mod reach;
mod schedule;
mod secret;
mod target;

pub use self::{
    document::{Chosen, MoveKind, WebhookDoc, WebhookStatus},
    message::{Message, Telling},
    reach::Reach,
    schedule::{GIVE_UP, delay, retry_after},
    secret::{Secret, SecretError},
    target::{Target, TargetError},
};
