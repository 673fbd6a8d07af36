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
    ids::{AdvertiserId, CreativeId, PlacementId},
    values::{Format, Millis},
    violation::{Violation, Violations},
};

/// What the creatives of an account are judged beside, read once for all that are judged.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    advertisers: HashMap<AdvertiserId, AdvertiserDoc>,
    campaigns: Vec<(String, CampaignDoc)>,
    placements: HashMap<PlacementId, PlacementDoc>,
    drafts: HashMap<CreativeId, Vec<Shape>>,
    /// By creative the campaigns that show it, by their positions.
    showing: HashMap<CreativeId, Vec<usize>>,
    /// By creative the placements whose house creative it is.
    houses: HashMap<CreativeId, Vec<PlacementId>>,
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
    /// Advertisers, campaigns by their ids, placements, and what the drafts of creatives can be shown as.
    #[must_use]
    pub fn new(
        advertisers: HashMap<AdvertiserId, AdvertiserDoc>,
        campaigns: Vec<(String, CampaignDoc)>,
        placements: HashMap<PlacementId, PlacementDoc>,
        drafts: HashMap<CreativeId, Vec<Shape>>,
    ) -> Self {
        let mut showing: HashMap<_, Vec<_>> = HashMap::new();
        for (at, (_, campaign)) in campaigns.iter().enumerate() {
            let shown: BTreeSet<_> = campaign.creatives.iter().chain(&campaign.default_creative).collect();
            shown.into_iter().for_each(|id| showing.entry(id.clone()).or_default().push(at));
        }
        let mut houses: HashMap<_, Vec<_>> = HashMap::new();
        for (placement, doc) in &placements {
            doc.house_creative.iter().for_each(|id| houses.entry(id.clone()).or_default().push(placement.clone()));
        }
        houses.values_mut().for_each(|placements| placements.sort());
        Self { advertisers, campaigns, placements, drafts, showing, houses }
    }

    /// The campaigns that show a creative.
    pub(super) fn showing(&self, id: &CreativeId) -> impl Iterator<Item = &(String, CampaignDoc)> {
        self.showing.get(id).into_iter().flatten().map(|at| &self.campaigns[*at])
    }

    /// Why a creative may not be published: nothing in the result means that it may.
    ///
    /// - `unsatisfiable`: no choice of a component for every slot is legal under the pairing rules.
    ///   Slots without a component that may still be shown count by their defaults.
    /// - `size_mismatch`: a campaign that shows it serves on a registered placement, and neither this
    ///   creative nor the draft of any other of the campaign has a template for one of its sizes and
    ///   formats; or it is the house creative of a placement that it does not fit. Campaigns that are
    ///   archived or over do not count.
    /// - `landing_host_not_allowed`: see [`links::refused`].
    #[must_use]
    pub fn refusals(&self, creative: &Creative, doc: &RevisionDoc, now: Millis) -> Vec<Violation> {
        let mut found = Violations::new();
        if filled(creative, now).is_some_and(|possible| possible.iter().any(|slot| slot.is_empty())) {
            let detail = "no choice of a component for every slot is legal: some slot always shows its default";
            found.push("/creative/pairing", "unsatisfiable", detail);
        }
        for unfit in self.unfit(creative, now).into_iter().filter(|unfit| !unfit.covered) {
            found.push("/creative/templates", "size_mismatch", unfit.detail());
        }
        let advertiser = self.advertisers.get(&doc.creative.advertiser);
        let strange = advertiser.map(|advertiser| links::refused(creative, doc, advertiser));
        found.extend_under("", strange.into_iter().flatten());
        found.into_vec()
    }

    /// Placements that the creative has no template for.
    pub(super) fn unfit<'a>(&'a self, creative: &Creative, now: Millis) -> Vec<Unfit<'a>> {
        let shapes: Vec<Shape> = creative.shapes().collect();
        let mut found = Vec::new();
        for (id, campaign) in self.showing(&creative.id) {
            if campaign.status == CampaignStatus::Archived || campaign.flight.end.is_some_and(|end| end <= now) {
                continue;
            }
            for (placement, doc) in campaign.placements.iter().filter_map(|id| self.placements.get_key_value(id)) {
                if !fits(&shapes, doc) {
                    let others = campaign.creatives.iter().filter(|other| **other != creative.id);
                    let covered = others.filter_map(|other| self.drafts.get(other)).any(|shapes| fits(shapes, doc));
                    found.push(Unfit { placement, sizes: sizes(doc), campaign: Some(id), covered });
                }
            }
        }
        let houses = self.houses.get(&creative.id).into_iter().flatten();
        let houses = houses.filter_map(|id| self.placements.get_key_value(id)).filter(|(_, doc)| !fits(&shapes, doc));
        let house = |(placement, doc)| Unfit { placement, sizes: sizes(doc), campaign: None, covered: false };
        found.extend(houses.map(house));
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
