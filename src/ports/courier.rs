//! Posting something to somewhere else, and fetching something from there.

use std::{future::Future, pin::Pin};

use super::Validators;
use crate::domain::webhook::Target;

/// What is posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where to.
    pub target: Target,
    /// Header fields besides those of every letter: names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body, JSON.
    pub body: Vec<u8>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The status.
    pub status: u16,
    /// When to come back, as the answer says it.
    pub retry_after: Option<String>,
}

/// Why nothing was answered. The words are for the owner of the address: they tell nothing of the
/// network that it was looked for in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The name has no address.
    #[error("the name of the host cannot be resolved")]
    Unresolved,
    /// Its addresses may not be spoken to.
    #[error("the address is not allowed: it leads to this machine or into a private network, or lacks TLS")]
    OutOfReach,
    /// Nobody is there.
    #[error("no connection to the host")]
    Unreachable,
    /// It is not who it should be.
    #[error("TLS failed: the certificate is not valid for this host, or no version is shared")]
    Insecure,
    /// It took too long.
    #[error("no answer in time")]
    Late,
    /// It is no answer of HTTP.
    #[error("the answer cannot be read")]
    Broken,
}

/// What comes of posting.
pub type Posting<'a> = Pin<Box<dyn Future<Output = Result<Receipt, PostError>> + Send + 'a>>;

/// Posts letters, each once.
pub trait Courier: Send + Sync {
    /// Posts a letter, within a time limit of its own. Redirections are answers like others.
    fn post(&self, letter: Letter) -> Posting<'_>;
}

/// What is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// Where from.
    pub target: Target,
    /// What the server said of the version that is known.
    pub known: Validators,
}

/// What a server gave.
pub enum Found {
    /// What is known already.
    Unchanged,
    /// Something else.
    Changed {
        /// What the server said of it.
        validators: Validators,
        /// Its bytes, piece by piece.
        body: Box<dyn Download>,
    },
    /// Nothing: the status of its answer.
    Refused(u16),
}

/// What comes of fetching.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Found, PostError>> + Send + 'a>>;

/// The next piece of a body; none at its end.
pub type Piece<'a> = Pin<Box<dyn Future<Output = Result<Option<Vec<u8>>, PostError>> + Send + 'a>>;

/// A body that is being fetched.
pub trait Download: Send {
    /// The next piece, within a time limit of its own.
    fn next(&mut self) -> Piece<'_>;
}

/// Fetches files.
pub trait Fetcher: Send + Sync {
    /// Asks for a file. A few redirections are followed, each to an address that is checked anew.
    fn fetch(&self, errand: Errand) -> Fetching<'_>;
}
