//! What is learned of people, from their first event to the segment that names it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    events::{counts, send},
    harness::{Patient as _, Service, read, until},
};

async fn train(service: &Service, model: &str, status: u16) -> Value {
    let request = service.request(Method::POST, &format!("/v1/models/{model}/train")).json(&json!({"seed": 7}));
    read(request.sent().await, status).await
}

/// Replaces a document; the answer must have this status.
async fn replace(service: &Service, path: &str, document: &Value, status: u16) -> Value {
    let request = service.request(Method::PUT, path).header("if-match", "*").json(document);
    read(request.sent().await, status).await
}

async fn delete(service: &Service, path: &str, status: u16) -> Value {
    read(service.request(Method::DELETE, path).header("if-match", "*").sent().await, status).await
}

fn rule(condition: &Value) -> Value {
    json!({"name": "By model", "rule": {"v": 1, "kind": "dynamic", "match": condition}})
}

async fn segments(service: &Service, user: &str) -> Vec<String> {
    let asked = service.request(Method::GET, &format!("/v1/profiles/{user}/segments")).sent().await;
    let answer = read(asked, 200).await;
    let keys = answer["segments"].as_array().expect("segments").iter();
    keys.map(|one| one["key"].as_str().expect("a key").to_owned()).collect()
}

/// Sixty who buy often for little, and sixty who bought once for much.
async fn shoppers(service: &Service) {
    let now = service.server.engine().clock.now();
    let bought = |user: String, hours: i64, amount: f64| {
        json!({"id": format!("{user}-{hours}"), "user": user, "type": "purchase",
            "at": now.plus(-hours * 3_600_000).to_string(), "properties": {"amount": amount}})
    };
    for n in 0..60_i64 {
        let often = (0..6).map(|order| bought(format!("often-{n}"), 1 + order * 5 + n / 10, 5.0 + n as f64 / 10.0));
        let once = bought(format!("once-{n}"), 400 + n, 1_000.0 + n as f64);
        let answer = send(service, &json!(often.chain([once]).collect::<Vec<_>>())).await;
        assert_eq!(counts(&answer)[0], 7, "{answer:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_declared_trained_put_and_named_by_rules() {
    let (service, _turn) = crate::service().await;
    let fifths = json!({"name": "Buyers", "kind": "rfm", "event": "purchase", "amount": "amount", "window": "P90D"});
    service.put("/v1/models/buyers", &fifths).await;
    let features = json!([
        {"event": "purchase", "measure": "recency"},
        {"event": "purchase", "measure": {"count": {"last": "P90D"}}},
        {"event": "purchase", "measure": {"sum": {"of": "amount", "last": "P90D"}}}
    ]);
    let clusters = json!({"name": "Shoppers", "kind": "clusters", "features": features});
    service.put("/v1/models/shoppers", &clusters).await;
    let few = train(&service, "buyers", 422).await;
    assert_eq!(few["errors"][0]["code"], "too_few_people");
    assert!(few["errors"][0]["detail"].as_str().expect("words").contains("50 are needed"), "{few:#}");
    train(&service, "nothing", 404).await;
    let premature = service.request(Method::PUT, "/v1/segments/bargain").header("if-none-match", "*");
    let cluster = |number: &Value| rule(&json!({"cluster": {"model": "shoppers", "in": [number]}}));
    let refused = read(premature.json(&cluster(&json!(0))).sent().await, 422).await;
    assert_eq!(refused["errors"][0]["code"], "untrained_model");
    assert_eq!(refused["errors"][0]["pointer"], "/rule/match/cluster/model");

    shoppers(&service).await;
    until("the sample has everybody's history", || async {
        let request = service.request(Method::POST, "/v1/models/shoppers/train").json(&json!({}));
        let answer = request.sent().await;
        answer.status() == 200 && read(answer, 200).await["people"] == 120
    })
    .await;
    let learned = train(&service, "shoppers", 200).await;
    let found = learned["clusters"].as_array().expect("clusters");
    assert_eq!((found.len(), &found[0]["people"], &found[1]["people"]), (2, &json!(60), &json!(60)), "{learned:#}");
    assert_eq!(learned["transitions"], Value::Null, "there was nothing before");
    replace(&service, "/v1/models/shoppers", &learned["document"], 200).await;
    let number = |word: &str| {
        let name = |one: &&Value| one["proposed_name"].as_str().expect("a name").contains(word);
        found.iter().find(name).unwrap_or_else(|| panic!("{word}: {learned:#}"))["cluster"].clone()
    };
    let versions = service.request(Method::GET, "/v1/models/shoppers/versions").sent().await;
    let versions = read(versions, 200).await["items"].take();
    assert_eq!(versions.as_array().map(Vec::len), Some(2), "{versions:#}");
    assert_eq!(versions[0]["document"], learned["document"]);
    assert_eq!((&versions[1]["document"]["centroids"], &versions[1]["until"]), (&Value::Null, &versions[0]["version"]));
    read(service.request(Method::GET, "/v1/models/nothing/versions").sent().await, 404).await;
    service.put("/v1/segments/bargain", &cluster(&number("low amount"))).await;
    service.put("/v1/segments/grand", &cluster(&number("high amount"))).await;
    let again = train(&service, "shoppers", 200).await;
    assert_eq!(again["transitions"][0]["people"], json!([[60, 0], [0, 60]]));
    assert_eq!(again["document"]["names"], learned["document"]["names"]);

    let bought = train(&service, "buyers", 200).await;
    assert_eq!(
        bought["fifths"]["recency"].as_array().expect("fifths").iter().filter_map(Value::as_u64).sum::<u64>(),
        120
    );
    replace(&service, "/v1/models/buyers", &bought["document"], 200).await;
    service.put("/v1/segments/top", &rule(&json!({"rfm": {"event": "purchase", "r": [4, 5], "m": [4, 5]}}))).await;
    assert_eq!(segments(&service, "often-3").await, ["bargain"]);
    assert_eq!(segments(&service, "once-50").await, ["grand"]);

    // one purchase, and a person is elsewhere at once
    let more =
        |n| json!({"id": format!("more-{n}"), "user": "once-50", "type": "purchase", "properties": {"amount": 1}});
    send(&service, &more(0)).await;
    assert!(segments(&service, "once-50").await.contains(&"top".to_owned()));
    let large =
        |n| json!({"id": format!("large-{n}"), "user": "often-3", "type": "purchase", "properties": {"amount": 9_000}});
    send(&service, &json!((0..3).map(large).collect::<Vec<_>>())).await;
    assert!(segments(&service, "often-3").await.contains(&"top".to_owned()));

    // what rules rest on stays
    let used = delete(&service, "/v1/models/shoppers", 409).await;
    assert_eq!(used["errors"][0]["detail"], "segment/bargain names it");
    delete(&service, "/v1/models/buyers", 409).await;
    let breaks = replace(&service, "/v1/models/shoppers", &clusters, 422).await;
    let words = breaks["errors"][0]["detail"].as_str().expect("words");
    assert!(words.starts_with("breaks segment/"), "{breaks:#}");
    let mut fewer = again["document"].clone();
    (fewer["centroids"][1], fewer["names"][1]) = (json!([]), json!(""));
    let named = replace(&service, "/v1/models/shoppers", &fewer, 422).await;
    assert_eq!(named["errors"][0]["code"], "unknown_cluster", "{named:#}");
    for segment in ["bargain", "grand", "top"] {
        delete(&service, &format!("/v1/segments/{segment}"), 204).await;
    }
    delete(&service, "/v1/models/shoppers", 204).await;
    let answer = service.request(Method::GET, "/v1/models/shoppers").sent().await;
    read(answer, 404).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_model_has_its_place() {
    let (service, _turn) = crate::service().await;
    let put = |document: Value| {
        let request = service.request(Method::PUT, "/v1/models/k").header("if-none-match", "*").json(&document);
        async move { read(request.sent().await, 422).await }
    };
    let pointers = |answer: &Value| -> Vec<String> {
        let errors = answer["errors"].as_array().expect("errors").iter();
        errors
            .map(|error| {
                format!("{} {}", error["pointer"].as_str().expect("a pointer"), error["code"].as_str().expect("a code"))
            })
            .collect()
    };
    let wrong = put(json!({"name": "K", "kind": "clusters", "names": ["a", "b"], "features": [
        {"event": "search", "measure": {"distinct": {"of": "religion", "last": "P30D"}}},
        {"event": "search", "measure": {"count": {"last": "P900D"}}}]}))
    .await;
    assert_eq!(
        pointers(&wrong),
        [
            "/names out_of_range",
            "/features/1/measure/last out_of_range",
            "/features/0/measure/distinct/of protected_attribute"
        ]
    );
    let unknown = put(
        json!({"name": "K", "kind": "rfm", "event": "purchase", "amount": "amount", "window": "P30D", "colour": 1}),
    )
    .await;
    assert_eq!(pointers(&unknown), ["/colour unknown_field"]);
    put(json!({"name": "K", "kind": "oracle"})).await;
    let fifths = json!({"name": "Buyers", "kind": "rfm", "event": "purchase", "amount": "amount", "window": "P90D"});
    service.put("/v1/models/buyers", &fifths).await;
    assert_eq!(pointers(&put(fifths).await), ["/event duplicate_event"]);
}
