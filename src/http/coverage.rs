//! What serves where, to whom and when, before anybody asks.

use std::ops::Range;

use axum::{Json, extract::State};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{app::App, auth::Caller, extract::ApiQuery, problem::Problem, said};
use crate::{
    domain::{
        access::Scope,
        audience::{context::Context, value::Folded},
        catalog::snapshot::{Line, Snapshot},
        decision::coverage::{Cell, Circumstances, Found, Serving, Stretch, changes, stretches},
        ids::{CampaignId, CreativeId, PlacementId, SegmentKey},
        values::{Country, Format, Locale, Millis, Size},
        violation::{Violation, Violations},
    },
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(coverage))
}

problems!(CoverageProblems = [BadRequest, Unauthorized, Forbidden, Invalid, Overloaded, StoreUnavailable]);

const DAY: i64 = 86_400_000;
/// The longest time that is looked at, in ms.
const LONGEST: i64 = 92 * DAY;
/// What asking a campaign costs, in components that are looked at.
const LINE: usize = 16;
/// The most components that are looked at.
const MOST: u64 = 50_000_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CoverageQuery {
    /// One placement; left out: all that are registered.
    #[param(value_type = String, required = false)]
    placement: Option<PlacementId>,
    /// Languages of readers with commas between; a reader of none is always looked at.
    #[param(required = false, example = "de,de-CH,en")]
    languages: Option<String>,
    /// Segments with commas between, each for somebody who is in no other; somebody in none is always
    /// looked at.
    #[param(required = false, example = "young-buyers,members")]
    segments: Option<String>,
    /// From when; left out: now.
    #[param(inline, required = false)]
    from: Option<Millis>,
    /// Until when, at most 92 days later; left out: a week later.
    #[param(inline, required = false)]
    to: Option<Millis>,
    /// In which country people are; left out: not known.
    #[param(inline, required = false)]
    country: Option<Country>,
    /// In which region.
    #[param(required = false, example = "BE")]
    region: Option<String>,
    /// In which city.
    #[param(required = false, example = "Berlin")]
    city: Option<String>,
    /// On what kind of device.
    #[param(required = false, example = "mobile")]
    device: Option<String>,
    /// What the page is about, with commas between.
    #[param(required = false, example = "running,shoes")]
    keywords: Option<String>,
    /// What requests say as `data.*`: names with their values, with commas between.
    #[param(required = false, example = "weather:rain,members:true")]
    data: Option<String>,
    /// The IANA time zone of the requests, for rules on the hour and the day; left out: UTC.
    #[param(required = false, example = "Europe/Berlin")]
    time_zone: Option<String>,
    /// Only what nothing covers.
    #[serde(default)]
    #[param(required = false, default = false)]
    uncovered: bool,
}

/// What serves in every cell.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"version": 42, "from": "2026-11-22T00:00:00.000Z", "to": "2026-11-29T00:00:00.000Z",
    "cells": [{"placement": "home-top", "format": "html", "size": "300x250", "language": "de", "from": "2026-11-22T00:00:00.000Z",
        "to": "2026-11-29T00:00:00.000Z", "status": "covered", "campaigns": [{"campaign": "spring", "creatives": ["spring-hero"]}]}],
    "uncovered": 0, "warnings": []}))]
struct CoverageAnswer {
    /// The catalogue version it is true of.
    version: i64,
    /// From when.
    from: Millis,
    /// Until when.
    to: Millis,
    /// What serves in each cell, stretch by stretch.
    cells: Vec<CoverageCell>,
    /// How many stretches nothing covers.
    uncovered: usize,
    /// Active campaigns that serve in none of these cells, with why.
    warnings: Vec<Violation>,
}

/// How well a cell is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CoverageStatus {
    /// A campaign serves.
    Covered,
    /// No campaign may; the house creative stands in.
    House,
    /// Nothing serves.
    Uncovered,
}

