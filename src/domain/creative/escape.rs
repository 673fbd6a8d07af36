//! One escaper for each kind of place in which a value can stand. Whatever the text, the output
//! cannot leave its place.

use std::borrow::Cow;

use serde::Serialize;

use super::{
    color::is_color,
    url::{is_safe, percent, percent_encode},
};

/// How a value is written at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaper {
    /// Text between tags or in a quoted attribute.
    Html,
    /// A whole URL in a quoted attribute. Characters stay as they are, ad server macros too.
    Link,
    /// A part of a URL's query or fragment.
    UrlPart,
    /// A part of a URL's path: as [`Self::UrlPart`], and `..` does not climb.
    PathPart,
    /// One URL of a `srcset`.
    Srcset,
    /// A colour or number as a CSS value in a quoted attribute.
    Css,
    /// A URL within `url()` in a quoted attribute.
    CssUrl,
    /// A whole JSON value in a script element.
    Json,
}

/// What a link becomes that may not be followed.
const BLOCKED: &str = "about:blank";

/// `url` if it may be followed.
pub(super) fn link(url: &str) -> &str {
    if is_safe(url) { url } else { BLOCKED }
}

/// Writes `text` so that it stays inert at its place.
pub(super) fn push(escaper: Escaper, text: &str, out: &mut String) {
    match escaper {
        Escaper::Html => html(text, out),
        Escaper::Srcset | Escaper::CssUrl if !is_safe(text) => out.push_str(BLOCKED),
        Escaper::Link => html(link(text), out),
        Escaper::UrlPart => percent_encode(text, out),
        // browsers read `%2E` as a dot, so that a lone `..` is encoded twice
        Escaper::PathPart if !text.is_empty() && text.bytes().all(|b| b == b'.') => {
            out.push_str(&text.replace('.', "%252E"));
        }
        Escaper::PathPart => percent_encode(text, out),
        Escaper::Srcset => html(&without(text, |b| b == b',' || b <= b' '), out),
        Escaper::CssUrl => html(&without(text, |b| b <= b' ' || b == 0x7f || b"\"'()\\<>".contains(&b)), out),
        Escaper::Css if is_color(text) || text.parse().is_ok_and(f64::is_finite) => out.push_str(text),
        Escaper::Css => out.push_str("unset"),
        Escaper::Json => json(text, out),
    }
}

/// Writes `value` as JSON that cannot end the script element or the JavaScript string it stands in.
pub(super) fn json(value: &(impl Serialize + ?Sized), out: &mut String) {
    let text = serde_json::to_string(value).unwrap_or_else(|_| "null".into());
    // outside of strings JSON has none of these characters
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}', '\u{7f}']) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let mut after = after.chars();
        out.push_str(match after.next() {
            Some('<') => "\\u003C",
            Some('>') => "\\u003E",
            Some('&') => "\\u0026",
            Some('\u{2028}') => "\\u2028",
            Some('\u{2029}') => "\\u2029",
            _ => "\\u007F",
        });
        rest = after.as_str();
    }
    out.push_str(rest);
}

/// `text` without the characters that no XML document can hold (XML 1.0, production 2).
pub(super) fn xml(text: &str) -> Cow<'_, str> {
    let fits = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    if text.chars().all(fits) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if fits(c) { c } else { '\u{fffd}' }).collect())
}

fn html(text: &str, out: &mut String) {
    /// Bytes looked at together: URLs are most of what is escaped for each answer, and clean.
    const TOGETHER: usize = 32;
    let special = |byte: u8| matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'' | b'`' | 0);
    let (bytes, mut start, mut from) = (text.as_bytes(), 0, 0);
    while from < bytes.len() {
        let end = bytes.len().min(from + TOGETHER);
        // without leaving early, so that it is one comparison of many bytes
        if bytes[from..end].iter().fold(false, |any, byte| any | special(*byte)) {
            for at in from..end {
                let reference = match bytes[at] {
                    b'<' => "&lt;",
                    b'>' => "&gt;",
                    b'&' => "&amp;",
                    b'"' => "&#34;",
                    b'\'' => "&#39;",
                    b'`' => "&#96;",
                    0 => "\u{fffd}",
                    _ => continue,
                };
                out.push_str(&text[start..at]);
                out.push_str(reference);
                start = at + 1;
            }
        }
        from = end;
    }
    out.push_str(&text[start..]);
}

/// `text` with the ASCII bytes that `unwanted` names percent-encoded.
fn without(text: &str, unwanted: impl Fn(u8) -> bool) -> String {
    let mut kept = String::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(c).ok().filter(|&byte| c.is_ascii() && unwanted(byte)) {
            Some(byte) => percent(byte, &mut kept),
            None => kept.push(c),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(escaper: Escaper, text: &str) -> String {
        let mut out = String::new();
        push(escaper, text, &mut out);
        out
    }

    #[test]
    fn each_place_has_its_own_escapes() {
        let hostile = "\"'><script>`&\0";
        assert_eq!(escaped(Escaper::Html, hostile), "&#34;&#39;&gt;&lt;script&gt;&#96;&amp;\u{fffd}");
        assert_eq!(
            escaped(Escaper::Json, "</script>\u{2028}]]>\0"),
            "\"\\u003C/script\\u003E\\u2028]]\\u003E\\u0000\""
        );
        assert_eq!(escaped(Escaper::UrlPart, "a b&c=ü/%00"), "a%20b%26c%3D%C3%BC%2F%2500");
        assert_eq!(escaped(Escaper::PathPart, ".."), "%252E%252E");
        assert_eq!(escaped(Escaper::PathPart, "a..b"), "a..b");
        assert_eq!(escaped(Escaper::Srcset, "https://x.example/a,b c"), "https://x.example/a%2Cb%20c");
        assert_eq!(escaped(Escaper::CssUrl, "https://x.example/a');b"), "https://x.example/a%27%29;b");
        assert_eq!(escaped(Escaper::Css, "red;background:url(x)"), "unset");
    }

    #[test]
    fn only_links_that_may_be_followed_are_written() {
        for bad in [
            "javascript:alert(1)",
            " https://x.example",
            "java\nscript:1",
            "data:text/html,x",
            "//x.example",
            "",
            "%%CLICK",
        ] {
            assert_eq!(escaped(Escaper::Link, bad), "about:blank", "{bad}");
        }
        for good in [
            "https://x.example/?a=1",
            "%%CLICK_URL_UNESC%%https%3A%2F%2Fx.example",
            "${CLICK_URL}https%3A",
            "/v1/assets/a.png",
        ] {
            assert_eq!(escaped(Escaper::Link, good), good);
        }
    }

    #[test]
    fn xml_holds_what_it_can() {
        assert_eq!(xml("a\tüé\u{1f600}<&"), "a\tüé\u{1f600}<&");
        assert_eq!(xml("a\0b\u{b}\u{fffe}\u{ffff}"), "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}");
    }

    proptest! {
        #[test]
        fn json_reads_back_as_it_was(text in any::<String>()) {
            let written = escaped(Escaper::Json, &text);
            let inert = !written.contains(['<', '>', '&', '\u{2028}']);
            prop_assert!(inert, "{}", written);
            prop_assert_eq!(serde_json::from_str::<String>(&written).expect("a JSON string"), text);
        }
    }
}
