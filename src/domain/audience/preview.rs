//! A rule nobody uses yet, taken apart into its conditions and asked of a sample of people.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    activity::Streams,
    compile::{RuleSet, SegmentIx},
    context::Context,
    evaluate::{Evaluator, UserView},
    models::Models,
    node::Node,
    rule::{Dynamic, SegmentRule},
    user::UserState,
};
use crate::domain::{
    ids::{SegmentKey, Uid},
    values::Millis,
    violation::Violation,
};

/// A rule whose conditions are asked one by one, with the segments that it is compared with.
#[derive(Debug)]
pub struct Probe {
    rules: RuleSet,
    leaves: Vec<(String, SegmentIx)>,
    tree: Tree,
    others: Vec<SegmentIx>,
}

/// How the conditions of a rule are joined.
#[derive(Debug)]
enum Tree {
    Leaf(usize),
    All(Vec<Tree>),
    Any(Vec<Tree>),
    Not(Box<Tree>),
}

/// What was found out about the people asked so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// People by which of the conditions they meet: bit `n` is condition `n`.
    people: HashMap<u64, u64>,
    /// Of each other segment, how many are in it, and how many in it and in the rule.
    others: Vec<(u64, u64)>,
    /// Of each condition, people whose value is of a type that it cannot ask about.
    mistyped: Vec<u64>,
}

/// A condition and whom it lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionTally {
    /// Where it stands in the rule.
    pub pointer: String,
    /// It in words.
    pub condition: String,
    /// People who meet it, whatever else.
    pub keeps: u64,
    /// People who would be in if the rule did without it.
    pub drops: u64,
    /// People whose trait is of another type than it asks about, so that it is false for them.
    pub mistyped: u64,
}

impl Probe {
    /// What must be remembered of events to ask the rule, and those that it is compared with.
    #[must_use]
    pub fn streams(&self) -> &Streams {
        self.rules.streams()
    }

