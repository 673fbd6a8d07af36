//! Conversions: by pixel, by a server, one or many, with the token of a decision or with the person.

use axum::{
    Json,
    body::Body,
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    beacons::{Detail, OutcomeAnswer, PixelProblems, pixel, uncached, verified},
    body::{self, BODY_LIMIT},
    extract::{ApiPath, ApiQuery},
    problem::{Problem, ProblemKind},
    rows::RowFormat,
    sender::Sender,
};
use crate::{
    domain::{
        access::Scope,
        ids::{CampaignId, EventName, UserKey},
        measurement::{attribution::Credit, beacon::Claim, outcome::OutcomeKind},
        values::{Amount, Currency, Millis, Money},
        violation::Violations,
    },
    engine::outcomes::Reported,
    problems,
    schema::object,
};

mod import;
mod join;

/// The pixel.
pub fn pixels() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(conversion_pixel))
}

/// What servers send.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(conversion))
}

/// What a conversion pixel may say.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConversionQuery {
    /// The event type, such as `purchase`. Left out: whatever the campaign is for at the time, so that it is one with
    /// the same conversion told with it.
    goal: Option<EventName>,
    /// Your order number: it counts once per campaign and goal, whichever decision it names.
    #[param(min_length = 1, max_length = 128)]
    conversion_id: Option<String>,
    /// What it was worth, 0 to 1,000,000,000. Whoever loads the pixel can say anything here.
    #[param(value_type = Option<String>, example = "59.90")]
    value: Option<Amount>,
    /// The currency of `value`: that of a campaign that is for value.
    #[param(value_type = Option<String>, example = "USD")]
    currency: Option<Currency>,
}

/// Count a conversion by pixel
///
/// Counts once per campaign, goal and `conversion_id` where there is one, else once per decision
/// and goal. Always answers with a GIF of one pixel, also where the query is not understood: then
/// nothing is counted, and `Tessera-Outcome` says `invalid`.
#[utoipa::path(
    get,
    path = "/v1/x/{token}",
    tag = "beacons",
    params(("token" = String, Path, description = "The `conversion_token`."), ConversionQuery),
    responses((status = 200, description = "A transparent pixel.", content_type = "image/gif", headers(
        ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
    )), PixelProblems)
)]
async fn conversion_pixel(
    State(app): State<App>,
    sender: Sender,
    method: Method,
    token: Result<ApiPath<String>, Problem>,
    query: Result<ApiQuery<ConversionQuery>, Problem>,
) -> Response {
    let (Ok(ApiPath(token)), Ok(ApiQuery(query))) = (token, query) else { return pixel(OutcomeAnswer::Invalid) };
    let ConversionQuery { goal, conversion_id, value, currency } = query;
    let whole = value.is_some() == currency.is_some();
    let value = value.zip(currency).map(|(amount, currency)| Money { amount, currency });
    let (world, now) = (app.engine.catalogue.world(), app.engine.clock.now());
    let usual = world.tokens.verify(OutcomeKind::Conversion, &token, now).ok().and_then(|known| {
        let Claim { account, campaign, .. } = known.claim;
        world.usual(account, campaign.as_ref())
    });
    let mut faults = Violations::new();
    check(conversion_id.as_deref(), value, &mut faults);
    check_currency(value, usual, &mut faults);
    if !whole || faults.into_result().is_err() {
        return pixel(OutcomeAnswer::Invalid);
    }
    let detail = Detail { goal, conversion_id, value, told: None };
    pixel(verified(&app, Some(&sender), &method, OutcomeKind::Conversion, &token, &detail).await.1)
}

/// A conversion: of the decision whose token is named, or of a person and a campaign.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "token": "AQH...", "goal": "purchase", "conversion_id": "order-1001", "value": {"amount": "59.90", "currency": "USD"}
}))]
struct ConversionRequest {
    /// The `conversion_token` of the decision.
    #[serde(default)]
    #[schema(max_length = 4_096)]
    token: Option<String>,
    /// In place of a token: whose conversion it is. It is joined to their last click on the campaign
    /// within its window, else to their last impression where views count. Needs a key.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    user: Option<UserKey>,
    /// With `user`: the campaign.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    campaign: Option<CampaignId>,
    /// The event type. Left out: whatever the campaign is for.
    #[serde(default)]
    goal: Option<EventName>,
    /// Your order number: it counts once per campaign and goal, whichever decision it names.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    conversion_id: Option<String>,
    /// What it was worth, 0 to 1,000,000,000, in the currency of a campaign that is for value.
    #[serde(default, deserialize_with = "object::one")]
    value: Option<Money>,
    /// When it happened, at most 120 days ago. Left out: now. Needs a key.
    #[serde(default)]
    at: Option<Millis>,
}

/// What became of a conversion.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"outcome": "recorded", "credit": "click"}))]
struct ConversionAnswer {
    /// What became of it.
    outcome: OutcomeAnswer,
    /// What it is to the campaign, where that is known: of a repeat it was said before.
    #[serde(skip_serializing_if = "Option::is_none")]
    credit: Option<Credit>,
    /// Whether neither the database nor the disk could take it.
    #[serde(skip)]
    lost: bool,
}

impl From<Reported> for ConversionAnswer {
    fn from(reported: Reported) -> Self {
        let credit = match reported {
            Reported::Recorded(credit) => credit,
            Reported::Late => Some(Credit::Late),
            Reported::Duplicate | Reported::Accepted | Reported::Unavailable => None,
        };
        Self { outcome: reported.into(), credit, lost: reported == Reported::Unavailable }
    }
}

