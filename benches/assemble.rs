//! What assembling costs: a document of about 1.4 KB with 8 slots, and its native twin.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use tessera::domain::creative::{Dynamic, Prepared, Template, TemplateDoc, assemble_html, assemble_native};

const MARKUP: &str = r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{headline}}</title><style>
*{box-sizing:border-box;margin:0}body{width:300px;height:250px;font:400 14px/1.3 system-ui,sans-serif;overflow:hidden}
a{display:flex;flex-direction:column;height:100%;color:#1d1d1f;text-decoration:none;border:1px solid #ddd}
img.hero{width:100%;height:128px;object-fit:cover}.copy{padding:10px 12px}h1{font-size:18px;line-height:1.15}
.sub{margin-top:4px;color:#555}.row{display:flex;align-items:center;justify-content:space-between;margin-top:auto;padding:10px 12px}
.price{font-weight:700;font-size:17px}.cta{padding:8px 14px;border-radius:18px;color:#fff;font-weight:600;background:var(--accent)}
.legal{padding:0 12px 6px;font-size:9px;color:#777}</style></head>
<body style="--accent:{{accent}}"><a href="{{click_url}}" target="_blank" rel="noopener">
<img class="hero" src="{{hero.src}}" alt="{{hero.alt}}">
<div class="copy"><h1>{{headline}}</h1><p class="sub">{{subline}}</p></div>
<div class="row"><span class="price">{{offer}}</span><span class="cta">{{cta}}</span></div>
<p class="legal">{{small}}</p></a>
<script type="application/json">{"campaign":{{campaign}}}</script></body></html>"#;

fn slots() -> Value {
    json!({
        "headline": {"type": "text", "default": "Shoes that go further & last"},
        "subline": {"type": "text", "default": "Free returns within 100 days, whatever the road"},
        "cta": {"type": "text", "default": "See the shoes"},
        "campaign": {"type": "text", "default": "Spring 2026"},
        "hero": {"type": "image", "default": {"src": "https://cdn.example/hero.webp", "alt": "A runner at dawn"}},
        "accent": {"type": "color", "default": "#e63946"},
        "offer": {"type": "price", "default": {"amount": "89.90", "currency": "EUR"}},
        "small": {"type": "legal", "default": "While stocks last. Prices include tax."},
    })
}

fn template(rest: Value) -> Template {
    let mut doc = json!({"name": "Bench", "slots": slots()});
    let (Value::Object(fields), Value::Object(rest)) = (&mut doc, rest) else { unreachable!("both are objects") };
    fields.extend(rest);
    let doc: TemplateDoc = serde_json::from_value(doc).expect("a template document");
    Template::parse(&doc).expect("a template")
}

fn benches(c: &mut Criterion) {
    let dynamic = Dynamic {
        click_url: "%%CLICK_URL_UNESC%%https%3A%2F%2Ft.example%2Fv1%2Fc%2FAbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdEfGhIjKlMnOp",
        impression_url: "https://t.example/v1/i/AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdEfGhIjKlMnOpQrStUvWxYz",
        view_url: "https://t.example/v1/v/AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdEfGhIjKlMnOpQrStUvWxYz",
        landing_url: "https://shop.example/spring",
        decision_id: "0190a5e2-7c1d-7f00-8000-000000000000",
        cachebuster: "1700000000123",
    };
    let html = template(json!({"format": "html", "size": "300x250", "markup": MARKUP}));
    let native = template(json!({"format": "native", "native": {"assets": [
        {"id": 1, "required": true, "kind": "title", "slot": "headline"},
        {"id": 2, "kind": "main_image", "slot": "hero"},
        {"id": 3, "kind": "desc", "slot": "subline"},
        {"id": 4, "kind": "cta", "slot": "cta"},
        {"id": 5, "kind": "price", "slot": "offer"},
    ]}}));
    let prepare = |template: &Template| -> Vec<Prepared> {
        template.slots().iter().enumerate().map(|(index, slot)| template.prepare(index, &slot.default)).collect()
    };
    let (html_values, native_values) = (prepare(&html), prepare(&native));
    let html_chosen: Vec<&Prepared> = html_values.iter().collect();
    let native_chosen: Vec<&Prepared> = native_values.iter().collect();
    let mut out = String::new();
    assemble_html(&html, &html_chosen, &dynamic, &mut out);
    let mut group = c.benchmark_group("assemble");
    group.throughput(Throughput::Bytes(out.len() as u64));
    group.bench_function("html, 8 slots", |b| {
        b.iter(|| {
            out.clear();
            assemble_html(&html, black_box(&html_chosen), black_box(&dynamic), &mut out);
            black_box(out.len())
        });
    });
    group.bench_function("html, 8 slots, new string", |b| {
        b.iter(|| {
            let mut fresh = String::new();
            assemble_html(&html, black_box(&html_chosen), black_box(&dynamic), &mut fresh);
            fresh
        });
    });
    out.clear();
    assemble_native(&native, &native_chosen, &dynamic, false, &mut out);
    group.throughput(Throughput::Bytes(out.len() as u64));
    group.bench_function("native, 5 assets", |b| {
        b.iter(|| {
            out.clear();
            assemble_native(&native, black_box(&native_chosen), black_box(&dynamic), false, &mut out);
            black_box(out.len())
        });
    });
    group.finish();
    c.bench_function("compile html", |b| {
        b.iter(|| template(json!({"format": "html", "size": "300x250", "markup": MARKUP})));
    });
}

criterion_group!(assemble, benches);
criterion_main!(assemble);
