//! What people do on web pages: the door for browsers, and the script that uses it.

mod page;
mod sync;
mod token;

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::Map;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::page::{PageAnswer, PageEvent, PageEvents, keep, open, origin};
pub(super) use self::page::{PageConsent, visitor};
use super::{
    app::App,
    beacons::{PIXEL, PixelProblems},
    body,
    cors::may_post,
    extract::ApiQuery,
    problem::Problem,
    request::{RequestId, RequestInfo},
};
use crate::{domain::ids::EventName, problems};

/// The largest request of a page, in bytes.
const LARGEST: usize = 32 << 10;

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(take, preflight))
        .routes(routes!(pixel))
        .routes(routes!(script))
        .merge(sync::routes())
}

/// Routes for those who own the account.
pub fn authoring() -> OpenApiRouter<App> {
    token::routes().merge(sync::authoring())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct KeyQuery {
    /// The write key: account and id, such as `default.web-shop`.
    #[param(max_length = 129)]
    key: String,
}

/// Lets the page read the answer.
fn shared(mut response: Response, headers: &HeaderMap) -> Response {
    let out = response.headers_mut();
    out.insert(header::VARY, HeaderValue::from_static("origin"));
    out.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    if let Some(origin) = headers.get(header::ORIGIN) {
        out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    response
}

problems!(pub PageProblems = [
    BadRequest, MalformedJson, PayloadTooLarge, UnsupportedMediaType, Invalid, RequestTimeout, TooManyRequests,
    Overloaded, StoreUnavailable
]);
problems!(pub KeyProblems = [BadRequest, Invalid, Overloaded]);

/// Keep what people do on a page
///
/// For browsers: a write key that anybody can read opens it, for pages of its origins, events of its types and at its
/// rate. The body is JSON, also when it comes as `text/plain` (`navigator.sendBeacon`). The person is whom a
/// `user_token` names or the visitor that `/v1/tessera.js` keeps; where the privacy signals do not allow it, nothing
/// is kept. A key, an origin or a type that is not allowed: 403, or counted in `refused`.
#[utoipa::path(
    post, path = "/v1/e", tag = "events", operation_id = "post_page_events", params(KeyQuery),
    request_body(content((PageEvents = "application/json"), (PageEvents = "text/plain"))),
    responses(
        (status = 200, description = "What became of them.", body = PageAnswer),
        (status = 403, description = "The key is unknown or does not allow this page.",
            body = crate::http::problem::ProblemDocument<'static>, content_type = "application/problem+json"),
        PageProblems
    )
)]
async fn take(
    State(app): State<App>,
    ApiQuery(KeyQuery { key }): ApiQuery<KeyQuery>,
    info: RequestInfo,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    let kept = async {
        let bytes = body::read(request, LARGEST).await?;
        let page: PageEvents = app.schemas.read(&bytes)?;
        keep(&app, &headers, &info, &key, page).await
    };
    let response = match kept.await {
        Ok(answer) => Json(answer).into_response(),
        Err(problem) => problem.into_response(),
    };
    shared(response, &headers)
}

/// Ask whether a page may send events
///
/// What browsers ask before they send anything but plain text.
#[utoipa::path(
    options, path = "/v1/e", tag = "events", operation_id = "preflight_page_events", params(KeyQuery),
    responses(
        (status = 204, description = "It may.", headers(
            ("Access-Control-Allow-Origin" = String, description = "The page's origin."),
        )),
        (status = 403, description = "The key is unknown or does not allow this page.",
            body = crate::http::problem::ProblemDocument<'static>, content_type = "application/problem+json"),
        KeyProblems
    )
)]
async fn preflight(
    State(app): State<App>,
    ApiQuery(KeyQuery { key }): ApiQuery<KeyQuery>,
    headers: HeaderMap,
) -> Response {
    let world = app.engine.catalogue.world();
    if let Err(problem) = open(&world, &key, origin(&headers)) {
        return problem.into_response();
    }
    shared(may_post("content-type"), &headers)
}

/// An event in the address of a pixel. Whatever else stands there is left alone: ad servers add
/// numbers against caches, and do not expand every macro.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PixelQuery {
    /// The write key.
    #[param(max_length = 129)]
    key: String,
    /// What somebody did.
    #[serde(rename = "type")]
    kind: EventName,
    /// The page's id of the event; without one every fetch is an event of its own.
    #[param(min_length = 1, max_length = 64)]
    id: Option<String>,
    /// Whom the page's server has signed in.
    user_token: Option<String>,
    /// The first-party id that the script keeps.
    #[param(pattern = "^[0-9a-f]{32}$")]
    visitor: Option<String>,
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

/// Keep what somebody did on a page, by pixel
///
/// For pages without scripts. Always answers with a GIF of one pixel; the header `Tessera-Event` says whether the
/// event was `accepted` or `refused`. `HEAD` keeps nothing.
#[utoipa::path(
    get, path = "/v1/e.gif", tag = "events", operation_id = "get_page_event", params(PixelQuery),
    responses((status = 200, description = "A transparent pixel.", content_type = "image/gif", headers(
        ("Tessera-Event" = String, description = "`accepted` or `refused`."),
    )), PixelProblems)
)]
async fn pixel(
    State(app): State<App>,
    method: Method,
    query: Result<ApiQuery<PixelQuery>, Problem>,
    info: RequestInfo,
    headers: HeaderMap,
) -> Response {
    let kept = match query {
        Ok(ApiQuery(query)) if method != Method::HEAD => keep_one(&app, &headers, &info, query).await,
        _ => false,
    };
    let mut response = Response::new(Body::from(&PIXEL[..]));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    out.insert("tessera-event", HeaderValue::from_static(if kept { "accepted" } else { "refused" }));
    shared(response, &headers)
}

/// Keeps the event of a pixel; whether it was kept.
async fn keep_one(app: &App, headers: &HeaderMap, info: &RequestInfo, query: PixelQuery) -> bool {
    let id = query.id.unwrap_or_else(|| RequestId::new().as_str().to_owned());
    let event = PageEvent { id, kind: query.kind, at: None, sent_at: None, properties: Map::new() };
    let platform = (query.gpp, query.gpp_sid.as_deref());
    let consent = PageConsent::told(query.gdpr, query.gdpr_consent, platform, query.us_privacy, query.coppa, query.gpc);
    let page = PageEvents { user_token: query.user_token, visitor: query.visitor, events: vec![event], consent };
    keep(app, headers, info, &query.key, page).await.is_ok_and(|answer| answer.accepted > 0)
}

/// The script for pages
///
/// `<script src=".../v1/tessera.js" data-key="default.web-shop" data-user-token="..."></script>`, then
/// `tessera.track("product_viewed", {sku: "shoe-7"})`. It asks the page's consent platform (`__tcfapi`, `__gpp`, `__uspapi`), waits
/// for what the visitor answers, and sends along what that is. Under the GDPR it keeps a first-party id with consent to
/// purpose 1 and to the vendor `privacy.vendor_id`; elsewhere unless the visitor opted out. `tessera.user()` names the
/// person for a tag.
#[utoipa::path(
    get, path = "/v1/tessera.js", tag = "events", operation_id = "get_script",
    responses((status = 200, description = "The script.", body = String, content_type = "text/javascript"))
)]
async fn script(State(app): State<App>) -> Response {
    // under the GDPR the id is kept where this vendor may
    let vendor = app.consent.vendor_id.unwrap_or_default();
    let script = include_str!("tessera.js").replacen("vendor = 0", &format!("vendor = {vendor}"), 1);
    let mut response = Response::new(Body::from(script));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    out.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    response
}
