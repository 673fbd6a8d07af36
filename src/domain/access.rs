//! What the keys of an account open.

use serde::{Deserialize, Serialize};

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Ask for decisions.
    Decide,
    /// Send events and change profiles.
    Events,
    /// Change the catalogue.
    Author,
    /// Read reports, records and profiles.
    Report,
    /// Everything, keys included.
    Admin,
    /// Assert a person's consent as the first-party controller.
    Consent,
}
