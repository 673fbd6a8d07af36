//! The choice gets better with every outcome, on every replica, and nothing counts twice.

use std::{
    collections::{BTreeMap, VecDeque},
    time::SystemTime,
};

use reqwest::Method;
use serde_json::{Value, json};
use tessera::domain::values::Millis;
use tokio::task::JoinSet;

use crate::{
    harness::{Patient as _, Remote, Service, read},
    process::Process,
    turn,
};

/// How often people click on what is best for them, and on what has nothing of it.
const BEST: f64 = 0.8;
const NOTHING: f64 = 0.1;

/// Whom the simulated people are: adults click on (h1, c2), others on (h2, c0), each eight times as
/// often as on what has nothing of it; the control has no components.
fn rate(age: u64, components: &Value) -> f64 {
    let best = if age >= 18 { ("h1", "c2") } else { ("h2", "c0") };
    let hits = |slot: &str, wanted: &str| components[slot] == wanted;
    match (hits("headline", best.0), hits("cta", best.1)) {
        (true, true) => BEST,
        (true, false) | (false, true) => 0.2,
        (false, false) => NOTHING,
    }
}

/// A number from 0 to 1 that is the same for the same person.
fn luck(person: u64) -> f64 {
    let mixed = person.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1_u64 << 53) as f64
}

fn age(person: u64) -> u64 {
    if person.is_multiple_of(2) { 30 } else { 12 }
}

async fn author(service: &Service) {
    for (slot, name) in [("headline", "h"), ("cta", "c")] {
        for n in 0..3 {
            let path = format!("/v1/creatives/fallback/components/{name}{n}");
            service.put(&path, &json!({"slot": slot, "value": format!("{name}{n}")})).await;
        }
    }
    read(service.request(Method::POST, "/v1/creatives/fallback/publish").json(&json!({})).sent().await, 200).await;
    let campaign = json!({
        "name": "Learning", "advertiser": "northwind", "status": "active", "creatives": ["fallback"],
        "landing_url": "https://northwind.example/", "rotation": "optimized", "holdout": 0.2, "goal": "click"
    });
    service.put("/v1/campaigns/learning", &campaign).await;
}

async fn decide(remote: &Remote, person: u64) -> Value {
    show(remote, person, Value::Null).await
}

async fn show(remote: &Remote, person: u64, preview: Value) -> Value {
    let mut body = json!({
        "placements": [{"id": "top", "sizes": ["300x250"], "candidates": {"campaign": "learning"}}],
        "user": {"key": format!("u-{person}"), "traits": {"age": age(person)}},
        "context": {"geo": {"country": "US"}, "device": {"type": "mobile"}},
        "explain": if person % 500 == 499 { "full" } else { "none" }
    });
    if !preview.is_null() {
        body["preview"] = preview;
    }
    remote.decide(&body).await["placements"]["top"][0].take()
}

/// So many ms from now.
fn from_now(ms: i64) -> Millis {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_millis();
    Millis(i64::try_from(now).expect("ms") + ms)
}

/// What another rotation would have earned, asked at a time.
async fn evaluate(remote: &Remote, at: Millis, body: &Value) -> Value {
    let request = remote.request(Method::POST, "/v1/campaigns/learning/evaluate").json(body);
    read(request.header("tessera-time", at.to_string()).sent().await, 200).await
}

/// When what came of the decisions is known.
const LATER: i64 = 3_600_000;

async fn refresh(remote: &Remote) {
    read(remote.request(Method::POST, "/v1/simulation/refresh").sent().await, 200).await;
}

/// What happened while people were decided for.
#[derive(Default)]
struct Lived {
    /// Every beacon that was fetched.
    fired: Vec<String>,
    /// People who are not held out, and the sum of the rates at which they would click.
    personalised: (f64, f64),
    /// Clicks that are still to come, by wave.
    open: VecDeque<Vec<String>>,
}

/// People before one replica is killed, and as many after it.
const HALF: u64 = 1_500;

