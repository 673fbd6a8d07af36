//! What segments were.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    extract::{ApiPath, ApiQuery},
    members::Segment,
    page::{Limit, Page},
    problem::Problem,
};
use crate::{
    domain::{
        access::Scope,
        catalog::{
            document::SegmentDoc,
            key::{DocumentKey, Kind},
        },
        values::Millis,
    },
    engine::VersionRow,
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

problems!(ListProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Overloaded, StoreUnavailable]);

type Versions = Page<SegmentVersion>;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct VersionsQuery {
    /// How many items at most.
    #[serde(default)]
    #[param(inline, required = false)]
    limit: Limit,
    /// Where to read on: `next` of the page before.
    #[param(required = false)]
    after: Option<i64>,
}

/// A segment as it was from one catalogue version on.
#[derive(Debug, Serialize, ToSchema)]
struct SegmentVersion {
    /// The catalogue version that wrote it: its ETag then.
    version: i64,
    /// The catalogue version that replaced or deleted it; left out: it is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    /// When it was written.
    changed_at: Millis,
    /// The API key that wrote it.
    changed_by: String,
    /// The segment.
    #[schema(value_type = SegmentDoc)]
    document: Value,
}

impl From<VersionRow> for SegmentVersion {
    fn from(row: VersionRow) -> Self {
        let VersionRow { version, until, changed_at, changed_by, body: document } = row;
        Self { version, until, changed_at, changed_by, document }
    }
}

/// List the versions of a segment
///
/// The newest first; also of a segment that was deleted. Needs a key with the scope `author` or
/// `report`.
#[utoipa::path(
    get, path = "/v1/segments/{key}/versions", tag = "segments", operation_id = "list_segment_versions",
    params(Segment, VersionsQuery), security(("key" = [])),
    responses((status = 200, description = "A page.", body = Versions), ListProblems)
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Segment { key }): ApiPath<Segment>,
    ApiQuery(VersionsQuery { limit, after }): ApiQuery<VersionsQuery>,
) -> Result<Json<Versions>, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let key = DocumentKey::new(Kind::Segment, key.as_str());
    let rows = app.engine.authoring.history(caller.account.number(), key, after, limit.and_one()).await?;
    Ok(Json(Page::of(rows, limit, |row| row.version.to_string(), SegmentVersion::from)))
}
