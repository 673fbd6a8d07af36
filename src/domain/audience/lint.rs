//! What an author of a rule should look at, though the rule can be used: conditions that never or
//! always hold, that others make needless, and names that nobody has used.

use std::collections::BTreeSet;

use super::{
    implication::Logic,
    nearest::hint,
    node::{Node, Sequence, Step},
    rule::SegmentRule,
};
use crate::domain::violation::Violation;

/// Names in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// Traits that people have or other rules name.
    pub traits: BTreeSet<String>,
    /// Events that came, that are remembered or that pages may send.
    pub events: BTreeSet<String>,
}

impl Vocabulary {
    /// Adds the names that a rule uses.
    pub fn learn(&mut self, rule: &SegmentRule) {
        let Some(node) = rule.node() else { return };
        node.walk(&mut |node| {
            match node {
                Node::Trait(condition) => {
                    self.traits.insert(condition.name.to_string());
                }
                Node::Event(condition) => {
                    self.events.insert(condition.event.to_string());
                }
                Node::Sequence(sequence) => {
                    self.events.extend(steps(sequence).map(|(_, step)| step.event.to_string()));
                }
                _ => {}
            };
        });
    }
}

/// What an author should look at, with pointers within the rule. Every finding is certain; not
/// everything is found.
#[must_use]
pub fn lint(rule: &SegmentRule, known: &Vocabulary) -> Vec<Violation> {
    let mut lint = Lint { known, logic: Logic::default(), found: Vec::new() };
    if let Some(node) = rule.node() {
        if lint.logic.never(node) {
            lint.note("/match", "never_true", "nobody can ever meet this");
        } else if lint.logic.always(node) {
            lint.note("/match", "always_true", "everybody always meets this");
        }
        lint.visit(node, "/match", true);
    }
    lint.found
}

/// Whether nobody can ever meet a condition. `false` is no proof that somebody can.
#[must_use]
pub fn never(node: &Node) -> bool {
    Logic::default().never(node)
}

struct Lint<'a> {
    known: &'a Vocabulary,
    logic: Logic,
    found: Vec<Violation>,
}

impl Lint<'_> {
    fn note(&mut self, pointer: &str, code: &'static str, detail: impl Into<String>) {
        self.found.push(Violation::new(pointer, code, detail));
    }

    /// Looks at a condition and all below it; `told` when what is wrong with it was told above.
    fn visit(&mut self, node: &Node, at: &str, told: bool) {
        let constant = self.logic.never(node) || self.logic.always(node);
        if !told && constant {
            let (code, detail) = if self.logic.never(node) {
                ("never_true", "nobody can ever meet this")
            } else {
                ("always_true", "everybody always meets this")
            };
            self.note(at, code, detail);
        }
        match node {
            Node::All(nodes) => self.group(nodes, &format!("{at}/all"), true, constant),
            Node::Any(nodes) => self.group(nodes, &format!("{at}/any"), false, constant),
            Node::Not(node) => self.visit(node, &format!("{at}/not"), constant),
            Node::Trait(condition) => {
                let name = condition.name.as_str();
                if !self.known.traits.contains(name) {
                    let hint = hint(name, self.known.traits.iter().map(String::as_str));
                    self.note(&format!("{at}/trait"), "unknown_trait", format!("nobody has a trait \"{name}\"{hint}"));
                }
            }
            Node::Event(condition) => self.event(condition.event.as_str(), &format!("{at}/event")),
            Node::Sequence(sequence) => {
                for (place, step) in steps(sequence) {
                    self.event(step.event.as_str(), &format!("{at}/sequence{place}"));
                }
            }
            _ => {}
        }
    }

    /// In a conjunction a child is needless that another implies; in a disjunction one that implies
    /// another.
    fn group(&mut self, nodes: &[Node], at: &str, all: bool, told: bool) {
        for (place, node) in nodes.iter().enumerate() {
            let child = format!("{at}/{place}");
            let covered = |other: usize| {
                let other_node = &nodes[other];
                let (from, to) = if all { (other_node, node) } else { (node, other_node) };
                // of two that say the same, the later one is needless
                other != place && self.logic.implies(from, to) && (other < place || !self.logic.implies(to, from))
            };
            if !told && let Some(other) = (0..nodes.len()).find(|&other| covered(other)) {
                let detail = match all {
                    true => format!("needless: whoever meets {at}/{other} meets this as well"),
                    false => format!("needless: whoever meets this meets {at}/{other} as well"),
                };
                self.note(&child, "shadowed", detail);
            }
            self.visit(node, &child, told);
        }
    }

    fn event(&mut self, name: &str, at: &str) {
        if !self.known.events.contains(name) {
            let hint = hint(name, self.known.events.iter().map(String::as_str));
            self.note(at, "unknown_event", format!("no event \"{name}\" has come, and nothing else names it{hint}"));
        }
    }
}

