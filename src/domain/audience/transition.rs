//! Who enters and who leaves, for announcements. Decisions never depend on it.

use std::collections::BTreeSet;

use super::{
    compile::{RuleSet, SegmentIx},
    context::Context,
    evaluate::{Evaluator, UserView},
    node::Node,
    rule::SegmentRule,
    user::UserState,
};
use crate::domain::{
    ids::{SegmentKey, Uid},
    values::Millis,
};

/// A membership that a change to a person began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The segment.
    pub segment: SegmentIx,
    /// Whether the person is in now.
    pub entered: bool,
}

/// What a change to a person at `now` did to their memberships of some segments, in the order of
/// these. Both sides are asked at the same instant, so what time alone did is not among it.
#[must_use]
pub fn transitions(
    uid: Uid,
    before: Option<&UserState>,
    after: Option<&UserState>,
    rules: &RuleSet,
    segments: impl Iterator<Item = SegmentIx>,
    now: Millis,
) -> Vec<Transition> {
    let context = Context::default();
    let evaluator =
        |state| Evaluator::new(rules, UserView { uid: Some(uid), state, ..UserView::default() }, &context, now);
    let (mut old, mut new) = (evaluator(before), evaluator(after));
    let moved = segments.filter_map(|segment| {
        // nobody is in anything before there is anything to know of them
        let was = before.is_some() && old.segment(segment).holds();
        let entered = after.is_some() && new.segment(segment).holds();
        (was != entered).then_some(Transition { segment, entered })
    });
    moved.collect()
}

/// The segments whose rules ask for `key`, themselves or through others, in order.
#[must_use]
pub fn resting_on(key: &SegmentKey, known: &[(SegmentKey, Option<SegmentRule>)]) -> Vec<SegmentKey> {
    let mut found = BTreeSet::from([key]);
    loop {
        let count = found.len();
        for (other, rule) in known {
            let named = rule.as_ref().and_then(SegmentRule::node).map(Node::referenced_segments).unwrap_or_default();
            if named.into_iter().any(|named| found.contains(named)) {
                found.insert(other);
            }
        }
        if found.len() == count {
            return found.into_iter().filter(|other| *other != key).cloned().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        audience::{caps::CapRing, profile::Traits, rule::SegmentRule, user::Lists},
        ids::NameHash,
    };

    #[test]
    fn only_what_changed_is_told() {
        let rule =
            |node: Value| SegmentRule::parse(&json!({"v": 1, "kind": "dynamic", "match": node})).expect("a rule");
        let key = |key: &str| key.parse().expect("a key");
        let known = [
            (key("young"), rule(json!({"trait": "age", "lt": 30}))),
            (key("crm"), SegmentRule::parse(&json!({"v": 1, "kind": "static"})).expect("a rule")),
            (key("both"), rule(json!({"all": [{"segment": "young"}, {"list": "crm"}]}))),
            (key("strangers"), rule(json!({"not": {"list": "crm"}}))),
        ];
        let (rules, refused) = RuleSet::build(&known);
        assert!(refused.is_empty());
        let person = |age: i64, lists: &[&str]| {
            let lists = Lists::new(lists.iter().map(|list| (NameHash::of(list), None)));
            UserState::new(
                1,
                Traits::parse(&json!({"age": age}), Millis(0)).expect("traits"),
                lists,
                CapRing::default(),
            )
        };
        let told = |before: Option<&UserState>, after: Option<&UserState>| {
            let moved = transitions(Uid(1), before, after, &rules, rules.all(), Millis(0)).into_iter();
            moved.map(|one| (rules.key(one.segment).to_string(), one.entered)).collect::<Vec<_>>()
        };
        let (old, new, listed) = (person(40, &[]), person(20, &[]), person(20, &["crm"]));
        let is = |key: &str, entered| (key.to_owned(), entered);
        assert_eq!(told(Some(&old), Some(&new)), [is("young", true)]);
        assert_eq!(told(Some(&new), Some(&listed)), [is("crm", true), is("both", true), is("strangers", false)]);
        assert_eq!(told(None, Some(&old)), [is("strangers", true)]);
        assert_eq!(told(Some(&listed), None), [is("young", false), is("crm", false), is("both", false)]);
        assert_eq!(told(Some(&new), Some(&new)), []);

        let mut known: Vec<_> = known.into_iter().map(|(key, rule)| (key, Some(rule))).collect();
        known.insert(0, (key("neither"), Some(rule(json!({"not": {"segment": "both"}})))));
        known.push((key("broken"), None));
        assert_eq!(resting_on(&key("crm"), &known), ["both", "neither", "strangers"].map(key));
        assert_eq!(resting_on(&key("neither"), &known), []);
    }
}