/// The same address on a replica: the one that signed it may be gone, any knows its tokens.
fn on(remote: &Remote, url: &str) -> String {
    format!("{}{}", remote.base, &url[url.find("/v1/").expect("a path")..])
}

/// Decides for people in waves and reports what they do, clicks two waves later, on whichever replica.
async fn live(lived: &mut Lived, replicas: &[&Remote], people: std::ops::Range<u64>) {
    const WAVE: u64 = 50;
    let mut from = people.start;
    while from < people.end {
        let mut wave = JoinSet::new();
        for person in from..(from + WAVE).min(people.end) {
            let remote = replicas[person as usize % replicas.len()].clone();
            wave.spawn(async move {
                let item = decide(&remote, person).await;
                let url = |name: &str| item[name].as_str().expect("a beacon").to_owned();
                assert_eq!(remote.beacon(&url("impression_url")).await.1, "recorded");
                let rate = rate(age(person), &item["components"]);
                let personalised = (item["reason"] != "holdout").then_some(rate);
                (url("impression_url"), (luck(person) < rate).then(|| url("click_url")), personalised)
            });
        }
        from += WAVE;
        let mut clicks = Vec::new();
        for (impression, click, personalised) in wave.join_all().await {
            lived.fired.push(impression);
            clicks.extend(click);
            if let Some(rate) = personalised {
                lived.personalised = (lived.personalised.0 + 1.0, lived.personalised.1 + rate);
            }
        }
        lived.open.push_back(clicks);
        if lived.open.len() > 2 {
            click(lived, replicas).await;
        }
    }
}

/// Clicks of the oldest wave come.
async fn click(lived: &mut Lived, replicas: &[&Remote]) {
    for (n, click) in lived.open.pop_front().unwrap_or_default().into_iter().enumerate() {
        let remote = replicas[n % replicas.len()];
        assert_eq!(remote.beacon(&on(remote, &click)).await, (302, "recorded".into()));
        lived.fired.push(click);
    }
}

