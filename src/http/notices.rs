//! What exchanges tell of auctions: `nurl`, `burl` and `lurl` of bids, each by its signed token.

use axum::{extract::State, http::Method, response::Response};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    beacons::{Detail, OutcomeAnswer, PixelProblems, pixel, verified},
    extract::{ApiPath, ApiQuery},
    paid::Told,
    problem::Problem,
};
use crate::domain::measurement::outcome::OutcomeKind;

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(win)).routes(routes!(billing)).routes(routes!(loss))
}

/// What an exchange says of an auction. Exchanges that do not fill a macro in send it as it is, or
/// nothing, or `AUDIT`: the price then counts as unknown.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct NoticeQuery {
    /// The price per thousand impressions.
    p: Option<String>,
    /// Its currency.
    c: Option<String>,
    /// Why the bid lost (OpenRTB 2.6, list 5.25).
    r: Option<String>,
}

impl NoticeQuery {
    /// What it says was paid.
    fn told(&self) -> Told {
        Told { price: self.p.clone(), currency: self.c.as_deref().and_then(|code| code.parse().ok()) }
    }
}

async fn noticed(
    app: &App,
    method: &Method,
    kind: OutcomeKind,
    token: Result<ApiPath<String>, Problem>,
    query: Result<ApiQuery<NoticeQuery>, Problem>,
) -> Response {
    let Ok(ApiPath(token)) = token else { return pixel(OutcomeAnswer::Invalid) };
    let query = query.map(|ApiQuery(query)| query).unwrap_or_default();
    tracing::debug!(?kind, reason = query.r.as_deref().filter(|reason| reason.len() <= 8), "notice");
    let (known, answer) =
        verified(app, None, method, kind, &token, &Detail { told: Some(query.told()), ..Detail::default() }).await;
    let heard = known.as_ref().filter(|known| !known.expired && *method != Method::HEAD);
    if let Some((person, decision)) = heard.and_then(|known| Some((known.claim.person?, known.claim.decision))) {
        match kind {
            OutcomeKind::Loss => app.engine.decider.reservations().release(person, decision),
            _ => app.engine.decider.reservations().won(person, decision),
        }
    }
    let settled = matches!(answer, OutcomeAnswer::Recorded | OutcomeAnswer::Duplicate) && kind != OutcomeKind::Win;
    if let Some((claim, campaign)) = known.filter(|_| settled).and_then(|known| {
        let campaign = known.claim.campaign.clone()?;
        Some((known.claim, campaign))
    }) {
        app.engine.spending.settle(claim.account, &campaign, claim.decision);
    }
    pixel(answer)
}

/// Count an auction that was won
///
/// The `nurl` of a bid; counts once per bid. Always answers with a GIF of one pixel, as the other
/// notices do.
#[utoipa::path(
    get,
    path = "/v1/w/{token}",
    tag = "openrtb",
    params(("token" = String, Path, description = "From `nurl`."), NoticeQuery),
    responses((status = 200, description = "A transparent pixel.", content_type = "image/gif", headers(
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
    )), PixelProblems)
)]
async fn win(
    State(app): State<App>,
    method: Method,
    token: Result<ApiPath<String>, Problem>,
    query: Result<ApiQuery<NoticeQuery>, Problem>,
) -> Response {
    noticed(&app, &method, OutcomeKind::Win, token, query).await
}

/// Count what is to be paid
///
/// The `burl` of a bid; counts once per bid, however often an exchange tries again.
#[utoipa::path(
    get,
    path = "/v1/b/{token}",
    tag = "openrtb",
    params(("token" = String, Path, description = "From `burl`."), NoticeQuery),
    responses((status = 200, description = "A transparent pixel.", content_type = "image/gif", headers(
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
    )), PixelProblems)
)]
async fn billing(
    State(app): State<App>,
    method: Method,
    token: Result<ApiPath<String>, Problem>,
    query: Result<ApiQuery<NoticeQuery>, Problem>,
) -> Response {
    noticed(&app, &method, OutcomeKind::Billing, token, query).await
}

/// Count an auction that was lost
///
/// The `lurl` of a bid; counts once per bid.
#[utoipa::path(
    get,
    path = "/v1/l/{token}",
    tag = "openrtb",
    params(("token" = String, Path, description = "From `lurl`."), NoticeQuery),
    responses((status = 200, description = "A transparent pixel.", content_type = "image/gif", headers(
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
    )), PixelProblems)
)]
async fn loss(
    State(app): State<App>,
    method: Method,
    token: Result<ApiPath<String>, Problem>,
    query: Result<ApiQuery<NoticeQuery>, Problem>,
) -> Response {
    noticed(&app, &method, OutcomeKind::Loss, token, query).await
}
