//! A few combinations that show every two options together that may be: what a person can look
//! through before publishing.

use std::collections::BTreeMap;

use super::{
    combinations::{Combinations, Node},
    pairing::Pairing,
};

impl Combinations {
    /// The most pairs that [`Self::cover`] looks for.
    const PAIRS: usize = 100_000;

    /// A small set of combinations in which every two options that are legal together stand
    /// together at least once: one combination at a time, each begun with a pair that is missing and
    /// filled with what adds most (Cohen, Dalal, Fredman and Patton, "The AETG system", IEEE TSE
    /// 1997). `None` when there are more than 100,000 pairs.
    #[must_use]
    pub fn cover(&self) -> Option<Vec<Vec<u32>>> {
        self.covering().map(Iterator::collect)
    }

    /// The same one after the other, so that whoever wants a few works out no more.
    #[must_use]
    pub fn covering(&self) -> Option<Box<dyn Iterator<Item = Vec<u32>> + '_>> {
        if self.layers.len() < 2 {
            let few = self.count() <= Self::PAIRS as u128;
            return few.then(|| Box::new((0..self.count()).filter_map(|n| self.nth(n))) as _);
        }
        let mut pairs = Pairs::of(self)?;
        Some(Box::new(std::iter::from_fn(move || pairs.first().map(|first| self.row(first, &mut pairs)))))
    }

    /// A combination with a pair that is legal, and as many of the missing ones as come along.
    fn row(&self, [first, second]: [(usize, usize); 2], pairs: &mut Pairs) -> Vec<u32> {
        let fits = |depth: usize, option: usize| {
            (depth != first.0 || option == first.1) && (depth != second.0 || option == second.1)
        };
        // from where the end can be reached with the pair
        let mut open: Vec<Vec<bool>> = vec![vec![true]];
        for (depth, layer) in self.layers.iter().enumerate().rev() {
            let below = &open[open.len() - 1];
            let reaches = |node: &Node| {
                let leads = |(class, to): &(u32, u32)| {
                    below[*to as usize] && pairs.numbers(depth, *class).clone().any(|option| fits(depth, option))
                };
                node.edges.iter().any(leads)
            };
            let reached = layer.nodes.iter().map(reaches).collect();
            open.push(reached);
        }
        open.reverse();
        let mut chosen = vec![Pairing::DEFAULT; self.layers.len()];
        let (mut taken, mut at) = (Vec::with_capacity(self.layers.len()), 0);
        for (depth, layer) in self.layers.iter().enumerate() {
            let ways = layer.nodes[at].edges.iter().filter(|(_, to)| open[depth + 1][*to as usize]);
            let options = ways.flat_map(|&(class, to)| {
                let options = pairs.numbers(depth, class).zip(&layer.classes[class as usize]);
                options.map(move |(number, option)| (number, *option, to))
            });
            let worth = |(number, ..): &(usize, u32, u32)| {
                let gained =
                    taken.iter().enumerate().filter(|(of, with)| pairs.missing((*of, **with), (depth, *number)));
                (gained.count(), pairs.left[depth][*number], std::cmp::Reverse(*number))
            };
            let best = options.filter(|(number, ..)| fits(depth, *number)).max_by_key(worth);
            let Some((number, option, to)) = best else { break };
            chosen[layer.slot] = option;
            taken.push(number);
            at = to as usize;
        }
        pairs.cover(&taken);
        chosen
    }
}

/// The legal pairs of options, by the numbers that options have within their layer.
struct Pairs {
    /// Per layer where the numbers of each class begin, with their end.
    starts: Vec<Vec<usize>>,
    /// Where the pairs of two layers begin.
    tables: BTreeMap<(usize, usize), usize>,
    missing: Vec<bool>,
    /// Per layer and option how many of its pairs are missing.
    left: Vec<Vec<u32>>,
    /// All pairs before are covered.
    from: (usize, usize, usize),
}

