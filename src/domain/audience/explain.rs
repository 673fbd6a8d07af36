//! Why a condition holds or does not, in words.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{
    compile::{Check, Condition, SegmentIx, TraitCheck},
    evaluate::Evaluator,
    predicate::Test,
    value::View,
    verdict::Verdict,
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
        if self.condition(condition).holds { None } else { Some(self.why(&condition.check, &TimeZone::UTC)) }
    }

    fn explained(&mut self, check: &Check, zone: &TimeZone) -> Explanation {
        let Verdict { holds, since, valid_until } = self.check(check, zone);
        let parts = match check {
            Check::All(group) | Check::Any(group) => {
                group.children.iter().map(|child| self.explained(child, zone)).collect()
            }
            Check::Not(child) => vec![self.explained(child, zone)],
            _ => Vec::new(),
        };
        let why = (!holds).then(|| self.why(check, zone));
        Explanation { condition: self.words(check), holds, since, valid_until, why, parts }
    }

    /// Why `check`, which does not hold, does not.
    fn why(&mut self, check: &Check, zone: &TimeZone) -> String {
        match check {
            Check::All(group) => {
                let failing = group.children.iter().find(|child| !self.check(child, zone).holds);
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
        match (&segment.rule, self.user.state.and_then(|state| state.lists.expiry(segment.list))) {
            (Some((check, zone)), _) => {
                let zone = self.zone(zone);
                format!("segment {key}: {}", self.why(check, &zone))
            }
            (None, Some(expiry)) => format!("segment {key}: listed until {expiry}"),
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
        }
    }
}

fn failing_test<'t>(
    what: &str,
    value: Option<View<'_>>,
    mut tests: impl Iterator<Item = &'t Test>,
    now: Millis,
    zone: &TimeZone,
) -> String {
    let failing = tests.find(|test| !test.verdict(value, now, zone).holds);
    match (value, failing) {
        (None, _) => format!("{what} is not known"),
        (Some(_), Some(Test::Exists(_))) => format!("{what} is known"),
        (Some(value), Some(test)) if test.suits(value) => format!("{what}: {value} is not {test}"),
        (Some(value), Some(test)) => format!("{what}: {value} is of a type that cannot be {test}"),
        (Some(_), None) => String::new(),
    }
}
