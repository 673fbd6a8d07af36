//! What happened after a decision: pixels, clicks and conversions, each by its signed token.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    extract::{ApiJson, ApiPath, ApiQuery},
    paid::{Told, charge},
    problem::{Problem, ProblemKind},
    sender::Sender,
};
use crate::{
    domain::{
        ids::EventName,
        measurement::{
            beacon::Verified,
            outcome::{Outcome, OutcomeKind, discriminator},
        },
        values::Money,
        violation::Violation,
    },
    engine::outcomes::Reported,
    problems,
};

/// The header that says what became of an outcome.
const OUTCOME: HeaderName = HeaderName::from_static("tessera-outcome");

/// A transparent GIF of one pixel.
pub(super) const PIXEL: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(impression))
        .routes(routes!(viewable))
        .routes(routes!(click))
        .routes(routes!(conversion_pixel))
        .routes(routes!(conversion))
}

/// What became of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeAnswer {
    /// Committed, and counted for the first time.
    Recorded,
    /// Safe on this server's disk while the database is away; repeats are found when it is back.
    Accepted,
    /// Counted before.
    Duplicate,
    /// The token's life is over: not counted.
    Expired,
    /// The token was not signed by this service for this use, or the query says what is not known:
    /// not counted.
    Invalid,
    /// Not counted: of a preview, asked by HEAD, or lost because neither the database nor the disk
    /// could take it.
    Unknown,
}

impl OutcomeAnswer {
    fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Recorded => "recorded",
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
        })
    }
}

/// What the sender says of an outcome beyond its token.
#[derive(Debug, Default)]
pub(super) struct Detail {
    /// The event type of a conversion.
    pub(super) goal: Option<EventName>,
    /// The sender's order number.
    pub(super) conversion_id: Option<String>,
    /// What it is worth.
    pub(super) value: Option<Money>,
    /// What an exchange says was paid.
    pub(super) told: Option<Told>,
}

async fn report(
    app: &App,
    sender: Option<&Sender>,
    kind: OutcomeKind,
    verified: &Verified,
    detail: &Detail,
) -> OutcomeAnswer {
    let claim = &verified.claim;
    if claim.preview {
        return OutcomeAnswer::Unknown;
    }
    if verified.expired {
        return OutcomeAnswer::Expired;
    }
    let goal = detail.goal.as_ref().map_or("", EventName::as_str);
    let now = app.engine.clock.now();
    let paid = detail.told.as_ref().zip(claim.price).map(|(told, bid)| told.paid(bid));
    let outcome = Outcome {
        account: claim.account,
        decision: claim.decision,
        kind,
        discriminator: discriminator(kind, goal, detail.conversion_id.as_deref(), claim.campaign.as_ref()),
        across_decisions: kind == OutcomeKind::Conversion && detail.conversion_id.is_some(),
        at: now,
        campaign: claim.campaign.clone(),
        creative: claim.creative.clone(),
        revision: claim.revision,
        combination: claim.combination,
        person: claim.person,
        cap_window: claim.cap_window,
        value_micros: paid.or(detail.value).map(|value| value.amount.micros()),
        goal: detail.goal.clone(),
        invalid: sender.and_then(|sender| sender.invalid(app, kind, now)),
        exposure: claim.exposure.clone(),
        charge: paid.filter(|_| kind == OutcomeKind::Billing).and_then(|paid| charge(app, claim, paid)),
    };
    match app.engine.outcomes.report(outcome).await {
        Reported::Recorded => OutcomeAnswer::Recorded,
        Reported::Duplicate => OutcomeAnswer::Duplicate,
        Reported::Accepted => OutcomeAnswer::Accepted,
        Reported::Unavailable => OutcomeAnswer::Unknown,
    }
}

