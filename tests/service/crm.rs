//! People as files, over HTTP.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::{Patient as _, Service, read};

async fn import(service: &Service, query: &str, kind: &str, body: impl Into<reqwest::Body>) -> Response {
    let request = service.request(Method::POST, &format!("/v1/profiles/import{query}")).header("content-type", kind);
    request.body(body).sent().await
}

/// Rows, imported, rejected.
fn counts(answer: &Value) -> [u64; 3] {
    ["rows", "imported", "rejected"].map(|name| answer[name].as_u64().expect("a count"))
}

async fn traits(service: &Service, user: &str) -> BTreeMap<String, Value> {
    let person = read(service.request(Method::GET, &format!("/v1/profiles/{user}")).sent().await, 200).await;
    let traits = person["traits"].as_object().expect("traits").iter();
    traits.map(|(name, held)| (name.clone(), held["value"].clone())).collect()
}

async fn export(service: &Service, format: &str) -> String {
    let answer = service.request(Method::GET, &format!("/v1/profiles/export?format={format}")).sent().await;
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("to its end")
}

fn table(rows: u32) -> String {
    let mut table = "user,traits.age,city,lists\r\n".to_owned();
    for n in 0..rows {
        let list = if n % 2 == 0 { "vip" } else { "" };
        writeln!(table, "u-{n},{},Berlin,{list}", n % 100).expect("memory");
    }
    table
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_people_come_and_go_again() {
    let (service, _turn) = crate::service().await;
    let table = table(10_000);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(table.as_bytes()).expect("packed");
    let request = service.request(Method::POST, "/v1/profiles/import").header("content-type", "text/csv");
    let packed = request.header("content-encoding", "gzip").body(packer.finish().expect("packed")).sent().await;
    let answer = read(packed, 200).await;
    assert_eq!(counts(&answer), [10_000, 10_000, 0], "{answer:#}");
    assert_eq!(traits(&service, "u-9931").await["age"], 31.0);
    let item = service.item("u-30", "home").await;
    assert_eq!((&item["campaign"], &item["components"]["headline"]), (&json!("vip"), &json!("grown")));

    let lines = export(&service, "ndjson").await;
    assert_eq!(lines.lines().count(), 10_000);
    let csv = export(&service, "csv").await;
    assert_eq!(csv.lines().count(), 10_001);
    assert_eq!(csv.lines().next(), Some("user,lists,traits.age,traits.city"));
    assert!(csv.lines().any(|line| line == "u-8,vip,8,Berlin"), "a row as it came");
    // Everything again, as it was written: the same people with the same traits.
    for (kind, body) in [("text/csv", csv.clone()), ("application/x-ndjson", lines)] {
        let answer = read(import(&service, "?mode=all_or_nothing", kind, body).await, 200).await;
        assert_eq!(counts(&answer), [10_000, 10_000, 0], "{answer:#}");
    }
    assert_eq!(export(&service, "csv").await, csv);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_what_was_meant() {
    let (service, _turn) = crate::service().await;
    let rows = [
        json!({"user": "=cmd|' /C calc'!A0", "traits": {"note": "=1+1", "phone": "+49 30 1", "code": "007", "size": "12e4",
            "likes": ["tea", "=x"], "home": {"lat": 52.5, "lon": 13.4}, "since": "2026-01-31", "vip": true, "score": -1.5,
            "text": "null", "lines": "a\r\nb, \"c\"", "big": 1e20}, "lists": ["vip"]}),
        json!({"user": "anna", "lists": {"vip": "2036-12-31T00:00:00Z"}}),
    ];
    let lines = rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let answer = read(import(&service, "", "application/x-ndjson", lines).await, 200).await;
    assert_eq!(counts(&answer), [2, 2, 0], "{answer:#}");
    let (csv, ndjson) = (export(&service, "csv").await, export(&service, "ndjson").await);
    for cell in csv.lines().flat_map(|line| line.split(',')) {
        let inside = cell.trim_start_matches('"');
        let quoted = cell.len() - inside.len();
        assert!(!inside.starts_with(['=', '+', '@']) || quoted >= 3, "a formula: {cell}");
    }
    // the same into an empty account
    let (other, _turn) = crate::service().await;
    read(import(&other, "?mode=all_or_nothing", "text/csv", csv.clone()).await, 200).await;
    let sorted = |text: &str| {
        let mut people: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        people.sort_by_key(|person| person["user"].to_string());
        people
    };
    assert_eq!(sorted(&export(&other, "ndjson").await), sorted(&ndjson));
    // empty cells leave alone, null removes
    let table =
        "user,code,note,vip,lists\n\"\"\"=cmd|' /C calc'!A0\"\"\",,null,\"\"\"true\"\"\",\"{\"\"vip\"\":null}\"\n";
    let answer = read(import(&other, "", "text/csv", table).await, 200).await;
    assert_eq!(counts(&answer), [1, 1, 0], "{answer:#}");
    let held = traits(&other, "%3Dcmd%7C%27%20%2FC%20calc%27%21A0").await;
    assert_eq!((held.get("note"), &held["code"], &held["vip"]), (None, &json!("007"), &json!("true")));
    let left = sorted(&export(&other, "ndjson").await);
    assert!(left.iter().any(|person| person["user"] != "anna" && person["lists"] == json!({})), "{left:#?}");
    // erased people and other keys of a person are not in it
    read(other.request(Method::DELETE, "/v1/profiles/anna").sent().await, 200).await;
    read(other.request(Method::POST, "/v1/profiles/web.1/merge/ben").sent().await, 200).await;
    let users = sorted(&export(&other, "ndjson").await);
    let users: Vec<_> = users.iter().map(|person| person["user"].as_str().expect("a key")).collect();
    assert_eq!(users, ["=cmd|' /C calc'!A0", "ben"]);
    // an import by another key is about the person
    let answer = import(&other, "", "text/csv", "user,age\nweb.1,44\nanna,5\n").await;
    let answer = read(answer, 200).await;
    assert_eq!((counts(&answer), &answer["errors"][0]["code"]), ([2, 1, 1], &json!("erased")), "{answer:#}");
    assert_eq!(traits(&other, "ben").await["age"], 44.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_with_faults_are_named() {
    let (service, _turn) = crate::service().await;
    let table = "user,age,home,lists\n\
                 u-1,31,,\n\
                 ,5,{,\n\
                 u-2,\"{\"\"lat\"\":91,\"\"lon\"\":0}\",,nowhere;adults;vip\n\
                 u-3,1\n\
                 u-4,44,,vip\n";
    let lines = [(3, "/home"), (4, "/traits/age"), (5, "")];
    for (query, status) in
        [("?dry_run=true", 200), ("?mode=all_or_nothing", 422), ("?mode=all_or_nothing&dry_run=true", 422)]
    {
        let answer = read(import(&service, query, "text/csv", table).await, status).await;
        let faults = answer["errors"].as_array().expect("faults");
        if status == 200 {
            assert_eq!(counts(&answer), [5, 2, 3], "{answer:#}");
            let found: Vec<_> = faults
                .iter()
                .map(|fault| (fault["line"].clone(), fault["pointer"].clone(), fault["code"].clone()))
                .collect();
            let fault = |line: u64, pointer: Value, code: &str| (json!(line), pointer, json!(code));
            assert!(found.contains(&fault(3, json!("/user"), "invalid_user")), "{answer:#}");
            assert!(found.contains(&fault(3, json!("/traits/home"), "malformed_json")), "{answer:#}");
            assert!(found.contains(&fault(4, json!("/traits/age"), "wrong_type")), "{answer:#}");
            assert!(found.contains(&fault(4, json!("/lists/0"), "unknown_segment")), "{answer:#}");
            assert!(found.contains(&fault(4, json!("/lists/1"), "not_static")), "{answer:#}");
            assert!(found.contains(&fault(5, Value::Null, "columns")), "{answer:#}");
        } else {
            let pointers: Vec<_> = faults.iter().filter_map(|fault| fault["pointer"].as_str()).collect();
            for (line, _) in lines {
                assert!(
                    pointers.iter().any(|pointer| pointer.starts_with(&format!("/{line}"))),
                    "{line} in {answer:#}"
                );
            }
        }
        read(service.request(Method::GET, "/v1/profiles/u-1").sent().await, 404).await;
    }
    let answer = read(import(&service, "", "text/csv", table).await, 200).await;
    assert_eq!(counts(&answer), [5, 2, 3]);
    assert_eq!(traits(&service, "u-4").await["age"], 44.0);
    // nothing but faults, and bodies that are none
    let answer =
        read(import(&service, "", "application/x-ndjson", "{}\nu\n{\"user\":\"u\",\"age\":1}\n").await, 200).await;
    assert_eq!(counts(&answer), [3, 0, 3], "{answer:#}");
    assert_eq!(
        answer["errors"].as_array().expect("faults").iter().map(|fault| &fault["line"]).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let problem = read(import(&service, "", "text/csv", "user,Age,user\n").await, 422).await;
    assert_eq!(problem["errors"].as_array().expect("faults").len(), 2, "{problem:#}");
    read(import(&service, "", "application/json", "{}").await, 415).await;
    read(import(&service, "?mode=some", "text/csv", "user\n").await, 422).await;
    let scoped = service
        .request(Method::PUT, "/v1/keys/decider")
        .header("if-none-match", "*")
        .json(&json!({"scopes": ["decide"]}))
        .sent()
        .await;
    let key = read(scoped, 201).await["secret"].as_str().expect("a secret").to_owned();
    for (method, path) in [(Method::POST, "import"), (Method::GET, "export")] {
        let request = service.http.request(method, format!("{}/v1/profiles/{path}", service.base)).bearer_auth(&key);
        read(request.header("content-type", "text/csv").body("user\n").sent().await, 403).await;
    }
    // a user of that name is reached all the same
    service.patch("%65xport", &json!({"age": 1})).await;
    assert_eq!(traits(&service, "%65xport").await["age"], 1.0);
}
