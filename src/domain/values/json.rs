//! JSON text, written straight down, and read.

use std::{fmt, io::Write as _};

use serde::{Deserialize, Serialize};

use super::Millis;

/// Reads JSON. Its coding is checked as a whole, which takes a small part of the time that checking
/// text by text does; what is not UTF-8 throughout is read as far as that matters to what is read.
///
/// # Errors
/// It is no JSON, or no `T`.
pub fn read_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    match str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(bytes),
    }
}

/// JSON text being written. The caller writes the punctuation together with the names beside it,
/// which is what makes this several times cheaper than a general serialiser for an answer of a
/// hundred short members. [`Json::value`] is there for everything that is not on that path.
#[derive(Debug, Default)]
pub struct Json(Vec<u8>);

impl Json {
    /// An empty text with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Text that is JSON already: punctuation and names.
    #[inline]
    pub fn raw(&mut self, part: &str) -> &mut Self {
        self.0.extend_from_slice(part.as_bytes());
        self
    }

    /// Something whose written form is JSON already: an id between quotes. [`Json::value`] writes numbers faster.
    pub fn plain(&mut self, part: impl fmt::Display) -> &mut Self {
        // writing into memory cannot fail
        let _ = write!(self.0, "{part}");
        self
    }

    /// A text, quoted and escaped.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.0.push(b'"');
        let mut rest = text.as_bytes();
        loop {
            let (clean, escaped) = rest.split_at(clean(rest));
            self.0.extend_from_slice(clean);
            let Some((&byte, after)) = escaped.split_first() else { break };
            match byte {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                0x08 => self.raw("\\b"),
                0x0c => self.raw("\\f"),
                control => self.plain(format_args!("\\u{control:04x}")),
            };
            rest = after;
        }
        self.0.push(b'"');
        self
    }

    /// An instant, quoted.
    pub fn instant(&mut self, at: Millis) -> &mut Self {
        match at.written() {
            Some(text) => {
                self.0.push(b'"');
                self.0.extend_from_slice(&text);
                self.0.push(b'"');
                self
            }
            None => self.raw("\"").plain(at).raw("\""),
        }
    }

    /// Plain data: texts, numbers, lists and objects with texts as names.
    pub fn value(&mut self, value: &impl Serialize) -> &mut Self {
        // plain data can always be written
        let _ = serde_json::to_writer(&mut self.0, value);
        self
    }

    /// Members between commas, each written by `write`.
    pub fn each<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) -> &mut Self {
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.0.push(b',');
            }
            write(self, item);
        }
        self
    }

    /// What has been written, in UTF-8.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// What has been written.
    #[must_use]
    pub fn into_text(self) -> String {
        // made of whole texts: every cut is at a character below 0x80
        String::from_utf8(self.0).unwrap_or_default()
    }
}

/// How many bytes from the start need no escape: RFC 8259 section 7 escapes the quote, the
/// backslash and the controls below a space. Eight bytes at a time; of the marks that the
/// subtraction leaves, the lowest is always true.
fn clean(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let mut at = 0;
    while let Some(Ok(eight)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let word = u64::from_le_bytes(eight);
        let is = |byte: u8| {
            let zero = word ^ (ONES * u64::from(byte));
            zero.wrapping_sub(ONES) & !zero
        };
        let found = (is(b'"') | is(b'\\') | word.wrapping_sub(ONES * 0x20) & !word) & HIGHS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let is_escaped = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    bytes[at..].iter().position(is_escaped).map_or(bytes.len(), |tail| at + tail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_are_written_as_every_other_writer_does(text in "(\\PC|[\"\\\\\u{0}-\u{20}\u{7f}-\u{100}]){0,40}") {
            let mut json = Json::default();
            json.text(&text);
            prop_assert_eq!(json.into_text(), serde_json::to_string(&text).expect("json"));
        }
    }

    #[test]
    fn every_byte_in_every_place() {
        for byte in 0..0x80_u8 {
            for before in 0..17 {
                let text = format!("{}{}tail", "é".repeat(before % 3) + &"x".repeat(before), char::from(byte));
                let mut json = Json::default();
                json.text(&text);
                assert_eq!(json.into_text(), serde_json::to_string(&text).expect("json"), "{byte} after {before}");
            }
        }
    }

    #[test]
    fn lists_have_commas_between() {
        let mut json = Json::with_capacity(8);
        json.raw("[").each([1, 2, 3], |json, number| {
            json.plain(number);
        });
        json.raw("]");
        assert_eq!(json.into_text(), "[1,2,3]");
    }
}
