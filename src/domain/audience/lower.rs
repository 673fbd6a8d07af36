//! One condition made ready to evaluate: names resolved, children ordered by what they cost.

use std::collections::HashMap;

use super::{
    activity::{Chain, Gauge, Stream},
    cluster::ClusterCheck,
    compile::{Check, Group, RuleSet, SegmentIx, SegmentKind, Share, TraitCheck},
    nearest::hint,
    node::{ContextCondition, Node},
    parser::Path,
    predicate::Test,
};
use crate::domain::{
    ids::{NameHash, SegmentKey},
    violation::{Violation, Violations},
};

pub(super) struct Lowering<'a> {
    rules: &'a RuleSet,
    /// Segments that exist, compiled or not.
    given: &'a HashMap<&'a str, usize>,
    streams: Vec<Stream>,
    faults: Violations,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(rules: &'a RuleSet, given: &'a HashMap<&'a str, usize>) -> Self {
        Self { rules, given, streams: Vec::new(), faults: Violations::new() }
    }

    /// The condition and the streams that it needs.
    pub(super) fn finish(self, check: Option<Check>) -> Result<(Check, Vec<Stream>), Vec<Violation>> {
        self.faults.into_result()?;
        check.map(|check| (check, self.streams)).ok_or_else(Vec::new)
    }

    pub(super) fn node(&mut self, node: &Node, at: &Path<'_>) -> Option<Check> {
        Some(match node {
            Node::All(nodes) => Check::All(self.group(nodes, &at.key("all"))?),
            Node::Any(nodes) => Check::Any(self.group(nodes, &at.key("any"))?),
            Node::Not(node) => Check::Not(self.node(node, &at.key("not"))?.into()),
            Node::Trait(condition) => Check::Trait(TraitCheck {
                hash: NameHash::of(condition.name.as_str()),
                name: condition.name.clone(),
                tests: by_cost(&condition.tests).into(),
                max_age: condition.max_age,
            }),
            Node::Context(condition) => {
                Check::Context(ContextCondition { path: condition.path.clone(), tests: by_cost(&condition.tests) })
            }
            Node::Segment(key) => Check::Segment(self.segment(key, &at.key("segment"))?),
            Node::List(key) => {
                let ix = self.segment(key, &at.key("list"))?;
                if self.rules.kind(ix) == SegmentKind::Dynamic {
                    let detail = format!("\"{key}\" is a dynamic segment: name it with \"segment\"");
                    self.faults.push(at.key("list").pointer(), "not_a_list", detail);
                    return None;
                }
                Check::Segment(ix)
            }
            Node::Sample(sample) => Check::Sample(Share {
                name: sample.salt.clone(),
                salt: NameHash::of(&sample.salt),
                from: sample.from,
                to: sample.to,
            }),
            Node::Event(condition) => {
                self.streams.push(condition.stream());
                Check::Event(Gauge::new(condition).into())
            }
            Node::Sequence(sequence) => {
                self.streams.extend(sequence.streams());
                Check::Sequence(Chain::new(sequence).into())
            }
            Node::Cluster { model, among, max_distance } => {
                let found = self.rules.models.cluster(model);
                let check = found.and_then(|found| ClusterCheck::new(model, found, among, *max_distance));
                match check {
                    Ok(check) => {
                        self.streams.extend(check.streams());
                        Check::Cluster(check.into())
                    }
                    Err(fault) => return self.fault("cluster", fault, at),
                }
            }
            Node::Rfm(rfm) => match self.rules.models.rfm(rfm) {
                Ok(node) => Check::Rfm(Box::new((rfm.clone(), self.node(&node, &at.key("rfm"))?))),
                Err(fault) => return self.fault("rfm", fault, at),
            },
            Node::Lookalike { .. } => return self.unsupported("lookalike", at),
            Node::Score { .. } => return self.unsupported("score", at),
        })
    }

    fn group(&mut self, nodes: &[Node], at: &Path<'_>) -> Option<Group> {
        // Every child is lowered, so that the faults of all are seen.
        let children: Vec<_> = nodes.iter().enumerate().map(|(i, node)| self.node(node, &at.index(i))).collect();
        let children: Box<[Check]> = children.into_iter().collect::<Option<_>>()?;
        let mut order: Box<[u8]> = (0..children.len() as u8).collect();
        order.sort_by_key(|&at| children[usize::from(at)].cost());
        Some(Group { children, order })
    }

    fn segment(&mut self, key: &SegmentKey, at: &Path<'_>) -> Option<SegmentIx> {
        let found = self.rules.ix(key);
        if found.is_none() {
            let (code, detail) = if self.given.contains_key(key.as_str()) {
                ("refused_reference", format!("segment \"{key}\" is refused itself"))
            } else {
                let known = self.rules.by_key.keys().map(SegmentKey::as_str).chain(self.given.keys().copied());
                ("unknown_segment", format!("no segment is called \"{key}\"{}", hint(key.as_str(), known)))
            };
            self.faults.push(at.pointer(), code, detail);
        }
        found
    }

    fn unsupported(&mut self, kind: &str, at: &Path<'_>) -> Option<Check> {
        let detail = format!("\"{kind}\" conditions are not available yet");
        self.faults.push(at.key(kind).pointer(), "unsupported_condition", detail);
        None
    }

    fn fault(&mut self, kind: &str, fault: Violation, at: &Path<'_>) -> Option<Check> {
        self.faults.push(at.key(kind).pointer() + &fault.pointer, fault.code, fault.detail);
        None
    }
}

fn by_cost(tests: &[Test]) -> Vec<Test> {
    let mut tests = tests.to_vec();
    tests.sort_by_key(Test::cost);
    tests
}

impl Check {
    fn cost(&self) -> u32 {
        match self {
            Self::All(group) | Self::Any(group) => group.children.iter().map(Self::cost).fold(2, u32::saturating_add),
            Self::Not(check) => check.cost(),
            Self::Trait(check) => {
                let aging = if check.max_age.is_some() { 60 } else { 0 };
                check.tests.iter().map(Test::cost).fold(10 + aging, u32::saturating_add)
            }
            Self::Context(context) => {
                let moving = if context.path.moves() { 60 } else { 0 };
                context.tests.iter().map(Test::cost).fold(5 + moving, u32::saturating_add)
            }
            Self::Sample(_) => 5,
            // Often answered before by another rule, and seldom dearer than a few traits.
            Self::Segment(_) => 50,
            Self::Event(gauge) => gauge.cost(),
            Self::Sequence(chain) => chain.cost(),
            Self::Rfm(rfm) => rfm.1.cost(),
            Self::Cluster(_) => 1_000,
        }
    }
}
