//! Values in the cells of a table.

use serde_json::{Number, Value};

/// What a cell says; nothing when it is empty. Numbers, `true`, `false` and `null` are what they look
/// like, what begins with a quote or a bracket is JSON, and anything else is a text.
///
/// # Errors
/// It begins like JSON and is none.
pub(super) fn read(cell: &str) -> Result<Option<Value>, &'static str> {
    Ok(match cell {
        "" => None,
        "null" => Some(Value::Null),
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ if cell.starts_with(['"', '[', '{']) => {
            let json = "must be JSON, as it begins with a quote or a bracket; write \"...\" around a text";
            Some(serde_json::from_str(cell).map_err(|_| json)?)
        }
        _ => Some(number(cell).map_or_else(|| cell.into(), Value::Number)),
    })
}

/// A decimal number that a double holds by the digit, without an exponent or leading zeros: a
/// product's code must not become one.
fn number(cell: &str) -> Option<Number> {
    let (whole, fraction) = cell.split_once('.').unwrap_or((cell, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    if !digits(whole) || !digits(fraction) || whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    let number: f64 = cell.parse().ok()?;
    let held = cell.bytes().filter(u8::is_ascii_digit).count() <= 15 || format!("{number}") == cell;
    if held { serde_json::from_str(cell).ok() } else { None }
}

/// The cell that reads as this value, and that no spreadsheet takes for a formula.
pub(super) fn write(value: &Value) -> String {
    match value {
        Value::String(text) if !is_formula(text) && read(text) == Ok(Some(Value::String(text.clone()))) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(real) if number.is_f64() => format!("{real}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// The value as its account would write it: a whole number without a point.
pub(super) fn plain(value: &Value) -> Value {
    let whole = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15);
    whole.map_or_else(|| value.clone(), |whole| Value::from(whole as i64))
}

/// A name in a cell: as it is, or as JSON where it begins with a quote or would be a formula.
pub(super) fn write_name(name: &str) -> String {
    if is_formula(name) || name.starts_with('"') { Value::from(name).to_string() } else { name.to_owned() }
}

/// The name in a cell.
///
/// # Errors
/// It begins with a quote and is no text in JSON.
pub(super) fn read_name(cell: &str) -> Result<String, &'static str> {
    if !cell.starts_with('"') {
        return Ok(cell.to_owned());
    }
    serde_json::from_str(cell).map_err(|_| "must be a text in JSON, as it begins with a quote")
}

/// Whether a spreadsheet computes a text that begins so.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
}

/// Appends the cells as a row of CSV (RFC 4180).
pub(super) fn write_row(cells: &[String], out: &mut String) {
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) || cell.starts_with(' ') || cell.ends_with(' ') {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(cell);
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::http::rows::fields;

    #[test]
    fn cells_are_what_they_look_like() {
        for (cell, value) in [
            ("", None),
            ("null", Some(json!(null))),
            ("true", Some(json!(true))),
            ("31", Some(json!(31))),
            ("-0.50", Some(json!(-0.5))),
            ("2026-11-22", Some(json!("2026-11-22"))),
            ("[\"a\",\"b\"]", Some(json!(["a", "b"]))),
            ("{\"lat\":1,\"lon\":2}", Some(json!({"lat": 1, "lon": 2}))),
            // texts, although they look like numbers to some
            ("007", Some(json!("007"))),
            ("12e4", Some(json!("12e4"))),
            ("+49 30", Some(json!("+49 30"))),
            ("1.", Some(json!("1."))),
            (" 5", Some(json!(" 5"))),
            ("12345678901234567", Some(json!("12345678901234567"))),
            ("TRUE", Some(json!("TRUE"))),
            // by force
            ("\"31\"", Some(json!("31"))),
            ("\"null\"", Some(json!("null"))),
            ("\"\"", Some(json!(""))),
        ] {
            assert_eq!(read(cell), Ok(value), "{cell}");
        }
        for bad in ["\"31", "[a]", "{"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_cell_is_a_formula() {
        for text in ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "=HYPERLINK(\"http://a\")", "\u{ff1d}1"] {
            assert!(write(&json!(text)).starts_with('"'), "{text:?}");
            assert!(write_name(text).starts_with('"'), "{text:?}");
            assert_eq!(read_name(&write_name(text)), Ok(text.to_owned()));
        }
        assert_eq!([write(&json!(-5)), write(&json!("31")), write_name("u-1")], ["-5", "\"31\"", "u-1"]);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            (-1e12..1e12_f64).prop_map(Value::from),
            (0..400_i32).prop_map(|e| json!(10_f64.powi(e - 200))).prop_filter("finite", Value::is_number),
            "[-=+@0-9a-z.\"\\[{,\t\r\n ]{0,8}".prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            prop::collection::vec("[=a-z,\"]{0,3}", 0..4).prop_map(Value::from),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(any_value(), 1..6), name in ".{1,12}") {
            let mut row = String::new();
            let mut cells: Vec<_> = values.iter().map(write).collect();
            cells.push(write_name(&name));
            write_row(&cells, &mut row);
            let read_back = fields(row.strip_suffix("\r\n").expect("a row").as_bytes()).expect("fields");
            prop_assert_eq!(read_name(&read_back[values.len()]), Ok(name));
            for (cell, value) in read_back.iter().zip(&values) {
                let same = match (read(cell).expect("readable").expect("something"), value) {
                    (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
                    (a, b) => a == *b,
                };
                prop_assert!(same, "{value} as {cell}");
            }
        }
    }
}
