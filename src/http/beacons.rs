//! What happened after a decision: pixels, clicks and conversions, each by its signed token.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    extract::{ApiPath, ApiQuery},
    paid::{Told, charge},
    problem::{Problem, ProblemKind},
    sender::Sender,
};
use crate::{
    domain::{
        ids::EventName,
        measurement::{
            attribution::Terms,
            beacon::{Claim, Verified},
            outcome::{Outcome, OutcomeKind, discriminator},
        },
        values::{Millis, Money},
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
    OpenApiRouter::new().routes(routes!(impression)).routes(routes!(viewable)).routes(routes!(click))
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
    /// The token's life or, of a conversion, the campaign's window is over, or it is told to have happened more than
    /// five minutes before its decision: not counted.
    Expired,
    /// The token was not signed by this service for this use, or the query says what is not known:
    /// not counted.
    Invalid,
    /// Not counted: of a preview, asked by HEAD, of a person who saw nothing of the campaign, or lost
    /// because neither the database nor the disk could take it.
    Unknown,
}

impl From<Reported> for OutcomeAnswer {
    fn from(reported: Reported) -> Self {
        match reported {
            Reported::Recorded(_) => Self::Recorded,
            Reported::Duplicate => Self::Duplicate,
            Reported::Late => Self::Expired,
            Reported::Accepted => Self::Accepted,
            Reported::Unavailable => Self::Unknown,
        }
    }
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

/// An outcome of what a claim says was shown, as it happened `at`.
pub(super) fn outcome(app: &App, claim: Claim, kind: OutcomeKind, detail: &Detail, at: Millis) -> Outcome {
    let (terms, usual) = match kind {
        OutcomeKind::Conversion => {
            let (world, campaign) = (app.engine.catalogue.world(), claim.campaign.as_ref());
            (world.terms(claim.account, campaign), world.usual(claim.account, campaign))
        }
        _ => (Terms::default(), None),
    };
    // said or left out, it is the same conversion
    let goal = detail.goal.as_ref().or(terms.goal.as_ref()).map_or("", EventName::as_str);
    Outcome {
        account: claim.account,
        decision: claim.decision,
        kind,
        discriminator: discriminator(kind, goal, detail.conversion_id.as_deref(), claim.campaign.as_ref()),
        across_decisions: kind == OutcomeKind::Conversion && detail.conversion_id.is_some(),
        at,
        campaign: claim.campaign,
        creative: claim.creative,
        revision: claim.revision,
        combination: claim.combination,
        // auctions are counted per bid
        person: claim.person.filter(|_| !kind.is_of_auctions()),
        measured: claim.measured,
        cap_window: claim.cap_window,
        value_micros: detail.value.or(usual).map(|value| value.amount.micros()),
        goal: detail.goal.clone(),
        invalid: None,
        by_pixel: false,
        exposure: claim.exposure,
        terms,
        charge: None,
    }
}

async fn report(
    app: &App,
    sender: Option<&Sender>,
    kind: OutcomeKind,
    verified: &Verified,
    detail: &Detail,
) -> OutcomeAnswer {
    if verified.claim.preview {
        return OutcomeAnswer::Unknown;
    }
    if verified.expired {
        return OutcomeAnswer::Expired;
    }
    let now = app.engine.clock.now();
    let mut outcome = outcome(app, verified.claim.clone(), kind, detail, now);
    outcome.by_pixel = sender.is_some();
    outcome.invalid = sender.and_then(|sender| sender.invalid(app, kind, now));
    if let Some(paid) = detail.told.as_ref().zip(verified.claim.price).map(|(told, bid)| told.paid(bid)) {
        outcome.value_micros = Some(paid.amount.micros());
        outcome.charge = if kind == OutcomeKind::Billing { charge(app, &verified.claim, paid) } else { None };
    }
    app.engine.outcomes.report(outcome).await.into()
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

/// How what happened is told.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CountedQuery {
    /// `1`: answer with an empty script, for native ads whose events are told by scripts alone.
    js: Option<String>,
}

/// The pixel of an outcome of which a token is all there is to know, or the script.
async fn counted(
    (app, sender, method): (&App, &Sender, &Method),
    kind: OutcomeKind,
    token: Result<ApiPath<String>, Problem>,
    query: Result<ApiQuery<CountedQuery>, Problem>,
) -> Response {
    let answer = match token {
        Ok(ApiPath(token)) => verified(app, Some(sender), method, kind, &token, &Detail::default()).await.1,
        Err(_) => OutcomeAnswer::Invalid,
    };
    if query.is_ok_and(|ApiQuery(query)| query.js.as_deref() == Some("1")) {
        let mut response = Response::new(Body::empty());
        let kind = HeaderValue::from_static("text/javascript; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        uncached(response.headers_mut(), answer);
        return response;
    }
    pixel(answer)
}

/// Always the GIF, so that no page ever shows a broken image.
pub(super) fn pixel(answer: OutcomeAnswer) -> Response {
    let mut response = Response::new(Body::from(&PIXEL[..]));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    uncached(headers, answer);
    response
}

pub(super) fn uncached(headers: &mut HeaderMap, answer: OutcomeAnswer) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(OUTCOME, answer.header());
    // pixels and links stand on pages of other sites
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
}

problems!(pub PixelProblems = [Overloaded]);

/// Count an impression
///
/// Counts once per decision. Always answers with a GIF of one pixel, or with `js=1` an empty script; the header
/// `Tessera-Outcome` says what became of it. `HEAD` counts nothing, here as for the other beacons.
#[utoipa::path(
    get,
    path = "/v1/i/{token}",
    tag = "beacons",
    params(("token" = String, Path, description = "From `impression_url`."), CountedQuery),
    responses((status = 200, description = "A transparent pixel, or an empty script.",
        content((String = "image/gif"), (String = "text/javascript")), headers(
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
    )), PixelProblems)
)]
async fn impression(
    State(app): State<App>,
    sender: Sender,
    method: Method,
    token: Result<ApiPath<String>, Problem>,
    query: Result<ApiQuery<CountedQuery>, Problem>,
) -> Response {
    counted((&app, &sender, &method), OutcomeKind::Impression, token, query).await
}

