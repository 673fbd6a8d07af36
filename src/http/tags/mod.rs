//! Tags: ads for ad servers and pages that run no code of ours, by an address alone.

mod query;
mod shadow;
mod video;

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::query::click_prefix;
use self::query::{TagQuery, context};
use super::{
    app::App,
    extract::{ApiPath, ApiQuery},
    problem::{Problem, ProblemKind},
    request::RequestInfo,
};
use crate::{
    domain::{
        consent::{Purposes, Relayed},
        decision::request::{AdRequest, Candidate, PlacementRequest},
        ids::{CreativeId, DecisionId, PlacementId},
        values::Format,
    },
    engine::{
        deadline::Deadline,
        decider::{Call, Decided},
        users::Freshness,
        world::{Account, World},
    },
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(placement)).routes(routes!(creative))
}

/// What the documents of this module tell by.
pub fn pixels() -> OpenApiRouter<App> {
    shadow::routes()
}

/// The loader: the same for every tag, so that browsers keep it.
const LOADER: &str = include_str!("loader.js");
/// Says what a tag's answer used of the person, as `purposes_used` does in other answers.
const PURPOSES: HeaderName = HeaderName::from_static("tessera-purposes-used");
const HTML: &str = "text/html; charset=utf-8";
const XML: &str = "application/xml; charset=utf-8";
/// Ends every document: tells the loader that the ad is there and how large, or that there is none.
const READY: &str = "parent.postMessage({tessera:document.currentScript.getAttribute(\"data-size\")},\"*\")";

/// What a document may do: show itself, run the line above, and open what is clicked. It is of no
/// origin, so that nothing in it can reach what browsers keep for this one.
pub(super) static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy(READY));

fn policy(script: &str) -> HeaderValue {
    let policy = format!(
        "default-src 'none'; img-src http: https: data:; media-src http: https:; font-src http: https: data:; \
         style-src 'unsafe-inline'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; \
         sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation",
        STANDARD.encode(Sha256::digest(script))
    );
    HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("sandbox"))
}

problems!(pub TagProblems = [BadRequest, NotFound, Invalid, Overloaded]);

/// Show an ad on a placement
///
/// `{placement}.html` is a document for an iframe, with the backup image where there is no ad; `{placement}.js` a
/// script of less than 3 KB that inserts that iframe where it stands and shows the backup image also when there is no
/// ad in time, and that asks the page's consent platforms (`__tcfapi`, `__gpp`, `__uspapi`) for what its address does
/// not say, for half of that time; `{placement}.xml` a VAST document for a video player, empty where there is no ad.
/// Where there is no such placement there is no ad; a document that has no backup image to show says so: 404. With
/// `shadow=1` nothing is shown and nothing counts: the tag runs beside that of another ad server, for the report on
/// shadow mode. Public. The person is whom a `user_token` names, or the visitor that `/v1/tessera.js` keeps; where the
/// privacy signals do not allow it, nobody.
#[utoipa::path(
    get, path = "/v1/tags/{account}/{tag}", tag = "tags", operation_id = "get_placement_tag",
    params(
        ("account" = String, Path, description = "The account.", example = "default"),
        ("tag" = String, Path, description = "A placement and `.html`, `.js` or `.xml`.", example = "home.html"),
        TagQuery,
    ),
    responses(
        (status = 200, description = "The ad, or the script that fetches it. Without an ad, the backup image or an empty document.",
            content((String = "text/html"), (String = "text/javascript"), (String = "application/xml")), headers(
            ("Tessera-Purposes-Used" = String, description = "What was used of the person; left out: the script."),
        )),
        TagProblems
    )
)]
async fn placement(
    State(app): State<App>,
    ApiPath((account, tag)): ApiPath<(String, String)>,
    query: Result<ApiQuery<TagQuery>, Problem>,
    method: Method,
    info: RequestInfo,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (id, kind) = Kind::of(&tag)?;
    let (world, account) = account_of(&app, &account)?;
    let id: PlacementId = id.parse().map_err(|_| missing())?;
    let known = account.snapshot.placements.contains_key(&id);
    let wanted = PlacementRequest { placement: Some(id), ..PlacementRequest::default() };
    Tag { app, world, account, known, wanted, method, info, headers }.answer(kind, query).await
}

