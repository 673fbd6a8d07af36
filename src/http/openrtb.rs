//! `POST /openrtb2/bid`: OpenRTB in, the same decision as for everybody, OpenRTB out.

use std::{
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use flate2::{Compression, write::GzEncoder};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    body, client,
    cors::may_post,
    extract::{ApiQuery, BODY_LIMIT},
    problem::{Problem, ProblemKind},
    request::RequestInfo,
};
use crate::{
    domain::{
        access::Scope,
        decision::assemble::Issuer,
        ids::ExchangeId,
        openrtb::{self, Asker, NoBid, Plan, Refusal},
    },
    engine::{deadline::Deadline, decider::Call, users::Freshness},
    problems,
};

/// The header by which bidders tell the version they speak.
const VERSION: HeaderName = HeaderName::from_static("x-openrtb-version");
/// Answers from this size on are compressed for those who take it.
const COMPRESSED: usize = 1_024;

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(bid, preflight))
}

/// What an exchange may say in the address.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct BidQuery {
    /// The API key, for exchanges that can send no header.
    key: Option<String>,
    /// Who asks, as the account names them: exchanges that take only what they have approved
    /// (the setting `openrtb.audited`) get bids for that alone.
    #[param(inline, required = false)]
    exchange: Option<ExchangeId>,
    /// `1`: say why there is no bid (`nbr`) instead of answering 204.
    nbr: Option<String>,
    /// `late`: bid a frame, and choose what it shows when it is loaded.
    #[param(inline)]
    render: Option<Render>,
}

/// When components are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Render {
    /// When what was bid is rendered.
    Late,
}

/// A BidRequest of OpenRTB 2.5 or 2.6; these two members must be there.
#[derive(Debug, ToSchema)]
#[schema(as = BidRequest, example = json!({
    "id": "a1", "imp": [{"id": "1", "banner": {"format": [{"w": 300, "h": 250}]}, "secure": 1,
        "ext": {"tessera": {"campaign": "spring", "price": "1.50", "currency": "USD"}}}],
    "site": {"page": "https://news.example/sport"}, "tmax": 120
}))]
pub struct BidRequestDoc {
    /// The request.
    pub id: String,
    /// Its impressions; the first 64 are bid on.
    #[schema(value_type = Vec<Object>)]
    pub imp: Vec<serde_json::Value>,
}

/// A BidResponse of OpenRTB 2.6.
#[derive(Debug, ToSchema)]
#[schema(as = BidResponse, example = json!({
    "id": "a1", "bidid": "019cae6b-6600-76f0-9a81-463a13c155b5", "cur": "USD",
    "seatbid": [{"seat": "tessera", "bid": [{"id": "019cae6b-6600-7af0-9a81-463a13c155b6", "impid": "1", "price": 1.5,
        "adm": "<!doctype html>...", "adomain": ["northwind.example"], "cid": "spring", "crid": "spring.1.300x250",
        "w": 300, "h": 250, "mtype": 1}]}]
}))]
pub struct BidResponseDoc {
    /// The request.
    pub id: String,
    /// The currency of all bids.
    pub cur: Option<String>,
    /// The bids.
    #[schema(value_type = Option<Vec<Object>>)]
    pub seatbid: Option<Vec<serde_json::Value>>,
    /// Why there is no bid, of OpenRTB's list 5.24: 3 a crawler, 8 nothing is known of the person whom those
    /// who would bid are for, 9 the person has seen them often enough, 15 there is no time left; and our own: 500 no
    /// impression that could be bid on, 501 no consent, 502 no such line, 503 no price or another currency, 504 below
    /// the floor, 505 no matching deal, 506 blocked, 507 nothing to show, 508 markup that the impression
    /// does not take, 509 not approved by the exchange, 510 no budget.
    pub nbr: Option<u16>,
}

problems!(pub PreflightProblems = [Overloaded]);
problems!(pub BidProblems = [Unauthorized, Forbidden, PayloadTooLarge, Invalid, RequestTimeout, Overloaded]);

