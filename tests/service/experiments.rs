//! Campaigns that change while they run: their experiment, and what they are for.

use reqwest::Method;
use serde_json::{Value, json};
use tessera::config::Config;
use tokio::task::JoinSet;

use crate::{
    harness::{Patient as _, Remote, Service, read},
    turn,
};

fn campaign(more: &Value) -> Value {
    let mut campaign = json!({
        "name": "Learning", "advertiser": "northwind", "status": "active", "creatives": ["fallback"],
        "landing_url": "https://northwind.example/", "rotation": "optimized", "goal": "click"
    });
    campaign.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    campaign
}

async fn start(database: &str) -> Service {
    let tune = |config: &mut Config| {
        config.http.simulation = true;
        config.store.beacon_wait_ms = 20_000;
    };
    Service::start(database, tune).await
}

async fn author(service: &Service) {
    for n in 0..2 {
        let path = format!("/v1/creatives/fallback/components/h{n}");
        service.put(&path, &json!({"slot": "headline", "value": format!("h{n}")})).await;
    }
    read(service.request(Method::POST, "/v1/creatives/fallback/publish").json(&json!({})).sent().await, 200).await;
    service.put("/v1/campaigns/learning", &campaign(&json!({}))).await;
    refresh(service).await;
}

async fn change(service: &Service, more: &Value) {
    let put = service.request(Method::PUT, "/v1/campaigns/learning").header("if-match", "*").json(&campaign(more));
    read(put.sent().await, 200).await;
    refresh(service).await;
}

async fn refresh(service: &Service) {
    read(service.request(Method::POST, "/v1/simulation/refresh").sent().await, 200).await;
}

async fn decide(remote: &Remote, person: u64) -> Value {
    let body = json!({
        "placements": [{"id": "top", "sizes": ["300x250"], "candidates": {"campaign": "learning"}}],
        "user": {"key": format!("u-{person}")}, "context": {"geo": {"country": "US"}}, "explain": "full"
    });
    remote.decide(&body).await
}

/// Shows people something, every second of whom clicks; answers the clicks not yet made.
async fn live(service: &Service, people: std::ops::Range<u64>, click: bool) -> Vec<String> {
    let mut clicks = Vec::new();
    for from in people.clone().step_by(50) {
        let mut wave = JoinSet::new();
        for person in from..(from + 50).min(people.end) {
            let remote = Remote::clone(service);
            wave.spawn(async move {
                let item = decide(&remote, person).await["placements"]["top"][0].take();
                let url = |name: &str| item[name].as_str().expect("a beacon").to_owned();
                assert_eq!(remote.beacon(&url("impression_url")).await.1, "recorded");
                person.is_multiple_of(2).then(|| url("click_url"))
            });
        }
        let wanted = wave.join_all().await.into_iter().flatten();
        for url in wanted {
            if click {
                assert_eq!(service.beacon(&url).await.1, "recorded");
            } else {
                clicks.push(url);
            }
        }
    }
    refresh(service).await;
    clicks
}

async fn report(service: &Service) -> Value {
    read(service.request(Method::GET, "/v1/campaigns/learning/report").sent().await, 200).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holdout_may_be_turned_on_and_changed_while_the_campaign_runs() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = start(&database).await;
    author(&service).await;
    let late = live(&service, 0..600, false).await;
    assert!(report(&service).await["lift"].is_null(), "no holdout, no lift");

    change(&service, &json!({"holdout": 0.4})).await;
    // outcomes of decisions without a holdout are of no experiment, whenever they come
    for url in late {
        assert_eq!(service.beacon(&url).await.1, "recorded");
    }
    live(&service, 1_000..1_400, true).await;
    // some come again, so people differ more than impressions
    for _ in 0..2 {
        live(&service, 1_000..1_200, true).await;
    }
    let rate = report(&service).await["rate"].take();
    let first = report(&service).await["lift"].take();
    assert_eq!(first["result"]["state"], "estimated", "{first:#}");
    assert_eq!(first["sample_ratio"]["people"], 400, "{first:#}");
    assert_eq!(first["sample_ratio"]["mismatch"], false);
    let clicked = first["personalised"]["sum"].as_f64().zip(first["control"]["sum"].as_f64());
    assert_eq!(clicked.map(|(one, other)| one + other), Some(400.0), "{first:#}");

    // another share or control is another experiment
    change(&service, &json!({"holdout": 0.4, "control": "even"})).await;
    let anew = report(&service).await;
    assert_eq!(anew["lift"]["sample_ratio"]["people"], 0);
    assert_eq!(anew["rate"], rate, "what was seen is as certain as before");
    live(&service, 1_000..1_030, true).await;
    assert_eq!(report(&service).await["lift"]["sample_ratio"]["people"], 30, "those of before take part anew");
    change(&service, &json!({"holdout": 0.4})).await;
    let again = report(&service).await["lift"].take();
    for of in ["personalised", "control", "result"] {
        assert_eq!(again[of], first[of], "the one of before goes on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_goal_is_learned_anew() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = start(&database).await;
    author(&service).await;
    live(&service, 0..150, true).await;
    // what is believed of whatever is shown: half of all click
    let rate = async || {
        let why = decide(&service, 7).await["explanation"]["items"][0]["optimizer"].take();
        why["shown"]["rate"].as_f64().expect("a rate")
    };
    let clicks = rate().await;
    assert!(clicks > 0.3, "{clicks}");
    change(&service, &json!({"goal": {"conversion": "purchase"}})).await;
    let purchases = rate().await;
    assert!(purchases < 0.1, "nobody bought: {purchases}");
    let counted = report(&service).await["totals"]["clicks"].as_u64();
    assert_eq!(counted, Some(75), "what was counted stays");
}
