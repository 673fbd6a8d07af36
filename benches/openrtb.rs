//! What reading a bid request, refusing to bid and reading consent cost, each beside its goal:
//! `cargo bench --bench openrtb`. What a whole bid costs: `cargo bench --bench http -- --openrtb`.
//!
//! Reading is compared with other parsers of JSON, sonic-rs and simd-json, each built as the service is,
//! for any processor. Requests are read by serde_json all the same: it has the least unsafe code of the
//! three, on bytes from strangers; it limits how deep it recurses, keeps an `ext` as it stands (`RawValue`)
//! and never writes into its input; and with it reading and checking meets its goal of 8 us (2.7 us).

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tessera::domain::{
    audience::hints::Hints,
    catalog::snapshot::Snapshot,
    consent::{self, Rules, Signals},
    openrtb::{
        self, Asker, Granularity, Penniless, Settings,
        request::{BidRequest, Object},
    },
};

/// Everything consented to vendor 733, and disclosed.
const CONSENTED: &str = "CQlJDjAQlJDjAEsABBDECWFv___gAAAAAAAAFuwAgABALdAAAAA.IFuwAYAAgW6";
const RULES: Rules = Rules { vendor_id: Some(733), gdpr_by_default: false };

/// A request of about 1.5 KB with one banner, as exchanges send them.
fn request(change: Value) -> Vec<u8> {
    let mut request = json!({
        "id": "80ce30c53c16e6ede735f123ef6e32361bfc7b22", "at": 1, "tmax": 120, "cur": ["USD"],
        "imp": [{
            "id": "1", "tagid": "agltb3B1Yi1pbmNyDQsSBFNpdGUY7fD0FAw", "instl": 0, "secure": 1, "bidfloor": 0.5,
            "bidfloorcur": "USD", "exp": 300, "displaymanager": "gpt", "displaymanagerver": "2026.1",
            "banner": {"format": [{"w": 300, "h": 250}, {"w": 320, "h": 50}], "pos": 1, "battr": [13, 14], "api": [3, 5, 7],
                       "topframe": 0, "mimes": ["text/html", "image/jpeg", "image/png"]},
            "metric": [{"type": "viewability", "value": 0.71, "vendor": "EXCHANGE"}],
            "ext": {"gpid": "/6355419/news/sport#top", "tessera": {"campaign": "spring", "price": "1.50", "currency": "USD"}}
        }],
        "site": {"id": "102855", "name": "News", "domain": "news.example", "cat": ["IAB17"], "privacypolicy": 1,
                 "page": "https://news.example/sport/today", "ref": "https://search.example/?q=running",
                 "publisher": {"id": "8953", "name": "News Publishing", "domain": "news.example"}, "keywords": "sport,running"},
        "device": {"ua": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15", "ip": "203.0.113.7",
                   "devicetype": 1, "os": "iOS", "osv": "18.1", "make": "Apple", "model": "iPhone", "language": "en", "js": 1,
                   "w": 390, "h": 844, "geo": {"country": "USA", "region": "NY", "type": 2, "utcoffset": -300}},
        "user": {"id": "55816b39711f9b5acf3b90e313ed29e51665623f", "buyeruid": "u-1",
                 "data": [{"id": "6", "name": "Data Provider", "segment": [{"id": "12341318394918"}, {"id": "1234131839491234"}]}]},
        "regs": {"gdpr": 0, "us_privacy": "1YNN"}, "bcat": ["IAB25", "IAB26", "IAB7-39"], "badv": ["blocked.example"],
        "source": {"fd": 1, "tid": "ba1d1b6e-8d8c-4e6e-9c1a-27a3a8d4a7b3",
                   "schain": {"complete": 1, "ver": "1.0", "nodes": [{"asi": "exchange.example", "sid": "8953", "hp": 1}]}}
    });
    for (pointer, value) in change.as_object().expect("changes by pointers") {
        *request.pointer_mut(pointer).expect("a place") = value.clone();
    }
    request.to_string().into_bytes()
}

/// A consent string of 8 KiB in which every vendor stands in a range of its own.
fn ranges() -> String {
    let mut bits: Vec<bool> = Vec::new();
    let mut push = |number: u64, count: usize| bits.extend((0..count).rev().map(|bit| number >> bit & 1 == 1));
    let fields: [(u64, usize); 11] = [
        (2, 6),
        (17_803_000_000, 36),
        (17_803_000_000, 36),
        (1, 12),
        (1, 12),
        (1, 6),
        (0, 12),
        (100, 12),
        (5, 6),
        (1, 1),
        (0, 1),
    ];
    fields.into_iter().for_each(|(number, count)| push(number, count));
    // special features, purposes, legitimate interests, purpose one, country
    [(0, 12), (0xff_ffff, 24), (0, 24), (0, 1), (0, 12)].into_iter().for_each(|(number, count)| push(number, count));
    // vendors: as many ranges as fit, none of which is ours
    push(65_535, 16);
    push(1, 1);
    push(1_450, 12);
    for at in 0..1_450 {
        push(1, 1);
        push(1_000 + at * 2, 16);
        push(1_000 + at * 2, 16);
    }
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let six = |bits: &[bool]| (0..6).fold(0, |sum, at| sum << 1 | usize::from(bits.get(at) == Some(&true)));
    let mut text: String = bits.chunks(6).map(|bits| char::from(alphabet[six(bits)])).collect();
    text.truncate(8 * 1_024);
    text
}

