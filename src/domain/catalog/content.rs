//! What stands in a slot, as answers repeat it.

use serde_json::Value;

use crate::domain::ids::NameHash;

/// The JSON of a slot's value, written once: a catalogue holds millions of these, and every answer
/// repeats some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content(Box<str>);

impl Content {
    /// The value, written.
    #[must_use]
    pub fn new(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    /// The JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Tells this value from others: a hash of its JSON.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        NameHash::of(&self.0).0
    }
}
