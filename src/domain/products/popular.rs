//! What many people look at, counted over a sample of them.

use std::collections::{BTreeMap, HashMap};

use super::packed::Shelf;
use crate::domain::ids::{NameHash, SegmentKey};

/// Products by how many people of a sample looked at them lately, most first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Popular {
    /// With everybody.
    pub overall: Vec<NameHash>,
    /// With the people of some segments.
    pub within: BTreeMap<SegmentKey, Vec<NameHash>>,
}

/// Counts people by the product that they looked at.
#[derive(Debug, Default)]
pub struct Tally {
    overall: HashMap<NameHash, u32>,
    within: BTreeMap<SegmentKey, HashMap<NameHash, u32>>,
}

impl Popular {
    /// Products of a list: more than any slot shows, so that some may go out of stock.
    const KEPT: usize = 100;
    /// How long a look counts, in ms: 30 days.
    pub const LOOKBACK: i64 = 30 * 86_400_000;
}

impl Tally {
    /// Counts the products that one person looked at, each once, for everybody and for those of
    /// `segments` that the person is in.
    pub fn add<'s>(&mut self, seen: &[NameHash], segments: impl Iterator<Item = &'s SegmentKey>) {
        seen.iter().for_each(|id| *self.overall.entry(*id).or_default() += 1);
        for segment in segments {
            let counts = self.within.entry(segment.clone()).or_default();
            seen.iter().for_each(|id| *counts.entry(*id).or_default() += 1);
        }
    }

    /// What is popular of what the shelf has. Of products that as many people looked at those come
    /// first whose ids hash lower: the same on every replica.
    #[must_use]
    pub fn popular(self, shelf: &Shelf) -> Popular {
        let order = |counts: HashMap<NameHash, u32>| {
            let mut ranked: Vec<_> = counts.into_iter().filter(|(id, _)| shelf.has(*id)).collect();
            ranked.sort_unstable_by_key(|(id, count)| (std::cmp::Reverse(*count), id.0));
            ranked.truncate(Popular::KEPT);
            ranked.into_iter().map(|(id, _)| id).collect()
        };
        Popular {
            within: self.within.into_iter().map(|(segment, counts)| (segment, order(counts))).collect(),
            overall: order(self.overall),
        }
    }
}