    /// A rule made ready, to be compared with `others`. `known` are the account's segments; those
    /// without a rule do not exist. `models` are those that rules may name.
    ///
    /// # Errors
    /// Segments that do not exist and conditions that cannot be asked, with pointers within the
    /// rule; of `others`, pointers `/overlap/n`.
    pub fn new(
        rule: &Dynamic,
        known: &[(SegmentKey, Option<SegmentRule>)],
        others: &[SegmentKey],
        models: &Arc<Models>,
    ) -> Result<Self, Vec<Violation>> {
        let by_key: HashMap<&SegmentKey, &SegmentRule> =
            known.iter().filter_map(|(key, rule)| Some((key, rule.as_ref()?))).collect();
        let mut found = Vec::new();
        let tree = take_apart(&rule.node, "/match".to_owned(), &mut found);
        // A name that no segment has.
        let mut prefix = "preview:".to_owned();
        while known.iter().any(|(key, _)| key.as_str().starts_with(&prefix)) {
            prefix.push(':');
        }
        let own: Vec<(SegmentKey, SegmentRule)> = found
            .iter()
            .enumerate()
            .filter_map(|(at, (_, node))| {
                let rule = Dynamic { node: (*node).clone(), enter_hold: None, exit_hold: None, ..rule.clone() };
                Some((format!("{prefix}{at}").parse().ok()?, SegmentRule::Dynamic(rule)))
            })
            .collect();
        let mut needed: BTreeSet<&SegmentKey> = BTreeSet::new();
        let mut waiting: Vec<&SegmentKey> = rule.node.referenced_segments();
        waiting.extend(others);
        while let Some(key) = waiting.pop() {
            if let Some((key, rule)) = by_key.get_key_value(key)
                && needed.insert(key)
            {
                waiting.extend(rule.node().map(Node::referenced_segments).unwrap_or_default());
            }
        }
        let mut given: Vec<(&SegmentKey, Option<&SegmentRule>)> =
            needed.iter().map(|key| (*key, by_key.get(*key).copied())).collect();
        given.extend(own.iter().map(|(key, rule)| (key, Some(rule))));
        let (rules, refused) = RuleSet::with_gaps(&given, Arc::clone(models));
        let mut faults: Vec<Violation> = refused
            .into_iter()
            .filter_map(|(key, fault)| {
                let at: usize = key.as_str().strip_prefix(&prefix)?.parse().ok()?;
                let within = fault.pointer.strip_prefix("/match").unwrap_or_default();
                Some(Violation { pointer: format!("{}{within}", found[at].0), ..fault })
            })
            .collect();
        let mut compared = Vec::new();
        for (at, key) in others.iter().enumerate() {
            match rules.ix(key) {
                Some(ix) => compared.push(ix),
                None => faults.push(Violation::new(
                    format!("/overlap/{at}"),
                    "unknown_segment",
                    format!("no segment is called \"{key}\""),
                )),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let leaves = found.into_iter().map(|(pointer, _)| pointer).zip(&own);
        let leaves = leaves.filter_map(|(pointer, (key, _))| Some((pointer, rules.ix(key)?))).collect();
        Ok(Self { rules, leaves, tree, others: compared })
    }

    /// Asks one person; whether they are in.
    pub fn ask(&self, uid: Uid, state: &UserState, now: Millis, tally: &mut Tally) -> bool {
        let context = Context::default();
        let view = UserView { uid: Some(uid), state: Some(state), ..UserView::default() };
        let mut evaluator = Evaluator::new(&self.rules, view, &context, now);
        let mask = self
            .leaves
            .iter()
            .enumerate()
            .fold(0, |mask, (at, (_, ix))| mask | u64::from(evaluator.segment(*ix).holds()) << at);
        *tally.people.entry(mask).or_default() += 1;
        tally.mistyped.resize(self.leaves.len(), 0);
        for (count, (_, ix)) in tally.mistyped.iter_mut().zip(&self.leaves) {
            *count += u64::from(self.rules.mistypes(*ix, &state.traits));
        }
        let holds = self.tree.holds(mask, None);
        tally.others.resize(self.others.len(), (0, 0));
        for (counts, ix) in tally.others.iter_mut().zip(&self.others) {
            let other = evaluator.segment(*ix).holds();
            counts.0 += u64::from(other);
            counts.1 += u64::from(other && holds);
        }
        holds
    }

    /// Whom each condition lets through, in the order of the rule.
    #[must_use]
    pub fn conditions(&self, tally: &Tally) -> Vec<ConditionTally> {
        let context = Context::default();
        let mut nobody = Evaluator::new(&self.rules, UserView::default(), &context, Millis(0));
        let of = |(at, (pointer, ix)): (usize, &(String, SegmentIx))| {
            let words = nobody.explain_segment(*ix).parts.into_iter().next();
            let keeps = tally.people.iter().filter(|(mask, _)| **mask >> at & 1 == 1).map(|(_, count)| count).sum();
            let drops = tally
                .people
                .iter()
                .filter(|(mask, _)| !self.tree.holds(**mask, None) && self.tree.holds(**mask, Some(at)));
            ConditionTally {
                pointer: pointer.clone(),
                condition: words.map(|part| part.condition).unwrap_or_default(),
                keeps,
                drops: drops.map(|(_, count)| count).sum(),
                mistyped: tally.mistyped.get(at).copied().unwrap_or(0),
            }
        };
        self.leaves.iter().enumerate().map(of).collect()
    }

    /// People in the rule.
    #[must_use]
    pub fn size(&self, tally: &Tally) -> u64 {
        tally.people.iter().filter(|(mask, _)| self.tree.holds(**mask, None)).map(|(_, count)| count).sum()
    }
}

impl Tally {
    /// People asked.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.people.values().sum()
    }

    /// Of each other segment, in their order, how many are in it, and how many in both.
    #[must_use]
    pub fn others(&self) -> &[(u64, u64)] {
        &self.others
    }

    /// Adds what was found out about other people.
    pub fn add(&mut self, more: &Self) {
        for (mask, count) in &more.people {
            *self.people.entry(*mask).or_default() += count;
        }
        self.others.resize(self.others.len().max(more.others.len()), (0, 0));
        for (counts, more) in self.others.iter_mut().zip(&more.others) {
            *counts = (counts.0 + more.0, counts.1 + more.1);
        }
        self.mistyped.resize(self.mistyped.len().max(more.mistyped.len()), 0);
        self.mistyped.iter_mut().zip(&more.mistyped).for_each(|(count, more)| *count += more);
    }
}

impl Tree {
    /// Whether the rule holds for who meets these conditions, `without` one of them. Doing without
    /// a condition is doing without every group that consists of it alone.
    fn holds(&self, mask: u64, without: Option<usize>) -> bool {
        self.value(mask, without).unwrap_or(true)
    }

