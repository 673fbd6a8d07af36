//! A large catalogue: compiled, changed, and swapped under decisions.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tessera::domain::{
    catalog::{
        key::{DocumentKey, Kind},
        snapshot::{Changed, Snapshot},
    },
    consent::Purposes,
    decision::{
        decide::decide,
        decided::Person,
        learned::Learned,
        request::{AdRequest, Seed},
        standing::Standing,
    },
    ids::Uid,
    values::Millis,
};

use super::{memory, ms};

const NOW: Millis = Millis(1_790_000_000_000);
const URL: &str = "https://t.example";
const SLOTS: [&str; 6] = ["headline", "subline", "cta", "offer", "small", "accent"];
const MARKUP: &str = r#"<!doctype html><html lang="en"><head><title>{{headline}}</title><style>
body{width:300px;height:250px;margin:0;font:14px/1.3 system-ui,sans-serif;overflow:hidden}a{display:flex;flex-direction:column}
</style></head><body style="color:{{accent}}"><a href="{{click_url}}" title="{{headline}}"><b>{{headline}}</b><p>{{subline}}</p>
<span>{{offer}}</span><i>{{cta}}</i><small>{{small}}</small></a></body></html>"#;
/// How long a decision may take, as the service has it.
const BUDGET: Duration = Duration::from_millis(20);

fn write(kind: Kind, id: String, body: Value) -> Changed {
    (DocumentKey::new(kind, id), Some(body))
}

fn creative(id: usize, revision: u64) -> [Changed; 2] {
    let slots: Value = SLOTS
        .iter()
        .map(|slot| match *slot {
            "accent" => ((*slot).to_owned(), json!({"type": "color", "default": "#e63946"})),
            _ => ((*slot).to_owned(), json!({"type": "text", "default": "Shoes that last"})),
        })
        .collect();
    let components: Value = SLOTS
        .iter()
        .flat_map(|slot| {
            (0..8).map(move |n| {
                let value = match *slot {
                    "accent" => format!("#{n}{n}3946"),
                    _ => format!("The {slot} number {n} of creative {id}, revision {revision}"),
                };
                let mut body = json!({"slot": slot, "value": value, "weight": 50 + n});
                if n == 7 {
                    body["targeting"] = json!({"segment": format!("s{}", id % 50)});
                }
                (format!("{slot}-{n}"), body)
            })
        })
        .collect();
    let template = json!({"name": "T", "format": "html", "size": "300x250", "slots": slots, "markup": MARKUP});
    let pairing = json!([{"forbid": ["headline-1", "cta-1"]}, {"group": ["offer-2", "small-2"]}]);
    let body = json!({"revision": revision, "published_at": NOW, "templates": {"t": template}, "components": components,
        "creative": {"name": "C", "advertiser": format!("a{}", id % 100), "templates": ["t"], "pairing": pairing}});
    [
        write(Kind::Revision, format!("c{id}/{revision}"), body),
        write(Kind::Publication, format!("c{id}"), json!({"revision": revision, "status": "published"})),
    ]
}

fn campaign(n: usize, weight: usize) -> Changed {
    // creatives are of the campaign's advertiser
    let creatives: Vec<_> = (0..5).map(|own| format!("c{}", n % 100 + 100 * (n / 100 * 5 + own))).collect();
    let mut body = json!({"name": "C", "advertiser": format!("a{}", n % 100), "status": "active", "creatives": creatives,
        "landing_url": "https://shop.example/offer", "priority": 1 + n * 7 % 4, "weight": weight,
        "placements": [format!("p{}", n % 20)]});
    if n.is_multiple_of(3) {
        body["targeting"] = json!({"segment": format!("s{}", n % 50)});
    }
    write(Kind::Campaign, format!("k{n}"), body)
}

fn advertiser(n: usize, domain: &str) -> Changed {
    write(Kind::Advertiser, format!("a{n}"), json!({"name": "Shop", "domain": domain}))
}

fn segment(n: usize, age: usize) -> Changed {
    let rule = json!({"v": 1, "kind": "dynamic", "match": {"trait": "age", "gte": age + n}});
    write(Kind::Segment, format!("s{n}"), json!({"name": "S", "rule": rule}))
}

