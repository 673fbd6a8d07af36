//! Values that are read from texts.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserializer, de};

/// Reads a value from a text of a document, which is not copied for it.
///
/// # Errors
/// There is no text, or it is no `T`.
pub fn parsed<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    struct Parsed<T>(PhantomData<T>);
    impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Parsed<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    from.deserialize_str(Parsed(PhantomData))
}
