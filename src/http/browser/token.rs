//! Tokens by which pages name people.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{access::Scope, ids::UserKey, measurement::user_token, values::Millis, violation::Violation},
    http::{
        app::App,
        auth::Caller,
        extract::{ApiJson, ApiPath},
        problem::Problem,
    },
    problems,
};

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sign))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Person {
    /// The account's own name of the person, percent-encoded.
    #[param(example = "u-1")]
    user: UserKey,
}

/// How long a page may name somebody.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"ttl_seconds": 3600}))]
struct TokenRequest {
    /// Seconds, at most 30 days.
    #[schema(minimum = 1, maximum = 2_592_000)]
    ttl_seconds: u32,
}

/// A token for a page.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"user_token": "AQ...", "expires_at": "2026-11-22T09:30:00.000Z"}))]
struct SignedToken {
    /// What the page carries as `data-user-token`.
    user_token: String,
    /// First instant at which it no longer holds.
    expires_at: Millis,
}

problems!(
    TokenProblems = [
        BadRequest,
        MalformedJson,
        Unauthorized,
        Forbidden,
        RequestTimeout,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        Overloaded
    ]
);

/// Make a token by which a page names a person
///
/// Your server asks for it when it renders a page for somebody who is signed in. It shows nobody's name and cannot be
/// made by others. Needs a key with the scope `events`.
#[utoipa::path(
    post, path = "/v1/profiles/{user}/token", tag = "profiles", operation_id = "make_user_token", params(Person),
    request_body = TokenRequest, security(("key" = [])),
    responses((status = 200, description = "The token.", body = SignedToken), TokenProblems)
)]
async fn sign(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Person { user }): ApiPath<Person>,
    ApiJson(TokenRequest { ttl_seconds }): ApiJson<TokenRequest>,
) -> Result<Json<SignedToken>, Problem> {
    caller.must(Scope::Events)?;
    let life = i64::from(ttl_seconds) * 1_000;
    if !(1..=user_token::LONGEST_MS).contains(&life) {
        return Err(Problem::invalid(vec![Violation::new("/ttl_seconds", "range", "must be 1 to 2592000")]));
    }
    let expires_at = app.engine.clock.now().plus(life);
    let user_token = user_token::sign(&caller.account.row.secret, &user, expires_at);
    Ok(Json(SignedToken { user_token, expires_at }))
}
