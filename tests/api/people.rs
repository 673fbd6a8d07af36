//! People as their account sees them.

use std::sync::Arc;

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::harness::{Service, send};

pub(crate) async fn traits_are_set_read_and_removed(service: Arc<Service>) {
    // any text names a person: "Jörg/1 ?"
    let path = "/v1/profiles/J%C3%B6rg%2F1%20%3F";
    service.get(path).await.faults(404);
    let first = service.patch(path, &json!({"traits": {"age": 24, "city": "Köln", "vip": true}})).await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert!(first.json()["consistency_token"].is_string());
    let merge = service.request(Method::PATCH, path).header(header::CONTENT_TYPE, "application/merge-patch+json");
    let second = send(merge.body(json!({"traits": {"age": 25, "city": null}}).to_string())).await;
    assert_eq!(second.status, 200, "{}", second.text());
    let profile = service.get(path).await.json();
    assert_eq!(profile["user"], "Jörg/1 ?");
    assert_eq!(profile["traits"]["age"]["value"], 25.0);
    assert_eq!(profile["traits"]["vip"]["value"], true);
    assert!(profile["traits"].get("city").is_none(), "{profile}");
    assert_eq!(profile["version"], second.json()["version"]);

    let faults = service.patch(path, &json!({"traits": {"Bad": 1, "home": {"lat": 91, "lon": 0}}})).await.faults(422);
    assert!(faults.iter().any(|(place, _)| place == "/traits/Bad"), "{faults:?}");
    assert!(faults.iter().all(|(place, _)| place.starts_with("/traits/")), "{faults:?}");
    let faults = service.patch(path, &json!({"traits": {}, "trait": {}})).await.faults(422);
    assert_eq!(faults, [("/trait".to_owned(), "unknown_field".to_owned())]);
    service.get("/v1/profiles/a%00b").await.faults(422);
    service.get(&format!("/v1/profiles/{}", "x".repeat(257))).await.faults(422);
}

pub(crate) async fn a_dry_run_leaves_traits_alone(service: Arc<Service>) {
    let path = format!("/v1/profiles/{}", service.name("u"));
    let dry = format!("{path}?dry_run=true");
    let would = service.patch(&dry, &json!({"traits": {"age": 24}})).await;
    assert_eq!((would.status, would.json().get("consistency_token")), (200, None), "{}", would.text());
    service.get(&path).await.faults(404);
    let version = service.patch(&path, &json!({"traits": {"age": 24}})).await.json()["version"].clone();
    assert_eq!(would.json()["version"], version);
    assert_eq!(service.patch(&dry, &json!({"traits": {"age": 25}})).await.status, 200);
    service.patch(&dry, &json!({"traits": {"Bad": 1}})).await.faults(422);
    let kept = service.get(&path).await.json();
    assert_eq!((&kept["version"], &kept["traits"]["age"]["value"]), (&version, &json!(24.0)));
}

pub(crate) async fn segments_follow_from_traits(service: Arc<Service>) {
    let (segment, user) = (service.name("young"), service.name("u"));
    let rule = json!({"name": "Young", "rule": {"v": 1, "kind": "dynamic", "match": {"trait": "age", "lt": 26}}});
    service.create(&format!("/v1/segments/{segment}"), &rule).await;
    let path = format!("/v1/profiles/{user}");
    assert_eq!(service.patch(&path, &json!({"traits": {"age": 24}})).await.status, 200);
    let held = |answer: &Value| {
        let all = answer["segments"].as_array().expect("segments").iter();
        all.filter(|one| one["key"] == segment.as_str()).map(|one| one["kind"].clone()).collect::<Vec<_>>()
    };
    let answer = service.get(&format!("{path}/segments")).await.json();
    assert_eq!(held(&answer), ["dynamic"], "{answer}");
    assert_eq!(held(&service.get(&path).await.json()), ["dynamic"]);
    assert_eq!((&answer["exact"], answer["segments"][0]["source"].is_string()), (&json!(true), true));
    let future = service.get(&format!("{path}/segments?at=2100-01-01T00:00:00Z")).await.json();
    assert_eq!((&future["at"], &future["exact"]), (&json!("2100-01-01T00:00:00.000Z"), &json!(true)));
    let faults = service.get(&format!("{path}/segments?at=2020-01-01T00:00:00Z")).await.faults(422);
    assert_eq!(faults[0].1, "at", "past what is kept");
    service.get(&format!("{path}/segments?at=yesterday")).await.faults(422);
    service.patch(&path, &json!({"traits": {"age": 26}})).await;
    assert!(held(&service.get(&format!("{path}/segments")).await.json()).is_empty());
}

