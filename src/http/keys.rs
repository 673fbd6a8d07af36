//! API keys over HTTP.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    extract::{ApiPath, StrictJson},
    problem::{Problem, ProblemKind},
};
use crate::{
    domain::{access::Scope, ids::KeyId, values::Millis},
    engine::ApiKeyRow,
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, put, revoke))
}

problems!(ListProblems = [Unauthorized, Forbidden, Overloaded, StoreUnavailable]);
problems!(ReadProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Overloaded, StoreUnavailable]);
problems!(
    PutProblems = [
        BadRequest,
        MalformedJson,
        Unauthorized,
        Forbidden,
        RequestTimeout,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        Overloaded,
        StoreUnavailable
    ]
);
problems!(
    RevokeProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Invalid, Overloaded, StoreUnavailable]
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
#[schema(example = json!({"id": "web-shop", "scopes": ["decide", "events"], "created_at": "2026-11-22T08:30:00.000Z"}))]
#[schema(as = ApiKey)]
struct Key {
    /// Its public id.
    id: KeyId,
    /// What it may do.
    scopes: Vec<Scope>,
    /// When it was made, or its secret last replaced.
    created_at: Millis,
}

/// An API key with its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "web-shop", "scopes": ["decide"], "created_at": "2026-11-22T08:30:00.000Z", "secret": "tsk_..."
}))]
#[schema(as = ApiKeyWithSecret)]
struct FreshKey {
    /// Its public id.
    id: KeyId,
    /// What it may do.
    scopes: Vec<Scope>,
    /// When it was made.
    created_at: Millis,
    /// What to send as `Authorization: Bearer <secret>`. It is shown this once and not kept.
    secret: String,
}

/// The keys of an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKeys)]
struct Keys {
    /// The keys, oldest first.
    items: Vec<Key>,
}

impl From<ApiKeyRow> for Key {
    fn from(row: ApiKeyRow) -> Self {
        Self { id: row.id, scopes: row.scopes, created_at: row.created_at }
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
    let rows = app.engine.keys.list(caller.account.number()).await?;
    Ok(Json(Keys { items: rows.into_iter().map(Key::from).collect() }))
}

/// Read an API key
///
/// Never its secret. Needs a key with the scope `admin`.
#[utoipa::path(
    get, path = "/v1/keys/{id}", tag = "keys", operation_id = "get_key", params(Named), security(("key" = [])),
    responses((status = 200, description = "The key.", body = Key), ReadProblems)
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Named { id }): ApiPath<Named>,
) -> Result<Json<Key>, Problem> {
    caller.must(Scope::Admin)?;
    let rows = app.engine.keys.list(caller.account.number()).await?;
    rows.into_iter().find(|row| row.id == id).map(|row| Json(row.into())).ok_or_else(|| unknown(&id))
}

/// Make an API key, or replace its secret
///
/// The answer holds the secret, which cannot be read again. A secret that is replaced stops working
/// at once. Needs a key with the scope `admin`.
#[utoipa::path(
    put, path = "/v1/keys/{id}", tag = "keys", operation_id = "put_key", params(Named), request_body = KeyRequest,
    security(("key" = [])),
    responses((status = 200, description = "The key with its secret.", body = FreshKey), PutProblems)
)]
async fn put(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Named { id }): ApiPath<Named>,
    StrictJson(KeyRequest { mut scopes }): StrictJson<KeyRequest>,
) -> Result<Json<FreshKey>, Problem> {
    caller.must(Scope::Admin)?;
    scopes.sort_unstable();
    scopes.dedup();
    let made = app.engine.keys.make(caller.account.number(), id, scopes).await?;
    let Key { id, scopes, created_at } = made.row.into();
    Ok(Json(FreshKey { id, scopes, created_at, secret: made.secret }))
}

/// Revoke an API key
///
/// It stops working at once. A key cannot revoke itself, so that no account locks itself out.
/// Needs a key with the scope `admin`.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", tag = "keys", operation_id = "revoke_key", params(Named), security(("key" = [])),
    responses((status = 204, description = "It is revoked."), RevokeProblems)
)]
async fn revoke(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Named { id }): ApiPath<Named>,
) -> Result<StatusCode, Problem> {
    caller.must(Scope::Admin)?;
    if caller.principal.key == id {
        return Err(Problem::new(ProblemKind::Conflict, "A key cannot revoke itself; use another one."));
    }
    let known = app.engine.keys.revoke(caller.account.number(), id.clone()).await?;
    if known { Ok(StatusCode::NO_CONTENT) } else { Err(unknown(&id)) }
}

fn unknown(id: &KeyId) -> Problem {
    Problem::new(ProblemKind::NotFound, format!("There is no key {id}."))
}
