//! The images of this server that documents and markup name.

use std::{borrow::Cow, collections::BTreeSet};

use serde_json::Value;

use super::{
    html::Node,
    template::{Program, Template},
};

/// Where images stand on this server.
pub const ASSETS: &str = "/v1/assets/";

/// The name of an image of this server, where `src` is its path.
#[must_use]
pub fn asset_name(src: &str) -> Option<&str> {
    src.strip_prefix(ASSETS)
}

/// Whether an image of this server can have a name: a hash of its content and an ending.
#[must_use]
pub fn is_asset_name(name: &str) -> bool {
    let Some((hash, ending)) = name.split_once('.') else { return false };
    let hex = hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    hash.len() == 32 && hex && matches!(ending, "png" | "jpg" | "webp" | "gif")
}

/// The images of this server that a document names, as the `src` of values and in markup.
#[must_use]
pub fn named_assets(document: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(document, &mut names);
    names
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(src) if name == "src" => names.extend(asset_name(src).map(str::to_owned)),
                    Value::String(markup) if name == "markup" => names.extend(assets_in_markup(markup)),
                    inner => collect(inner, names),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        _ => {}
    }
}

/// The images of this server that stand in markup as they are.
#[must_use]
pub fn assets_in_markup(markup: &str) -> Vec<String> {
    let mut names = Vec::new();
    with_paths(markup, ASSETS, |name| {
        names.extend(is_asset_name(name).then(|| name.to_owned()));
        None
    });
    names
}

/// Markup in which `with` has replaced paths below `folder`; it is asked with what follows the
/// folder, and `None` leaves a path as it is.
pub fn with_paths<'a>(markup: &'a str, folder: &str, mut with: impl FnMut(&str) -> Option<String>) -> Cow<'a, str> {
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(found) = markup[at..].find(folder).map(|found| at + found) {
        let behind = &markup[found + folder.len()..];
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
        let name = &behind[..behind.bytes().take_while(|b| plain(b)).count()];
        at = found + folder.len() + name.len();
        // within a longer address it is another path
        let begins = markup[..found].ends_with(|c: char| c.is_ascii_whitespace() || "\"'(=,".contains(c));
        if let Some(other) = begins.then(|| with(name)).flatten() {
            out.push_str(&markup[copied..found]);
            out.push_str(&other);
            copied = at;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(markup);
    }
    out.push_str(&markup[copied..]);
    Cow::Owned(out)
}

impl Template {
    /// Puts `public_url` before the paths of images that stand in the markup as they are.
    pub fn serve_assets_from(&mut self, public_url: &str) {
        fn all(nodes: &mut [Node], public_url: &str) {
            for node in nodes {
                match node {
                    Node::Literal(text) => {
                        let absolute = |name: &str| Some(format!("{public_url}{ASSETS}{name}"));
                        if let Cow::Owned(absolute) = with_paths(text, ASSETS, absolute) {
                            *text = absolute.into();
                        }
                    }
                    Node::If(_, yes, no) => {
                        all(yes, public_url);
                        all(no, public_url);
                    }
                    Node::Each(_, body) => all(body, public_url),
                    Node::Slot(..) | Node::Item(_) | Node::Builtin(..) => {}
                }
            }
        }
        match &mut self.program {
            Program::Html(html) => all(&mut html.nodes, public_url),
            Program::Vast(vast) => vast.companions.iter_mut().for_each(|one| all(&mut one.html.nodes, public_url)),
            Program::Native(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAME: &str = "0f343b0931126a20f133d67c2b018a3b.png";

    #[test]
    fn names_are_found_wherever_images_are_named() {
        let document = json!({"slots": {"hero": {"default": {"src": format!("/v1/assets/{NAME}"), "renditions": [
            {"src": "/v1/assets/b.png"}, {"src": "https://cdn.example/v1/assets/c.png"}]}}},
            "markup": "<img src=/v1/assets/11111111111111111111111111111111.gif> /v1/assets/{{x}}"});
        let names: Vec<_> = named_assets(&document).into_iter().collect();
        assert_eq!(names, [NAME, "11111111111111111111111111111111.gif", "b.png"]);
    }

    #[test]
    fn only_paths_of_this_server_are_replaced() {
        let moved =
            |markup: &str| with_paths(markup, ASSETS, |name| Some(format!("https://t.example/{name}"))).into_owned();
        assert_eq!(moved("<img src=\"/v1/assets/a.png\">"), "<img src=\"https://t.example/a.png\">");
        assert_eq!(
            moved("<img srcset='/v1/assets/a.png 1x,/v1/assets/b.png 2x'>"),
            "<img srcset='https://t.example/a.png 1x,https://t.example/b.png 2x'>"
        );
        assert_eq!(moved("url(/v1/assets/a.png)"), "url(https://t.example/a.png)");
        for other in ["https://cdn.example/v1/assets/a.png", "\"/other/v1/assets/a.png\"", "", "/v1/assets"] {
            assert_eq!(moved(other), other);
        }
    }

    #[test]
    fn only_hashes_are_names() {
        assert!(is_asset_name(NAME));
        let hash = &NAME[..32];
        for odd in [hash, &format!("{hash}.svg"), &format!("{}.png", hash.to_uppercase()), "a.png", "\0.png", ""] {
            assert!(!is_asset_name(odd), "{odd}");
        }
    }
}