/// Counts what a token stands for, unless the method only asks.
pub(super) async fn verified(
    app: &App,
    sender: Option<&Sender>,
    method: &Method,
    kind: OutcomeKind,
    token: &str,
    detail: &Detail,
) -> (Option<Verified>, OutcomeAnswer) {
    let now = app.engine.clock.now();
    match app.engine.catalogue.world().tokens.verify(kind, token, now) {
        Ok(verified) if *method == Method::HEAD => {
            let answer = if verified.expired { OutcomeAnswer::Expired } else { OutcomeAnswer::Unknown };
            (Some(verified), answer)
        }
        Ok(verified) => {
            let answer = report(app, sender, kind, &verified, detail).await;
            (Some(verified), answer)
        }
        Err(_) => (None, OutcomeAnswer::Invalid),
    }
}

/// The pixel of an outcome of which a token is all there is to know.
async fn counted(
    app: &App,
    sender: &Sender,
    method: &Method,
    kind: OutcomeKind,
    token: Result<ApiPath<String>, Problem>,
) -> Response {
    pixel(match token {
        Ok(ApiPath(token)) => verified(app, Some(sender), method, kind, &token, &Detail::default()).await.1,
        Err(_) => OutcomeAnswer::Invalid,
    })
}

/// Always the GIF, so that no page ever shows a broken image.
pub(super) fn pixel(answer: OutcomeAnswer) -> Response {
    let mut response = Response::new(Body::from(&PIXEL[..]));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    uncached(headers, answer);
    response
}

fn uncached(headers: &mut HeaderMap, answer: OutcomeAnswer) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(OUTCOME, answer.header());
    // pixels and links stand on pages of other sites
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
}

problems!(pub PixelProblems = [Overloaded]);

/// Count an impression
///
/// Counts once per decision. Always answers with a GIF of one pixel; the header `Tessera-Outcome`
/// says what became of it. `HEAD` counts nothing, here as for the other beacons.
#[utoipa::path(
    get,
    path = "/v1/i/{token}",
    tag = "beacons",
    params(("token" = String, Path, description = "From `impression_url`.")),
    responses((status = 200, description = "A transparent pixel.", content_type = "image/gif", headers(
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
    )), PixelProblems)
)]
async fn impression(
    State(app): State<App>,
    sender: Sender,
    method: Method,
    token: Result<ApiPath<String>, Problem>,
) -> Response {
    counted(&app, &sender, &method, OutcomeKind::Impression, token).await
}

/// Count a viewable impression
///
/// Counts once per decision. Always answers with a GIF of one pixel.
#[utoipa::path(
    get,
    path = "/v1/v/{token}",
    tag = "beacons",
    params(("token" = String, Path, description = "From `view_url`.")),
    responses((status = 200, description = "A transparent pixel.", content_type = "image/gif", headers(
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
    )), PixelProblems)
)]
async fn viewable(
    State(app): State<App>,
    sender: Sender,
    method: Method,
    token: Result<ApiPath<String>, Problem>,
) -> Response {
    counted(&app, &sender, &method, OutcomeKind::Viewable, token).await
}

problems!(pub ClickProblems = [BadRequest, NotFound, Invalid, Overloaded]);

/// Count a click and go to the landing page
///
/// Redirects to the landing page inside the signed token and nowhere else, whether or not the click
/// still counts. A token that is not ours is not found.
#[utoipa::path(
    get,
    path = "/v1/c/{token}",
    tag = "beacons",
    params(("token" = String, Path, description = "From `click_url`.")),
    responses((status = 302, description = "To the landing page.", headers(
        ("Location" = String, description = "The landing page."),
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of the click."),
    )), ClickProblems)
)]
async fn click(
    State(app): State<App>,
    sender: Sender,
    method: Method,
    ApiPath(token): ApiPath<String>,
) -> Result<Response, Problem> {
    let (verified, answer) =
        verified(&app, Some(&sender), &method, OutcomeKind::Click, &token, &Detail::default()).await;
    let verified = verified.ok_or_else(|| Problem::new(ProblemKind::NotFound, "This link is not one of ours."))?;
    let location = HeaderValue::from_str(&verified.landing).map_err(Problem::internal)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(header::LOCATION, location);
    uncached(response.headers_mut(), answer);
    Ok(response)
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
    let detail = Detail { goal: query.goal, conversion_id: query.conversion_id, ..Detail::default() };
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
    let detail = Detail { goal: request.goal, conversion_id: request.conversion_id, value: request.value, told: None };
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