/// Show a creative
///
/// As for a placement, with the creative already chosen by the ad server: whichever campaign shows it.
#[utoipa::path(
    get, path = "/v1/tags/{account}/c/{tag}", tag = "tags", operation_id = "get_creative_tag",
    params(
        ("account" = String, Path, description = "The account.", example = "default"),
        ("tag" = String, Path, description = "A creative and `.html`, `.js` or `.xml`.", example = "spring.html"),
        TagQuery,
    ),
    responses(
        (status = 200, description = "The ad, or the script that fetches it. Without an ad, the backup image or an empty document.",
            content((String = "text/html"), (String = "text/javascript"), (String = "application/xml")), headers(
            ("Tessera-Purposes-Used" = String, description = "What was used of the person; left out: the script."),
        )),
        TagProblems
    )
)]
async fn creative(
    State(app): State<App>,
    ApiPath((account, tag)): ApiPath<(String, String)>,
    query: Result<ApiQuery<TagQuery>, Problem>,
    method: Method,
    info: RequestInfo,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (id, kind) = Kind::of(&tag)?;
    let (world, account) = account_of(&app, &account)?;
    let id: CreativeId = id.parse().map_err(|_| missing())?;
    let creative = account.snapshot.creatives.get(&id);
    let known = creative.is_some();
    let shapes = creative.into_iter().flat_map(|creative| creative.shapes());
    let wanted = PlacementRequest {
        sizes: shapes.filter_map(|(format, size)| size.filter(|_| format == Format::Html)).collect(),
        candidate: Some(Candidate::Creative(id)),
        ..PlacementRequest::default()
    };
    Tag { app, world, account, known, wanted, method, info, headers }.answer(kind, query).await
}

fn missing() -> Problem {
    Problem::new(ProblemKind::NotFound, "There is no such tag.")
}

fn account_of(app: &App, id: &str) -> Result<(Arc<World>, Arc<Account>), Problem> {
    let world = app.engine.catalogue.world();
    let account = Arc::clone(world.named(id).ok_or_else(missing)?);
    Ok((world, account))
}

/// What a tag is asked as.
#[derive(Clone, Copy)]
enum Kind {
    Document,
    Loader,
    Video,
}

impl Kind {
    /// What a name stands for, and as what.
    fn of(name: &str) -> Result<(&str, Self), Problem> {
        match name.rsplit_once('.') {
            Some((id, "html")) => Ok((id, Self::Document)),
            Some((id, "js")) => Ok((id, Self::Loader)),
            Some((id, "xml")) => Ok((id, Self::Video)),
            _ => Err(missing()),
        }
    }
}

/// A tag that was asked for.
struct Tag {
    app: App,
    world: Arc<World>,
    account: Arc<Account>,
    /// Whether there is what the address names.
    known: bool,
    wanted: PlacementRequest,
    method: Method,
    info: RequestInfo,
    headers: HeaderMap,
}

