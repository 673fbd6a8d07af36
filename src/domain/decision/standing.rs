//! How well a decision knows its person, and what it had to give up.

use serde::{Deserialize, Serialize};

/// How current the profile behind a decision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Proven current, also when it proves that nobody is known under the key.
    Personalised,
    /// The last known one, older than the staleness lease.
    Stale,
    /// None: no key, no consent, or no profile in time.
    Contextual,
}

/// A step of the fallback ladder, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FallbackLevel {
    /// Decided with a profile that is proven current.
    Personalised,
    /// Decided with the last known profile.
    Stale,
    /// Decided from the request's context alone.
    Contextual,
    /// The default creative of the campaign or of the placement.
    Default,
    /// Nothing: not even a house creative exists.
    None,
}

impl From<Standing> for FallbackLevel {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Personalised => Self::Personalised,
            Standing::Stale => Self::Stale,
            Standing::Contextual => Self::Contextual,
        }
    }
}

/// Something a decision gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Degraded {
    /// The profile did not arrive within the deadline.
    StoreTimeout,
    /// The store could not be asked.
    StoreUnavailable,
    /// The last known profile is older than the request allows.
    StaleProfile,
    /// The privacy signals forbid using anything about the person.
    NoConsent,
    /// The deadline had passed before the work was done.
    Deadline,
    /// The event that the consistency token names is not reflected yet.
    TokenNotReached,
    /// The campaign or creative the caller pinned may not serve now.
    PinnedIneligible,
    /// No allowed combination of the eligible components exists; the slots' defaults are shown.
    PairingUnsatisfiable,
}
