//! The report on shadow mode: what tags beside those of another ad server would have shown.

mod report;

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::report::{ShadowLineItem, ShadowReport, table};
use super::{
    app::App,
    auth::Caller,
    extract::ApiQuery,
    page::{Limit, Page},
    problem::{Problem, ProblemKind},
    reports::{Format, day},
    rows::{RowFaults, RowFormat, Rows, fields},
};
use crate::{
    domain::{
        access::Scope,
        decision::shadow::Cause,
        ids::{LineItemId, UserKey},
        values::Millis,
        violation::Violation,
    },
    engine::{ShadowLine, ShadowSought, shadows::Shadows},
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(report, compare)).routes(routes!(people))
}

problems!(ShadowProblems = [BadRequest, Unauthorized, Forbidden, Invalid, Overloaded, StoreUnavailable]);
problems!(
    CompareProblems = [
        BadRequest,
        Unauthorized,
        Forbidden,
        RequestTimeout,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        Overloaded,
        StoreUnavailable
    ]
);

/// The most days of one report: as long as requests are kept.
const MOST_DAYS: i64 = 31;
/// The most line items whose figures may be brought.
const MOST_BROUGHT: usize = 10_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ShadowQuery {
    /// The first day (UTC) of the requests. Left out: the sixth before `to`.
    #[serde(default, deserialize_with = "day")]
    #[param(value_type = String, required = false, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-11-21")]
    from: Option<i64>,
    /// The last day. Left out: today.
    #[serde(default, deserialize_with = "day")]
    #[param(value_type = String, required = false, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-11-22")]
    to: Option<i64>,
    /// Which form the answer has. Left out: CSV where `Accept` asks for `text/csv`, else JSON.
    #[param(inline, required = false)]
    format: Option<Format>,
}

/// The days, counted from 1970-01-01, from the first to the last.
fn days(app: &App, from: Option<i64>, to: Option<i64>) -> Result<(i32, i32), Problem> {
    let to = to.unwrap_or_else(|| app.engine.clock.now().0.div_euclid(86_400_000));
    let from = from.unwrap_or(to - 6);
    if !(0..MOST_DAYS).contains(&(to - from)) {
        let detail = format!("must be at most {MOST_DAYS} days from the first to the last, in this order");
        return Err(Problem::invalid(vec![Violation::new("/to", "out_of_range", detail)]));
    }
    let bounded = |day: i64| i32::try_from(day).unwrap_or(i32::MAX);
    Ok((bounded(from), bounded(to)))
}

/// Report on shadow mode
///
/// What tags with `shadow=1`, pasted beside those of another ad server, would have done, by the line items that the
/// ad server's macro named: requests and how many of these browsers told of; how many were decided with what is known
/// of the person; how long browsers waited; and in how many something else would have been shown than without that,
/// by the rule that made the difference. For this each request is decided again without the profile, and again without
/// each segment that the person is in, always with the same draws. Kept for 30 days, within seconds of the requests.
///
/// Tags are public, so of each tag about 500 line items are told apart on a day, and the others are `other`; of one
/// network 600 requests a minute are decided.
///
/// Nothing counts in shadow mode, impressions towards frequency caps included, so campaigns with caps are shown more
/// often here than they would be. Without consent nobody is counted as a person, and nothing is personalised.
///
/// As CSV it is a row for each line item, and behind it one for each of its rules, with its kind in the column `row`.
/// Needs a key with the scope `report`.
#[utoipa::path(
    get, path = "/v1/reports/shadow", tag = "reports", operation_id = "report_shadow", params(ShadowQuery),
    security(("key" = [])),
    responses(
        (status = 200, description = "The report.", content(
            (ShadowReport = "application/json"),
            (String = "text/csv", example = "row,line_item,rule,requests,impressions,discrepancy,incumbent,incumbent_discrepancy,personalised,personalised_share,p50_ms,p95_ms,p99_ms,different,different_share,people\nline_item,6001200300,,12000,11820,0.015,,,8400,0.7,38,74,112,3100,0.2583,940\n"),
        )),
        ShadowProblems
    )
)]
async fn report(
    State(app): State<App>,
    caller: Caller,
    ApiQuery(query): ApiQuery<ShadowQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must(Scope::Report)?;
    made(&app, &caller, &query, &headers, HashMap::new()).await
}

