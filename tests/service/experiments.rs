//! Campaigns that change while they run: their experiment, and what they are for.

use reqwest::Method;
use serde_json::{Value, json};
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
    Service::start(database, |config| config.http.simulation = true).await
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
    remote.decide(&asked(&format!("u-{person}"))).await
}

fn asked(user: &str) -> Value {
    json!({
        "placements": [{"id": "top", "sizes": ["300x250"], "candidates": {"campaign": "learning"}}],
        "user": {"key": user}, "context": {"geo": {"country": "US"}}, "explain": "full"
    })
}

fn url<'a>(item: &'a Value, name: &str) -> &'a str {
    item[name].as_str().expect("a beacon")
}

/// What somebody is shown now.
async fn item(service: &Service, user: &str) -> Value {
    service.decide(&asked(user)).await["placements"]["top"][0].take()
}

async fn told(service: &Service, url: &str) {
    assert_eq!(service.beacon(url).await.1, "recorded");
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
    let excluded = |impressions: u32| json!({"impressions": impressions, "no_key": 0, "no_consent": 0});
    assert_eq!(first["excluded"], excluded(800), "of this experiment alone");
    let clicked = first["personalised"]["sum"].as_f64().zip(first["control"]["sum"].as_f64());
    assert_eq!(clicked.map(|(one, other)| one + other), Some(400.0), "{first:#}");

    // another share or control is another experiment
    change(&service, &json!({"holdout": 0.4, "control": "even"})).await;
    let anew = report(&service).await;
    assert_eq!(anew["lift"]["sample_ratio"]["people"], 0);
    assert_eq!(anew["lift"]["excluded"], excluded(0));
    assert_eq!(anew["rate"], rate, "what was seen is as certain as before");
    live(&service, 1_000..1_030, true).await;
    assert_eq!(report(&service).await["lift"]["sample_ratio"]["people"], 30, "those of before take part anew");
    change(&service, &json!({"holdout": 0.4})).await;
    let again = report(&service).await["lift"].take();
    for of in ["personalised", "control", "result", "excluded"] {
        assert_eq!(again[of], first[of], "the one of before goes on");
    }
    let past = service.request(Method::GET, "/v1/campaigns/learning/report?to=2020-01-01").sent().await;
    let past = read(past, 200).await;
    assert_eq!((&past["totals"]["impressions"], &past["lift"]), (&json!(0), &again), "the lift is of all days");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_decided_at_once_counts_from_the_first_impression_on() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = start(&database).await;
    for n in 0..2 {
        let path = format!("/v1/creatives/fallback/components/h{n}");
        service.put(&path, &json!({"slot": "headline", "value": format!("h{n}")})).await;
    }
    read(service.request(Method::POST, "/v1/creatives/fallback/publish").json(&json!({})).sent().await, 200).await;
    service.put("/v1/campaigns/learning", &campaign(&json!({"holdout": 0.4, "control": "even"}))).await;
    // before learning has looked
    let mut items = Vec::new();
    for person in 0..12 {
        let body = json!({
            "placements": [{"id": "top", "sizes": ["300x250"], "candidates": {"campaign": "learning"}}],
            "user": {"key": format!("u-{person}"), "traits": {"age": 30}},
            "context": {"geo": {"country": "US"}, "device": {"type": "mobile"}}
        });
        items.push(service.decide(&body).await["placements"]["top"][0].take());
    }
    for item in &items {
        told(&service, url(item, "impression_url")).await;
        told(&service, url(item, "click_url")).await;
    }
    refresh(&service).await;
    let report = async |query: &str| {
        let path = format!("/v1/campaigns/learning/report{query}");
        read(service.request(Method::GET, &path).sent().await, 200).await
    };
    let made = report("?by=component&arm=all").await;
    assert_eq!((&made["totals"]["impressions"], &made["totals"]["clicks"]), (&json!(12), &json!(12)), "{made:#}");
    let chosen = items.iter().filter(|item| item["reason"] != "holdout").count();
    let lift = &made["lift"];
    assert_eq!((&lift["sample_ratio"]["people"], &lift["personalised"]["people"]), (&json!(12), &json!(chosen)));
    let sums = |made: &Value| -> u64 {
        let rows = made["rows"].as_array().expect("rows").iter();
        rows.map(|row| row["counts"]["clicks"].as_u64().expect("a count")).sum()
    };
    assert_eq!(sums(&made), 12, "the control shows components too: {made:#}");
    let devices = report("?by=device").await;
    assert_eq!(devices["rows"][0]["key"], json!({"device": "mobile"}), "{devices:#}");
    assert_eq!(sums(&devices), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_logs_in_is_one_person_on_the_side_that_they_were_on_first() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = start(&database).await;
    author(&service).await;
    change(&service, &json!({"holdout": 0.5})).await;
    // on which side a key is, without enrolling it
    let held = async |user: &str| {
        let mut body = asked(user);
        body["preview"] = json!({"force_segments": []});
        service.decide(&body).await["placements"]["top"][0]["components"]["headline"].is_null()
    };
    let find = async |kind: &str, wanted: bool| {
        let mut found = Vec::new();
        for n in 0..60 {
            let user = format!("{kind}{n}");
            if found.len() < 2 && held(&user).await == wanted {
                found.push(user);
            }
        }
        found
    };
    let (browsers, others) = (find("web:", true).await, find("web:", false).await);
    let (people, controls) = (find("u-", false).await, find("u-", true).await);
    let merge = async |from: &str, into: &str| {
        let path = format!("/v1/profiles/{from}/merge/{into}");
        read(service.request(Method::POST, &path).sent().await, 200).await;
    };
    // what was shown before is counted before the login in one pair, after it in the other
    for (at, (browser, person)) in
        [(&browsers[0], &people[0]), (&others[0], &controls[0]), (&browsers[1], &people[1]), (&others[1], &controls[1])]
            .into_iter()
            .enumerate()
    {
        let before = item(&service, browser).await;
        told(&service, url(&before, "impression_url")).await;
        if at < 2 {
            refresh(&service).await;
        }
        let own = item(&service, person).await;
        told(&service, url(&own, "impression_url")).await;
        merge(browser, person).await;
        let after = item(&service, person).await;
        told(&service, url(&after, "impression_url")).await;
        told(&service, url(&after, "click_url")).await;
        // told late, of what was shown before
        told(&service, url(&before, "click_url")).await;
        refresh(&service).await;
    }
    let lift = report(&service).await["lift"].take();
    let side = |name: &str| (lift[name]["people"].clone(), lift[name]["sum"].clone());
    assert_eq!((side("control"), side("personalised")), ((json!(2), json!(4.0)), (json!(2), json!(4.0))), "{lift:#}");
    assert_eq!((&lift["crossed_over"], &lift["sample_ratio"]["people"]), (&json!(4), &json!(4)));
}
