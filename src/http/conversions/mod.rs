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
    beacons::{Detail, OutcomeAnswer, PixelProblems, outcome, pixel, uncached, verified},
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
        measurement::{
            attribution::Credit,
            beacon::{CONVERSION_LIFE_MS, Claim, SKEW_MS},
            outcome::{Outcome, OutcomeKind},
        },
        values::{Millis, Money},
        violation::{Violation, Violations},
    },
    engine::{Sought, Touched, outcomes::Reported},
    problems,
};

mod import;

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
    /// The event type, such as `purchase`.
    goal: Option<EventName>,
    /// Your order number: it counts once per campaign and goal, whichever decision it names.
    #[param(min_length = 1, max_length = 128)]
    conversion_id: Option<String>,
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
    let detail = Detail { goal: query.goal, conversion_id: query.conversion_id, value: None };
    let mut faults = Violations::new();
    check(detail.conversion_id.as_deref(), &mut faults);
    if faults.into_result().is_err() {
        return pixel(OutcomeAnswer::Invalid);
    }
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
    /// What it was worth, zero or more.
    #[serde(default)]
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
    let answer = match take(&app, vec![named], dry_run).await?.pop() {
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

/// What is known of a conversion before the store is asked.
struct Named {
    of: Of,
    detail: Detail,
    at: Millis,
}

/// Whose conversion it is.
enum Of {
    /// What was shown.
    Shown(Box<Claim>),
    /// Somebody who was shown something, or was not.
    Person(u32, Box<Sought>),
    /// Of nothing that counts.
    Nothing(OutcomeAnswer),
}

impl ConversionRequest {
    /// Whose it is, or everything that is wrong.
    fn read(self, app: &App, caller: Option<&Caller>) -> Result<Named, Vec<Violation>> {
        let (mut faults, now) = (Violations::new(), app.engine.clock.now());
        check(self.conversion_id.as_deref(), &mut faults);
        if self.value.is_some_and(|value| value.amount.micros() < 0) {
            faults.push("/value/amount", "range", "must not be negative");
        }
        let ahead = self.at.map_or(0, |at| at.since(now));
        if !(-CONVERSION_LIFE_MS..=SKEW_MS).contains(&ahead) {
            faults.push("/at", "range", "must be within the last 120 days");
        }
        let at = self.at.map_or(now, |at| at.min(now));
        let world = app.engine.catalogue.world();
        let of = match (self.token, self.user, self.campaign) {
            (Some(token), None, None) => match world.tokens.verify(OutcomeKind::Conversion, &token, at) {
                Ok(known) if caller.is_none_or(|caller| caller.account.number() == known.claim.account) => {
                    Some(if known.claim.preview {
                        Of::Nothing(OutcomeAnswer::Unknown)
                    } else if known.expired {
                        Of::Nothing(OutcomeAnswer::Expired)
                    } else {
                        Of::Shown(Box::new(known.claim))
                    })
                }
                _ => {
                    faults.push("/token", "invalid_token", "must be a conversion_token of this service");
                    None
                }
            },
            (None, Some(user), Some(campaign)) => caller.and_then(|caller| {
                if caller.account.snapshot.line(&campaign).is_none() {
                    faults.push("/campaign", "unknown_campaign", "there is no such campaign");
                    return None;
                }
                let terms = world.terms(caller.account.number(), Some(&campaign));
                let person = caller.account.uid(&user);
                Some(Of::Person(caller.account.number(), Box::new(Sought { person, campaign, at, terms })))
            }),
            (None, user, campaign) => {
                if user.is_none() && campaign.is_none() {
                    faults.push("/token", "required", "must name a decision, or else a user and a campaign");
                } else {
                    let missing = if user.is_none() { "/user" } else { "/campaign" };
                    faults.push(missing, "required", "a user and a campaign go together");
                }
                None
            }
            (Some(_), ..) => {
                faults.push("/token", "ambiguous", "must be left out where a user or a campaign is named");
                None
            }
        };
        faults.into_result()?;
        let detail = Detail { goal: self.goal, conversion_id: self.conversion_id, value: self.value };
        of.map(|of| Named { of, detail, at }).ok_or_else(Vec::new)
    }
}

/// Reports conversions, or says what would become of them.
async fn take(app: &App, named: Vec<Named>, dry_run: bool) -> Result<Vec<ConversionAnswer>, Problem> {
    let mut answers: Vec<Option<ConversionAnswer>> = named.iter().map(|_| None).collect();
    let (mut people, mut asked) = (Vec::new(), Vec::new());
    let mut account = 0;
    for (at, one) in named.iter().enumerate() {
        if let Of::Person(number, sought) = &one.of {
            account = *number;
            people.push(Sought::clone(sought));
            asked.push(at);
        }
    }
    let mut touched: Vec<Option<Touched>> = named.iter().map(|_| None).collect();
    if !people.is_empty() {
        for (at, found) in asked.into_iter().zip(app.engine.outcomes.touched(account, people).await?) {
            touched[at] = found;
        }
    }
    let (mut outcomes, mut places): (Vec<Outcome>, Vec<usize>) = Default::default();
    for (place, (Named { of, detail, at }, touched)) in named.into_iter().zip(touched).enumerate() {
        let claim = match (of, touched) {
            (Of::Shown(claim), _) => *claim,
            (Of::Nothing(outcome), _) => {
                answers[place] = Some(ConversionAnswer { outcome, credit: None, lost: false });
                continue;
            }
            (Of::Person(account, sought), Some(touched)) => claim(account, *sought, touched),
            (Of::Person(..), None) => {
                let credit = Some(Credit::Untouched);
                answers[place] = Some(ConversionAnswer { outcome: OutcomeAnswer::Unknown, credit, lost: false });
                continue;
            }
        };
        outcomes.push(outcome(app, claim, OutcomeKind::Conversion, &detail, at));
        places.push(place);
    }
    let reported = if dry_run {
        app.engine.outcomes.rehearse(outcomes).await?
    } else {
        app.engine.outcomes.report_all(outcomes).await
    };
    for (place, reported) in places.into_iter().zip(reported) {
        answers[place] = Some(reported.into());
    }
    Ok(answers.into_iter().flatten().collect())
}

/// What a token of what was shown to somebody would say.
fn claim(account: u32, sought: Sought, touched: Touched) -> Claim {
    let Touched { decision, creative, revision, combination, person, exposure } = touched;
    Claim {
        account,
        decision,
        campaign: Some(sought.campaign),
        creative,
        revision,
        combination,
        person,
        cap_window: None,
        preview: false,
        exposure,
    }
}

fn check(conversion_id: Option<&str>, faults: &mut Violations) {
    if conversion_id.is_some_and(|id| !(1..=128).contains(&id.len())) {
        faults.push("/conversion_id", "length", "must be 1 to 128 bytes");
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
