//! Images in markup that say nothing to those who cannot see them.

use super::{
    documents::TemplateDoc,
    reading,
    syntax::{self, Faults},
};
use crate::domain::violation::{Violation, Violations};

/// The images of a template's markup that have no `alt`. What was published before this was asked
/// goes on serving: it is for templates that are written now.
///
/// # Errors
/// One fault for each, which begins with its line and column.
pub fn every_image_has_words(doc: &TemplateDoc) -> Result<(), Vec<Violation>> {
    let mut faults = Violations::new();
    let companions = doc.vast.iter().flat_map(|vast| &vast.companions).enumerate();
    let companions = companions.map(|(at, one)| (format!("/vast/companions/{at}"), one.markup.as_str()));
    for (under, markup) in doc.markup.iter().map(|markup| (String::new(), markup.as_str())).chain(companions) {
        faults.extend_under(&under, wordless(&markup.replace("\r\n", "\n").replace('\r', "\n")));
    }
    faults.into_result()
}

fn wordless(markup: &str) -> Vec<Violation> {
    let mut others = Faults::new(markup);
    let placeholders = syntax::scan(markup, &mut others);
    let found = if others.is_empty() { reading::read(markup, &placeholders, &mut others).wordless } else { Vec::new() };
    let mut faults = Faults::new(markup);
    for at in found {
        let detail = "give this <img> an alt: alt=\"{{hero.alt}}\", or alt=\"\" where it only decorates or counts";
        faults.push(at, "alt_missing", detail);
    }
    faults.into_violations().into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(markup: &str) -> Vec<String> {
        wordless(markup).into_iter().map(|fault| format!("{} {} {}", fault.pointer, fault.code, fault.detail)).collect()
    }

    #[test]
    fn images_without_words_are_told_by_line_and_column() {
        let found = told("<p>\n  <img src=\"{{hero.src}}\"><img src=\"/v1/assets/a.png\" alt=\"\">");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("/markup alt_missing line 2, column 3"), "{found:?}");
        assert_eq!(told("<img alt src=\"https://x.example/a.png\"><p>img alt</p>"), [""; 0]);
    }
}
