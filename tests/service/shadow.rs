//! Tags in shadow mode, beside those of another ad server, and the report on them.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpListener;

use crate::{
    browser::{serve, visit},
    cluster,
    harness::{Patient as _, Service, ask, read, until},
    service, turn,
};

async fn shadowed(service: &Service, query: &str) -> String {
    let answer = service.http.get(format!("{}/v1/tags/default/home.html?shadow=1&{query}", service.base)).sent().await;
    let policy = answer.headers()["content-security-policy"].to_str().expect("ASCII").to_owned();
    assert!(policy.contains("script-src 'sha256-") && policy.contains("sandbox allow-scripts"), "{policy}");
    let (status, text) = (answer.status().as_u16(), answer.text().await.expect("a body"));
    assert_eq!(status, 200, "{text}");
    for shown in ["Hello", "href=", "/v1/i/", "<img", "postMessage"] {
        assert!(!text.contains(shown), "{text}");
    }
    let at = text.find("data-to=\"").expect("where to tell") + 9;
    text[at..].split('"').next().expect("an end").to_owned()
}

async fn told(service: &Service, to: &str, ms: &str) {
    let answer = service.http.get(format!("{to}?ms={ms}")).sent().await;
    assert_eq!(answer.headers()["content-type"], "image/gif");
    assert!(answer.bytes().await.expect("a pixel").starts_with(b"GIF89a"));
}

async fn token(service: &Service, user: &str) -> String {
    let made = service.request(Method::POST, &format!("/v1/profiles/{user}/token"));
    let made: Value = read(made.json(&json!({"ttl_seconds": 600})).sent().await, 200).await;
    made["user_token"].as_str().expect("a token").to_owned()
}

async fn report(service: &Service, query: &str) -> Value {
    read(service.request(Method::GET, &format!("/v1/reports/shadow{query}")).sent().await, 200).await
}

