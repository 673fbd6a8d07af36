//! Why a condition holds or does not, in words.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{
    check::{Check, TraitCheck},
    compile::{Condition, SegmentIx},
    evaluate::Evaluator,
    node::Rfm,
    predicate::Test,
    value::View,
};
use crate::domain::values::Millis;

/// A condition, its answer, and the answers it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Explanation {
    /// The condition in words.
    pub condition: String,
    /// Whether it holds.
    pub holds: bool,
    /// Since when it has been so, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Millis>,
    /// When time alone may change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Millis>,
    /// What was found of the person's events, as in "2 of 3 basket_emptied in 30 days".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// The first reason why it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The conditions it consists of, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub parts: Vec<Explanation>,
}

impl Evaluator<'_> {
    /// Why a targeting rule holds or does not. Asks every condition.
    pub fn explain(&mut self, condition: &Condition) -> Explanation {
        self.explained(&condition.check, &TimeZone::UTC)
    }

    /// Why a person is in a segment or is not.
    ///
    /// # Panics
    /// When `ix` is of another, larger set of rules.
    pub fn explain_segment(&mut self, ix: SegmentIx) -> Explanation {
        let parts = match &self.rules.segment(ix).rule {
            Some((check, zone)) if self.forced(ix).is_none() => {
                let zone = self.zone(zone);
                vec![self.explained(check, &zone)]
            }
            _ => Vec::new(),
        };
        Explanation { parts, ..self.explained(&Check::Segment(ix), &TimeZone::UTC) }
    }

    /// The first reason why a targeting rule does not hold, if it does not: less work than the
    /// whole explanation.
    pub fn failing(&mut self, condition: &Condition) -> Option<String> {
        if self.condition(condition).holds() { None } else { Some(self.why(&condition.check, &TimeZone::UTC)) }
    }

    fn explained(&mut self, check: &Check, zone: &TimeZone) -> Explanation {
        let verdict = self.check(check, zone);
        let (holds, since, valid_until) = (verdict.holds(), verdict.since(), verdict.valid_until());
        let parts = match check {
            Check::All(group) | Check::Any(group) => {
                group.children.iter().map(|child| self.explained(child, zone)).collect()
            }
            Check::Not(child) => vec![self.explained(child, zone)],
            Check::Rfm(rfm) => vec![self.explained(&rfm.1, zone)],
            _ => Vec::new(),
        };
        let why = (!holds).then(|| self.why(check, zone));
        let found = self.found(check, zone);
        Explanation { condition: self.words(check), holds, since, valid_until, found, why, parts }
    }

    /// What was found of the person's events.
    fn found(&mut self, check: &Check, zone: &TimeZone) -> Option<String> {
        Some(match check {
            Check::Event(gauge) => {
                let page = self.page(gauge, zone);
                gauge.found(gauge.measured(self.activity, self.now, page), self.now)
            }
            Check::Sequence(chain) => {
                let verdict = self.check(check, zone);
                chain.found(verdict.holds(), chain.started(self.activity, self.now), verdict.valid_until())
            }
            Check::Cluster(check) => {
                let nearest = self.nearest(check);
                format!("cluster {} of {}, {:.2} from its middle", nearest.cluster, check.name, nearest.distance)
            }
            _ => return None,
        })
    }

    /// Why `check`, which does not hold, does not.
    fn why(&mut self, check: &Check, zone: &TimeZone) -> String {
        match check {
            Check::All(group) => {
                let failing = group.children.iter().find(|child| !self.check(child, zone).holds());
                failing.map(|child| self.why(child, zone)).unwrap_or_default()
            }
            Check::Any(group) => {
                let first = group.children.first().map(|child| self.why(child, zone)).unwrap_or_default();
                match group.children.len() {
                    1 => first,
                    count => format!("none of {count} alternatives holds; the first: {first}"),
                }
            }
            Check::Not(child) => format!("excluded: {} holds", self.words(child)),
            Check::Trait(check) => self.why_trait(check, zone),
            Check::Context(condition) => {
                let value = self.context.view(&condition.path);
                let what = format!("context {}", condition.path);
                failing_test(&what, value, condition.tests.iter(), self.now, zone)
            }
            Check::Segment(ix) => self.why_segment(*ix),
            Check::Event(_) | Check::Sequence(_) | Check::Cluster(_) => self.found(check, zone).unwrap_or_default(),
            Check::Rfm(rfm) => self.why(&rfm.1, zone),
            Check::Sample(share) => match self.user.uid {
                None => "nobody is known, so nobody is in a sample".to_owned(),
                Some(uid) => {
                    format!(
                        "sample {:?}: share {} is not in {}..{}",
                        share.name,
                        share.bucket(uid),
                        share.from,
                        share.to
                    )
                }
            },
        }
    }

    fn why_trait(&self, check: &TraitCheck, zone: &TimeZone) -> String {
        let what = format!("trait {}", check.name);
        let held = self.user.held(check.hash);
        if let Some((age, held)) = check.max_age.zip(held)
            && self.now >= held.set_at.plus(age.millis())
        {
            return format!("{what} was set at {}, not within the last {age}", held.set_at);
        }
        failing_test(&what, held.map(|held| held.value.view()), check.tests.iter(), self.now, zone)
    }

    fn why_segment(&mut self, ix: SegmentIx) -> String {
        let (segment, key) = (self.rules.segment(ix), self.rules.key(ix));
        if self.forced(ix).is_some() {
            return format!("segment {key}: not among those given");
        }
        match (&segment.rule, self.user.state.and_then(|state| state.lists.get(segment.list))) {
            (Some((check, zone)), _) => {
                let zone = self.zone(zone);
                format!("segment {key}: {}", self.why(check, &zone))
            }
            (None, Some(listed)) => format!("segment {key}: listed until {}", listed.until),
            (None, None) => format!("segment {key}: not listed"),
        }
    }

    fn words(&self, check: &Check) -> String {
        match check {
            Check::All(_) => "all".to_owned(),
            Check::Any(_) => "any".to_owned(),
            Check::Not(_) => "not".to_owned(),
            Check::Trait(check) => {
                let fresh = check.max_age.map(|age| format!("set within the last {age}"));
                let tests = check.tests.iter().map(Test::to_string).chain(fresh);
                format!("trait {} {}", check.name, tests.collect::<Vec<_>>().join(" and "))
            }
            Check::Context(condition) => {
                let tests: Vec<_> = condition.tests.iter().map(Test::to_string).collect();
                format!("context {} {}", condition.path, tests.join(" and "))
            }
            Check::Segment(ix) => format!("segment {}", self.rules.key(*ix)),
            Check::Sample(share) => format!("sample {:?} {}..{}", share.name, share.from, share.to),
            Check::Event(gauge) => gauge.words(),
            Check::Sequence(chain) => chain.words(),
            Check::Cluster(check) => {
                let among: Vec<_> = check.among.iter().map(ToString::to_string).collect();
                format!("cluster {} of {}", among.join(" or "), check.name)
            }
            Check::Rfm(rfm) => rfm_words(&rfm.0),
        }
    }
}

