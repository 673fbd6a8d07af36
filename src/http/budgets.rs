//! How the budgets of campaigns stand.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    extract::ApiPath,
    problem::{Problem, ProblemKind},
};
use crate::{
    domain::{
        access::Scope,
        ids::CampaignId,
        values::{Amount, Currency, Millis},
    },
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(budget))
}

problems!(pub BudgetProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Invalid, Overloaded]);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Named {
    /// The campaign.
    #[param(value_type = String, example = "spring")]
    id: CampaignId,
}

/// How the budget of a campaign that bids by itself stands. Amounts are cut off at the millionth.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CampaignBudget, example = json!({"campaign": "spring", "currency": "USD", "daily": "50", "total": "1000",
    "spent_today": "20.4", "spent_total": "310.25", "impressions_today": 8160, "held": "0.125", "due_today": "20.83",
    "won_share": 0.08, "replicas": 2, "day": "2026-11-22", "resets_at": "2026-11-23T00:00:00.000Z",
    "state_age_ms": 412, "bidding": true}))]
struct BudgetAnswer {
    /// The campaign.
    campaign: CampaignId,
    /// The currency of all amounts.
    currency: Currency,
    /// The most on a day.
    daily: Amount,
    /// The most at all; left out: there is no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<Amount>,
    /// What was billed of the day's bids.
    spent_today: Amount,
    /// What was billed at all since there is a budget.
    spent_total: Amount,
    /// Impressions billed of the day's bids.
    impressions_today: i64,
    /// What replicas may bid by now and have bid that may yet be billed.
    held: Amount,
    /// What would be spent by now if the day were spent evenly.
    due_today: Amount,
    /// How much of what was bid today came to be billed; 1 until enough was bid to tell.
    won_share: f64,
    /// How many replicas have bid lately, this one included.
    replicas: i64,
    /// The day, in the campaign's time zone.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    day: String,
    /// When the next one begins.
    resets_at: Millis,
    /// How old this is; bids of its own end at 60,000. Left out: this replica has not asked yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_age_ms: Option<u64>,
    /// Whether this replica bids for it now, as far as money goes.
    bidding: bool,
}

/// Show a campaign's budget
///
/// What was spent today and at all, how the pace stands, and how old that is, as this replica knows it. Spending is
/// counted from `burl`, each bid once, on the day of the bid. Replicas share a budget by leases that are renewed each
/// second; a bid counts as spent for 60 seconds, until it is billed or lost, so a budget is exceeded only by what is
/// billed later than that after its bid. Needs a key with the scope `author` or `report`.
#[utoipa::path(
    get, path = "/v1/campaigns/{id}/budget", tag = "campaigns", operation_id = "get_campaign_budget", params(Named),
    security(("key" = [])),
    responses((status = 200, description = "How it stands.", body = BudgetAnswer), BudgetProblems)
)]
async fn budget(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Named { id }): ApiPath<Named>,
) -> Result<Json<BudgetAnswer>, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let snapshot = &caller.account.snapshot;
    let missing = |what: &str| Problem::new(ProblemKind::NotFound, format!("There is no {what} {id}."));
    let campaign = &snapshot.lines[snapshot.line(&id).ok_or_else(|| missing("campaign"))?].campaign;
    let budget = campaign.budget.ok_or_else(|| missing("budget of the campaign"))?;
    let known = app.engine.spending.state(caller.account.number(), campaign);
    let today = campaign.flight.day(app.engine.clock.now());
    let amount = |billionths: i64| Amount::from_micros(billionths / 1_000);
    let spent = known.map(|state| state.spent).unwrap_or_default();
    let price = campaign.cpm.map_or(0, |cpm| crate::domain::catalog::budget::cost(cpm.amount));
    let day = known.map_or(today.number, |state| state.day);
    Ok(Json(BudgetAnswer {
        currency: budget.currency,
        daily: amount(budget.daily),
        total: budget.total.map(amount),
        spent_today: amount(spent.day),
        spent_total: amount(spent.total),
        impressions_today: spent.impressions,
        held: amount(spent.held_day),
        due_today: amount(today.share_of(budget.daily)),
        won_share: spent.won(spent.held_day, price) as f64 / 1e6,
        replicas: spent.replicas,
        day: Millis(i64::from(day) * 86_400_000).to_string().chars().take(10).collect(),
        resets_at: known.map_or(Millis(today.hours.end), |state| state.resets_at),
        state_age_ms: known.map(|state| state.age_ms),
        bidding: known.is_some_and(|state| state.bids),
        campaign: id,
    }))
}
