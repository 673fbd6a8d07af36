//! Late rendering: what a bid left open is chosen when its frame is loaded.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use jiff::tz::{Offset, TimeZone};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    client,
    extract::{ApiPath, ApiQuery},
    problem::{Problem, ProblemKind},
    request::RequestInfo,
    tags,
};
use crate::{
    domain::{
        catalog::snapshot::Snapshot,
        consent::Purposes,
        decision::{
            late::Late,
            request::{AdRequest, Candidate, PlacementRequest, Preview, Stage},
        },
        ids::CampaignId,
        values::Format,
    },
    engine::{
        deadline::Deadline,
        decider::Call,
        rendered::Frame,
        users::Freshness,
        world::{Account, World},
    },
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(late))
}

/// What exchanges and their ad servers put into the address.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LateQuery {
    /// The ad server's click address, expanded and percent-encoded, before which ours is put.
    click: Option<String>,
}

problems!(pub LateProblems = [NotFound, Overloaded]);

/// Where nothing is shown.
const NOTHING: &str = "<!doctype html><title></title>";

/// Show what was bid
///
/// The frame of a bid that was made with `render=late`: chooses components now, for the person and the
/// surroundings of the bid, as far as consent allowed then and `Sec-GPC` and `DNT` do now. Loaded again it shows the same.
/// The revision is the one that was bid, also where a newer one has been published since.
#[utoipa::path(
    get, path = "/v1/late/{token}", tag = "openrtb", operation_id = "render_late",
    params(("token" = String, Path, description = "From the markup of a bid.", example = "AQH..."), LateQuery),
    responses(
        (status = 200, description = "The ad. Where its creative is gone, an empty document.", body = String,
            content_type = "text/html"),
        (status = 410, description = "The bid is older than an hour: an empty document.", body = String,
            content_type = "text/html"),
        LateProblems
    )
)]
async fn late(
    State(app): State<App>,
    ApiPath(token): ApiPath<String>,
    query: Result<ApiQuery<LateQuery>, Problem>,
    method: Method,
    info: RequestInfo,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let world = app.engine.catalogue.world();
    let missing = || Problem::new(ProblemKind::NotFound, "This address is not one of ours.");
    let late = Late::open(&world.tokens, &token).ok_or_else(missing)?;
    let account = Arc::clone(world.account(late.account).ok_or_else(missing)?);
    if late.expired(app.engine.clock.now()) {
        return Ok(document(StatusCode::GONE, NOTHING.into()));
    }
    // who only looks at the headers sees no ad
    if method == Method::HEAD {
        return Ok(document(StatusCode::OK, String::new()));
    }
    let deadline = Deadline::starting(info.arrived.into(), Duration::from_millis(app.budget_ms))
        .reserving(Duration::from_millis(app.reserve_ms));
    let frame = Frame { account: late.account, decision: late.decision, person: late.person };
    // what was chosen of the person is not for those who object, and what they see not for those who did not
    let kept = purposes(&late, &headers) == late.purposes;
    if kept && let Some(shown) = app.engine.rendered.find(frame, deadline).await {
        return Ok(document(StatusCode::OK, shown.as_ref().to_owned()));
    }
    let click = query.ok().and_then(|ApiQuery(query)| query.click);
    let markup = decide(&app, world, account, late, click.as_deref(), &info, &headers).await;
    // whoever loads nothing again may find something
    let shown = markup.map(|markup| if kept { app.engine.rendered.keep(frame, markup) } else { markup.into() });
    Ok(document(StatusCode::OK, shown.map_or_else(|| NOTHING.to_owned(), |shown| shown.as_ref().to_owned())))
}

/// What may be used of the person now: what the bid allowed, and nothing where they object since.
fn purposes(late: &Late, headers: &HeaderMap) -> Purposes {
    if client::objects(headers) { Purposes::NONE } else { late.purposes }
}

fn document(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    out.insert(header::CONTENT_SECURITY_POLICY, tags::POLICY.clone());
    out.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    response
}

/// Whether a catalogue shows a creative for the campaign that it was bid for.
fn lists(snapshot: &Snapshot, late: &Late, campaign: &CampaignId) -> bool {
    let line = snapshot.line(campaign).map(|at| &snapshot.lines[at]);
    line.is_some_and(|line| line.creatives.iter().any(|creative| creative.id == late.creative))
}

/// The account with a catalogue that shows what was bid as it was bid: the one of now, else that of
/// then; where that does not come in time, the one of now all the same.
async fn as_bid(app: &App, account: Arc<Account>, late: &Late) -> Arc<Account> {
    let is_it = |snapshot: &Snapshot| {
        let creative = snapshot.creatives.get(&late.creative);
        creative.is_some_and(|creative| creative.revision == late.revision)
            && late.campaign.as_ref().is_none_or(|campaign| lists(snapshot, late, campaign))
    };
    if is_it(&account.snapshot) {
        return account;
    }
    match app.engine.archive.at_hand(&account, late.catalog_version).await {
        Some(snapshot) if is_it(&snapshot) => Arc::new(Account { snapshot, ..Account::clone(&account) }),
        _ => account,
    }
}

async fn decide(
    app: &App,
    world: Arc<World>,
    account: Arc<Account>,
    late: Late,
    click: Option<&str>,
    info: &RequestInfo,
    headers: &HeaderMap,
) -> Option<String> {
    let account = as_bid(app, account, &late).await;
    // waiting for a catalogue takes nothing from the time to read the person
    let begun = Instant::now();
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let hints = app.enrichment.find(agent, app.proxies.client(info, headers));
    let offset = late.offset.and_then(|minutes| Offset::from_seconds(minutes * 60).ok());
    let mut context = late.context.clone();
    let found = context.fill(hints);
    let zone = offset.map(TimeZone::fixed).or(found);
    let purposes = purposes(&late, headers);
    // the bid was as precise as it might be
    context.blur(purposes.profile_read, purposes.profile_read);
    // where the catalogue of then is out of reach, the creative is shown for whoever lists it now, or nobody
    let campaign = late.campaign.clone().filter(|id| lists(&account.snapshot, &late, id));
    let others = campaign.as_ref().and_then(|id| account.snapshot.line(id)).map(|at| {
        let creatives = &account.snapshot.lines[at].campaign.creatives;
        creatives.iter().filter(|id| **id != late.creative).cloned().collect()
    });
    let wanted = PlacementRequest {
        id: "late".into(),
        sizes: late.size.into_iter().collect(),
        formats: vec![Format::Html],
        click_macro: click.and_then(tags::click_prefix),
        candidate: Some(campaign.map_or(Candidate::Creative(late.creative), Candidate::Campaign)),
        blocked_creatives: others.unwrap_or_default(),
        stage: Stage::Rest(late.decision),
        ..PlacementRequest::default()
    };
    let request = AdRequest {
        placements: vec![wanted],
        segments: late.segments,
        context,
        preview: late.preview.then(Preview::default),
        relayed: late.relayed,
        ..AdRequest::default()
    };
    let deadline = Deadline::starting(begun.into(), Duration::from_millis(app.budget_ms))
        .reserving(Duration::from_millis(app.reserve_ms));
    let call = Call {
        world,
        account,
        key: None,
        request: Box::new(request),
        purposes,
        zone,
        deadline,
        freshness: Freshness { max_staleness_ms: None, strict: false },
        consistency: None,
    };
    let decided = app.engine.decider.decide_for(late.person, call, begun).await.ok()?;
    let made = decided.assembled.into_iter().next()?.into_iter().next()??;
    Some(made.markup)
}