/// Of people not held out, per segment (adults, others): the share that is shown what is best for
/// them, and whether nothing is shown more often.
async fn best(remote: &Remote, people: std::ops::Range<u64>) -> [(f64, bool); 2] {
    let mut shown = [BTreeMap::<String, (f64, u32)>::new(), BTreeMap::new()];
    for person in people {
        // pretended, so that it is neither counted nor logged
        let item = show(remote, person, json!({"force_segments": []})).await;
        if !item["components"]["cta"].is_null() {
            let of_segment = &mut shown[usize::from(age(person) < 18)];
            let rate = rate(age(person), &item["components"]);
            of_segment.entry(item["components"].to_string()).or_insert((rate, 0)).1 += 1;
        }
    }
    shown.map(|shown| {
        let all: u32 = shown.values().map(|(_, times)| times).sum();
        let best = shown.values().find(|(rate, _)| *rate == BEST).map_or(0, |(_, times)| *times);
        (f64::from(best) / f64::from(all), shown.values().all(|(_, times)| *times <= best))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_true_best_combination_of_each_segment_is_found() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let a = Service::start(&database, |config| config.http.simulation = true).await;
    let other = || tokio::task::block_in_place(|| Process::simulating(&database));
    let b = other();
    author(&a).await;
    refresh(&a).await;
    refresh(&b.remote).await;
    let before = best(&a, 1_000_000..1_000_200).await;
    assert!(before.iter().all(|(share, _)| *share < 0.35), "{before:?}");
    let mut lived = Lived::default();
    live(&mut lived, &[&a, &b.remote], 0..HALF).await;

    // one of them is killed while clicks of what it showed are still to come, and starts with nothing
    // but the store to know from
    assert_eq!(lived.open.len(), 2);
    b.kill();
    click(&mut lived, &[&a]).await;
    let b = other();
    refresh(&b.remote).await;
    let report = async |by: &str| {
        let path = format!("/v1/campaigns/learning/report?by={by}");
        read(a.request(Method::GET, &path).sent().await, 200).await
    };
    let mut people = HALF;
    let after = loop {
        live(&mut lived, &[&a, &b.remote], people..people + HALF).await;
        while !lived.open.is_empty() {
            click(&mut lived, &[&a, &b.remote]).await;
        }
        people += HALF;
        refresh(&a).await;
        refresh(&b.remote).await;
        let after = [best(&a, 2_000_000..2_000_200).await, best(&b.remote, 2_000_200..2_000_400).await];
        // one run in a thousand is unlucky and needs more people
        if after.as_flattened().iter().all(|(share, most)| *most && *share > 0.6) || people > 3 * HALF {
            break after;
        }
    };
    println!("shown what is best for them: {before:.2?} of adults and others before, {after:.2?} after {people}");
    assert!(after.as_flattened().iter().all(|(share, most)| *most && *share > 0.6), "on each replica: {after:?}");

    // every beacon twice again changes nothing, neither of what is counted nor of what is known
    let explain = async || {
        // some are held out
        for person in 0..50 {
            let explained = a.decide(&asked(person)).await;
            if explained["placements"]["top"][0]["reason"] == "optimized" {
                return (explained["explanation"]["items"][0]["optimizer"].clone(), explained);
            }
        }
        panic!("nobody is optimized for");
    };
    let (once, known) = (report("component").await, explain().await.0["version"].as_u64());
    assert!(known.is_some());
    let fired = || lived.fired.iter();
    let mut repeats = JoinSet::new();
    for (n, url) in fired().chain(fired()).enumerate() {
        let remote = Remote::clone([&*a, &b.remote][n % 2]);
        let url = on(&remote, url);
        repeats.spawn(async move { assert_eq!(remote.beacon(&url).await.1, "duplicate", "{url}") });
        if n % 50 == 49 {
            while let Some(repeated) = repeats.join_next().await {
                repeated.expect("a duplicate");
            }
        }
    }
    repeats.join_all().await;
    refresh(&b.remote).await;
    refresh(&a).await;
    let twice = report("component").await;
    for unchanged in ["totals", "rows", "lift", "rate", "unattributed"] {
        assert_eq!(once[unchanged], twice[unchanged]);
    }
    assert_eq!(explain().await.0["version"].as_u64(), known, "nothing was learned");
    assert_eq!(twice["totals"]["impressions"], people);
    assert_eq!(twice["invalid_traffic"]["replay"], 2 * fired().count());

    // the lift is what it truly was
    let truly = lived.personalised.1 / lived.personalised.0 / NOTHING - 1.0;
    let lift = &twice["lift"]["result"];
    println!("true lift {truly:.2}, reported {lift}");
    let end = |name: &str| lift[name].as_f64().unwrap_or(f64::INFINITY);
    assert!(end("low") <= truly && truly <= end("high") && lift["significant"] == true, "{truly}: {lift}");

    // whoever is in a segment is in its row, on whichever side
    let adults = report("segment&arm=all").await["rows"].take();
    let is = |row: &&Value| row["key"]["segment"] == "adults";
    let adults = adults.as_array().expect("rows").iter().find(is).map(|row| row["counts"]["impressions"].clone());
    assert_eq!(adults, Some(json!(people / 2)), "every second person");

    // what each segment responds to, and what an even rotation would have earned
    let rows = report("segment_component").await["rows"].take();
    let of = |segment: &str, component: &str| {
        let is = |row: &&Value| row["key"]["segment"] == segment && row["key"]["component"] == component;
        rows.as_array().expect("rows").iter().find(is).map(|row| row["rate"]["value"].as_f64().expect("a rate"))
    };
    assert!(of("adults", "c2").expect("seen") > of("adults", "c0").expect("seen"), "{rows:#}");
    let combinations = report("combination").await;
    let named = combinations["combinations"].as_object().expect("combinations");
    assert!(named.values().any(|one| one["components"] == json!({"headline": "h1", "cta": "c2"})), "{named:#?}");
    let csv = a.request(Method::GET, "/v1/campaigns/learning/report?format=csv").sent().await;
    assert!(csv.text().await.expect("a table").lines().count() > 6);
    // what it says of other rotations is proved below; here most who were not held out were logged
    let best = evaluate(&a, from_now(LATER), &json!({"rotation": "best"})).await;
    assert!(best["used"].as_u64().is_some_and(|used| used > people * 3 / 4), "{best:#}");

    // why
    let (why, explained) = explain().await;
    assert!(why["propensity"].as_f64().is_some_and(|share| share > 0.0 && share <= 1.0), "{explained:#}");
    assert!(why["others"].as_array().is_some_and(|others| others.len() == 4), "{why:#}");
    let beliefs = why["others"].as_array().expect("others").iter().map(|other| &other["belief"]);
    for belief in beliefs.chain([&why["shown"]]) {
        assert!(why["by"]["member"].is_null() || belief["sampled"].is_f64(), "{why:#}");
        assert!(belief["interval"][0].as_f64() < belief["rate"].as_f64(), "{why:#}");
        assert!(belief["rate"].as_f64() < belief["interval"][1].as_f64(), "{why:#}");
        let terms = belief["terms"].as_array().expect("terms").iter();
        assert!(terms.filter(|term| term["adds"].is_f64()).count() > 2, "{why:#}");
    }
    let item = &explained["placements"]["top"][0];
    let replay = format!("/v1/decisions/{}/replay", item["decision_id"].as_str().expect("an id"));
    let record = || async { a.request(Method::POST, &replay).sent().await.status() == 200 };
    crate::harness::until("the record is kept", record).await;
    let again = read(a.request(Method::POST, &replay).sent().await, 200).await;
    assert_eq!(again, *item, "what was learned has no say in a replay");
}

/// A question about an adult, with its reasons.
fn asked(person: u64) -> Value {
    json!({
        "placements": [{"id": "top", "sizes": ["300x250"], "candidates": {"campaign": "learning"}}],
        "user": {"key": format!("u-{person}"), "traits": {"age": 30}}, "context": {"geo": {"country": "US"}}, "explain": "full"
    })
}

/// How many are asked about before others are.
const FIRST: u64 = 10;

/// Creatives that nobody asked for have few draws in memory, and all from the first decision on.
async fn warm(service: &Service) {
    for person in 9_000..9_000 + FIRST {
        decide(service, person).await;
    }
    refresh(service).await;
}

/// Decides for people before anything is learned, so that the log reaches everywhere; then they click as
/// often as `rate` says, by what they are shown.
async fn live_at_once(service: &Service, people: u64, rate: impl Fn(u64, &Value) -> f64) {
    let mut items = Vec::new();
    for from in (0..people).step_by(50) {
        let mut wave = JoinSet::new();
        for person in from..from + 50 {
            let remote = Remote::clone(service);
            wave.spawn(async move { (person, decide(&remote, person).await) });
        }
        items.extend(wave.join_all().await);
    }
    for wave in items.chunks(50) {
        let mut fired = JoinSet::new();
        for (person, item) in wave {
            let url = |name: &str| item[name].as_str().expect("a beacon").to_owned();
            let click = (luck(*person) < rate(*person, &item["components"])).then(|| url("click_url"));
            let (remote, impression) = (Remote::clone(service), url("impression_url"));
            fired.spawn(async move {
                assert_eq!(remote.beacon(&impression).await.1, "recorded");
                if let Some(click) = click {
                    assert_eq!(remote.beacon(&click).await.1, "recorded");
                }
            });
        }
        fired.join_all().await;
    }
    refresh(service).await;
}

/// An estimate is as near to the truth as its interval says: five standard errors, which are few enough to tell
/// the rotations apart.
#[track_caller]
fn agrees(found: &Value, truth: f64) {
    println!("truly {truth:.3}: {found}");
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("truly {truth}: {found:#}"));
    let (low, high) = (number(&found["interval"]["low"]), number(&found["interval"]["high"]));
    let error = (high - low) / (2.0 * 1.96);
    assert!(error < 0.04 && (number(&found["value"]) - truth).abs() < 5.0 * error, "truly {truth}: {found:#}");
    assert!(number(&found["effective_sample_size"]) >= 200.0, "{found:#}");
}

/// What other rotations would have earned, of which the truth is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_are_evaluated_by_what_was_logged() {
    const PEOPLE: u64 = 2_000;
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, |config| config.http.simulation = true).await;
    author(&service).await;
    // what nobody responds to is left out, so that each combination is often shown
    for gone in ["h0", "c1"] {
        let path = format!("/v1/creatives/fallback/components/{gone}");
        assert_eq!(service.request(Method::DELETE, &path).header("if-match", "*").sent().await.status(), 204);
    }
    // the others weigh 100
    for (slot, heavy) in [("headline", "h1"), ("cta", "c2")] {
        let body = json!({"slot": slot, "value": heavy, "weight": 300});
        let request = service.request(Method::PUT, &format!("/v1/creatives/fallback/components/{heavy}"));
        read(request.header("if-match", "*").json(&body).sent().await, 200).await;
    }
    read(service.request(Method::POST, "/v1/creatives/fallback/publish").json(&json!({})).sent().await, 200).await;
    refresh(&service).await;
    warm(&service).await;
    // what is best depends on both slots and on who it is; clicks on (h1, c2), (h1, c0), (h2, c2) and (h2, c0)
    let rates = |person: u64| if age(person) >= 18 { [0.8, 0.2, 0.2, 0.1] } else { [0.5, 0.1, 0.1, 0.7] };
    let rate = |person: u64, components: &Value| match (&components["headline"], &components["cta"]) {
        (headline, cta) if headline == "h1" => rates(person)[usize::from(cta != "c2")],
        (_, cta) => rates(person)[2 + usize::from(cta != "c2")],
    };
    let before = from_now(-60_000);
    live_at_once(&service, PEOPLE, rate).await;
    let later = from_now(LATER);
    let logged = || async { evaluate(&service, later, &json!({"rotation": "even"})).await["used"].as_u64() };
    crate::harness::until("all are logged", || async { logged().await > Some(PEOPLE * 3 / 4) }).await;
    let by = |shares: [f64; 4]| {
        let of = |person| rates(person).iter().zip(shares).map(|(rate, share)| rate * share).sum::<f64>();
        (of(0) + of(1)) / 2.0
    };
    let without = |slot: &str, component: &str| json!({"rotation": "without", "without": [{"slot": slot, "component": component}]});
    for (other, truth) in [
        (json!({"rotation": "even"}), by([0.25; 4])),
        (json!({"rotation": "weights"}), by([0.5625, 0.1875, 0.1875, 0.0625])),
        (json!({"rotation": "best"}), 0.75),
        // what is left of the choice is clear by now, but for the floor
        (without("headline", "h2"), 0.98 * by([1.0, 0.0, 0.0, 0.0]) + 0.02 * by([0.5, 0.5, 0.0, 0.0])),
        (without("cta", "c2"), 0.98 * (0.2 + 0.7) / 2.0 + 0.02 * by([0.0, 0.5, 0.0, 0.5])),
    ] {
        let answer = evaluate(&service, later, &other).await;
        let found = &answer["evaluation"];
        assert_eq!(found["basis"], "combinations", "{answer:#}");
        agrees(found, truth);
        assert_eq!((&answer["too_young"], &answer["sampled"]), (&json!(0), &json!(false)));
        let end = |name: &str| answer["span"][name].as_str().and_then(|at| at.parse::<Millis>().ok()).expect("a time");
        assert!(end("first") < end("last") && end("last") < from_now(0), "{answer:#}");
    }
    // while clicks may still come, nothing is said of what came of a decision
    let young = evaluate(&service, before, &json!({"rotation": "even"})).await;
    assert_eq!((&young["logged"], &young["used"]), (&json!(0), &json!(0)), "{young:#}");
    assert!(young["too_young"].as_u64() > Some(PEOPLE * 3 / 4), "{young:#}");
    assert!(young["refused"].as_str().is_some_and(|why| why.contains("younger")), "{young:#}");

    let turned = json!({"rotation": "even", "from": "2026-11-02", "to": "2026-11-01"});
    let request = service.request(Method::POST, "/v1/campaigns/learning/evaluate").json(&turned);
    assert_eq!(read(request.sent().await, 422).await["errors"][0]["pointer"], "/to");
}

