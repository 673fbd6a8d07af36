//! Why the catalogue was not changed.

use crate::{
    domain::{catalog::key::DocumentKey, violation::Violation},
    ports::StoreError,
    schema::ReadError,
};

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum AuthoringError {
    /// There is no such document.
    #[error("there is no {0}")]
    NotFound(DocumentKey),
    /// The document is not at the version that the author saw.
    #[error("the document is at version {current:?} now")]
    Stale {
        /// Where it is; none: it does not exist.
        current: Option<i64>,
    },
    /// Other documents name it.
    #[error("{key} is in use by {} documents", by.len())]
    InUse {
        /// What was to be deleted.
        key: DocumentKey,
        /// Some of those that name it.
        by: Vec<DocumentKey>,
    },
    /// It is not JSON, or not as its schema says.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// An image that it names was there a moment ago and is not any more.
    #[error("there is no image /v1/assets/{0} any more")]
    NoAsset(String),
    /// It does not fit what it depends on.
    #[error("the document is invalid")]
    Invalid(Vec<Violation>),
    /// It would have this many bytes, more than [`Authoring::LARGEST`](super::Authoring::LARGEST).
    #[error("the document would have {0} bytes")]
    TooLarge(usize),
    /// Others kept changing the same catalogue.
    #[error("the catalogue changes too fast")]
    Contended,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}
