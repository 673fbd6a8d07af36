//! Every legal combination of a creative, counted, numbered and sampled without listing them.
//!
//! Slots are filled one after the other. All that matters of what was chosen before is which rules
//! still ask something of the slots to come, so choices that leave the same rules open lead to the
//! same node of a diagram. Each node knows how many ways lead from it to the end, as in knapsack
//! counting: the count is at the root, and walking down by those numbers finds the n-th combination.

use std::collections::{BTreeMap, BTreeSet};

use super::pairing::{Pairing, Rule};

/// The pairing rules hang together in too many ways to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pairing rules are too intricate, or the combinations too many, to be counted")]
pub struct Intricate;

/// The legal choices of one option per slot.
///
/// An option is the index of a component or [`Pairing::DEFAULT`]. What may not be chosen (paused,
/// not for this person) is left out of the options, so the same diagram serves every mask.
#[derive(Debug, Clone)]
pub struct Combinations {
    /// In the order in which the slots are filled.
    pub(super) layers: Vec<Layer>,
}

/// One slot on the way.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) slot: usize,
    /// Options that no rule tells apart, in the order of the first of each class.
    pub(super) classes: Vec<Vec<u32>>,
    pub(super) nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    /// In how many ways the slots from here on can be filled.
    count: u128,
    /// The classes of options that can be chosen here, each with the node of the next layer.
    pub(super) edges: Vec<(u32, u32)>,
}

impl Combinations {
    /// The most edges of a diagram.
    const EDGES: usize = 1_000_000;

    /// The legal choices among `options`, given per slot.
    ///
    /// # Errors
    /// The rules would need a diagram of more than a million edges, or there are more than 2^128
    /// combinations. Rules that people write need some thousands.
    pub fn of(pairing: &Pairing, options: &[Vec<u32>]) -> Result<Self, Intricate> {
        let order = Order::of(pairing, options.len());
        let mut layers: Vec<Layer> = Vec::with_capacity(options.len());
        let mut edges = 0;
        // the open rules of each node of the layer being made
        let mut states: Vec<Box<[u32]>> = vec![Box::default()];
        for (at, &slot) in order.slots.iter().enumerate() {
            let step = Step::of(pairing, &order, at, &options[slot]);
            let mut next: BTreeMap<Box<[u32]>, u32> = BTreeMap::new();
            let mut fresh: Vec<Box<[u32]>> = Vec::new();
            let mut nodes = Vec::with_capacity(states.len());
            for state in &states {
                let mut node = Node::default();
                let mut follow = |class: u32| {
                    let Some(open) = step.after(state, class) else { return };
                    let to = next.entry(open).or_insert_with_key(|open| {
                        fresh.push(open.clone());
                        (fresh.len() - 1) as u32
                    });
                    node.edges.push((class, *to));
                };
                match step.forced(state) {
                    Some(classes) => classes.iter().copied().for_each(&mut follow),
                    None => (0..step.classes.len() as u32).for_each(&mut follow),
                }
                edges += node.edges.len();
                if edges > Self::EDGES {
                    return Err(Intricate);
                }
                nodes.push(node);
            }
            let classes = step.classes.into_iter().map(|(_, options)| options).collect();
            layers.push(Layer { slot, classes, nodes });
            states = fresh;
        }
        let mut made = Self { layers };
        made.add_up()?;
        Ok(made)
    }

