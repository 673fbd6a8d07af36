//! Where each learned number stands.
//!
//! The score of a combination for a person is the logit
//! `bias + mains + pairs + features + features x components`, one number per term, all in one flat
//! list in that order. Components are numbered through all slots, so that those of a slot are
//! neighbours.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// How many slots, components and features there are, and where their numbers stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Per slot where its first component stands, and how many there are at the end.
    starts: Vec<u32>,
    features: u16,
    /// Of slots that lack some numbers those that they have, ascending.
    sparse: BTreeMap<usize, Vec<u16>>,
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
        Self { starts: std::iter::once(0).chain(ends).collect(), features, sparse: BTreeMap::new() }
    }

    /// Slots of components of these numbers, ascending, and so many features.
    #[must_use]
    pub fn of(numbers: Vec<Vec<u16>>, features: u16) -> Self {
        let sizes: Vec<u16> = numbers.iter().map(|numbers| numbers.len() as u16).collect();
        let gaps = |numbers: &Vec<u16>| numbers.last().is_some_and(|last| usize::from(*last) >= numbers.len());
        let sparse = numbers.into_iter().enumerate().filter(|(_, numbers)| gaps(numbers)).collect();
        Self { sparse, ..Self::new(&sizes, features) }
    }

    /// The numbers of a slot's components, ascending.
    pub fn numbers(&self, slot: usize) -> impl Iterator<Item = u16> + '_ {
        let sparse = self.sparse.get(&slot);
        (0..self.slot(slot).len()).map(move |at| sparse.map_or(at as u16, |numbers| numbers[at]))
    }

    /// Whether a slot lacks numbers below its highest.
    pub(super) fn is_sparse(&self, slot: usize) -> bool {
        self.sparse.contains_key(&slot)
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

    /// Where a slot's components stand among all.
    #[must_use]
    pub fn slot(&self, slot: usize) -> Range<usize> {
        self.starts[slot] as usize..self.starts[slot + 1] as usize
    }

    /// Where a slot's component of this number stands among all; `None` for a default or one that is
    /// not known.
    #[must_use]
    pub fn component(&self, slot: usize, component: u16) -> Option<usize> {
        let range = self.slot(slot);
        match self.sparse.get(&slot) {
            Some(numbers) => Some(range.start + numbers.binary_search(&component).ok()?),
            None => Some(range.start + usize::from(component)).filter(|at| *at < range.end),
        }
    }

    /// The slot and the number in it of the component that stands here.
    #[must_use]
    pub fn place(&self, component: usize) -> (usize, u16) {
        let slot = self.starts.partition_point(|start| *start as usize <= component).saturating_sub(1);
        let at = component - self.starts[slot] as usize;
        (slot, self.sparse.get(&slot).map_or(at as u16, |numbers| numbers[at]))
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

    /// Where a component that stands somewhere in an `older` layout stands in this one; `None` where
    /// this one lacks it.
    pub(super) fn place_of(&self, older: &Self, at: usize) -> Option<usize> {
        let (slot, number) = older.place(at);
        (slot < self.slots()).then(|| self.component(slot, number)).flatten()
    }

    /// Where everything stands in this layout that stood in an `older` one, but for what this one
    /// lacks: (there, here) for each.
    pub(super) fn moved(&self, older: &Self) -> Vec<(usize, usize)> {
        let there = move |group: Group| older.group(group);
        let here = move |group: Group| self.group(group).start;
        let (old, new) = (older.components().max(1), self.components());
        let features = self.features().min(older.features());
        let mut moved: Vec<(usize, usize)> = vec![(0, 0)];
        let mains = (0..older.components()).filter_map(|at| Some((at, self.place_of(older, at)?)));
        let mains: Vec<(usize, usize)> = mains.collect();
        moved.extend(mains.iter().map(|(n, place)| (there(Group::Main).start + n, here(Group::Main) + place)));
        if self.paired() && older.paired() {
            for (first, place) in &mains {
                let pair = |(second, other): &(usize, usize)| {
                    (there(Group::Pair).start + first * old + second, here(Group::Pair) + place * new + other)
                };
                moved.extend(mains.iter().map(pair));
            }
        }
        for feature in 0..features {
            moved.push((there(Group::Feature).start + feature, here(Group::Feature) + feature));
            let cross = |(n, place): &(usize, usize)| {
                (there(Group::Cross).start + feature * old + n, here(Group::Cross) + feature * new + place)
            };
            moved.extend(mains.iter().map(cross));
        }
        moved
    }

    /// The smallest layout that holds both.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Self {
        let of = |layout: &Self, slot| if slot < layout.slots() { layout.numbers(slot).collect() } else { Vec::new() };
        let both = |slot| -> Vec<u16> {
            let both: BTreeSet<u16> = of(self, slot).into_iter().chain(of(other, slot)).collect();
            both.into_iter().collect()
        };
        let slots = self.slots().max(other.slots());
        Self::of((0..slots).map(both).collect(), self.features.max(other.features))
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
        let moved: BTreeMap<_, _> = new.moved(&old).into_iter().collect();
        assert_eq!(moved.len(), old.weights());
        // slot 1's component was number 2 and is number 3
        assert_eq!(moved[&(1 + 2)], 1 + 3);
        assert_eq!(moved[&(4 + 2)], 7 + 3, "the pair of components 0 and 2");
        assert_eq!(moved[&(13 + 1)], new.group(Group::Feature).start + 1);
        assert_eq!(moved[&(15 + 3 + 2)], new.group(Group::Cross).start + 6 + 3);
        assert_eq!(old.joined(&new), new);
    }

    #[test]
    fn numbers_that_are_gone_take_no_place() {
        let (full, sparse) = (Layout::new(&[4, 1], 1), Layout::of(vec![vec![1, 3], vec![0]], 1));
        assert_eq!(Layout::of(vec![vec![0, 1], vec![0]], 1), Layout::new(&[2, 1], 1));
        assert_eq!((sparse.components(), sparse.component(0, 3), sparse.component(0, 0)), (3, Some(1), None));
        assert_eq!((sparse.place(0), sparse.place(1), sparse.place(2)), ((0, 1), (0, 3), (1, 0)));
        assert_eq!(sparse.numbers(0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(full.joined(&sparse), full);
        let moved: BTreeMap<_, _> = sparse.moved(&full).into_iter().collect();
        assert_eq!(moved.len(), sparse.weights());
        assert_eq!((moved[&(1 + 3)], moved.get(&1)), (1 + 1, None));
    }
}
