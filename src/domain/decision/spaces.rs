//! Legal combinations, kept for the next decision with the same choice: working them out takes longer
//! than choosing among them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::domain::{
    catalog::creative::Creative,
    creative::Pairing,
    optimizer::{DEFAULT, Rules, Space},
};

/// The spaces of one creative within one campaign. What is kept says the same as what is worked out, so
/// that decisions do not depend on it.
#[derive(Debug, Default)]
pub struct Spaces(RwLock<Kept>);

/// By revision, then per slot what may stand in it; none where there is no legal combination.
type ByEligible = HashMap<Vec<Vec<u16>>, Option<Arc<Space<Paired>>>>;

#[derive(Debug, Default)]
struct Kept {
    count: usize,
    // a revision is known by its address, which is its own for as long as it is held here
    revisions: Vec<(Arc<Creative>, ByEligible)>,
}

impl Spaces {
    /// Spaces that are kept at most; with more, all begin anew.
    pub const MOST: usize = 128;
    /// Revisions whose spaces are kept: while a new one comes into use both are asked for.
    const REVISIONS: usize = 2;

    /// The space of what is eligible of a revision, made where it is not kept.
    pub fn get(
        &self,
        creative: &Arc<Creative>,
        eligible: &[Vec<u16>],
        make: impl FnOnce() -> Option<Space<Paired>>,
    ) -> Option<Arc<Space<Paired>>> {
        let is = |(own, _): &&(Arc<Creative>, ByEligible)| Arc::ptr_eq(own, creative);
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(space) = kept.revisions.iter().find(is).and_then(|(_, spaces)| spaces.get(eligible)) {
            return space.clone();
        }
        drop(kept);
        let made = make().map(Arc::new);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.count >= Self::MOST {
            *kept = Kept::default();
        }
        let at = kept.revisions.iter().position(|revision| is(&revision)).unwrap_or_else(|| {
            // what exchanges review of a revision shares its components
            let of = |creative: &Creative| Arc::as_ptr(&creative.components).addr();
            let mut known: Vec<_> = kept.revisions.iter().map(|(own, _)| of(own)).collect();
            known.dedup();
            if !known.contains(&of(creative)) && known.len() >= Self::REVISIONS {
                let gone = kept.revisions.extract_if(.., |(own, _)| of(own) == known[0]);
                let gone: usize = gone.map(|(_, gone)| gone.len()).sum();
                kept.count -= gone;
            }
            kept.revisions.push((Arc::clone(creative), HashMap::new()));
            kept.revisions.len() - 1
        });
        if kept.revisions[at].1.insert(eligible.to_vec(), made.clone()).is_none() {
            kept.count += 1;
        }
        made
    }

    /// How many are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).count
    }
}

/// Pairing rules over the numbers of what is learned.
#[derive(Clone, Debug)]
pub struct Paired {
    creative: Arc<Creative>,
    /// Per slot of the creative its place in the shape.
    slots: Vec<usize>,
    /// Per slot of the shape the numbers that may be chosen and the components they stand for.
    components: Vec<Vec<(u16, u32)>>,
    /// Whether slots with components may show their defaults all the same.
    sparing: bool,
}

impl Paired {
    /// The rules of a creative. `slots` has for each of its slots the place in the shape, `components`
    /// for each place the numbers that may be chosen and the components they stand for.
    #[must_use]
    pub fn new(creative: &Arc<Creative>, slots: Vec<usize>, components: Vec<Vec<(u16, u32)>>) -> Self {
        Self { creative: Arc::clone(creative), slots, components, sparing: false }
    }

    /// The same where slots with components may show their defaults, as long as nothing that is shown
    /// could be shown with more components beside it.
    #[must_use]
    pub fn sparing(self) -> Self {
        Self { sparing: true, ..self }
    }

    /// Whether a slot that shows its default could show a component beside the others' choices.
    fn wastes(&self, mut chosen: Vec<Option<u32>>) -> bool {
        if chosen.iter().any(Option::is_none) {
            return false;
        }
        for slot in 0..chosen.len() {
            if chosen[slot] != Some(Pairing::DEFAULT) {
                continue;
            }
            for (_, component) in &self.components[self.slots[slot]] {
                chosen[slot] = Some(*component);
                if self.creative.pairing.allows(&chosen) {
                    return true;
                }
            }
            chosen[slot] = Some(Pairing::DEFAULT);
        }
        false
    }
}

impl Rules for Paired {
    fn allows(&self, chosen: &[Option<u16>]) -> bool {
        let component = |place: &usize| {
            let number = chosen.get(*place).copied().unwrap_or(Some(DEFAULT))?;
            let known = self.components[*place].iter().find(|(known, _)| *known == number);
            Some(known.map_or(Pairing::DEFAULT, |(_, component)| *component))
        };
        let chosen: Vec<_> = self.slots.iter().map(component).collect();
        self.creative.pairing.allows(&chosen) && !(self.sparing && self.wastes(chosen))
    }

    fn names(&self, slot: usize) -> bool {
        self.slots.iter().position(|place| *place == slot).is_some_and(|slot| self.creative.pairing.names(slot))
    }
}
