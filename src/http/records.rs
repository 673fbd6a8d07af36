//! Past decisions over HTTP: what went in, why, and the same again.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{app::App, auth::Caller, decisions::ItemDoc, extract::ApiPath, problem::Problem};
use crate::{
    domain::{
        access::Scope,
        decision::{explanation::ItemExplanation, record::Recorded},
        ids::DecisionId,
        values::Millis,
    },
    engine::DecisionRecord,
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read)).routes(routes!(explanation)).routes(routes!(replay))
}

problems!(
    RecordProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Gone, Invalid, Overloaded, StoreUnavailable]
);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Decided {
    /// The `decision_id` of an item.
    id: DecisionId,
}

/// The record of a decision.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DecisionRecord)]
struct Record {
    /// The item.
    decision_id: DecisionId,
    /// When it was decided.
    decided_at: Millis,
    /// The catalogue version it was decided with.
    catalog_version: i64,
    /// Everything that went in, stripped of what the person's consent did not allow to be used.
    #[schema(value_type = Object)]
    inputs: Box<RawValue>,
    /// The item as it was answered.
    #[schema(value_type = ItemDoc)]
    item: Box<RawValue>,
}

impl TryFrom<DecisionRecord> for Record {
    type Error = Problem;

    fn try_from(record: DecisionRecord) -> Result<Self, Problem> {
        let Recorded { inputs, item } = serde_json::from_str(&record.body).map_err(Problem::internal)?;
        Ok(Self {
            inputs,
            item,
            decision_id: record.decision,
            decided_at: record.at,
            catalog_version: record.catalog_version,
        })
    }
}

fn may_look(caller: &Caller) -> Result<(), Problem> {
    caller.must_one(&[Scope::Report, Scope::Decide])
}

/// Read the record of a decision
///
/// Kept for a sample of all requests and for every one that asked for an explanation. Needs a key
/// with the scope `report` or `decide`.
#[utoipa::path(
    get, path = "/v1/decisions/{id}", tag = "decisions", operation_id = "get_decision", params(Decided),
    security(("key" = [])),
    responses((status = 200, description = "The record.", body = Record), RecordProblems)
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Decided { id }): ApiPath<Decided>,
) -> Result<Json<Record>, Problem> {
    may_look(&caller)?;
    Ok(Json(app.engine.archive.record(&caller.account, id).await?.try_into()?))
}

/// Explain a decision
///
/// Why this combination won, and for everything else the first condition that failed; from the
/// recorded inputs and the catalogue of the time. Needs a key with the scope `report` or `decide`.
#[utoipa::path(
    get, path = "/v1/decisions/{id}/explanation", tag = "decisions", operation_id = "explain_decision",
    params(Decided), security(("key" = [])),
    responses((status = 200, description = "The full explanation.", body = ItemExplanation), RecordProblems)
)]
async fn explanation(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Decided { id }): ApiPath<Decided>,
) -> Result<Json<ItemExplanation>, Problem> {
    may_look(&caller)?;
    Ok(Json(app.engine.archive.explanation(&caller.account, id).await?))
}

/// Decide again
///
/// From the recorded inputs and the catalogue of the time: the same item, byte for byte. Nothing is
/// counted. Needs a key with the scope `report` or `decide`.
#[utoipa::path(
    post, path = "/v1/decisions/{id}/replay", tag = "decisions", operation_id = "replay_decision", params(Decided),
    security(("key" = [])),
    responses((status = 200, description = "The item.", body = ItemDoc), RecordProblems)
)]
async fn replay(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Decided { id }): ApiPath<Decided>,
) -> Result<Json<Box<RawValue>>, Problem> {
    may_look(&caller)?;
    Ok(Json(app.engine.archive.replay(&caller.account, id).await?))
}
