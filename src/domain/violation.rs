//! What is wrong with a document, and where: the one shape in which every parser of this crate
//! reports every fault it finds.

use std::fmt;

/// One fault in a document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Violation {
    /// JSON pointer (RFC 6901) to the faulty value; empty for the whole document.
    pub pointer: String,
    /// Stable, machine-readable name of the rule that was broken, in `snake_case`.
    pub code: &'static str,
    /// What to change, in words for the author of the document.
    pub detail: String,
}

impl Violation {
    /// A fault at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }

    /// The same fault seen from a document that holds this one at `prefix`.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}

/// A [`Violation`] as callers read it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Violation)]
pub struct ViolationDoc {
    /// JSON pointer (RFC 6901) to the faulty value; empty for the whole document.
    pub pointer: String,
    /// Stable, machine-readable name of the rule that was broken, in `snake_case`.
    pub code: String,
    /// What to change.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "/" } else { &self.pointer };
        write!(f, "{place}: {} ({})", self.detail, self.code)
    }
}

/// Collects faults so that an author sees all of them at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// An empty collection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes one fault.
    pub fn push(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.0.push(Violation::new(pointer, code, detail));
    }

    /// Notes the faults of a part that stands at `prefix`.
    pub fn extend_under(&mut self, prefix: &str, faults: impl IntoIterator<Item = Violation>) {
        self.0.extend(faults.into_iter().map(|fault| fault.under(prefix)));
    }

    /// Keeps the value of a part that stands at `prefix`, or notes its faults.
    pub fn keep<T>(&mut self, prefix: &str, part: Result<T, Vec<Violation>>) -> Option<T> {
        match part {
            Ok(value) => Some(value),
            Err(faults) => {
                self.extend_under(prefix, faults);
                None
            }
        }
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The faults noted.
    #[must_use]
    pub fn into_vec(self) -> Vec<Violation> {
        self.0
    }

    /// `Ok(())` when nothing was noted.
    ///
    /// # Errors
    /// Every fault noted.
    pub fn into_result(self) -> Result<(), Vec<Violation>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

/// Escapes one reference token of a JSON pointer (RFC 6901 section 3).
#[must_use]
pub fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