async fn line(service: &Service, line_item: &str) -> Value {
    let report = report(service, "").await;
    let lines = report["line_items"].as_array().expect("lines");
    lines.iter().find(|line| line["line_item"] == line_item).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_tells_what_would_have_been_shown_and_by_which_rule() {
    let _turn = turn(1).await;
    let database = cluster().await.database().await;
    let service = Service::start(&database, |_| {}).await;
    service.patch("anna", &json!({"age": 34})).await;
    service.patch("carl", &json!({"age": 12})).await;
    service.patch("cleo", &json!({"age": 50})).await;
    let members = service.request(Method::POST, "/v1/segments/vip/members").json(&json!({"add": ["cleo", "dora"]}));
    read(members.sent().await, 200).await;
    let mut tokens = Vec::new();
    for user in ["anna", "carl", "cleo", "dora"] {
        tokens.push(token(&service, user).await);
        service.decide(&ask(user, "home")).await;
    }
    let [anna, carl, cleo, dora] = tokens.try_into().expect("four");
    // three of anna, of which a browser tells twice of two; repeats and oddities count once and not at all
    let first = shadowed(&service, &format!("line_item=6001&user_token={anna}")).await;
    let second = shadowed(&service, &format!("line_item=6001&user_token={anna}")).await;
    shadowed(&service, &format!("line_item=6001&user_token={anna}")).await;
    for (to, ms) in [(&first, "40"), (&first, "9000"), (&second, "120"), (&second, "-1")] {
        told(&service, to, ms).await;
    }
    told(&service, &format!("{}x", &second), "7").await;
    service.http.head(format!("{second}?ms=3")).sent().await;
    let (rest, dead) = (shadowed(&service, &format!("line_item=6001&user_token={carl}")).await, "600001");
    told(&service, &rest, dead).await;
    shadowed(&service, &format!("line_item=6002&user_token={cleo}")).await;
    shadowed(&service, &format!("line_item=6002&user_token={dora}")).await;
    // nobody named, and a macro that no ad server filled in
    shadowed(&service, "line_item=%eaid!").await;
    let first = line(&service, "6001").await;
    assert_eq!(
        first,
        json!({
            "line_item": "6001", "requests": 4, "impressions": 2, "discrepancy": 0.5, "personalised": 4,
            "personalised_share": 1.0, "latency_ms": {"p50": 40, "p95": 120, "p99": 120},
            "different": {"requests": 3, "share": 0.75, "people": 1,
                "by": [{"rule": "segment:adults", "requests": 3, "people": 1}]}
        })
    );
    let second = line(&service, "6002").await;
    assert_eq!(second["different"]["people"], 2, "{second}");
    let by = |rule: &str| {
        let rules = second["different"]["by"].as_array().expect("rules").iter();
        rules.clone().find(|by| by["rule"] == rule).map(|by| by["requests"].clone())
    };
    assert_eq!((by("segment:vip"), by("segment:adults")), (Some(json!(2)), Some(json!(1))), "{second}");
    assert!(second["latency_ms"].is_null() && second["impressions"] == 0, "{second}");
    let all = report(&service, "").await;
    let nameless = all["line_items"].as_array().expect("lines").iter().find(|line| line["line_item"].is_null());
    assert_eq!(nameless.expect("the one without a name")["requests"], 1);
    assert_eq!(all["complete"], true);
    // who they are
    let people = async |query: &str| {
        let path = format!("/v1/reports/shadow/people{query}");
        let page = read(service.request(Method::GET, &path).sent().await, 200).await;
        let names = page["items"].as_array().expect("people").iter().map(|one| one["user"].as_str().map(str::to_owned));
        (names.map(Option::unwrap).collect::<Vec<_>>(), page["next"].clone())
    };
    assert_eq!(people("").await, (vec!["anna".into(), "cleo".into(), "dora".into()], Value::Null));
    assert_eq!(people("?rule=segment:vip").await.0, ["cleo", "dora"]);
    assert_eq!(people("?rule=segment:adults&line_item=6002").await.0, ["cleo"]);
    assert_eq!(people("?limit=1").await, (vec!["anna".into()], json!("anna")));
    assert_eq!(people("?limit=1&after=anna").await.0, ["cleo"]);
    // beside what the other ad server counted
    let compared = |body: &'static str| {
        let request = service.request(Method::POST, "/v1/reports/shadow").header("content-type", "text/csv");
        request.body(body)
    };
    let beside = compared("day,impressions,line_item\n1,2,6001\n2,2,6001\n1,7,6003\n");
    let beside: Value = read(beside.sent().await, 200).await;
    let found = |name: &str| {
        let lines = beside["line_items"].as_array().expect("lines").iter();
        lines.clone().find(|line| line["line_item"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(found("6001")["incumbent"], json!({"impressions": 4, "discrepancy": 0.5}));
    assert_eq!(found("6003")["requests"], 0);
    assert_eq!(found("6003")["incumbent"], json!({"impressions": 7, "discrepancy": 1.0}));
    assert!(found("6002")["incumbent"].is_null());
    let refused = read(compared("line_item,impressions\n6001,1'000\n%eaid!,3\n").sent().await, 422).await;
    let pointers = refused["errors"].as_array().expect("faults").iter().map(|fault| fault["pointer"].as_str());
    assert_eq!(pointers.flatten().collect::<Vec<_>>(), ["/2/impressions", "/3/line_item"]);
    read(compared("line_item\n6001\n").sent().await, 422).await;
    let json = service.request(Method::POST, "/v1/reports/shadow").json(&json!({}));
    read(json.sent().await, 415).await;
    let table = service.request(Method::GET, "/v1/reports/shadow").header("accept", "text/csv").sent().await;
    assert_eq!(table.headers()["content-type"], "text/csv; charset=utf-8; header=present");
    let table = table.text().await.expect("a table");
    assert!(
        table.contains("\r\nline_item,6001,,4,2,0.5,,,4,1,40,120,120,3,0.75,1\r\nrule,6001,segment:adults,"),
        "{table}"
    );
    for wrong in ["?from=2026-01-01&to=2026-11-22", "?from=2026-11-22&to=2026-11-21", "?rules=x"] {
        let asked = service.request(Method::GET, &format!("/v1/reports/shadow{wrong}"));
        read(asked.sent().await, 422).await;
    }
    let odd = service.request(Method::GET, "/v1/reports/shadow/people?rule=vip");
    assert_eq!(read(odd.sent().await, 422).await["errors"][0]["pointer"], "/rule");

    // nothing of it counted, but for the report
    let mut connection = PgConnection::connect(&database).await.expect("a connection");
    let mut count =
        async |sql: &'static str| -> i64 { sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("a count") };
    assert_eq!(count("select count(*) from outcome").await, 0);
    assert_eq!(count("select count(*) from lesson").await + count("select count(*) from decision_log").await, 0);
    assert_eq!(count("select count(*) from shadow_decision").await, 7);
    // an erased person is no longer told of, nor counted as one
    read(service.request(Method::DELETE, "/v1/profiles/cleo").sent().await, 200).await;
    assert_eq!(people("?rule=segment:vip").await.0, ["dora"]);
    assert_eq!(line(&service, "6002").await["different"]["people"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_reserves_and_counts_nothing_towards_caps() {
    let (service, _turn) = service().await;
    let token = token(&service, "anna").await;
    service.patch("anna", &json!({"age": 34})).await;
    for _ in 0..3 {
        let tag = format!("{}/v1/tags/default/capped.html?shadow=1&user_token={token}", service.base);
        assert_eq!(service.http.get(tag).sent().await.status(), 200);
    }
    assert_eq!(service.item("anna", "capped").await["campaign"], "once", "still to be shown for the first time");
    assert_eq!(service.item("anna", "capped").await["status"], "no_fill", "and then no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_consent_a_shadow_keeps_nobody() {
    let _turn = turn(1).await;
    let database = cluster().await.database().await;
    let service = Service::start(&database, |_| {}).await;
    service.patch("anna", &json!({"age": 34})).await;
    let token = token(&service, "anna").await;
    for forbids in ["&gdpr=1", "&us_privacy=1YYN", "&gpp_sid=7", "&gdpr_consent=junk"] {
        let to = shadowed(&service, &format!("line_item=6001&user_token={token}{forbids}")).await;
        told(&service, &to, "30").await;
    }
    // nor does a bare name name anybody
    shadowed(&service, "line_item=6001&user=anna&user_token=anna").await;
    let line = line(&service, "6001").await;
    assert_eq!((&line["requests"], &line["impressions"], &line["personalised"]), (&json!(5), &json!(4), &json!(0)));
    assert_eq!(line["different"], json!({"requests": 0, "share": 0.0, "people": 0, "by": []}));
    let mut connection = PgConnection::connect(&database).await.expect("a connection");
    let named: i64 = sqlx::query_scalar("select count(*) from shadow_decision where person is not null")
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    assert_eq!(named, 0);
    // a player is told that there is nothing
    let video = service.http.get(format!("{}/v1/tags/default/home.xml?shadow=1&line_item=9", service.base));
    let video = video.sent().await.text().await.expect("a document");
    assert!(video.contains("<VAST") && !video.contains("<Ad "), "{video}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_runs_unseen_on_a_page_of_another_origin() {
    let found = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    let Some(browser) = found.into_iter().find(|path| Path::new(path).exists()) else {
        eprintln!("no chromium: the shadow was not tried");
        return;
    };
    let (service, _turn) = service().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let html = format!(
        "<!doctype html><body><p id=\"incumbent\">Theirs</p>\
         <script src=\"{}/v1/tags/default/home.js?shadow=1&amp;line_item=6001&amp;backup=https://backup.example/b.png\"></script>",
        service.base
    );
    tokio::spawn(serve(listener, html));
    let shown = visit(browser, url).await;
    assert!(shown.contains("Theirs") && shown.contains("display: none"), "{shown}");
    assert!(!shown.contains("<img"), "{shown}");
    until("the browser told", || async { line(&service, "6001").await["impressions"] == 1 }).await;
    let line = line(&service, "6001").await;
    assert_eq!((&line["requests"], &line["discrepancy"]), (&json!(1), &json!(0.0)), "{line}");
    assert!(line["latency_ms"]["p99"].as_u64().is_some_and(|ms| ms < 10_000), "{line}");
}
