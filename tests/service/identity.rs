//! Keys that are one person, over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    events::{counts, send},
    harness::{Patient as _, Remote, Service, ask, read, until},
    turn,
};

/// The segments of a person.
async fn segments(remote: &Remote, user: &str) -> Vec<String> {
    let answer = read(remote.request(Method::GET, &format!("/v1/profiles/{user}/segments")).sent().await, 200).await;
    let keys = answer["segments"].as_array().expect("segments").iter().map(|one| one["key"].as_str().expect("a key"));
    keys.map(str::to_owned).collect()
}

async fn merge(remote: &Remote, user: &str, into: &str, status: u16) -> Value {
    read(remote.request(Method::POST, &format!("/v1/profiles/{user}/merge/{into}")).sent().await, status).await
}

/// A segment of those who left a basket after so many views, and a call for them.
async fn author(service: &Service) {
    let viewed = json!({"event": "viewed", "count": {"gte": 3}, "in": {"last": "P7D"}});
    let grown = json!({"trait": "age", "gte": 18});
    let rule = json!({"v": 1, "kind": "dynamic", "match": {"all": [viewed, grown]}});
    service.put("/v1/segments/keen", &json!({"name": "Keen adults", "rule": rule})).await;
    let keen = json!({"slot": "cta", "value": "You again", "targeting": {"segment": "keen"}});
    service.put("/v1/creatives/spring/components/keen", &keen).await;
    read(service.request(Method::POST, "/v1/creatives/spring/publish").json(&json!({})).sent().await, 200).await;
    until("the segment has its history", || async {
        let status = service.request(Method::GET, "/v1/segments/keen/status").sent().await;
        read(status, 200).await["state"] == "live"
    })
    .await;
}

