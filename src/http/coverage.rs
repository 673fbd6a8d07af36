//! What serves where, to whom and when, before anybody asks.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{app::App, auth::Caller, extract::ApiQuery, problem::Problem};
use crate::{
    domain::{
        access::Scope,
        catalog::snapshot::Snapshot,
        decision::coverage::{Cell, Serving, changes, stretches},
        ids::{CampaignId, CreativeId, PlacementId, SegmentKey},
        values::{Format, Locale, Millis, Size},
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
/// The most times that a campaign is asked.
const MOST: u64 = 3_000_000;

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
/// flights and dayparts do. Frequency caps count as not reached, and what a request says besides its
/// language is taken as unknown. Warns of active campaigns that serve in none of the cells. Needs a key
/// with the scope `author` or `report`.
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
    let made = tokio::task::spawn_blocking(move || look(&snapshot, &cells, from, to, query.uncovered)).await;
    made.map_err(Problem::internal)?.map(Json)
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
    let listed = |list: &Option<String>| -> Vec<String> {
        list.iter()
            .flat_map(|list| list.split(','))
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect()
    };
    let mut languages = vec![None];
    for text in listed(&query.languages) {
        match text.parse::<Locale>() {
            Ok(language) => languages.push(Some(language)),
            Err(error) => faults.push("/languages", "invalid_language", format!("{text}: {error}")),
        }
    }
    let mut segments = vec![None];
    for text in listed(&query.segments) {
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
    from: Millis,
    to: Millis,
    only_uncovered: bool,
) -> Result<CoverageAnswer, Problem> {
    let changes = changes(snapshot, from, to);
    let asked = [cells.len(), changes.len(), snapshot.lines.len()]
        .iter()
        .fold(1_u64, |all, part| all.saturating_mul(*part as u64));
    if asked > MOST {
        let detail = "these are too many cells at once: ask for one placement, fewer segments or a shorter time";
        return Err(Problem::invalid(vec![Violation::new("", "too_many_cells", detail)]));
    }
    let (mut found, mut uncovered) = (Vec::new(), 0);
    let (mut serves, mut waits) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for cell in cells {
        for stretch in stretches(snapshot, cell, &changes, to) {
            waits.extend(stretch.outranked.iter().cloned());
            let (status, campaigns, house) = match stretch.serving {
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
                from: stretch.from,
                to: stretch.to,
                status,
                campaigns,
                house,
                outranked: stretch.outranked,
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
