//! What feeds hold: uploads, and how their filling fares.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, time::timeout};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    extract::{ApiPath, ApiQuery},
    problem::{Problem, ProblemKind},
    rows::ImportMode,
};
use crate::{
    domain::{access::Scope, ids::FeedId, values::Millis},
    engine::{
        Filled, RefusedRow, StockRow,
        products::{Arriving, LARGEST, Manner},
    },
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(upload)).routes(routes!(status)).routes(routes!(fetch))
}

problems!(
    UploadProblems = [
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        RequestTimeout,
        Conflict,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        Overloaded,
        StoreUnavailable
    ]
);
problems!(FeedProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Overloaded, StoreUnavailable]);
problems!(
    FetchProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Invalid, Overloaded, StoreUnavailable]
);

/// The longest wait for the next piece of an upload.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct One {
    /// The feed.
    id: FeedId,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UploadQuery {
    /// What becomes of a file with rows that are refused.
    #[serde(default = "whole")]
    #[param(inline, required = false, default = "all_or_nothing")]
    mode: ImportMode,
    /// Check everything and change nothing; the answer shows what would be.
    #[serde(default)]
    #[param(required = false, default = false)]
    dry_run: bool,
}

fn whole() -> ImportMode {
    ImportMode::AllOrNothing
}

/// What became of a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"rows": 700_000, "items": 699_999, "available": 651_220, "rejected": 1,
    "errors": [{"line": 17, "pointer": "/price", "code": "not_a_price", "detail": "must be an amount and a currency such as 12.90 EUR"}]}))]
struct FeedFilled {
    /// Rows read.
    rows: u64,
    /// Products that the feed holds now, or would in a dry run.
    items: u64,
    /// Those of them that can be bought; no others are shown.
    available: u64,
    /// Rows refused.
    rejected: u64,
    /// What is wrong with the first 100 rows refused, by line and column.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<RefusedRow>,
}

impl From<Filled> for FeedFilled {
    fn from(filled: Filled) -> Self {
        let Filled { rows, items, available, rejected, .. } = filled;
        Self { rows, items, available, rejected, errors: filled.told() }
    }
}

/// What a feed holds, and how fetching it fares.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "generation": 12, "filled_at": "2026-11-22T08:30:00.000Z", "source": "url", "items": 699_999, "available": 651_220,
    "rejected": 1, "errors": [{"line": 17, "pointer": "/price", "code": "not_a_price", "detail": "must be an amount and a currency such as 12.90 EUR"}],
    "fetched_at": "2026-11-22T09:30:00.000Z", "next_fetch_at": "2026-11-22T10:30:00.000Z", "in_memory": true
}))]
struct FeedStatus {
    /// Which filling is shown; it grows with each. 0: none yet.
    generation: i64,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    filled_at: Option<Millis>,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<FeedSource>,
    /// Products in it.
    items: u64,
    /// Those of them that can be bought; no others are shown.
    available: u64,
    /// Rows of it that were refused.
    rejected: u64,
    /// What was wrong with the first rows that the last fetch refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<RefusedRow>,
    /// The last fetch, also of one that found nothing new.
    #[serde(skip_serializing_if = "Option::is_none")]
    fetched_at: Option<Millis>,
    /// What was wrong with it; what was shown before is shown still.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// When the next one is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_fetch_at: Option<Millis>,
    /// Whether this replica shows this filling: only those are in memory that a published creative names.
    in_memory: bool,
}

/// Where what a feed holds came from.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum FeedSource {
    /// It was uploaded.
    Upload,
    /// It was fetched.
    Url,
}

