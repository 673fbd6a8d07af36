//! How much of a person a decision could use, and what it had to give up.

use serde::{Deserialize, Serialize};

/// How the profile behind a decision stands, the upper rungs of the fallback ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Proven current within the staleness lease; also when the store knows nobody of this key.
    Personalised,
    /// The last known profile, whose age the answer tells.
    Stale,
    /// No profile: none in time, none allowed or nobody named.
    Contextual,
}

/// A step of the fallback ladder, best first: `personalised`, decided with a profile that is proven
/// current, and where the store knows nobody of this key, with that knowledge; `stale`, with the last
/// known profile; `contextual`, from the request's context alone; `default`, the default creative of the
/// campaign or of the placement; `none`, nothing at all, where not even a house creative exists.
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

/// What a decision gave up: `store_timeout`, the store did not answer in time; `store_unavailable`, it
/// could not be asked; `stale_profile`, the last known profile is older than the request or its account
/// accepts; `no_consent`, no purpose allows using the profile; `deadline`, the time for the answer had
/// passed already; `token_not_reached`, the event that the consistency token names is not in the profile
/// yet; `pinned_ineligible`, what the caller chose may not be shown and its default was;
/// `pairing_unsatisfiable`, no choice of components satisfies the pairing rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Degraded {
    /// The store did not answer in time.
    StoreTimeout,
    /// The store could not be asked.
    StoreUnavailable,
    /// The last known profile is older than the request or its account accepts.
    StaleProfile,
    /// No purpose allows using the profile.
    NoConsent,
    /// The time for the answer had passed already.
    Deadline,
    /// The event that the request's consistency token names is not in the profile yet.
    TokenNotReached,
    /// The campaign or creative that the caller chose may not be shown; its default was.
    PinnedIneligible,
    /// No choice of components satisfies the pairing rules; the default combination was shown.
    PairingUnsatisfiable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_contract() {
        let all = [
            (Degraded::StoreTimeout, "store_timeout"),
            (Degraded::StoreUnavailable, "store_unavailable"),
            (Degraded::StaleProfile, "stale_profile"),
            (Degraded::NoConsent, "no_consent"),
            (Degraded::Deadline, "deadline"),
            (Degraded::TokenNotReached, "token_not_reached"),
            (Degraded::PinnedIneligible, "pinned_ineligible"),
            (Degraded::PairingUnsatisfiable, "pairing_unsatisfiable"),
        ];
        for (value, text) in all {
            assert_eq!(serde_json::to_value(value).expect("a name"), text);
        }
    }
}
