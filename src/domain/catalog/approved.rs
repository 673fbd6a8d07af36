//! Contents that exchanges have approved, as choices: a creative that can show nothing else.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use crate::domain::{
    catalog::{
        audit::{AuditDoc, crid},
        creative::{Creative, Creatives, Variant},
    },
    creative::Pairing,
    ids::{CreativeId, ExchangeId},
};

/// Creatives of which exchanges have approved some contents, restricted to these.
#[derive(Clone, Debug, Default)]
pub struct Approved(HashMap<CreativeId, HashMap<ExchangeId, Entry>>);

#[derive(Clone, Debug)]
struct Entry {
    creative: Arc<Creative>,
    audit: Arc<AuditDoc>,
    /// Per template.
    restricted: Vec<Option<Arc<Creative>>>,
}

impl Approved {
    /// A creative that shows of one of its templates only what an exchange has approved; none where
    /// it has approved no content of it.
    #[must_use]
    pub fn of(&self, creative: &CreativeId, exchange: &ExchangeId, variant: usize) -> Option<&Arc<Creative>> {
        self.0.get(creative)?.get(exchange)?.restricted.get(variant)?.as_ref()
    }

    /// The same for other creatives and audits; what did not change is taken over.
    #[must_use]
    pub(super) fn evolve(
        &self,
        creatives: &Creatives,
        audits: &BTreeMap<CreativeId, BTreeMap<ExchangeId, Arc<AuditDoc>>>,
    ) -> Self {
        let mut next = HashMap::new();
        for (id, audits) in audits {
            let Some(creative) = creatives.get(id) else { continue };
            let entry = |(exchange, audit): (&ExchangeId, &Arc<AuditDoc>)| {
                let known = self.0.get(id).and_then(|known| known.get(exchange));
                let same = |known: &&Entry| Arc::ptr_eq(&known.creative, creative) && Arc::ptr_eq(&known.audit, audit);
                let entry = known.filter(same).cloned().unwrap_or_else(|| Entry {
                    creative: Arc::clone(creative),
                    audit: Arc::clone(audit),
                    restricted: restrict(creative, audit),
                });
                (exchange.clone(), entry)
            };
            next.insert(id.clone(), audits.iter().map(entry).collect());
        }
        Self(next)
    }
}

/// Choices of one template among which approved contents are looked for.
const MOST: usize = 100_000;

/// Per template the creative with only the choices whose contents serve.
fn restrict(creative: &Arc<Creative>, audit: &AuditDoc) -> Vec<Option<Arc<Creative>>> {
    let is_content = |name: &str| name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit());
    let wanted: HashSet<&str> =
        audit.crids.keys().map(String::as_str).filter(|name| is_content(name) && audit.serves(name)).collect();
    let restricted = |variant: &Variant| {
        let choices = if wanted.is_empty() { Vec::new() } else { choices(creative, variant, &wanted) };
        let slots = slots(variant).iter().filter_map(|slot| u16::try_from(*slot).ok()).collect();
        (!choices.is_empty()).then(|| {
            let pairing = creative.pairing.with_only(slots, choices);
            Arc::new(Creative { pairing, ..Creative::clone(creative) })
        })
    };
    creative.variants.iter().map(restricted).collect()
}

/// The slots of a template, each once.
fn slots(variant: &Variant) -> Vec<usize> {
    let mut slots: Vec<usize> = variant.places.iter().map(|place| place.slot).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// The choices for the slots of a template that give one of the wanted contents.
fn choices(creative: &Creative, variant: &Variant, wanted: &HashSet<&str>) -> Vec<Vec<u32>> {
    let slots = slots(variant);
    // the default last: every candidate, then none
    let counts: Vec<usize> = slots.iter().map(|slot| creative.slots[*slot].candidates.len() + 1).collect();
    let all = counts.iter().try_fold(1_usize, |all, count| all.checked_mul(*count)).unwrap_or(usize::MAX);
    let (mut found, mut choice) = (Vec::new(), vec![None; creative.slots.len()]);
    for number in 0..all.min(MOST) {
        let mut rest = number;
        for (slot, count) in slots.iter().zip(&counts) {
            let at = rest % count;
            rest /= count;
            choice[*slot] = u16::try_from(at).ok().filter(|_| at + 1 < *count);
        }
        // what is picked for a slot is known when it is decided, and asked for then
        let picks = variant.places.iter().filter_map(|place| creative.chosen(place.slot, &choice));
        let open = creative.picks && picks.into_iter().any(|component| component.picking.is_some());
        if open || wanted.contains(&*crid(creative, variant, &choice)) {
            let option = |slot: &usize| {
                let at = choice[*slot].and_then(|at| creative.slots[*slot].candidates.get(usize::from(at)));
                at.copied().unwrap_or(Pairing::DEFAULT)
            };
            found.push(slots.iter().map(option).collect());
        }
    }
    found
}
