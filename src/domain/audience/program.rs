//! Conditions laid flat, in the order in which they are asked: thousands of rules are then read
//! from front to back, and equal conditions are kept once.

use std::collections::HashMap;

use super::{
    check::{Check, Group, SegmentIx},
    rule::Zone,
};

/// A step of a condition. Groups come before their children.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Every one of the conditions up to this position holds.
    All(u32),
    /// One of the conditions up to this position holds.
    Any(u32),
    /// The next condition, up to this position, does not hold.
    Not(u32),
    /// The person is in this segment.
    Segment(SegmentIx),
    /// This one of the leaves holds.
    Leaf(u32),
}

/// Many conditions.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) ops: Vec<Op>,
    /// Conditions that consist of no others.
    pub(super) leaves: Vec<Check>,
    /// Per segment where its condition begins, and whose days count.
    entries: Vec<Option<(u32, u32)>>,
    zones: Vec<Zone>,
}

/// Which leaves there are: needed while a program is made.
#[derive(Default)]
pub(super) struct Known(HashMap<String, u32>);

impl Program {
    /// Adds the condition of a segment, `None` of one that has none.
    pub(super) fn add(&mut self, rule: Option<&(Check, Zone)>, known: &mut Known) {
        let entry = rule.map(|(check, zone)| {
            let at = self.zones.iter().position(|have| have == zone).unwrap_or_else(|| {
                self.zones.push(zone.clone());
                self.zones.len() - 1
            });
            let start = self.ops.len() as u32;
            self.flatten(check, known);
            (start, at as u32)
        });
        self.entries.push(entry);
    }

    /// Where the condition of a segment begins, and whose days count.
    #[inline]
    pub(super) fn entry(&self, ix: SegmentIx) -> Option<(usize, &Zone)> {
        self.entries[ix.0 as usize].map(|(start, zone)| (start as usize, &self.zones[zone as usize]))
    }

    /// Where the condition after the one at `at` begins.
    #[inline]
    pub(super) fn after(&self, at: usize) -> usize {
        match self.ops[at] {
            Op::All(end) | Op::Any(end) | Op::Not(end) => end as usize,
            Op::Segment(_) | Op::Leaf(_) => at + 1,
        }
    }

    fn flatten(&mut self, check: &Check, known: &mut Known) {
        match check {
            Check::All(group) => self.group(group, Op::All, known),
            Check::Any(group) => self.group(group, Op::Any, known),
            Check::Not(check) => {
                let at = self.ops.len();
                self.ops.push(Op::Not(0));
                self.flatten(check, known);
                self.ops[at] = Op::Not(self.ops.len() as u32);
            }
            Check::Rfm(rfm) => self.flatten(&rfm.1, known),
            Check::Segment(ix) => self.ops.push(Op::Segment(*ix)),
            leaf => {
                let fresh = self.leaves.len() as u32;
                let at = *known.0.entry(format!("{leaf:?}")).or_insert(fresh);
                if at == fresh {
                    self.leaves.push(leaf.clone());
                }
                self.ops.push(Op::Leaf(at));
            }
        }
    }

    fn group(&mut self, group: &Group, op: fn(u32) -> Op, known: &mut Known) {
        let at = self.ops.len();
        self.ops.push(op(0));
        for &child in &group.order {
            self.flatten(&group.children[usize::from(child)], known);
        }
        self.ops[at] = op(self.ops.len() as u32);
    }
}
