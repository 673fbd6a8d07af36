//! What data about a person may be used for.

use serde::{Deserialize, Serialize};

/// What data about a person may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Purposes {
    /// Keep choices stable for the person and count impressions towards frequency caps.
    pub basic: bool,
    /// Read the person's profile, and believe what the request says of them.
    pub profile_read: bool,
    /// Keep what the person does in their profile.
    pub profile_write: bool,
    /// Count outcomes per person.
    pub measure: bool,
}

impl Purposes {
    /// Nothing about the person may be used.
    pub const NONE: Self = Self { basic: false, profile_read: false, profile_write: false, measure: false };
    /// Everything may be used.
    pub const ALL: Self = Self { basic: true, profile_read: true, profile_write: true, measure: true };

    /// The names of the purposes that are allowed, as `consent.asserted` writes them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.basic, "basic"),
            (self.profile_read, "profile_read"),
            (self.profile_write, "profile_write"),
            (self.measure, "measure"),
        ]
        .into_iter()
        .filter_map(|(allowed, name)| allowed.then_some(name))
    }
}

/// What privacy signals allow: the purposes, and what is no matter of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// What data about the person may be used for.
    pub purposes: Purposes,
    /// Whether an ad may be chosen at all, if only from its surroundings. Under the GDPR that is
    /// purpose 2 of the TCF; elsewhere nothing forbids it.
    pub selection: bool,
    /// Whether a position may be used to the metre. Without it, two decimals of a degree.
    pub precise_geo: bool,
}

impl Allowed {
    /// Not even choosing an ad.
    pub const NOTHING: Self = Self { purposes: Purposes::NONE, selection: false, precise_geo: false };
    /// Choosing an ad from its surroundings.
    pub const CONTEXT: Self = Self { selection: true, ..Self::NOTHING };
    /// Everything.
    pub const EVERYTHING: Self = Self { purposes: Purposes::ALL, selection: true, precise_geo: true };
}
