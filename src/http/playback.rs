//! How far videos were played.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    extract::{ApiPath, ApiQuery},
    problem::{Problem, ProblemKind},
    reports::day,
};
use crate::{
    domain::{
        access::Scope,
        ids::{CampaignId, CreativeId},
        measurement::outcome::OutcomeKind,
        violation::Violation,
    },
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(playback))
}

problems!(PlaybackProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Overloaded, StoreUnavailable]);

/// The most days of one report.
const MOST_DAYS: i64 = 92;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Named {
    /// The campaign.
    #[param(value_type = String, example = "trail-film")]
    id: CampaignId,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PlaybackQuery {
    /// The first day (UTC) of the decisions. Left out: the sixth before `to`.
    #[serde(default, deserialize_with = "day")]
    #[param(value_type = String, required = false, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-11-16")]
    from: Option<i64>,
    /// The last day. Left out: today.
    #[serde(default, deserialize_with = "day")]
    #[param(value_type = String, required = false, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-11-22")]
    to: Option<i64>,
}

/// How far a campaign's videos were played.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"campaign": "trail-film", "creatives": [{
    "creative": "trail-film", "impressions": 1000, "viewables": 700, "clicks": 12, "starts": 980, "first_quartiles": 900,
    "midpoints": 810, "third_quartiles": 760, "completes": 735, "errors": 14, "completion_rate": 0.75
}]}))]
struct PlaybackReport {
    /// The campaign.
    campaign: CampaignId,
    /// Its creatives of which anything was counted.
    creatives: Vec<Playback>,
}

/// How far the videos of one creative were played.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Playback {
    /// The creative.
    #[schema(value_type = String)]
    creative: Option<CreativeId>,
    /// Shown.
    impressions: u64,
    /// In view, as players of VAST 4 tell.
    viewables: u64,
    /// Clicks.
    clicks: u64,
    /// Begun.
    starts: u64,
    /// A quarter was played.
    first_quartiles: u64,
    /// Half was played.
    midpoints: u64,
    /// Three quarters were played.
    third_quartiles: u64,
    /// All was played.
    completes: u64,
    /// Could not be shown.
    errors: u64,
    /// Completes among starts; left out where nothing was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_rate: Option<f64>,
}

impl Playback {
    fn add(&mut self, kind: OutcomeKind, count: u64) {
        let counter = match kind {
            OutcomeKind::Impression => &mut self.impressions,
            OutcomeKind::Viewable => &mut self.viewables,
            OutcomeKind::Click => &mut self.clicks,
            OutcomeKind::Start => &mut self.starts,
            OutcomeKind::FirstQuartile => &mut self.first_quartiles,
            OutcomeKind::Midpoint => &mut self.midpoints,
            OutcomeKind::ThirdQuartile => &mut self.third_quartiles,
            OutcomeKind::Complete => &mut self.completes,
            OutcomeKind::Error => &mut self.errors,
            OutcomeKind::Conversion | OutcomeKind::Win | OutcomeKind::Billing | OutcomeKind::Loss => return,
        };
        *counter += count;
    }
}

/// Report how far videos were played
///
/// What players told of a campaign's decisions, each once per decision, programs that look like players included.
/// At most 92 days. Needs a key with the scope `report`.
#[utoipa::path(
    get, path = "/v1/campaigns/{id}/playback", tag = "reports", operation_id = "report_playback",
    params(Named, PlaybackQuery), security(("key" = [])),
    responses((status = 200, description = "How far they were played.", body = PlaybackReport), PlaybackProblems)
)]
async fn playback(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Named { id }): ApiPath<Named>,
    ApiQuery(query): ApiQuery<PlaybackQuery>,
) -> Result<Json<PlaybackReport>, Problem> {
    caller.must(Scope::Report)?;
    if caller.account.snapshot.line(&id).is_none() {
        return Err(Problem::new(ProblemKind::NotFound, format!("There is no campaign {id}.")));
    }
    let to = query.to.unwrap_or_else(|| app.engine.clock.now().0.div_euclid(86_400_000));
    let from = query.from.unwrap_or(to - 6);
    if !(0..MOST_DAYS).contains(&(to - from)) {
        let detail = format!("must be at most {MOST_DAYS} days from the first to the last, in this order");
        return Err(Problem::invalid(vec![Violation::new("/to", "out_of_range", detail)]));
    }
    let bounded = |day: i64| i32::try_from(day).unwrap_or(i32::MAX);
    let tallies = app.engine.archive.tallies(&caller.account, id.clone(), bounded(from)..=bounded(to)).await?;
    let mut creatives = BTreeMap::<CreativeId, Playback>::new();
    for tally in tallies {
        creatives.entry(tally.creative).or_default().add(tally.kind, tally.count);
    }
    let creatives = creatives.into_iter().map(|(creative, counted)| Playback {
        creative: Some(creative),
        completion_rate: (counted.starts > 0).then(|| counted.completes as f64 / counted.starts as f64),
        ..counted
    });
    Ok(Json(PlaybackReport { campaign: id, creatives: creatives.collect() }))
}