    fn value(&self, mask: u64, without: Option<usize>) -> Option<bool> {
        match self {
            Self::Leaf(at) if without == Some(*at) => None,
            Self::Leaf(at) => Some(mask >> at & 1 == 1),
            Self::Not(tree) => tree.value(mask, without).map(|holds| !holds),
            Self::All(trees) => {
                let mut values = trees.iter().filter_map(|tree| tree.value(mask, without)).peekable();
                values.peek().is_some().then(|| values.all(|holds| holds))
            }
            Self::Any(trees) => {
                let mut values = trees.iter().filter_map(|tree| tree.value(mask, without)).peekable();
                values.peek().is_some().then(|| values.any(|holds| holds))
            }
        }
    }
}

fn take_apart<'n>(node: &'n Node, pointer: String, leaves: &mut Vec<(String, &'n Node)>) -> Tree {
    let mut children = |nodes: &'n [Node], name: &str| {
        let child = |(at, node)| take_apart(node, format!("{pointer}/{name}/{at}"), leaves);
        nodes.iter().enumerate().map(child).collect()
    };
    match node {
        Node::All(nodes) => Tree::All(children(nodes, "all")),
        Node::Any(nodes) => Tree::Any(children(nodes, "any")),
        Node::Not(node) => Tree::Not(take_apart(node, format!("{pointer}/not"), leaves).into()),
        leaf => {
            leaves.push((pointer, leaf));
            Tree::Leaf(leaves.len() - 1)
        }
    }
}

/// A number of people, as far as a sample tells it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct Estimate {
    /// The most likely number; left out where the sample is too small to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people: Option<u64>,
    /// Nineteen times of twenty there are at least so many,
    pub at_least: u64,
    /// and at most so many.
    pub at_most: u64,
}

/// People of whom a sample was drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Population {
    /// People in the sample.
    pub sampled: u64,
    /// How many there are, if the sample is not all of them.
    pub estimated: Option<f64>,
}

impl Population {
    const Z: f64 = 1.96;
    /// Shares below this are told as "fewer than".
    const TELLING: f64 = 0.001;

    /// The size of the population from the smallest uids of it: uids are evenly spread, so the
    /// distance that `sampled` of them take up tells how many there are.
    #[must_use]
    pub fn below(sampled: u64, last: Uid) -> Self {
        let reach = last.0 as f64 / u128::MAX as f64;
        Self { sampled, estimated: (reach > 0.0).then(|| sampled.saturating_sub(1) as f64 / reach) }
    }

    /// A sample that is everybody.
    #[must_use]
    pub fn whole(sampled: u64) -> Self {
        Self { sampled, estimated: None }
    }

    /// How many there are. Exact when the sample is everybody.
    #[must_use]
    pub fn size(&self) -> Estimate {
        let Some(estimated) = self.estimated else {
            return Estimate { people: Some(self.sampled), at_least: self.sampled, at_most: self.sampled };
        };
        let (low, high) = self.bounds(estimated);
        Estimate { people: Some(estimated.round() as u64), at_least: low as u64, at_most: high.ceil() as u64 }
    }

    /// How many there are like `found` of the sample: Wilson's interval at 95% of the share, taken
    /// of the bounds of the population; the rule of three where nobody was found.
    #[must_use]
    pub fn like(&self, found: u64) -> Estimate {
        let Some(estimated) = self.estimated else {
            return Estimate { people: Some(found), at_least: found, at_most: found };
        };
        let (share, low, high) = wilson(found, self.sampled, Self::Z);
        let high = if found == 0 { (3.0 / self.sampled as f64).min(1.0) } else { high };
        let (fewest, most) = self.bounds(estimated);
        Estimate {
            people: (share >= Self::TELLING).then(|| (share * estimated).round() as u64),
            at_least: (low * fewest).floor().max(found as f64) as u64,
            at_most: (high * most).ceil() as u64,
        }
    }

    /// The k-th smallest of n evenly spread values has a relative error of about 1/sqrt(k).
    fn bounds(&self, estimated: f64) -> (f64, f64) {
        let error = Self::Z / (self.sampled.max(1) as f64).sqrt();
        ((estimated * (1.0 - error)).max(self.sampled as f64), estimated * (1.0 + error))
    }
}