/// Bid
///
/// For bidders that have chosen and priced, each impression names its line in `imp.ext.tessera` with
/// `campaign` or `creative`, and a `price` per thousand impressions in a `currency` (default USD). Without a price
/// it is the `cpm` of the campaign, which spends its own `budget` then if it has one. Optional there: the id of a
/// `deal`, and a `click_macro`. The markup is decided for the person whom `user.buyeruid` or an id of the configured
/// sources names, as far as consent allows.
/// An impression that names no line is bid on by campaigns with a `cpm` and a `budget` that are eligible for it
/// and have the money: at their `cpm`, chosen by priority and weight.
/// With `render=late` the markup of a banner is a frame of `/v1/late/{token}`, where components are chosen when
/// the bid has won and is shown; exchanges that block frames or name bids by their content get the whole at once.
/// Needs a key with the scope `decide`.
#[utoipa::path(
    post,
    path = "/openrtb2/bid",
    tag = "openrtb",
    params(BidQuery),
    request_body(content((BidRequestDoc = "application/json"), (BidRequestDoc = "text/plain"))),
    responses(
        (status = 200, description = "Bids; or with `nbr=1` why there are none.", body = BidResponseDoc),
        (status = 204, description = "No bid."),
        (status = 400, description = "Not a valid BidRequest. Without a body."),
        BidProblems
    ),
    security(("key" = []))
)]
async fn bid(State(app): State<App>, info: RequestInfo, request: Request) -> Response {
    let (version, accepts, origin) = {
        let headers = request.headers();
        (headers.get(VERSION).cloned(), takes_gzip(headers), page(&app, headers))
    };
    let mut response = match answer(&app, &info, request).await {
        Ok(Told::Bids(bytes)) => {
            app.bidding.count_bid();
            json(bytes, accepts)
        }
        Ok(Told::Nothing { reason, body }) => {
            app.bidding.count_no_bid(reason);
            body.map_or_else(|| StatusCode::NO_CONTENT.into_response(), |body| json(body, false))
        }
        Ok(Told::Refused(refusal)) => {
            app.bidding.count_refusal(refusal);
            StatusCode::BAD_REQUEST.into_response()
        }
        Err(problem) => problem.into_response(),
    };
    if let Some(version) = version {
        response.headers_mut().insert(VERSION, version);
    }
    if let Some(origin) = origin {
        share(&mut response, origin);
    }
    response
}

/// Ask whether a page may ask for bids
///
/// What browsers ask before a page's script sends anything but plain text. The setting `openrtb.origins` names the
/// pages that may.
#[utoipa::path(
    options,
    path = "/openrtb2/bid",
    tag = "openrtb",
    operation_id = "preflight_bid",
    params(BidQuery),
    responses(
        (status = 204, description = "It may.", headers(
            ("Access-Control-Allow-Origin" = String, description = "The page's origin."),
        )),
        (status = 403, description = "Pages of this origin may not.",
            body = crate::http::problem::ProblemDocument<'static>, content_type = "application/problem+json"),
        PreflightProblems
    )
)]
async fn preflight(State(app): State<App>, headers: HeaderMap) -> Response {
    let Some(origin) = page(&app, &headers) else {
        let detail = "The setting openrtb.origins does not name this origin.";
        return Problem::new(ProblemKind::Forbidden, detail).into_response();
    };
    let mut response = may_post("authorization, content-encoding, content-type, x-openrtb-version");
    share(&mut response, origin);
    response
}

/// The origin of the page that asks, if pages of it may.
fn page(app: &App, headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(header::ORIGIN).filter(|origin| app.bidding.allows(origin)).cloned()
}

/// Lets a page read an answer; Prebid.js asks with the browser's credentials, of which we take none.
fn share(response: &mut Response, origin: HeaderValue) {
    let out = response.headers_mut();
    out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    out.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    out.insert(header::VARY, HeaderValue::from_static("origin"));
}

/// What is told to an exchange.
enum Told {
    Bids(Vec<u8>),
    Nothing { reason: NoBid, body: Option<Vec<u8>> },
    Refused(Refusal),
}

