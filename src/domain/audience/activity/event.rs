//! An event, and what its properties are to the streams that keep it.

use jiff::tz::TimeZone;
use serde_json::{Map, Number, Value};

use crate::domain::{
    audience::{node::Where, value::View},
    ids::{EventName, NameHash},
    values::Millis,
};

/// Something a person did, accepted and with its final time.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What was done.
    pub name: EventName,
    /// When, after every correction.
    pub at: Millis,
    /// What is known of it.
    pub properties: Map<String, Value>,
}

impl Event {
    /// The largest amount of a property that is added up, to either side of zero.
    pub const LARGEST: f64 = 1e10;

    /// Whether every filter passes. A property that is an array passes when any element does; one
    /// that is missing never does.
    pub(super) fn passes(&self, filter: &[Where]) -> bool {
        filter.iter().all(|Where { property, tests }| {
            let value = self.properties.get(&**property);
            value.is_some_and(|value| match value {
                Value::Array(items) => items.iter().any(|item| passes(tests, item)),
                value => passes(tests, value),
            })
        })
    }

    /// The value of `property` that tells events of a keyed stream apart: texts, numbers (`3` and
    /// `3.0` are one) and truth values; anything else belongs to no key.
    pub(super) fn key(&self, property: &str) -> Option<NameHash> {
        Some(match self.properties.get(property)? {
            Value::String(text) => NameHash::of(text),
            Value::Bool(yes) => NameHash::of(if *yes { "true" } else { "false" }),
            Value::Number(number) => NameHash::of(&written(number)),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        })
    }

    /// The number at `property` in millionths, rounded to the nearest; `None` when it is no number
    /// or beyond [`Event::LARGEST`].
    pub(super) fn micros(&self, property: &str) -> Option<i64> {
        const MILLION: i64 = 1_000_000;
        let number = match self.properties.get(property)? {
            Value::Number(number) => number,
            _ => return None,
        };
        let amount = number.as_f64().filter(|amount| amount.abs() <= Self::LARGEST)?;
        // A whole number takes no detour through floating point.
        Some(number.as_i64().map_or_else(|| (amount * MILLION as f64).round() as i64, |whole| whole * MILLION))
    }
}

fn passes(tests: &[crate::domain::audience::predicate::Test], value: &Value) -> bool {
    let view = match value {
        Value::Bool(yes) => View::Bool(*yes),
        Value::String(text) => View::Text(text),
        Value::Number(number) => match number.as_f64() {
            Some(number) => View::Number(number),
            None => return false,
        },
        Value::Null | Value::Array(_) | Value::Object(_) => return false,
    };
    // Comparisons of properties depend on neither the time nor the zone.
    tests.iter().all(|test| test.verdict(Some(view), Millis::default(), &TimeZone::UTC).holds())
}

fn written(number: &Number) -> String {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(whole), ..) => whole.to_string(),
        (None, Some(whole), _) => whole.to_string(),
        (None, None, real) => format!("{}", real.unwrap_or_default() + 0.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(properties: Value) -> Event {
        let properties = properties.as_object().expect("an object").clone();
        Event { name: "buy".parse().expect("a name"), at: Millis(0), properties }
    }

    #[test]
    fn amounts_are_exact_to_a_millionth() {
        let amount = |value: Value| event(json!({"v": value})).micros("v");
        assert_eq!(amount(json!(19.99)), Some(19_990_000));
        assert_eq!(amount(json!(-3)), Some(-3_000_000));
        assert_eq!(amount(json!(9_999_999_999_i64)), Some(9_999_999_999_000_000));
        assert_eq!(amount(json!(0.000_000_4)), Some(0));
        for none in [json!("19.99"), json!(null), json!(1e11), json!([1]), json!(true)] {
            assert_eq!(amount(none.clone()), None, "{none}");
        }
        assert_eq!(event(json!({})).micros("v"), None);
    }

    #[test]
    fn keys_are_told_apart_by_their_text() {
        let key = |value: Value| event(json!({"k": value})).key("k");
        assert_eq!(key(json!("3")), key(json!(3)));
        assert_eq!(key(json!(3.0)), key(json!(3)));
        assert_ne!(key(json!(3.5)), key(json!(3)));
        assert_eq!(key(json!(true)), key(json!("true")));
        assert_eq!([json!(null), json!([]), json!({})].map(key), [None; 3]);
    }
}
