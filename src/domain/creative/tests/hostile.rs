//! Whatever the values are, the document keeps its structure.

use std::sync::LazyLock;

use html5gum::{DefaultEmitter, Token, Tokenizer};
use proptest::prelude::*;

use super::*;
use crate::domain::creative::{
    field,
    html::{Condition, Html, Node},
    template::Program,
};

/// Every context that takes a slot.
const EVERYWHERE: &str = r#"<!doctype html><html><head><title>{{headline}}</title></head>
<body data-v="{{view_url}}" data-c='{{click_url}}'>
<a href="{{click_url}}" title="{{headline}}" aria-label='{{small}}'>{{headline}}<b>{{small}}</b></a>
<a href="{{target}}">{{target}}</a><a href='{{landing_url}}'>{{decision_id}}{{cachebuster}}</a>
<a href="https://x.example/{{headline}}/p">x</a><a href="https://x.example/?q={{small}}&amp;z=1">x</a>
<a href="https://x.example/?q={{target}}">x</a><a href="/own/#{{hero.alt}}">x</a>
<img src="{{hero.src}}" alt="{{hero.alt}}" srcset="{{hero.src}} 1x, {{hero.src}} 2x"><img src="https://x.example/?r={{cachebuster}}">
<p style="color:{{accent}};--n:{{progress}};width:{{progress}}px;background:url({{hero.src}}),url('{{hero.src}}')">{{offer}}</p>
<svg><rect fill="{{accent}}"/></svg>
{{#if badge}}<i class="{{badge}}">{{badge}}</i>{{else}}<u>x</u>{{/if}}
{{#each products}}<a href="{{link}}" title="{{id}}"><img src="{{image.src}}" alt='{{image.alt}}'>{{title}}{{headline}}</a>{{/each}}
<script type="application/json">{"a":{{headline}},"b":[{{hero}},{{products}},{{small}}],"c":{{click_url}},"d":{{decision_id}}}</script>
</body></html>"#;

fn everywhere() -> &'static Template {
    static TEMPLATE: LazyLock<Template> = LazyLock::new(|| template(EVERYWHERE));
    &TEMPLATE
}

/// Tags and names of attributes in their order, without what stands in them.
fn structure(html: &str) -> Vec<String> {
    tokens(html)
        .into_iter()
        .filter_map(|token| match token {
            Token::StartTag(tag) => {
                let names: Vec<_> =
                    tag.attributes.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
                Some(format!("<{} {}>", String::from_utf8_lossy(&tag.name), names.join(" ")))
            }
            Token::EndTag(tag) => Some(format!("</{}>", String::from_utf8_lossy(&tag.name))),
            Token::Comment(_) => Some("<!---->".to_owned()),
            Token::Doctype(_) => Some("<!>".to_owned()),
            Token::String(_) | Token::Error(_) => None,
        })
        .collect()
}

fn tokens(html: &str) -> Vec<Token> {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    Tokenizer::new_with_emitter(html, emitter).map(|Ok(token)| token).collect()
}

/// Every address in the document begins as one that may be followed.
fn addresses_are_safe(html: &str) -> Result<(), TestCaseError> {
    for token in tokens(html) {
        let Token::StartTag(tag) = token else { continue };
        for (name, value) in &tag.attributes {
            let value = String::from_utf8_lossy(value).into_owned();
            match &***name {
                b"href" | b"src" => {
                    let fits = [
                        "https://",
                        "http://",
                        "/v1/assets/",
                        "/own/",
                        "%%CLICK_URL_UNESC%%",
                        "${CLICK_URL}",
                        "about:blank",
                    ];
                    prop_assert!(fits.iter().any(|head| value.starts_with(head)), "{}", value);
                }
                b"srcset" => prop_assert_eq!(value.split(", ").count(), 2, "{}", value),
                b"style" if value.contains("--n") => {
                    prop_assert_eq!(style_structure(&value), [";", ";", ";", "url", ",", "url"], "{}", value);
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The separators and addresses of a style.
fn style_structure(css: &str) -> Vec<&'static str> {
    use cssparser::{Parser, ParserInput, Token};
    let mut input = ParserInput::new(css);
    let mut parser = Parser::new(&mut input);
    let mut found = Vec::new();
    while let Ok(token) = parser.next() {
        found.extend(match token {
            Token::Semicolon => Some(";"),
            Token::Comma => Some(","),
            Token::UnquotedUrl(_) => Some("url"),
            Token::Function(name) if &**name == "url" => Some("url"),
            Token::Function(_) | Token::BadUrl(_) | Token::BadString(_) | Token::QuotedString(_) => Some("other"),
            _ => None,
        });
    }
    found
}

fn island(html: &str) -> Value {
    let start = html.find("application/json\">").expect("an island") + "application/json\">".len();
    let end = start + html[start..].find("</script>").expect("an end");
    serde_json::from_str(&html[start..end]).expect("the island is JSON")
}

/// Text that tries to leave its place. Texts that values refuse are tried too, beneath the parser.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(vec![
            "\"><script>alert(1)</script>", "'><img src=x onerror=alert(1)>", "javascript:alert(1)", "</script>", "</title>", "</style>",
            "]]>", "\0", "\u{202e}", "{{headline}}", "{{#if x}}", "`", "%00", "\u{2028}", "<!--", "-->", "<!--<script>", "&lt;", "&#x3c;",
            "\\", "\"", "'", "/", "//evil.example/", "..", ");", "}", "{", "url(x)", "/*", "*/", ";color:red", "expression(alert(1))", " 2x,",
            ",", "\n", "\t", "\r", "%%CLICK_URL_UNESC%%", "${CLICK_URL}", "=", "+ADw-", "\u{feff}", "\u{fffd}", " onmouseover=", "data:text/html,x",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[ -~]{0,12}",
    ];
    proptest::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

/// The values as if every check of what an author may write had been passed.
fn values(template: &Template, text: &str) -> Vec<SlotValue> {
    let image = Image { src: text.into(), alt: text.into(), width: None, height: None };
    let url: WebUrl = format!(
        "https://x.example/{}",
        text.chars().filter(|c| c.is_ascii_graphic() && *c != '\\').collect::<String>()
    )
    .parse()
    .unwrap_or_else(|_| "https://x.example/".parse().expect("a url"));
    template
        .slots()
        .iter()
        .map(|slot| match slot.spec.kind {
            SlotType::Text | SlotType::Legal => SlotValue::Text(text.into()),
            SlotType::Image => SlotValue::Image(image.clone()),
            SlotType::Url => SlotValue::Url(url.clone()),
            SlotType::Color => SlotValue::Color(text.into()),
            SlotType::Price | SlotType::Number | SlotType::Video => slot.default.clone(),
            SlotType::Product => SlotValue::Products(
                [Product {
                    id: text.into(),
                    title: text.into(),
                    link: url.clone(),
                    image: image.clone(),
                    price: None,
                    sale_price: None,
                    brand: Some(text.into()),
                    description: Some(text.into()),
                }]
                .into(),
            ),
        })
        .collect()
}

fn assembled(template: &Template, values: &[SlotValue], dynamic: &Dynamic<'_>) -> String {
    let prepared: Vec<_> = values.iter().enumerate().map(|(slot, value)| template.prepare(slot, value)).collect();
    let mut out = String::new();
    assemble_html(template, &prepared.iter().collect::<Vec<_>>(), dynamic, &mut out);
    out
}

/// The same document made without preparing anything.
fn direct(
    html: &Html,
    nodes: &[Node],
    values: &[SlotValue],
    item: Option<(usize, &Product)>,
    dynamic: &Dynamic<'_>,
    out: &mut String,
) {
    for node in nodes {
        match node {
            Node::Literal(text) => out.push_str(text),
            Node::Slot(slot, place) => {
                let (field, escaper) = html.value_places(usize::from(*slot))[usize::from(*place)];
                field::write(&values[usize::from(*slot)], field, escaper, out);
            }
            Node::Item(place) => {
                let (slot, product) = item.expect("a product");
                let (field, escaper) = html.item_places(slot)[usize::from(*place)];
                field::write_item(product, field, escaper, out);
            }
            Node::Builtin(builtin, escaper) => {
                crate::domain::creative::escape::push(*escaper, dynamic.get(*builtin), out)
            }
            Node::If(condition, yes, no) => {
                let holds = match condition {
                    Condition::Slot(slot) => values[usize::from(*slot)] != SlotValue::Absent,
                    Condition::Has(part) => item.is_some_and(|(_, product)| part.of(product)),
                };
                direct(html, if holds { yes } else { no }, values, item, dynamic, out);
            }
            Node::Each(slot, body) => {
                let slot = usize::from(*slot);
                let SlotValue::Products(products) = &values[slot] else { continue };
                for product in products {
                    direct(html, body, values, Some((slot, product)), dynamic, out);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_value_changes_the_structure(text in hostile(), other in hostile()) {
        let template = everywhere();
        let dynamic = Dynamic {
            click_url: &other, impression_url: &other, view_url: &other, landing_url: &other, decision_id: &other, cachebuster: &other,
        };
        let benign = assembled(template, &values(template, "benign"), &DYNAMIC);
        let html = assembled(template, &values(template, &text), &dynamic);
        prop_assert_eq!(structure(&html), structure(&benign), "{}", html);
        addresses_are_safe(&html)?;
        let island = island(&html);
        prop_assert_eq!(island["a"].as_str(), Some(text.as_str()));
        prop_assert_eq!(island["b"][1][0]["title"].as_str(), Some(text.as_str()));
        prop_assert_eq!(island["d"].as_str(), Some(other.as_str()));
    }

    #[test]
    fn preparing_changes_nothing(text in hostile(), other in hostile()) {
        let template = everywhere();
        let Program::Html(html) = &template.program else { panic!("an html template") };
        let dynamic = Dynamic { decision_id: &other, click_url: &other, ..DYNAMIC };
        let values = values(template, &text);
        let mut out = String::new();
        direct(html, &html.nodes, &values, None, &dynamic, &mut out);
        prop_assert_eq!(out, assembled(template, &values, &dynamic));
    }

    #[test]
    fn any_markup_is_compiled_or_refused(markup in markup(), text in hostile()) {
        // whatever is accepted keeps its structure
        if let Ok(template) = &Template::parse(&document(&markup)) {
            let benign = assembled(template, &values(template, "benign"), &DYNAMIC);
            let html = assembled(template, &values(template, &text), &DYNAMIC);
            prop_assert_eq!(structure(&html), structure(&benign), "{}", markup);
        }
    }
}

/// Markup put together from pieces that meet in unforeseen ways.
fn markup() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "{{headline}}",
        "{{target}}",
        "{{accent}}",
        "{{progress}}",
        "{{hero.src}}",
        "{{click_url}}",
        "{{#if badge}}",
        "{{else}}",
        "{{/if}}",
        "{{#each products}}",
        "{{/each}}",
        "{{title}}",
        "{{badge}}",
        "<",
        ">",
        "</",
        "<p>",
        "</p>",
        "<a href=\"",
        "<a href='",
        "\">",
        "'>",
        "<img src=\"",
        "<p style=\"color:",
        "url(",
        ")",
        ";",
        "<!--",
        "-->",
        "<title>",
        "</title>",
        "<style>",
        "</style>",
        "&",
        "&#",
        "\"",
        "'",
        "=",
        "/",
        " ",
        "x",
        "<script type=\"application/json\">",
        "</script>",
        "[",
        "]",
        "https://x.example/",
        "?q=",
        "\\",
        "<svg>",
        "</svg>",
        " title=\"",
        " title=",
        "<b",
        "</a>",
        "/>",
        "<!",
        "<img srcset=\"",
        " 2x, ",
        "\n",
        "<![CDATA[",
        "]]>",
    ]);
    proptest::collection::vec(piece, 1..14).prop_map(|pieces| pieces.concat())
}
