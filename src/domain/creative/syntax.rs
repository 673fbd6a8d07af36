//! The placeholders of a template's markup, before anything is known about where they stand.

use crate::domain::violation::{Violation, Violations};

/// How deep blocks may nest.
const DEEPEST: usize = 8;

/// The most placeholders in one template.
const MOST: usize = 1_000;

/// The most faults told at once.
const MOST_FAULTS: usize = 100;

/// Something between `{{` and `}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// Byte offset of `{{` in the markup.
    pub(super) start: usize,
    /// Byte offset after `}}`.
    pub(super) end: usize,
    /// What it asks for.
    pub(super) kind: Kind,
}

/// What a placeholder asks for. Names are as the author wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Value(String),
    If(String),
    Else,
    EndIf,
    Each(String),
    EndEach,
}

impl Kind {
    /// Whether this is a part of a block and not a value.
    pub(super) fn is_block(&self) -> bool {
        !matches!(self, Self::Value(_))
    }
}

/// Faults of the markup, each with its line and column.
#[derive(Debug)]
pub(super) struct Faults<'a> {
    markup: &'a str,
    found: Vec<(usize, Violation)>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(markup: &'a str) -> Self {
        Self { markup, found: Vec::new() }
    }

    /// Notes a fault at a byte offset of the markup. Lines and columns count from 1, columns in
    /// characters.
    pub(super) fn push(&mut self, at: usize, code: &'static str, detail: impl AsRef<str>) {
        if self.found.len() == MOST_FAULTS {
            return;
        }
        let detail = format!("{}: {}", whereabouts(self.markup, at), detail.as_ref());
        self.found.push((at, Violation::new("/markup", code, detail)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The faults in the order of the markup.
    pub(super) fn into_violations(mut self) -> Violations {
        let mut all = Violations::new();
        self.found.sort_by_key(|(at, _)| *at);
        self.found.dedup();
        all.extend_under("", self.found.into_iter().map(|(_, fault)| fault));
        all
    }
}

/// A byte offset of a markup in words.
pub(super) fn whereabouts(markup: &str, at: usize) -> String {
    let before = markup.get(..at).unwrap_or(markup);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    format!("line {line}, column {column}")
}

/// Finds the placeholders and checks that blocks open and close in order.
pub(super) fn scan(markup: &str, faults: &mut Faults<'_>) -> Vec<Placeholder> {
    let mut found = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut next = 0;
    while let Some(start) = markup[next..].find("{{").map(|at| next + at) {
        let Some(length) = markup[start..].find("}}") else {
            faults.push(start, "template_syntax", "this {{ has no }}");
            break;
        };
        let end = start + length + 2;
        let inner = markup[start + 2..end - 2].trim();
        match kind(inner) {
            Some(kind) => {
                follow(&kind, start, &mut open, faults);
                found.push(Placeholder { start, end, kind });
            }
            None => faults.push(
                start,
                "template_syntax",
                format!("{:?} is not a slot name, #if, else, /if, #each or /each", clip(inner)),
            ),
        }
        if found.len() > MOST {
            faults.push(start, "markup_too_large", format!("a template holds at most {MOST} placeholders"));
            break;
        }
        next = end;
    }
    for Open { each, start, .. } in open {
        let name = if each { "each" } else { "if" };
        faults.push(start, "unclosed_block", format!("this {{{{#{name}}}}} has no {{{{/{name}}}}}"));
    }
    found
}

struct Open {
    each: bool,
    has_else: bool,
    start: usize,
}

fn follow(kind: &Kind, start: usize, open: &mut Vec<Open>, faults: &mut Faults<'_>) {
    match kind {
        Kind::Value(_) => {}
        Kind::If(_) | Kind::Each(_) => {
            let each = matches!(kind, Kind::Each(_));
            if each && open.iter().any(|block| block.each) {
                faults.push(start, "nested_each", "an #each cannot stand inside another");
            }
            open.push(Open { each, has_else: false, start });
            if open.len() == DEEPEST + 1 {
                faults.push(start, "nesting_too_deep", format!("blocks nest at most {DEEPEST} deep"));
            }
        }
        Kind::Else => match open.last_mut() {
            Some(block) if !block.each && !block.has_else => block.has_else = true,
            _ => faults.push(start, "unexpected_block", "this else belongs to no #if"),
        },
        Kind::EndIf | Kind::EndEach => {
            let each = matches!(kind, Kind::EndEach);
            if open.last().is_some_and(|block| block.each == each) {
                open.pop();
            } else {
                faults.push(start, "unexpected_block", "this closes no open block");
            }
        }
    }
}

fn kind(inner: &str) -> Option<Kind> {
    let name = |text: &str| {
        let text = text.trim();
        let fits = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b));
        (fits && !text.is_empty() && text.len() <= 128).then(|| text.to_owned())
    };
    let block =
        |word: &str| inner.strip_prefix(word).filter(|rest| rest.starts_with(char::is_whitespace)).and_then(name);
    match inner {
        "else" => Some(Kind::Else),
        "/if" => Some(Kind::EndIf),
        "/each" => Some(Kind::EndEach),
        _ => block("#if")
            .map(Kind::If)
            .or_else(|| block("#each").map(Kind::Each))
            .or_else(|| name(inner).map(Kind::Value)),
    }
}

/// The beginning of what an author wrote, short enough to be repeated to them.
fn clip(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| &text[..end])
}

/// Edits (insert, delete, replace a letter) that turn one name into another.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(markup: &str) -> Vec<String> {
        let mut faults = Faults::new(markup);
        scan(markup, &mut faults);
        faults.into_violations().into_vec().iter().map(|fault| format!("{} {}", fault.code, fault.detail)).collect()
    }

    #[test]
    fn placeholders_are_found() {
        let markup = "a{{x}}{{#if y }}{{ z.src }}{{else}}{{/if}}{{#each p}}{{/each}}";
        let mut faults = Faults::new(markup);
        let kinds: Vec<_> = scan(markup, &mut faults).into_iter().map(|found| found.kind).collect();
        assert!(faults.is_empty());
        let text = String::from;
        assert_eq!(
            kinds,
            [
                Kind::Value(text("x")),
                Kind::If(text("y")),
                Kind::Value(text("z.src")),
                Kind::Else,
                Kind::EndIf,
                Kind::Each(text("p")),
                Kind::EndEach
            ]
        );
    }

    #[test]
    fn faults_have_line_and_column() {
        assert_eq!(faults("ü\nüü{{x"), ["template_syntax line 2, column 3: this {{ has no }}"]);
        assert!(faults("{{#if a}}\n {{/each}}")[1].starts_with("unexpected_block line 2, column 2"));
        assert!(faults("\n{{#if a}}")[0].starts_with("unclosed_block line 2, column 1"));
        assert!(faults("{{else}}")[0].starts_with("unexpected_block"));
        assert!(faults("{{#if a}}{{else}}{{else}}{{/if}}")[0].starts_with("unexpected_block line 1, column 18"));
        assert!(faults("{{#each a}}{{#each b}}{{/each}}{{/each}}")[0].starts_with("nested_each"));
        assert!(faults("{{ a b }}")[0].starts_with("template_syntax"));
        assert!(faults("{{}}")[0].starts_with("template_syntax"));
        assert!(
            faults(&format!("{}{}", "{{#if a}}".repeat(9), "{{/if}}".repeat(9)))[0].starts_with("nesting_too_deep")
        );
        assert!(faults(&format!("{}{}", "{{#if a}}".repeat(8), "{{/if}}".repeat(8))).is_empty());
    }
}
