//! Marks that stand for placeholders while an HTML tokenizer reads the markup.

use super::syntax::Placeholder;

/// Ends a mark. The space before it tears a mark apart wherever a space would end what it stands
/// in: an unquoted attribute value, a tag's name, an attribute's name.
const TAIL: &str = " qz";

/// Markup with a mark in the place of each placeholder.
#[derive(Debug)]
pub(super) struct Marks {
    /// The marked markup.
    pub(super) text: String,
    prefix: String,
    /// For each placeholder the end of its mark here and of itself in the markup.
    ends: Vec<(usize, usize)>,
}

/// A stretch of decoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'t> {
    Literal(&'t str),
    /// The placeholder of this index.
    Mark(usize),
    /// A mark that lost its end.
    Torn(usize),
}

impl Marks {
    pub(super) fn new(markup: &str, placeholders: &[Placeholder]) -> Self {
        // begins with letters, as a tag's name does, and contains the markup's own hash, so that
        // no author can write a mark by means of character references
        let prefix = format!("zq{}x", &blake3::hash(markup.as_bytes()).to_hex()[..16]);
        let mut text = String::with_capacity(markup.len() + placeholders.len() * 24);
        let mut ends = Vec::with_capacity(placeholders.len());
        let mut from = 0;
        for (index, placeholder) in placeholders.iter().enumerate() {
            text.push_str(&markup[from..placeholder.start]);
            text.push_str(&format!("{prefix}{index:05}{TAIL}"));
            ends.push((text.len(), placeholder.end));
            from = placeholder.end;
        }
        text.push_str(&markup[from..]);
        Self { text, prefix, ends }
    }

    /// The byte offset in the markup that an offset of the marked text stands for.
    pub(super) fn origin(&self, marked: usize) -> usize {
        match self.ends.partition_point(|&(end, _)| end <= marked) {
            0 => marked,
            before => {
                let (end, origin) = self.ends[before - 1];
                origin + (marked - end)
            }
        }
    }

    /// Cuts decoded text at its marks.
    pub(super) fn parts<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        let mut rest = text;
        let mut search = 0;
        while let Some(at) = rest[search..].find(&self.prefix).map(|at| search + at) {
            let digits = rest.get(at + self.prefix.len()..at + self.prefix.len() + 5);
            let Some(index) =
                digits.and_then(|digits| digits.parse().ok()).filter(|&index: &usize| index < self.ends.len())
            else {
                search = at + self.prefix.len();
                continue;
            };
            if at > 0 {
                parts.push(Part::Literal(&rest[..at]));
            }
            rest = &rest[at + self.prefix.len() + 5..];
            search = 0;
            match rest.strip_prefix(TAIL) {
                Some(after) => {
                    rest = after;
                    parts.push(Part::Mark(index));
                }
                None => parts.push(Part::Torn(index)),
            }
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest));
        }
        parts
    }

    /// A name for the placeholder of this index that stays in one piece in CSS and JSON.
    pub(super) fn word(&self, index: usize) -> String {
        format!("{}{index:05}qz", self.prefix)
    }

    /// The index of the placeholder that such a name begins with, and what follows the name.
    pub(super) fn of_word<'t>(&self, text: &'t str) -> Option<(usize, &'t str)> {
        let rest = text.strip_prefix(&self.prefix)?;
        let index = rest.get(..5)?.parse().ok()?;
        Some((index, rest[5..].strip_prefix("qz")?))
    }
}