    /// Counts from the end, and drops what leads nowhere.
    fn add_up(&mut self) -> Result<(), Intricate> {
        let mut below: Vec<u128> = vec![1];
        for layer in self.layers.iter_mut().rev() {
            for node in &mut layer.nodes {
                node.edges.retain(|(_, to)| below.get(*to as usize).is_some_and(|ways| *ways > 0));
                for (class, to) in &node.edges {
                    let ways = (layer.classes[*class as usize].len() as u128).checked_mul(below[*to as usize]);
                    node.count = ways.and_then(|ways| node.count.checked_add(ways)).ok_or(Intricate)?;
                }
            }
            below = layer.nodes.iter().map(|node| node.count).collect();
        }
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u128 {
        self.layers.first().map_or(1, |layer| layer.nodes.first().map_or(0, |root| root.count))
    }

    /// Of the options of each slot those that stand in some legal combination; nothing in any where
    /// there is none. Options that no rule names are taken together, so that however many there are
    /// costs nothing.
    ///
    /// # Errors
    /// The rules would need a diagram of more than a million edges.
    pub fn possible(pairing: &Pairing, options: &[Vec<u32>]) -> Result<Vec<BTreeSet<u32>>, Intricate> {
        let named = pairing.named();
        let mut plain = vec![Vec::new(); options.len()];
        let few = options.iter().zip(&mut plain).enumerate().map(|(slot, (options, plain))| {
            let (mut told, rest): (Vec<u32>, Vec<u32>) =
                options.iter().partition(|option| named.contains(&(slot as u16, **option)));
            told.extend(rest.first());
            *plain = rest;
            told
        });
        let few: Vec<Vec<u32>> = few.collect();
        let mut live = Self::of(pairing, &few)?.live();
        for (live, plain) in live.iter_mut().zip(plain) {
            if plain.first().is_some_and(|first| live.contains(first)) {
                live.extend(plain);
            }
        }
        Ok(live)
    }

    /// The options of each slot that stand in some combination.
    fn live(&self) -> Vec<BTreeSet<u32>> {
        let mut live = vec![BTreeSet::new(); self.layers.len()];
        for layer in &self.layers {
            // whatever leads somewhere is reached from the beginning, or it would not have been made
            let classes: BTreeSet<u32> =
                layer.nodes.iter().flat_map(|node| node.edges.iter().map(|(class, _)| *class)).collect();
            live[layer.slot].extend(classes.iter().flat_map(|class| &layer.classes[*class as usize]));
        }
        live
    }

    /// The combination of a number below [`Self::count`], as an option per slot. The numbering is
    /// the same for the same rules and options.
    #[must_use]
    pub fn nth(&self, number: u128) -> Option<Vec<u32>> {
        if number >= self.count() {
            return None;
        }
        let (mut left, mut at) = (number, 0);
        let mut chosen = vec![Pairing::DEFAULT; self.layers.len()];
        for (depth, layer) in self.layers.iter().enumerate() {
            for &(class, to) in &layer.nodes.get(at)?.edges {
                let ways = self.ways(depth + 1, to);
                let options = &layer.classes[class as usize];
                if left < ways * options.len() as u128 {
                    chosen[layer.slot] = options[(left / ways) as usize];
                    (left, at) = (left % ways, to as usize);
                    break;
                }
                left -= ways * options.len() as u128;
            }
        }
        Some(chosen)
    }

    /// A combination drawn from all with equal chances (to within count / 2^128), for 128 random
    /// bits; none when there is none.
    #[must_use]
    pub fn draw(&self, bits: u128) -> Option<Vec<u32>> {
        self.nth(bits.checked_rem(self.count())?)
    }

    /// From how many ends of a layer's node the rest can be filled.
    fn ways(&self, depth: usize, node: u32) -> u128 {
        self.layers.get(depth).map_or(1, |layer| layer.nodes[node as usize].count)
    }
}

/// The order in which slots are filled, and when each rule begins and ends.
struct Order {
    slots: Vec<usize>,
    /// Where each slot stands in the order.
    places: Vec<usize>,
    /// Per slot the rules that name it.
    rules: Vec<Vec<u32>>,
}

impl Order {
    /// Always the slot next that leaves the fewest rules open, so that few are open at a time.
    fn of(pairing: &Pairing, slots: usize) -> Self {
        let mut rules = vec![Vec::new(); slots];
        let mut left: Vec<usize> = vec![0; pairing.rules.len()];
        for (at, rule) in pairing.rules.iter().enumerate() {
            for slot in rule.slots().filter(|slot| *slot < slots) {
                rules[slot].push(at as u32);
                left[at] += 1;
            }
        }
        let whole = left.clone();
        let (mut order, mut open): (Vec<usize>, Vec<usize>) = (Vec::with_capacity(slots), (0..slots).collect());
        while !open.is_empty() {
            let opened = |slot: &usize| {
                let change = |rule: &u32| match (whole[*rule as usize], left[*rule as usize]) {
                    (whole, left) if left == whole => i64::from(left > 1),
                    (_, left) => -i64::from(left == 1),
                };
                rules[*slot].iter().map(change).sum::<i64>()
            };
            let best = (0..open.len()).min_by_key(|at| (opened(&open[*at]), open[*at])).unwrap_or_default();
            let slot = open.remove(best);
            rules[slot].iter().for_each(|rule| left[*rule as usize] -= 1);
            order.push(slot);
        }
        let mut places = vec![0; slots];
        order.iter().enumerate().for_each(|(at, slot)| places[*slot] = at);
        Self { slots: order, places, rules }
    }
}

/// What a rule asks at one slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// One of those that are never all together.
    Forbid,
    /// One of those that are all together or not at all.
    Group,
    /// The component that asks for others.
    When,
    /// Those asked for; whether the asking slot is filled already.
    Then { asked: bool },
}

