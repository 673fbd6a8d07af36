//! Ids by which exchanges know the account's people.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, header},
    response::Response,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::page::{PageConsent, visitor};
use crate::{
    domain::{access::Scope, ids::UserKey, measurement::user_token, openrtb::eid_key, violation::Violation},
    engine::identity::MergeView,
    http::{
        app::App,
        auth::Caller,
        beacons::{PIXEL, PixelProblems},
        extract::{ApiJson, ApiQuery},
        problem::Problem,
        request::RequestInfo,
    },
    problems,
};

/// Ids that one network may tell of visitors in a minute.
const PER_MINUTE: u32 = 600;

/// The routes of this module for pages.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(pixel))
}

/// The routes of this module for servers.
pub(super) fn authoring() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sync))
}

/// An id of somebody elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"user": "u-1", "source": "ids.example", "id": "a0b1c2"}))]
struct SyncRequest {
    /// Your own name of the person, who need not be known yet.
    #[schema(value_type = String, min_length = 1, max_length = 256)]
    user: UserKey,
    /// Whose id it is: `source` in `user.eids` of bid requests; or an exchange, as `exchange` in the address of its bid
    /// requests names it, for what stands there in `user.buyeruid`.
    #[schema(min_length = 1, max_length = 100)]
    source: String,
    /// The id there.
    #[schema(min_length = 1, max_length = 150)]
    id: String,
}

problems!(
    SyncProblems = [
        BadRequest,
        MalformedJson,
        Unauthorized,
        Forbidden,
        Conflict,
        Gone,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        RequestTimeout,
        Overloaded,
        StoreUnavailable
    ]
);

/// Tell an id of somebody
///
/// The id becomes another key of the person, for good, so that bid requests that name it in `user.eids` are decided for
/// them, with the source listed in the setting `openrtb.eid_sources`; or in `user.buyeruid`, with the exchange for a
/// source. Repeating it changes nothing; an id of somebody else is not taken
/// from them: 409. Needs a key with the scope `events`.
#[utoipa::path(
    post, path = "/v1/sync", tag = "profiles", operation_id = "sync_id", request_body = SyncRequest,
    security(("key" = [])),
    responses((status = 200, description = "The id is theirs.", body = MergeView), SyncProblems)
)]
async fn sync(
    State(app): State<App>,
    caller: Caller,
    ApiJson(SyncRequest { user, source, id }): ApiJson<SyncRequest>,
) -> Result<Json<MergeView>, Problem> {
    caller.must(Scope::Events)?;
    let fault = || Violation::new("", "invalid", "must name a source of 1 to 100 bytes and an id of 1 to 150");
    let key = eid_key(&source, &id).ok_or_else(|| Problem::invalid(vec![fault()]))?;
    Ok(Json(app.engine.people.merge(&caller.account, &key, &user).await?))
}

/// An id in the address of a pixel. Whatever else stands there is left alone.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SyncQuery {
    /// The account.
    #[param(example = "default")]
    account: String,
    /// Whom the page's server has signed in.
    user_token: Option<String>,
    /// The first-party id that `/v1/tessera.js` keeps. Ignored with a `user_token`.
    #[param(pattern = "^[0-9a-f]{32}$")]
    visitor: Option<String>,
    /// Whose id it is: a source of `eids`, or an exchange.
    #[param(min_length = 1, max_length = 100)]
    source: String,
    /// The id there.
    #[param(min_length = 1, max_length = 150)]
    id: String,
    /// `1` where the GDPR applies, `0` where it does not; anything else is taken for `1`.
    gdpr: Option<String>,
    /// An IAB TCF string.
    gdpr_consent: Option<String>,
    /// An IAB GPP string.
    gpp: Option<String>,
    /// The GPP sections that apply, with commas or underscores between.
    gpp_sid: Option<String>,
    /// An IAB US privacy string.
    us_privacy: Option<String>,
    /// `1` where the children's privacy rule (COPPA) applies; anything but `0` and nothing is taken for it.
    coppa: Option<String>,
    /// `1` where the browser says that the person opted out; anything but `0` and nothing is taken for it. Browsers
    /// that say so with each request need not be asked.
    gpc: Option<String>,
}

/// Tell an id of somebody, by pixel
///
/// Where an exchange sends the browser back with its own id. The person is whom a `user_token` names, or the visitor
/// that `/v1/tessera.js` keeps, of whom one network tells 600 ids a minute at most. An id of somebody else is refused,
/// and to a visitor one of which more is known than what it was shown. Where the privacy signals do not allow keeping
/// anything of them, nothing is kept. Always answers with a GIF of one pixel; the header `Tessera-Sync` says whether the
/// id was `accepted` or `refused`. `HEAD` keeps nothing.
#[utoipa::path(
    get, path = "/v1/sync.gif", tag = "profiles", operation_id = "sync_id_by_pixel", params(SyncQuery),
    responses((status = 200, description = "A transparent pixel.", content_type = "image/gif", headers(
        ("Tessera-Sync" = String, description = "`accepted` or `refused`."),
    )), PixelProblems)
)]
async fn pixel(
    State(app): State<App>,
    method: Method,
    query: Result<ApiQuery<SyncQuery>, Problem>,
    info: RequestInfo,
    headers: HeaderMap,
) -> Response {
    let kept = match query {
        Ok(ApiQuery(query)) if method != Method::HEAD => keep(&app, &headers, &info, query).await.is_some(),
        _ => false,
    };
    let mut response = Response::new(Body::from(&PIXEL[..]));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    out.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    out.insert("tessera-sync", HeaderValue::from_static(if kept { "accepted" } else { "refused" }));
    response
}

/// Keeps the id of a pixel, as far as it may be kept.
async fn keep(app: &App, headers: &HeaderMap, info: &RequestInfo, query: SyncQuery) -> Option<()> {
    let platform = (query.gpp, query.gpp_sid.as_deref());
    let consent = PageConsent::told(query.gdpr, query.gdpr_consent, platform, query.us_privacy, query.coppa, query.gpc);
    if !consent.allows(app, headers, info) {
        return None;
    }
    let world = app.engine.catalogue.world();
    let account = world.named(&query.account)?;
    let key = eid_key(&query.source, &query.id)?;
    let people = &app.engine.people;
    let merged = match (query.user_token.filter(|token| !token.is_empty()), query.visitor) {
        (Some(token), _) => {
            let user = user_token::verify(&account.row.secret, &token, app.engine.clock.now())?;
            people.merge(account, &key, &user).await
        }
        // anybody can make up visitors; no write key has such a name
        (None, Some(id)) => {
            let user = visitor(&id).filter(|_| {
                app.pages.take(account.number(), "id sync", app.proxies.client(info, headers), 1, PER_MINUTE)
            })?;
            people.claim(account, &key, &user).await
        }
        (None, None) => return None,
    };
    merged.ok().map(drop)
}
