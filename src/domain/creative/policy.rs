//! What authors may write in markup at all. Templates come from marketers and run in other
//! people's pages, so elements are an allow-list and nothing executes.

use super::url::is_bidi;

/// HTML elements that may stand in a template. Forms, frames and plug-ins may not, nor elements
/// that change how the browser reads what follows (`select`, `template`, `noscript`, `xmp`, `math`).
const HTML: &[&str] = &[
    "a",
    "abbr",
    "address",
    "area",
    "article",
    "aside",
    "audio",
    "b",
    "bdi",
    "bdo",
    "blockquote",
    "body",
    "br",
    "button",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "data",
    "dd",
    "del",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "font",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "i",
    "img",
    "ins",
    "kbd",
    "label",
    "li",
    "link",
    "main",
    "map",
    "mark",
    "meta",
    "nav",
    "ol",
    "p",
    "picture",
    "pre",
    "q",
    "s",
    "samp",
    "script",
    "section",
    "small",
    "source",
    "span",
    "strong",
    "style",
    "sub",
    "summary",
    "sup",
    "svg",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "track",
    "u",
    "ul",
    "var",
    "video",
    "wbr",
];

/// Elements within `<svg>`, as the tokenizer names them. Those that load, link, animate links or
/// switch back to HTML are left out.
const SVG: &[&str] = &[
    "circle",
    "clippath",
    "defs",
    "ellipse",
    "fegaussianblur",
    "feoffset",
    "filter",
    "g",
    "line",
    "lineargradient",
    "mask",
    "path",
    "pattern",
    "polygon",
    "polyline",
    "radialgradient",
    "rect",
    "stop",
    "svg",
    "symbol",
    "text",
    "tspan",
];

const VOID: &[&str] = &["area", "br", "col", "hr", "img", "link", "meta", "source", "track", "wbr"];

/// Elements whose end tag HTML lets authors leave out.
const OPEN_ENDED: &[&str] =
    &["body", "colgroup", "dd", "dt", "head", "html", "li", "p", "tbody", "td", "tfoot", "th", "thead", "tr"];

/// Attributes that hold an address.
const ADDRESSES: &[&str] = &[
    "action",
    "background",
    "cite",
    "data",
    "formaction",
    "href",
    "longdesc",
    "manifest",
    "ping",
    "poster",
    "src",
    "usemap",
    "xlink:href",
];

/// Attributes that hold plain words and may hold a slot.
const PLAIN: &[&str] = &[
    "abbr",
    "alt",
    "class",
    "datetime",
    "dir",
    "height",
    "id",
    "label",
    "lang",
    "placeholder",
    "role",
    "title",
    "value",
    "width",
];

/// What a `<link>` may be, as its `rel` says, of our own assets. The others load style sheets and
/// documents of strangers, or have the browser call on them.
const LINKS: &[&str] = &["icon"];

/// What keeps a `<link>` with these attributes from standing in a template.
pub(super) fn link_fault(rel: &str, href: &str) -> Option<&'static str> {
    let known = rel.split_ascii_whitespace().all(|word| LINKS.iter().any(|known| word.eq_ignore_ascii_case(known)));
    let listed = known && !rel.trim_ascii().is_empty();
    (!listed || !href.starts_with("/v1/assets/")).then_some(
        "only <link rel=\"icon\"> to an asset (/v1/assets/...) may stand in a creative; put styles into <style>",
    )
}

pub(super) fn is_void(element: &str) -> bool {
    VOID.contains(&element)
}

pub(super) fn is_open_ended(element: &str) -> bool {
    OPEN_ENDED.contains(&element)
}

pub(super) fn is_allowed(element: &str, in_svg: bool) -> bool {
    if in_svg { SVG.contains(&element) } else { HTML.contains(&element) }
}

pub(super) fn is_address(attribute: &str) -> bool {
    ADDRESSES.contains(&attribute)
}

