//! Tags for video players: VAST.

use super::query::TagQuery;
use crate::{
    domain::creative::{VideoRequest, empty_vast},
    engine::decider::Decided,
};

/// What the address says of the player.
pub(super) fn wanted(query: &TagQuery) -> VideoRequest {
    VideoRequest {
        version: query.version(),
        min_duration_ms: query.ms(&query.min_duration_ms),
        max_duration_ms: query.ms(&query.max_duration_ms),
        ..VideoRequest::default()
    }
}

/// What was decided, if anything was.
pub(super) fn made(decided: &Decided) -> Option<String> {
    let made = decided.assembled.first().and_then(|items| items.first()?.as_ref());
    made.map(|made| made.markup.clone()).filter(|markup| !markup.is_empty())
}

/// That, or a document that says that there is nothing.
pub(super) fn document(made: Option<String>, wanted: &VideoRequest, public_url: &str) -> String {
    if let Some(made) = made {
        return made;
    }
    let mut nothing = String::new();
    empty_vast(wanted.version, &format!("{public_url}/v1/p/none?code=[ERRORCODE]"), &mut nothing);
    nothing
}