/// Compare shadow mode with the ad server
///
/// The same report, beside what the other ad server counted: a table whose first row names the columns `line_item`
/// and `impressions`, which may come in any order among others. Line items that tags never saw are told with no
/// requests. Nothing of it is kept. Needs a key with the scope `report`.
#[utoipa::path(
    post, path = "/v1/reports/shadow", tag = "reports", operation_id = "compare_shadow", params(ShadowQuery),
    request_body(content((String = "text/csv", example = "line_item,impressions\n6001200300,12100\n"))),
    security(("key" = [])),
    responses(
        (status = 200, description = "The report.", content(
            (ShadowReport = "application/json"), (String = "text/csv"),
        )),
        CompareProblems
    )
)]
async fn compare(
    State(app): State<App>,
    caller: Caller,
    ApiQuery(query): ApiQuery<ShadowQuery>,
    request: Request,
) -> Result<Response, Problem> {
    caller.must(Scope::Report)?;
    let headers = request.headers().clone();
    let Some(RowFormat::Csv) = RowFormat::of(&headers) else {
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, "The figures must come as text/csv."));
    };
    let brought = brought(Rows::of(request, RowFormat::Csv)?).await?;
    made(&app, &caller, &query, &headers, brought).await
}

/// What the other ad server counted, by line item.
async fn brought(mut rows: Rows) -> Result<HashMap<LineItemId, u64>, Problem> {
    let refuse = |code, detail: String| Problem::invalid(vec![Violation::new("/1", code, detail)]);
    let first = rows.next().await?.map(|(_, row)| row).unwrap_or_default();
    let names = fields(&first).map_err(|(code, detail)| refuse(code, detail))?;
    let place = |wanted: &str| names.iter().position(|name| name.trim() == wanted);
    let (Some(line), Some(count)) = (place("line_item"), place("impressions")) else {
        return Err(refuse("missing_column", "the columns line_item and impressions must both be named".into()));
    };
    let (mut found, mut faults) = (HashMap::new(), RowFaults::default());
    while let Some((at, row)) = rows.next().await? {
        let cells = match fields(&row) {
            Ok(cells) => cells,
            Err(fault) => {
                faults.push(at, fault);
                continue;
            }
        };
        let cell = |place: usize| cells.get(place).map_or("", |cell| cell.trim());
        match (cell(line).parse::<LineItemId>(), cell(count).parse::<u64>()) {
            (Ok(line), Ok(count)) => *found.entry(line).or_insert(0) += count.min(1 << 50),
            (line, count) => {
                let mut wrong = Vec::new();
                if let Err(error) = line {
                    wrong.push(Violation::new("/line_item", "pattern", error.to_string()));
                }
                if count.is_err() {
                    wrong.push(Violation::new("/impressions", "type", "must be a whole number, without separators"));
                }
                faults.push_all(at, wrong);
            }
        }
        if found.len() > MOST_BROUGHT {
            return Err(refuse("too_many", format!("there must be at most {MOST_BROUGHT} line items")));
        }
    }
    if faults.count > 0 {
        return Err(faults.into_problem("nothing is reported"));
    }
    Ok(found)
}

