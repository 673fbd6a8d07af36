//! What deciding costs: the goal is at most 15 us among 100 campaigns, and at most twice that
//! among 10,000.
//!
//! `cargo bench --bench decide`

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tessera::domain::{
    audience::{
        caps::CapRing,
        profile::Traits,
        user::{Lists, UserState},
    },
    catalog::{
        key::{DocumentKey, Kind},
        snapshot::{Changed, Snapshot},
    },
    consent::Purposes,
    decision::{
        assemble::{Issuer, assemble},
        decide::decide,
        decided::Person,
        learned::Learned,
        request::{AdRequest, Seed},
        standing::Standing,
    },
    ids::{NameHash, Uid},
    measurement::beacon::TokenKeys,
    values::{Millis, Span},
};

const NOW: Millis = Millis(1_790_000_000_000);
const SEED: Seed = Seed([7; 16]);
const URL: &str = "https://t.example";
const CREATIVES: u64 = 50;
const COUNTRIES: [&str; 4] = ["FR", "BR", "JP", "US"];

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
<p class="legal">{{small}}</p></a><img src="{{pixel.src}}" alt="{{pixel.alt}}"></body></html>"#;

fn write(kind: Kind, id: String, body: Value) -> Changed {
    (DocumentKey::new(kind, id), Some(body))
}

/// One of what marketers aim at: places, devices, segments, traits.
fn aim(n: u64) -> Option<Value> {
    let segment = |n: u64| json!({"segment": format!("s{}", n % 50)});
    Some(match n % 8 {
        0 => return None,
        1 => json!({"context": "geo.country", "in": ["US", "CA"]}),
        2 => {
            json!({"all": [{"context": "geo.country", "eq": COUNTRIES[(n / 8 % 4) as usize]}, segment(n / 8)]})
        }
        3 => {
            json!({"all": [{"context": "device.type", "eq": if n % 16 == 3 { "mobile" } else { "desktop" }}, segment(n / 8)]})
        }
        4 => json!({"any": [segment(n / 8), segment(n / 8 + 1)]}),
        5 => json!({"all": [segment(n / 8), {"trait": "age", "gte": 18 + n % 40, "lt": 30 + n % 40}]}),
        6 => json!({"trait": "interests", "has_any": ["running", "travel"]}),
        _ => segment(n / 8),
    })
}

/// One segment rule of two conditions.
fn rule(n: u64) -> Value {
    let one = match n % 5 {
        0 => json!({"trait": "country", "in": ["US", "CA", "MX"]}),
        1 => json!({"trait": "age", "gte": 20 + n, "lt": 35 + n}),
        2 => json!({"trait": "last_purchase", "within_last": format!("P{}D", 10 + n)}),
        3 => json!({"list": "list-1"}),
        _ => json!({"trait": "spend", "gte": n * 20}),
    };
    json!({"v": 1, "kind": "dynamic", "match": {"all": [one, {"trait": "plan", "ne": "trial"}]}})
}

fn creative(id: u64) -> [Changed; 2] {
    let slots = json!({
        "headline": {"type": "text", "default": "Shoes that go further & last"},
        "subline": {"type": "text", "default": "Free returns within 100 days, whatever the road"},
        "cta": {"type": "text", "default": "See the shoes"},
        "hero": {"type": "image", "default": {"src": "https://cdn.example/hero.webp", "alt": "A runner at dawn"}},
        "accent": {"type": "color", "default": "#e63946"},
        "offer": {"type": "price", "default": {"amount": "89.90", "currency": "EUR"}},
        "small": {"type": "legal", "default": "While stocks last. Prices include tax."},
        "pixel": {"type": "image", "default": {"src": "https://cdn.example/p.gif", "alt": "Five stars"}},
    });
    let component = |slot: &str, n: u64, value: Value| {
        let mut body = json!({"slot": slot, "value": value, "weight": 50 + n * 25});
        if let Some(aim) = aim(id + n * 3).filter(|_| n > 0) {
            body["targeting"] = aim;
        }
        (format!("{slot}-{n}"), body)
    };
    let mut components: Vec<_> = (0..4).map(|n| component("headline", n, json!(format!("Headline {n}")))).collect();
    components.extend((0..3).map(|n| component("cta", n, json!(format!("Call {n}")))));
    components.extend(
        (0..3).map(|n| component("hero", n, json!({"src": format!("https://cdn.example/{n}.webp"), "alt": "A shoe"}))),
    );
    let template = json!({"name": "T", "format": "html", "size": "300x250", "slots": slots, "markup": MARKUP});
    let revision = json!({"revision": 1, "published_at": NOW, "templates": {"t": template},
        "components": components.into_iter().collect::<Value>(),
        "creative": {"name": "C", "advertiser": "shop", "templates": ["t"], "pairing": [{"forbid": ["headline-1", "cta-1"]}]}});
    [
        write(Kind::Revision, format!("c{id}/1"), revision),
        write(Kind::Publication, format!("c{id}"), json!({"revision": 1, "status": "published"})),
    ]
}

