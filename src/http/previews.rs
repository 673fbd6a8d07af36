//! Rules before anybody uses them.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{app::App, auth::Caller, extract::ApiJson, problem::Problem};
use crate::{
    domain::{access::Scope, audience::RuleDoc, ids::SegmentKey, violation::Violation},
    engine::{
        insight::{Insight, Preview, Question},
        people::PeopleError,
    },
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(preview))
}

problems!(
    PreviewProblems = [
        BadRequest,
        MalformedJson,
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

/// A rule and what to find out about it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "rule": {"v": 1, "kind": "dynamic", "match": {"all": [{"trait": "age", "gte": 18, "lt": 26}, {"trait": "city", "eq": "Berlin"}]}},
    "members": 5
}))]
struct PreviewRequest {
    /// The rule of a dynamic segment.
    rule: RuleDoc,
    /// Segments to compare it with, at most 20. Left out: the first 20 of the account.
    #[serde(default)]
    #[schema(max_items = 20)]
    overlap: Option<Vec<SegmentKey>>,
    /// How many members to name, at most 20; more than none needs the scope `report`.
    #[serde(default)]
    #[schema(maximum = 20)]
    members: usize,
    /// Ask everybody instead of a sample. Takes some seconds for a million people.
    #[serde(default)]
    exact: bool,
}

/// Preview a segment's rule
///
/// How many people would be in, with an interval that holds nineteen times of twenty; whom each
/// condition keeps and drops; the overlap with other segments; and what the author should look at.
/// Answered from a sample of people in memory by the evaluator that decides, so that it cannot
/// differ from decisions. Where `people` is left out the sample is too small to tell more than
/// "at most". Changes nothing. Needs a key with the scope `author` or `report`.
#[utoipa::path(
    post, path = "/v1/segments/preview", tag = "segments", operation_id = "preview_segment",
    request_body = PreviewRequest, security(("key" = [])),
    responses((status = 200, description = "What the rule would mean.", body = Preview), PreviewProblems)
)]
async fn preview(
    State(app): State<App>,
    caller: Caller,
    ApiJson(request): ApiJson<PreviewRequest>,
) -> Result<Json<Preview>, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    if request.members > 0 {
        caller.must(Scope::Report)?;
    }
    let few = |many: bool, pointer, detail: &str| many.then(|| Violation::new(pointer, "out_of_range", detail));
    let many = request.overlap.as_ref().is_some_and(|overlap| overlap.len() > Insight::OVERLAP);
    let faults = [
        few(many, "/overlap", "must name at most 20 segments"),
        few(request.members > 20, "/members", "must be at most 20"),
    ];
    let faults: Vec<_> = faults.into_iter().flatten().collect();
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let question = Question { overlap: request.overlap, members: request.members, exact: request.exact };
    let answer = app.engine.insight.preview(&caller.account, &request.rule.0, question).await;
    answer.map(Json).map_err(|error| match error {
        PeopleError::Invalid(faults) => {
            let place =
                |fault: Violation| if fault.pointer.starts_with("/overlap") { fault } else { fault.under("/rule") };
            Problem::invalid(faults.into_iter().map(place).collect())
        }
        other => other.into(),
    })
}
