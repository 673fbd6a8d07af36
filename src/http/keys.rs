//! API keys over HTTP.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    etag::{self, IfMatch, Precondition, Unless},
    extract::{ApiPath, ApiQuery, StrictJson},
    page::DryRun,
    problem::{Problem, ProblemKind},
};
use crate::{
    domain::{access::Scope, ids::KeyId, values::Millis, violation::Violation},
    engine::{ApiKeyRow, keys::WrittenKey},
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, put, revoke)).routes(routes!(rotate))
}

problems!(ListProblems = [Unauthorized, Forbidden, Invalid, Overloaded, StoreUnavailable]);
problems!(OneProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Overloaded, StoreUnavailable]);
problems!(
    PutProblems = [
        BadRequest,
        MalformedJson,
        Unauthorized,
        Forbidden,
        RequestTimeout,
        PreconditionFailed,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        PreconditionRequired,
        Overloaded,
        StoreUnavailable
    ]
);
problems!(
    RevokeProblems = [
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        Conflict,
        PreconditionFailed,
        Invalid,
        PreconditionRequired,
        Overloaded,
        StoreUnavailable
    ]
);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Named {
    /// The key's public id.
    id: KeyId,
}

/// What a key may do.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"scopes": ["decide", "events"]}))]
#[schema(as = ApiKeyRequest)]
struct KeyRequest {
    /// `admin` may do everything but assert consent, which only a key with `consent` may.
    #[schema(min_items = 1, max_items = 6)]
    scopes: Vec<Scope>,
}

/// An API key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "web-shop", "version": 7, "scopes": ["decide", "events"], "created_at": "2026-11-22T08:30:00.000Z"
}))]
#[schema(as = ApiKey)]
struct Key {
    /// Its public id.
    id: KeyId,
    /// Its version: its ETag. In a dry run, a guess.
    #[schema(minimum = 1)]
    version: i64,
    /// What it may do.
    scopes: Vec<Scope>,
    /// When it was made, or its secret last replaced.
    created_at: Millis,
    /// Until when the secret before the newest opens as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_until: Option<Millis>,
    /// What to send as `Authorization: Bearer <secret>`, where it is new. It is shown this once and
    /// not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// The keys of an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKeys)]
struct Keys {
    /// The keys, oldest first.
    items: Vec<Key>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RotateQuery {
    /// For how many hours the secret that is replaced opens as well; 0: it stops working at once.
    #[serde(default = "a_day")]
    #[param(required = false, default = 24, maximum = 720)]
    overlap_hours: u32,
}

fn a_day() -> u32 {
    24
}

/// The longest overlap, in hours.
const LONGEST: u32 = 720;

impl Key {
    fn new(row: ApiKeyRow, now: Millis) -> Self {
        let old_secret_until = row.old.map(|old| old.until).filter(|until| now < *until);
        let ApiKeyRow { id, version, scopes, created_at, .. } = row;
        Self { id, version, scopes, created_at, old_secret_until, secret: None }
    }

    fn written(written: WrittenKey, now: Millis) -> Self {
        Self { secret: written.secret, ..Self::new(written.row, now) }
    }
}

/// List the API keys
///
/// Never their secrets. Needs a key with the scope `admin`.
#[utoipa::path(
    get, path = "/v1/keys", tag = "keys", operation_id = "list_keys", security(("key" = [])),
    responses((status = 200, description = "Every key of the account.", body = Keys), ListProblems)
)]
async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Keys>, Problem> {
    caller.must(Scope::Admin)?;
    let (rows, now) = (app.engine.keys.list(caller.account.number()).await?, app.engine.clock.now());
    Ok(Json(Keys { items: rows.into_iter().map(|row| Key::new(row, now)).collect() }))
}

/// Read an API key
///
/// Never its secret. Needs a key with the scope `admin`.
#[utoipa::path(
    get, path = "/v1/keys/{id}", tag = "keys", operation_id = "get_key", params(Named, Unless), security(("key" = [])),
    responses(
        (status = 200, description = "The key.", body = Key,
            headers(("ETag" = String, description = "Its version in double quotes."))),
        (status = 304, description = "It is still at the version that `If-None-Match` names."),
        OneProblems
    )
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Named { id }): ApiPath<Named>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must(Scope::Admin)?;
    let row = app.engine.keys.get(caller.account.number(), &id).await?;
    let tag = etag::tag(row.version);
    if etag::is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(([(header::ETAG, tag)], Json(Key::new(row, app.engine.clock.now()))).into_response())
}