async fn answer(app: &App, info: &RequestInfo, request: Request) -> Result<Told, Problem> {
    let (mut parts, body) = request.into_parts();
    // Prebid.js sends it from the browser itself
    let objects = client::objects(&parts.headers);
    let query = match parts.uri.query() {
        Some(_) => ApiQuery::from_request_parts(&mut parts, app).await?.0,
        None => BidQuery::default(),
    };
    let caller = match &query.key {
        Some(key) => Caller::of(&app.engine, key)?,
        None => Caller::from_request_parts(&mut parts, app).await?,
    };
    caller.must(Scope::Decide)?;
    // a page that asks itself is where its reader is
    let reader = page(app, &parts.headers).and_then(|_| app.proxies.client(info, &parts.headers));
    let body = match body::read(Request::from_parts(parts, body), BODY_LIMIT).await {
        Ok(body) => body,
        Err(problem) if matches!(problem.kind, ProblemKind::BadRequest | ProblemKind::UnsupportedMediaType) => {
            return Ok(Told::Refused(Refusal::Json));
        }
        Err(problem) => return Err(problem),
    };
    let began = Instant::now();
    let request = match openrtb::read(&body) {
        Ok(request) => Box::new(request),
        Err(refusal) => return Ok(Told::Refused(refusal)),
    };
    let settings = app.bidding.settings();
    let (user_agent, address) = openrtb::device(&request);
    let hints = app.enrichment.find(user_agent, address.or(reader));
    let till = app.engine.spending.of(caller.account.number());
    let asker = Asker { exchange: query.exchange.as_ref(), late: query.render.is_some(), objects, purses: &till };
    let plan = openrtb::plan(&request, &caller.account.snapshot, settings, app.consent, asker, hints);
    app.steps.parse.increment(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let told = match plan {
        Ok(plan) => decide(app, info, caller, plan).await,
        Err(reason) => Err(reason),
    };
    Ok(match told {
        Ok(bytes) => Told::Bids(bytes),
        Err(reason) => {
            let id = || serde_json::json!({"id": request.id.as_deref(), "nbr": reason.number()}).to_string();
            Told::Nothing { reason, body: (query.nbr.as_deref() == Some("1")).then(|| id().into_bytes()) }
        }
    })
}

/// Decides what was planned, and writes the bids.
async fn decide(app: &App, info: &RequestInfo, caller: Caller, mut plan: Plan<'_>) -> Result<Vec<u8>, NoBid> {
    let settings = app.bidding.settings();
    let given = plan.tmax.map_or(u64::MAX, |tmax| tmax.saturating_sub(settings.network_ms));
    let budget = app.budget_ms.min(given);
    let deadline = Deadline::starting(info.arrived.into(), Duration::from_millis(budget))
        .reserving(Duration::from_millis(app.reserve_ms.min(budget / 2)));
    let world = Arc::clone(&caller.world);
    let (keys, purposes) = (std::mem::take(&mut plan.keys), plan.allowed.purposes);
    let person = app.engine.decider.first_known(&caller.account, &keys, purposes, deadline).await;
    let call = Call {
        world: caller.world,
        account: caller.account,
        key: None,
        request: std::mem::take(&mut plan.request),
        purposes: plan.allowed.purposes,
        zone: plan.zone.take(),
        deadline,
        freshness: Freshness { max_staleness_ms: None, strict: false },
        consistency: None,
    };
    let decided = app.engine.decider.decide_for(person, call, info.arrived).await.map_err(|_| NoBid::NoFill)?;
    let public_url = app.engine.catalogue.public_url();
    let issuer = Issuer { account: decided.account.number(), keys: &world.tokens, public_url };
    let till = app.engine.spending.of(issuer.account);
    let counted = decided.request.person.filter(|_| purposes.basic);
    let bids = openrtb::answer(&plan, &decided.decision, &decided.assembled, issuer, settings, &till, counted);
    if let Some(counted) = counted {
        let made = bids.as_ref().map_or(&[][..], |bids| &bids.made);
        app.engine.decider.reservations().auctioned(counted, &decided.decision, made);
    }
    bids.map(|bids| bids.json)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|coding| {
        let (coding, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let coding = coding.trim();
        ["gzip", "x-gzip", "*"].iter().any(|ours| coding.eq_ignore_ascii_case(ours))
            && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

fn json(bytes: Vec<u8>, gzip: bool) -> Response {
    let zipped = (gzip && bytes.len() >= COMPRESSED).then(|| {
        let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::fast());
        encoder.write_all(&bytes).and_then(|()| encoder.finish())
    });
    let (bytes, coded) = match zipped {
        Some(Ok(zipped)) => (zipped, true),
        _ => (bytes, false),
    };
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if coded {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
