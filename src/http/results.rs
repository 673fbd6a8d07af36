//! What campaigns achieved, over HTTP.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    extract::{ApiJson, ApiPath, ApiQuery},
    problem::Problem,
    reports::{Format, day},
};
use crate::{
    domain::{
        access::Scope,
        ids::{CampaignId, ComponentId, SlotName},
        measurement::report::{Arms, By, ReportRow},
        violation::{Violation, Violations},
    },
    engine::{
        evaluation::{Evaluated, Target},
        results::{CampaignReport, Question},
    },
    problems,
    schema::object,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(report)).routes(routes!(evaluate))
}

problems!(ResultProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Overloaded, StoreUnavailable]);
problems!(
    EvaluateProblems = [
        BadRequest,
        MalformedJson,
        Unauthorized,
        Forbidden,
        NotFound,
        RequestTimeout,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        Overloaded,
        StoreUnavailable
    ]
);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Named {
    /// The campaign.
    #[param(value_type = String, example = "spring")]
    id: CampaignId,
}

/// More people than there are.
const MOST_PEOPLE: u64 = 1_000_000_000_000;
/// More than anybody gives.
const MOST_PER_PERSON: f64 = 1e6;

/// What to report.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReportQuery {
    /// What there is a row for. Left out: `component`.
    #[param(inline, required = false)]
    by: Option<By>,
    /// Whose outcomes rows sum. Left out: of components, combinations, slots and segments those of everybody for
    /// whom components were `chosen`, else `all`.
    #[param(inline, required = false)]
    arm: Option<Arms>,
    /// The first day (UTC) of the decisions. Left out: as far back as anything was counted.
    #[serde(default, deserialize_with = "day")]
    #[param(value_type = String, required = false, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-11-01")]
    from: Option<i64>,
    /// The last day. Left out: today.
    #[serde(default, deserialize_with = "day")]
    #[param(value_type = String, required = false, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-11-22")]
    to: Option<i64>,
    /// People expected in the experiment, to be told what it could find. Left out: as many as there are.
    #[param(required = false, minimum = 1, maximum = 1_000_000_000_000_i64, example = 200_000)]
    people: Option<u64>,
    /// Clicks, conversions or value that a person of the control is expected to give, above 0, at most 1,000,000. Left
    /// out: what people of the campaign gave.
    #[param(required = false, exclusive_minimum = 0, maximum = 1_000_000, example = 0.03)]
    per_person: Option<f64>,
    /// The share of people in the control, between 0 and 1, to be told what such an experiment could find. Left out:
    /// the campaign's.
    #[param(required = false, exclusive_minimum = 0, exclusive_maximum = 1, example = 0.1)]
    holdout: Option<f64>,
    /// Which form the answer has. Left out: CSV where `Accept` asks for `text/csv`, else JSON.
    #[param(inline, required = false)]
    format: Option<Format>,
}

/// Report on a campaign
///
/// What was counted of its decisions' outcomes, within seconds of their commit, each with an
/// interval that holds nineteen times of twenty at one look. Components and combinations are also
/// compared: what is believed of each, drawn towards the others as far as the data allow, and which
/// is the best, named only with at most 5% false among all that the report calls so; else about how
/// many more impressions that needs. Outcomes that no person caused are counted apart.
///
/// With a holdout, `lift` is what personalisation adds per person to the control creative, with an
/// interval that holds however often one looks; it is withheld where the two sides do not have the
/// people they should have. People count on the side of their first decision. Impressions of nobody
/// known, or of people who may not be counted, are in neither, and their share in the experiment's impressions
/// is told. `plan` is the smallest lift that the experiment would find of `people`.
///
/// Rows of days, places, devices and arms add up to the totals: what is not told apart has a row without a
/// name. Beacons that came again are told of all, and of days where these sum everybody's. People are in several segments, or in none, so rows of segments do not.
///
/// As CSV it is the rows alone; `components` is what a combination is made of, such as `image=beach;text=`, where a
/// slot without a component shows its default. Needs a key with the scope `report`.
#[utoipa::path(
    get, path = "/v1/campaigns/{id}/report", tag = "reports", operation_id = "report_campaign", params(Named, ReportQuery),
    security(("key" = [])),
    responses(
        (status = 200, description = "The report.", content(
            (CampaignReport = "application/json"),
            (String = "text/csv", example = "slot,component,impressions,clicks\nimage,beach,1200,31\n"),
        )),
        ResultProblems
    )
)]
async fn report(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Named { id }): ApiPath<Named>,
    ApiQuery(query): ApiQuery<ReportQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must(Scope::Report)?;
    let format = query.format;
    let question = query.read().map_err(Problem::invalid)?;
    let report = app.engine.results.campaign(&caller.account, &id, &question).await?;
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if !format.map_or(accepts.contains("text/csv"), |format| format == Format::Csv) {
        return Ok(Json(report).into_response());
    }
    let kind = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    let name = HeaderValue::from_static("attachment; filename=\"campaign.csv\"");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], table(&report)).into_response())
}

