//! Who enters and who leaves, for announcements. Decisions never depend on it.

use super::{
    compile::{RuleSet, SegmentIx},
    context::Context,
    evaluate::{Evaluator, UserView},
    user::UserState,
};
use crate::domain::{ids::Uid, values::Millis};

/// A membership that a change to a person began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The segment.
    pub segment: SegmentIx,
    /// Whether the person is in now.
    pub entered: bool,
}

/// What a change to a person at `now` did to their memberships, in the order of the segments.
/// Both sides are asked at the same instant, so what time alone did is not among it.
#[must_use]
pub fn transitions(
    uid: Uid,
    before: Option<&UserState>,
    after: Option<&UserState>,
    rules: &RuleSet,
    now: Millis,
) -> Vec<Transition> {
    let context = Context::default();
    let evaluator =
        |state| Evaluator::new(rules, UserView { uid: Some(uid), state, ..UserView::default() }, &context, now);
    let (mut old, mut new) = (evaluator(before), evaluator(after));
    let moved = rules.all().filter_map(|segment| {
        // nobody is in anything before there is anything to know of them
        let was = before.is_some() && old.segment(segment).holds();
        let entered = after.is_some() && new.segment(segment).holds();
        (was != entered).then_some(Transition { segment, entered })
    });
    moved.collect()
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
        let (rules, refused) = RuleSet::build(&[
            (key("young"), rule(json!({"trait": "age", "lt": 30}))),
            (key("crm"), SegmentRule::parse(&json!({"v": 1, "kind": "static"})).expect("a rule")),
            (key("both"), rule(json!({"all": [{"segment": "young"}, {"list": "crm"}]}))),
            (key("strangers"), rule(json!({"not": {"list": "crm"}}))),
        ]);
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
            let moved = transitions(Uid(1), before, after, &rules, Millis(0)).into_iter();
            moved.map(|one| (rules.key(one.segment).to_string(), one.entered)).collect::<Vec<_>>()
        };
        let (old, new, listed) = (person(40, &[]), person(20, &[]), person(20, &["crm"]));
        let is = |key: &str, entered| (key.to_owned(), entered);
        assert_eq!(told(Some(&old), Some(&new)), [is("young", true)]);
        assert_eq!(told(Some(&new), Some(&listed)), [is("crm", true), is("both", true), is("strangers", false)]);
        assert_eq!(told(None, Some(&old)), [is("strangers", true)]);
        assert_eq!(told(Some(&listed), None), [is("young", false), is("crm", false), is("both", false)]);
        assert_eq!(told(Some(&new), Some(&new)), []);
    }
}
