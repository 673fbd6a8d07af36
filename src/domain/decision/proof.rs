//! What a creative may show, before anybody sees it: to anybody, or to one persona.

use std::sync::Arc;

use crate::domain::{
    catalog::{
        creative::{Component, Creative},
        snapshot::Snapshot,
    },
    creative::Pairing,
    decision::{
        choose::{Manner, exclusion},
        decided::{Item, Showing},
        explanation::Reason,
        goods::{Goods, Picked},
        standing::FallbackLevel,
    },
    ids::DecisionId,
    values::{Millis, Size},
};

/// Per slot the components that somebody may see some time from `now` on; the default where there
/// are none.
#[must_use]
pub fn options(creative: &Creative, now: Millis) -> Vec<Vec<u32>> {
    offered(creative, |component| component.active && component.end.is_none_or(|end| now < end))
}

/// Per slot the components that compete for a persona: the eligible ones in the closest language,
/// as in a decision; the default where there are none.
pub fn options_for(
    creative: &Creative,
    manner: &Manner<'_>,
    mut meets: impl FnMut(&Component) -> bool,
) -> Vec<Vec<u32>> {
    let closeness = |component: &Component| {
        component.locale.as_ref().and_then(|locale| locale.serves(manner.language?)).unwrap_or_default()
    };
    let mut options = offered(creative, |component| exclusion(component, manner, &mut meets).is_none());
    for slot in &mut options {
        let of = |at: &u32| creative.components.get(*at as usize).map_or(0, closeness);
        let closest = slot.iter().map(of).max();
        slot.retain(|at| Some(of(at)) == closest);
    }
    options
}

fn offered(creative: &Creative, mut may: impl FnMut(&Component) -> bool) -> Vec<Vec<u32>> {
    let of_slot = creative.slots.iter().map(|slot| {
        let own = slot.candidates.iter().copied().filter(|at| may(&creative.components[*at as usize]));
        let own: Vec<u32> = own.collect();
        if own.is_empty() { vec![Pairing::DEFAULT] } else { own }
    });
    of_slot.collect()
}

/// Every component of each slot, whoever may see it, and the default: all that could ever stand there.
#[must_use]
pub fn everything(creative: &Creative) -> Vec<Vec<u32>> {
    creative.slots.iter().map(|slot| slot.candidates.iter().copied().chain([Pairing::DEFAULT]).collect()).collect()
}

/// A combination, given by an option per slot, as a decision holds it.
#[must_use]
pub fn choice(creative: &Creative, chosen: &[u32]) -> Vec<Option<u16>> {
    creative.choice(chosen)
}

/// The products of feeds that a creative would show to somebody of whom nothing is known.
#[must_use]
pub fn picked(creative: &Creative, variant: usize, snapshot: &Snapshot, now: Millis) -> Vec<Picked> {
    Goods { snapshot, profile: None, recorded: None, now }.of(creative, variant, |_| false)
}

/// A combination as a decision at `now` would show it; never counted. `chosen` has an option per
/// slot.
#[must_use]
pub fn item(creative: &Arc<Creative>, variant: usize, size: Option<Size>, chosen: &[u32], now: Millis) -> Item {
    let shown = Showing {
        choice: choice(creative, chosen),
        reason: Reason::Preview,
        ..Showing::of_defaults(None, Arc::clone(creative), variant, size)
    };
    Item {
        // all combinations of a proof are one decision that nobody made
        id: DecisionId(uuid::Builder::from_unix_timestamp_millis(now.0.max(0).unsigned_abs(), &[0; 10]).into_uuid()),
        shown: Some(shown),
        fallback: FallbackLevel::Contextual,
        degraded: Vec::new(),
        missed: None,
    }
}
