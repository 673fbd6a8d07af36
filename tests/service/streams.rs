//! What segments know of events, over HTTP.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, query, query_scalar};

use crate::{
    events::{counts, send},
    harness::{Patient as _, Service, ask, read, until},
    turn,
};

/// A segment of those who viewed often enough, and a headline for them.
async fn author(service: &Service) {
    let rule = json!({"event": "viewed", "count": {"gte": 3}, "in": {"last": "P7D"}});
    let segment = json!({"name": "Keen", "rule": {"v": 1, "kind": "dynamic", "match": rule}});
    service.put("/v1/segments/keen", &segment).await;
    let keen = json!({"slot": "cta", "value": "You again", "targeting": {"segment": "keen"}});
    service.put("/v1/creatives/spring/components/keen", &keen).await;
    let published = service.request(Method::POST, "/v1/creatives/spring/publish").json(&json!({})).sent().await;
    read(published, 200).await;
}

async fn live(service: &Service) {
    until("the segment has its history", || async {
        let status = service.request(Method::GET, "/v1/segments/keen/status").sent().await;
        read(status, 200).await["state"] == "live"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_knows_what_was_answered_on_every_replica() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    author(&a).await;
    live(&a).await;
    let at = async |replica: &Service| replica.decide(&ask("nobody", "home")).await["catalog_version"].clone();
    let newest = at(&a).await;
    until("the other replica follows", || async { at(&b).await == newest }).await;
    let keen = |item: &Value| item["components"]["cta"] == "keen";
    for round in 0..20 {
        let (anna, ben) = (format!("anna-{round}"), format!("ben-{round}"));
        for replica in [&a, &b] {
            assert!(!keen(&replica.item(&anna, "home").await) && !keen(&replica.item(&ben, "home").await));
        }
        let view = |user: &str| json!({"user": user, "type": "viewed", "properties": {"n": rand(round)}});
        let mut views = vec![];
        for n in 0..3 {
            for user in [&anna, &ben] {
                let mut view = view(user);
                view["id"] = json!(format!("{user}-{n}"));
                views.push(view);
            }
        }
        let answer = send(&a, &json!(views)).await;
        assert!(keen(&a.item(&anna, "home").await), "what is answered holds here at once");
        // with the token there as well, whoever it is asked about
        for user in [&anna, &ben] {
            let mut body = ask(user, "home");
            body["consistency_token"] = answer["consistency_token"].clone();
            let item = b.decide(&body).await["placements"]["top"][0].take();
            assert!(keen(&item) && item["degraded"] == json!([]), "{item:#}");
        }
    }
    let mut slowest = Duration::ZERO;
    for round in 0..5 {
        let user = format!("carla-{round}");
        assert!(!keen(&b.item(&user, "home").await));
        let views: Vec<_> =
            (0..3).map(|n| json!({"id": format!("{user}-{n}"), "user": user, "type": "viewed"})).collect();
        send(&a, &json!(views)).await;
        slowest =
            slowest.max(until("the other replica sees it", || async { keen(&b.item(&user, "home").await) }).await);
    }
    println!("events were decided by on the other replica after at most {slowest:?} (5 people)");
}

fn rand(of: u64) -> u64 {
    of.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_segment_knows_what_people_did_before() {
    let (service, _turn) = crate::service().await;
    for (user, views) in [("anna", 3), ("ben", 2), ("carla", 9)] {
        let views: Vec<_> =
            (0..views).map(|n| json!({"id": format!("{user}-{n}"), "user": user, "type": "viewed"})).collect();
        send(&service, &json!(views)).await;
    }
    author(&service).await;
    live(&service).await;
    for (user, keen) in [("anna", true), ("ben", false), ("carla", true), ("dora", false)] {
        assert_eq!(service.item(user, "home").await["components"]["cta"] == "keen", keen, "{user}");
    }
    send(&service, &json!({"user": "ben", "type": "viewed"})).await;
    assert_eq!(service.item("ben", "home").await["components"]["cta"], "keen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rules_add_up_must_be_numbers() {
    let (service, _turn) = crate::service().await;
    let rule = json!({"event": "purchase", "sum": {"of": "value", "is": {"gte": 100}}, "in": {"last": "P30D"}});
    service
        .put("/v1/segments/keen", &json!({"name": "Spender", "rule": {"v": 1, "kind": "dynamic", "match": rule}}))
        .await;
    live(&service).await;
    let bought = |value: Value| json!({"user": "anna", "type": "purchase", "properties": {"value": value, "other": {"amount": "1"}}});
    let body = json!([
        bought(json!(59.9)),
        bought(json!("59.90")),
        bought(json!(0.0000001)),
        bought(json!(1e12)),
        bought(json!({"amount": "59.90", "currency": "USD"})),
        bought(json!(40.1))
    ]);
    let answer = send(&service, &body).await;
    assert_eq!(counts(&answer), [3, 0, 0, 3], "{answer:#}");
    let pointers: Vec<_> =
        answer["rejected"].as_array().expect("a list").iter().map(|one| one["pointer"].clone()).collect();
    assert_eq!(pointers, vec!["/properties/value"; 3]);
    let profile = service.request(Method::GET, "/v1/profiles/anna/segments").sent().await;
    let profile = read(profile, 200).await;
    assert!(profile["segments"].as_array().expect("segments").iter().any(|one| one["key"] == "keen"), "{profile:#}");
    assert!(profile["others"].is_null(), "not asked for: {profile:#}");

    // what is remembered of the events, and what is missing of a segment that somebody is not in
    let person = read(service.request(Method::GET, "/v1/profiles/anna").sent().await, 200).await;
    let sums: Vec<_> =
        person["events"].as_array().expect("events").iter().filter(|one| !one["value"].is_null()).collect();
    assert!(
        sums.iter().any(|one| one["event"] == "purchase"
            && one["count"] == 2
            && one["value"] == json!({"of": "value", "sum": 100.0})),
        "{person:#}"
    );
    send(&service, &bought(json!(9))).await;
    send(&service, &json!({"user": "ben", "type": "purchase", "properties": {"value": 9}})).await;
    let ben = read(service.request(Method::GET, "/v1/profiles/ben/segments?others=true").sent().await, 200).await;
    let keen = ben["others"].as_array().expect("others").iter().find(|one| one["key"] == "keen").expect("keen");
    assert!(keen["why"]["why"].as_str().is_some_and(|why| why.contains('9')), "{keen:#}");

    service.request(Method::DELETE, "/v1/profiles/ben").sent().await;
    let gone = service.request(Method::GET, "/v1/profiles/ben/segments").sent().await;
    assert_eq!(gone.status(), 410);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_put_into_a_list_was_not_in_it_before() {
    let (service, _turn) = crate::service().await;
    service.put("/v1/segments/crm", &json!({"name": "CRM", "rule": {"v": 1, "kind": "static"}})).await;
    let (not, list) = (json!({"not": {"list": "crm"}}), json!({"v": 1, "kind": "dynamic"}));
    let mut rule = list;
    rule["match"] = not;
    service.put("/v1/segments/strangers", &json!({"name": "Strangers", "rule": rule})).await;
    service.patch("anna", &json!({"age": 31})).await;
    let of = async |query: &str| {
        let path = format!("/v1/profiles/anna/segments{query}");
        let answer = read(service.request(Method::GET, &path).sent().await, 200).await;
        let keys = answer["segments"].as_array().expect("segments").iter();
        let is = |of: &str| keys.clone().any(|one| one["key"] == of);
        (is("crm"), is("strangers"), answer["at"].as_str().expect("an instant").to_owned())
    };
    let (.., before) = of("").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let change = service.request(Method::POST, "/v1/segments/crm/members").json(&json!({"add": ["anna"]})).sent().await;
    read(change, 200).await;
    let (crm, strangers, _) = of("").await;
    assert!(crm && !strangers);
    let (crm, strangers, _) = of(&format!("?at={before}")).await;
    assert!(!crm && strangers, "they were put in later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_so_many_places_to_follow_from() {
    let (service, _turn) = crate::service().await;
    author(&service).await;
    let follow = async || {
        let request = service.request(Method::GET, "/v1/segments/keen/transitions");
        request.header("accept", "text/event-stream").sent().await
    };
    let mut open = Vec::new();
    let full = loop {
        let answer = follow().await;
        if answer.status() != 200 {
            break answer;
        }
        assert!(open.len() < 64, "no end");
        open.push(answer);
    };
    assert_eq!((open.len(), full.status().as_u16()), (64, 429));
    assert!(full.headers().contains_key("retry-after"));
    drop(open);
    until("there is room again", || async { follow().await.status() == 200 }).await;
}

/// Keeps every history from being read while the connection is open.
async fn hold_history(database: &str) -> PgConnection {
    let mut connection = PgConnection::connect(database).await.expect("a connection");
    query("select pg_advisory_lock(7358803)").execute(&mut connection).await.expect("a lock");
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lacks_its_history_says_so_everywhere() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, |_| {}).await;
    let views = |n: u32, id: &str| json!({"id": format!("{n}-{id}"), "user": format!("u-{n}"), "type": "viewed"});
    send(&service, &json!((0..60).map(|n| views(n, "before")).collect::<Vec<_>>())).await;
    let held = hold_history(&database).await;
    let rule =
        json!({"v": 1, "kind": "dynamic", "match": {"event": "viewed", "count": {"gte": 1}, "in": {"last": "P7D"}}});
    service.put("/v1/segments/keen", &json!({"name": "Keen", "rule": rule})).await;
    let features = json!([{"event": "viewed", "measure": "recency"}]);
    service.put("/v1/models/viewers", &json!({"name": "Viewers", "kind": "clusters", "features": features})).await;

    let ask = |method: Method, path: &'static str, body: Value| {
        let request = service.request(method, path).json(&body);
        async move { read(request.sent().await, 200).await }
    };
    let preview = |exact: bool| ask(Method::POST, "/v1/segments/preview", json!({"rule": rule, "exact": exact}));
    let train = || ask(Method::POST, "/v1/models/viewers/train", json!({"seed": 7}));
    let report = || ask(Method::GET, "/v1/reports/segments?segments=keen", json!({}));
    // sixty more, whose events count at once while those of before do not
    until("new events are remembered", || async {
        let id = format!("{:?}", std::time::Instant::now());
        send(&service, &json!((60..120).map(|n| views(n, &id)).collect::<Vec<_>>())).await;
        preview(false).await["size"]["people"] == 60 && report().await["segments"][0]["size"]["people"] == 60
    })
    .await;
    until("there is something to learn from", || async {
        let request = service.request(Method::POST, "/v1/models/viewers/train").json(&json!({}));
        request.sent().await.status() == 200
    })
    .await;
    for partial in [preview(true).await, preview(false).await, report().await] {
        assert_eq!((&partial["unread_events"], &partial["exact"]), (&json!(["viewed"]), &json!(false)), "{partial:#}");
    }
    let partial = train().await;
    assert_eq!((&partial["unread_events"], &partial["complete"]), (&json!(["viewed"]), &json!(true)), "{partial:#}");

    held.close().await.expect("closed");
    live(&service).await;
    let whole = preview(true).await;
    assert_eq!(
        (&whole["size"]["people"], &whole["unread_events"], &whole["exact"]),
        (&json!(120), &json!([]), &json!(true))
    );
    until("the sample has it too", || async { preview(false).await["size"]["people"] == 120 }).await;
    assert_eq!(report().await["exact"], true);
    assert_eq!(train().await["unread_events"], json!([]));

    // what was counted for a rule stays counted when the rule goes
    let gone = service.request(Method::DELETE, "/v1/segments/keen").header("if-match", "*").sent().await;
    read(gone, 204).await;
    let kept = preview(true).await;
    assert_eq!(
        (&kept["size"]["people"], &kept["unread_events"], &kept["exact"]),
        (&json!(120), &json!([]), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_events_that_nobody_knows_are_warned_of() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, |_| {}).await;
    let rule =
        |event: &str| json!({"v": 1, "kind": "dynamic", "match": {"event": event, "last_seen": {"within": "P7D"}}});
    let lint = |service: &Service, event: &str| {
        let request = service.request(Method::POST, "/v1/segments/preview").json(&json!({"rule": rule(event)}));
        async move { read(request.sent().await, 200).await["lint"].take() }
    };
    assert_eq!(lint(&service, "purchase").await[0]["code"], "unknown_event");
    send(&service, &json!({"user": "anna", "type": "purchase"})).await;
    let page = json!({"name": "Shop", "origins": ["https://shop.example"], "events": ["page_seen"]});
    service.put("/v1/write-keys/shop", &page).await;
    let model = json!({"name": "M", "kind": "clusters", "features": [{"event": "searched", "measure": "recency"}]});
    service.put("/v1/models/m", &model).await;
    for known in ["purchase", "page_seen", "searched"] {
        assert_eq!(lint(&service, known).await, json!([]), "{known}");
    }
    let first = service.put("/v1/segments/buyers", &json!({"name": "Buyers", "rule": rule("purchase")})).await;
    assert_eq!(first["lint"], Value::Null, "{first:#}");
    // the same from what is written down, without the rule
    let gone = service.request(Method::DELETE, "/v1/segments/buyers").header("if-match", "*").sent().await;
    read(gone, 204).await;
    until("it is written down", || async {
        let mut connection = PgConnection::connect(&database).await.expect("a connection");
        let kept: i64 =
            query_scalar("select count(*) from event_type").fetch_one(&mut connection).await.expect("a count");
        kept == 1
    })
    .await;
    service.server.shutdown().await;
    let service = Service::start(&database, |_| {}).await;
    assert_eq!(lint(&service, "purchase").await, json!([]));
    let detail = lint(&service, "purchse").await[0]["detail"].take();
    assert!(detail.as_str().expect("words").ends_with("did you mean \"purchase\"?"), "{detail}");
}