/// Names and values hold no commas, quotes or line ends but verdicts, which are quoted.
fn table(report: &CampaignReport) -> String {
    let mut out = ReportRow::COLUMNS.join(",");
    out.push_str(",components\r\n");
    for row in &report.rows {
        let made = row.key.combination.as_ref().and_then(|combination| report.combinations.get(combination));
        let components = made.into_iter().flat_map(|made| &made.components).map(|(slot, component)| {
            let component = component.as_ref().map_or("", ComponentId::as_str);
            format!("{slot}={component}")
        });
        let cells = row.record().into_iter().chain([components.collect::<Vec<_>>().join(";")]).map(|cell| {
            if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
        });
        out.push_str(&cells.collect::<Vec<_>>().join(","));
        out.push_str("\r\n");
    }
    out
}

impl ReportQuery {
    fn read(self) -> Result<Question, Vec<Violation>> {
        let Self { by, arm: arms, from, to, people, per_person, holdout, format: _ } = self;
        let mut faults = Violations::new();
        if from.zip(to).is_some_and(|(from, to)| to < from) {
            faults.push("/to", "out_of_range", "must not be before from");
        }
        if people.is_some_and(|people| !(1..=MOST_PEOPLE).contains(&people)) {
            faults.push("/people", "range", format!("must be 1 to {MOST_PEOPLE}"));
        }
        if per_person.is_some_and(|given| !(given > 0.0 && given <= MOST_PER_PERSON)) {
            faults.push("/per_person", "range", format!("must be above 0 and at most {MOST_PER_PERSON}"));
        }
        if holdout.is_some_and(|share| !(share > 0.0 && share < 1.0)) {
            faults.push("/holdout", "range", "must be above 0 and below 1");
        }
        faults.into_result()?;
        Ok(Question { by: by.unwrap_or(By::Component), arms, from, to, people, per_person, holdout })
    }
}

/// Another rotation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"rotation": "even", "from": "2026-11-01", "to": "2026-11-22"}))]
struct EvaluateRequest {
    /// How it would choose.
    rotation: OtherRotation,
    /// For `without`: components that would not be shown.
    #[serde(default, deserialize_with = "object::each")]
    without: Vec<OneComponent>,
    /// The first day (UTC) of the decisions. Left out: as far back as they are kept, 30 days.
    #[serde(default, deserialize_with = "day")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    from: Option<i64>,
    /// The last day. Left out: today.
    #[serde(default, deserialize_with = "day")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    to: Option<i64>,
}

/// How another rotation would choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OtherRotation {
    /// Every legal combination as often.
    Even,
    /// By the weights of the components.
    Weights,
    /// Always the combination that is believed best for the person.
    Best,
    /// As now, but without some components.
    Without,
}

/// A component in its slot.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OneComponent {
    /// The slot.
    #[schema(value_type = String)]
    slot: SlotName,
    /// The component.
    #[schema(value_type = String)]
    component: ComponentId,
}

