//! What each operator means, to the millisecond. Times are instants in UTC; stretches include
//! their start and exclude their end.
//!
//! A missing value makes every operator false except `exists: false`, and so does a value of
//! another type. A value of several texts is `eq`/`in` when any element matches, and
//! `ne`/`not_in`/`has_none` when none does.

use std::fmt;

use jiff::tz::TimeZone;

use super::{
    value::{Moment, Position, Scalar, View},
    verdict::Verdict,
};
use crate::domain::values::{Millis, Span};

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Greater than.
    Gt,
    /// At least.
    Gte,
    /// Less than.
    Lt,
    /// At most.
    Lte,
}

/// One operator with its operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The value is known (`true`) or not (`false`).
    Exists(bool),
    /// `eq`, `in`, `has_any`: the value, or any element of it, is among these.
    OneOf(Choices),
    /// `ne`, `not_in`, `has_none`: the value is known, and neither it nor any element is among these.
    NoneOf(Choices),
    /// `has_all`: every one of these is an element.
    AllOf(Box<[Box<str>]>),
    /// `gt`, `gte`, `lt`, `lte`.
    Number(Order, f64),
    /// The text, or any element, starts so; case counts.
    StartsWith(Box<str>),
    /// The text, or any element, has this part; case counts.
    Contains(Box<str>),
    /// `t <= now` and `now - t < span`.
    WithinLast(Span),
    /// `now - t >= span`.
    OlderThan(Span),
    /// `now < t` and `t - now <= span`.
    WithinNext(Span),
    /// A yearly return of the day is at most so far ahead, or today; see [`Moment::anniversary`].
    AnniversaryWithin(Span),
    /// `t < instant`.
    Before(Millis),
    /// `t > instant`.
    After(Millis),
    /// At most `km` from the centre.
    Near {
        /// The centre.
        center: Position,
        /// Great-circle kilometres.
        km: f64,
    },
}

impl Test {
    /// The answer for `value` at `now`, where `zone` says when days begin.
    pub(super) fn verdict(&self, value: Option<View<'_>>, now: Millis, zone: &TimeZone) -> Verdict {
        let Some(value) = value else { return Verdict::constant(*self == Self::Exists(false)) };
        match (self, value) {
            (Self::WithinLast(span), View::Moment(Moment { at, .. })) => {
                Verdict::within(*at, at.plus(span.millis()), now)
            }
            (Self::OlderThan(span), View::Moment(Moment { at, .. })) => Verdict::from(at.plus(span.millis()), now),
            (Self::WithinNext(span), View::Moment(Moment { at, .. })) => {
                Verdict::within(at.plus(-span.millis()), *at, now)
            }
            (Self::AnniversaryWithin(span), View::Moment(moment)) => moment.anniversary(*span, now, zone),
            _ => Verdict::constant(self.holds(value)),
        }
    }

    /// The answer of the operators that time does not move.
    fn holds(&self, value: View<'_>) -> bool {
        match (self, value) {
            (Self::Exists(wanted), _) => *wanted,
            (Self::OneOf(choices), value) => choices.matches(value) == Some(true),
            (Self::NoneOf(choices), value) => choices.matches(value) == Some(false),
            (Self::AllOf(texts), value) => {
                texts.iter().all(|text| value.any_text(|have| *have == **text) == Some(true))
            }
            (Self::Number(order, bound), View::Number(number)) => match order {
                Order::Gt => number > *bound,
                Order::Gte => number >= *bound,
                Order::Lt => number < *bound,
                Order::Lte => number <= *bound,
            },
            (Self::StartsWith(start), value) => value.any_text(|text| text.starts_with(&**start)) == Some(true),
            (Self::Contains(part), value) => value.any_text(|text| text.contains(&**part)) == Some(true),
            (Self::Before(instant), View::Moment(moment)) => moment.at < *instant,
            (Self::After(instant), View::Moment(moment)) => moment.at > *instant,
            (Self::Near { center, km }, View::Place(at)) => at.km_to(*center) <= *km,
            _ => false,
        }
    }

    /// Whether a value of this kind can satisfy the operator at all; the other way to be false.
    pub(super) fn suits(&self, value: View<'_>) -> bool {
        match self {
            Self::Exists(_) => true,
            Self::OneOf(choices) | Self::NoneOf(choices) => choices.matches(value).is_some(),
            Self::AllOf(_) | Self::StartsWith(_) | Self::Contains(_) => value.any_text(|_| true).is_some(),
            Self::Number(..) => matches!(value, View::Number(_)),
            Self::Near { .. } => matches!(value, View::Place(_)),
            Self::WithinLast(_)
            | Self::OlderThan(_)
            | Self::WithinNext(_)
            | Self::AnniversaryWithin(_)
            | Self::Before(_)
            | Self::After(_) => matches!(value, View::Moment(_)),
        }
    }