impl Pairs {
    fn of(all: &Combinations) -> Option<Self> {
        let starts = all.layers.iter().map(|layer| {
            let ends = layer.classes.iter().scan(0, |end, class| {
                *end += class.len();
                Some(*end)
            });
            std::iter::once(0).chain(ends).collect()
        });
        let starts: Vec<Vec<usize>> = starts.collect();
        let sizes: Vec<usize> = starts.iter().map(|starts| starts.last().copied().unwrap_or_default()).collect();
        let mut tables = BTreeMap::new();
        let mut total: usize = 0;
        for a in 0..sizes.len() {
            for b in a + 1..sizes.len() {
                tables.insert((a, b), total);
                total =
                    total.checked_add(sizes[a].checked_mul(sizes[b])?).filter(|total| *total <= Combinations::PAIRS)?;
            }
        }
        let left = sizes.iter().map(|size| vec![0; *size]).collect();
        let mut pairs = Self { starts, tables, missing: vec![false; total], left, from: (0, 1, 0) };
        for (depth, layer) in all.layers.iter().enumerate() {
            for class in 0..layer.classes.len() as u32 {
                pairs.reach(all, depth, class);
            }
        }
        Some(pairs)
    }

    /// Notes the pairs that options of a class are legal in: options of one class go with the same.
    fn reach(&mut self, all: &Combinations, depth: usize, class: u32) {
        let mut nodes: Vec<u32> = all.layers[depth]
            .nodes
            .iter()
            .flat_map(|node| &node.edges)
            .filter(|(of, _)| *of == class)
            .map(|(_, to)| *to)
            .collect();
        for later in depth + 1..all.layers.len() {
            nodes.sort_unstable();
            nodes.dedup();
            let edges = nodes.iter().flat_map(|node| &all.layers[later].nodes[*node as usize].edges);
            let edges: Vec<(u32, u32)> = edges.copied().collect();
            for one in self.numbers(depth, class) {
                for other in edges.iter().flat_map(|(class, _)| self.numbers(later, *class)).collect::<Vec<_>>() {
                    let at = self.at((depth, one), (later, other));
                    if !std::mem::replace(&mut self.missing[at], true) {
                        self.left[depth][one] += 1;
                        self.left[later][other] += 1;
                    }
                }
            }
            nodes = edges.into_iter().map(|(_, to)| to).collect();
        }
    }

    fn numbers(&self, depth: usize, class: u32) -> std::ops::Range<usize> {
        let starts = &self.starts[depth];
        starts[class as usize]..starts[class as usize + 1]
    }

    fn at(&self, (a, one): (usize, usize), (b, other): (usize, usize)) -> usize {
        self.tables[&(a, b)] + one * self.left[b].len() + other
    }

    fn missing(&self, one: (usize, usize), other: (usize, usize)) -> bool {
        self.missing[self.at(one, other)]
    }

    /// The first pair that is missing.
    fn first(&mut self) -> Option<[(usize, usize); 2]> {
        for (&(a, b), &start) in self.tables.range((self.from.0, self.from.1)..) {
            let size = self.left[a].len() * self.left[b].len();
            let from = if (a, b) == (self.from.0, self.from.1) { self.from.2 } else { 0 };
            if let Some(at) = (from..size).find(|at| self.missing[start + at]) {
                self.from = (a, b, at);
                return Some([(a, at / self.left[b].len()), (b, at % self.left[b].len())]);
            }
        }
        None
    }

    /// Takes the pairs of a combination, given by the numbers of its options, off those missing.
    fn cover(&mut self, taken: &[usize]) {
        for (b, other) in taken.iter().enumerate() {
            for (a, one) in taken[..b].iter().enumerate() {
                let at = self.at((a, *one), (b, *other));
                if std::mem::replace(&mut self.missing[at], false) {
                    self.left[a][*one] -= 1;
                    self.left[b][*other] -= 1;
                }
            }
        }
    }
}