/// Evaluate another rotation
///
/// What it would have earned per decision, from the decisions that were logged with their exact
/// probabilities (self-normalised inverse propensity scoring). Where more than 200 combinations were
/// legal, decisions are weighed by their components, and the answer's basis says that it assumes the
/// additive model: that what a component adds does not depend on the other slots. Refuses to estimate where the log says too little: an effective sample of fewer than 200
/// decisions, or one that would count for more than 1,000. Decisions that are younger than rewards may
/// take are left out, and counted in `too_young`; of more than 50,000 an even sample is read. Where pairing
/// rules bind slots, `even` and `weights` are of all legal combinations alike, and the notes say so. Needs a
/// key with the scope `report`.
#[utoipa::path(
    post, path = "/v1/campaigns/{id}/evaluate", tag = "reports", operation_id = "evaluate_campaign", params(Named),
    request_body = EvaluateRequest, security(("key" = [])),
    responses((status = 200, description = "The estimate, or why there is none.", body = Evaluated), EvaluateProblems)
)]
async fn evaluate(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Named { id }): ApiPath<Named>,
    ApiJson(request): ApiJson<EvaluateRequest>,
) -> Result<Json<Evaluated>, Problem> {
    caller.must(Scope::Report)?;
    if let (Some(from), Some(to)) = (request.from, request.to)
        && from > to
    {
        return Err(Problem::invalid(vec![Violation::new("/to", "out_of_range", "must not be before from")]));
    }
    let without: Vec<_> = request.without.into_iter().map(|one| (one.slot, one.component)).collect();
    let fault = |detail: &str| Err(Problem::invalid(vec![Violation::new("/without", "mismatch", detail)]));
    let target = match request.rotation {
        OtherRotation::Without if without.is_empty() => return fault("must name components for this rotation"),
        OtherRotation::Without => Target::Without(without),
        _ if !without.is_empty() => return fault("is only for the rotation \"without\""),
        OtherRotation::Even => Target::Even,
        OtherRotation::Weights => Target::Weights,
        OtherRotation::Best => Target::Best,
    };
    let evaluated = app.engine.results.evaluate(&caller.account, &id, target, (request.from, request.to)).await?;
    Ok(Json(evaluated))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        domain::measurement::{
            attribution::Unattributed,
            cells::{Cell, CellKey, Counts, Goal, Subject},
            exposure::Arm,
            report,
            traffic::InvalidTally,
        },
        engine::results::Combination,
    };

    #[test]
    fn a_table_has_its_columns() {
        let key = CellKey {
            day: crate::domain::values::Millis(0),
            placement: "home".parse().ok(),
            device: "".into(),
            arm: Arm::Control,
            subject: Subject::Combination { combination: 1 },
        };
        let cells = [Cell { key, counts: Counts { impressions: 10, clicks: 1, ..Counts::default() } }];
        let rows = report::report(&cells, By::Combination, Goal::Click, 1.0, 1);
        let made: BTreeMap<_, _> = [("headline", None), ("image", "beach".parse().ok())]
            .into_iter()
            .map(|(slot, component)| (slot.parse().expect("a name"), component))
            .collect();
        let made = Combination { creative: "hero".parse().expect("an id"), revision: 1, components: made };
        let report = CampaignReport {
            campaign: "spring".parse().expect("an id"),
            at: crate::domain::values::Millis(0),
            goal: Goal::Click,
            by: By::Combination,
            arm: Arms::All,
            totals: Counts::default(),
            invalid_traffic: InvalidTally::default(),
            unattributed: Unattributed::default(),
            rate: None,
            rows,
            combinations: [("0000000000000001".to_owned(), made)].into(),
            lift: None,
            plan: None,
        };
        let table = table(&report);
        let lines: Vec<_> = table.split("\r\n").collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].split(',').count(), ReportRow::COLUMNS.len() + 1);
        assert!(lines[1].contains("0000000000000001,10,0,1,0"), "{}", lines[1]);
        assert!(lines[1].ends_with(",headline=;image=beach"), "{}", lines[1]);
    }
}
