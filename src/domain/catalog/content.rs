//! What stands in a slot, as answers repeat it.

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::domain::ids::NameHash;

/// The JSON of a slot's value, kept small: a catalogue holds millions of these. Plain data rather
/// than JSON text, so that any serialiser writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A text.
    Text(Box<str>),
    /// The members of an object, in order.
    Fields(Box<[(Box<str>, Content)]>),
    /// Everything else.
    Other(Box<Value>),
}

impl Content {
    /// The value, kept small.
    #[must_use]
    pub fn new(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.into()),
            Value::Object(fields) => {
                Self::Fields(fields.into_iter().map(|(name, value)| (name.into(), Self::new(value))).collect())
            }
            other => Self::Other(Box::new(other)),
        }
    }

    /// Tells this value from others: a hash of its JSON.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        // Plain data can always be written.
        NameHash::of(&serde_json::to_string(self).unwrap_or_default()).0
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => out.serialize_str(text),
            Self::Fields(fields) => out.collect_map(fields.iter().map(|(name, value)| (name, value))),
            Self::Other(value) => value.serialize(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_written_as_it_came() {
        for value in [
            json!("a \"word\""),
            json!({"src": "https://a.example/b.webp", "alt": "", "size": {"w": 1, "h": [2.5, null]}}),
            json!([{"id": "p-1"}, 3, true]),
            json!(null),
        ] {
            let content = Content::new(value.clone());
            assert_eq!(serde_json::to_string(&content).expect("json"), value.to_string());
            assert_eq!(content.fingerprint(), NameHash::of(&value.to_string()).0);
        }
    }
}