/// Make an API key, or change what it may do
///
/// Send `If-None-Match: *` to make one: the answer holds its secret, which cannot be read again.
/// With `If-Match` its scopes change and its secret stays; another secret is made by `rotate`.
/// Needs a key with the scope `admin`.
#[utoipa::path(
    put, path = "/v1/keys/{id}", tag = "keys", operation_id = "put_key", params(Named, DryRun, Precondition),
    request_body = KeyRequest, security(("key" = [])),
    responses(
        (status = 200, description = "It is changed; or a dry run: it would be written (no ETag).", body = Key,
            headers(("ETag" = String, description = "Its version in double quotes."))),
        (status = 201, description = "It is made; the answer holds its secret.", body = Key, headers(
            ("Location" = String, description = "Where it is."),
            ("ETag" = String, description = "Its version in double quotes."),
        )),
        PutProblems
    )
)]
async fn put(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Named { id }): ApiPath<Named>,
    ApiQuery(dry): ApiQuery<DryRun>,
    expect: Precondition,
    StrictJson(KeyRequest { mut scopes }): StrictJson<KeyRequest>,
) -> Result<Response, Problem> {
    caller.must(Scope::Admin)?;
    scopes.sort_unstable();
    scopes.dedup();
    let written = app.engine.keys.put(caller.account.number(), &id, expect.0, scopes, dry.dry_run).await?;
    let key = Key::written(written, app.engine.clock.now());
    let tag = [(header::ETAG, etag::tag(key.version))];
    if dry.dry_run {
        return Ok(Json(key).into_response());
    }
    if key.secret.is_none() {
        return Ok((tag, Json(key)).into_response());
    }
    let url = HeaderValue::from_str(&format!("/v1/keys/{id}")).map_err(Problem::internal)?;
    Ok((StatusCode::CREATED, tag, [(header::LOCATION, url)], Json(key)).into_response())
}

/// Replace the secret of an API key
///
/// The answer holds the new secret, which cannot be read again. The one before opens as well for
/// `overlap_hours`, and any older one no more. Needs a key with the scope `admin`.
#[utoipa::path(
    post, path = "/v1/keys/{id}/rotate", tag = "keys", operation_id = "rotate_key", params(Named, RotateQuery),
    security(("key" = [])),
    responses(
        (status = 200, description = "The key with its new secret.", body = Key,
            headers(("ETag" = String, description = "Its version in double quotes."))),
        OneProblems
    )
)]
async fn rotate(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Named { id }): ApiPath<Named>,
    ApiQuery(RotateQuery { overlap_hours }): ApiQuery<RotateQuery>,
) -> Result<Response, Problem> {
    caller.must(Scope::Admin)?;
    if overlap_hours > LONGEST {
        let detail = format!("must be at most {LONGEST}");
        return Err(Problem::invalid(vec![Violation::new("/overlap_hours", "range", detail)]));
    }
    let overlap = i64::from(overlap_hours) * 3_600_000;
    let written = app.engine.keys.rotate(caller.account.number(), &id, overlap).await?;
    let tag = [(header::ETAG, etag::tag(written.row.version))];
    Ok((tag, Json(Key::written(written, app.engine.clock.now()))).into_response())
}

/// Revoke an API key
///
/// It stops working at once, with every secret. A key cannot revoke itself, so that no account locks
/// itself out. Needs a key with the scope `admin`.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", tag = "keys", operation_id = "revoke_key", params(Named, DryRun, IfMatch),
    security(("key" = [])),
    responses(
        (status = 200, description = "A dry run: this key would be revoked.", body = Key),
        (status = 204, description = "It is revoked."),
        RevokeProblems
    )
)]
async fn revoke(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Named { id }): ApiPath<Named>,
    ApiQuery(dry): ApiQuery<DryRun>,
    expect: Precondition,
) -> Result<Response, Problem> {
    caller.must(Scope::Admin)?;
    if caller.principal.key == id {
        return Err(Problem::new(ProblemKind::Conflict, "A key cannot revoke itself; use another one."));
    }
    let row = app.engine.keys.revoke(caller.account.number(), &id, expect.existing()?, dry.dry_run).await?;
    Ok(match dry.dry_run {
        true => Json(Key::new(row, app.engine.clock.now())).into_response(),
        false => StatusCode::NO_CONTENT.into_response(),
    })
}
