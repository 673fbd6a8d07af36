//! Sets of small numbers as bits, for finding the few campaigns that may serve among many.

/// A set of campaigns by their position in the catalogue, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// The empty set over `count` positions.
    #[must_use]
    pub fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    /// Adds a position.
    pub fn insert(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    /// Makes this set equal to another of the same size without allocating anew.
    pub fn copy_from(&mut self, other: &Self) {
        self.0.clear();
        self.0.extend_from_slice(&other.0);
    }

    /// Keeps what is also in `other`.
    pub fn intersect(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    /// Adds what is in `other`.
    pub fn unite(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    /// Whether any position is in both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(word, other)| word & other != 0)
    }

    /// How many positions are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no position is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The positions, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest &= rest.checked_sub(1)?;
                Some(at * 64 + bit as usize)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn bits(positions: &BTreeSet<usize>) -> Bits {
        let mut bits = Bits::none(200);
        positions.iter().for_each(|at| bits.insert(*at));
        bits
    }

    proptest! {
        #[test]
        fn they_are_sets(
            a in prop::collection::btree_set(0_usize..200, 0..60), b in prop::collection::btree_set(0_usize..200, 0..60)
        ) {
            let (first, second) = (bits(&a), bits(&b));
            prop_assert_eq!(first.iter().collect::<BTreeSet<_>>(), a.clone());
            prop_assert_eq!(first.len(), a.len());
            prop_assert_eq!(first.is_empty(), a.is_empty());
            prop_assert_eq!(first.meets(&second), !a.is_disjoint(&b));
            let (mut both, mut either) = (first.clone(), first.clone());
            both.intersect(&second);
            either.unite(&second);
            prop_assert_eq!(both.iter().collect::<Vec<_>>(), a.intersection(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(either.iter().collect::<Vec<_>>(), a.union(&b).copied().collect::<Vec<_>>());
        }
    }
}