/// A placement's size, a language and a segment, for a while.
#[derive(Debug, Serialize, ToSchema)]
struct CoverageCell {
    /// The placement.
    placement: PlacementId,
    /// The format.
    format: Format,
    /// The size.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<Size>,
    /// The reader's language; left out: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<Locale>,
    /// The only segment that the person is in; left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    segment: Option<SegmentKey>,
    /// First instant.
    from: Millis,
    /// The instant after the last.
    to: Millis,
    /// How well it is covered.
    status: CoverageStatus,
    /// The campaigns among which it is drawn by weight, with their creatives that fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    campaigns: Vec<CoverageCampaign>,
    /// Of these creatives those that have components, but none for this reader: only defaults show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    only_defaults: Vec<CreativeId>,
    /// The house creative that stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    house: Option<CreativeId>,
    /// Campaigns that may serve too, but are in a later tier.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outranked: Vec<CampaignId>,
}

/// A campaign in a cell.
#[derive(Debug, Serialize, ToSchema)]
struct CoverageCampaign {
    /// The campaign.
    campaign: CampaignId,
    /// Its creatives that fit.
    creatives: Vec<CreativeId>,
}

/// Show what serves where
///
/// For each size of each registered placement, each language and each segment asked about: which
/// creatives serve, from when until when, told by the code that decides. Stretches begin and end where
/// flights and dayparts do, those of components too, and with the hours where anything is targeted by
/// them. Frequency caps count as not reached, and what a request says besides its language and what
/// is asked here is taken as unknown. Warns of active campaigns that serve in none of the cells. Needs
/// a key with the scope `author` or `report`.
#[utoipa::path(
    get, path = "/v1/coverage", tag = "campaigns", operation_id = "get_coverage", params(CoverageQuery),
    security(("key" = [])),
    responses((status = 200, description = "What serves.", body = CoverageAnswer), CoverageProblems)
)]
async fn coverage(
    State(app): State<App>,
    caller: Caller,
    ApiQuery(query): ApiQuery<CoverageQuery>,
) -> Result<Json<CoverageAnswer>, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let from = query.from.unwrap_or_else(|| app.engine.clock.now());
    let to = query.to.unwrap_or(from.plus(7 * DAY));
    let snapshot = caller.account.snapshot.clone();
    let cells = cells(&snapshot, &query, from, to)?;
    let beside = query.circumstances()?;
    let made = tokio::task::spawn_blocking(move || look(&snapshot, &cells, &beside, from..to, query.uncovered)).await;
    made.map_err(Problem::internal)?.map(Json)
}

impl CoverageQuery {
    fn circumstances(&self) -> Result<Circumstances, Problem> {
        let mut faults = Violations::new();
        let zone = match &self.time_zone {
            None => Some(TimeZone::UTC),
            Some(name) => TimeZoneDatabase::bundled().get(name).ok(),
        };
        if zone.is_none() {
            faults.push("/time_zone", "unknown_time_zone", "must be an IANA time zone such as America/New_York");
        }
        let data = faults.keep("/data", said::pairs(self.data.as_deref().unwrap_or_default()));
        faults.into_result().map_err(Problem::invalid)?;
        let folded = |text: &Option<String>| text.as_deref().map(Folded::new);
        let context = Context {
            country: self.country,
            region: folded(&self.region),
            city: folded(&self.city),
            device: folded(&self.device),
            keywords: said::listed(self.keywords.as_deref()).map(Folded::new).collect(),
            data: data.unwrap_or_default(),
            ..Context::default()
        };
        Ok(Circumstances { context, zone: zone.unwrap_or(TimeZone::UTC) })
    }
}

