//! JSON as it is meant: names in any spelling, numbers for texts, one thing for a list of one.

use serde_json::{Map, Value};

/// A member, however its name is spelled.
pub(super) fn member<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    let same = |own: &str| plain(own) == plain(name);
    let found = object.get(name).or_else(|| object.iter().find(|(own, _)| same(own)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

/// A name as it is compared: small letters and digits.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A text, without the spaces and quotes around it; empty ones are none.
pub(super) fn text(value: Option<&Value>) -> Option<String> {
    let text = match value? {
        Value::String(text) => text.trim().trim_matches('\'').trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The items of a list; anything else is a list of one, and nothing one of none.
pub(super) fn list(value: Option<&Value>) -> &[Value] {
    match value {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items,
        Some(one) => std::slice::from_ref(one),
    }
}

/// Whether it says yes.
pub(super) fn says_yes(value: Option<&Value>) -> bool {
    text(value).is_some_and(|text| !matches!(&*text.to_ascii_lowercase(), "0" | "false" | "no" | "n"))
}

/// A whole number above zero.
pub(super) fn number(value: Option<&Value>) -> Option<u32> {
    let number: f64 = text(value)?.trim_end_matches("px").trim().parse().ok()?;
    (number.fract() == 0.0 && (1.0..=1e9).contains(&number)).then_some(number as u32)
}

/// A width and a height: `[300,250]`, `300x250`, a list of two or an object.
pub(super) fn size(value: Option<&Value>) -> Option<(u32, u32)> {
    let pair = |items: &[Value]| Some((number(items.first())?, number(items.get(1))?));
    match value? {
        Value::Array(items) => pair(items),
        Value::Object(object) => Some((number(member(object, "width"))?, number(member(object, "height"))?)),
        one => {
            let text = text(Some(one))?;
            let (width, height) = text.trim_matches(['[', ']']).split_once([',', 'x', 'X', '\u{d7}'])?;
            let side = |side: &str| number(Some(&Value::from(side)));
            Some((side(width)?, side(height)?))
        }
    }
}
