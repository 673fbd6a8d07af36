//! Combinations that exchanges review one by one.

use std::{collections::BTreeMap, num::NonZeroU32};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::ReadProblems;
use crate::{
    domain::{
        access::Scope,
        catalog::{
            audit::AuditState,
            document::RevisionDoc,
            key::{DocumentKey, Kind},
            listed::Withdrawn,
            reviewed::CombinationDoc,
        },
        ids::{CreativeId, ExchangeId},
        openrtb::Granularity,
        values::{Format, Size},
    },
    http::{
        app::App,
        auth::Caller,
        extract::{ApiPath, ApiQuery},
        page::{Limit, Offset},
        problem::{Problem, ProblemKind},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Reviewer {
    /// The creative.
    creative: CreativeId,
    /// The exchange.
    exchange: ExchangeId,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReviewQuery {
    /// A revision; left out: the one that serves.
    #[param(required = false, value_type = u32, minimum = 1)]
    revision: Option<NonZeroU32>,
    /// How many items at most.
    #[serde(default)]
    #[param(inline, required = false)]
    limit: Limit,
    /// How many items to skip: `next` of the page before.
    #[serde(default)]
    #[param(inline, required = false)]
    after: Offset,
}

/// What an exchange is to review of a creative.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "creative": "spring-hero", "exchange": "adx", "revision": 3, "items": [{
        "crid": "114d8cbe743f2c1fa8c9bc19020296e1", "template": "box", "format": "html", "size": "300x250",
        "components": {"headline": "h-1", "hero": null}, "audit": {"status": 3}, "bid": true,
        "render_url": "https://ads.example/v1/creatives/spring-hero/audit/114d8cbe743f2c1fa8c9bc19020296e1"
    }]
}))]
struct ReviewAnswer {
    /// The creative.
    creative: CreativeId,
    /// The exchange.
    exchange: ExchangeId,
    /// The revision.
    revision: u32,
    /// The combinations in the order in which they were chosen, template by template; none where no exchange
    /// reviewed combinations when it was published: publish it again.
    items: Vec<ReviewItem>,
    /// Send it as `after` to read on; left out at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A combination to review.
#[derive(Debug, Serialize, ToSchema)]
struct ReviewItem {
    /// Names its content, as bids do.
    crid: String,
    /// The template.
    template: String,
    /// What the markup is.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    /// The size, where the template has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<Size>,
    /// Per slot the component; `null` for the default.
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    components: BTreeMap<String, Option<String>>,
    /// Per slot that is filled from a feed the products that it shows, whatever the feed holds now.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Value>)]
    products: BTreeMap<String, Value>,
    /// What the exchange says of it; left out where it has said nothing, as where it was never sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<AuditState>,
    /// Why it is not bid for now, whatever the exchange says.
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawn: Option<Withdrawn>,
    /// Whether it is among what is bid to the exchange.
    bid: bool,
    /// Where its auditor sees it; with a key.
    render_url: String,
}

/// List what an exchange is to review
///
/// The combinations of a revision that were chosen when it was published, at most `openrtb.max_combinations` of each
/// template: with every default, up to half in which every two components stand together that may, then by weight. Only
/// these are bid to exchanges whose `crid` is a combination; where the exchange is one that takes only what it has
/// approved, only those with the states 2 and 3. Products of feeds stay as they were; where the feed says something
/// else of one by now, the combination is `withdrawn` until it says the same again; so it is while a component of it is
/// held back or does not run.
///
/// Needs a key with the scope `author` or `report`.
#[utoipa::path(
    get, path = "/v1/creatives/{creative}/audits/{exchange}/combinations", tag = "creatives",
    operation_id = "list_reviewed_combinations", params(Reviewer, ReviewQuery), security(("key" = [])),
    responses((status = 200, description = "A page.", body = ReviewAnswer), ReadProblems)
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Reviewer { creative, exchange }): ApiPath<Reviewer>,
    ApiQuery(query): ApiQuery<ReviewQuery>,
) -> Result<Json<ReviewAnswer>, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let snapshot = &caller.account.snapshot;
    let serving = snapshot.creatives.get(&creative);
    let Some(revision) = query.revision.map(NonZeroU32::get).or(serving.map(|serving| serving.revision)) else {
        return Err(Problem::new(ProblemKind::NotFound, format!("no revision of creative {creative} serves")));
    };
    let key = DocumentKey::new(Kind::Revision, format!("{creative}/{revision}"));
    let row = app.engine.authoring.get(caller.account.number(), key).await?;
    let doc: RevisionDoc = serde_json::from_value(row.body).map_err(Problem::internal)?;
    let (settings, now) = (app.bidding.settings(), app.engine.clock.now());
    let reviews = settings.granularity(Some(&exchange)) == Granularity::Combination;
    let demands = settings.audited.contains(&exchange);
    let audit = snapshot.audits.get(&creative).and_then(|audits| audits.get(&exchange));
    let item = |of: &CombinationDoc| {
        let template = doc.templates.get(&of.template);
        let slots = template.into_iter().flat_map(|template| template.slots.keys());
        let component = |slot| (slot, of.components.get(slot).map(ToString::to_string));
        let serving = serving.filter(|serving| serving.revision == revision);
        let withdrawn =
            serving.map_or(Some(Withdrawn::NotServing), |serving| snapshot.listed.withdrawn(serving, &of.crid, now));
        let passes = !demands || audit.is_some_and(|audit| audit.serves(&of.crid));
        ReviewItem {
            template: of.template.to_string(),
            format: template.map(|template| template.format),
            size: template.and_then(|template| template.size),
            components: slots.map(component).map(|(slot, component)| (slot.to_string(), component)).collect(),
            products: of.values.iter().map(|(slot, value)| (slot.to_string(), value.clone())).collect(),
            audit: audit.and_then(|audit| audit.crids.get(&of.crid)).cloned(),
            withdrawn,
            bid: reviews && passes && withdrawn.is_none(),
            render_url: format!("{}/v1/creatives/{creative}/audit/{}", app.engine.catalogue.public_url(), of.crid),
            crid: of.crid.clone(),
        }
    };
    let (from, limit) = (query.after.0 as usize, query.limit.0 as usize);
    let items: Vec<ReviewItem> = doc.combinations.iter().skip(from).take(limit).map(item).collect();
    let next =
        (from + items.len() < doc.combinations.len() && !items.is_empty()).then(|| (from + items.len()).to_string());
    Ok(Json(ReviewAnswer { creative, exchange, revision, items, next }))
}