pub(super) fn run(campaigns: usize) {
    let mut rows: Vec<Changed> = (0..100).map(|n| advertiser(n, "shop.example")).collect();
    rows.extend((0..50).map(|n| segment(n, 18)));
    let placement = json!({"name": "P", "sizes": ["300x250"], "formats": ["html"]});
    rows.extend((0..20).map(|n| write(Kind::Placement, format!("p{n}"), placement.clone())));
    rows.extend((0..campaigns.div_ceil(100) * 500).flat_map(|id| creative(id, 1)));
    rows.extend((0..campaigns).map(|n| campaign(n, 100)));
    let count = rows.len();
    let (held, _) = memory("self");
    let began = Instant::now();
    let snapshot = Snapshot::empty().evolve(1, rows, URL, NOW);
    let took = began.elapsed().as_secs_f64();
    assert!(snapshot.faults.is_empty(), "{:?}", snapshot.faults.iter().next());
    let components: usize = snapshot.creatives.values().map(|creative| creative.components.len()).sum();
    println!(
        "{campaigns} campaigns, {} creatives, {components} components from {count} rows in memory: {took:.1} s (goal 10 s); \
         {held:.0} MB resident with the rows, {:.0} MB once compiled",
        snapshot.creatives.len(),
        memory("self").0
    );

    for (what, change) in [
        ("a campaign", vec![campaign(1, 7)]),
        ("a creative", creative(1, 2).into()),
        ("a segment", vec![segment(7, 30)]),
        ("an advertiser of one campaign in a hundred", vec![advertiser(3, "other.example")]),
        ("a placement", vec![write(Kind::Placement, "p0".into(), placement.clone())]),
    ] {
        let began = Instant::now();
        let next = snapshot.evolve(2, change, URL, NOW);
        let took = ms(began);
        let same = next
            .creatives
            .iter()
            .filter(|(id, own)| snapshot.creatives.get(*id).is_some_and(|before| std::sync::Arc::ptr_eq(before, own)));
        let anew = snapshot.creatives.len() - same.count();
        let began = Instant::now();
        drop(next);
        println!(
            "  {what} changes: {took:.0} ms (goal 1000 ms), {anew} creatives compiled again; dropped in {:.0} ms",
            ms(began)
        );
    }
    swaps(snapshot);
}

/// Decides on one thread while another swaps the snapshot, as the service does.
fn swaps(first: Snapshot) {
    let (world, stop) = (ArcSwap::from_pointee(first), AtomicBool::new(false));
    let person = Person {
        state: None,
        standing: Standing::Personalised,
        counted: true,
        degraded: &[],
        reserved: &[],
        recorded: &[],
        replay: None,
    };
    let request: AdRequest =
        serde_json::from_value(json!({"placements": [{"id": "a", "placement": "p0"}], "context": {"country": "US"}}))
            .expect("a request");
    let learned = Learned::default();
    let measure = |decisions: usize| {
        let mut times = Vec::with_capacity(decisions);
        for n in 0..decisions as u128 {
            let asked = AdRequest {
                person: Some(Uid(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))),
                ..request.clone()
            };
            let began = Instant::now();
            let snapshot = world.load_full();
            let decision =
                decide(&snapshot, &learned, &asked, &person, Purposes::ALL, NOW, Seed([7; 16])).expect("a request");
            assert!(decision.placements[0][0].shown.is_some());
            drop((decision, snapshot));
            times.push(began.elapsed());
        }
        times
    };
    let told = |name: &str, mut times: Vec<Duration>| {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        let slow = times.iter().filter(|took| **took > BUDGET).count();
        println!(
            "  {} decisions {name}: p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, slowest {:.0} us; {slow} slower than {BUDGET:?} (goal 0)",
            times.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    };
    std::thread::scope(|scope| {
        // on threads that made no catalogue, as those that answer requests
        let quiet = scope.spawn(|| measure(100_000));
        told("without swaps", quiet.join().expect("no panic"));
        let writer = scope.spawn(|| {
            let mut swaps = 0;
            while !stop.load(Ordering::Relaxed) {
                let before = world.load_full();
                let version = before.version + 1;
                let change = if swaps % 2 == 0 {
                    creative(swaps % 500, version as u64).into()
                } else {
                    vec![campaign(swaps % 100, swaps % 90 + 1)]
                };
                world.store(std::sync::Arc::new(before.evolve(version, change, URL, NOW)));
                // freed here, not by a decision
                while std::sync::Arc::strong_count(&before) > 1 {
                    std::thread::yield_now();
                }
                swaps += 1;
            }
            swaps
        });
        let times = scope.spawn(|| measure(300_000)).join().expect("no panic");
        stop.store(true, Ordering::Relaxed);
        let swaps = writer.join().expect("no panic");
        told(&format!("during {swaps} swaps"), times);
    });
}
