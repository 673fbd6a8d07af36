//! What segments and models were.

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
    models::Model,
    page::{Limit, Page},
    problem::Problem,
};
use crate::{
    domain::{
        access::Scope,
        audience::model_document::ModelDoc,
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
    OpenApiRouter::new().routes(routes!(of_segment)).routes(routes!(of_model))
}

problems!(ListProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Overloaded, StoreUnavailable]);

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

type SegmentVersions = Page<SegmentVersion>;
type ModelVersions = Page<ModelVersion>;

/// A document as it was from one catalogue version on.
macro_rules! version {
    ($(#[$about:meta])* $name:ident of $document:ty) => {
        $(#[$about])*
        #[derive(Debug, Serialize, ToSchema)]
        struct $name {
            /// The catalogue version that wrote it: its ETag then.
            version: i64,
            /// The catalogue version that replaced or deleted it; left out: it is in force.
            #[serde(skip_serializing_if = "Option::is_none")]
            until: Option<i64>,
            /// When it was written.
            changed_at: Millis,
            /// The API key that wrote it.
            changed_by: String,
            /// It as it was.
            #[schema(value_type = $document)]
            document: Value,
        }

        impl From<VersionRow> for $name {
            fn from(row: VersionRow) -> Self {
                let VersionRow { version, until, changed_at, changed_by, body: document } = row;
                Self { version, until, changed_at, changed_by, document }
            }
        }
    };
}

version!(
    /// A segment as it was from one catalogue version on.
    SegmentVersion of SegmentDoc
);
version!(
    /// A model as it was from one catalogue version on.
    ModelVersion of ModelDoc
);

/// List the versions of a segment
///
/// The newest first; also of a segment that was deleted. Needs a key with the scope `author` or
/// `report`.
#[utoipa::path(
    get, path = "/v1/segments/{key}/versions", tag = "segments", operation_id = "list_segment_versions",
    params(Segment, VersionsQuery), security(("key" = [])),
    responses((status = 200, description = "A page.", body = SegmentVersions), ListProblems)
)]
async fn of_segment(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Segment { key }): ApiPath<Segment>,
    ApiQuery(query): ApiQuery<VersionsQuery>,
) -> Result<Json<SegmentVersions>, Problem> {
    list(&app, &caller, DocumentKey::new(Kind::Segment, key.as_str()), query).await
}

/// List the versions of a model
///
/// The newest first; also of a model that was deleted. To go back to one, PUT its `document`. Needs
/// a key with the scope `author` or `report`.
#[utoipa::path(
    get, path = "/v1/models/{id}/versions", tag = "models", operation_id = "list_model_versions",
    params(Model, VersionsQuery), security(("key" = [])),
    responses((status = 200, description = "A page.", body = ModelVersions), ListProblems)
)]
async fn of_model(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Model { id }): ApiPath<Model>,
    ApiQuery(query): ApiQuery<VersionsQuery>,
) -> Result<Json<ModelVersions>, Problem> {
    list(&app, &caller, DocumentKey::new(Kind::Model, id.as_str()), query).await
}

async fn list<T: From<VersionRow>>(
    app: &App,
    caller: &Caller,
    key: DocumentKey,
    VersionsQuery { limit, after }: VersionsQuery,
) -> Result<Json<Page<T>>, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let rows = app.engine.authoring.history(caller.account.number(), key, after, limit.and_one()).await?;
    Ok(Json(Page::of(rows, limit, |row| row.version.to_string(), T::from)))
}
