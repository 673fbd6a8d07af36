//! Combinations of a revision that exchanges review one by one: which are chosen when it is published, and
//! how they are read for as long as the revision is kept.

use std::collections::{BTreeSet, HashSet};

use crate::domain::{
    catalog::{
        audit::crid,
        creative::{Choice, Component, Creative, Slot, Variant},
        reviewed::{Combination, CombinationDoc, Frozen},
    },
    creative::{self, Pairing, SlotValue},
    ids::NameHash,
    values::Millis,
};

impl Creative {
    /// An option per slot as a choice.
    #[must_use]
    pub fn choice(&self, options: &[u32]) -> Vec<Option<u16>> {
        let at = |(slot, option): (&Slot, &u32)| {
            slot.candidates.binary_search(option).ok().and_then(|at| u16::try_from(at).ok())
        };
        self.slots.iter().zip(options).map(at).collect()
    }

    /// The combinations that were chosen of it: those that still show what they are named for.
    pub(super) fn kept(&self, chosen: &[CombinationDoc]) -> Vec<Combination> {
        let same = |read: &Combination| *crid_of(self, read) == *read.crid;
        chosen.iter().filter_map(|of| Combination::read(self, of)).filter(same).collect()
    }
}

impl Combination {
    /// A combination of a revision; none where that lacks what it is made of.
    #[must_use]
    pub fn read(creative: &Creative, doc: &CombinationDoc) -> Option<Self> {
        let variant = creative.variants.iter().position(|variant| variant.id == doc.template)?;
        let mut options: Box<[u32]> = vec![Pairing::DEFAULT; creative.slots.len()].into();
        let mut frozen = Vec::new();
        for (slot, id) in &doc.components {
            let at = creative.components.binary_search_by(|component| component.id.cmp(id)).ok()?;
            let component = &creative.components[at];
            options[component.slot] = u32::try_from(at).ok()?;
            if component.picking.is_some() {
                let template = &creative.variants[variant].template;
                let spec = &template.slots()[template.slot_index(slot.as_str())?].spec;
                let value = SlotValue::parse(spec, doc.values.get(slot)?).ok()?;
                frozen.push(Frozen::new(component.hash, value));
            }
        }
        Some(Self { crid: doc.crid.as_str().into(), variant, options, frozen })
    }
}

/// What names a combination's content.
fn crid_of(creative: &Creative, combination: &Combination) -> String {
    let choice = creative.choice(&combination.options);
    named(creative, &creative.variants[combination.variant], &choice, &combination.frozen)
}

fn named(creative: &Creative, variant: &Variant, choice: &Choice, frozen: &[Frozen]) -> String {
    crid(creative, variant, choice, |component| {
        Some(frozen.iter().find(|frozen| frozen.component == component.hash)?.content.fingerprint())
    })
}

/// Combinations by weight that are looked at where many have the same content.
const LOOKED_AT: usize = 4_096;

/// Chooses of each of a creative's templates at most `most` combinations for exchanges to review: with every default,
/// so that something is there for everybody; then, up to half of them, such that every two components stand together
/// that may; then by weight. Contents that are the same are one. `pages` has what components show of feeds in a
/// template, the products that come first on the first page; components that are on no page show nothing. Every page
/// has its share, so that one product that is sold out does not withdraw all.
#[must_use]
pub fn select(
    creative: &Creative,
    now: Millis,
    most: usize,
    pages: impl Fn(usize) -> Vec<Vec<Frozen>>,
) -> Vec<CombinationDoc> {
    let mut chosen = Vec::new();
    for (at, variant) in creative.variants.iter().enumerate() {
        let pages = pages(at);
        let pages = if pages.is_empty() { vec![Vec::new()] } else { pages };
        let inside: BTreeSet<usize> = variant.places.iter().map(|place| place.slot).collect();
        let mut table = Table { creative, variant, inside: &inside, most, seen: HashSet::new(), rows: Vec::new() };
        table.take(&vec![Pairing::DEFAULT; creative.slots.len()], &[]);
        let filled: BTreeSet<NameHash> = pages.iter().flatten().map(|frozen| frozen.component).collect();
        if let Ok(all) = creative::Combinations::of(&creative.pairing, &options(creative, &inside, &filled, now)) {
            let share = (most - table.rows.len().min(most)).div_ceil(pages.len());
            let pairs: Vec<_> = all.covering().into_iter().flatten().take(share.div_ceil(2)).collect();
            let weight = |option| creative.components.get(option as usize).map_or(0.5, |of| f64::from(of.weight));
            for page in &pages {
                let full = table.rows.len() + share;
                pairs.iter().for_each(|options| table.take(options, page));
                let by_weight = all.heaviest(weight, |slot| inside.contains(&slot), most).take(LOOKED_AT);
                for options in by_weight {
                    if table.rows.len() >= full {
                        break;
                    }
                    table.take(&options, page);
                }
            }
        }
        chosen.append(&mut table.rows);
    }
    chosen
}

