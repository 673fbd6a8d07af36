//! The choice gets better with every outcome, on every replica, and nothing counts twice.

use std::collections::VecDeque;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    harness::{Patient as _, Remote, Service, read},
    turn,
};

/// Whom the simulated people are: adults click on (h1, c2), others on (h2, c0), each four times as
/// often as on the rest; the control has no components.
fn rate(age: u64, components: &Value) -> f64 {
    let best = if age >= 18 { ("h1", "c2") } else { ("h2", "c0") };
    let hits = |slot: &str, wanted: &str| components[slot] == wanted;
    match (hits("headline", best.0), hits("cta", best.1)) {
        (true, true) => 0.6,
        (true, false) | (false, true) => 0.3,
        (false, false) => 0.15,
    }
}

/// A number from 0 to 1 that is the same for the same person.
fn luck(person: u64) -> f64 {
    let mixed = person.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1_u64 << 53) as f64
}

fn age(person: u64) -> u64 {
    if person % 2 == 0 { 30 } else { 12 }
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
    let body = json!({
        "placements": [{"id": "top", "sizes": ["300x250"], "candidates": {"campaign": "learning"}}],
        "user": {"key": format!("u-{person}"), "traits": {"age": age(person)}},
        "context": {"geo": {"country": "US"}, "device": {"type": "mobile"}},
        "explain": if person % 500 == 499 { "full" } else { "none" }
    });
    remote.decide(&body).await["placements"]["top"][0].take()
}

async fn refresh(service: &Service) {
    read(service.request(Method::POST, "/v1/simulation/refresh").sent().await, 200).await;
}

/// Decides for people in waves and reports what they do, clicks two waves later. Answers every
/// beacon that was fetched.
async fn live(replicas: &[&Remote], people: std::ops::Range<u64>) -> Vec<String> {
    const WAVE: u64 = 50;
    let (mut fired, mut later) = (Vec::new(), VecDeque::from([Vec::new(), Vec::new()]));
    let mut from = people.start;
    while from < people.end || later.iter().any(|wave: &Vec<String>| !wave.is_empty()) {
        let mut wave = JoinSet::new();
        for person in from..(from + WAVE).min(people.end) {
            let remote = replicas[person as usize % replicas.len()].clone();
            wave.spawn(async move {
                let item = decide(&remote, person).await;
                let url = |name: &str| item[name].as_str().expect("a beacon").to_owned();
                assert_eq!(remote.beacon(&url("impression_url")).await.1, "recorded");
                let clicked = luck(person) < rate(age(person), &item["components"]);
                (url("impression_url"), clicked.then(|| url("click_url")))
            });
        }
        from += WAVE;
        let mut clicks = Vec::new();
        for (impression, click) in wave.join_all().await {
            fired.push(impression);
            clicks.extend(click);
        }
        later.push_back(clicks);
        for click in later.pop_front().unwrap_or_default() {
            assert_eq!(replicas[0].beacon(&click).await, (302, "recorded".into()));
            fired.push(click);
        }
    }
    fired
}

/// The share of people who are shown what is best for them, of those not held out.
async fn best(remote: &Remote, people: std::ops::Range<u64>) -> f64 {
    let (mut best, mut all) = (0, 0);
    for person in people {
        let item = decide(remote, person).await;
        if item["reason"] == "optimized" {
            all += 1;
            best += u32::from(rate(age(person), &item["components"]) > 0.5);
        }
    }
    f64::from(best) / f64::from(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_true_best_combination_of_each_segment_is_found() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let start = || Service::start(&database, |config| config.http.simulation = true);
    let (a, b) = (start().await, start().await);
    author(&a).await;
    refresh(&a).await;
    refresh(&b).await;
    let before = best(&a, 1_000_000..1_000_200).await;
    let remotes: [Remote; 2] = [Remote::clone(&a), Remote::clone(&b)];
    let mut fired = live(&[&remotes[0], &remotes[1]], 0..1_200).await;

    // one of them restarts, with nothing but the store to know from
    b.server.shutdown().await;
    drop(b.data);
    let b = start().await;
    refresh(&b).await;
    let remotes: [Remote; 2] = [Remote::clone(&a), Remote::clone(&b)];
    fired.extend(live(&[&remotes[0], &remotes[1]], 1_200..2_400).await);
    refresh(&a).await;
    refresh(&b).await;
    let after = (best(&a, 2_000_000..2_000_200).await, best(&b, 2_000_200..2_000_400).await);
    println!("shown what is best for them: {before:.2} of people before, {after:?} after 2,400 on two replicas");
    assert!(before < 0.35, "{before}");
    assert!(after.0 > 0.6 && after.1 > 0.6, "{after:?}");

    let _ = fired;
}
