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
    pub const LARGEST: f64 = 9e11;
    /// The most digits after the point of such an amount.
    pub const DECIMALS: usize = 6;
    /// The most digits in all of such an amount that is no whole number: what a double tells apart.
    pub const DIGITS: usize = 15;

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

    /// What keeps the value of `property` from being added up exactly. Nothing, a text or a truth
    /// value is no fault: there is no amount then.
    ///
    /// # Errors
    /// What it must be instead.
    pub fn check_amount(&self, property: &str) -> Result<(), AmountError> {
        match self.properties.get(property) {
            Some(Value::Number(number)) => millionths(number).map(drop),
            Some(Value::Object(_) | Value::Array(_)) => Err(AmountError::NoNumber),
            None | Some(Value::Null | Value::Bool(_) | Value::String(_)) => Ok(()),
        }
    }

    /// The number at `property` in millionths; `None` when it is no number or beyond
    /// [`Event::LARGEST`]. Of an event that came before anybody added it up it may have more digits
    /// than are kept: it is rounded to the nearest.
    pub(super) fn micros(&self, property: &str) -> Option<i64> {
        let number = match self.properties.get(property)? {
            Value::Number(number) => number,
            _ => return None,
        };
        match millionths(number) {
            Ok(amount) => Some(amount),
            Err(AmountError::TooFine) => number.as_f64().map(|amount| (amount * MILLION as f64).round() as i64),
            Err(AmountError::TooLarge | AmountError::NoNumber) => None,
        }
    }
}

/// Why a value cannot be added up exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Beyond [`Event::LARGEST`].
    #[error("must lie between -9e11 and 9e11, because it is added up")]
    TooLarge,
    /// More digits than [`Event::DECIMALS`] or [`Event::DIGITS`].
    #[error("must have at most 6 digits after the point, and 15 in all with them, because it is added up")]
    TooFine,
    /// An object or an array.
    #[error("must be a number, because it is added up; send the amount and the currency apart")]
    NoNumber,
}

const MILLION: i64 = 1_000_000;

/// The number in millionths, by its digits: no product of floating point is exact up to 9e11.
fn millionths(number: &Number) -> Result<i64, AmountError> {
    let amount = number.as_f64().filter(|amount| amount.abs() <= Event::LARGEST).ok_or(AmountError::TooLarge)?;
    if let Some(whole) = number.as_i64() {
        return Ok(whole * MILLION);
    }
    // The shortest digits that are this number, without an exponent.
    let text = format!("{amount}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = whole.trim_start_matches(['-', '0']).len() + fraction.len();
    if fraction.len() > Event::DECIMALS || !fraction.is_empty() && digits > Event::DIGITS {
        return Err(AmountError::TooFine);
    }
    // At most 18 digits, which 64 bits hold.
    format!("{whole}{fraction:0<6}").parse().map_err(|_| AmountError::TooLarge)
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
    use proptest::prelude::*;
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
        assert_eq!(amount(json!(-0.000_001)), Some(-1));
        assert_eq!(amount(json!(9e11)), Some(900_000_000_000_000_000));
        assert_eq!(amount(json!(-899_999_999_999_i64)), Some(-899_999_999_999_000_000));
        assert_eq!(amount(json!(123_456_789.123_456)), Some(123_456_789_123_456));
        assert_eq!(amount(json!(899_999_999_999.125)), Some(899_999_999_999_125_000));
        assert_eq!(amount(json!(0.000_000_4)), Some(0), "rounded where it was taken before");
        for none in [json!("19.99"), json!(null), json!(9.1e11), json!(u64::MAX), json!([1]), json!(true)] {
            assert_eq!(amount(none.clone()), None, "{none}");
        }
        assert_eq!(event(json!({})).micros("v"), None);
    }

    #[test]
    fn what_is_taken_is_added_up_and_the_rest_is_refused() {
        let check = |value: Value| event(json!({"v": value})).check_amount("v");
        for good in [json!(59.9), json!(9e11), json!(-9e11), json!(1.5e3), json!("59.90"), json!(null), json!(true)] {
            assert_eq!(check(good.clone()), Ok(()), "{good}");
        }
        for (bad, error) in [
            (json!(900_000_000_000.1), AmountError::TooLarge),
            (json!(-1e300), AmountError::TooLarge),
            (json!(0.000_000_1), AmountError::TooFine),
            (json!(1e-20), AmountError::TooFine),
            (json!(123_456_789_012.123_4), AmountError::TooFine),
            (json!({"amount": "59.90"}), AmountError::NoNumber),
            (json!([59.9]), AmountError::NoNumber),
        ] {
            assert_eq!(check(bad.clone()), Err(error), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_as_written_is_its_millionths(
            units in -900_000_000_000_i64..900_000_000_000, decimals in 0_u32..7,
        ) {
            // so many of the digits as 15 are
            let units = units % 10_i64.pow(15 - decimals.max(3));
            let part = i64::from(units.unsigned_abs() as u32) % 10_i64.pow(decimals);
            let text = if decimals == 0 { units.to_string() } else { format!("{units}.{part:0>width$}", width = decimals as usize) };
            let value: Value = serde_json::from_str(&text).expect("a number");
            let event = event(json!({ "v": value }));
            prop_assert_eq!(event.check_amount("v"), Ok(()), "{}", text);
            let part = part * 10_i64.pow(6 - decimals);
            prop_assert_eq!(event.micros("v"), Some(units * MILLION + if units < 0 { -part } else { part }), "{}", text);
        }
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