    /// Rough cost in nanoseconds, with a surcharge for answers that time moves: asking the
    /// others first keeps `valid_until` far.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::Exists(_) | Self::Number(..) | Self::Before(_) | Self::After(_) => 3,
            Self::OneOf(_) | Self::NoneOf(_) => 8,
            Self::AllOf(texts) => 8 * u32::try_from(texts.len()).unwrap_or(u32::MAX / 8),
            Self::StartsWith(_) | Self::Contains(_) => 15,
            Self::Near { .. } => 40,
            Self::WithinLast(_) | Self::OlderThan(_) | Self::WithinNext(_) => 60,
            Self::AnniversaryWithin(_) => 700,
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(true) => f.write_str("known"),
            Self::Exists(false) => f.write_str("unknown"),
            Self::OneOf(choices) => write!(f, "{choices}"),
            Self::NoneOf(choices) => write!(f, "other than {choices}"),
            Self::AllOf(texts) => write!(f, "all of {texts:?}"),
            Self::Number(order, bound) => {
                let sign = match order {
                    Order::Gt => ">",
                    Order::Gte => ">=",
                    Order::Lt => "<",
                    Order::Lte => "<=",
                };
                write!(f, "{sign} {bound}")
            }
            Self::StartsWith(start) => write!(f, "a text that starts with {start:?}"),
            Self::Contains(part) => write!(f, "a text that contains {part:?}"),
            Self::WithinLast(span) => write!(f, "within the last {span}"),
            Self::OlderThan(span) => write!(f, "older than {span}"),
            Self::WithinNext(span) => write!(f, "within the next {span}"),
            Self::AnniversaryWithin(span) => write!(f, "a day that returns within {span}"),
            Self::Before(instant) => write!(f, "before {instant}"),
            Self::After(instant) => write!(f, "after {instant}"),
            Self::Near { center, km } => write!(f, "within {km} km of ({}, {})", center.lat, center.lon),
        }
    }
}

/// Scalars to look a value up in: sorted, without repeats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices {
    texts: Box<[Box<str>]>,
    numbers: Box<[f64]>,
    bools: [bool; 2],
}

impl Choices {
    /// The set of `scalars`.
    #[must_use]
    pub fn new(scalars: impl IntoIterator<Item = Scalar>) -> Self {
        let (mut texts, mut numbers, mut bools) = (Vec::new(), Vec::new(), [false; 2]);
        for scalar in scalars {
            match scalar {
                Scalar::Text(text) => texts.push(text),
                Scalar::Number(number) => numbers.push(number + 0.0),
                Scalar::Bool(yes) => bools[usize::from(yes)] = true,
            }
        }
        texts.sort_unstable();
        texts.dedup();
        numbers.sort_unstable_by(f64::total_cmp);
        numbers.dedup();
        Self { texts: texts.into(), numbers: numbers.into(), bools }
    }

    /// The texts among them, in order.
    #[must_use]
    pub fn texts(&self) -> &[Box<str>] {
        &self.texts
    }

    /// Whether these are texts only.
    #[must_use]
    pub fn only_texts(&self) -> bool {
        self.numbers.is_empty() && self.bools == [false; 2]
    }

    /// Whether `value`, or any element of it, is among these; `None` when none has its type.
    fn matches(&self, value: View<'_>) -> Option<bool> {
        match value {
            View::Number(number) => (!self.numbers.is_empty())
                .then(|| self.numbers.binary_search_by(|n| n.total_cmp(&(number + 0.0))).is_ok()),
            View::Bool(yes) => (self.bools != [false; 2]).then_some(self.bools[usize::from(yes)]),
            _ if self.texts.is_empty() => None,
            text => text.any_text(|text| self.has_text(text)),
        }
    }

    fn has_text(&self, text: &str) -> bool {
        // Lengths differ more often than not, so a short list is quicker to walk than to halve.
        match self.texts.len() {
            0..=8 => self.texts.iter().any(|have| **have == *text),
            _ => self.texts.binary_search_by(|have| (**have).cmp(text)).is_ok(),
        }
    }

