//! Rules made ready to evaluate: names resolved, references in dependency order, cheap conditions
//! first. One bad rule is refused and reported; the others work.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    Requirements,
    activity::{Stream, Streams},
    check::Check,
    lower::{Lowering, Scope},
    models::Models,
    node::Node,
    parser::Path,
    profile::Traits,
    program::{Known, Program},
    rule::{SegmentRule, Zone},
};
use crate::domain::{
    ids::{NameHash, SegmentKey},
    values::Span,
    violation::Violation,
};

pub use super::check::{SegmentIx, SegmentKind};

/// Every segment of an account, compiled.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    segments: Vec<Segment>,
    by_key: HashMap<SegmentKey, SegmentIx>,
    models: Arc<Models>,
    streams: Streams,
    /// The rules of all segments, laid flat.
    pub(super) program: Program,
}

#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) key: SegmentKey,
    pub(super) list: NameHash,
    /// `None` for a static segment.
    pub(super) rule: Option<(Check, Zone)>,
    /// How long entering and leaving must have lasted before they are told.
    holds: Holds,
    /// How many references deep its rule goes.
    depth: usize,
    /// What its own conditions need of events.
    streams: Box<[Stream]>,
}

/// For how long a change of a membership must have lasted before it is told. Decisions never wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// After entering.
    pub enter: Span,
    /// After leaving.
    pub exit: Span,
}

/// A targeting rule bound to a [`RuleSet`].
#[derive(Clone, Debug)]
pub struct Condition {
    pub(super) check: Check,
    segments: Box<[SegmentIx]>,
    traits: Box<[NameHash]>,
    streams: Box<[Stream]>,
    required: Requirements,
    models: bool,
}

impl Condition {
    /// Whether it asks for the hour or the day of a request.
    #[must_use]
    pub fn moves(&self) -> bool {
        self.check.moves()
    }
}

impl Segment {
    fn without_rule(key: &SegmentKey) -> Self {
        let (key, list) = (key.clone(), NameHash::of(key.as_str()));
        Self { key, list, rule: None, holds: Holds::default(), depth: 0, streams: Box::default() }
    }
}

impl RuleSet {
    /// The longest chain of segments that refer to one another.
    pub const REFERENCES: usize = 32;

    /// Compiles every rule that can be, and says what is wrong with each that cannot: it refers
    /// to a segment that is unknown, refused itself or part of a circle, or uses a condition
    /// that is not supported yet. Pointers are within the rule; faults come in the order of `rules`.
    #[must_use]
    pub fn build(rules: &[(SegmentKey, SegmentRule)]) -> (Self, Vec<(SegmentKey, Violation)>) {
        Self::with_gaps(&rules.iter().map(|(key, rule)| (key, Some(rule))).collect::<Vec<_>>(), Arc::default())
    }

    /// [`RuleSet::build`] with the models that rules may name, where some segments have no rule:
    /// such a one keeps its position, and naming it is naming a segment that does not exist.
    #[must_use]
    pub fn with_gaps(
        rules: &[(&SegmentKey, Option<&SegmentRule>)],
        models: Arc<Models>,
    ) -> (Self, Vec<(SegmentKey, Violation)>) {
        let given = rules.iter().enumerate().filter(|(_, (_, rule))| rule.is_some());
        let place: HashMap<&str, usize> = given.map(|(at, (key, _))| (key.as_str(), at)).collect();
        let references = |at: usize| {
            let named = rules[at].1.and_then(SegmentRule::node).map(Node::referenced_segments).unwrap_or_default();
            named.into_iter().filter_map(|key| place.get(key.as_str()).copied())
        };
        let mut dependants = vec![Vec::new(); rules.len()];
        let mut waiting = vec![0_usize; rules.len()];
        for (at, waits) in waiting.iter_mut().enumerate() {
            for reference in references(at) {
                dependants[reference].push(at);
                *waits += 1;
            }
        }
        // A refused segment keeps its place, empty: nothing can refer to it.
        let empty = |key: &SegmentKey| Segment::without_rule(key);
        let segments = rules.iter().map(|(key, _)| empty(key)).collect();
        let (mut set, mut refused) = (Self { segments, models, ..Self::default() }, Vec::new());
        let mut ready: VecDeque<usize> = (0..rules.len()).filter(|&at| waiting[at] == 0).collect();
        while let Some(at) = ready.pop_front() {
            let (key, rule) = rules[at];
            match rule.map(|rule| set.compile(key, rule, &place)) {
                None => {}
                Some(Ok(segment)) => {
                    set.by_key.insert(key.clone(), SegmentIx(at as u32));
                    set.segments[at] = segment;
                }
                Some(Err(faults)) => refused.extend(faults.into_iter().map(|fault| (at, fault))),
            }
            for &dependant in &dependants[at] {
                waiting[dependant] -= 1;
                if waiting[dependant] == 0 {
                    ready.push_back(dependant);
                }
            }
        }
        for at in (0..rules.len()).filter(|&at| waiting[at] > 0) {
            let circle = circle(at, |at| references(at).find(|&next| waiting[next] > 0));
            let names: Vec<_> = circle.iter().map(|&at| rules[at].0.as_str()).collect();
            let detail = format!("refers to itself in a circle: {}", names.join(" -> "));
            refused.push((at, Violation::new("/match", "reference_cycle", detail)));
        }
        let mut known = Known::default();
        for segment in &set.segments {
            set.program.add(segment.rule.as_ref(), &mut known);
        }
        refused.sort_by_key(|(at, _)| *at);
        (set, refused.into_iter().map(|(at, fault)| (rules[at].0.clone(), fault)).collect())
    }