fn views(user: &str, count: usize) -> Value {
    (0..count).map(|n| json!({"id": format!("{user}-{n}"), "user": user, "type": "viewed"})).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_logs_in_is_one_person_with_what_their_browser_did() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    author(&a).await;
    let browser = "web.4f%2F1";
    send(&a, &views("web.4f/1", 2)).await;
    a.patch("anna", &json!({"age": 31})).await;
    send(&a, &json!({"id": "own", "user": "anna", "type": "viewed"})).await;
    let enter = json!({"add": ["web.4f/1"]});
    read(a.request(Method::POST, "/v1/segments/vip/members").json(&enter).sent().await, 200).await;
    let keen = |item: &Value| item["components"]["cta"] == "keen";
    for replica in [&a, &b] {
        for user in ["web.4f/1", "anna"] {
            assert!(!keen(&replica.item(user, "home").await), "neither alone has done enough");
        }
    }
    let answer = merge(&a, browser, "anna", 200).await;
    assert_eq!(
        (&answer["merged"], &answer["user"], &answer["merged_into"]),
        (&json!(true), &json!("web.4f/1"), &json!("anna"))
    );
    for user in ["web.4f/1", "anna"] {
        assert!(keen(&a.item(user, "home").await), "what is answered holds here at once, under {user}");
        let mut body = ask(user, "home");
        body["consistency_token"] = answer["consistency_token"].clone();
        let item = b.decide(&body).await["placements"]["top"][0].take();
        assert!(keen(&item) && item["degraded"] == json!([]), "{item:#}");
        until("the other replica sees it", || async { keen(&b.item(user, "home").await) }).await;
        assert_eq!(segments(&b, if user == "anna" { user } else { browser }).await, ["adults", "vip", "keen"]);
    }
    // The segment was entered once, and what the key was in has been left.
    until("the transitions are told", || async {
        let told = a.request(Method::GET, "/v1/segments/vip/transitions").sent().await;
        let told = read(told, 200).await;
        let told =
            told["items"].as_array().expect("items").iter().map(|one| (one["user"].clone(), one["event"].clone()));
        let told: Vec<_> = told.collect();
        told.contains(&(json!("anna"), json!("entered"))) && told.contains(&(json!("web.4f/1"), json!("left")))
    })
    .await;

    // The key leads to the person.
    let led = a.request(Method::GET, &format!("/v1/profiles/{browser}")).sent().await;
    assert_eq!(led.headers()["location"], "/v1/profiles/anna");
    assert_eq!(read(led, 308).await, json!({"user": "web.4f/1", "merged_into": "anna"}));
    let person = read(a.request(Method::GET, "/v1/profiles/anna").sent().await, 200).await;
    assert_eq!((&person["traits"]["age"]["value"], person["lists"].get("vip").is_some()), (&json!(31.0), true));

    // Again is a no-op, also after more has come.
    send(&b, &json!({"id": "later", "user": "web.4f/1", "type": "viewed"})).await;
    let version = read(a.request(Method::GET, "/v1/profiles/anna").sent().await, 200).await["version"].clone();
    for (user, into) in [(browser, "anna"), ("anna", browser)] {
        let again = merge(&b, user, into, 200).await;
        assert_eq!(
            (&again["merged"], &again["merged_into"], &again["version"]),
            (&json!(false), &json!("anna"), &version)
        );
    }
    let why = a.request(Method::GET, "/v1/profiles/anna/segments").sent().await;
    let why = read(why, 200).await.to_string();
    assert!(why.contains("4 viewed in 7 days, wanted at least 3"), "each event once: {why}");
    a.patch(browser, &json!({"age": 17})).await;
    until("a trait by the old key is the person's", || async { !keen(&b.item("anna", "home").await) }).await;

    // A new segment finds what both did, before and after.
    let rule =
        json!({"v": 1, "kind": "dynamic", "match": {"event": "viewed", "count": {"eq": 4}, "in": {"last": "P6D"}}});
    a.put("/v1/segments/four", &json!({"name": "Four views", "rule": rule})).await;
    until("the history is found", || async { segments(&a, "anna").await.contains(&"four".to_owned()) }).await;

    // Erased under one key, nobody under any.
    let erased = a.request(Method::DELETE, &format!("/v1/profiles/{browser}?events=now")).sent().await;
    assert_eq!(read(erased, 200).await["user_known"], true);
    for (replica, user) in [(&a, "anna"), (&a, browser), (&b, "anna"), (&b, browser)] {
        read(replica.request(Method::GET, &format!("/v1/profiles/{user}")).sent().await, 410).await;
        let known = || async { replica.decide(&ask("web.4f/1", "home")).await["user"]["known"] == true };
        until("nobody knows them", || async { !known().await }).await;
    }
    assert_eq!(counts(&send(&b, &json!({"id": "x", "user": "web.4f/1", "type": "viewed"})).await), [0, 0, 0, 1]);
    merge(&a, browser, "ben", 410).await;
    merge(&a, "ben", "anna", 410).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_belongs_to_one_person() {
    let (service, _turn) = crate::service().await;
    // A key that nobody has seen is joined before it does anything.
    assert_eq!(merge(&service, "web.1", "anna", 200).await["merged"], true);
    assert_eq!(counts(&send(&service, &json!({"user": "web.1", "type": "viewed"})).await), [1, 0, 0, 0]);
    let refused = merge(&service, "web.1", "ben", 409).await;
    assert_eq!(
        (&refused["type"], &refused["detail"]),
        (&json!("/problems/conflict"), &json!("The key was merged into anna before."))
    );
    let same = merge(&service, "anna", "anna", 422).await;
    assert_eq!(same["errors"][0]["pointer"], "/into");
    read(service.request(Method::GET, "/v1/profiles/ben").sent().await, 404).await;
    let scoped = service
        .request(Method::PUT, "/v1/keys/decider")
        .header("if-none-match", "*")
        .json(&json!({"scopes": ["decide"]}))
        .sent()
        .await;
    let key = read(scoped, 201).await["secret"].as_str().expect("a secret").to_owned();
    let request = service.http.post(format!("{}/v1/profiles/web.2/merge/anna", service.base)).bearer_auth(key);
    read(request.sent().await, 403).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caps_count_for_the_person() {
    let (service, _turn) = crate::service().await;
    let item = service.item("web.7", "capped").await;
    let url = item["impression_url"].as_str().expect("a beacon").to_owned();
    merge(&service, "web.7", "anna", 200).await;
    assert_eq!(service.beacon(&url).await, (200, "recorded".to_owned()), "shown to the key, seen by the person");
    for user in ["anna", "web.7"] {
        let item = service.item(user, "capped").await;
        assert_ne!(item["campaign"], "once", "{user}: {item:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_key_is_being_served_counts_when_it_is_the_persons() {
    let (service, _turn) = crate::service().await;
    // shown, and no beacon yet
    assert_eq!(service.item("web.8", "capped").await["campaign"], "once");
    merge(&service, "web.8", "anna", 200).await;
    let item = service.item("web.8", "capped").await;
    assert_ne!(item["campaign"], "once", "{item:#}");
}