fn rfm_words(rfm: &Rfm) -> String {
    let mut words = match &rfm.event {
        Some(event) => format!("{event} by fifths"),
        None => "purchases by fifths".to_owned(),
    };
    for (what, fifths) in [("recency", &rfm.recency), ("frequency", &rfm.frequency), ("money", &rfm.money)] {
        if !fifths.is_empty() {
            let fifths: Vec<_> = fifths.iter().map(ToString::to_string).collect();
            words += &format!(", {what} {}", fifths.join(" or "));
        }
    }
    words
}

fn failing_test<'t>(
    what: &str,
    value: Option<View<'_>>,
    mut tests: impl Iterator<Item = &'t Test>,
    now: Millis,
    zone: &TimeZone,
) -> String {
    let failing = tests.find(|test| !test.verdict(value, now, zone).holds());
    match (value, failing) {
        (None, _) => format!("{what} is not known"),
        (Some(_), Some(Test::Exists(_))) => format!("{what} is known"),
        (Some(value), Some(test)) if test.suits(value) => format!("{what}: {value} is not {test}"),
        (Some(value), Some(test)) => format!("{what}: {value} is of a type that cannot be {test}"),
        (Some(_), None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::domain::{
        audience::{
            caps::CapRing,
            compile::RuleSet,
            context::Context,
            evaluate::{Evaluator, UserView},
            profile::Traits,
            rule::{SegmentRule, Targeting},
            user::{Lists, UserState},
        },
        ids::{NameHash, Uid},
        values::Millis,
    };

    const NOW: Millis = Millis(1_700_000_000_000);

    fn with(node: &Value, check: impl FnOnce(Evaluator<'_>, &crate::domain::audience::compile::Condition)) {
        let rule =
            |node: Value| SegmentRule::parse(&json!({"v": 1, "kind": "dynamic", "match": node})).expect("a rule");
        let rules = [
            ("young", rule(json!({"trait": "age", "lt": 25}))),
            ("crm", SegmentRule::Static),
            ("gold", SegmentRule::Static),
            ("target", rule(json!({"all": [{"segment": "young"}, {"list": "crm"}]}))),
        ];
        let (rules, refused) = RuleSet::build(&rules.map(|(key, rule)| (key.parse().expect("a key"), rule)));
        assert_eq!(refused, []);
        let traits = Traits::parse(&json!({"age": 31, "city": "Köln"}), NOW.plus(-86_400_000)).expect("traits");
        let lists = Lists::new([(NameHash::of("gold"), Some(NOW))]);
        let state = UserState::new(1, traits, lists, CapRing::default());
        let context = Context { country: "FR".parse().ok(), ..Context::default() };
        let user = UserView { state: Some(&state), uid: Some(Uid(1)), ..UserView::default() };
        let condition = rules.bind(&Targeting::parse(node).expect("a rule")).expect("a condition");
        check(Evaluator::new(&rules, user, &context, NOW), &condition);
    }

    #[track_caller]
    fn why(node: Value, words: &str) {
        with(&node, |mut evaluator, condition| {
            assert_eq!(evaluator.failing(condition).as_deref(), Some(words));
            assert_eq!(evaluator.explain(condition).why.as_deref(), Some(words));
        });
    }

    #[test]
    fn the_first_failing_condition_is_said_in_words() {
        why(json!({"trait": "age", "gte": 18, "lt": 25}), "trait age: 31 is not < 25");
        why(json!({"trait": "name", "eq": "x"}), "trait name is not known");
        why(json!({"trait": "city", "exists": false}), "trait city is known");
        why(json!({"trait": "city", "gt": 3}), "trait city: \"Köln\" is of a type that cannot be > 3");
        why(
            json!({"trait": "age", "max_age": "PT1H"}),
            "trait age was set at 2023-11-13T22:13:20.000Z, not within the last PT1H",
        );
        why(
            json!({"context": "geo.country", "in": ["DE", "AT"]}),
            "context geo.country: \"FR\" is not one of \"AT\", \"DE\"",
        );
        why(json!({"context": "hour", "gt": 1}), "context hour is not known");
        why(json!({"segment": "target"}), "segment target: segment young: trait age: 31 is not < 25");
        why(json!({"list": "crm"}), "segment crm: not listed");
        why(json!({"list": "gold"}), "segment gold: listed until 2023-11-14T22:13:20.000Z");
        why(json!({"not": {"trait": "age", "gt": 30}}), "excluded: trait age > 30 holds");
        why(json!({"all": [{"trait": "age", "gt": 30}, {"list": "crm"}, {"list": "gold"}]}), "segment crm: not listed");
        why(
            json!({"any": [{"list": "crm"}, {"trait": "age", "lt": 3}]}),
            "none of 2 alternatives holds; the first: segment crm: not listed",
        );
    }

    #[test]
    fn the_tree_follows_the_rule_as_written() {
        let node = json!({"all": [{"any": [{"trait": "age", "anniversary_within": "P1D"}, {"trait": "age", "gt": 30}]}, {"list": "crm"}]});
        with(&node, |mut evaluator, condition| {
            let tree = serde_json::to_value(evaluator.explain(condition)).expect("JSON");
            assert_eq!(tree["holds"], false);
            assert_eq!(tree["parts"][0]["holds"], true);
            assert_eq!(tree["parts"][0]["why"], Value::Null);
            assert_eq!(tree["parts"][0]["parts"][1]["condition"], "trait age > 30");
            assert_eq!(tree["parts"][0]["parts"][1]["since"], "2023-11-13T22:13:20.000Z");
            assert_eq!(
                tree["parts"][1],
                json!({"condition": "segment crm", "holds": false, "why": "segment crm: not listed"})
            );
        });
    }
}