/// Count a viewable impression
///
/// Counts once per decision. Always answers with a GIF of one pixel, or with `js=1` an empty script.
#[utoipa::path(
    get,
    path = "/v1/v/{token}",
    tag = "beacons",
    params(("token" = String, Path, description = "From `view_url`."), CountedQuery),
    responses((status = 200, description = "A transparent pixel, or an empty script.",
        content((String = "image/gif"), (String = "text/javascript")), headers(
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
    )), PixelProblems)
)]
async fn viewable(
    State(app): State<App>,
    sender: Sender,
    method: Method,
    token: Result<ApiPath<String>, Problem>,
    query: Result<ApiQuery<CountedQuery>, Problem>,
) -> Response {
    counted((&app, &sender, &method), OutcomeKind::Viewable, token, query).await
}

/// How a click is told.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ClickQuery {
    /// `1`: answer with a pixel and lead nowhere, for players that only tell of a click.
    pixel: Option<String>,
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
    params(("token" = String, Path, description = "From `click_url`."), ClickQuery),
    responses((status = 200, description = "A transparent pixel, where `pixel` asks for it.", content_type = "image/gif", headers(
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of the click."),
    )), (status = 302, description = "To the landing page.", headers(
        ("Location" = String, description = "The landing page."),
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of the click."),
    )), ClickProblems)
)]
async fn click(
    State(app): State<App>,
    sender: Sender,
    method: Method,
    ApiPath(token): ApiPath<String>,
    query: Result<ApiQuery<ClickQuery>, Problem>,
) -> Result<Response, Problem> {
    let (verified, answer) =
        verified(&app, Some(&sender), &method, OutcomeKind::Click, &token, &Detail::default()).await;
    let verified = verified.ok_or_else(|| Problem::new(ProblemKind::NotFound, "This link is not one of ours."))?;
    if query.is_ok_and(|ApiQuery(query)| query.pixel.as_deref() == Some("1")) {
        return Ok(pixel(answer));
    }
    let location = HeaderValue::from_str(&verified.landing).map_err(Problem::internal)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(header::LOCATION, location);
    uncached(response.headers_mut(), answer);
    Ok(response)
}
