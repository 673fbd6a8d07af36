//! `POST /v1/decisions`: parses, asks the engine, presents.

mod answer;
pub mod doc;
pub mod parse;
pub mod wire;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::doc::ItemDoc;
use self::{
    answer::{Asked, answer, unknown},
    doc::DecisionAnswerDoc,
    wire::DecisionRequest,
};
use super::{app::App, auth::Caller, extract::JsonBytes, problem::Problem, request::RequestInfo};
use crate::{
    domain::{access::Scope, ids::PlacementId},
    engine::{
        deadline::Deadline,
        decider::{Call, Decided},
        users::Freshness,
    },
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(decide))
}

problems!(pub DecideProblems = [
    BadRequest, MalformedJson, Unauthorized, Forbidden, PayloadTooLarge, UnsupportedMediaType, Invalid, RequestTimeout,
    Overloaded
]);

/// Decide what to show
///
/// For every slot the creative and its components, chosen for the person and the moment and ready
/// to be served. Always answers with something to show if there is anything at all: what had to be
/// given up is named in `fallback_level` and `degraded`. Needs a key with the scope `decide`.
#[utoipa::path(
    post,
    path = "/v1/decisions",
    tag = "decisions",
    request_body = DecisionRequest,
    responses(
        (status = 200, description = "Decided.", body = DecisionAnswerDoc, headers(
            ("Server-Timing" = String, description = "How long each step took, in ms."),
        )),
        DecideProblems
    ),
    security(("key" = []))
)]
async fn decide(
    State(app): State<App>,
    caller: Caller,
    info: RequestInfo,
    JsonBytes(body): JsonBytes,
) -> Result<Response, Problem> {
    caller.must(Scope::Decide)?;
    let began = Instant::now();
    let wire: DecisionRequest = app.schemas.read(&body)?;
    let budget = app.budget_ms.min(wire.deadline_ms.map_or(u64::MAX, u64::from));
    let deadline = Deadline::starting(info.arrived.into(), Duration::from_millis(budget))
        .reserving(Duration::from_millis(app.reserve_ms.min(budget / 2)));
    let max_staleness_ms = wire.max_staleness_ms.map(i64::from);
    let now = app.engine.clock.now();
    let registered = |id: &PlacementId| caller.account.snapshot.placements.contains_key(id);
    let parsed = parse::parse(wire, now, app.consent, &app.enrichment, registered).map_err(Problem::invalid)?;
    app.steps.parse.increment(ns(began));
    if parsed.asserts {
        caller.must(Scope::Consent)?;
    }
    let (explain, ids) =
        (parsed.request.explain, parsed.request.placements.iter().map(|p| p.id.clone()).collect::<Vec<_>>());
    let unknown = unknown(&parsed.request, &caller.account.snapshot);
    let purposes = parsed.purposes;
    let named = parsed.key.clone().filter(|_| parsed.purposes.profile_read);
    let call = Call {
        world: caller.world,
        account: caller.account,
        key: parsed.key,
        request: Box::new(parsed.request),
        purposes: parsed.purposes,
        zone: parsed.zone,
        deadline,
        freshness: Freshness { max_staleness_ms, strict: false },
        consistency: parsed.consistency,
    };
    let decided = app.engine.decider.decide(call, info.arrived).await.map_err(Problem::invalid)?;
    let asked = Asked { key: named.as_ref(), purposes, placements: &ids, explain, unknown: &unknown };
    let began = Instant::now();
    let answer = present(&decided, &asked);
    app.steps.present.increment(ns(began));
    answer
}

fn ns(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn present(decided: &Decided, asked: &Asked<'_>) -> Result<Response, Problem> {
    let mut response = Response::new(Body::from(answer(decided, asked)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let timing = decided.timing;
    let mut steps = String::with_capacity(96);
    for (name, us) in
        [("user", timing.user), ("decide", timing.decide), ("assemble", timing.assemble), ("total", timing.total)]
    {
        let comma = if steps.is_empty() { "" } else { ", " };
        // writing into a String cannot fail
        let _ = write!(steps, "{comma}{name};dur={}.{:03}", us / 1_000, us % 1_000);
    }
    headers.insert("server-timing", HeaderValue::try_from(steps).map_err(Problem::internal)?);
    Ok(response)
}