pub(super) fn is_plain(attribute: &str) -> bool {
    PLAIN.contains(&attribute) || attribute.starts_with("aria-") || attribute.starts_with("data-")
}

/// What may be wrong with an attribute that holds no slot: its code and what to change.
pub(super) fn attribute_fault(element: &str, name: &str, value: &str) -> Option<(&'static str, String)> {
    if name.starts_with("on") {
        return Some(("event_handler_refused", format!("take {name} out: nothing may execute in a creative")));
    }
    if name == "srcdoc" {
        return Some(("element_refused", "take srcdoc out: a creative holds no documents".into()));
    }
    if is_address(name) {
        let scheme = scheme(value)?;
        let inline_image =
            matches!(element, "img" | "source") && name == "src" && scheme == "data" && is_inline_image(value);
        let fits = match (element, name) {
            ("a" | "area", "href") => matches!(scheme.as_str(), "http" | "https" | "mailto" | "tel"),
            _ => matches!(scheme.as_str(), "http" | "https"),
        };
        return (!fits && !inline_image)
            .then(|| ("url_scheme_refused", format!("{name} must be an https address, not {scheme}:")));
    }
    match (element, name, value.trim().to_ascii_lowercase().as_str()) {
        ("meta", "http-equiv", "x-ua-compatible" | "content-security-policy") => None,
        ("meta", "http-equiv", _) => {
            Some(("meta_refused", "take this meta http-equiv out: a creative does not redirect or set cookies".into()))
        }
        ("meta", "charset", charset) if charset != "utf-8" => {
            Some(("meta_refused", "the charset must be utf-8".into()))
        }
        _ => None,
    }
}

/// The scheme that a browser sees in an address, in lower case: leading controls and spaces and all
/// tabs and line ends do not count (WHATWG URL).
fn scheme(url: &str) -> Option<String> {
    let seen: String = url.chars().skip_while(|&c| c <= ' ').filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
    let end = seen.find([':', '/', '?', '#']).filter(|&at| seen[at..].starts_with(':'))?;
    let scheme = &seen[..end];
    // a macro such as %%CLICK_URL_UNESC%%https: is no scheme, and what a bidi control hides is none we know
    let fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic() || is_bidi(c));
    (fits && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)))
        .then(|| scheme.to_ascii_lowercase())
}

fn is_inline_image(url: &str) -> bool {
    let head = url.trim_start().get(..11).map(str::to_ascii_lowercase);
    head.is_some_and(|head| head == "data:image/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_seen_through_disguises() {
        for (url, seen) in [
            ("javascript:alert(1)", Some("javascript")),
            (" \u{1}JaVa\tScRi\npt:alert(1)", Some("javascript")),
            ("https://x.example", Some("https")),
            ("/a:b", None),
            ("?a:b", None),
            ("%%CLICK_URL_UNESC%%https://x.example", None),
            ("a b:c", None),
        ] {
            assert_eq!(scheme(url).as_deref(), seen, "{url}");
        }
    }

    #[test]
    fn static_attributes_execute_nothing() {
        let code = |element, name, value| attribute_fault(element, name, value).map(|(code, _)| code);
        assert_eq!(code("div", "onclick", "x"), Some("event_handler_refused"));
        assert_eq!(code("a", "href", "javascript:x"), Some("url_scheme_refused"));
        assert_eq!(code("a", "href", "data:image/png;base64,x"), Some("url_scheme_refused"));
        assert_eq!(code("img", "src", "data:image/png;base64,x"), None);
        assert_eq!(code("img", "src", "data:text/html,x"), Some("url_scheme_refused"));
        assert_eq!(code("a", "href", "mailto:a@x.example"), None);
        assert_eq!(code("link", "href", "mailto:a@x.example"), Some("url_scheme_refused"));
        assert_eq!(code("meta", "http-equiv", " Refresh "), Some("meta_refused"));
        assert_eq!(code("meta", "charset", "utf-7"), Some("meta_refused"));
        assert_eq!(code("meta", "charset", "UTF-8"), None);
    }
}