/// The cells that are asked about.
fn cells(snapshot: &Snapshot, query: &CoverageQuery, from: Millis, to: Millis) -> Result<Vec<Cell>, Problem> {
    let mut faults = Violations::new();
    if to <= from || to.0.saturating_sub(from.0) > LONGEST {
        faults.push("/to", "out_of_range", "must be later than from, by at most 92 days");
    }
    if let Some(placement) = query.placement.as_ref().filter(|id| !snapshot.placements.contains_key(*id)) {
        faults.push("/placement", "unknown_placement", format!("no placement {placement} is registered"));
    }
    let mut languages = vec![None];
    for text in said::listed(query.languages.as_deref()) {
        match text.parse::<Locale>() {
            Ok(language) => languages.push(Some(language)),
            Err(error) => faults.push("/languages", "invalid_language", format!("{text}: {error}")),
        }
    }
    let mut segments = vec![None];
    for text in said::listed(query.segments.as_deref()) {
        match text.parse::<SegmentKey>().ok().and_then(|key| snapshot.rules.ix(&key)) {
            Some(ix) => segments.push(Some(ix)),
            None => faults.push("/segments", "unknown_segment", format!("there is no segment {text}")),
        }
    }
    faults.into_result().map_err(Problem::invalid)?;
    let mut placements: Vec<_> = snapshot.placements.iter().collect();
    placements.retain(|(id, _)| query.placement.as_ref().is_none_or(|wanted| wanted == *id));
    placements.sort_by(|a, b| a.0.cmp(b.0));
    let mut cells = Vec::new();
    for (id, placement) in placements {
        for format in &placement.formats {
            let sizes: Vec<Option<Size>> = match format {
                Format::Native | Format::Vast => vec![None],
                Format::Html => placement.sizes.iter().copied().map(Some).collect(),
            };
            for size in sizes {
                for language in &languages {
                    cells.extend(segments.iter().map(|segment| Cell {
                        placement: id.clone(),
                        format: *format,
                        size,
                        language: language.clone(),
                        segment: *segment,
                    }));
                }
            }
        }
    }
    Ok(cells)
}

fn look(
    snapshot: &Snapshot,
    cells: &[Cell],
    beside: &Circumstances,
    Range { start: from, end: to }: Range<Millis>,
    only_uncovered: bool,
) -> Result<CoverageAnswer, Problem> {
    let changes = changes(snapshot, &beside.zone, from, to);
    let components = |line: &Line| line.creatives.iter().map(|creative| creative.components.len()).sum::<usize>();
    let work = snapshot.lines.iter().map(|line| LINE + components(line)).sum();
    let asked = [cells.len(), changes.len(), work].iter().fold(1_u64, |all, part| all.saturating_mul(*part as u64));
    if asked > MOST {
        let detail = "these are too many cells at once: ask for one placement, fewer segments or a shorter time";
        return Err(Problem::invalid(vec![Violation::new("", "too_many_cells", detail)]));
    }
    let (mut found, mut uncovered) = (Vec::new(), 0);
    let (mut serves, mut waits) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for cell in cells {
        for Stretch { from, to, found: Found { serving, outranked, only_defaults } } in
            stretches(snapshot, cell, beside, &changes, to)
        {
            waits.extend(outranked.iter().cloned());
            let (status, campaigns, house) = match serving {
                Serving::Campaigns(campaigns) => {
                    serves.extend(campaigns.iter().map(|(campaign, _)| campaign.clone()));
                    let campaign = |(campaign, creatives)| CoverageCampaign { campaign, creatives };
                    (CoverageStatus::Covered, campaigns.into_iter().map(campaign).collect(), None)
                }
                Serving::House(house) => (CoverageStatus::House, Vec::new(), Some(house)),
                Serving::Nothing => (CoverageStatus::Uncovered, Vec::new(), None),
            };
            uncovered += usize::from(status == CoverageStatus::Uncovered);
            if only_uncovered && status != CoverageStatus::Uncovered {
                continue;
            }
            found.push(CoverageCell {
                placement: cell.placement.clone(),
                format: cell.format,
                size: cell.size,
                language: cell.language.clone(),
                segment: cell.segment.map(|ix| snapshot.rules.key(ix).clone()),
                from,
                to,
                status,
                campaigns,
                only_defaults,
                house,
                outranked,
            });
        }
    }
    let active = snapshot
        .lines
        .iter()
        .filter(|line| line.campaign.status == crate::domain::catalog::document::CampaignStatus::Active);
    let idle = active.map(|line| &line.campaign.id).filter(|id| !serves.contains(*id));
    let warning = |id: &CampaignId| {
        if waits.contains(id) {
            Violation::new(
                "",
                "shadowed",
                format!("campaign {id} may serve in some of these cells, but a higher tier always does"),
            )
        } else {
            Violation::new("", "serves_nowhere", format!("campaign {id} may serve in none of these cells"))
        }
    };
    let warnings = idle.map(warning).collect();
    Ok(CoverageAnswer { version: snapshot.version, from, to, cells: found, uncovered, warnings })
}
