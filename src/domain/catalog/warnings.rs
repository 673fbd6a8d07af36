//! What keeps parts of a creative from ever being shown, or a click from counting, though the
//! creative can be published.

use std::collections::HashMap;

use super::{
    creative::Creative,
    document::{CampaignDoc, CampaignStatus, RevisionDoc},
    snapshot::Placement,
};
use crate::domain::{
    audience::{lint::never, rule::Targeting},
    creative::{ComponentStatus, Pairing},
    ids::PlacementId,
    values::{Format, Millis},
    violation::{Violation, Violations, token},
};

/// Components of a slot of which what works can be learned.
pub const MOST_LEARNED: usize = 1_024;

/// What an author should look at, with pointers into the revision. `campaigns` are those that show
/// the creative.
#[must_use]
pub fn warnings<'a>(
    creative: &Creative,
    doc: &RevisionDoc,
    campaigns: impl Iterator<Item = (&'a str, &'a CampaignDoc)>,
    placements: &HashMap<PlacementId, Placement>,
    now: Millis,
) -> Vec<Violation> {
    let mut found = Violations::new();
    dead(creative, &mut found);
    alike(doc, now, &mut found);
    gaps(creative, now, &mut found);
    for slot in creative.slots.iter().filter(|slot| slot.candidates.len() > MOST_LEARNED) {
        let (name, count, most) = (&slot.name, slot.candidates.len(), MOST_LEARNED);
        let detail =
            format!("slot {name} has {count} components; where rotation is optimized, {most} of them are shown");
        found.push("/components", "too_many_components", detail);
    }
    for (at, variant) in creative.variants.iter().enumerate() {
        if variant.shape.0 == Format::Html && !variant.template.counts_clicks() {
            let detail = format!("template {} has no {{{{click_url}}}}, so no click on it is counted", variant.id);
            found.push(format!("/creative/templates/{at}"), "missing_click_url", detail);
        }
    }
    let mut listed = false;
    for (id, campaign) in campaigns.filter(|(_, campaign)| campaign.status != CampaignStatus::Archived) {
        listed = true;
        for (name, placement) in campaign.placements.iter().filter_map(|id| Some((id, placements.get(id)?))) {
            if creative.variant(&placement.formats, &placement.sizes).is_none() {
                let sizes: Vec<_> = placement.sizes.iter().map(ToString::to_string).collect();
                let detail =
                    format!("campaign {id} serves on placement {name} ({}), which no template fits", sizes.join(", "));
                found.push("/creative/templates", "size_mismatch", detail);
            }
        }
    }
    if !listed {
        found.push("", "in_no_campaign", "no campaign shows it yet");
    }
    found.into_vec()
}

/// Components that the pairing rules never allow, and slots that they leave to the defaults.
fn dead(creative: &Creative, found: &mut Violations) {
    let candidates: Vec<Vec<u32>> =
        creative.slots.iter().map(|slot| slot.candidates.iter().copied().chain([Pairing::DEFAULT]).collect()).collect();
    let filled: Vec<Vec<u32>> = creative
        .slots
        .iter()
        .map(|slot| if slot.candidates.is_empty() { vec![Pairing::DEFAULT] } else { slot.candidates.clone() })
        .collect();
    if creative.pairing.satisfiable(&filled) == Some(false) {
        let detail = "no choice of a component for every slot is legal: some slot always shows its default";
        found.push("/creative/pairing", "unsatisfiable", detail);
    }
    for (at, component) in creative.components.iter().enumerate() {
        // only rules that name its slot can speak against it
        if creative.pairing.is_empty() || !creative.pairing.names(component.slot) {
            continue;
        }
        let only = |all: &[Vec<u32>]| {
            let mut only = all.to_vec();
            only[component.slot] = vec![at as u32];
            only
        };
        let pointer = format!("/components/{}", token(component.id.as_str()));
        if creative.pairing.satisfiable(&only(&candidates)) == Some(false) {
            found.push(pointer, "dead_component", format!("the pairing rules never allow component {}", component.id));
        } else if creative.pairing.satisfiable(&only(&filled)) == Some(false) {
            let detail =
                format!("the pairing rules allow component {} only beside the default of another slot", component.id);
            found.push(pointer, "only_beside_defaults", detail);
        }
    }
}

/// Components that can never be shown by themselves, and those that say the same as another.
fn alike(doc: &RevisionDoc, now: Millis, found: &mut Violations) {
    let mut seen = HashMap::new();
    for (id, component) in &doc.components {
        let pointer = format!("/components/{}", token(id.as_str()));
        if component.status == ComponentStatus::Paused {
            continue;
        }
        if component.flight.and_then(|flight| flight.end).is_some_and(|end| end <= now) {
            found.push(&pointer, "expired_component", format!("the flight of component {id} is over"));
            continue;
        }
        let node = component.targeting.as_ref().and_then(|targeting| Targeting::parse(targeting).ok());
        if node.is_some_and(|node| never(&node)) {
            found.push(
                format!("{pointer}/targeting"),
                "never_true",
                format!("nobody can ever meet the targeting of {id}"),
            );
        }
        let shown = (
            component.slot.as_str(),
            component.value.to_string(),
            component.targeting.as_ref().map(ToString::to_string),
            component.locale.as_ref().map(|locale| locale.as_str()),
        );
        if let Some(first) = seen.insert(shown, id) {
            found.push(
                pointer,
                "same_component",
                format!("component {id} shows the same to the same people as {first}"),
            );
        }
    }
}

/// Times at which a slot with components has none in flight.
fn gaps(creative: &Creative, now: Millis, found: &mut Violations) {
    for slot in &creative.slots {
        let flights = slot.candidates.iter().map(|at| &creative.components[*at as usize]).filter(|one| one.active);
        let mut flights: Vec<(Millis, Millis)> = flights
            .map(|one| (one.start.unwrap_or(now), one.end.unwrap_or(Millis::NEVER)))
            .filter(|(_, end)| *end > now)
            .collect();
        flights.sort_unstable();
        let mut covered = now;
        for (start, end) in flights {
            if start > covered {
                let detail = format!("between {covered} and {start} no component of slot {} is in flight", slot.name);
                found.push("/components", "flight_gap", detail);
            }
            covered = covered.max(end);
        }
        if covered > now && covered < Millis::NEVER {
            let detail = format!("from {covered} on no component of slot {} is in flight", slot.name);
            found.push("/components", "flight_ends", detail);
        }
    }
}