    /// Every one of them.
    pub(super) fn scalars(&self) -> impl Iterator<Item = Scalar> + '_ {
        let bools = [false, true].into_iter().filter(|&yes| self.bools[usize::from(yes)]).map(Scalar::Bool);
        let texts = self.texts.iter().cloned().map(Scalar::Text);
        texts.chain(self.numbers.iter().copied().map(Scalar::Number)).chain(bools)
    }
}

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let count = self.scalars().count();
        if count != 1 {
            f.write_str("one of ")?;
        }
        for (at, scalar) in self.scalars().take(SHOWN).enumerate() {
            write!(f, "{}{scalar}", if at > 0 { ", " } else { "" })?;
        }
        if count > SHOWN { write!(f, " and {} more", count - SHOWN) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::audience::{node::Node, profile::TraitValue, rule::Targeting};

    /// The instant that every trait of these tests names, in ms.
    const T: i64 = 1_700_000_000_000;

    fn tests(operators: &Value) -> Vec<Test> {
        let mut rule = operators.clone();
        rule["trait"] = json!("x");
        match Targeting::parse(&rule) {
            Ok(Node::Trait(condition)) => condition.tests,
            other => panic!("{rule}: {other:?}"),
        }
    }

    fn verdict(operators: &Value, value: &Value, now: i64) -> Verdict {
        let value = (!value.is_null()).then(|| TraitValue::parse(value).expect("a value"));
        let view = value.as_ref().map(TraitValue::view);
        let all = tests(operators).into_iter().map(|test| test.verdict(view, Millis(now), &TimeZone::UTC));
        all.reduce(Verdict::and).expect("a test")
    }

    #[track_caller]
    fn check(operators: Value, holding: &[Value], failing: &[Value]) {
        for value in holding {
            assert!(verdict(&operators, value, T).holds(), "{operators} of {value}");
        }
        for value in failing {
            assert!(!verdict(&operators, value, T).holds(), "{operators} of {value}");
        }
    }

    #[test]
    fn a_missing_value_fails_everything_but_its_absence() {
        for operators in [
            json!({"ne": 1}),
            json!({"not_in": ["a"]}),
            json!({"has_none": ["a"]}),
            json!({"exists": true}),
            json!({"older_than": "P1D"}),
            json!({"before": "2030-01-01T00:00:00Z"}),
            json!({"exists": false, "ne": 1}),
        ] {
            check(operators, &[], &[Value::Null]);
        }
        check(json!({"exists": false}), &[Value::Null], &[json!(false), json!([]), json!("")]);
        check(json!({"exists": true}), &[json!(false), json!([]), json!("")], &[]);
    }

    #[test]
    fn equality_is_within_a_type() {
        check(json!({"eq": 1}), &[json!(1), json!(1.0)], &[json!("1"), json!(true), json!(2), json!(["1"])]);
        check(json!({"eq": 0}), &[json!(-0.0)], &[]);
        check(json!({"eq": true}), &[json!(true)], &[json!(1), json!("true"), json!(false)]);
        check(json!({"eq": "GB"}), &[json!("GB"), json!(["FR", "GB"])], &[json!("gb"), json!(["FR"])]);
        check(json!({"eq": "2001-05-17"}), &[json!("2001-05-17")], &[json!("2001-05-17T00:00:00Z")]);
        check(json!({"in": ["a", 2]}), &[json!("a"), json!(2), json!(["b", "a"])], &[json!("b"), json!(3)]);
    }

    #[test]
    fn inequality_needs_a_value_of_the_type_and_no_element_that_matches() {
        check(json!({"ne": 1}), &[json!(2)], &[json!(1), json!("x"), json!({"lat": 1, "lon": 1})]);
        check(json!({"ne": "a"}), &[json!("b"), json!(["b", "c"]), json!([])], &[json!(["a", "b"]), json!(1)]);
        check(json!({"not_in": ["a", "b"]}), &[json!("c"), json!(["c"])], &[json!("a"), json!(["c", "b"]), json!(1)]);
        check(json!({"not_in": ["a", 1]}), &[json!("c"), json!(2)], &[json!("a"), json!(1), json!(true)]);
    }

    #[test]
    fn bounds_are_where_they_say() {
        check(json!({"gt": 3}), &[json!(3.000_001)], &[json!(3), json!("4")]);
        check(json!({"gte": 3}), &[json!(3)], &[json!(2.999_999)]);
        check(json!({"lt": 3}), &[json!(2.999_999)], &[json!(3)]);
        check(json!({"lte": 3}), &[json!(3)], &[json!(3.000_001), json!(true)]);
        check(json!({"gte": 25, "lt": 45}), &[json!(25), json!(44.9)], &[json!(45), json!(24)]);
    }

    #[test]
    fn sets_of_texts() {
        let (one, both) = (json!(["run"]), json!(["bike", "run", "swim"]));
        check(json!({"has_any": ["run", "ski"]}), &[one.clone(), both.clone(), json!("run")], &[json!([]), json!(1)]);
        check(
            json!({"has_all": ["run", "bike"]}),
            &[both.clone(), json!(["bike", "run"])],
            &[one.clone(), json!("run"), json!([])],
        );
        check(json!({"has_none": ["ski"]}), &[one.clone(), json!([]), json!("run")], &[json!(["ski"]), json!(1)]);
        check(json!({"starts_with": "ru"}), &[one.clone(), json!("running")], &[json!("Run"), json!([])]);
        check(json!({"contains": "wi"}), &[both, json!("wi")], &[one, json!(5)]);
        let many: Vec<_> = (0..100).map(|i| format!("v{i}")).collect();
        check(json!({"in": many}), &[json!("v0"), json!("v99"), json!(["x", "v50"])], &[json!("v100"), json!("v")]);
    }

    #[test]
    fn instants_to_the_millisecond() {
        let value = json!("2023-11-14T22:13:20Z");
        let ends = |operators: Value, now: i64| {
            let verdict = verdict(&operators, &value, now);
            (verdict.holds(), verdict.since().map(|at| at.0 - T), verdict.valid_until().map(|at| at.0 - T))
        };
        let last = json!({"within_last": "PT10S"});
        assert_eq!(ends(last.clone(), T - 1), (false, None, Some(0)));
        assert_eq!(ends(last.clone(), T), (true, Some(0), Some(10_000)));
        assert_eq!(ends(last.clone(), T + 9_999), (true, Some(0), Some(10_000)));
        assert_eq!(ends(last, T + 10_000), (false, Some(10_000), None));
        let older = json!({"older_than": "PT10S"});
        assert_eq!(ends(older.clone(), T + 9_999), (false, None, Some(10_000)));
        assert_eq!(ends(older, T + 10_000), (true, Some(10_000), None));
        let next = json!({"within_next": "PT10S"});
        assert_eq!(ends(next.clone(), T - 10_001), (false, None, Some(-10_000)));
        assert_eq!(ends(next.clone(), T - 10_000), (true, Some(-10_000), Some(0)));
        assert_eq!(ends(next.clone(), T - 1), (true, Some(-10_000), Some(0)));
        assert_eq!(ends(next, T), (false, Some(0), None));
        let both = json!({"older_than": "PT2S", "within_last": "PT10S"});
        assert_eq!(ends(both, T + 2_000), (true, Some(2_000), Some(10_000)));
        check(
            json!({"before": "2023-11-14T22:13:20.001Z"}),
            &[value.clone(), json!("2023-11-14")],
            &[json!("later"), json!(1)],
        );
        check(json!({"before": "2023-11-14T22:13:20Z"}), &[], &[value.clone(), json!("2023-11-15")]);
        check(json!({"after": "2023-11-14T22:13:19.999Z"}), &[value.clone(), json!("2023-11-15")], &[]);
        check(json!({"after": "2023-11-14T22:13:20Z"}), &[json!("2023-11-14T21:13:20.001-01:00")], &[value]);
    }

    #[test]
    fn places() {
        let london = json!({"lat": 51.5, "lon": -0.12, "km": 25});
        let (heathrow, paris) = (json!({"lat": 51.47, "lon": -0.45}), json!({"lat": 48.86, "lon": 2.35}));
        check(json!({"near": london}), &[heathrow], &[paris, json!("London"), json!([])]);
        let dateline = json!({"lat": 0, "lon": 179.95, "km": 25});
        check(json!({"near": dateline}), &[json!({"lat": 0, "lon": -179.95})], &[]);
    }

    #[test]
    fn words_show_a_few_choices() {
        let words = |operators: Value| tests(&operators)[0].to_string();
        assert_eq!(words(json!({"in": ["a", "b", 1]})), "one of \"a\", \"b\", 1");
        assert_eq!(
            words(json!({"in": ["g", "f", "e", "d", "c", "b", "a"]})),
            "one of \"a\", \"b\", \"c\", \"d\", \"e\" and 2 more"
        );
        assert_eq!(words(json!({"ne": 5})), "other than 5");
    }
}
