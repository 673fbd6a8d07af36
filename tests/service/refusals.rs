//! Requests that are wrong: refused with everything that is wrong with them, and nothing changed.

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::{
    harness::{KEY, Patient as _, Service, ask, read},
    service, turn,
    wire::ProblemDoc,
};

/// Sends a body as it is; answers the status and the problem.
async fn refused(service: &Service, kind: &str, body: impl Into<reqwest::Body>) -> (u16, ProblemDoc) {
    let request = service.request(Method::POST, "/v1/decisions").header(CONTENT_TYPE, kind).body(body);
    let answer = request.sent().await;
    let status = answer.status().as_u16();
    let (kind, id) = (answer.headers()[CONTENT_TYPE].clone(), answer.headers()["x-request-id"].clone());
    let text = answer.text().await.expect("a body");
    assert_eq!(kind, "application/problem+json", "{status} {text}");
    let problem: ProblemDoc = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((problem.status, id.to_str().expect("ASCII")), (status, problem.request_id.as_str()));
    assert!(problem.r#type.starts_with("/problems/") && !problem.title.is_empty(), "{problem:?}");
    (status, problem)
}

const JSON: &str = "application/json";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_json_is_malformed() {
    let (service, _turn) = service().await;
    let nested = format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000));
    let deep = format!("{{\"placements\": [{{\"id\": \"a\"}}], \"user\": {{\"traits\": {{\"a\": {nested}}}}}}}");
    for body in [
        "",
        " ",
        "{",
        "{]",
        "nonsense",
        "{\"placements\": [],}",
        "{'placements': []}",
        "{\"placements\": [{\"id\": \"a\"}]} trailing",
        "\u{feff}{}",
        "{\"placements\": [{\"id\": \"a\"}], \"deadline_ms\": NaN}",
        "{\"placements\": [{\"id\": \"a\"}], \"deadline_ms\": Infinity}",
        "{\"placements\": [{\"id\": \"a\"}], \"context\": {\"data\": {\"x\": 1e999}}}",
        "{\"placements\": [{\"id\": \"a\"}], \"placements\": [{\"id\": \"b\"}]}",
        "{\"placements\": [{\"id\": \"a\", \"id\": \"b\"}]}",
        "// comment\n{\"placements\": [{\"id\": \"a\"}]}",
        deep.as_str(),
    ] {
        let (status, problem) = refused(&service, JSON, body.to_owned()).await;
        assert_eq!((status, problem.r#type.as_str()), (400, "/problems/malformed-json"), "{body:.80}: {problem:?}");
        assert!(problem.detail.is_some(), "{body:.80}");
    }
    let (status, _) = refused(&service, JSON, b"{\"placements\": [{\"id\": \"\xff\xfe\"}]}".to_vec()).await;
    assert_eq!(status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_named_by_its_pointer() {
    let (service, _turn) = service().await;
    let placement = |more: Value| {
        let mut placement = json!({"id": "a"});
        placement.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({ "placements": [placement] })
    };
    let top = |more: Value| {
        let mut body = json!({"placements": [{"id": "a"}]});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    let many: Vec<Value> = (0..1_000).map(|n| json!({"id": n.to_string()})).collect();
    let table: Vec<(Value, &[&str])> = vec![
        (json!([]), &[""]),
        (json!("text"), &[""]),
        (json!(null), &[""]),
        (json!({}), &["/placements"]),
        (json!({"placements": []}), &["/placements"]),
        (json!({"placements": {}}), &["/placements"]),
        (json!({ "placements": many }), &["/placements"]),
        (json!({"placements": [1, null, "x"]}), &["/placements/0", "/placements/1", "/placements/2"]),
        (json!({"placements": [{}]}), &["/placements/0/id"]),
        (json!({"placements": [{"id": "a"}, {"id": "a"}]}), &["/placements/1/id"]),
        (placement(json!({"placement": "unheard-of"})), &["/placements/0/placement"]),
        (placement(json!({"placement": "No Such Id!"})), &["/placements/0/placement"]),
        (placement(json!({"count": 0})), &["/placements/0/count"]),
        (placement(json!({"count": 11})), &["/placements/0/count"]),
        (placement(json!({"count": 1.5})), &["/placements/0/count"]),
        (placement(json!({"count": -1})), &["/placements/0/count"]),
        (placement(json!({"count": 1e300})), &["/placements/0/count"]),
        (placement(json!({"sizes": ["300"]})), &["/placements/0/sizes/0"]),
        (placement(json!({"sizes": ["300x250", 7, "0x0"]})), &["/placements/0/sizes/1", "/placements/0/sizes/2"]),
        (placement(json!({"formats": ["flash"]})), &["/placements/0/formats/0"]),
        (placement(json!({"candidates": {}})), &["/placements/0/candidates"]),
        (placement(json!({"candidates": {"campaign": "a", "creative": "b"}})), &["/placements/0/candidates"]),
        (placement(json!({"click_macro": "javascript:alert(1)//"})), &["/placements/0/click_macro"]),
        (placement(json!({"floor": {"cpm": "0.5", "currency": "usd"}})), &["/placements/0/floor/currency"]),
        (placement(json!({"floor": {"cpm": 0.5, "currency": "USD"}})), &["/placements/0/floor/cpm"]),
        (placement(json!({"floor": {"cpm": "-1", "currency": "USD"}})), &["/placements/0/floor/cpm"]),
        (placement(json!({"unheard_of": 1})), &["/placements/0/unheard_of"]),
        (top(json!({"unheard_of": 1, "another": 2})), &["/unheard_of", "/another"]),
        (top(json!({"user": {"key": ""}})), &["/user/key"]),
        (top(json!({"user": {"key": "x".repeat(257)}})), &["/user/key"]),
        (top(json!({"user": {"key": 7}})), &["/user/key"]),
        (top(json!({"user": {"key": "a\u{0}b"}})), &["/user/key"]),
        (top(json!({"user": {"traits": {"Bad Name": 1}}})), &["/user/traits/Bad Name"]),
        (top(json!({"user": {"traits": [1]}})), &["/user/traits"]),
        (top(json!({"user": {"segments": ["Not An Id"]}})), &["/user/segments/0"]),
        (top(json!({"user": {"segments_mode": "replace"}})), &["/user/segments_mode"]),
        (top(json!({"context": {"geo": {"country": "Germany"}}})), &["/context/geo/country"]),
        (top(json!({"context": {"geo": {"lat": 91, "lon": 0}}})), &["/context/geo"]),
        (top(json!({"context": {"geo": {"lat": 9}}})), &["/context/geo"]),
        (top(json!({"context": {"geo": {"lat": "north", "lon": 1e308}}})), &["/context/geo/lat", "/context/geo/lon"]),
        (top(json!({"context": {"ip": "1.2.3"}})), &["/context/ip"]),
        (top(json!({"context": {"time_zone": "Mars/Olympus"}})), &["/context/time_zone"]),
        (top(json!({"context": {"data": {"x": [], "y": {}}}})), &["/context/data/x", "/context/data/y"]),
        (top(json!({"context": {"url": "u".repeat(5_000)}})), &["/context/url"]),
        (top(json!({"consent": {"asserted": ["everything"]}})), &["/consent/asserted/0"]),
        (top(json!({"consent": {"gdpr": "yes"}})), &["/consent/gdpr"]),
        (top(json!({"consent": {"gpp_sid": [99999999999_i64]}})), &["/consent/gpp_sid/0"]),
        (top(json!({"deadline_ms": 0})), &["/deadline_ms"]),
        (top(json!({"deadline_ms": 60_001})), &["/deadline_ms"]),
        (top(json!({"deadline_ms": -5})), &["/deadline_ms"]),
        (top(json!({"deadline_ms": 4294967296_i64})), &["/deadline_ms"]),
        (top(json!({"max_staleness_ms": 86_400_001})), &["/max_staleness_ms"]),
        (top(json!({"consistency_token": "latest"})), &["/consistency_token"]),
        (top(json!({"explain": "all"})), &["/explain"]),
        (top(json!({"segments": "none"})), &["/segments"]),
        (top(json!({"preview": {"seed": "abc"}})), &["/preview/seed"]),
        (top(json!({"preview": {"at": "yesterday"}})), &["/preview/at"]),
        (
            json!({"placements": [{"id": "a", "count": 0}, {"id": "b", "sizes": ["x"]}], "user": {"key": ""}, "deadline_ms": 0}),
            &["/placements/0/count", "/placements/1/sizes/0", "/user/key", "/deadline_ms"],
        ),
    ];
    for (body, pointers) in table {
        let (status, problem) = refused(&service, JSON, body.to_string()).await;
        let text: String = body.to_string().chars().take(150).collect();
        assert_eq!((status, problem.r#type.as_str()), (422, "/problems/invalid"), "{text}: {problem:?}");
        let named: Vec<&str> = problem.errors.iter().map(|fault| fault.pointer.as_str()).collect();
        for pointer in pointers {
            assert!(named.contains(pointer), "{pointer} of {text}: {problem:?}");
        }
        assert_eq!(named.len(), pointers.len(), "{text}: {problem:?}");
        assert!(problem.errors.iter().all(|fault| !fault.code.is_empty() && !fault.detail.is_empty()), "{problem:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_another_size_or_kind_are_refused() {
    let (service, _turn) = service().await;
    let body = ask("anna", "home").to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
    ] {
        assert_eq!(refused(&service, kind, body.clone()).await.0, 415, "{kind}");
    }
    let mut large = ask("anna", "home");
    large["context"]["data"] = json!({"x": "y".repeat(300 * 1024)});
    assert_eq!(refused(&service, JSON, large.to_string()).await.0, 413);
    assert_eq!(refused(&service, JSON, vec![b' '; 3 << 20]).await.0, 413);
    for (method, path, status) in [
        (Method::GET, "/v1/decisions", 405),
        (Method::PUT, "/v1/decisions", 405),
        (Method::POST, "/v1/decision", 404),
        (Method::POST, "/v1/decisions/", 404),
    ] {
        let answer = service.request(method.clone(), path).body(body.clone()).sent().await;
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_nothing_is_decided() {
    let (service, _turn) = service().await;
    let post = || service.http.post(format!("{}/v1/decisions", service.base)).json(&ask("anna", "home"));
    for request in [
        post(),
        post().bearer_auth(""),
        post().bearer_auth("wrong"),
        post().bearer_auth(format!("{KEY}x")),
        post().basic_auth(KEY, Some("")),
        post().header("authorization", KEY),
        post().header("authorization", &b"Bearer \xff\xfe"[..]),
    ] {
        let answer = request.sent().await;
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_has_changed_nothing() {
    let (service, _turn) = service().await;
    // a request that is refused for its placement reserves no capped impression
    let body = json!({
        "placements": [{"id": "a", "placement": "capped"}, {"id": "b", "placement": "unheard-of"}],
        "user": {"key": "anna"}
    });
    for _ in 0..5 {
        assert_eq!(refused(&service, JSON, body.to_string()).await.0, 422);
    }
    assert_eq!(service.item("anna", "capped").await["campaign"], "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_goes_meanwhile_takes_its_own_rows_alone() {
    let _turn = turn(1).await;
    let database = crate::cluster().await.database().await;
    let service = Service::start(&database, |_| {}).await;
    let photo = json!({"src": "https://cdn.northwind.example/h.png", "alt": "A shoe"});
    let template = json!({"name": "Photo", "format": "html", "size": "300x250",
        "markup": "<body><a href=\"{{click_url}}\"><img src=\"{{hero.src}}\" alt=\"{{hero.alt}}\"></a></body>",
        "slots": {"hero": {"type": "image", "default": photo}}});
    service.put("/v1/templates/photo", &template).await;
    let creative = json!({"name": "Photo", "advertiser": "northwind", "templates": ["photo"]});
    service.put("/v1/creatives/photo", &creative).await;
    let image = include_bytes!("../../creatives/demo/assets/mark-dark.png");
    let kept = read(service.request(Method::POST, "/v1/assets").body(image.to_vec()).sent().await, 201).await;
    let url = kept["url"].as_str().expect("a path").to_owned();

    // whoever commits waits for the row of the account
    let mut author = PgConnection::connect(&database).await.expect("a connection");
    let mut looker = PgConnection::connect(&database).await.expect("a connection");
    let mut held = author.begin().await.expect("a transaction");
    sqlx::query("select from account for update").execute(&mut *held).await.expect("rows");
    let table =
        format!("id,slot,value.src,value.alt\ngone,hero,{url},x\nstays,hero,https://cdn.northwind.example/s.png,x\n");
    let sent =
        service.request(Method::POST, "/v1/creatives/photo/components").header(CONTENT_TYPE, "text/csv").body(table);
    let sent = tokio::spawn(async move { read(sent.sent().await, 200).await });
    let waits = "select count(*) from pg_stat_activity where datname = current_database() \
                 and wait_event_type = 'Lock' and query like 'select catalog_version%for update'";
    loop {
        let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&mut looker).await.expect("a count");
        if waiting > 0 {
            break;
        }
        assert!(!sent.is_finished(), "it did not wait");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    sqlx::query("delete from asset").execute(&mut *held).await.expect("rows");
    held.commit().await.expect("committed");
    let taken = sent.await.expect("no panic");
    assert_eq!((&taken["created"], &taken["rejected"]), (&json!(1), &json!(1)), "{taken}");
    let fault = &taken["errors"][0];
    assert_eq!(
        (&fault["line"], &fault["column"], &fault["code"]),
        (&json!(2), &json!("value.src"), &json!("unknown_asset"))
    );
}
