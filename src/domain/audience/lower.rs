//! One condition made ready to evaluate: names resolved, children ordered by what they cost.

use std::collections::HashMap;

use super::{
    activity::{Chain, Gauge, Stream},
    check::{Check, Group, SegmentIx, SegmentKind, Share, TraitCheck},
    cluster::ClusterCheck,
    models::Models,
    nearest::hint,
    node::{ContextCondition, Node},
    parser::Path,
    predicate::Test,
};
use crate::domain::{
    ids::{NameHash, SegmentKey},
    violation::{Violation, Violations},
};

/// What a condition may name.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// Segments that are compiled.
    pub(super) segments: &'a HashMap<SegmentKey, SegmentIx>,
    /// How each of them gets its members.
    pub(super) kind: &'a dyn Fn(SegmentIx) -> SegmentKind,
    /// Segments that exist, compiled or not.
    pub(super) given: &'a HashMap<&'a str, usize>,
    /// Models.
    pub(super) models: &'a Models,
}

pub(super) struct Lowering<'a> {
    scope: Scope<'a>,
    streams: Vec<Stream>,
    faults: Violations,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(scope: Scope<'a>) -> Self {
        Self { scope, streams: Vec::new(), faults: Violations::new() }
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
                if (self.scope.kind)(ix) == SegmentKind::Dynamic {
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
                let found = self.scope.models.cluster(model);
                let check = found.and_then(|found| ClusterCheck::new(model, found, among, *max_distance));
                match check {
                    Ok(check) => {
                        self.streams.extend(check.streams());
                        Check::Cluster(check.into())
                    }
                    Err(fault) => return self.fault("cluster", fault, at),
                }
            }
            Node::Rfm(rfm) => match self.scope.models.rfm(rfm) {
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
        let Scope { segments, given, .. } = self.scope;
        let found = segments.get(key).copied();
        if found.is_none() {
            let (code, detail) = if given.contains_key(key.as_str()) {
                ("refused_reference", format!("segment \"{key}\" is refused itself"))
            } else {
                let known = segments.keys().map(SegmentKey::as_str).chain(given.keys().copied());
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