    /// How many positions there are, those of refused segments included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether there is no segment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Every segment that was not refused, in order.
    pub fn all(&self) -> impl Iterator<Item = SegmentIx> {
        let numbered = self.segments.iter().zip(0..).map(|(segment, at)| (segment, SegmentIx(at)));
        numbered.filter(|(segment, ix)| self.by_key.get(&segment.key) == Some(ix)).map(|(_, ix)| ix)
    }

    /// The segment called `key`.
    #[must_use]
    pub fn ix(&self, key: &SegmentKey) -> Option<SegmentIx> {
        self.by_key.get(key).copied()
    }

    /// The name of a segment of this set.
    ///
    /// # Panics
    /// When `ix` is of another, larger set.
    #[must_use]
    pub fn key(&self, ix: SegmentIx) -> &SegmentKey {
        &self.segment(ix).key
    }

    /// How a segment of this set gets its members.
    ///
    /// # Panics
    /// When `ix` is of another, larger set.
    #[must_use]
    pub fn kind(&self, ix: SegmentIx) -> SegmentKind {
        if self.segment(ix).rule.is_some() { SegmentKind::Dynamic } else { SegmentKind::Static }
    }

    /// The stand-in for a segment's name.
    ///
    /// # Panics
    /// When `ix` is of another, larger set.
    #[must_use]
    pub fn hash(&self, ix: SegmentIx) -> NameHash {
        self.segment(ix).list
    }

    /// How long a segment's changes must have lasted before they are told.
    ///
    /// # Panics
    /// When `ix` is of another, larger set.
    #[must_use]
    pub fn holds(&self, ix: SegmentIx) -> Holds {
        self.segment(ix).holds
    }

    /// Whether a condition of the segment's own rule asks for another type than that of the trait held: it is
    /// false then, whatever the value.
    ///
    /// # Panics
    /// When `ix` is of another, larger set.
    #[must_use]
    pub fn mistypes(&self, ix: SegmentIx, traits: &Traits) -> bool {
        self.segment(ix).rule.as_ref().is_some_and(|(check, _)| check.mistypes(traits))
    }

    /// What must be remembered of events so that every segment can be answered.
    #[must_use]
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// What a segment's own conditions need of events, beside those of the segments that it names.
    ///
    /// # Panics
    /// When `ix` is of another, larger set.
    #[must_use]
    pub fn own_streams(&self, ix: SegmentIx) -> &[Stream] {
        &self.segment(ix).streams
    }

    /// The models that its rules may name.
    #[must_use]
    pub fn models(&self) -> &Arc<Models> {
        &self.models
    }

    /// Makes a targeting rule ready to evaluate with this set.
    ///
    /// # Errors
    /// Every segment it names that this set does not have, and every condition that is not
    /// supported yet, with its pointer within the targeting rule.
    pub fn bind(&self, node: &Node) -> Result<Condition, Vec<Violation>> {
        let (check, streams) = self.lower(node, &Path::ROOT, &HashMap::new())?;
        let mut segments: Vec<_> = node.referenced_segments().into_iter().filter_map(|key| self.ix(key)).collect();
        let mut traits: Vec<_> = node.referenced_traits().into_iter().map(|name| NameHash::of(name.as_str())).collect();
        segments.sort_unstable();
        traits.sort_unstable();
        let required = Requirements::of(&check);
        let (segments, traits, streams) = (segments.into(), traits.into(), streams.into());
        let mut models = false;
        node.walk(&mut |node| models |= matches!(node, Node::Cluster { .. } | Node::Rfm(_)));
        Ok(Condition { check, segments, traits, streams, required, models })
    }

    pub(super) fn segment(&self, ix: SegmentIx) -> &Segment {
        &self.segments[ix.0 as usize]
    }

