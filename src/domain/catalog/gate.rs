//! The gate of publishing: what a creative must be beside compiling before it serves.

use std::collections::{BTreeSet, HashMap};

use super::{
    creative::Creative,
    document::{AdvertiserDoc, CampaignDoc, CampaignStatus, PlacementDoc, RevisionDoc},
    index::Shape,
    links,
};
use crate::domain::{
    creative::{Combinations, Pairing},
    ids::{CreativeId, PlacementId},
    values::{Format, Millis},
    violation::{Violation, Violations},
};

/// What a creative is judged beside.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Whose it is.
    pub advertiser: Option<AdvertiserDoc>,
    /// The campaigns that show it, by their ids.
    pub campaigns: Vec<(String, CampaignDoc)>,
    /// The placements of the account.
    pub placements: HashMap<PlacementId, PlacementDoc>,
    /// What the drafts of the other creatives of these campaigns can be shown as.
    pub others: HashMap<CreativeId, Vec<Shape>>,
}

/// A placement that a creative has no template for.
#[derive(Debug)]
pub(super) struct Unfit<'a> {
    pub(super) placement: &'a PlacementId,
    pub(super) sizes: String,
    /// The campaign that brings it there; none: it is the house creative.
    pub(super) campaign: Option<&'a str>,
    /// Whether another creative of the campaign has one.
    pub(super) covered: bool,
}

impl Surroundings {
    /// Why a creative may not be published: nothing in the result means that it may.
    ///
    /// - `unsatisfiable`: no choice of a component for every slot is legal under the pairing rules.
    ///   Slots without a component that may still be shown count by their defaults.
    /// - `size_mismatch`: a campaign that shows it serves on a registered placement, and neither this
    ///   creative nor the draft of any other of the campaign has a template for one of its sizes and
    ///   formats; or it is the house creative of a placement that it does not fit. Campaigns that are
    ///   archived or over do not count, and for a revision that comes back nothing of this does: it
    ///   would keep authors from going back.
    /// - `landing_host_not_allowed`: see [`links::refused`].
    #[must_use]
    pub fn refusals(&self, creative: &Creative, doc: &RevisionDoc, fresh: bool, now: Millis) -> Vec<Violation> {
        let mut found = Violations::new();
        if filled(creative, now).is_some_and(|possible| possible.iter().any(|slot| slot.is_empty())) {
            let detail = "no choice of a component for every slot is legal: some slot always shows its default";
            found.push("/creative/pairing", "unsatisfiable", detail);
        }
        for unfit in self.unfit(creative, now).into_iter().filter(|unfit| fresh && !unfit.covered) {
            found.push("/creative/templates", "size_mismatch", unfit.detail());
        }
        let strange = self.advertiser.as_ref().map(|advertiser| links::refused(creative, doc, advertiser));
        found.extend_under("", strange.into_iter().flatten());
        found.into_vec()
    }

    /// Placements that the creative has no template for.
    pub(super) fn unfit<'a>(&'a self, creative: &Creative, now: Millis) -> Vec<Unfit<'a>> {
        let shapes: Vec<Shape> = creative.shapes().collect();
        let mut found = Vec::new();
        for (id, campaign) in &self.campaigns {
            if campaign.status == CampaignStatus::Archived || campaign.flight.end.is_some_and(|end| end <= now) {
                continue;
            }
            for (placement, doc) in campaign.placements.iter().filter_map(|id| self.placements.get_key_value(id)) {
                if !fits(&shapes, doc) {
                    let mut others = campaign.creatives.iter().filter_map(|other| self.others.get(other));
                    let covered = others.any(|shapes| fits(shapes, doc));
                    found.push(Unfit { placement, sizes: sizes(doc), campaign: Some(id), covered });
                }
            }
        }
        let mut houses: Vec<_> = self.placements.iter().collect();
        houses.retain(|(_, doc)| doc.house_creative.as_ref() == Some(&creative.id) && !fits(&shapes, doc));
        houses.sort_by_key(|(placement, _)| *placement);
        let house = |(placement, doc)| Unfit { placement, sizes: sizes(doc), campaign: None, covered: false };
        found.extend(houses.into_iter().map(house));
        found
    }
}

impl Unfit<'_> {
    pub(super) fn detail(&self) -> String {
        let Self { placement, sizes, .. } = self;
        match self.campaign {
            Some(id) if self.covered => format!(
                "campaign {id} serves on placement {placement} ({sizes}), which no template fits: other creatives show there"
            ),
            Some(id) => format!(
                "campaign {id} serves on placement {placement} ({sizes}), which no template of its creatives fits"
            ),
            None => format!("it is the house creative of placement {placement} ({sizes}), which no template fits"),
        }
    }
}

/// Per slot the components that stand in a legal combination of whole slots, of those that may still be
/// shown; none where that cannot be told.
fn filled(creative: &Creative, now: Millis) -> Option<Vec<BTreeSet<u32>>> {
    let options = creative.slots.iter().map(|slot| {
        let may = |at: &u32| {
            let component = &creative.components[*at as usize];
            component.active && component.end.is_none_or(|end| now < end)
        };
        let own: Vec<u32> = slot.candidates.iter().copied().filter(may).collect();
        if own.is_empty() { vec![Pairing::DEFAULT] } else { own }
    });
    Combinations::possible(&creative.pairing, &options.collect::<Vec<_>>()).ok()
}

/// Whether one of some shapes can be shown on a placement, as [`Creative::variant`] finds it.
fn fits(shapes: &[Shape], placement: &PlacementDoc) -> bool {
    placement.formats.iter().any(|format| {
        shapes.contains(&(*format, None))
            || *format == Format::Html && placement.sizes.iter().any(|size| shapes.contains(&(*format, Some(*size))))
    })
}

fn sizes(placement: &PlacementDoc) -> String {
    let named = placement.formats.iter().filter_map(|format| match format {
        Format::Html => None,
        Format::Native => Some("native".to_owned()),
        Format::Vast => Some("vast".to_owned()),
    });
    let all: Vec<_> = placement.sizes.iter().map(ToString::to_string).chain(named).collect();
    all.join(", ")
}