/// Above 200 combinations another rotation is evaluated by components, and the answer says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_of_many_combinations_are_evaluated_by_components() {
    const COMPONENTS: u64 = 15;
    const PEOPLE: u64 = 1_800;
    /// From this one on they weigh three times as much.
    const HEAVY: u64 = 8;
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, |config| config.http.simulation = true).await;
    for slot in ["headline", "cta"] {
        for n in 0..COMPONENTS {
            let path = format!("/v1/creatives/fallback/components/{slot}-{n}");
            let weight = if n >= HEAVY { 3 } else { 1 };
            service.put(&path, &json!({"slot": slot, "value": format!("{slot} {n}"), "weight": weight})).await;
        }
    }
    read(service.request(Method::POST, "/v1/creatives/fallback/publish").json(&json!({})).sent().await, 200).await;
    let campaign = json!({
        "name": "Wide", "advertiser": "northwind", "status": "active", "creatives": ["fallback"],
        "landing_url": "https://northwind.example/", "rotation": "optimized"
    });
    service.put("/v1/campaigns/learning", &campaign).await;
    refresh(&service).await;
    let heavy = |components: &Value, slot: &str| {
        let id = components[slot].as_str().expect("a component");
        if id[slot.len() + 1..].parse::<u64>().expect("a number") >= HEAVY { 0.45 } else { 0.0 }
    };
    let clicks = |_, components: &Value| 0.05 + heavy(components, "headline") + heavy(components, "cta");
    warm(&service).await;
    live_at_once(&service, PEOPLE, clicks).await;
    let later = from_now(LATER);
    let evaluate = async |body: Value| evaluate(&service, later, &body).await;
    crate::harness::until("all are logged", || async {
        evaluate(json!({"rotation": "even"})).await["used"] == PEOPLE + FIRST
    })
    .await;
    let even = evaluate(json!({"rotation": "even"})).await;
    assert_eq!(even["evaluation"]["basis"], "assuming_the_additive_model", "{even:#}");
    agrees(&even["evaluation"], 0.05 + 0.9 * 7.0 / 15.0);
    assert!(
        even["notes"]
            .as_array()
            .is_some_and(|notes| notes.iter().any(|note| note.as_str().unwrap_or("").contains("200")))
    );
    // eight of 1 and seven of 3
    agrees(&evaluate(json!({"rotation": "weights"})).await["evaluation"], 0.05 + 0.9 * 21.0 / 29.0);
    // the best one is too far from the log
    let best = evaluate(json!({"rotation": "best"})).await;
    assert!(best["refused"].as_str().is_some_and(|why| why.contains("effective")), "{best:#}");
    // of all that are best one is left in each slot
    let gone = |slot: &'static str| {
        (HEAVY + 1..COMPONENTS).map(move |n| json!({"slot": slot, "component": format!("{slot}-{n}")}))
    };
    let without = json!({"rotation": "without", "without": gone("headline").chain(gone("cta")).collect::<Vec<_>>()});
    let without = evaluate(without).await;
    // and so is what goes on learning: what was logged was chosen before anything was known
    assert!(without["refused"].as_str().is_some_and(|why| why.contains("effective")), "{without:#}");
    assert_eq!((&without["used"], &without["evaluation"]), (&json!(PEOPLE + FIRST), &Value::Null));

    // what was learned is not kept ready for a rotation that does not ask it
    let mut other = campaign.clone();
    other["rotation"] = json!("even");
    let request = service.request(Method::PUT, "/v1/campaigns/learning").header("if-match", "*").json(&other);
    read(request.sent().await, 200).await;
    let refused = evaluate(json!({"rotation": "even"})).await;
    assert!(refused["refused"].as_str().is_some_and(|why| why.contains("rotation")), "{refused:#}");
    assert_eq!((&refused["used"], &refused["left_out"]), (&json!(0), &json!(PEOPLE + FIRST)));
}
