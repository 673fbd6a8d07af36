//! Rules as marketers write them, from the document to the answer and its words.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    activity::Event,
    caps::CapRing,
    compile::{RuleSet, SegmentIx},
    context::Context,
    evaluate::{Evaluator, UserView},
    explain::Explanation,
    models::{Models, RfmModel},
    profile::Traits,
    rule::{SegmentRule, Targeting},
    user::{Lists, UserState},
    verdict::Verdict,
};
use crate::domain::values::Millis;

fn at(text: &str) -> Millis {
    text.parse().expect("an instant")
}

/// One person against one rule; the other segments that it names are static and empty.
struct Case {
    rules: RuleSet,
    state: UserState,
}

impl Case {
    fn new(rule: &Value) -> Self {
        let rule = SegmentRule::parse(rule).unwrap_or_else(|faults| panic!("{faults:?}"));
        let named = rule.node().map(super::node::Node::referenced_segments).unwrap_or_default();
        let lists: Vec<_> = named.into_iter().cloned().map(|key| (key, SegmentRule::Static)).collect();
        let rules: Vec<_> = std::iter::once(("it".parse().expect("a key"), rule)).chain(lists).collect();
        let rfm: RfmModel = serde_json::from_value(json!({"event": "purchase", "amount": "amount", "window": "P365D",
            "recency": ["P7D", "P30D", "P90D", "P180D"], "frequency": [2, 3, 4, 5], "money": [20, 50, 100, 200]}))
        .expect("a model");
        let models = Arc::new(Models::new([("buyers".parse().expect("a key"), rfm)], []).expect("models"));
        let given: Vec<_> = rules.iter().map(|(key, rule)| (key, Some(rule))).collect();
        let (rules, refused) = RuleSet::with_gaps(&given, models);
        assert_eq!(refused, []);
        Self { rules, state: UserState::default() }
    }

    fn did(&mut self, name: &str, when: &str, properties: Value) {
        let properties = properties.as_object().expect("an object").clone();
        let event = Event { name: name.parse().expect("a name"), at: at(when), properties };
        self.state.absorb(self.rules.streams(), &event);
    }

    fn evaluator<'a>(&'a self, context: &'a Context, now: Millis) -> Evaluator<'a> {
        let user = UserView { state: Some(&self.state), ..UserView::default() };
        Evaluator::new(&self.rules, user, context, now).thorough()
    }

    fn verdict(&self, now: Millis) -> Verdict {
        self.evaluator(&Context::default(), now).segment(SegmentIx(0))
    }

    fn explained(&self, now: Millis) -> Explanation {
        self.evaluator(&Context::default(), now).explain_segment(SegmentIx(0)).parts.remove(0)
    }

    #[track_caller]
    fn holds_from_to(&self, from: &str, to: &str) {
        let (from, to) = (at(from), at(to));
        assert_eq!(self.verdict(from), Verdict::new(true, Some(from), Some(to)));
        assert!(!self.verdict(from.plus(-1)).holds() && self.verdict(to.plus(-1)).holds() && !self.verdict(to).holds());
    }
}

fn dynamic(node: Value) -> Value {
    json!({"v": 1, "kind": "dynamic", "match": node})
}

fn abandoned() -> Value {
    dynamic(json!({"any": [
        {"sequence": {"start": {"event": "add_to_cart"}, "then": [{"not": "purchase", "within": "PT30M"}],
            "same": "cart_id", "anchor": "last", "lookback": "P7D", "late_clears": true}},
        {"all": [{"event": "basket_emptied", "count": {"gte": 3}, "in": {"last": "P30D"}},
            {"event": "purchase", "count": {"eq": 0}, "in": {"last": "P30D"}}]}]}))
}

#[test]
fn a_basket_left_behind_enters_after_its_grace_and_leaves_with_the_lookback() {
    let mut case = Case::new(&abandoned());
    assert_eq!(case.verdict(at("2026-11-01T00:00:00Z")), Verdict::NEVER);
    case.did("add_to_cart", "2026-11-01T10:00:00Z", json!({"cart_id": "c1"}));
    case.holds_from_to("2026-11-01T10:30:00Z", "2026-11-08T10:00:00Z");
    // Buying another basket changes nothing; buying this one, however late, does.
    case.did("purchase", "2026-11-01T10:10:00Z", json!({"cart_id": "c2"}));
    case.holds_from_to("2026-11-01T10:30:00Z", "2026-11-08T10:00:00Z");
    case.did("purchase", "2026-11-02T00:00:00Z", json!({"cart_id": "c1"}));
    assert_eq!(case.verdict(at("2026-11-02T00:00:00Z")).since(), Some(at("2026-11-02T00:00:00Z")));
    assert!(!case.verdict(at("2026-11-02T00:00:00Z")).holds());
}

