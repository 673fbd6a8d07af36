//! Webhooks over HTTP.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    etag::{self, IfMatch, Precondition},
    extract::{ApiPath, ApiQuery, StrictJson},
    page::{DryRun, Page, PageQuery},
    problem::Problem,
};
use crate::{
    domain::{
        access::Scope,
        ids::WebhookId,
        values::Millis,
        webhook::{WebhookDoc, WebhookStatus},
    },
    engine::{FailureRow, PausedBy, WebhookRow, webhooks::NewSecret},
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, write, delete)).routes(routes!(rotate))
}

problems!(ListProblems = [BadRequest, Unauthorized, Forbidden, Invalid, Overloaded, StoreUnavailable]);
problems!(OneProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Overloaded, StoreUnavailable]);
problems!(
    WriteProblems = [
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
    DeleteProblems = [
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        PreconditionFailed,
        Invalid,
        PreconditionRequired,
        Overloaded,
        StoreUnavailable
    ]
);

type WebhookPage = Page<Webhook>;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct One {
    /// The webhook.
    id: WebhookId,
}

/// A webhook and how its deliveries fare.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "crm", "version": 7, "changed_at": "2026-11-22T08:30:00.000Z",
    "document": {"url": "https://crm.example/tessera", "segments": ["vip"], "kinds": ["entered", "left"], "status": "active"},
    "state": "failing", "failures": 2, "failing_since": "2026-11-22T09:00:00.000Z", "next_try_at": "2026-11-22T09:00:21.000Z",
    "last_success_at": "2026-11-22T08:59:00.000Z",
    "last_failure": {"at": "2026-11-22T09:00:06.000Z", "status": 500, "detail": "the receiver answered 500"},
    "backlog": 12
}))]
struct Webhook {
    /// Its id.
    id: WebhookId,
    /// Its version: its ETag. It grows when the document changes, and when deliveries are given up.
    #[schema(minimum = 1)]
    version: i64,
    /// When the document changed last.
    changed_at: Millis,
    /// What its owner wrote. `paused` also where deliveries were given up.
    document: WebhookDoc,
    /// How it fares.
    state: WebhookState,
    /// Why it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_by: Option<WebhookPause>,
    /// Deliveries that failed since the last that did not.
    failures: u32,
    /// Since when they fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Millis>,
    /// When the next try is due, while they fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_at: Option<Millis>,
    /// The last delivery that was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success_at: Option<Millis>,
    /// The last delivery that was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<WebhookFailure>,
    /// Transitions that wait to be delivered, counted up to 10,000; of one that is read by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog: Option<u64>,
    /// Until when the secret before the newest signs as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_until: Option<Millis>,
    /// What verifies deliveries; shown this once, when the webhook is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// How the deliveries of a webhook fare.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WebhookState {
    /// They are accepted, as far as there were any.
    Delivering,
    /// The last ones were not accepted, and are tried again.
    Failing,
    /// Nothing is delivered.
    Paused,
}

/// Why a webhook is paused.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WebhookPause {
    /// Its owner wrote so.
    Asked,
    /// The receiver answered 410.
    Gone,
    /// The receiver accepted nothing for a day.
    GivenUp,
}

/// A delivery that was not accepted.
#[derive(Debug, Serialize, ToSchema)]
struct WebhookFailure {
    /// When.
    at: Millis,
    /// The status of the answer, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// What was wrong.
    detail: String,
}

/// A secret that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDVnVgN9tDgeY=", "old_secret_until": "2026-11-23T08:30:00.000Z"
}))]
struct WebhookSecret {
    /// What verifies deliveries; shown this once.
    secret: String,
    /// Until when the secret before it signs as well.
    old_secret_until: Millis,
}

impl Webhook {
    fn new(row: WebhookRow, now: Millis) -> Self {
        let state = match row.document.status {
            WebhookStatus::Paused => WebhookState::Paused,
            WebhookStatus::Active if row.failures > 0 => WebhookState::Failing,
            WebhookStatus::Active => WebhookState::Delivering,
        };
        let paused_by = row.paused.map(|by| match by {
            PausedBy::Asked => WebhookPause::Asked,
            PausedBy::Gone => WebhookPause::Gone,
            PausedBy::GivenUp => WebhookPause::GivenUp,
        });
        let failure = |FailureRow { at, status, detail }| WebhookFailure { at, status, detail };
        Self {
            id: row.id,
            version: row.version,
            changed_at: row.changed_at,
            document: row.document,
            state,
            paused_by,
            failures: row.failures,
            failing_since: row.failing_since,
            next_try_at: row.next_at,
            last_success_at: row.last_success,
            last_failure: row.last_failure.map(failure),
            backlog: None,
            old_secret_until: row.old_secret_until.filter(|until| *until > now),
            secret: None,
        }
    }
}

/// List webhooks
///
/// Page by page, in the order of their ids. Needs a key with the scope `report`.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks", operation_id = "list_webhooks", params(PageQuery),
    security(("key" = [])),
    responses((status = 200, description = "A page.", body = WebhookPage), ListProblems)
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    ApiQuery(page): ApiQuery<PageQuery>,
) -> Result<Json<WebhookPage>, Problem> {
    caller.must(Scope::Report)?;
    let after = page.after.map(String::from);
    let rows = app.engine.webhooks.list(caller.account.number(), after, page.limit.and_one()).await?;
    let now = app.engine.clock.now();
    Ok(Json(Page::of(rows, page.limit, |row| row.id.to_string(), |row| Webhook::new(row, now))))
}