/// A rule at one slot: what it asks, and whether it named slots before and does after.
#[derive(Clone, Copy)]
struct Part {
    role: Role,
    started: bool,
    ends: bool,
}

/// How open rules change when one slot is filled.
///
/// A rule is open when everything filled of it so far is as it names it (for a requirement: what
/// was asked for stands there, or the asking component does). A rule begun and not open asks for
/// nothing more, except a group: none of the rest of it may follow.
struct Step {
    parts: BTreeMap<u32, Part>,
    /// Options with the rules that name them.
    classes: Vec<(Vec<u32>, Vec<u32>)>,
    /// Per rule the classes that it names.
    named: BTreeMap<u32, Vec<u32>>,
}

impl Step {
    fn of(pairing: &Pairing, order: &Order, at: usize, options: &[u32]) -> Self {
        let slot = order.slots[at];
        let mut parts = BTreeMap::new();
        let mut naming: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for &index in &order.rules[slot] {
            let rule = &pairing.rules[index as usize];
            let places = || rule.slots().filter_map(|slot| order.places.get(slot).copied());
            let (role, components): (Role, Vec<u32>) = match rule {
                Rule::Forbid(picks) => (Role::Forbid, rule_picks(picks, slot)),
                Rule::Group(picks) => (Role::Group, rule_picks(picks, slot)),
                Rule::Require((when, component), _) if usize::from(*when) == slot => (Role::When, vec![*component]),
                Rule::Require((when, _), then) => {
                    let asked = order.places.get(usize::from(*when)).is_some_and(|place| *place < at);
                    let of_slot = then.iter().filter(|(named, _)| usize::from(*named) == slot);
                    (Role::Then { asked }, of_slot.flat_map(|(_, components)| components).copied().collect())
                }
            };
            let (started, ends) = (places().any(|place| place < at), !places().any(|place| place > at));
            parts.insert(index, Part { role, started, ends });
            // a rule may name one twice
            for component in components.into_iter().collect::<BTreeSet<_>>() {
                naming.entry(component).or_default().push(index);
            }
        }
        let mut classes: Vec<(Vec<u32>, Vec<u32>)> = Vec::new();
        let mut known: BTreeMap<&[u32], usize> = BTreeMap::new();
        for option in options {
            let rules = naming.get(option).map_or(&[][..], Vec::as_slice);
            let class = *known.entry(rules).or_insert_with(|| {
                classes.push((rules.to_vec(), Vec::new()));
                classes.len() - 1
            });
            classes[class].1.push(*option);
        }
        let mut named: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (class, (rules, _)) in classes.iter().enumerate() {
            rules.iter().for_each(|rule| named.entry(*rule).or_default().push(class as u32));
        }
        Self { parts, classes, named }
    }

    /// The only classes that an open rule leaves, if one asks for something here.
    fn forced(&self, open: &[u32]) -> Option<&[u32]> {
        let asks = |rule: &&u32| {
            self.parts.get(rule).is_some_and(|part| matches!(part.role, Role::Group | Role::Then { asked: true }))
        };
        let rule = open.iter().find(asks)?;
        Some(self.named.get(rule).map_or(&[], Vec::as_slice))
    }

