//! What authors and readers see: which templates are refused and where, and that no value leaves
//! its place.

mod hostile;
mod native;
mod refusals;
mod rendering;
mod vast;

use serde_json::{Value, json};

use super::*;

/// A slot of every type, with harmless defaults; `badge` and `extras` are optional.
fn slots() -> Value {
    json!({
        "headline": {"type": "text", "default": "Run further"},
        "small": {"type": "legal", "default": "While stocks last"},
        "badge": {"type": "text", "default": null, "optional": true},
        "hero": {"type": "image", "default": {"src": "https://cdn.example/hero.png", "alt": "A shoe", "width": 300, "height": 250}},
        "target": {"type": "url", "default": "https://shop.example/shoes?a=1&b=2"},
        "accent": {"type": "color", "default": "#e63946"},
        "offer": {"type": "price", "default": {"amount": "19.90", "currency": "EUR"}},
        "progress": {"type": "number", "default": 42},
        "products": {"type": "product", "default": [product("a")]},
        "extras": {"type": "product", "default": null, "optional": true},
    })
}

fn product(id: &str) -> Value {
    json!({"id": id, "title": format!("Shoe {id}"), "link": format!("https://shop.example/{id}"),
           "image": {"src": "/v1/assets/ab12.webp", "alt": "A shoe"}, "price": {"amount": "20", "currency": "USD"}})
}

fn document(markup: &str) -> TemplateDoc {
    let doc = json!({"name": "Test", "format": "html", "size": "300x250", "slots": slots(), "markup": markup});
    serde_json::from_value(doc).expect("a template document")
}

fn template(markup: &str) -> Template {
    Template::parse(&document(markup)).unwrap_or_else(|faults| panic!("{markup}: {faults:#?}"))
}

const DYNAMIC: Dynamic<'static> = Dynamic {
    click_url: "%%CLICK_URL_UNESC%%https%3A%2F%2Ft.example%2Fv1%2Fc%2Ftoken",
    impression_url: "https://t.example/v1/i/token",
    view_url: "https://t.example/v1/v/token",
    landing_url: "https://shop.example/?a=1&b=2",
    decision_id: "0190a5e2-7c1d-7f00-8000-000000000000",
    cachebuster: "123",
};

/// Parses `values` for their slots; the others show their defaults.
fn render(template: &Template, values: &Value) -> String {
    let prepared: Vec<Prepared> = template
        .slots()
        .iter()
        .enumerate()
        .map(|(index, slot)| {
            let value = values.get(slot.name.as_str()).map_or(slot.default.clone(), |value| {
                SlotValue::parse(&slot.spec, value).unwrap_or_else(|faults| panic!("{value}: {faults:#?}"))
            });
            template.prepare(index, &value)
        })
        .collect();
    let chosen: Vec<&Prepared> = prepared.iter().collect();
    let mut out = String::new();
    assemble_html(template, &chosen, &DYNAMIC, &mut out);
    out
}

/// What the markup becomes, without the impression pixel.
fn rendered(markup: &str, values: &Value) -> String {
    let out = render(&template(markup), values);
    let pixel = out.find("<img src=\"https://t.example/v1/i/token\" width=\"1\"").expect("a pixel");
    let end = pixel + out[pixel..].find('>').expect("an end") + 1;
    format!("{}{}", &out[..pixel], &out[end..])
}
