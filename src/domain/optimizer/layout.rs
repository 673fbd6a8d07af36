//! Where each learned number stands.
//!
//! The score of a combination for a person is the logit
//! `bias + mains + pairs + features + features x components`, one number per term, all in one flat
//! list in that order. Components are numbered through all slots, so that those of a slot are
//! neighbours.

use std::ops::Range;

/// How many slots, components and features there are, and where their numbers stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Per slot the number of its first component, and the number of all at the end.
    starts: Vec<u32>,
    features: u16,
}

/// A kind of term; the terms of a kind share a prior.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The one term that all scores share.
    Bias,
    /// A component.
    Main,
    /// Two components of different slots together.
    Pair,
    /// A feature of the person or the request, whatever is shown.
    Feature,
    /// A component for a feature.
    Cross,
}

impl Group {
    /// All of them, in the order in which their numbers stand.
    pub const ALL: [Self; 5] = [Self::Bias, Self::Main, Self::Pair, Self::Feature, Self::Cross];
}

/// The choice of a slot's own default, about which nothing is learned.
pub const DEFAULT: u16 = u16::MAX;
/// With more components than this, nothing is learned about pairs: their number grows with the
/// square.
pub const MOST_PAIRED: usize = 256;

impl Layout {
    /// Slots of so many components, and so many features.
    #[must_use]
    pub fn new(sizes: &[u16], features: u16) -> Self {
        let ends = sizes.iter().scan(0_u32, |end, size| {
            *end += u32::from(*size);
            Some(*end)
        });
        Self { starts: std::iter::once(0).chain(ends).collect(), features }
    }

    /// How many slots.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// How many components, of all slots.
    #[must_use]
    pub fn components(&self) -> usize {
        self.starts.last().map_or(0, |end| *end as usize)
    }

    /// How many features.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features.into()
    }

    /// The numbers of a slot's components.
    #[must_use]
    pub fn slot(&self, slot: usize) -> Range<usize> {
        self.starts[slot] as usize..self.starts[slot + 1] as usize
    }

    /// The number of a slot's component; `None` for a default or one that is not known.
    #[must_use]
    pub fn component(&self, slot: usize, component: u16) -> Option<usize> {
        let range = self.slot(slot);
        Some(range.start + usize::from(component)).filter(|at| *at < range.end)
    }

    /// The slot and the place in it of the component of this number.
    #[must_use]
    pub fn place(&self, component: usize) -> (usize, u16) {
        let slot = self.starts.partition_point(|start| *start as usize <= component).saturating_sub(1);
        (slot, (component - self.starts[slot] as usize) as u16)
    }

    /// Whether pairs are learned.
    #[must_use]
    pub fn paired(&self) -> bool {
        self.components() <= MOST_PAIRED
    }

    /// How many numbers there are.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.group(Group::Cross).end
    }

    /// Where the terms of a kind stand. Pairs stand in a square of which only the places above the
    /// diagonal are used.
    #[must_use]
    pub fn group(&self, group: Group) -> Range<usize> {
        let components = self.components();
        let pairs = if self.paired() { components * components } else { 0 };
        let lengths = [1, components, pairs, self.features(), self.features() * components];
        let start = lengths[..group as usize].iter().sum();
        start..start + lengths[group as usize]
    }

    /// Where everything stands in this layout that stood in an `older` one, which has no slot,
    /// component or feature that this one lacks: (there, here) for each.
    pub(super) fn moved<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = (usize, usize)> + 'a {
        let there = move |group: Group| older.group(group);
        let here = move |group: Group| self.group(group).start;
        let component = move |at: usize| {
            let (slot, place) = older.place(at);
            self.starts[slot] as usize + usize::from(place)
        };
        let count = older.components();
        let (old, new) = (count.max(1), self.components());
        let single = there(Group::Bias).map(|at| (at, 0));
        let mains = there(Group::Main).enumerate().map(move |(n, at)| (at, here(Group::Main) + component(n)));
        let pairs = there(Group::Pair).enumerate().filter(|_| self.paired());
        let pairs = pairs.map(move |(n, at)| (at, here(Group::Pair) + component(n / old) * new + component(n % old)));
        let features = there(Group::Feature).enumerate().map(move |(n, at)| (at, here(Group::Feature) + n));
        let crosses = there(Group::Cross).enumerate();
        let crosses = crosses.map(move |(n, at)| (at, here(Group::Cross) + n / old * new + component(n % old)));
        single.chain(mains).chain(pairs).chain(features).chain(crosses)
    }

    /// The smallest layout that holds both.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Self {
        let size = |of: &Self, slot| if slot < of.slots() { of.slot(slot).len() as u16 } else { 0 };
        let slots = self.slots().max(other.slots());
        let sizes: Vec<u16> = (0..slots).map(|slot| size(self, slot).max(size(other, slot))).collect();
        Self::new(&sizes, self.features.max(other.features))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_their_terms_when_the_layout_grows() {
        let (old, new) = (Layout::new(&[2, 1], 2), Layout::new(&[3, 2, 1], 3));
        assert_eq!(old.weights(), 1 + 3 + 9 + 2 + 6);
        assert_eq!(old.place(2), (1, 0));
        assert_eq!(new.place(4), (1, 1));
        assert_eq!(new.component(1, 1), Some(4));
        assert_eq!(new.component(1, DEFAULT), None);
        let moved: std::collections::BTreeMap<_, _> = new.moved(&old).collect();
        assert_eq!(moved.len(), old.weights());
        // slot 1's component was number 2 and is number 3
        assert_eq!(moved[&(1 + 2)], 1 + 3);
        assert_eq!(moved[&(4 + 2)], 7 + 3, "the pair of components 0 and 2");
        assert_eq!(moved[&(13 + 1)], new.group(Group::Feature).start + 1);
        assert_eq!(moved[&(15 + 3 + 2)], new.group(Group::Cross).start + 6 + 3);
        assert_eq!(old.joined(&new), new);
    }
}