pub(crate) async fn the_erased_stay_away(service: Arc<Service>) {
    let path = format!("/v1/profiles/{}", service.name("u"));
    assert_eq!(service.patch(&path, &json!({"traits": {"age": 24}})).await.status, 200);
    let receipt = send(service.request(Method::DELETE, &path)).await.json();
    assert_eq!((&receipt["erased"], &receipt["user_known"]), (&json!(true), &json!(true)));
    assert!(receipt["at"].is_string());
    service.patch(&path, &json!({"traits": {"age": 25}})).await.faults(410);
    service.get(&path).await.faults(410);
    let again = send(service.request(Method::DELETE, &path)).await.json();
    assert_eq!((&again["erased"], &again["user_known"]), (&json!(true), &json!(false)));
}

pub(crate) async fn members_come_and_go(service: Arc<Service>) {
    let (list, rule) = (service.name("list"), service.name("rule"));
    service.create(&format!("/v1/segments/{list}"), &json!({"name": "VIP", "rule": {"v": 1, "kind": "static"}})).await;
    let dynamic = json!({"name": "Rule", "rule": {"v": 1, "kind": "dynamic", "match": {"trait": "age", "lt": 26}}});
    service.create(&format!("/v1/segments/{rule}"), &dynamic).await;
    let path = format!("/v1/segments/{list}/members");
    let (one, two, three) = (service.name("u"), service.name("u"), service.name("u"));
    let add = json!({"add": [one, {"user": two, "expires_at": "2100-01-01T00:00:00Z"}, {"user": three}]});
    assert_eq!(service.post(&path, &add).await.json(), json!({"changed": 3}));
    assert_eq!(service.post(&path, &add).await.json(), json!({"changed": 0}));

    let profile = service.get(&format!("/v1/profiles/{two}")).await.json();
    assert_eq!(profile["lists"][&list]["expires_at"], "2100-01-01T00:00:00.000Z");
    assert!(profile["segments"].as_array().expect("segments").iter().any(|one| one["key"] == list.as_str()));

    let first = service.get(&format!("{path}?limit=2")).await.json();
    let after = first["next"].as_str().expect("there is more");
    let rest = service.get(&format!("{path}?limit=2&after={after}")).await.json();
    assert!(rest.get("next").is_none());
    let all = first["items"].as_array().into_iter().chain(rest["items"].as_array()).flatten();
    let mut all: Vec<&str> = all.map(|member| member["user"].as_str().expect("a user")).collect();
    all.sort_unstable();
    let mut expected = [one.as_str(), &two, &three];
    expected.sort_unstable();
    assert_eq!(all, expected);

    assert_eq!(service.post(&path, &json!({"remove": [one, "never-in"]})).await.json(), json!({"changed": 1}));
    let faults = service.post(&path, &json!({"add": ["x"], "remove": ["x"]})).await.faults(422);
    assert_eq!(faults, [("/remove/0".to_owned(), "duplicate".to_owned())]);
    service.post(&path, &json!({"add": [{"usr": "x"}]})).await.faults(422);
    service.post(&format!("/v1/segments/{rule}/members"), &add).await.faults(409);
    // whom a rule puts in is asked anew, page by page
    for (user, age) in [(&one, 20), (&two, 21), (&three, 30)] {
        service.patch(&format!("/v1/profiles/{user}"), &json!({"traits": {"age": age}})).await;
    }
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = service.get(&format!("/v1/segments/{rule}/members?limit=1{after}")).await.json();
        found.extend(page["items"].as_array().expect("items").iter().map(|one| one["user"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let counts = |user: &str| found.iter().filter(|one| **one == user).count();
    assert_eq!((counts(&one), counts(&two), counts(&three)), (1, 1, 0), "{found:?}");
    service.get("/v1/segments/nobodys/members").await.faults(404);
    service.get(&format!("{path}?after=x")).await.faults(422);
}

pub(crate) async fn members_are_uploaded(service: Arc<Service>) {
    let list = service.name("upload");
    service.create(&format!("/v1/segments/{list}"), &json!({"name": "CRM", "rule": {"v": 1, "kind": "static"}})).await;
    let path = format!("/v1/segments/{list}/members");
    let upload = async |query: &str, kind: &str, rows: String| {
        let request = service.request(Method::POST, &format!("{path}{query}")).header(header::CONTENT_TYPE, kind);
        send(request.body(rows)).await
    };
    let users: Vec<String> = (0..2_300).map(|n| format!("{list}-{n}")).collect();
    let csv = |users: &[String]| {
        format!("user,expires_at\r\n{}", users.iter().map(|user| format!("{user},\r\n")).collect::<String>())
    };
    let foreseen = upload("?dry_run=true", "text/csv; charset=utf-8", csv(&users)).await;
    assert_eq!(foreseen.json(), json!({"changed": 2_300, "rows": 2_300, "rejected": 0}), "{}", foreseen.text());
    assert_eq!(service.get(&path).await.json(), json!({"items": []}), "a dry run changes nothing");
    let bad = format!("{}\n\"open", csv(&users).replacen(&format!("{list}-7,\r"), &format!("{list}-7,soon\r"), 1));
    let answer = upload("?mode=add", "text/csv", bad.clone()).await.json();
    assert_eq!((&answer["changed"], &answer["rejected"]), (&json!(2_299), &json!(2)), "{answer}");
    assert_eq!((&answer["errors"][0]["line"], &answer["errors"][0]["code"]), (&json!(9), &json!("invalid_time")));
    // membership is read at the next decision, without a version of its own
    let held = service.get(&format!("/v1/profiles/{}/segments", users[8])).await.json();
    assert!(held["segments"].as_array().expect("segments").iter().any(|one| one["key"] == list.as_str()), "{held}");

    let faults = upload("?mode=replace", "text/csv", bad).await.faults(422);
    assert_eq!(
        faults,
        [("/9".to_owned(), "invalid_time".to_owned()), ("/2303".to_owned(), "malformed_csv".to_owned())]
    );
    let lines = format!("\"{}\"\n{}\n", users[0], json!({"user": users[1], "expires_at": "2100-01-01T00:00:00Z"}));
    let answer = upload("?mode=replace", "application/x-ndjson", lines.clone()).await.json();
    assert_eq!(answer, json!({"changed": 2_298, "rows": 2, "rejected": 0}), "2,297 leave, one has an end now");
    let members = service.get(&path).await.json();
    assert_eq!(members["items"].as_array().expect("members").len(), 2);
    let answer = upload("?mode=remove", "application/x-ndjson", lines).await.json();
    assert_eq!(answer["changed"], 2);
    let json = json!({"add": [users[0]], "remove": [users[1]]});
    assert_eq!(service.post(&format!("{path}?dry_run=true"), &json).await.json(), json!({"changed": 1}));
    assert_eq!(service.get(&path).await.json(), json!({"items": []}));

    service.post(&format!("{path}?mode=add"), &json).await.faults(422);
    // short, so that it is sent before it is refused
    upload("?mode=swap", "text/csv", "user\nu".into()).await.faults(422);
    upload("", "text/csv", "id\nu".into()).await.faults(422);
    upload("", "text/plain", "u".into()).await.faults(415);
}
