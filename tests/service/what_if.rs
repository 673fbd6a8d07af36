//! `POST /v1/what-if`: a draft before it serves, on what was decided.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cluster,
    harness::{Patient as _, Service, read, until},
    turn,
};

async fn ask(service: &Service, body: &Value, status: u16) -> Value {
    read(service.request(Method::POST, "/v1/what-if").json(body).sent().await, status).await
}

fn campaign(more: Value) -> Value {
    let mut document = json!({
        "name": "Draft", "advertiser": "northwind", "status": "active", "creatives": ["fallback"],
        "landing_url": "https://northwind.example/draft", "placements": ["home"]
    });
    document.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    document
}

fn of<'a>(answer: &'a Value, campaign: &Value) -> &'a Value {
    let rows = answer["campaigns"].as_array().expect("campaigns");
    rows.iter().find(|row| row["campaign"] == *campaign).unwrap_or_else(|| panic!("{campaign} in {answer:#}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_says_what_it_would_take_over() {
    let _turn = turn(1).await;
    let database = cluster().await.database().await;
    let service = Service::start(&database, |config| config.decisions.record_share = 1.0).await;
    for person in 0..40 {
        let user = format!("u-{person}");
        let patched = service.patch(&user, &json!({"age": if person % 2 == 0 { 30 } else { 12 }})).await;
        let mut body = crate::harness::ask(&user, "home");
        body["consistency_token"] = patched["consistency_token"].clone();
        service.decide(&body).await;
    }
    let spring = campaign(json!({"name": "spring", "creatives": ["spring"],
        "landing_url": "https://northwind.example/spring"}));
    let same = json!({"campaigns": {"spring": spring}, "limit": 1_000});
    until("all are recorded", || async { ask(&service, &same, 200).await["decisions"] == 40 }).await;
    let report = async || {
        let answer = service.request(Method::GET, "/v1/campaigns/spring/report").sent().await;
        read(answer, 200).await["totals"].clone()
    };
    let counted = report().await;

    // the same again changes nothing
    let nothing = ask(&service, &same, 200).await;
    assert_eq!((&nothing["changed"], &nothing["complete"]), (&json!({"decisions": 0, "share": 0.0}), &json!(true)));
    assert_eq!((&nothing["examples"], &nothing["not_replayed"]), (&json!([]), &json!([])));
    assert_eq!(of(&nothing, &json!("spring")), &json!({"campaign": "spring", "before": 40, "after": 40}));

    // adults are half of them
    let taken = json!({"campaigns": {"takeover": campaign(json!({"priority": 1, "targeting": {"segment": "adults"}}))},
        "examples": 3});
    let answer = ask(&service, &taken, 200).await;
    assert_eq!(answer["changes"]["campaign"], json!({"decisions": 20, "share": 0.5}), "{answer:#}");
    assert_eq!(answer["changed"], answer["changes"]["campaign"]);
    assert_eq!(of(&answer, &json!("takeover")), &json!({"campaign": "takeover", "before": 0, "after": 20}));
    assert_eq!(of(&answer, &json!("spring")), &json!({"campaign": "spring", "before": 40, "after": 20}));
    let examples = answer["examples"].as_array().expect("examples");
    assert_eq!(examples.len(), 3);
    assert_eq!(
        (&examples[0]["before"]["campaign"], &examples[0]["after"]["campaign"]),
        (&json!("spring"), &json!("takeover"))
    );
    let record = format!("/v1/decisions/{}", examples[0]["decision_id"].as_str().expect("an id"));
    read(service.request(Method::GET, &record).sent().await, 200).await;

    // of a segment that no targeting named, records say nothing
    let berlin =
        json!({"campaigns": {"takeover": campaign(json!({"priority": 1, "targeting": {"segment": "berliners"}}))}});
    let answer = ask(&service, &berlin, 200).await;
    assert_eq!(answer["decisions"], 0);
    assert_eq!(answer["not_replayed"], json!([{"reason": "segments", "records": 40, "segments": ["berliners"]}]));

    // without the campaign nothing is shown; elsewhere nothing was asked
    let answer = ask(&service, &json!({"campaigns": {"spring": null}, "placement": "home"}), 200).await;
    assert_eq!(answer["changes"]["unfilled"]["decisions"], 40, "{answer:#}");
    assert_eq!(of(&answer, &Value::Null)["after"], 40);
    let elsewhere = ask(&service, &json!({"campaigns": {"spring": null}, "placement": "capped"}), 200).await;
    assert_eq!(elsewhere["decisions"], 0);
    let read_few = ask(&service, &json!({"campaigns": {"spring": null}, "limit": 5}), 200).await;
    assert_eq!((&read_few["records"], &read_few["complete"]), (&json!(5), &json!(false)));
    let long_ago = ask(&service, &json!({"campaigns": {"spring": null}, "to": "2020-01-01"}), 200).await;
    assert_eq!(long_ago["records"], 0);

    // a creative's draft counts as published
    let young = json!({"slot": "headline", "value": "Hello, you", "targeting": {"not": {"segment": "adults"}}});
    service.put("/v1/creatives/spring/components/young", &young).await;
    let answer = ask(&service, &json!({"publish": ["spring"]}), 200).await;
    let changes = &answer["changes"];
    let of_kind = |kind: &str| &changes[kind]["decisions"];
    assert_eq!((of_kind("components"), of_kind("revision")), (&json!(20), &json!(20)), "{answer:#}");

    // nothing was written or counted
    assert_eq!(report().await, counted);
    let takeover = service.request(Method::GET, "/v1/campaigns/takeover").sent().await;
    assert_eq!(takeover.status(), 404);
    assert_eq!(service.item("u-0", "home").await["revision"], 1);

    // what publishing refuses is refused here, beside the campaigns of the draft
    service.put("/v1/placements/tall", &json!({"name": "Tall", "sizes": ["160x600"], "formats": ["html"]})).await;
    let tall = json!({"campaigns": {"tall": campaign(json!({"placements": ["tall"]}))}, "publish": ["fallback"]});
    let problem = ask(&service, &tall, 422).await;
    let faults = problem["errors"].as_array().expect("errors");
    let told = |fault: &Value| fault["code"] == "size_mismatch" && fault["pointer"] == "/publish/0/creative/templates";
    assert!(faults.iter().any(told), "{problem:#}");
    // and beside those that are there already, but for those that the draft deletes
    let waiting = json!({"name": "Tall", "advertiser": "northwind", "status": "paused", "creatives": ["fallback"],
        "placements": ["tall"], "landing_url": "https://northwind.example/draft"});
    service.put("/v1/campaigns/waiting", &waiting).await;
    let problem = ask(&service, &json!({"publish": ["fallback"]}), 422).await;
    assert!(problem["errors"].as_array().expect("errors").iter().any(told), "{problem:#}");
    ask(&service, &json!({"publish": ["fallback"], "campaigns": {"waiting": null}}), 200).await;
    // what another creative of a drafted campaign fits is fitted
    service
        .put(
            "/v1/templates/tall",
            &json!({"name": "Tall", "format": "html", "size": "160x600", "markup": "<body>x</body>"}),
        )
        .await;
    service.put("/v1/creatives/tall", &json!({"name": "Tall", "advertiser": "northwind", "templates": ["tall"]})).await;
    let mut both = waiting;
    both["creatives"] = json!(["fallback", "tall"]);
    ask(&service, &json!({"publish": ["fallback"], "campaigns": {"waiting": both}}), 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_draft_is_told_at_once() {
    let (service, _turn) = crate::service().await;
    let broken = json!({"name": 7, "advertiser": "nobody", "status": "active", "creatives": ["fallback"],
        "landing_url": "https://northwind.example/draft"});
    let body = json!({
        "campaigns": {"a": broken, "b": campaign(json!({"placements": ["nowhere"]})), "c c": null, "ghost": null},
        "publish": ["fallback", "none"]
    });
    let problem = ask(&service, &body, 422).await;
    let faults = problem["errors"].as_array().expect("errors");
    let pointers: Vec<_> = faults.iter().map(|fault| fault["pointer"].as_str().expect("a pointer")).collect();
    for wanted in [
        "/campaigns/a/name",
        "/campaigns/a/advertiser",
        "/campaigns/b/placements/0",
        "/campaigns/c c",
        "/campaigns/ghost",
        "/publish/1",
    ] {
        assert!(pointers.contains(&wanted), "{wanted} in {pointers:?}");
    }
    assert!(!pointers.contains(&"/publish/0"), "{pointers:?}");
    for odd in
        [json!({}), json!({"publish": ["fallback"], "limit": 0}), json!({"publish": ["fallback"], "examples": 101})]
    {
        ask(&service, &odd, 422).await;
    }
    let key = service.request(Method::PUT, "/v1/keys/events-only").header("if-none-match", "*");
    let key = read(key.json(&json!({"scopes": ["events"]})).sent().await, 201).await;
    let request = service.http.post(format!("{}/v1/what-if", service.base));
    let request =
        request.bearer_auth(key["secret"].as_str().expect("a secret")).json(&json!({"publish": ["fallback"]}));
    assert_eq!(request.sent().await.status(), 403);
}