    fn compile(
        &mut self,
        key: &SegmentKey,
        rule: &SegmentRule,
        given: &HashMap<&str, usize>,
    ) -> Result<Segment, Vec<Violation>> {
        let SegmentRule::Dynamic(rule) = rule else {
            return Ok(Segment::without_rule(key));
        };
        let (check, streams) = self.lower(&rule.node, &Path::ROOT.key("match"), given)?;
        let named = rule.node.referenced_segments().into_iter().filter_map(|key| self.ix(key));
        let depth = 1 + named.map(|ix| self.segment(ix).depth).max().unwrap_or_default();
        if depth > Self::REFERENCES {
            return Err(vec![Violation::new("/match", "reference_depth", "segments may refer to segments 32 deep")]);
        }
        self.streams.extend(streams.iter().cloned());
        let holds = Holds { enter: rule.enter_hold.unwrap_or_default(), exit: rule.exit_hold.unwrap_or_default() };
        let rule = Some((check, rule.zone.clone()));
        Ok(Segment { rule, holds, depth, streams: streams.into(), ..Segment::without_rule(key) })
    }

    fn lower(
        &self,
        node: &Node,
        at: &Path<'_>,
        given: &HashMap<&str, usize>,
    ) -> Result<(Check, Vec<Stream>), Vec<Violation>> {
        let scope = Scope { segments: &self.by_key, kind: &|ix| self.kind(ix), given, models: &self.models };
        let mut lowering = Lowering::new(scope);
        let check = lowering.node(node, at);
        lowering.finish(check)
    }
}

impl Condition {
    /// What must be true before it can hold.
    #[must_use]
    pub fn required(&self) -> &Requirements {
        &self.required
    }

    /// The segments it names, sorted.
    #[must_use]
    pub fn segments(&self) -> &[SegmentIx] {
        &self.segments
    }

    /// What must be remembered of events so that it can be answered, beside what its segments need.
    #[must_use]
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Whether it names models, so that it changes with them.
    #[must_use]
    pub fn names_models(&self) -> bool {
        self.models
    }

    /// The traits it names, sorted.
    #[must_use]
    pub fn traits(&self) -> &[NameHash] {
        &self.traits
    }
}

