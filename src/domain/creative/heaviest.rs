//! Combinations in the order of their weights.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{combinations::Combinations, pairing::Pairing};

/// A way into the diagram: what it can weigh at best, how far it is, and the options so far. What was
/// found first goes before its equals.
type Way = (i64, usize, Reverse<u64>, u32, Vec<u32>);

impl Combinations {
    /// Combinations from the heaviest on: the weight of one is the product of those of its options, which
    /// are greater than 0, and among equals those go first whose options do. `apart` says of each slot whether
    /// its options are told apart; where they are not, the heaviest stands for all that the same rules
    /// name. Of each slot the `most` heaviest options of those are looked at, which is enough for `most`
    /// combinations.
    ///
    /// Best first, by what each node of the diagram can lead to (Hart, Nilsson and Raphael, "A formal basis for the
    /// heuristic determination of minimum cost paths", 1968), so that the work grows with what is taken.
    pub fn heaviest(
        &self,
        weight: impl Fn(u32) -> f64,
        apart: impl Fn(usize) -> bool,
        most: usize,
    ) -> impl Iterator<Item = Vec<u32>> {
        // in whole numbers sums are the same in whatever order they are made, so that equals are equal
        let gain = |option: &u32| (weight(*option).ln() * f64::from(1_u32 << 24)).round() as i64;
        let options: Vec<Vec<Vec<(i64, u32)>>> = self
            .layers
            .iter()
            .map(|layer| {
                let most = if apart(layer.slot) { most } else { 1 };
                let heaviest = |class: &Vec<u32>| {
                    let mut sorted: Vec<(i64, u32)> = class.iter().map(|option| (gain(option), *option)).collect();
                    sorted.sort_by_key(|(gain, _)| Reverse(*gain));
                    sorted.truncate(most);
                    sorted
                };
                layer.classes.iter().map(heaviest).collect()
            })
            .collect();
        let best = self.best(&options);
        let start = best.first().map_or(0, |layer| layer.first().copied().unwrap_or_default());
        let mut ways: BinaryHeap<Way> = BinaryHeap::new();
        ways.extend((self.count() > 0).then(|| (start, 0, Reverse(0), 0, Vec::new())));
        let mut found = 0;
        std::iter::from_fn(move || {
            loop {
                let (bound, depth, _, at, chosen) = ways.pop()?;
                let Some(layer) = self.layers.get(depth) else {
                    let mut combination = vec![Pairing::DEFAULT; self.layers.len()];
                    self.layers.iter().zip(&chosen).for_each(|(layer, option)| combination[layer.slot] = *option);
                    return Some(combination);
                };
                let here = best[depth][at as usize];
                for (class, to) in &layer.nodes[at as usize].edges {
                    let rest = best.get(depth + 1).map_or(0, |below| below[*to as usize]);
                    for (gain, option) in &options[depth][*class as usize] {
                        found += 1;
                        let chosen = chosen.iter().copied().chain([*option]).collect();
                        ways.push((bound - here + gain + rest, depth + 1, Reverse(found), *to, chosen));
                    }
                }
            }
        })
    }

    /// Per layer and node the most that the slots from there on can weigh.
    fn best(&self, options: &[Vec<Vec<(i64, u32)>>]) -> Vec<Vec<i64>> {
        let mut best: Vec<Vec<i64>> = Vec::with_capacity(self.layers.len());
        for (layer, options) in self.layers.iter().zip(options).rev() {
            let below = best.last();
            let reach = |(class, to): &(u32, u32)| {
                let (gain, _) = options[*class as usize].first()?;
                Some(gain + below.map_or(0, |below| below[*to as usize]))
            };
            // what leads nowhere is never reached
            best.push(layer.nodes.iter().map(|node| node.edges.iter().filter_map(reach).max().unwrap_or(0)).collect());
        }
        best.reverse();
        best
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Components 0 to 3 in the first slot, 4 to 7 in the second, 8 to 11 in the third.
    fn pairing(rules: &[(bool, Vec<usize>)]) -> Pairing {
        let name = |at: usize| format!("c-{at}");
        let rules: Vec<_> = rules
            .iter()
            .map(|(forbid, of)| {
                let of: Vec<_> = of.iter().enumerate().map(|(slot, at)| name(slot * 4 + at)).collect();
                serde_json::from_value(if *forbid { json!({"forbid": of}) } else { json!({"group": of}) })
                    .expect("a rule")
            })
            .collect();
        Pairing::compile(&rules, |id| {
            let at: u32 = id.as_str().strip_prefix("c-")?.parse().ok()?;
            Some(((at / 4) as u16, at))
        })
        .expect("rules")
    }

    proptest! {
        #[test]
        fn the_heaviest_come_first_and_each_once(
            weights in prop::collection::vec(1_u32..6, 12),
            rules in prop::collection::vec((any::<bool>(), prop::collection::vec(0_usize..4, 2..4)), 0..4),
        ) {
            let options: Vec<Vec<u32>> = (0..3).map(|slot| (slot * 4..slot * 4 + 4).collect()).collect();
            let all = Combinations::of(&pairing(&rules), &options).expect("few rules");
            let weight = |of: &[u32]| of.iter().map(|option| weights[*option as usize]).product::<u32>();
            let found: Vec<_> =
                all.heaviest(|option| f64::from(weights[option as usize]), |_| true, 64).collect();
            let mut listed: Vec<_> = (0..all.count()).filter_map(|number| all.nth(number)).collect();
            prop_assert_eq!(found.len(), listed.len());
            prop_assert!(found.is_sorted_by_key(|of| Reverse(weight(of))));
            let mut once = found.clone();
            once.sort();
            listed.sort();
            prop_assert_eq!(once, listed);
            // fewer options are enough for the first few
            let few: Vec<_> =
                all.heaviest(|option| f64::from(weights[option as usize]), |_| true, 3).take(3).map(|of| weight(&of)).collect();
            prop_assert_eq!(few, found.iter().take(3).map(|of| weight(of)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_few_of_very_many_take_little_work_also_where_all_weigh_the_same() {
        let options: Vec<Vec<u32>> = (0..12).map(|slot| (slot * 1_000..slot * 1_000 + 1_000).collect()).collect();
        let all = Combinations::of(&Pairing::default(), &options).expect("no rules");
        let found: Vec<_> = all.heaviest(|_| 100.0, |_| true, 50).take(50).collect();
        assert_eq!((found.len(), found[0][0], found[0][11]), (50, 0, 11_000));
        let told: Vec<_> = all.heaviest(|_| 100.0, |slot| slot == 3, 50).collect();
        assert_eq!(told.len(), 50, "the others stand for themselves");
    }
}
