//! Conversions: by pixel from pages, by request from servers.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    beacons::{Detail, OutcomeAnswer, PixelProblems, pixel, uncached, verified},
    extract::{ApiJson, ApiPath, ApiQuery},
    problem::{Problem, ProblemKind},
    sender::Sender,
};
use crate::{
    domain::{ids::EventName, measurement::outcome::OutcomeKind, values::Money, violation::Violation},
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(conversion_pixel)).routes(routes!(conversion))
}

/// What a conversion pixel may say.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConversionQuery {
    /// The event type, such as `purchase`.
    goal: Option<EventName>,
    /// Your order number: it counts once per campaign and goal, whichever decision it names.
    #[param(min_length = 1, max_length = 128)]
    conversion_id: Option<String>,
}

/// Count a conversion by pixel
///
/// Counts once per campaign, goal and `conversion_id` where there is one, else once per decision
/// and goal. Always answers with a GIF of one pixel, also where the query is not understood: then
/// nothing is counted, and `Tessera-Outcome` says `invalid`.
#[utoipa::path(
    get,
    path = "/v1/x/{token}",
    tag = "beacons",
    params(("token" = String, Path, description = "The `conversion_token`."), ConversionQuery),
    responses((status = 200, description = "A transparent pixel.", content_type = "image/gif", headers(
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
    )), PixelProblems)
)]
async fn conversion_pixel(
    State(app): State<App>,
    sender: Sender,
    method: Method,
    token: Result<ApiPath<String>, Problem>,
    query: Result<ApiQuery<ConversionQuery>, Problem>,
) -> Response {
    let (Ok(ApiPath(token)), Ok(ApiQuery(query))) = (token, query) else { return pixel(OutcomeAnswer::Invalid) };
    let detail = Detail { goal: query.goal, conversion_id: query.conversion_id, value: None };
    if check(&detail).is_err() {
        return pixel(OutcomeAnswer::Invalid);
    }
    pixel(verified(&app, Some(&sender), &method, OutcomeKind::Conversion, &token, &detail).await.1)
}

/// A conversion, sent by a server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "token": "AQH...", "goal": "purchase", "conversion_id": "order-1001", "value": {"amount": "59.90", "currency": "USD"}
}))]
struct ConversionRequest {
    /// The `conversion_token` of the decision.
    #[schema(max_length = 4_096)]
    token: String,
    /// The event type.
    #[serde(default)]
    goal: Option<EventName>,
    /// Your order number: it counts once per campaign and goal, whichever decision it names.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    conversion_id: Option<String>,
    /// What it was worth.
    #[serde(default)]
    value: Option<Money>,
}

/// What became of a conversion.
#[derive(Debug, Serialize, ToSchema)]
struct ConversionAnswer {
    /// What became of it.
    outcome: OutcomeAnswer,
}

problems!(pub ConversionProblems = [
    BadRequest, MalformedJson, PayloadTooLarge, UnsupportedMediaType, Invalid, RequestTimeout, Overloaded, StoreUnavailable
]);

/// Count a conversion
///
/// Counts once per campaign, goal and `conversion_id` where there is one, else once per decision
/// and goal. The signed token is the permission; no key is needed.
#[utoipa::path(
    post,
    path = "/v1/conversions",
    tag = "beacons",
    request_body = ConversionRequest,
    responses(
        (status = 200, description = "Recorded, a duplicate, or expired.", body = ConversionAnswer, headers(
            ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
        )),
        (status = 202, description = "Accepted: safe on disk until the database is back.", body = ConversionAnswer, headers(
            ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
        )),
        ConversionProblems
    )
)]
async fn conversion(State(app): State<App>, ApiJson(request): ApiJson<ConversionRequest>) -> Result<Response, Problem> {
    let detail = Detail { goal: request.goal, conversion_id: request.conversion_id, value: request.value };
    check(&detail)?;
    let (known, outcome) = verified(&app, None, &Method::POST, OutcomeKind::Conversion, &request.token, &detail).await;
    let status = match (known, outcome) {
        (None, _) => {
            let fault = Violation::new("/token", "invalid_token", "must be a conversion_token of this service");
            let mut response = Problem::invalid(vec![fault]).into_response();
            uncached(response.headers_mut(), outcome);
            return Ok(response);
        }
        (Some(verified), OutcomeAnswer::Unknown) if !verified.claim.preview => {
            return Err(Problem::new(
                ProblemKind::StoreUnavailable,
                "The conversion could not be kept. Send it again.",
            ));
        }
        (_, OutcomeAnswer::Accepted) => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    let body = serde_json::to_vec(&ConversionAnswer { outcome }).map_err(Problem::internal)?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    uncached(response.headers_mut(), outcome);
    Ok(response)
}

fn check(detail: &Detail) -> Result<(), Problem> {
    let fits = detail.conversion_id.as_ref().is_none_or(|id| (1..=128).contains(&id.len()));
    let fault = || Violation::new("/conversion_id", "length", "must be 1 to 128 bytes");
    if fits { Ok(()) } else { Err(Problem::invalid(vec![fault()])) }
}
