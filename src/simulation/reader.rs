//! Reading JSON by hand, so that every fault is told at once and where it is.

use serde_json::Value;

use crate::domain::violation::{Violations, token};

/// A value and its place in the document.
#[derive(Clone)]
pub(super) struct Place<'a> {
    /// Missing where the document has nothing there.
    value: Option<&'a Value>,
    pointer: String,
}

/// The faults found so far.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) faults: Violations,
}

impl<'a> Place<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { value: Some(value), pointer: String::new() }
    }

    pub(super) fn member(&self, name: &str) -> Self {
        let value = self.value.and_then(|value| value.get(name)).filter(|value| !value.is_null());
        Self { value, pointer: format!("{}/{}", self.pointer, token(name)) }
    }

    pub(super) fn is_missing(&self) -> bool {
        self.value.is_none()
    }

    fn item(&self, at: usize, value: &'a Value) -> Self {
        Self { value: Some(value), pointer: format!("{}/{at}", self.pointer) }
    }
}

impl Reader {
    pub(super) fn fault(&mut self, place: &Place<'_>, code: &'static str, detail: impl Into<String>) {
        self.faults.push(place.pointer.clone(), code, detail);
    }

    fn want<'a, T>(&mut self, place: &Place<'a>, what: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        let Some(value) = place.value else {
            self.fault(place, "required", format!("must be {what}"));
            return None;
        };
        let read = read(value);
        if read.is_none() {
            self.fault(place, "type", format!("must be {what}"));
        }
        read
    }

    /// A text.
    pub(super) fn text(&mut self, place: &Place<'_>) -> String {
        self.want(place, "a text", |value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// A whole number within bounds.
    pub(super) fn whole(&mut self, place: &Place<'_>, least: u64, most: u64) -> u64 {
        let what = format!("a whole number from {least} to {most}");
        self.want(place, &what, |value| value.as_u64().filter(|n| (least..=most).contains(n))).unwrap_or(least)
    }

    /// A number within bounds.
    pub(super) fn number(&mut self, place: &Place<'_>, least: f64, most: f64) -> f64 {
        let what = format!("a number from {least} to {most}");
        self.want(place, &what, |value| value.as_f64().filter(|n| (least..=most).contains(n))).unwrap_or(least)
    }

    /// True or false, also as 1 or 0.
    pub(super) fn truth(&mut self, place: &Place<'_>) -> bool {
        let read = |value: &Value| value.as_bool().or_else(|| Some(value.as_u64()? == 1));
        self.want(place, "true or false", read).unwrap_or_default()
    }

    /// A list of as many items as `lengths` allows.
    pub(super) fn list<'a>(&mut self, place: &Place<'a>, least: usize, most: usize) -> Vec<Place<'a>> {
        let Some(items) = self.want(place, "a list", |value| value.as_array()) else { return Vec::new() };
        if !(least..=most).contains(&items.len()) {
            let detail = format!("must have {least} to {most} items, not {}", items.len());
            self.fault(place, "items", detail);
            return Vec::new();
        }
        items.iter().enumerate().map(|(at, item)| place.item(at, item)).collect()
    }

    /// An object's members; none where there is no object.
    pub(super) fn members<'a>(&mut self, place: &Place<'a>) -> Vec<(&'a str, Place<'a>)> {
        if place.is_missing() {
            return Vec::new();
        }
        let members = self.want(place, "an object", |value| value.as_object());
        members.into_iter().flatten().map(|(name, _)| (name.as_str(), place.member(name))).collect()
    }

    /// A table of numbers: `lengths` rows, each at least as long as its entry. What is beyond that
    /// is padding and not read.
    pub(super) fn table(&mut self, place: &Place<'_>, lengths: &[usize]) -> Vec<Vec<f64>> {
        self.rows(place, lengths, |reader, item| reader.number(item, -100.0, 100.0))
    }

    /// The same of any items.
    pub(super) fn rows<T>(
        &mut self,
        place: &Place<'_>,
        lengths: &[usize],
        read: impl Fn(&mut Self, &Place<'_>) -> T,
    ) -> Vec<Vec<T>> {
        let rows = self.list(place, lengths.len(), lengths.len());
        let row = |(row, length): (Place<'_>, &usize)| {
            let items = self.list(&row, *length, usize::MAX);
            items.iter().take(*length).map(|item| read(self, item)).collect()
        };
        rows.into_iter().zip(lengths).map(row).collect()
    }
}
