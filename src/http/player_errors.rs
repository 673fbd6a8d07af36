//! Why players could not show videos, counted.

use std::sync::Arc;

use metrics::Counter;

use crate::telemetry::{Meters, PLAYER_ERRORS};

/// Errors of players, counted by their code in VAST (4.2, section 2.3.6.3).
#[derive(Clone)]
pub struct PlayerErrors(Arc<[(&'static str, Counter)]>);

impl PlayerErrors {
    /// The codes that are counted apart.
    const CODES: [&'static str; 33] = [
        "100", "101", "102", "200", "201", "202", "203", "204", "205", "206", "300", "301", "302", "303", "304", "400",
        "401", "402", "403", "405", "406", "407", "408", "409", "410", "411", "500", "501", "502", "503", "600", "900",
        "901",
    ];

    /// No error yet.
    #[must_use]
    pub fn new(meters: &Meters) -> Self {
        let known = Self::CODES.into_iter().chain(["other"]);
        Self(known.map(|code| (code, meters.reason(PLAYER_ERRORS, code))).collect())
    }

    /// Counts an error; one without a known code as `other`.
    pub fn count(&self, code: Option<&str>) {
        let found = self.0.iter().find(|(known, _)| Some(*known) == code);
        if let Some((_, counter)) = found.or(self.0.last()) {
            counter.increment(1);
        }
    }
}