/// Per slot what may stand there some time from `now` on: its default too where no component is for everybody at any
/// time. Of slots that the template does not have only what pairing rules tell apart.
fn options(creative: &Creative, inside: &BTreeSet<usize>, filled: &BTreeSet<NameHash>, now: Millis) -> Vec<Vec<u32>> {
    let ruled = creative.pairing.named();
    let may = |component: &Component| {
        let stocked = component.picking.is_none() || filled.contains(&component.hash);
        component.active && component.end.is_none_or(|end| now < end) && stocked
    };
    let always = |component: &Component| {
        let anybody = component.condition.is_none() && component.locale.is_none() && component.picking.is_none();
        anybody && component.end.is_none() && component.start.is_none_or(|start| start <= now)
    };
    let of_slot = creative.slots.iter().enumerate().map(|(slot, of)| {
        let own = of.candidates.iter().copied().filter(|at| may(&creative.components[*at as usize]));
        let mut own: Vec<u32> = own.collect();
        if inside.contains(&slot) {
            if !own.iter().any(|at| always(&creative.components[*at as usize])) {
                own.push(Pairing::DEFAULT);
            }
            return own;
        }
        let is_ruled = |at: &u32| u16::try_from(slot).is_ok_and(|slot| ruled.contains(&(slot, *at)));
        let (mut told, rest): (Vec<u32>, Vec<u32>) = own.into_iter().partition(is_ruled);
        told.push(rest.first().copied().unwrap_or(Pairing::DEFAULT));
        told
    });
    of_slot.collect()
}

/// The combinations of one template that were taken so far.
struct Table<'a> {
    creative: &'a Creative,
    variant: &'a Variant,
    inside: &'a BTreeSet<usize>,
    most: usize,
    seen: HashSet<String>,
    rows: Vec<CombinationDoc>,
}

impl Table<'_> {
    /// Takes a combination, unless there are enough or its content is there.
    fn take(&mut self, options: &[u32], page: &[Frozen]) {
        let creative = self.creative;
        let choice = creative.choice(options);
        let component = |slot: &usize| Some((*slot, creative.chosen(*slot, &choice)?));
        let components: Vec<(usize, &Component)> = self.inside.iter().filter_map(component).collect();
        let shown = |component: &Component| page.iter().find(|frozen| frozen.component == component.hash);
        let whole = components.iter().all(|(_, component)| component.picking.is_none() || shown(component).is_some());
        let crid = named(creative, self.variant, &choice, page);
        if self.rows.len() >= self.most || !whole || !self.seen.insert(crid.clone()) {
            return;
        }
        let name = |slot: usize| creative.slots[slot].name.clone();
        let values = components.iter().filter_map(|(slot, component)| {
            let frozen = shown(component).filter(|_| component.picking.is_some())?;
            Some((name(*slot), frozen.value.content()))
        });
        self.rows.push(CombinationDoc {
            crid,
            template: self.variant.id.clone(),
            values: values.collect(),
            components: components.iter().map(|(slot, component)| (name(*slot), component.id.clone())).collect(),
        });
    }
}