problems!(pub ConversionProblems = [
    BadRequest, MalformedJson, Unauthorized, Forbidden, PayloadTooLarge, UnsupportedMediaType, Invalid, RequestTimeout,
    Overloaded, StoreUnavailable
]);

/// Count conversions
///
/// One as JSON; or many, as `text/csv` whose first row names columns (`token`, `user`, `campaign`, `goal`,
/// `conversion_id`, `value`, `currency`, `at`) or as `application/x-ndjson` with such an object on each line,
/// also gzipped, up to 1 GiB, read as they arrive and kept 1,000 at a time.
///
/// Each names the decision by its signed token, which is the permission for that one; or the person and the
/// campaign. What names people or a time, and what is many, needs a key with the scope `events`.
///
/// A conversion counts once per campaign, goal and `conversion_id` where there is one, else once per decision
/// and goal. It is the campaign's own (`credit`) within its window after the click, or after the impression
/// where its `attribution` wants views, and when it is of the type that the campaign is for. Up to five minutes
/// before its click or impression it counts, because clocks differ and beacons overtake each other; earlier it
/// does not. One without a click or view waits two days for it. One after the windows is `expired`.
#[utoipa::path(
    post,
    path = "/v1/conversions",
    tag = "beacons",
    operation_id = "conversion",
    params(ImportQuery),
    request_body(content(
        (ConversionRequest = "application/json"),
        (String = "text/csv", example = "user,campaign,goal,conversion_id,value,currency,at\nu-1,spring,purchase,order-1001,59.90,USD,2026-11-22T08:30:00Z\n"),
        (String = "application/x-ndjson", example = "{\"user\": \"u-1\", \"campaign\": \"spring\", \"goal\": \"purchase\", \"conversion_id\": \"order-1001\"}\n"),
    )),
    responses(
        (status = 200, description = "What became of it, or of each.", body = inline(ConversionsAnswer), headers(
            ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it, where it is one."),
        )),
        (status = 202, description = "Accepted: safe on disk until the database is back.", body = ConversionAnswer, headers(
            ("Tessera-Outcome" = OutcomeAnswer, description = "What became of it."),
        )),
        ConversionProblems
    ),
    security((), ("key" = []))
)]
async fn conversion(
    State(app): State<App>,
    ApiQuery(ImportQuery { dry_run }): ApiQuery<ImportQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, content) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &app).await;
    let format = RowFormat::of(&parts.headers);
    let request = Request::from_parts(parts, content);
    if let Some(format) = format {
        let caller = caller?;
        caller.must(Scope::Events)?;
        return Ok(Json(import::take(&app, &caller, request, format, dry_run).await?).into_response());
    }
    let bytes = body::read_json(request, BODY_LIMIT).await?;
    let asked: ConversionRequest = app.schemas.read(&bytes)?;
    let caller = if asked.user.is_some() || asked.at.is_some() {
        let caller = caller?;
        caller.must(Scope::Events)?;
        Some(caller)
    } else {
        None
    };
    let named = match asked.read(&app, caller.as_ref()) {
        Ok(named) => named,
        Err(faults) => {
            let forged = faults.iter().any(|fault| fault.code == "invalid_token");
            let mut response = Problem::invalid(faults).into_response();
            if forged {
                uncached(response.headers_mut(), OutcomeAnswer::Invalid);
            }
            return Ok(response);
        }
    };
    let answer = match join::take(&app, vec![named], dry_run).await?.pop() {
        Some(answer) if !answer.lost => answer,
        _ => {
            return Err(Problem::new(
                ProblemKind::StoreUnavailable,
                "The conversion could not be kept. Send it again.",
            ));
        }
    };
    let status = if answer.outcome == OutcomeAnswer::Accepted { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut response = Response::new(Body::from(serde_json::to_vec(&answer).map_err(Problem::internal)?));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    uncached(response.headers_mut(), answer.outcome);
    Ok(response)
}

/// The most that a conversion may be worth, in millionths: sums of them stay far from overflow.
const MOST_MICROS: i64 = 1_000_000_000_000_000;

/// Checks an order number and what a conversion was worth.
fn check(conversion_id: Option<&str>, value: Option<Money>, faults: &mut Violations) {
    if conversion_id.is_some_and(|id| !(1..=128).contains(&id.len())) {
        faults.push("/conversion_id", "length", "must be 1 to 128 bytes");
    }
    if value.is_some_and(|value| !(0..=MOST_MICROS).contains(&value.amount.micros())) {
        faults.push("/value/amount", "range", "must be 0 to 1000000000");
    }
}

/// Checks that it is told in the currency of what a conversion of the campaign usually is worth.
fn check_currency(value: Option<Money>, usual: Option<Money>, faults: &mut Violations) {
    if let (Some(usual), Some(value)) = (usual, value)
        && usual.currency != value.currency
    {
        let detail = format!("must be {}, in which the campaign counts value", usual.currency);
        faults.push("/value/currency", "other_currency", detail);
    }
}

/// What becomes of many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ImportQuery {
    /// Check everything and keep nothing; the answer shows what would be.
    #[serde(default)]
    #[param(required = false, default = false)]
    dry_run: bool,
}

/// What became of one conversion, or of many.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "described here, written apart")]
enum ConversionsAnswer {
    /// One.
    One(ConversionAnswer),
    /// Many.
    Many(import::Imported),
}