    /// The rules open after an option of a class; `None` when that breaks one.
    fn after(&self, open: &[u32], class: u32) -> Option<Box<[u32]>> {
        let matched = &self.classes[class as usize].0;
        let mut after = Vec::with_capacity(open.len() + matched.len());
        // both are in order; a rule that is neither open nor named here stays as it is
        let (mut opens, mut names) = (open.iter().peekable(), matched.iter().peekable());
        loop {
            let rule = match (opens.peek(), names.peek()) {
                (None, None) => return Some(after.into()),
                (Some(open), Some(named)) => **open.min(named),
                (Some(only), None) | (None, Some(only)) => **only,
            };
            let was_open = opens.next_if(|open| **open == rule).is_some();
            let matched = names.next_if(|named| **named == rule).is_some();
            let Some(part) = self.parts.get(&rule) else {
                after.push(rule);
                continue;
            };
            // before it begins, nothing speaks against a rule
            let fine = was_open || !part.started;
            let stays = match part.role {
                Role::Forbid if fine && matched && part.ends => return None,
                Role::Forbid => fine && matched,
                Role::Group if part.started && matched != was_open => return None,
                Role::Group => matched,
                Role::When if matched && !fine => return None,
                Role::When => matched,
                Role::Then { asked: true } if was_open && !matched => return None,
                Role::Then { asked: true } => was_open,
                Role::Then { asked: false } => fine && matched,
            };
            if stays && !part.ends {
                after.push(rule);
            }
        }
    }
}

