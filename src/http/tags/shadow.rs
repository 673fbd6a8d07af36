//! Tags in shadow mode: nothing is shown, and the browser tells that it ran and how long that took.

use std::{net::IpAddr, sync::LazyLock};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, Method, header},
    response::Response,
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::policy;
use crate::{
    domain::{
        ids::DecisionId,
        measurement::beacon::{TokenKeys, VIEW_LIFE_MS, decided_at},
    },
    engine::ShadowSeen,
    http::{
        app::App,
        beacons::{PIXEL, PixelProblems},
        extract::{ApiPath, ApiQuery},
        problem::Problem,
    },
};

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(seen))
}

/// All that such a document does. The clock of a document begins when it is asked for.
const TELL: &str =
    "new Image().src=document.currentScript.getAttribute(\"data-to\")+\"?ms=\"+Math.round(performance.now())";
/// What the token is sealed for.
const USE: &str = "shadow";
/// The longest that is believed, in ms: ten minutes.
const LONGEST_MS: u32 = 600_000;

pub(super) static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy(TELL));

/// Requests of an account's tags that one network may make in a minute: each is decided several times and kept for days.
const PER_MINUTE: u32 = 600;

/// Whether a network may have one more request decided.
pub(super) fn may(app: &App, account: u32, from: Option<IpAddr>) -> bool {
    // no write key has such a name
    app.pages.take(account, "shadow mode", from, 1, PER_MINUTE)
}

/// A document that shows nothing.
pub(super) fn document(keys: &TokenKeys, account: u32, decision: DecisionId, public_url: &str) -> String {
    let token = keys.seal(USE, &[&account.to_le_bytes()[..], decision.0.as_bytes()].concat());
    format!("<!doctype html><title></title><script data-to=\"{public_url}/v1/s/{token}\">{TELL}</script>")
}

/// The account and the decision that a token names.
fn named(keys: &TokenKeys, token: &str) -> Option<(u32, DecisionId)> {
    let text = keys.unseal(USE, token)?;
    let (account, decision) = text.split_first_chunk::<4>()?;
    let decision = uuid::Uuid::from_slice(decision).ok()?;
    Some((u32::from_le_bytes(*account), DecisionId(decision)))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SeenQuery {
    /// How long it took from asking to running, in ms.
    #[param(example = "84")]
    ms: Option<String>,
}

/// Count a tag in shadow mode that ran
///
/// Counts once per request, for 48 hours. Always answers with a GIF of one pixel; `HEAD` counts nothing.
#[utoipa::path(
    get,
    path = "/v1/s/{token}",
    tag = "beacons",
    operation_id = "count_shadow",
    params(("token" = String, Path, description = "From the document."), SeenQuery),
    responses((status = 200, description = "A transparent pixel.", content_type = "image/gif"), PixelProblems)
)]
async fn seen(
    State(app): State<App>,
    method: Method,
    token: Result<ApiPath<String>, Problem>,
    query: Result<ApiQuery<SeenQuery>, Problem>,
) -> Response {
    let named = token.ok().and_then(|ApiPath(token)| named(&app.engine.catalogue.world().tokens, &token));
    let ms = query.ok().and_then(|ApiQuery(query)| query.ms?.parse().ok()).filter(|ms| *ms <= LONGEST_MS);
    if let (Some((account, decision)), Some(ms), true) = (named, ms, method == Method::GET)
        && app.engine.clock.now().since(decided_at(decision)) < VIEW_LIFE_MS
    {
        app.engine.shadows.seen(ShadowSeen { account, decision, ms });
    }
    let mut response = Response::new(Body::from(&PIXEL[..]));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    response
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_ran_is_known_by_its_token_alone() {
        let keys = TokenKeys::new((1, &[7; 32]), []);
        let decision = DecisionId(Uuid::from_u128(7));
        let document = document(&keys, 3, decision, "https://ads.example");
        let token = document.split("/v1/s/").nth(1).and_then(|rest| rest.split('"').next()).expect("a token");
        assert_eq!(named(&keys, token), Some((3, decision)));
        assert_eq!(named(&TokenKeys::new((1, &[8; 32]), []), token), None);
        assert_eq!(named(&keys, &keys.seal("late", &[0; 20])), None);
        assert!(POLICY.to_str().expect("ASCII").contains("script-src 'sha256-"));
        assert_ne!(*POLICY, *super::super::POLICY);
    }
}