#[test]
fn what_was_found_is_said_beside_what_is_wanted() {
    let mut case = Case::new(&abandoned());
    for day in ["2026-11-01T10:00:00Z", "2026-11-03T10:00:00Z"] {
        case.did("basket_emptied", day, json!({}));
    }
    let now = at("2026-11-05T00:00:00Z");
    let told = case.explained(now);
    let emptied = &told.parts[1].parts[0];
    assert_eq!(emptied.condition, "at least 3 basket_emptied in 30 days");
    assert_eq!(emptied.found.as_deref(), Some("2 of 3 basket_emptied in 30 days"));
    assert_eq!(emptied.why, emptied.found);
    assert_eq!(told.parts[0].why.as_deref(), Some("no add_to_cart in 7 days"));
    assert_eq!(told.parts[1].why.as_deref(), Some("2 of 3 basket_emptied in 30 days"));
    case.did("basket_emptied", "2026-11-04T10:00:00Z", json!({}));
    case.did("add_to_cart", "2026-11-04T23:45:00Z", json!({"cart_id": 7}));
    let told = case.explained(now);
    assert!(told.holds && told.parts[1].holds);
    assert_eq!(told.parts[1].since, Some(at("2026-11-04T10:00:00Z")));
    assert_eq!(told.parts[1].parts[0].found.as_deref(), Some("3 of 3 basket_emptied in 30 days"));
    assert_eq!(
        told.parts[0].found.as_deref(),
        Some("add_to_cart at 2026-11-04T23:45:00.000Z; the wait ends at 2026-11-05T00:15:00.000Z")
    );
}

#[test]
fn every_kind_of_condition_has_words() {
    let told = |node: Value| {
        let mut case = Case::new(&dynamic(node));
        for (day, amount) in [("2026-11-01T10:00:00Z", json!(30)), ("2026-11-02T10:00:00Z", json!(12.5))] {
            case.did("purchase", day, json!({"amount": amount, "shop": "berlin"}));
        }
        let Explanation { condition, found, .. } = case.explained(at("2026-11-04T10:00:00Z"));
        (condition, found.unwrap_or_default())
    };
    for (node, condition, found) in [
        (
            json!({"event": "purchase", "count": {"eq": 0}, "in": {"last": "P30D"}}),
            "exactly 0 purchase in 30 days",
            "2 purchase in 30 days, wanted exactly 0",
        ),
        (
            json!({"event": "purchase", "where": {"amount": {"gte": 20}}, "key": {"shop": "berlin"}, "count": {"gt": 1, "lt": 5},
                "in": {"calendar": "this_month"}}),
            "more than 1 and less than 5 purchase with amount >= 20 of shop \"berlin\" this month",
            "1 purchase with amount >= 20 of shop \"berlin\" this month, wanted more than 1 and less than 5",
        ),
        (
            json!({"event": "purchase", "sum": {"of": "amount", "is": {"gte": 200}}, "in": {"ago": {"from": "P365D", "to": "P1D"}}}),
            "amount of purchase adds up to at least 200 from 365 days to 1 day ago",
            "42.5 of 200 amount of purchase from 365 days to 1 day ago",
        ),
        (
            json!({"event": "purchase", "avg": {"of": "amount", "is": {"lte": 20}}, "in": {"ever": true}}),
            "amount of purchase is on average at most 20 ever",
            "amount of purchase is 21.25 on average ever, wanted at most 20",
        ),
        (
            json!({"event": "purchase", "distinct": {"of": "shop", "is": {"gte": 3}}, "in": {"calendar": "days", "n": 7}}),
            "at least 3 different shop of purchase in 7 calendar days",
            "1 of 3 different shop of purchase in 7 calendar days",
        ),
        (
            json!({"event": "purchase", "last_seen": {"older_than": "P14D", "within": "P90D"}}),
            "last purchase from 14 days to 90 days ago",
            "last purchase 2 days ago, at 2026-11-02T10:00:00.000Z",
        ),
        (
            json!({"event": "visit", "first_seen": {"within": "P7D"}}),
            "first visit less than 7 days ago",
            "no visit is known",
        ),
        (
            json!({"sequence": {"start": {"event": "purchase"}, "then": [{"event": "visit", "within": "PT1H"}],
                "lookback": "P7D", "same": "shop"}}),
            "purchase, then visit within 1 hour, of the same shop, in 7 days",
            "purchase at 2026-11-02T10:00:00.000Z, but then not as asked",
        ),
    ] {
        assert_eq!(told(node.clone()), (condition.to_owned(), found.to_owned()), "{node}");
    }
}