/// Read a webhook
///
/// What it tells and how its deliveries fare: the last that was accepted, the last that was not with
/// its status, and what waits. The `ETag` is that of the document, so there is no 304. Needs a key
/// with the scope `report`.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", tag = "webhooks", operation_id = "get_webhook", params(One),
    security(("key" = [])),
    responses(
        (status = 200, description = "The webhook.", body = Webhook,
            headers(("ETag" = String, description = "Its version in double quotes."))),
        OneProblems
    )
)]
async fn read(State(app): State<App>, caller: Caller, ApiPath(One { id }): ApiPath<One>) -> Result<Response, Problem> {
    caller.must(Scope::Report)?;
    let (row, backlog) = app.engine.webhooks.get(caller.account.number(), &id).await?;
    let tag = [(header::ETAG, etag::tag(row.version))];
    let webhook = Webhook { backlog: Some(backlog), ..Webhook::new(row, app.engine.clock.now()) };
    Ok((tag, Json(webhook)).into_response())
}

/// Create or change a webhook
///
/// Deliveries follow [Standard Webhooks](https://www.standardwebhooks.com): a `POST` of JSON (schema
/// `WebhookMessage`) with the headers `webhook-id`, `webhook-timestamp` (Unix seconds) and
/// `webhook-signature`, which holds `v1,<base64>` of the HMAC-SHA256 of `id.timestamp.body` for each
/// secret that signs, with a space between them. The key is what the base64 behind `whsec_` stands
/// for. Up to 100 transitions go together, in the order in which they were recorded, beginning with
/// those after the webhook was made.
///
/// Any 2xx within 10 seconds accepts a delivery. All else, redirections among it, is tried again
/// after 5 seconds, then 15, and so on up to six hours, spread at random, or after what `Retry-After`
/// asks for. 410, or nothing accepted for a day, pauses the webhook. What happens meanwhile waits for
/// up to 30 days and is delivered once a PUT makes it `active` again; any PUT tries at once.
///
/// Every transition is delivered at least once. A batch keeps its `webhook-id` however often it is
/// sent, so that a receiver that remembers ids counts it once; it is sent by one replica at a time.
/// Told is what the feed of a segment tells.
///
/// Only https to public addresses is allowed, checked again with every delivery after the name was
/// resolved; operators may allow this machine and private networks. Needs a key with the scope `admin`.
#[utoipa::path(
    put, path = "/v1/webhooks/{id}", tag = "webhooks", operation_id = "put_webhook",
    params(One, DryRun, Precondition),
    request_body = WebhookDoc, security(("key" = [])),
    responses(
        (status = 200, description = "It is changed; or a dry run: it would be written (no ETag).", body = Webhook,
            headers(("ETag" = String, description = "Its version in double quotes."))),
        (status = 201, description = "It is created; the answer holds its secret.", body = Webhook, headers(
            ("Location" = String, description = "Where it is."),
            ("ETag" = String, description = "Its version in double quotes."),
        )),
        WriteProblems
    )
)]
async fn write(
    State(app): State<App>,
    caller: Caller,
    ApiPath(One { id }): ApiPath<One>,
    ApiQuery(dry): ApiQuery<DryRun>,
    expect: Precondition,
    StrictJson(document): StrictJson<WebhookDoc>,
) -> Result<Response, Problem> {
    caller.must(Scope::Admin)?;
    if dry.dry_run {
        let now = app.engine.clock.now();
        let row = app.engine.webhooks.would_put(&caller.account, &id, expect.0, document, now).await?;
        return Ok(Json(Webhook::new(row, now)).into_response());
    }
    let written = app.engine.webhooks.put(&caller.account, &id, expect.0, document).await?;
    let tag = [(header::ETAG, etag::tag(written.row.version))];
    let webhook = Webhook::new(written.row, app.engine.clock.now());
    let Some(secret) = written.secret else { return Ok((tag, Json(webhook)).into_response()) };
    let url = HeaderValue::from_str(&format!("/v1/webhooks/{id}")).map_err(Problem::internal)?;
    let webhook = Webhook { secret: Some(secret.reveal()), ..webhook };
    Ok((StatusCode::CREATED, tag, [(header::LOCATION, url)], Json(webhook)).into_response())
}

/// Delete a webhook
///
/// What waits to be delivered is not delivered any more. Needs a key with the scope `admin`.
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", tag = "webhooks", operation_id = "delete_webhook",
    params(One, DryRun, IfMatch), security(("key" = [])),
    responses(
        (status = 200, description = "A dry run: this webhook would be deleted.", body = Webhook),
        (status = 204, description = "It is gone."),
        DeleteProblems
    )
)]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    ApiPath(One { id }): ApiPath<One>,
    ApiQuery(dry): ApiQuery<DryRun>,
    expect: Precondition,
) -> Result<Response, Problem> {
    caller.must(Scope::Admin)?;
    let (account, expect) = (caller.account.number(), expect.existing()?);
    if dry.dry_run {
        let row = app.engine.webhooks.would_delete(account, &id, expect).await?;
        return Ok(Json(Webhook::new(row, app.engine.clock.now())).into_response());
    }
    app.engine.webhooks.delete(account, &id, expect).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Replace the secret of a webhook
///
/// From now on the new secret signs, and the one before beside it for 24 hours; any older one no
/// more. The answer holds the new one, which cannot be read again. Needs a key with the scope `admin`.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/rotate", tag = "webhooks", operation_id = "rotate_webhook_secret", params(One),
    security(("key" = [])),
    responses((status = 200, description = "The new secret.", body = WebhookSecret), OneProblems)
)]
async fn rotate(
    State(app): State<App>,
    caller: Caller,
    ApiPath(One { id }): ApiPath<One>,
) -> Result<Json<WebhookSecret>, Problem> {
    caller.must(Scope::Admin)?;
    let NewSecret { secret, until } = app.engine.webhooks.rotate(caller.account.number(), &id).await?;
    Ok(Json(WebhookSecret { secret: secret.reveal(), old_secret_until: until }))
}