/// The circle that following `next` from `start` ends in, its first member repeated at the end;
/// of a longer one than references may go, the beginning.
fn circle(start: usize, next: impl Fn(usize) -> Option<usize>) -> Vec<usize> {
    let mut walked = vec![start];
    while let Some(at) = walked.last().and_then(|&at| next(at)).filter(|_| walked.len() <= RuleSet::REFERENCES) {
        let first = walked.iter().position(|&seen| seen == at);
        walked.push(at);
        if let Some(first) = first {
            walked.drain(..first);
            break;
        }
    }
    walked
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::audience::rule::Targeting;

    fn build(rules: &[(&str, Value)]) -> (RuleSet, Vec<(String, String, &'static str)>) {
        let rules: Vec<_> = rules
            .iter()
            .map(|(key, node)| {
                let rule = match node {
                    Value::Null => json!({"v": 1, "kind": "static"}),
                    node => json!({"v": 1, "kind": "dynamic", "match": node}),
                };
                (key.parse().expect("a key"), SegmentRule::parse(&rule).expect("a rule"))
            })
            .collect();
        let (set, refused) = RuleSet::build(&rules);
        (set, refused.into_iter().map(|(key, fault)| (key.to_string(), fault.pointer, fault.code)).collect())
    }

    fn refusal(key: &str, pointer: &str, code: &'static str) -> (String, String, &'static str) {
        (key.to_owned(), pointer.to_owned(), code)
    }

    fn has(set: &RuleSet, key: &str) -> bool {
        set.ix(&key.parse().expect("a key")).is_some()
    }

    #[test]
    fn segments_keep_the_positions_of_their_rules() {
        let (set, refused) =
            build(&[("c", json!({"segment": "b"})), ("b", json!({"not": {"list": "a"}})), ("a", Value::Null)]);
        assert_eq!(refused, []);
        assert_eq!(set.all().map(|ix| set.key(ix).as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
        assert_eq!(
            set.all().map(|ix| set.kind(ix)).collect::<Vec<_>>(),
            [SegmentKind::Dynamic, SegmentKind::Dynamic, SegmentKind::Static]
        );
    }

    #[test]
    fn a_gap_keeps_its_position_and_cannot_be_named() {
        let rule =
            |node: Value| SegmentRule::parse(&json!({"v": 1, "kind": "dynamic", "match": node})).expect("a rule");
        let [a, b, c] = ["a", "b", "c"].map(|key| key.parse().expect("a key"));
        let (names_a, free) = (rule(json!({"segment": "a"})), rule(json!({"trait": "x", "eq": 1})));
        let (set, refused) = RuleSet::with_gaps(&[(&a, None), (&b, Some(&names_a)), (&c, Some(&free))], Arc::default());
        assert_eq!(set.all().collect::<Vec<_>>(), [SegmentIx(2)]);
        assert_eq!((refused.len(), refused[0].0.as_str(), refused[0].1.code), (1, "b", "unknown_segment"));
        let (set, _) =
            RuleSet::with_gaps(&[(&a, Some(&free)), (&b, Some(&names_a)), (&c, Some(&free))], Arc::default());
        assert_eq!(set.all().collect::<Vec<_>>(), [SegmentIx(0), SegmentIx(1), SegmentIx(2)]);
    }

    #[test]
    fn circles_are_refused_and_the_others_work() {
        let (set, refused) = build(&[
            ("a", json!({"all": [{"trait": "x", "eq": 1}, {"segment": "b"}]})),
            ("b", json!({"not": {"segment": "a"}})),
            ("self", json!({"segment": "self"})),
            ("leads", json!({"segment": "a"})),
            ("good", json!({"trait": "x", "eq": 1})),
        ]);
        let circle = |key| refusal(key, "/match", "reference_cycle");
        assert_eq!(refused, [circle("a"), circle("b"), circle("self"), circle("leads")]);
        assert!(has(&set, "good") && set.all().count() == 1);
        let rule =
            |node: Value| SegmentRule::parse(&json!({"v": 1, "kind": "dynamic", "match": node})).expect("a rule");
        let rules = [("a", json!({"segment": "b"})), ("b", json!({"segment": "a"}))];
        let (_, refused) = RuleSet::build(&rules.map(|(key, node)| (key.parse().expect("a key"), rule(node))));
        assert_eq!(refused[0].1.detail, "refers to itself in a circle: a -> b -> a");
    }

    #[test]
    fn a_huge_circle_is_refused_quickly() {
        let rules: Vec<_> =
            (0..5_000).map(|at| (format!("s{at}"), json!({"segment": format!("s{}", (at + 1) % 5_000)}))).collect();
        let (set, refused) = build(&rules.iter().map(|(key, node)| (key.as_str(), node.clone())).collect::<Vec<_>>());
        assert_eq!((set.all().count(), refused.len()), (0, 5_000));
    }

    #[test]
    fn every_unknown_or_unsupported_part_is_named() {
        let (set, refused) = build(&[
            ("vip", Value::Null),
            ("a", json!({"any": [{"segment": "vpi"}, {"list": "none"}, {"segment": "vip"}]})),
            ("b", json!({"all": [{"rfm": {"r": [1]}}, {"not": {"score": {"model": "m", "gte": 1}}}]})),
            ("c", json!({"segment": "b"})),
            ("d", json!({"list": "e"})),
            ("e", json!({"trait": "x", "exists": true})),
        ]);
        assert_eq!(
            refused,
            [
                refusal("a", "/match/any/0/segment", "unknown_segment"),
                refusal("a", "/match/any/1/list", "unknown_segment"),
                refusal("b", "/match/all/0/rfm", "unknown_model"),
                refusal("b", "/match/all/1/not/score", "unsupported_condition"),
                refusal("c", "/match/segment", "refused_reference"),
                refusal("d", "/match/list", "not_a_list"),
            ]
        );
        assert!(has(&set, "vip") && has(&set, "e") && set.all().count() == 2);
        let unknown = set.bind(&Targeting::parse(&json!({"segment": "vpi"})).expect("a rule")).expect_err("a refusal");
        assert_eq!((unknown[0].pointer.as_str(), unknown[0].code), ("/segment", "unknown_segment"));
        assert!(unknown[0].detail.ends_with("did you mean \"vip\"?"), "{}", unknown[0].detail);
    }

    #[test]
    fn chains_of_references_are_bounded() {
        let chain: Vec<_> = (0..100_u32)
            .map(|at| match at {
                0 => ("s0".to_owned(), json!({"trait": "x", "eq": 1})),
                at => (format!("s{at}"), json!({"segment": format!("s{}", at - 1)})),
            })
            .collect();
        let (set, refused) = build(&chain.iter().map(|(key, node)| (key.as_str(), node.clone())).collect::<Vec<_>>());
        assert_eq!(set.all().count(), RuleSet::REFERENCES);
        assert_eq!(refused[0], refusal("s32", "/match", "reference_depth"));
        assert_eq!(refused[1], refusal("s33", "/match/segment", "refused_reference"));
    }

    #[test]
    fn a_bound_condition_knows_what_it_names() {
        let (set, _) = build(&[("a", Value::Null), ("b", Value::Null)]);
        let node =
            json!({"any": [{"segment": "b"}, {"not": {"list": "a"}}, {"segment": "b"}, {"trait": "age", "gt": 1}]});
        let condition = set.bind(&Targeting::parse(&node).expect("a rule")).expect("a condition");
        assert_eq!(condition.segments(), [SegmentIx(0), SegmentIx(1)]);
        assert_eq!(condition.traits(), [NameHash::of("age")]);
    }
}