fn campaign(n: u64) -> Changed {
    let mut body = json!({"name": "C", "advertiser": "shop", "status": "active", "creatives": [format!("c{}", n % CREATIVES)],
        "landing_url": "https://shop.example/offer", "priority": 1 + n * 7 % 4, "weight": 1 + n % 200});
    if let Some(aim) = aim(n) {
        body["targeting"] = aim;
    }
    if n.is_multiple_of(3) {
        body["placements"] = json!([format!("p{}", n % 20)]);
    }
    if n.is_multiple_of(4) {
        body["frequency_caps"] = json!([{"impressions": 3, "per": "P1D"}]);
    }
    write(Kind::Campaign, format!("k{n}"), body)
}

fn documents(campaigns: u64) -> Vec<Changed> {
    let mut all = vec![write(Kind::Advertiser, "shop".into(), json!({"name": "Shop", "domain": "shop.example"}))];
    all.push(write(Kind::Segment, "list-1".into(), json!({"name": "L", "rule": {"v": 1, "kind": "static"}})));
    all.extend((0..50).map(|n| write(Kind::Segment, format!("s{n}"), json!({"name": "S", "rule": rule(n)}))));
    let placement = json!({"name": "P", "sizes": ["300x250"], "formats": ["html"]});
    all.extend((0..20).map(|n| write(Kind::Placement, format!("p{n}"), placement.clone())));
    all.extend((0..CREATIVES).flat_map(creative));
    all.extend((0..campaigns).map(campaign));
    all
}

fn snapshot(campaigns: u64) -> Snapshot {
    let snapshot = Snapshot::empty().evolve(1, documents(campaigns), URL, NOW);
    assert!(snapshot.faults.is_empty(), "{:?}", snapshot.faults);
    snapshot
}

fn person() -> UserState {
    let traits = json!({"country": "US", "age": 31, "interests": ["running", "cycling"], "last_purchase": "2026-09-11T10:00:00Z",
        "spend": 420.5, "home": {"lat": 40.7, "lon": -74.0}, "signup": "2024-02-03", "plan": "gold", "gender": "f",
        "city": "New York", "vip": true, "birthday": "1995-05-17"});
    let mut caps = CapRing::default();
    (0..3).for_each(|n| caps.absorb(NameHash::of(&format!("k{}", n * 4)), NOW, Span::from_millis(86_400_000)));
    let lists = Lists::new((0..5).map(|n| (NameHash::of(&format!("list-{n}")), None)));
    UserState::new(1, Traits::parse(&traits, NOW.plus(-86_400_000)).expect("traits"), lists, caps)
}

fn benches(c: &mut Criterion) {
    let state = person();
    let person = Person {
        state: Some(&state),
        standing: Standing::Personalised,
        counted: true,
        degraded: &[],
        reserved: &[],
        recorded: &[],
        replay: None,
    };
    let request: AdRequest = serde_json::from_value(json!({
        "placements": [{"id": "a", "placement": "p0"}],
        "context": {"country": "US", "device": "mobile", "language": "en-US"},
    }))
    .expect("a request");
    let people: Vec<AdRequest> = (1..=64_u128)
        .map(|n| AdRequest {
            person: Some(Uid(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))),
            ..request.clone()
        })
        .collect();
    let (mut small, learned) = (None, Learned::default());
    for campaigns in [100, 10_000] {
        let snapshot = snapshot(campaigns);
        let filled = people.iter().filter(|request| {
            let decision = decide(&snapshot, &learned, request, &person, Purposes::ALL, NOW, SEED).expect("a request");
            decision.placements[0][0].shown.as_ref().is_some_and(|shown| shown.campaign.is_some())
        });
        assert_eq!(filled.count(), people.len());
        let mut next = 0;
        c.bench_function(&format!("decide among {campaigns} campaigns"), |b| {
            b.iter(|| {
                next = (next + 1) % people.len();
                decide(&snapshot, &learned, black_box(&people[next]), &person, Purposes::ALL, NOW, SEED)
            });
        });
        c.bench_function(&format!("one campaign of {campaigns} changes"), |b| {
            b.iter(|| snapshot.evolve(2, vec![campaign(1)], URL, NOW));
        });
        small = small.or(Some(snapshot));
    }
    let snapshot = small.expect("a snapshot");
    let decision = decide(&snapshot, &learned, &people[0], &person, Purposes::ALL, NOW, SEED).expect("a request");
    let item = &decision.placements[0][0];
    let showing = item.shown.as_ref().expect("a filled item");
    let keys = TokenKeys::new((1, &[7; 32]), []);
    let issuer = Issuer { account: 1, keys: &keys, public_url: URL };
    c.bench_function("sign and assemble an item", |b| {
        b.iter(|| assemble(item, black_box(showing), &people[0], &people[0].placements[0], Purposes::ALL, issuer));
    });
    c.bench_function("compile 100 campaigns, 50 creatives and 50 segments", |b| {
        b.iter_batched(
            || documents(100),
            |all| Snapshot::empty().evolve(1, all, URL, NOW),
            criterion::BatchSize::LargeInput,
        );
    });
}

criterion_group!(decide_benches, benches);
criterion_main!(decide_benches);
