//! Objects in an array, or one after the other.

use std::io::BufRead;

use serde_json::Value;

use super::{
    item::{Column, Item, Row, Settings},
    sink::{Sink, Unreadable, broken},
    source::Lines,
};
use crate::domain::violation::Violation;

/// Reads all objects.
pub(super) fn read<R: BufRead>(
    settings: &Settings<'_>,
    lines: &mut Lines<R>,
    sink: &mut Sink<'_>,
) -> Result<(), Unreadable> {
    let (mut text, mut open) = (Vec::new(), 0);
    loop {
        lines.refill();
        let Some(line) = begin(lines, &mut open)? else { return Ok(()) };
        object(lines, line, &mut text)?;
        let item = match serde_json::from_slice::<Value>(&text) {
            Ok(object) => row(&object).and_then(|row| Item::parse(&row, settings)),
            Err(error) => Err(vec![Violation::new("", "malformed_json", error.to_string())]),
        };
        if sink(line, item).is_break() {
            return Ok(());
        }
    }
}

/// Goes to where the next object begins, past what stands between them, and counts arrays that are open.
fn begin<R: BufRead>(lines: &mut Lines<R>, open: &mut u32) -> Result<Option<u64>, Unreadable> {
    loop {
        let line = lines.line;
        let held = lines.fill_buf().map_err(|error| Unreadable::BrokenOff { line, error })?;
        let Some(&byte) = held.first() else {
            return match open {
                0 => Ok(None),
                _ => Err(Unreadable::Malformed { line, detail: "the array is never closed".to_owned() }),
            };
        };
        match byte {
            b'{' => return Ok(Some(line)),
            b'[' => *open += 1,
            b']' => *open = open.saturating_sub(1),
            b',' => {}
            byte if byte.is_ascii_whitespace() => {}
            _ => {
                let detail = "must be an array of objects, or an object on each line".to_owned();
                return Err(Unreadable::Malformed { line, detail });
            }
        }
        lines.consume(1);
        lines.refill();
    }
}

/// Takes the bytes of one object, by its brackets.
fn object<R: BufRead>(lines: &mut Lines<R>, line: u64, text: &mut Vec<u8>) -> Result<(), Unreadable> {
    text.clear();
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    loop {
        let held = match lines.fill_buf() {
            Ok(held) => held,
            Err(error) => return Err(broken(lines, line, error)),
        };
        if held.is_empty() {
            return Err(Unreadable::Malformed { line, detail: "the object is never closed".to_owned() });
        }
        let mut taken = 0;
        for &byte in held {
            taken += 1;
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'{' | b'[' if !quoted => depth += 1,
                b'}' | b']' if !quoted => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        text.extend_from_slice(&held[..taken]);
        lines.consume(taken);
        if depth == 0 {
            return Ok(());
        }
    }
}

fn row(object: &Value) -> Result<Row, Vec<Violation>> {
    let mut row = Row::default();
    for (name, value) in object.as_object().into_iter().flatten() {
        let Some(column) = Column::named(name) else { continue };
        let text = match (column, value) {
            // refused as an empty cell is
            (Column::Availability, Value::Null) => String::new(),
            (_, Value::Null) => continue,
            (_, Value::String(text)) => text.clone(),
            (_, Value::Number(number)) => number.to_string(),
            (Column::Availability, Value::Bool(yes)) => {
                if *yes {
                    "in_stock".to_owned()
                } else {
                    "out_of_stock".to_owned()
                }
            }
            (Column::Price | Column::SalePrice, Value::Object(price)) => {
                let part = |name: &str| match price.get(name) {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Number(number)) => number.to_string(),
                    _ => String::new(),
                };
                format!("{} {}", part("amount"), part("currency"))
            }
            _ => {
                let detail = "must be a text or a number";
                return Err(vec![Violation::new(format!("/{}", column.name()), "wrong_type", detail)]);
            }
        };
        row.set(column, text);
    }
    Ok(row)
}