/// A share with Wilson's score interval.
#[must_use]
pub fn wilson(found: u64, of: u64, z: f64) -> (f64, f64, f64) {
    if of == 0 {
        return (0.0, 0.0, 1.0);
    }
    let (n, share) = (of as f64, found as f64 / of as f64);
    let z2 = z * z;
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    (share, (centre - half).clamp(0.0, share), (centre + half).clamp(share, 1.0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::audience::{caps::CapRing, profile::Traits, user::Lists};

    fn rule(node: &Value) -> SegmentRule {
        SegmentRule::parse(&json!({"v": 1, "kind": "dynamic", "match": node})).expect("a rule")
    }

    fn probe(node: &Value, known: &[(&str, Value)], others: &[&str]) -> Result<Probe, Vec<Violation>> {
        let SegmentRule::Dynamic(draft) = rule(node) else { panic!("a dynamic rule") };
        let known: Vec<_> = known.iter().map(|(key, node)| (key.parse().expect("a key"), Some(rule(node)))).collect();
        let others: Vec<_> = others.iter().map(|key| key.parse().expect("a key")).collect();
        Probe::new(&draft, &known, &others, &Arc::default())
    }

    fn person(traits: &Value) -> UserState {
        UserState::new(1, Traits::parse(traits, Millis(0)).expect("traits"), Lists::default(), CapRing::default())
    }

    #[test]
    fn each_condition_tells_whom_it_keeps_and_drops() {
        let node = json!({"all": [{"trait": "age", "lt": 30}, {"not": {"trait": "city", "eq": "Rome"}},
            {"any": [{"trait": "vip", "eq": true}, {"segment": "rich"}]}]});
        let probe = probe(&node, &[("rich", json!({"trait": "spend", "gt": 100}))], &["rich"]).expect("a probe");
        let mut tally = Tally::default();
        let people = [
            json!({"age": 20, "vip": true}),
            json!({"age": 20, "vip": true, "city": "Rome"}),
            json!({"age": 40, "spend": 200}),
            json!({"age": 25, "spend": 200}),
            json!({"age": 25}),
        ];
        let held: Vec<bool> =
            (1..).zip(&people).map(|(n, who)| probe.ask(Uid(n), &person(who), Millis(0), &mut tally)).collect();
        assert_eq!(held, [true, false, false, true, false]);
        assert_eq!((probe.size(&tally), tally.asked(), tally.others()), (2, 5, &[(2, 1)][..]));
        let found: Vec<_> =
            probe.conditions(&tally).into_iter().map(|one| (one.pointer, one.keeps, one.drops)).collect();
        let expected = [
            ("/match/all/0", 4, 1),
            ("/match/all/1/not", 1, 1),
            ("/match/all/2/any/0", 2, 0),
            ("/match/all/2/any/1", 2, 0),
        ];
        assert_eq!(found, expected.map(|(pointer, keeps, drops)| (pointer.to_owned(), keeps, drops)));
        assert_eq!(probe.conditions(&tally)[0].condition, "trait age < 30");
        let mut twice = tally.clone();
        twice.add(&tally);
        assert_eq!((probe.size(&twice), twice.asked(), twice.others()), (4, 10, &[(4, 2)][..]));
    }

    #[test]
    fn unknown_segments_are_told_where_they_stand() {
        let node = json!({"any": [{"trait": "a", "eq": 1}, {"not": {"segment": "vpi"}}]});
        let faults = probe(&node, &[("vip", json!({"trait": "a", "eq": 2}))], &["gone"]).expect_err("unknown");
        let found: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), fault.code)).collect();
        assert_eq!(found, [("/match/any/1/not/segment", "unknown_segment"), ("/overlap/0", "unknown_segment")]);
    }

    #[test]
    fn a_sample_tells_shares_with_intervals() {
        let (share, low, high) = wilson(10, 100, 1.96);
        assert!(
            (share - 0.1).abs() < 1e-12 && (low - 0.0552).abs() < 5e-4 && (high - 0.1744).abs() < 5e-4,
            "{low} {high}"
        );
        let everybody = Population::whole(50);
        assert_eq!(everybody.like(3), Estimate { people: Some(3), at_least: 3, at_most: 3 });
        // 20,000 people within the first fiftieth of all uids
        let some = Population::below(20_000, Uid(u128::MAX / 50));
        let all = some.size();
        assert!(all.at_least < 1_000_000 && all.at_most > 1_000_000 && all.at_most < 1_020_000, "{all:?}");
        let tenth = some.like(2_000);
        assert!(tenth.people.is_some_and(|people| people.abs_diff(100_000) < 100), "{tenth:?}");
        assert!(tenth.at_least > 93_000 && tenth.at_most < 107_000, "{tenth:?}");
        let few = some.like(0);
        assert_eq!((few.people, few.at_least), (None, 0));
        assert!((150..160).contains(&few.at_most), "the rule of three: {few:?}");
        assert_eq!(some.like(5).people, None, "too few to tell");
    }
}