fn reading(bench: &mut Criterion) {
    let body = request(json!({}));
    println!("a request of {} bytes", body.len());
    println!("goal: reading and checking it in at most 8 us");
    bench.bench_function("read and check", |b| b.iter(|| openrtb::read(black_box(&body)).expect("a request")));
    bench.bench_function("the same into serde_json::Value, unchecked", |b| {
        b.iter(|| serde_json::from_slice::<Value>(black_box(&body)).expect("JSON"));
    });
}

/// The same bytes into the same structures and through the same check, by each parser in turn, so that a
/// busy moment of the machine meets all of them: the median of many rounds.
///
/// The request has no `ext`, address or string of consent, which are kept as they stand, as only serde_json
/// can. simd-json writes into its input, which a server shares with whoever else looks at the body, so that its
/// time has a copy of the bytes in it; its buffers are kept from one request to the next.
fn parsers(_: &mut Criterion) {
    const ROUNDS: usize = 101;
    const CALLS: u32 = 500;
    type Read<'a> = Object<BidRequest<'a>>;
    type Row<'a> = (&'static str, &'a mut dyn FnMut(), Vec<Duration>);
    let body = request(json!({"/imp/0/ext": null, "/device/ip": null, "/regs/us_privacy": null}));
    let mut buffers = simd_json::Buffers::new(body.len());

    let ours = format!("{:?}", openrtb::read(&body).expect("a request"));
    let theirs: Read<'_> = sonic_rs::from_slice(&body).expect("a request");
    assert_eq!(format!("{:?}", *theirs), ours, "sonic-rs");
    let mut copy = body.clone();
    let theirs: Read<'_> = simd_json::serde::from_slice_with_buffers(&mut copy, &mut buffers).expect("a request");
    assert_eq!(format!("{:?}", *theirs), ours, "simd-json");

    let mut by_serde_json = || {
        let read = openrtb::read(black_box(&body)).expect("a request");
        black_box(&read);
    };
    let mut by_sonic_rs = || {
        let read: Read<'_> = sonic_rs::from_slice(black_box(&body)).expect("a request");
        openrtb::check(black_box(&read)).expect("a request");
    };
    let mut by_simd_json = || {
        let mut copy = black_box(&body).clone();
        let read: Read<'_> = simd_json::serde::from_slice_with_buffers(&mut copy, &mut buffers).expect("a request");
        openrtb::check(black_box(&read)).expect("a request");
    };
    let mut rows: [Row<'_>; 3] = [
        ("serde_json, as the service reads", &mut by_serde_json, Vec::new()),
        ("sonic-rs", &mut by_sonic_rs, Vec::new()),
        ("simd-json, with a copy of the bytes", &mut by_simd_json, Vec::new()),
    ];
    for _ in 0..ROUNDS {
        for (_, call, took) in &mut rows {
            let began = Instant::now();
            (0..CALLS).for_each(|_| call());
            took.push(began.elapsed() / CALLS);
        }
    }
    println!("reading and checking {} bytes without what is kept as it stands, by parser", body.len());
    let mut first = None;
    for (name, _, mut took) in rows {
        took.sort_unstable();
        let us = took[ROUNDS / 2].as_secs_f64() * 1e6;
        println!("{name:<36} {us:>7.2} us {:>7.2} of serde_json", us / *first.get_or_insert(us));
    }
}

fn no_bids(bench: &mut Criterion) {
    let settings = Settings {
        seat: "tessera".into(),
        network_ms: 30,
        expires_s: 300,
        crid: Granularity::Creative,
        crids: std::collections::BTreeMap::new(),
        audited: Vec::new(),
        contextual_without_consent: false,
        eid_sources: Vec::new(),
        segments: Vec::new(),
        taxonomies: Default::default(),
    };
    let snapshot = Snapshot::empty();
    println!("goal: no bid by size or consent in at most 10 us, reading included");
    let sizeless = request(json!({"/imp/0/banner/format": [], "/imp/0/instl": 0}));
    let unconsented = request(json!({"/regs": {"gdpr": 1}}));
    for (name, body) in [("no bid by size", &sizeless), ("no bid by consent", &unconsented)] {
        bench.bench_function(name, |b| {
            b.iter(|| {
                let request = openrtb::read(black_box(body)).expect("a request");
                let asker = Asker { exchange: None, late: false, objects: false, purses: &Penniless };
                openrtb::plan(&request, &snapshot, &settings, RULES, asker, Hints::default()).expect_err("no bid")
            });
        });
    }
}

fn strings(bench: &mut Criterion) {
    let worst = ranges();
    println!("goal: a TCF string in at most 2 us, the worst of {} bytes in at most 50 us", worst.len());
    // a section behind 8 KiB that forbids nothing: as often as is looked at, and once more
    let (far, sections) = (format!("DBACNYA~{}~1YNN", "A".repeat(8_000)), [6; 33]);
    let every: Vec<i32> = (6..=23).chain([2]).collect();
    let platform = |gpp_sid| Signals { gpp: Some(&far), gpp_sid, ..Signals::default() };
    let tcf = |text| Signals { gdpr: Some(true), tcf: Some(text), ..Signals::default() };
    for (name, signals, allowed) in [
        ("a TCF string", tcf(CONSENTED), true),
        ("8 KiB of ranges", tcf(&worst), false),
        ("a section behind 8 KiB, named 32 times", platform(&sections[1..]), true),
        ("the same too often", platform(&sections), false),
        ("every section, of which 8 KiB have two", platform(&every), false),
    ] {
        let read = consent::read(&signals, RULES).allowed;
        assert!(read.purposes.profile_read == allowed, "{name}: {read:?}");
        bench.bench_function(name, |b| b.iter(|| consent::read(black_box(&signals), RULES)));
    }
}

criterion_group!(benches, reading, parsers, no_bids, strings);
criterion_main!(benches);
