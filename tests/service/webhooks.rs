//! Webhooks: from somebody's event to a receiver that believes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tessera::{config::Config, domain::webhook::Secret};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

use crate::{
    events::send,
    harness::{Patient as _, Service, read, until},
};

/// A request as the receiver saw it.
#[derive(Clone)]
struct Delivery {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    answered: u16,
}

impl Delivery {
    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    fn moves(&self) -> Vec<Value> {
        let body: Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_eq!(body["type"], "segment.transitions");
        body["data"]["transitions"].as_array().expect("transitions").clone()
    }

    fn is_signed_with(&self, secret: &Secret) -> bool {
        let timestamp = self.headers["webhook-timestamp"].parse().expect("a number");
        let expected = secret.sign(self.id(), timestamp, &self.body);
        self.headers["webhook-signature"].split(' ').any(|signature| signature == expected)
    }
}

/// What stands for no answer at all.
const HANGS: u16 = 0;

/// Somebody else's server, which answers as `answers` says, then 204.
struct Receiver {
    url: String,
    seen: Arc<Mutex<Vec<Delivery>>>,
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Receiver {
    async fn start(answers: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/in", listener.local_addr().expect("an address"));
        let receiver = Self { url, seen: Arc::default(), answers: Arc::new(Mutex::new(answers.to_vec())) };
        let (seen, answers) = (Arc::clone(&receiver.seen), Arc::clone(&receiver.answers));
        tokio::spawn(async move {
            loop {
                let stream = listener.accept().await.expect("a caller").0;
                tokio::spawn(serve(stream, Arc::clone(&seen), Arc::clone(&answers)));
            }
        });
        receiver
    }

    fn seen(&self) -> Vec<Delivery> {
        self.seen.lock().expect("a lock").clone()
    }

    /// Everything accepted, by the id of its message.
    fn accepted(&self) -> BTreeMap<String, Vec<Value>> {
        let accepted = self.seen().into_iter().filter(|one| one.answered == 204);
        accepted.map(|one| (one.id().to_owned(), one.moves())).collect()
    }

    fn users(&self) -> BTreeSet<String> {
        let moves = self.accepted().into_values().flatten();
        moves.map(|one| one["user"].as_str().expect("a user").to_owned()).collect()
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Delivery>>>, answers: Arc<Mutex<Vec<u16>>>) {
    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
    let end = loop {
        let count = stream.read(&mut piece).await.expect("bytes");
        read.extend_from_slice(&piece[..count]);
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8(read[..end].to_vec()).expect("text");
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let length: usize = headers["content-length"].parse().expect("a length");
    while read.len() < end + 4 + length {
        let count = stream.read(&mut piece).await.expect("bytes");
        read.extend_from_slice(&piece[..count]);
    }
    let answered = {
        let mut answers = answers.lock().expect("a lock");
        if answers.is_empty() { 204 } else { answers.remove(0) }
    };
    seen.lock().expect("a lock").push(Delivery { headers, body: read[end + 4..].to_vec(), answered });
    if answered == HANGS {
        return std::future::pending().await;
    }
    // whoever called may have gone
    let _ = stream.write_all(format!("HTTP/1.1 {answered} X\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
}

fn quick(config: &mut Config) {
    config.webhooks.first_retry_ms = 50;
}

/// A segment of whoever looked at something twice.
async fn segment(service: &Service, key: &str) {
    let twice = json!({"event": "viewed", "count": {"gte": 2}, "in": {"last": "P30D"}});
    let rule = json!({"v": 1, "kind": "dynamic", "match": twice});
    service.put(&format!("/v1/segments/{key}"), &json!({"name": "Keen", "rule": rule})).await;
    let path = format!("/v1/segments/{key}/status");
    until("the segment has its history", || async {
        read(service.request(Method::GET, &path).sent().await, 200).await["state"] == "live"
    })
    .await;
}

async fn look(service: &Service, user: &str) {
    let event = |n: u32| json!({"id": format!("{user}-{n}"), "user": user, "type": "viewed", "properties": {}});
    send(service, &json!([event(1), event(2)])).await;
}

async fn webhook(service: &Service, id: &str) -> Value {
    read(service.request(Method::GET, &format!("/v1/webhooks/{id}")).sent().await, 200).await
}

async fn change(service: &Service, id: &str, tag: &str, document: &Value, status: u16) -> Value {
    let request = service.request(Method::PUT, &format!("/v1/webhooks/{id}")).header("if-match", tag).json(document);
    read(request.sent().await, status).await
}

async fn own(tune: impl FnOnce(&mut Config)) -> (Service, String, tokio::sync::SemaphorePermit<'static>) {
    let turn = crate::turn(1).await;
    let database = crate::cluster().await.database().await;
    (Service::start(&database, tune).await, database, turn)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_signed_and_sent_until_it_is_accepted() {
    let (service, _, _turn) = own(quick).await;
    segment(&service, "keen").await;
    let receiver = Receiver::start(&[500, 500]).await;
    let document = json!({"url": receiver.url, "segments": ["keen"], "kinds": ["entered"]});
    let made = service.put("/v1/webhooks/crm", &document).await;
    let secret: Secret = made["secret"].as_str().expect("a secret").parse().expect("a secret");
    assert_eq!((&made["state"], &made["document"]["status"]), (&json!("delivering"), &json!("active")));
    look(&service, "u-1").await;
    until("the batch is accepted", || async { !receiver.accepted().is_empty() }).await;
    let seen = receiver.seen();
    assert_eq!(seen.iter().map(|one| one.answered).collect::<Vec<_>>(), [500, 500, 204]);
    assert!(seen.iter().all(|one| one.id() == seen[0].id() && one.body == seen[0].body), "one message");
    assert!(seen.iter().all(|one| one.is_signed_with(&secret) && one.headers["content-type"] == "application/json"));
    let moves = seen[2].moves();
    assert_eq!(moves.len(), 1);
    assert_eq!(
        (&moves[0]["user"], &moves[0]["event"], &moves[0]["segment"]),
        (&json!("u-1"), &json!("entered"), &json!("keen"))
    );

    until("it has recovered", || async { webhook(&service, "crm").await["failures"] == 0 }).await;
    let fares = webhook(&service, "crm").await;
    assert_eq!((&fares["state"], &fares["backlog"]), (&json!("delivering"), &json!(0)), "{fares:#}");
    assert_eq!(fares["last_failure"]["status"], 500);
    assert!(fares["last_success_at"].as_str() >= fares["last_failure"]["at"].as_str() && fares["secret"].is_null());

    // both secrets sign for a day
    let turned = service.request(Method::POST, "/v1/webhooks/crm/rotate").sent().await;
    let turned = read(turned, 200).await;
    let fresh: Secret = turned["secret"].as_str().expect("a secret").parse().expect("a secret");
    look(&service, "u-2").await;
    until("the next is accepted", || async { receiver.accepted().len() == 2 }).await;
    let last = receiver.seen().pop().expect("a delivery");
    assert!(last.is_signed_with(&secret) && last.is_signed_with(&fresh) && fresh != secret);
    assert_eq!(webhook(&service, "crm").await["old_secret_until"], turned["old_secret_until"]);
    // leaving is not told
    service.request(Method::DELETE, "/v1/profiles/u-2").sent().await;
    look(&service, "u-3").await;
    until("the third is accepted", || async { receiver.accepted().len() == 3 }).await;
    assert_eq!(receiver.seen().len(), 5);
    service.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_delivered_after_a_crash_and_by_one_replica() {
    let turn = crate::turn(2).await;
    let database = crate::cluster().await.database().await;
    let first = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let started = {
        let database = database.clone();
        first.spawn(async move { Service::start(&database, quick).await })
    };
    let service = started.await.expect("no panic");
    segment(&service, "keen").await;
    // Nothing is accepted while this one runs, and its last delivery is never answered.
    let receiver = Receiver::start(&[503, 503, HANGS]).await;
    service.put("/v1/webhooks/crm", &json!({"url": receiver.url, "status": "paused"})).await;
    for user in 0..150 {
        look(&service, &format!("u-{user}")).await;
    }
    until("all wait", || async { webhook(&service, "crm").await["backlog"] == 150 }).await;
    assert!(receiver.seen().is_empty(), "it is paused");
    change(&service, "crm", "*", &json!({"url": receiver.url}), 200).await;
    until("the third is under way", || async { receiver.seen().len() == 3 }).await;
    assert_eq!(webhook(&service, "crm").await["state"], "failing");
    let before = receiver.seen();
    // No good-bye: whatever it was doing is left as it is.
    first.shutdown_background();
    std::mem::forget(service);
    let mut connection = PgConnection::connect(&database).await.expect("a connection");
    let held = "update webhook set claimed_until = 0 where claimed_until > 0";
    let held = sqlx::query(held).execute(&mut connection).await.expect("an answer").rows_affected();
    assert_eq!(held, 1, "its claim would have run out later");
    let (one, two) = tokio::join!(Service::start(&database, quick), Service::start(&database, quick));
    until("everybody is told", || async { receiver.users().len() == 150 }).await;
    let accepted: Vec<_> = receiver.seen().into_iter().filter(|one| one.answered == 204).collect();
    let ids: BTreeSet<_> = accepted.iter().map(|one| one.id().to_owned()).collect();
    assert_eq!(ids.len(), accepted.len(), "nothing is sent again once it is accepted");
    assert_eq!(accepted.iter().map(|one| one.moves().len()).sum::<usize>(), 150);
    assert!(accepted.iter().all(|one| one.moves().len() <= 100));
    assert!(before.iter().all(|one| one.id() == before[0].id()) && ids.contains(before[0].id()), "it keeps its id");
    until("nothing waits", || async { webhook(&one, "crm").await["backlog"] == 0 }).await;
    assert_eq!(webhook(&two, "crm").await["state"], "delivering");
    one.server.shutdown().await;
    two.server.shutdown().await;
    drop(turn);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_gone_is_left_alone() {
    let (service, _, _turn) = own(quick).await;
    segment(&service, "keen").await;
    let receiver = Receiver::start(&[410]).await;
    let document = json!({"url": receiver.url, "segments": ["keen"]});
    let made = service.put("/v1/webhooks/crm", &document).await;
    look(&service, "u-1").await;
    until("it is paused", || async { webhook(&service, "crm").await["state"] == "paused" }).await;
    let fares = webhook(&service, "crm").await;
    assert_eq!(
        (&fares["paused_by"], &fares["last_failure"]["status"], &fares["backlog"]),
        (&json!("gone"), &json!(410), &json!(1))
    );
    assert!(fares["version"].as_i64() > made["version"].as_i64(), "whoever read it before has to look again");
    look(&service, "u-2").await;
    until("both wait", || async { webhook(&service, "crm").await["backlog"] == 2 }).await;
    assert_eq!(receiver.seen().len(), 1);
    change(&service, "crm", &format!("\"{}\"", made["version"]), &document, 412).await;
    let back = change(&service, "crm", &format!("\"{}\"", fares["version"]), &document, 200).await;
    assert!(back["secret"].is_null() && back["state"] == "delivering", "{back:#}");
    until("both are told", || async { receiver.users().len() == 2 }).await;
    service.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_sound_webhooks_are_taken() {
    let (service, _, _turn) = own(|config| config.webhooks.reach = Some(tessera::config::WebhookReach::Public)).await;
    let put = async |document: Value, status: u16| {
        let request = service.request(Method::PUT, "/v1/webhooks/crm").header("if-none-match", "*").json(&document);
        let answer = read(request.sent().await, status).await;
        let faults = answer["errors"].as_array().cloned().unwrap_or_default();
        faults
            .into_iter()
            .map(|fault| format!("{} {}", fault["pointer"], fault["code"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    let faults = put(json!({"url": "http://127.0.0.1:9/", "segments": ["adults", "nobodys"]}), 422).await;
    assert_eq!(faults, ["/url out_of_reach", "/segments/1 unknown_segment"]);
    let faults = put(json!({"url": "mailto:x", "segments": [], "kinds": [], "status": "on", "more": 1}), 422).await;
    let mut pointers: Vec<_> = faults.iter().map(|fault| fault.split(' ').next().expect("a pointer")).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/kinds", "/more", "/segments", "/status", "/url"]);
    assert_eq!(put(json!({"url": "https://169.254.169.254/latest/meta-data"}), 422).await, ["/url out_of_reach"]);
    assert_eq!(put(json!({"url": "https://10.0.0.1/"}), 422).await, ["/url out_of_reach"]);
    assert!(put(json!({"url": "https://localhost:9/"}), 201).await.is_empty(), "a name is looked up later");
    assert!(put(json!({"url": "https://localhost:9/"}), 412).await.is_empty());
    service.patch("u-1", &json!({"age": 30})).await;
    until("it was tried", || async { !webhook(&service, "crm").await["last_failure"].is_null() }).await;
    let fares = webhook(&service, "crm").await;
    assert!(fares["last_failure"]["detail"].as_str().is_some_and(|words| words.contains("not allowed")), "{fares:#}");

    let list = read(service.request(Method::GET, "/v1/webhooks").sent().await, 200).await;
    assert_eq!((&list["items"][0]["id"], &list["items"][1]), (&json!("crm"), &Value::Null));
    assert!(list["items"][0]["secret"].is_null());
    let bare = service.request(Method::PUT, "/v1/webhooks/crm").json(&json!({"url": "https://a.example"})).sent().await;
    read(bare, 428).await;
    let keys = service
        .request(Method::PUT, "/v1/keys/reader")
        .header("if-none-match", "*")
        .json(&json!({"scopes": ["report", "author"]}))
        .sent()
        .await;
    let key = read(keys, 201).await["secret"].as_str().expect("a secret").to_owned();
    for (method, path, status) in [
        (Method::GET, "/v1/webhooks/crm", 200),
        (Method::POST, "/v1/webhooks/crm/rotate", 403),
        (Method::DELETE, "/v1/webhooks/crm", 403),
    ] {
        let request = service.http.request(method, format!("{}{path}", service.base)).bearer_auth(&key);
        read(request.header("if-match", "*").sent().await, status).await;
    }
    let gone = service.request(Method::DELETE, "/v1/webhooks/crm").header("if-match", "*");
    read(gone.sent().await, 204).await;
    for (method, path) in [
        (Method::GET, "/v1/webhooks/crm"),
        (Method::POST, "/v1/webhooks/crm/rotate"),
        (Method::DELETE, "/v1/webhooks/crm"),
    ] {
        read(service.request(method, path).header("if-match", "*").sent().await, 404).await;
    }
    service.server.shutdown().await;
}
