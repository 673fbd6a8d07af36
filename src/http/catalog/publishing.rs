//! From a creative's draft to what serves, and back out of service.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{LARGEST, ReadProblems, Resource, author};
use crate::{
    domain::{
        access::Scope,
        catalog::{
            document::RevisionDoc,
            key::{DocumentKey, Kind},
        },
        ids::CreativeId,
        values::Millis,
        violation::Violation,
    },
    engine::{DocumentRow, authoring::Published as Made},
    http::{
        app::App,
        auth::Caller,
        etag::DraftMatch,
        extract::{ApiPath, ApiQuery, MaybeJson},
        page::{DryRun, Limit, Offset, Page},
        problem::Problem,
    },
    problems,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(publish))
        .routes(routes!(archive))
        .routes(routes!(revisions))
        .routes(routes!(revision))
}

type Revisions = Page<RevisionSummary>;
type StoredRevision = Resource<RevisionDoc>;

problems!(
    PublishProblems = [
        BadRequest,
        MalformedJson,
        Unauthorized,
        Forbidden,
        NotFound,
        RequestTimeout,
        PreconditionFailed,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        Overloaded,
        StoreUnavailable
    ]
);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Published {
    /// The creative.
    id: CreativeId,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OneRevision {
    /// The creative.
    id: CreativeId,
    /// The number of the revision, from 1.
    #[param(minimum = 1)]
    revision: u32,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RevisionsQuery {
    /// How many items at most.
    #[serde(default)]
    #[param(inline, required = false)]
    limit: Limit,
    /// The number of the revision after which to read on: `next` of the page before.
    #[serde(default)]
    #[param(inline, required = false)]
    after: Offset,
}

/// What to publish.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({}))]
struct PublishRequest {
    /// An earlier revision to serve again; left out, the draft becomes a new revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    revision: Option<u32>,
}

/// What serves now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"revision": 3, "version": 42, "warnings": [], "combinations": 50}))]
struct PublishAnswer {
    /// The revision in use.
    revision: u32,
    /// The catalogue version since which it is.
    version: i64,
    /// What an author should look at, though it does not keep the creative from serving.
    warnings: Vec<Violation>,
    /// How many of its combinations were chosen for exchanges that review them one by one; 0 where none does.
    combinations: usize,
}

/// A creative out of service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"version": 43, "warnings": []}))]
struct ArchiveAnswer {
    /// The catalogue version since which it does not serve.
    version: i64,
    /// What still names it.
    warnings: Vec<Violation>,
}

/// One revision of a creative.
#[derive(Debug, Serialize, ToSchema)]
struct RevisionSummary {
    /// Counts from 1 within the creative.
    revision: u32,
    /// When it was published.
    published_at: Option<Millis>,
    /// Whether it is in use.
    serving: bool,
}

/// Publish a creative
///
/// Makes the draft, with its templates and components as they are now, an immutable revision and
/// serves it from the next moment on; or serves an earlier revision again. Refused with every
/// reason while the draft cannot be served: every part of it must fit, the pairing rules must leave
/// a component for every slot that has any (`unsatisfiable`), each registered placement of a
/// campaign that shows it must be fitted by one of that campaign's creatives, as drafted, and a
/// placement whose house creative it is by it (`size_mismatch`), and all links must lead to the
/// advertiser's hosts (`landing_host_not_allowed`). The rest are warnings. An earlier revision is only
/// warned of all this, and refused where it cannot be rendered: a component whose targeting names
/// nothing any more, or whose click leads elsewhere now, is held back. With `If-Match`, only while the
/// creative's draft is the one that was read; with the ETag of a preview, only while its templates and
/// components are those that were looked at too. The body may be left out.
///
/// Needs a key with the scope `author`.
#[utoipa::path(
    post, path = "/v1/creatives/{id}/publish", tag = "creatives", operation_id = "publish_creative",
    params(Published, DryRun, DraftMatch), request_body(content = Option<PublishRequest>, example = json!({})), security(("key" = [])),
    responses((status = 200, description = "It serves; or a dry run: it would.", body = PublishAnswer), PublishProblems)
)]
async fn publish(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Published { id }): ApiPath<Published>,
    ApiQuery(dry): ApiQuery<DryRun>,
    DraftMatch { expect, previewed }: DraftMatch,
    MaybeJson(request): MaybeJson<PublishRequest, LARGEST>,
) -> Result<Json<PublishAnswer>, Problem> {
    caller.must(Scope::Author)?;
    let made = app.engine.authoring.publish(&author(&caller, dry), &id, expect, previewed, request.revision).await?;
    let Made { revision, version, warnings, combinations } = made;
    Ok(Json(PublishAnswer { revision, version, warnings, combinations }))
}

/// Take a creative out of service
///
/// No decision shows it from the next moment on; its revisions are kept and can be published
/// again. Needs a key with the scope `author`.
#[utoipa::path(
    post, path = "/v1/creatives/{id}/archive", tag = "creatives", operation_id = "archive_creative",
    params(Published, DryRun), security(("key" = [])),
    responses((status = 200, description = "It no longer serves; or a dry run: it would not.", body = ArchiveAnswer), ReadProblems)
)]
async fn archive(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Published { id }): ApiPath<Published>,
    ApiQuery(dry): ApiQuery<DryRun>,
) -> Result<Json<ArchiveAnswer>, Problem> {
    caller.must(Scope::Author)?;
    let (version, warnings) = app.engine.authoring.archive(&author(&caller, dry), &id).await?;
    Ok(Json(ArchiveAnswer { version, warnings }))
}

/// List a creative's revisions
///
/// In the order of their numbers. Needs a key with the scope `author` or `report`.
#[utoipa::path(
    get, path = "/v1/creatives/{id}/revisions", tag = "creatives", operation_id = "list_revisions",
    params(Published, RevisionsQuery), security(("key" = [])),
    responses((status = 200, description = "A page.", body = Revisions), ReadProblems)
)]
async fn revisions(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Published { id }): ApiPath<Published>,
    ApiQuery(query): ApiQuery<RevisionsQuery>,
) -> Result<Json<Page<RevisionSummary>>, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let account = caller.account.number();
    let (rows, serving) = app.engine.authoring.revisions(account, &id, query.after.0, query.limit.and_one()).await?;
    let summary = |row: DocumentRow| {
        let revision = number(&row);
        let published_at = serde_json::from_value(row.body["published_at"].clone()).ok();
        RevisionSummary { revision, published_at, serving: serving == Some(revision) }
    };
    Ok(Json(Page::of(rows, query.limit, |row| number(row).to_string(), summary)))
}

/// Read a revision of a creative
///
/// Everything it was published with: it never changes. Needs a key with the scope `author` or
/// `report`.
#[utoipa::path(
    get, path = "/v1/creatives/{id}/revisions/{revision}", tag = "creatives", operation_id = "get_revision",
    params(OneRevision), security(("key" = [])),
    responses((status = 200, description = "The revision.", body = StoredRevision), ReadProblems)
)]
async fn revision(
    State(app): State<App>,
    caller: Caller,
    ApiPath(OneRevision { id, revision }): ApiPath<OneRevision>,
) -> Result<Json<Resource<Value>>, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let key = DocumentKey::new(Kind::Revision, format!("{id}/{revision}"));
    let row = app.engine.authoring.get(caller.account.number(), key).await?;
    let id = revision.to_string();
    Ok(Json(Resource {
        id,
        version: row.version,
        changed_at: Some(row.changed_at),
        document: row.body,
        lint: Vec::new(),
    }))
}

/// The number at the end of a revision's id.
fn number(row: &DocumentRow) -> u32 {
    row.key.id.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
