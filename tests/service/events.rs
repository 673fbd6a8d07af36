//! Events over HTTP: what is kept, what is refused, and what decisions know of it.

use std::{io::Write as _, time::Duration};

use reqwest::{Method, Response};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::{
    harness::{Patient as _, Remote, Service, ask, read, until},
    turn,
};

/// Sends events; the answer must be one.
pub(crate) async fn send(remote: &Remote, body: &Value) -> Value {
    read(remote.request(Method::POST, "/v1/events").json(body).sent().await, 200).await
}

async fn send_text(remote: &Remote, kind: &str, body: impl Into<reqwest::Body>) -> Response {
    remote.request(Method::POST, "/v1/events").header("content-type", kind).body(body).sent().await
}

/// Accepted, duplicates, late, rejected.
pub(crate) fn counts(answer: &Value) -> [u64; 4] {
    ["accepted", "duplicates", "late", "rejected_count"].map(|name| answer[name].as_u64().expect("a count"))
}

async fn kept(database: &str) -> i64 {
    let mut connection = PgConnection::connect(database).await.expect("a connection");
    sqlx::query_scalar("select count(*) from event").fetch_one(&mut connection).await.expect("a count")
}

/// RFC 3339, so many milliseconds from the service's now.
fn ahead(service: &Service, ms: i64) -> String {
    service.server.engine().clock.now().plus(ms).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_several_or_a_line_each() {
    let (service, _turn) = crate::service().await;
    let one = json!({"user": "anna", "type": "viewed"});
    let answer = send(&service, &one).await;
    assert_eq!(counts(&answer), [1, 0, 0, 0]);
    assert!(answer["consistency_token"].as_str().is_some_and(|token| token.starts_with('v')), "{answer}");
    let several =
        json!([{"id": "1", "user": "anna", "type": "viewed"}, {"id": "2", "user": "ben", "type": "viewed"}, one]);
    let answer = send(&service, &several).await;
    assert_eq!(counts(&answer), [2, 1, 0, 0], "without an id the same item counts once");
    assert!(answer["consistency_token"].as_str().is_some_and(|token| token.starts_with('x')), "{answer}");
    assert_eq!(counts(&send(&service, &json!([])).await), [0; 4]);

    let lines: String =
        (0..5_000).map(|n| format!("{{\"id\":\"n-{n}\",\"user\":\"u-{}\",\"type\":\"viewed\"}}\n", n % 97)).collect();
    for (new, old) in [(5_000, 0), (0, 5_000)] {
        let answer = read(send_text(&service, "application/x-ndjson", lines.clone()).await, 200).await;
        assert_eq!(counts(&answer), [new, old, 0, 0]);
    }
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer
        .write_all(format!("{lines}{{\"id\":\"new\",\"user\":\"anna\",\"type\":\"viewed\"}}").as_bytes())
        .expect("packed");
    let request = service.request(Method::POST, "/v1/events").header("content-type", "application/x-ndjson");
    let packed = request.header("content-encoding", "gzip").body(packer.finish().expect("packed"));
    assert_eq!(counts(&read(packed.sent().await, 200).await), [1, 5_000, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_is_named_and_stops_nothing_else() {
    let (service, _turn) = crate::service().await;
    let good = |id: &str| json!({"id": id, "user": "anna", "type": "viewed"});
    let bad = [
        (json!({"user": "anna"}), "/type"),
        (json!({"user": "anna", "type": "Viewed"}), "/type"),
        (json!({"user": "", "type": "viewed"}), "/user"),
        (json!({"user": "anna", "type": "viewed", "at": "yesterday"}), "/at"),
        (json!({"user": "anna", "type": "viewed", "at": ahead(&service, 400_000)}), "/at"),
        (json!({"user": "anna", "type": "viewed", "id": ""}), "/id"),
        (json!({"user": "anna", "type": "viewed", "id": "x".repeat(129)}), "/id"),
        (json!({"user": "anna", "type": "viewed", "properties": []}), "/properties"),
        (json!({"user": "anna", "type": "viewed", "more": 1}), "/more"),
        (json!({"user": "anna", "type": "viewed", "properties": {"text": "x".repeat(70_000)}}), ""),
        (json!(7), ""),
    ];
    let mut body = vec![good("a")];
    body.extend(bad.iter().map(|(item, _)| item.clone()));
    body.push(good("b"));
    let answer = send(&service, &json!(body)).await;
    assert_eq!(counts(&answer), [2, 0, 0, bad.len() as u64], "{answer:#}");
    for (at, (item, pointer)) in bad.iter().enumerate() {
        let found = answer["rejected"].as_array().expect("a list").iter();
        let mut found = found.filter(|fault| fault["index"] == at as u64 + 1).map(|fault| fault["pointer"].as_str());
        assert_eq!(found.next().flatten(), Some(*pointer), "{item} in {answer:#}");
    }
    // the same line by line, and a line that is no JSON
    let lines = body.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\n{\n\u{ff}";
    let answer = read(send_text(&service, "application/x-ndjson", lines).await, 200).await;
    assert_eq!(counts(&answer), [0, 2, 0, bad.len() as u64 + 2], "{answer:#}");

    read(send_text(&service, "application/json", "[{\"user\"").await, 400).await;
    read(send_text(&service, "text/plain", "{}").await, 415).await;
    read(send_text(&service, "application/json", format!("[{}]", " ".repeat(2 << 20))).await, 413).await;
    let scoped = service
        .request(Method::PUT, "/v1/keys/decider")
        .header("if-none-match", "*")
        .json(&json!({"scopes": ["decide"]}))
        .sent()
        .await;
    let key = read(scoped, 201).await["secret"].as_str().expect("a secret").to_owned();
    let request = service.http.post(format!("{}/v1/events", service.base)).bearer_auth(key).json(&good("c"));
    read(request.sent().await, 403).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_events_count_at_their_own_time_or_not_at_all() {
    let (service, _turn) = crate::service().await;
    let day = 86_400_000;
    let event = |at: String| json!({"user": "anna", "type": "viewed", "at": at});
    let body = json!([
        event(ahead(&service, -29 * day)),
        event(ahead(&service, -31 * day)),
        event(ahead(&service, 60_000)),
        {"user": "anna", "type": "viewed", "at": ahead(&service, -31 * day), "sent_at": ahead(&service, -31 * day)},
    ]);
    assert_eq!(counts(&send(&service, &body).await), [3, 0, 1, 0]);
    assert_eq!(counts(&send(&service, &body).await), [0, 4, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_many_lines_names_a_version_only_of_one_person() {
    let (service, _turn) = crate::service().await;
    // more than one batch
    let lines = |user: &str, name: &str| {
        (0..2_000)
            .map(|n| format!("{{\"id\":\"{name}-{n}\",\"user\":\"{user}\",\"type\":\"t\"}}\n"))
            .collect::<String>()
    };
    let token = async |text: String| {
        let answer = read(send_text(&service, "application/x-ndjson", text).await, 200).await;
        assert_eq!(counts(&answer), [4_000, 0, 0, 0]);
        answer["consistency_token"].as_str().expect("a token").to_owned()
    };
    assert!(token(lines("one", "a") + &lines("one", "b")).await.starts_with('v'));
    let two = token(lines("one", "c") + &lines("two", "d")).await;
    assert!(two.starts_with('x'), "{two}");
    let mut body = crate::harness::ask("two", "home");
    body["consistency_token"] = json!(two);
    let item = service.decide(&body).await["placements"]["top"][0].take();
    assert_eq!(item["degraded"], json!([]), "{item:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replays_never_count_twice() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let replicas = [Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await];
    let body: Vec<Value> = (0..60)
        .map(|n| json!({"id": format!("order-{n}"), "user": format!("u-{}", n % 7), "type": "purchase", "properties": {"value": n}}))
        .collect();
    let sends = (0..24).map(|at| {
        let mut body = body.clone();
        body.rotate_left(at * 7 % 60);
        let request = replicas[at % 2].request(Method::POST, "/v1/events").json(&body);
        tokio::spawn(async move { counts(&read(request.sent().await, 200).await) })
    });
    let mut sum = [0; 4];
    for send in sends.collect::<Vec<_>>() {
        for (sum, count) in sum.iter_mut().zip(send.await.expect("no panic")) {
            *sum += count;
        }
    }
    assert_eq!((sum, kept(&database).await), ([60, 23 * 60, 0, 0], 60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_answered_about_is_known_on_every_replica() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        let people = [format!("anna-{round}"), format!("ben-{round}")];
        for (replica, user) in [(&a, 0), (&a, 1), (&b, 0), (&b, 1)] {
            assert_eq!(replica.decide(&ask(&people[user], "home")).await["user"]["known"], false);
        }
        // of one person the token names a version, of two a transaction
        let views = people[..1 + round % 2].iter().map(|user| json!({"user": user, "type": "viewed"}));
        let views: Vec<Value> = views.collect();
        let answer = send(&a, &json!(views)).await;
        for user in &people[..views.len()] {
            assert_eq!(
                a.decide(&ask(user, "home")).await["user"]["known"],
                true,
                "what is answered holds here at once"
            );
            let mut body = ask(user, "home");
            body["consistency_token"] = answer["consistency_token"].clone();
            let decided = b.decide(&body).await;
            assert_eq!(
                (&decided["user"]["known"], &decided["placements"]["top"][0]["degraded"]),
                (&json!(true), &json!([]))
            );
        }
        send(&a, &json!({"user": people[1], "type": "viewed", "id": people[1]})).await;
        let known = || async { b.decide(&ask(&people[1], "home")).await["user"]["known"] == true };
        slowest = slowest.max(until("the other replica knows", known).await);
    }
    println!("people were known on the other replica after at most {slowest:?} (20 people)");
    // a transaction that is yet to come is not reached
    let mut body = ask("anna-0", "home");
    body["consistency_token"] = json!("v99");
    assert_eq!(b.decide(&body).await["placements"]["top"][0]["degraded"], json!(["token_not_reached"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_erased_do_not_come_back_by_events() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    let view = |id: &str| json!({"id": id, "user": "anna", "type": "viewed"});
    send(&a, &json!([view("1"), view("2")])).await;
    let erased = a.request(Method::DELETE, "/v1/profiles/anna?events=now").sent().await;
    assert_eq!(read(erased, 200).await["events"], "now");
    assert_eq!(kept(&database).await, 0);
    let mut late = view("3");
    late["at"] = json!(ahead(&a, -40 * 86_400_000));
    for replica in [&a, &b] {
        let answer = send(replica, &json!([view("1"), view("2"), late])).await;
        assert_eq!(answer["accepted"], 0);
        assert_eq!(answer["late"], 0);
        let known = || async { replica.decide(&ask("anna", "home")).await["user"]["known"] == true };
        until("nobody knows her", || async { !known().await }).await;
    }
    let answer = send(&b, &view("4")).await;
    assert_eq!((&answer["rejected"][0]["pointer"], counts(&answer)), (&json!("/user"), [0, 0, 0, 1]));
    assert_eq!(kept(&database).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_amount_that_is_taken_is_added_up() {
    let (service, _turn) = crate::service().await;
    let sum = |of: &str, least: f64| json!({"event": "paid", "sum": {"of": of, "is": {"gte": least}}, "in": {"last": "P30D"}});
    for (name, rule) in [
        ("whale", sum("value", 1_800_000_000_000.0)),
        ("exact", sum("value", 20_000_000_000.25)),
        ("taxed", sum("tax", 1.0)),
    ] {
        let segment = json!({"name": name, "rule": {"v": 1, "kind": "dynamic", "match": rule}});
        service.put(&format!("/v1/segments/{name}"), &segment).await;
    }
    until("the segments are live", || async {
        let status = service.request(Method::GET, "/v1/segments/taxed/status").sent().await;
        read(status, 200).await["state"] == "live"
    })
    .await;
    let paid = |user: &str, n: u32, properties: Value| json!({"id": format!("{user}-{n}"), "user": user, "type": "paid", "properties": properties});
    // more than the sum of 64 bits of millionths, and between what was once silently left out
    let mut events: Vec<Value> = (0..40).map(|n| paid("anna", n, json!({"value": 9e11}))).collect();
    events.push(paid("ben", 0, json!({"value": 15_000_000_000_i64})));
    events.push(paid("ben", 1, json!({"value": 5_000_000_000.25})));
    events.push(paid("carla", 0, json!({"value": 15_000_000_000_i64})));
    events.push(paid("carla", 1, json!({"value": 900_000_000_001_i64, "tax": 0.000_000_1})));
    events.push(paid("carla", 2, json!({"value": {"amount": "1"}, "tax": 1})));
    let answer = send(&service, &json!(events)).await;
    assert_eq!(counts(&answer), [43, 0, 0, 2], "{answer:#}");
    let rejected = answer["rejected"].as_array().expect("a list").iter();
    let rejected: Vec<_> = rejected.map(|fault| (fault["index"].clone(), fault["pointer"].clone())).collect();
    let fault = |index: u64, property: &str| (json!(index), json!(format!("/properties/{property}")));
    assert_eq!(rejected, [fault(43, "tax"), fault(43, "value"), fault(44, "value")]);
    for (user, segments) in [("anna", vec!["exact", "whale"]), ("ben", vec!["exact"]), ("carla", vec![])] {
        let read = read(service.request(Method::GET, &format!("/v1/profiles/{user}/segments")).sent().await, 200).await;
        let found = read["segments"].as_array().expect("segments").iter().map(|one| one["key"].as_str());
        let mut found: Vec<_> = found.flatten().filter(|key| ["exact", "taxed", "whale"].contains(key)).collect();
        found.sort_unstable();
        assert_eq!(found, segments, "{user}: {read:#}");
    }
}
