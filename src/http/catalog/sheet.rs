//! The contact sheet: combinations side by side, for people.

use std::fmt::Write as _;

use super::combination::CombinationItem;
use crate::domain::{values::Format, violation::Violation};

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:24px;color:#1c1f23;background:#f4f5f7}\
main{display:flex;flex-wrap:wrap;gap:20px;align-items:flex-start}\
figure{margin:0;padding:12px;background:#fff;border:1px solid #d9dce1;border-radius:8px}\
iframe{border:0;display:block;background:#fff}figcaption{margin-top:8px;max-width:728px}\
dl{display:grid;grid-template-columns:max-content auto;gap:0 10px;margin:4px 0;font-size:12px}dt{color:#5b6470}dd{margin:0}\
section{margin:0 0 20px;padding:8px 16px;background:#fff1e6;border:1px solid #e0a070;border-radius:8px}h2{font-size:16px;margin:4px 0}\
.lint{margin:6px 0 0;padding-left:18px;color:#8a3b00;font-size:12px}pre{max-width:480px;white-space:pre-wrap;overflow-wrap:anywhere;font-size:11px}";

/// What stands on a page.
pub(super) struct Sheet<'a> {
    pub(super) title: &'a str,
    /// How many combinations there are, and how many to page through.
    pub(super) count: u128,
    pub(super) shown: u128,
    /// What keeps the draft from being published.
    pub(super) faults: &'a [Violation],
    pub(super) items: &'a [CombinationItem],
    /// The query of the next page.
    pub(super) next: Option<String>,
}

impl Sheet<'_> {
    /// The page. Each creative stands in a frame of its own that may do nothing.
    pub(super) fn page(&self) -> String {
        let Self { title, count, shown, faults, items, next } = self;
        let mut page = String::with_capacity(1_024 + items.iter().map(|item| item.markup.len() * 2).sum::<usize>());
        page.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
        escape(title, &mut page);
        let _ = write!(page, "</title><style>{STYLE}</style></head>\n<body><h1>");
        escape(title, &mut page);
        let _ = write!(page, "</h1><p>{count} combinations");
        if shown != count {
            let _ = write!(page, "; {shown} of them hold every pair of components");
        }
        page.push_str(if next.is_some() { "; some of them here.</p>\n" } else { ".</p>\n" });
        if !faults.is_empty() {
            page.push_str("<section role=\"alert\"><h2>It cannot be published</h2><ul>");
            for fault in *faults {
                page.push_str("<li><code>");
                escape(&fault.pointer, &mut page);
                page.push_str("</code> ");
                escape(&fault.detail, &mut page);
                let _ = write!(page, " ({})</li>", fault.code);
            }
            page.push_str("</ul></section>\n");
        }
        page.push_str("<main>\n");
        for item in *items {
            figure(item, &mut page);
        }
        page.push_str("</main>");
        if let Some(next) = next {
            page.push_str("<nav><a rel=\"next\" href=\"?");
            escape(next, &mut page);
            page.push_str("\">Next page</a></nav>");
        }
        page.push_str("</body></html>\n");
        page
    }
}

fn figure(item: &CombinationItem, page: &mut String) {
    page.push_str("<figure>");
    match item.format {
        Format::Html => {
            let (width, height) = item.size.map_or((300, 250), |size| (size.width, size.height));
            let _ = write!(
                page,
                "<iframe sandbox=\"\" loading=\"lazy\" width=\"{width}\" height=\"{height}\" title=\"{}\" srcdoc=\"",
                item.combination_id
            );
            escape(&item.markup, page);
            page.push_str("\"></iframe>");
        }
        Format::Native | Format::Vast => {
            page.push_str("<pre>");
            escape(&item.markup, page);
            page.push_str("</pre>");
        }
    }
    let _ = write!(page, "<figcaption><code>{}</code>", item.combination_id);
    if let Some(size) = item.size {
        let _ = write!(page, " {size}");
    }
    page.push_str("<dl>");
    for (slot, component) in &item.components {
        page.push_str("<dt>");
        escape(slot, page);
        page.push_str("</dt><dd>");
        escape(component.as_deref().unwrap_or("default"), page);
        page.push_str("</dd>");
    }
    page.push_str("</dl>");
    if !item.lint.is_empty() {
        page.push_str("<ul class=\"lint\">");
        for fault in &item.lint {
            page.push_str("<li>");
            escape(&fault.detail, page);
            page.push_str("</li>");
        }
        page.push_str("</ul>");
    }
    page.push_str("</figcaption></figure>\n");
}

/// For text and for attributes in double quotes.
fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            c => into.push(c),
        }
    }
}
