//! Drafts before they serve: what they would have changed.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{app::App, auth::Caller, extract::ApiJson, problem::Problem, reports::day};
use crate::{
    domain::{access::Scope, catalog::document::CampaignDoc, ids::PlacementId, violation::Violations},
    engine::{
        authoring::drafted::Draft,
        what_if::{Asked, WhatIfReport},
    },
    problems,
};

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(what_if))
}

problems!(
    WhatIfProblems = [
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

/// Largest body, in bytes.
const LARGEST: usize = 1 << 20;
/// Documents in one draft.
const MOST_DOCUMENTS: usize = 100;
/// Records that are read, unless another number is asked for, and at most.
const RECORDS: (u32, u32) = (1_000, 10_000);
/// Examples, likewise.
const EXAMPLES: (u32, u32) = (10, 100);

fn records() -> u32 {
    RECORDS.0
}

fn examples() -> u32 {
    EXAMPLES.0
}

/// A draft, and which decisions to make anew with it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "campaigns": {"spring": {
        "name": "Spring", "advertiser": "northwind", "status": "active", "creatives": ["spring-hero"],
        "landing_url": "https://shop.northwind.example/spring", "priority": 1
    }, "winter": null},
    "publish": ["spring-hero"], "limit": 1000
}))]
struct WhatIfRequest {
    /// Campaigns by their ids, as `PUT` takes them; null: it would be deleted. With `publish` at most 100.
    #[serde(default)]
    campaigns: BTreeMap<String, DraftedCampaign>,
    /// Creatives whose drafts count as published.
    #[serde(default)]
    publish: Vec<String>,
    /// Only decisions on this registered placement. Left out: all.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    placement: Option<PlacementId>,
    /// The first day (UTC) of the decisions. Left out: as far back as records are kept.
    #[serde(default, deserialize_with = "day")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    from: Option<i64>,
    /// The last day. Left out: today.
    #[serde(default, deserialize_with = "day")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    to: Option<i64>,
    /// How many records to read at most, the newest first.
    #[serde(default = "records")]
    #[schema(minimum = 1, maximum = 10_000, default = 1_000)]
    limit: u32,
    /// How many examples to give at most.
    #[serde(default = "examples")]
    #[schema(minimum = 0, maximum = 100, default = 10)]
    examples: u32,
}

/// A campaign as it would be; null: it would be deleted.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(value_type = Option<CampaignDoc>)]
struct DraftedCampaign(Option<Value>);

/// Ask what a draft would change
///
/// Takes recorded decisions (a sample of all, see the records), the newest first, and makes each anew
/// twice: with the catalogue as it is and with the draft; for the same person, as they were, at the same
/// time, with the same seed and by what is learned now. Tells of how many the outcome differs, and how. The draft
/// is checked as writing it would be; nothing is written, counted or learned.
///
/// Memberships are as they were recorded. Records hold what the targeting of their time asked; those that do not hold
/// what the draft asks are left out and named in `not_replayed`. Products of feeds are picked as for somebody of
/// whose events no more is known than that. Needs a key with the scope `report`.
#[utoipa::path(
    post, path = "/v1/what-if", tag = "reports", operation_id = "what_if", request_body = WhatIfRequest,
    security(("key" = [])),
    responses((status = 200, description = "What would change.", body = WhatIfReport), WhatIfProblems)
)]
async fn what_if(
    State(app): State<App>,
    caller: Caller,
    ApiJson(request): ApiJson<WhatIfRequest, LARGEST>,
) -> Result<Json<WhatIfReport>, Problem> {
    caller.must(Scope::Report)?;
    let mut faults = Violations::new();
    if !(1..=RECORDS.1).contains(&request.limit) {
        faults.push("/limit", "range", format!("must be 1 to {}", RECORDS.1));
    }
    if request.examples > EXAMPLES.1 {
        faults.push("/examples", "range", format!("must be 0 to {}", EXAMPLES.1));
    }
    let documents = request.campaigns.len() + request.publish.len();
    if !(1..=MOST_DOCUMENTS).contains(&documents) {
        let detail = format!("must name 1 to {MOST_DOCUMENTS} campaigns and creatives");
        faults.push("", "documents", detail);
    }
    faults.into_result().map_err(Problem::invalid)?;
    let day = |day: Option<i64>, left_out: i32| day.map_or(left_out, |day| i32::try_from(day).unwrap_or(left_out));
    let campaigns = request.campaigns.into_iter().map(|(id, DraftedCampaign(document))| (id, document));
    let asked = Asked {
        draft: Draft { campaigns: campaigns.collect(), publish: request.publish },
        placement: request.placement,
        days: day(request.from, 0)..=day(request.to, i32::MAX),
        limit: request.limit,
        examples: request.examples as usize,
    };
    Ok(Json(app.engine.what_ifs.ask(caller.account.number(), asked).await?))
}