/// Fill a feed
///
/// The body is the file in the feed's format, as it is or gzipped, read as it arrives: up to 1 GiB and
/// 1,000,000 rows. It takes the place of all that the feed held, at once and on every replica within a
/// second or as long as reading it into memory takes; a file that breaks off or is refused leaves
/// everything as it was.
///
/// Columns (in JSON: members; in XML: elements of the namespace `g`): `id`, `title`, `link` and
/// `image_link` are required. `price` and `sale_price` are such as `12.90 EUR`, or the amount alone where
/// the feed has a `currency`; in JSON also `{"amount", "currency"}`. `availability` is `in_stock`, `preorder`,
/// `backorder`, `limited_availability` or `out_of_stock`; in a file without that column all can be bought.
/// `brand` and `description` are kept up to 160 characters. Other columns are ignored. Links must be
/// http(s) and lead to the advertiser's landing hosts.
///
/// Faults of the first 100 rows that are refused are told by line and column. With `all_or_nothing`
/// (422), one of them keeps the whole file out; with `valid_only` the other rows are taken. Needs a key
/// with the scope `author`.
#[utoipa::path(
    post, path = "/v1/feeds/{id}/items", tag = "feeds", operation_id = "upload_feed_items",
    params(One, UploadQuery), security(("key" = [])),
    request_body(content(
        (String = "text/csv", example = "id,title,link,image_link,price,availability\ns-1,Trail shoe,https://shop.northwind.example/s-1,https://cdn.northwind.example/s-1.jpg,129.00 EUR,in_stock\n"),
        (String = "text/tab-separated-values", example = "id\ttitle\tlink\timage_link\tprice\ns-1\tTrail shoe\thttps://shop.northwind.example/s-1\thttps://cdn.northwind.example/s-1.jpg\t129.00 EUR\n"),
        (String = "application/json", example = "[{\"id\": \"s-1\", \"title\": \"Trail shoe\", \"link\": \"https://shop.northwind.example/s-1\", \"image_link\": \"https://cdn.northwind.example/s-1.jpg\", \"price\": \"129.00 EUR\"}]"),
        (String = "application/xml", example = "<rss version=\"2.0\" xmlns:g=\"http://base.google.com/ns/1.0\"><channel><item><g:id>s-1</g:id><g:title>Trail shoe</g:title><g:link>https://shop.northwind.example/s-1</g:link><g:image_link>https://cdn.northwind.example/s-1.jpg</g:image_link><g:price>129.00 EUR</g:price></item></channel></rss>"),
    )),
    responses((status = 200, description = "The feed holds this now; or a dry run: it would.", body = FeedFilled), UploadProblems)
)]
async fn upload(
    State(app): State<App>,
    caller: Caller,
    ApiPath(One { id }): ApiPath<One>,
    ApiQuery(UploadQuery { mode, dry_run }): ApiQuery<UploadQuery>,
    request: Request,
) -> Result<Json<FeedFilled>, Problem> {
    caller.must(Scope::Author)?;
    let coding = request.headers().get(header::CONTENT_ENCODING).map(|coding| coding.as_bytes());
    if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"gzip") && !coding.eq_ignore_ascii_case(b"identity")) {
        let detail = "The body may be coded with gzip or not at all.";
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    let manner = Manner { whole: mode == ImportMode::AllOrNothing, dry_run, fetched: false };
    let (sender, filling) = app.engine.products.begin(&caller.account, &id, manner)?;
    let (sent, filled) = tokio::join!(send(request.into_body(), sender), filling);
    sent?;
    Ok(Json(filled?.into()))
}

/// Hands the body on as it arrives. Where it does not, nothing says that it has ended.
async fn send(mut body: Body, into: mpsc::Sender<Arriving>) -> Result<(), Problem> {
    let mut left = LARGEST;
    loop {
        let frame = timeout(PATIENCE, body.frame()).await;
        let frame =
            frame.map_err(|_| Problem::new(ProblemKind::RequestTimeout, "The body took too long to arrive."))?;
        let piece = match frame {
            None => None,
            Some(Err(error)) => {
                return Err(Problem::new(ProblemKind::BadRequest, "The body broke off.").caused_by(error));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Some(Vec::from(data)),
                Err(_) => continue,
            },
        };
        let count = piece.as_ref().map_or(0, |piece| piece.len() as u64);
        left = left.checked_sub(count).ok_or_else(|| {
            Problem::new(ProblemKind::PayloadTooLarge, format!("The body may have at most {LARGEST} bytes."))
        })?;
        let ended = piece.is_none();
        // whoever reads it knows why it reads no more
        if into.send(piece).await.is_err() || ended {
            return Ok(());
        }
    }
}

/// Read how a feed fares
///
/// What it holds, the last fetch and what was wrong with it. Needs a key with the scope `author` or `report`.
#[utoipa::path(
    get, path = "/v1/feeds/{id}/status", tag = "feeds", operation_id = "get_feed_status", params(One),
    security(("key" = [])),
    responses((status = 200, description = "How it fares.", body = FeedStatus), FeedProblems)
)]
async fn status(
    State(app): State<App>,
    caller: Caller,
    ApiPath(One { id }): ApiPath<One>,
) -> Result<Json<FeedStatus>, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let row = app.engine.products.status(&caller.account, &id).await?;
    let held = caller.account.snapshot.stocks.get(&id).map_or(0, |stock| stock.generation);
    let StockRow { generation, filled_at, fetched, items, available, rejected, fetched_at, error, refused, next_at } =
        row;
    Ok(Json(FeedStatus {
        generation,
        filled_at,
        source: filled_at.map(|_| if fetched { FeedSource::Url } else { FeedSource::Upload }),
        items,
        available,
        rejected,
        errors: refused,
        fetched_at,
        last_error: error,
        next_fetch_at: next_at,
        in_memory: generation > 0 && held == generation,
    }))
}

/// Fetch a feed now
///
/// Instead of when it is due; one of the replicas does it within a second. What comes of it is told by
/// the feed's status. Needs a key with the scope `author`.
#[utoipa::path(
    post, path = "/v1/feeds/{id}/fetch", tag = "feeds", operation_id = "fetch_feed", params(One),
    security(("key" = [])),
    responses((status = 202, description = "It will be fetched."), FetchProblems)
)]
async fn fetch(
    State(app): State<App>,
    caller: Caller,
    ApiPath(One { id }): ApiPath<One>,
) -> Result<StatusCode, Problem> {
    caller.must(Scope::Author)?;
    let feed = caller.account.snapshot.feeds.get(&id);
    if feed.is_some_and(|feed| feed.document.url.is_none()) {
        return Err(Problem::new(ProblemKind::Conflict, format!("Feed {id} has no address to be fetched from.")));
    }
    app.engine.products.hurry(&caller.account, &id).await?;
    Ok(StatusCode::ACCEPTED)
}