#[test]
fn lapsed_people_of_value() {
    let mut case = Case::new(&dynamic(json!({"all": [
        {"event": "purchase", "sum": {"of": "amount", "is": {"gte": 200}}, "in": {"last": "P365D"}},
        {"event": "session", "last_seen": {"older_than": "P14D", "within": "P90D"}}, {"not": {"list": "suppressed"}}]})));
    case.did("purchase", "2026-01-10T00:00:00Z", json!({"amount": 150}));
    case.did("session", "2026-02-01T00:00:00Z", json!({}));
    assert!(!case.verdict(at("2026-03-01T00:00:00Z")).holds());
    case.did("purchase", "2026-02-01T00:00:00Z", json!({"amount": 49.99}));
    assert!(!case.verdict(at("2026-03-01T00:00:00Z")).holds());
    case.did("purchase", "2026-02-01T00:00:00Z", json!({"amount": 0.01}));
    case.holds_from_to("2026-02-15T00:00:00Z", "2026-05-02T00:00:00Z");
}

#[test]
fn browsing_counts_by_local_days() {
    let mut case = Case::new(&json!({"v": 1, "kind": "dynamic", "tz": "Europe/London", "match":
        {"event": "product_view", "distinct": {"of": "product_id", "is": {"gte": 3}}, "in": {"calendar": "days", "n": 7}}}));
    // In London it is 19 October already.
    case.did("product_view", "2026-10-18T23:30:00Z", json!({"product_id": "a"}));
    case.did("product_view", "2026-10-20T10:00:00Z", json!({"product_id": "b"}));
    case.did("product_view", "2026-10-20T11:00:00Z", json!({"product_id": "b"}));
    assert!(!case.verdict(at("2026-10-20T12:00:00Z")).holds());
    case.did("product_view", "2026-10-20T12:00:00Z", json!({"product_id": "c"}));
    assert!(case.verdict(at("2026-10-20T12:00:00Z")).holds());
    // Summer time ends on the 25th: that day is the seventh, and 25 hours long.
    assert!(case.verdict(at("2026-10-25T23:59:59.999Z")).holds());
    assert!(!case.verdict(at("2026-10-26T00:00:00Z")).holds());
}

#[test]
fn champions_are_recent_frequent_and_dear() {
    let mut case = Case::new(&dynamic(json!({"any": [
        {"rfm": {"event": "purchase", "r": [5], "f": [4, 5], "m": [4, 5]}}, {"segment": "vip"}]})));
    for (day, amount) in [("2026-01-01", 10), ("2026-03-01", 30), ("2026-05-01", 40), ("2026-06-01", 25)] {
        case.did("purchase", &format!("{day}T00:00:00Z"), json!({"amount": amount}));
    }
    case.holds_from_to("2026-06-01T00:00:00Z", "2026-06-08T00:00:00Z");
    let told = case.explained(at("2026-07-01T00:00:00Z"));
    assert_eq!(told.parts[0].condition, "purchase by fifths, recency 5, frequency 4 or 5, money 4 or 5");
    assert_eq!(told.parts[0].why.as_deref(), Some("last purchase 30 days ago, at 2026-06-01T00:00:00.000Z"));
}

#[test]
fn nobody_has_done_nothing() {
    let none = json!({"event": "purchase", "count": {"eq": 0}, "in": {"last": "P30D"}});
    let condition = RuleSet::default().bind(&Targeting::parse(&none).expect("a rule")).expect("a condition");
    let (rules, context) = (RuleSet::default(), Context::default());
    let mut nobody = Evaluator::new(&rules, UserView::default(), &context, at("2026-11-01T00:00:00Z"));
    assert_eq!(nobody.condition(&condition), Verdict::ALWAYS);
    let known = Traits::parse(&json!({"age": 31}), Millis(0)).expect("traits");
    let state = UserState::new(1, known, Lists::default(), CapRing::default());
    let user = UserView { state: Some(&state), ..UserView::default() };
    assert!(Evaluator::new(&rules, user, &context, at("2026-11-01T00:00:00Z")).condition(&condition).holds());
}

#[test]
fn models_that_cannot_answer_are_named() {
    let refused = |node: Value| {
        let rule = SegmentRule::parse(&dynamic(node)).expect("a rule");
        let (_, refused) = RuleSet::build(&[("a".parse().expect("a key"), rule)]);
        let [(_, fault)] = refused.try_into().expect("one fault");
        (fault.pointer, fault.code, fault.detail)
    };
    let (pointer, code, detail) = refused(json!({"cluster": {"model": "behaviour-k8", "in": [2]}}));
    assert_eq!((pointer.as_str(), code), ("/match/cluster/model", "unknown_model"));
    assert_eq!(detail, "no cluster model is called \"behaviour-k8\"");
    let (pointer, code, detail) = refused(json!({"rfm": {"event": "purchase", "r": [5]}}));
    assert_eq!((pointer.as_str(), code), ("/match/rfm", "unknown_model"));
    assert_eq!(detail, "no model has cut points of recency, frequency and money for \"purchase\"");
    let (pointer, code, _) = refused(json!({"lookalike": {"model": "vip-seed", "top_pct": 5}}));
    assert_eq!((pointer.as_str(), code), ("/match/lookalike", "unsupported_condition"));
}
