//! Whether a segment knows what people did before it was made.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::access::Scope,
    http::{
        app::App,
        auth::Caller,
        extract::ApiPath,
        members::Segment,
        problem::{Problem, ProblemKind},
    },
    problems,
};

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(status))
}

/// Whether a segment knows what people did before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum History {
    /// All events that are kept count.
    Live,
    /// Events of before the rule was made are still being read: some do not count yet.
    Backfilling,
}

/// How a segment stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"state": "live", "streams": 2}))]
struct SegmentStatus {
    /// Whether it knows what people did before.
    state: History,
    /// Kinds of events that are remembered for it and the segments it names.
    streams: usize,
}

problems!(StatusProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Overloaded, StoreUnavailable]);

/// Tell whether a segment knows what people did before
///
/// A new rule over events holds for everything from its first instant on; what is kept of earlier
/// events is read afterwards, and until that is done the segment says so here. Needs a key with the
/// scope `report` or `author`.
#[utoipa::path(
    get, path = "/v1/segments/{key}/status", tag = "segments", operation_id = "get_segment_status",
    params(Segment), security(("key" = [])),
    responses((status = 200, description = "How it stands.", body = SegmentStatus), StatusProblems)
)]
async fn status(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Segment { key }): ApiPath<Segment>,
) -> Result<Json<SegmentStatus>, Problem> {
    caller.must_one(&[Scope::Report, Scope::Author])?;
    let snapshot = &caller.account.snapshot;
    if snapshot.rules.ix(&key).is_none() {
        return Err(Problem::new(ProblemKind::NotFound, format!("There is no segment {key}.")));
    }
    let needed = snapshot.streams_of(&[key]);
    let streamed = app.engine.ingest.streamed(caller.account.number()).await?;
    let state = if streamed.unread(&needed).is_empty() { History::Live } else { History::Backfilling };
    Ok(Json(SegmentStatus { state, streams: needed.len() }))
}