fn rule_picks(picks: &[(u16, u32)], slot: usize) -> Vec<u32> {
    picks.iter().filter(|(named, _)| usize::from(*named) == slot).map(|(_, component)| *component).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::creative::{PairingRule, RequireRule};

    const SLOTS: usize = 5;

    /// Component `s-c` is component `c` of slot `s`.
    fn pairing(rules: &[PairingRule]) -> Pairing {
        let find = |id: &crate::domain::ids::ComponentId| {
            let (slot, component) = id.as_str().split_once('-')?;
            Some((slot.parse().ok()?, component.parse().ok()?))
        };
        Pairing::compile(rules, find).expect("rules")
    }

    fn rule() -> impl Strategy<Value = PairingRule> {
        let slots = proptest::sample::subsequence((0..SLOTS).collect::<Vec<_>>(), 2..=4).prop_shuffle();
        (0..3, slots, proptest::collection::vec(0_u32..4, 4), 0_u32..4).prop_map(|(kind, slots, components, extra)| {
            let id = |slot: usize, component: u32| format!("{slot}-{component}").parse().expect("an id");
            let mut ids: Vec<_> = slots.iter().zip(components).map(|(slot, component)| id(*slot, component)).collect();
            match kind {
                0 => PairingRule::Forbid(ids),
                1 => PairingRule::Group(ids),
                _ => {
                    let when = ids.remove(0);
                    ids.push(id(slots[1], extra));
                    PairingRule::Require(RequireRule { when, then: ids })
                }
            }
        })
    }

    fn options() -> impl Strategy<Value = Vec<Vec<u32>>> {
        let some = proptest::sample::subsequence(vec![0, 1, 2, 3, Pairing::DEFAULT], 1..=4);
        proptest::collection::vec(some, SLOTS)
    }

    fn brute(pairing: &Pairing, options: &[Vec<u32>]) -> BTreeSet<Vec<u32>> {
        let mut all = vec![Vec::new()];
        for slot in options {
            let longer =
                |known: &Vec<u32>| slot.iter().map(|option| [&known[..], &[*option]].concat()).collect::<Vec<_>>();
            all = all.iter().flat_map(longer).collect();
        }
        let legal = |choice: &Vec<u32>| pairing.allows(&choice.iter().copied().map(Some).collect::<Vec<_>>());
        all.into_iter().filter(legal).collect()
    }

    fn pairs_of<'a>(rows: impl IntoIterator<Item = &'a Vec<u32>>) -> BTreeSet<(usize, u32, usize, u32)> {
        let mut pairs = BTreeSet::new();
        for row in rows {
            for b in 0..row.len() {
                pairs.extend((0..b).map(|a| (a, row[a], b, row[b])));
            }
        }
        pairs
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn counted_and_numbered_are_the_legal_ones(
            rules in proptest::collection::vec(rule(), 0..8), options in options(),
        ) {
            let pairing = pairing(&rules);
            let all = Combinations::of(&pairing, &options).expect("few");
            let expected = brute(&pairing, &options);
            prop_assert_eq!(all.count(), expected.len() as u128);
            let numbered: BTreeSet<_> = (0..all.count()).filter_map(|n| all.nth(n)).collect();
            let stand = |slot: usize| expected.iter().map(|row| row[slot]).collect::<BTreeSet<_>>();
            prop_assert_eq!(Combinations::possible(&pairing, &options).expect("few"), (0..SLOTS).map(stand).collect::<Vec<_>>());
            prop_assert_eq!(numbered, expected);
            prop_assert_eq!(all.nth(all.count()), None);
        }

        #[test]
        fn a_cover_holds_every_legal_pair_and_nothing_else(
            rules in proptest::collection::vec(rule(), 0..8), options in options(),
        ) {
            let pairing = pairing(&rules);
            let expected = brute(&pairing, &options);
            let cover = Combinations::of(&pairing, &options).expect("few").cover().expect("few pairs");
            prop_assert!(cover.iter().all(|row| expected.contains(row)));
            prop_assert_eq!(pairs_of(&cover), pairs_of(&expected));
            prop_assert!(cover.len() <= expected.len());
        }
    }

    #[test]
    fn six_slots_of_eight_are_counted_and_covered_in_few() {
        let rules = (0..8).map(|c| {
            let ids = [0, 3].map(|slot: usize| format!("{slot}-{c}").parse().expect("an id"));
            PairingRule::Group(ids.to_vec())
        });
        let rules: Vec<_> = rules.collect();
        let options: Vec<Vec<u32>> = vec![(0..8).collect(); 6];
        let free = Combinations::of(&Pairing::default(), &options).expect("few");
        assert_eq!(free.count(), 8_u128.pow(6));
        let rows = free.cover().expect("few pairs").len();
        assert!((64..130).contains(&rows), "{rows} rows for a least possible of 64");
        assert_eq!(Combinations::of(&pairing(&rules), &options).expect("few").count(), 8_u128.pow(5));
    }

    #[test]
    fn many_groups_stay_few_nodes() {
        let rules = (0..2_000).map(|c| {
            PairingRule::Group([0, 1].map(|slot: usize| format!("{slot}-{c}").parse().expect("an id")).to_vec())
        });
        let options: Vec<Vec<u32>> = vec![(0..2_000).collect(), (0..2_000).collect(), vec![0, 1]];
        let all = Combinations::of(&pairing(&rules.collect::<Vec<_>>()), &options).expect("few edges");
        assert_eq!(all.count(), 4_000);
    }

    #[test]
    fn draws_are_even() {
        let rules = [PairingRule::Forbid(["0-0", "1-0"].map(|id| id.parse().expect("an id")).to_vec())];
        let all = Combinations::of(&pairing(&rules), &[vec![0, 1], vec![0, 1, 2]]).expect("few");
        assert_eq!(all.count(), 5);
        let mut seen = std::collections::BTreeMap::new();
        for n in 0..5_000_u128 {
            *seen.entry(all.draw(n).expect("one")).or_insert(0) += 1;
        }
        assert!(seen.len() == 5 && seen.values().all(|times| (900..1_100).contains(times)), "{seen:?}");
    }

    #[test]
    fn nothing_and_no_slots() {
        assert_eq!(Combinations::of(&Pairing::default(), &[]).expect("few").nth(0), Some(vec![]));
        let none = Combinations::of(&Pairing::default(), &[vec![0], vec![]]).expect("few");
        assert_eq!((none.count(), none.draw(7), none.cover()), (0, None, Some(vec![])));
        let many = Combinations::of(&Pairing::default(), &vec![(0..1_000).collect(); 20]);
        assert!(matches!(many, Err(Intricate)));
    }
}