async fn made(
    app: &App,
    caller: &Caller,
    query: &ShadowQuery,
    headers: &HeaderMap,
    mut brought: HashMap<LineItemId, u64>,
) -> Result<Response, Problem> {
    let days = days(app, query.from, query.to)?;
    let shadows = &app.engine.shadows;
    let lines = shadows.lines(caller.account.number(), days).await?;
    let complete = lines.len() < Shadows::LINES as usize;
    let mut line_items: Vec<ShadowLineItem> = lines
        .into_iter()
        .map(|line| {
            let other = line.line_item.as_ref().and_then(|id| brought.remove(id));
            ShadowLineItem::of(line, other)
        })
        .collect();
    let mut unseen: Vec<(LineItemId, u64)> = brought.into_iter().collect();
    unseen.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    line_items.extend(unseen.into_iter().map(|(line_item, count)| {
        ShadowLineItem::of(ShadowLine { line_item: Some(line_item), ..ShadowLine::default() }, Some(count))
    }));
    let written = |day: i32| Millis(i64::from(day) * 86_400_000).to_string().chars().take(10).collect();
    let report = ShadowReport { from: written(days.0), to: written(days.1), complete, line_items };
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if !query.format.map_or(accepts.contains("text/csv"), |format| format == Format::Csv) {
        return Ok(Json(report).into_response());
    }
    let kind = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    let name = HeaderValue::from_static("attachment; filename=\"shadow.csv\"");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], table(&report)).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PeopleQuery {
    /// Only those to whom this rule of the report made the difference.
    #[param(required = false, example = "segment:basket_abandoner")]
    rule: Option<String>,
    /// Only under this line item.
    #[param(value_type = String, required = false, example = "6001200300")]
    line_item: Option<LineItemId>,
    /// The first day (UTC) of the requests. Left out: the sixth before `to`.
    #[serde(default, deserialize_with = "day")]
    #[param(value_type = String, required = false, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-11-21")]
    from: Option<i64>,
    /// The last day. Left out: today.
    #[serde(default, deserialize_with = "day")]
    #[param(value_type = String, required = false, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-11-22")]
    to: Option<i64>,
    /// The people after this one, as `next` of the page before says.
    #[param(value_type = String, required = false)]
    after: Option<UserKey>,
    /// How many at most.
    #[serde(default)]
    #[param(inline, required = false)]
    limit: Limit,
}

/// Somebody who would have been shown something else than without what is known of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"user": "u-1", "requests": 3, "last_at": "2026-11-22T08:30:00.000Z"}))]
struct ShadowPerson {
    /// Who.
    user: UserKey,
    /// In how many requests.
    requests: u64,
    /// When last.
    last_at: Millis,
}

type ShadowPeople = Page<ShadowPerson>;

/// List people whom shadow mode would have treated differently
///
/// Those who would have been shown something else than without what is known of them, and who may be counted by
/// person, page by page, in the order of their names. Needs a key with the scope `report`.
#[utoipa::path(
    get, path = "/v1/reports/shadow/people", tag = "reports", operation_id = "list_shadow_people",
    params(PeopleQuery), security(("key" = [])),
    responses((status = 200, description = "A page.", body = ShadowPeople), ShadowProblems)
)]
async fn people(
    State(app): State<App>,
    caller: Caller,
    ApiQuery(query): ApiQuery<PeopleQuery>,
) -> Result<Json<ShadowPeople>, Problem> {
    caller.must(Scope::Report)?;
    let days = days(&app, query.from, query.to)?;
    let cause = query.rule.as_deref().map(str::parse::<Cause>).transpose();
    let cause = cause.map_err(|error| Problem::invalid(vec![Violation::new("/rule", "pattern", error.to_string())]))?;
    let sought =
        ShadowSought { cause, line_item: query.line_item, days, after: query.after, most: query.limit.and_one() };
    let found = app.engine.shadows.people(caller.account.number(), sought).await?;
    let item = |row: crate::engine::ShadowPerson| ShadowPerson {
        user: row.user,
        requests: row.requests,
        last_at: row.last_at,
    };
    Ok(Json(Page::of(found, query.limit, |row| row.user.to_string(), item)))
}