/// The steps of a sequence with their places within it.
fn steps(sequence: &Sequence) -> impl Iterator<Item = (String, &Step)> {
    let later = sequence.then.iter().enumerate().map(|(at, next)| {
        let field = if next.happens { "event" } else { "not" };
        (format!("/then/{at}/{field}"), &next.step)
    });
    std::iter::once(("/start/event".to_owned(), &sequence.start)).chain(later)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(node: &Value) -> Vec<(String, &'static str)> {
        let rule = SegmentRule::parse(&json!({"v": 1, "kind": "dynamic", "match": node})).expect("a rule");
        let mut known = Vocabulary::default();
        known.learn(&rule);
        let short = |pointer: &str| pointer.strip_prefix("/match").unwrap_or(pointer).to_owned();
        lint(&rule, &known).into_iter().map(|found| (short(&found.pointer), found.code)).collect()
    }

    #[track_caller]
    fn says(node: Value, expected: &[(&str, &'static str)]) {
        let expected: Vec<_> = expected.iter().map(|(pointer, code)| ((*pointer).to_owned(), *code)).collect();
        assert_eq!(found(&node), expected, "{node}");
    }

    fn count(event: &str, range: Value, days: u32) -> Value {
        json!({"event": event, "count": range, "in": {"last": format!("P{days}D")}})
    }

    #[test]
    fn contradictions_are_found() {
        let left = |within: &str, lookback: &str| json!({"sequence": {"start": {"event": "add_to_cart"}, "then": [{"not": "purchase", "within": within}], "lookback": lookback}});
        says(left("PT30M", "PT30M"), &[("", "never_true")]);
        says(left("PT30M", "PT31M"), &[]);
        says(json!({"trait": "age", "gte": 30, "lt": 30}), &[("", "never_true")]);
        says(json!({"all": [{"trait": "age", "gt": 30}, {"trait": "age", "lt": 20}]}), &[("", "never_true")]);
        says(json!({"all": [{"trait": "age", "in": [1, 2]}, {"trait": "age", "gt": 5}]}), &[("", "never_true")]);
        says(json!({"all": [{"trait": "a", "exists": false}, {"trait": "a", "eq": "x"}]}), &[("", "never_true")]);
        says(json!({"all": [{"trait": "a", "starts_with": "x"}, {"trait": "a", "gt": 1}]}), &[("", "never_true")]);
        says(json!({"all": [{"segment": "x"}, {"not": {"list": "x"}}]}), &[("", "never_true")]);
        says(
            json!({"all": [{"trait": "t", "has_all": ["a", "b"]}, {"trait": "t", "has_none": ["b"]}]}),
            &[("", "never_true")],
        );
        says(
            json!({"all": [count("buy", json!({"gte": 3}), 7), count("buy", json!({"lt": 2}), 30)]}),
            &[("", "never_true")],
        );
        says(
            json!({"any": [{"trait": "city", "eq": "Rome"}, {"trait": "age", "gt": 9, "lt": 3}]}),
            &[("/any/1", "never_true")],
        );
        // a set can hold both, a number cannot; fewer in a week says nothing of a month
        says(json!({"all": [{"trait": "likes", "eq": "a"}, {"trait": "likes", "eq": "b"}]}), &[]);
        says(json!({"all": [count("buy", json!({"gte": 3}), 30), count("buy", json!({"lt": 2}), 7)]}), &[]);
    }

    #[test]
    fn what_always_holds_is_found() {
        says(json!({"any": [{"trait": "age", "gt": 5}, {"not": {"trait": "age", "gt": 7}}]}), &[("", "always_true")]);
        says(count("buy", json!({"gte": 0}), 7), &[("", "always_true")]);
        says(
            json!({"all": [{"trait": "a", "eq": 1}, count("buy", json!({"gte": 0}), 7)]}),
            &[("/all/1", "always_true")],
        );
        // nobody unknown is under or over
        says(json!({"any": [{"trait": "age", "gt": 5}, {"trait": "age", "lte": 5}]}), &[]);
    }

    #[test]
    fn what_others_make_needless_is_found() {
        says(json!({"any": [{"trait": "age", "gt": 30}, {"trait": "age", "gte": 18}]}), &[("/any/0", "shadowed")]);
        says(json!({"all": [{"trait": "age", "gt": 30}, {"trait": "age", "gte": 18}]}), &[("/all/1", "shadowed")]);
        says(json!({"all": [{"trait": "a", "eq": 1}, {"trait": "a", "eq": 1}]}), &[("/all/1", "shadowed")]);
        says(json!({"any": [{"trait": "c", "in": ["a", "b"]}, {"trait": "c", "eq": "a"}]}), &[("/any/1", "shadowed")]);
        says(
            json!({"any": [count("buy", json!({"gte": 3}), 7), count("buy", json!({"gte": 2}), 30)]}),
            &[("/any/0", "shadowed")],
        );
        says(
            json!({"all": [{"trait": "x", "eq": 1}, {"any": [{"trait": "x", "eq": 1}, {"trait": "y", "eq": 2}]}]}),
            &[("/all/1", "shadowed")],
        );
        says(
            json!({"all": [{"segment": "vip"}, {"not": {"all": [{"not": {"segment": "vip"}}, {"trait": "y", "eq": 2}]}}]}),
            &[("/all/1", "shadowed")],
        );
        says(json!({"all": [{"trait": "age", "gt": 30}, {"trait": "age", "lt": 40}]}), &[]);
    }

    #[test]
    fn unknown_names_come_with_the_nearest_known() {
        let rule = json!({"v": 1, "kind": "dynamic", "match": {"all": [{"trait": "contry", "eq": "DE"},
            {"sequence": {"start": {"event": "add_to_cart"}, "then": [{"not": "purchse", "within": "PT30M"}], "lookback": "P7D"}}]}});
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let known = Vocabulary { traits: names(&["country"]), events: names(&["add_to_cart", "purchase"]) };
        let found = lint(&SegmentRule::parse(&rule).expect("a rule"), &known);
        let short: Vec<_> = found.iter().map(|found| (found.pointer.as_str(), found.code)).collect();
        assert_eq!(
            short,
            [("/match/all/0/trait", "unknown_trait"), ("/match/all/1/sequence/then/0/not", "unknown_event")]
        );
        assert!(found[0].detail.ends_with("did you mean \"country\"?"), "{}", found[0].detail);
        assert!(found[1].detail.contains("purchase"));
    }
}