impl Tag {
    async fn answer(self, kind: Kind, query: Result<ApiQuery<TagQuery>, Problem>) -> Result<Response, Problem> {
        let (mut policy, mut used) = (&*POLICY, None);
        let (body, media_type, keep) = match kind {
            Kind::Loader => (LOADER.to_owned(), "text/javascript; charset=utf-8", "public, max-age=3600"),
            // lines that name what is gone go on being paid for: people see the backup image at least
            Kind::Document if !self.known => {
                used = Some(Purposes::NONE);
                (document(None, Some(query?.0.instead().ok_or_else(missing)?)), HTML, "no-store")
            }
            // who only looks at the headers sees no ad
            Kind::Document if self.method == Method::HEAD => (String::new(), HTML, "no-store"),
            Kind::Document => {
                let (query, wanted) =
                    (query?.0, PlacementRequest { formats: vec![Format::Html], ..self.wanted.clone() });
                let call = self.call(&query, wanted);
                used = Some(call.purposes);
                let body = if query.is_shadow() {
                    policy = &shadow::POLICY;
                    let decision = self.overshadow(&query, call).await?;
                    let public_url = self.app.engine.catalogue.public_url();
                    decision.map_or_else(String::new, |decision| {
                        shadow::document(&self.world.tokens, self.account.number(), decision, public_url)
                    })
                } else {
                    document(Some(&self.decide(call).await?), query.instead())
                };
                (body, HTML, "no-store")
            }
            Kind::Video if self.method == Method::HEAD => (String::new(), XML, "no-store"),
            Kind::Video if !self.known => {
                used = Some(Purposes::NONE);
                (
                    video::document(None, &video::wanted(&query?.0), self.app.engine.catalogue.public_url()),
                    XML,
                    "no-store",
                )
            }
            Kind::Video => {
                let query = query?.0;
                let player = video::wanted(&query);
                let wanted = PlacementRequest {
                    formats: vec![Format::Vast],
                    video: Some(player.clone()),
                    ..self.wanted.clone()
                };
                let call = self.call(&query, wanted);
                used = Some(call.purposes);
                let made = if query.is_shadow() {
                    self.overshadow(&query, call).await?;
                    None
                } else {
                    video::made(&self.decide(call).await?)
                };
                (video::document(made, &player, self.app.engine.catalogue.public_url()), XML, "no-store")
            }
        };
        let mut response = Response::new(Body::from(body));
        let out = response.headers_mut();
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
        out.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
        if let Some(used) = used {
            let names: Vec<_> = used.names().collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            out.insert(PURPOSES, HeaderValue::try_from(names).map_err(Problem::internal)?);
        }
        match kind {
            Kind::Document => drop(out.insert(header::CONTENT_SECURITY_POLICY, policy.clone())),
            // players on pages of any origin read it, some with credentials, of which we take none
            Kind::Video => {
                let origin = self.headers.get(header::ORIGIN).cloned();
                let named = origin.is_some();
                let all = origin.unwrap_or(HeaderValue::from_static("*"));
                out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, all);
                out.insert(header::VARY, HeaderValue::from_static("origin"));
                if named {
                    out.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                }
            }
            Kind::Loader => {}
        }
        Ok(response)
    }

    /// Decides for whoever is looking, as far as that is allowed.
    async fn decide(&self, call: Call) -> Result<Decided, Problem> {
        self.app.engine.decider.decide(call, self.info.arrived).await.map_err(|_| missing())
    }

    /// The same, for the report on shadow mode alone; none where a network asks too often.
    async fn overshadow(&self, query: &TagQuery, call: Call) -> Result<Option<DecisionId>, Problem> {
        let engine = &self.app.engine;
        let network = self.app.proxies.client(&self.info, &self.headers);
        if !shadow::may(&self.app, self.account.number(), network) {
            engine.shadows.refuse();
            return Ok(None);
        }
        let decided = engine.shadows.decide(&engine.decider, call, query.line_item(), self.info.arrived).await;
        decided.map(Some).map_err(|_| missing())
    }

    fn call(&self, query: &TagQuery, mut wanted: PlacementRequest) -> Call {
        let Self { app, world, account, info, headers, .. } = self;
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let hints = app.enrichment.find(agent, app.proxies.client(info, headers));
        let mut context = context(headers);
        let zone = context.fill(hints);
        let consent = query.consent();
        let reading = consent.reading(headers, app.consent, context.country);
        context.blur(reading.allowed.purposes.profile_read, reading.allowed.precise_geo);
        wanted.id = "tag".into();
        wanted.keywords = query.keywords();
        wanted.click_macro = query.click();
        let sizes = query.sizes();
        if !sizes.is_empty() {
            wanted.sizes = sizes;
        }
        let request =
            AdRequest { placements: vec![wanted], context, relayed: Relayed::of(&reading), ..AdRequest::default() };
        let deadline = Deadline::starting(info.arrived.into(), Duration::from_millis(app.budget_ms))
            .reserving(Duration::from_millis(app.reserve_ms));
        Call {
            key: query.user(&account.row.secret, app.engine.clock.now()),
            world: Arc::clone(world),
            account: Arc::clone(account),
            request: Box::new(request),
            purposes: reading.allowed.purposes,
            zone,
            deadline,
            freshness: Freshness { max_staleness_ms: None, strict: false },
            consistency: None,
        }
    }
}

/// What an iframe shows: the markup, or what there is instead, and word to the loader.
fn document(decided: Option<&Decided>, instead: Option<String>) -> String {
    let item = decided.and_then(|decided| decided.decision.placements.first()?.first());
    let shown = item.and_then(|item| item.shown.as_ref());
    let made = decided.and_then(|decided| decided.assembled.first()?.first()?.as_ref());
    let (markup, size) = match (shown, made) {
        (Some(shown), Some(made)) => {
            (Cow::Borrowed(&*made.markup), shown.size.map_or("0x0".into(), |size| size.to_string()))
        }
        _ => (format!("<!doctype html><title></title>{}", instead.unwrap_or_default()).into(), String::new()),
    };
    format!("{markup}<script data-size=\"{size}\">{READY}</script>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_is_small() {
        assert!(LOADER.len() < 3_000, "{} bytes", LOADER.len());
    }

    #[test]
    fn names_end_in_what_they_are() {
        for (name, id, loader) in
            [("home.html", "home", false), ("home.top.js", "home.top", true), ("home.xml", "home", false)]
        {
            let (of, kind) = Kind::of(name).expect(name);
            assert_eq!((of, matches!(kind, Kind::Loader)), (id, loader));
        }
        for odd in ["home", "home.HTML", "html", "home.gif", "home.js/"] {
            assert!(Kind::of(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn the_policy_lets_our_line_run_and_no_other() {
        let policy = POLICY.to_str().expect("ASCII");
        assert!(policy.contains("script-src 'sha256-") && !policy.contains("allow-same-origin"), "{policy}");
    }
}
