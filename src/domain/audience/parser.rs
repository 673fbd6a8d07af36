//! Reads a JSON document value by value, noting every fault with its place.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use serde_json::{Map, Value};

use super::nearest::hint;
use crate::domain::violation::{Violation, token};

/// The way to a value: written out only when there is a fault.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    up: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(super) const ROOT: Path<'static> = Path { up: None, step: Step::Root };

    pub(super) fn key(&'a self, key: &'a str) -> Self {
        Self { up: Some(self), step: Step::Key(key) }
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        Self { up: Some(self), step: Step::Index(index) }
    }

    /// The JSON pointer.
    pub(super) fn pointer(&self) -> String {
        let mut pointer = self.up.map(Path::pointer).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Key(key) => {
                pointer.push('/');
                pointer.push_str(&token(key));
            }
            Step::Index(index) => pointer.push_str(&format!("/{index}")),
        }
        pointer
    }
}

/// A fault that a value already has, so that its reader need not note it again.
pub(super) type Read<T> = Option<T>;

/// Faults so far, and the limits that hold for the whole document.
pub(super) struct Parser {
    faults: Vec<Violation>,
    /// Conditions met so far.
    pub(super) conditions: usize,
    /// Whether conditions on the request are allowed.
    pub(super) targeting: bool,
}

impl Parser {
    /// More faults than an author reads; a hostile document gets no longer an answer.
    const FAULTS: usize = 100;
    /// The longest text, in bytes.
    const TEXT: usize = 1_024;

    pub(super) fn new(targeting: bool) -> Self {
        Self { faults: Vec::new(), conditions: 0, targeting }
    }

    /// The value, unless there was a fault.
    pub(super) fn finish<T>(self, value: Read<T>) -> Result<T, Vec<Violation>> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(self.faults),
        }
    }

    /// Notes a fault. Always `None`, so that readers can return it.
    pub(super) fn fault<T>(&mut self, at: &Path<'_>, code: &'static str, detail: impl Into<String>) -> Read<T> {
        if self.faults.len() < Self::FAULTS {
            self.faults.push(Violation::new(at.pointer(), code, detail));
        }
        None
    }

    pub(super) fn object<'v>(&mut self, json: &'v Value, at: &Path<'_>) -> Read<&'v Map<String, Value>> {
        json.as_object().or_else(|| self.fault(at, "wrong_type", "must be an object"))
    }

    /// Notes every field that is not `known`.
    pub(super) fn only(&mut self, map: &Map<String, Value>, at: &Path<'_>, known: &[&str]) {
        for field in map.keys().filter(|field| !known.contains(&field.as_str())) {
            let detail = format!("unknown field{}", hint(field, known.iter().copied()));
            self.fault::<()>(&at.key(field), "unknown_field", detail);
        }
    }

    /// Reads a field when it is there.
    pub(super) fn optional<T>(
        &mut self,
        map: &Map<String, Value>,
        at: &Path<'_>,
        field: &str,
        read: impl FnOnce(&mut Self, &Value, &Path<'_>) -> Read<T>,
    ) -> Read<T> {
        read(self, map.get(field)?, &at.key(field))
    }

    /// Reads a field that must be there.
    pub(super) fn required<T>(
        &mut self,
        map: &Map<String, Value>,
        at: &Path<'_>,
        field: &str,
        read: impl FnOnce(&mut Self, &Value, &Path<'_>) -> Read<T>,
    ) -> Read<T> {
        match map.get(field) {
            Some(value) => read(self, value, &at.key(field)),
            None => self.fault(&at.key(field), "required", format!("\"{field}\" is required")),
        }
    }

    /// Reads 1 to `max` items.
    pub(super) fn list<T>(
        &mut self,
        json: &Value,
        at: &Path<'_>,
        max: usize,
        mut read: impl FnMut(&mut Self, &Value, &Path<'_>) -> Read<T>,
    ) -> Read<Vec<T>> {
        let Some(items) = json.as_array() else { return self.fault(at, "wrong_type", "must be an array") };
        if items.is_empty() {
            return self.fault(at, "empty", "must have at least one element");
        }
        if items.len() > max {
            return self.fault(at, "too_many", format!("must have at most {max} elements, not {}", items.len()));
        }
        // Every item is read, so that the faults of all are seen.
        let read: Vec<_> = items.iter().enumerate().map(|(i, item)| read(self, item, &at.index(i))).collect();
        read.into_iter().collect()
    }

    pub(super) fn text<'v>(&mut self, json: &'v Value, at: &Path<'_>) -> Read<&'v str> {
        match json.as_str() {
            Some(text) if text.len() > Self::TEXT => self.fault(at, "too_long", "must be at most 1,024 bytes long"),
            Some(text) => Some(text),
            None => self.fault(at, "wrong_type", "must be a text"),
        }
    }

    pub(super) fn filled(&mut self, json: &Value, at: &Path<'_>) -> Read<Box<str>> {
        match self.text(json, at)? {
            "" => self.fault(at, "empty", "must not be empty"),
            text => Some(text.into()),
        }
    }

    /// A text with a form of its own: a name, a duration, an instant.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, json: &Value, at: &Path<'_>) -> Read<T> {
        let text = self.text(json, at)?;
        text.parse().map_err(|error| self.fault::<()>(at, "invalid", format!("{error}"))).ok()
    }

    /// A text among those with a meaning.
    pub(super) fn choice<T: Copy>(&mut self, json: &Value, at: &Path<'_>, choices: &[(&str, T)]) -> Read<T> {
        let text = self.text(json, at)?;
        let names = || choices.iter().map(|(name, _)| *name);
        choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).or_else(|| {
            let all = names().collect::<Vec<_>>().join(", ");
            self.fault(at, "invalid", format!("must be one of {all}{}", hint(text, names())))
        })
    }

    pub(super) fn number(&mut self, json: &Value, at: &Path<'_>) -> Read<f64> {
        let number = json.as_f64().filter(|number| number.is_finite()).map(|number| number + 0.0);
        number.or_else(|| self.fault(at, "wrong_type", "must be a number"))
    }

    pub(super) fn number_in(&mut self, json: &Value, at: &Path<'_>, range: RangeInclusive<f64>) -> Read<f64> {
        let number = self.number(json, at)?;
        if range.contains(&number) {
            return Some(number);
        }
        self.fault(at, "out_of_range", format!("must be from {} to {}", range.start(), range.end()))
    }

    pub(super) fn integer_in(&mut self, json: &Value, at: &Path<'_>, range: RangeInclusive<u32>) -> Read<u32> {
        let number = self.number_in(json, at, f64::from(*range.start())..=f64::from(*range.end()))?;
        if number.fract() == 0.0 { Some(number as u32) } else { self.fault(at, "wrong_type", "must be a whole number") }
    }

    pub(super) fn boolean(&mut self, json: &Value, at: &Path<'_>) -> Read<bool> {
        json.as_bool().or_else(|| self.fault(at, "wrong_type", "must be true or false"))
    }
}
