//! Two replicas on one database.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::watch,
};

use crate::{
    harness::{PATIENCE, Patient as _, Service, ask, folder, read, until},
    turn,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_catalogue_is_live_on_the_other() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    let mut slowest = Duration::ZERO;
    for round in 0..10 {
        let headline = format!("Round {round}");
        let component = json!({"slot": "cta", "value": headline});
        let path = "/v1/creatives/spring/components/call";
        let written = a.request(Method::PUT, path).header(if round == 0 { "if-none-match" } else { "if-match" }, "*");
        read(written.json(&component).sent().await, if round == 0 { 201 } else { 200 }).await;
        let published = a.request(Method::POST, "/v1/creatives/spring/publish").json(&json!({})).sent().await;
        read(published, 200).await;
        let shows = async |replica: &Service| replica.item("anna", "home").await["content"]["cta"] == headline;
        assert!(shows(&a).await, "what is answered is live here");
        let took = until("the other replica follows", || shows(&b)).await;
        slowest = slowest.max(took);
    }
    println!("a change of the catalogue was live on the other replica after at most {slowest:?} (10 changes)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_a_person_is_seen_by_the_other() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let (a, b) = (Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await);
    let headline = async |replica: &Service| replica.item("anna", "home").await["components"]["headline"].clone();
    assert_eq!(headline(&b).await, Value::Null);
    let mut slowest = Duration::ZERO;
    for age in [30, 10, 30, 10, 30] {
        let changed = a.patch("anna", &json!({ "age": age })).await;
        let expected = if age >= 18 { json!("grown") } else { Value::Null };
        assert_eq!(headline(&a).await, expected, "what is answered holds here at once");
        slowest = slowest.max(until("the other replica sees it", || async { headline(&b).await == expected }).await);
        // with the token, at once
        let mut body = ask("anna", "home");
        body["consistency_token"] = changed["consistency_token"].clone();
        let item = b.decide(&body).await["placements"]["top"][0].take();
        assert_eq!((&item["components"]["headline"], &item["degraded"]), (&expected, &json!([])));
    }
    println!("a change of a person was seen by the other replica after at most {slowest:?} (5 changes)");
    // erased here, unknown there
    let erased = a.request(Method::DELETE, "/v1/profiles/anna").sent().await;
    assert!(erased.status().is_success());
    until("the other replica forgets", || async { b.decide(&ask("anna", "home")).await["user"]["known"] == false })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_is_overshot_by_at_most_one_for_each_further_replica() {
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let replicas = [Service::start(&database, |_| {}).await, Service::start(&database, |_| {}).await];
    let mut overshoot: BTreeMap<u32, u32> = BTreeMap::new();
    for person in 0..20 {
        let user = format!("person-{person}");
        let decisions = (0..20).map(|at| {
            let replica = &replicas[at % 2];
            let (request, body) = (replica.request(Method::POST, "/v1/decisions"), ask(&user, "capped"));
            let http = replica.http.clone();
            tokio::spawn(async move {
                let answer = read(request.json(&body).sent().await, 200).await;
                let item = &answer["placements"]["top"][0];
                if item["campaign"] != "once" {
                    return 0;
                }
                let url = item["impression_url"].as_str().expect("a URL");
                let told = http.get(url).sent().await;
                assert_eq!(told.headers()["tessera-outcome"], "recorded");
                1
            })
        });
        let mut shown = 0;
        for decision in decisions.collect::<Vec<_>>() {
            shown += decision.await.expect("no panic");
        }
        assert!((1..=2).contains(&shown), "{user} saw a campaign {shown} times that may be seen once");
        *overshoot.entry(shown - 1).or_default() += 1;
        // once counted, it is counted everywhere
        for replica in &replicas {
            until("the cap holds", || async { replica.item(&user, "capped").await["campaign"].is_null() }).await;
        }
    }
    println!("cap of 1, 20 parallel requests over 2 replicas: people by impressions too many: {overshoot:?}");
}

/// Stands between a replica and its database, and can stop everything that passes.
struct Gate {
    folder: TempDir,
    open: watch::Sender<bool>,
}

impl Gate {
    /// A gate before the server whose socket is in the folder that `url` names.
    fn before(url: &str) -> (Self, String) {
        let folder = folder();
        let (base, real) = url.split_once("?host=").expect("a socket");
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("a socket");
        let (open, opened) = watch::channel(true);
        let real = format!("{real}/.s.PGSQL.5432");
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&real).await else { continue };
                let ((from, to), (back, forth)) = (client.into_split(), server.into_split());
                tokio::spawn(pass(from, forth, opened.clone()));
                tokio::spawn(pass(back, to, opened.clone()));
            }
        });
        let url = format!("{base}?host={}", folder.path().display());
        (Self { folder, open }, url)
    }

    fn set(&self, open: bool) {
        assert!(self.folder.path().exists());
        self.open.send_replace(open);
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut open: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_cut_off_never_takes_an_old_profile_for_a_current_one() {
    const LEASE: Duration = Duration::from_millis(1_000);
    let _turn = turn(2).await;
    let database = crate::cluster().await.database().await;
    let a = Service::start(&database, |_| {}).await;
    let (gate, behind) = Gate::before(&database);
    let b = Service::start(&behind, |config| {
        config.decisions.budget_ms = 50;
        config.users.load_wait_ms = 250;
    })
    .await;
    let b = Arc::new(b);
    a.patch("anna", &json!({"age": 10})).await;
    until("the replica knows her", || async { b.decide(&ask("anna", "home")).await["user"]["known"] == true }).await;
    for _ in 0..2 {
        gate.set(false);
        let cut = Instant::now();
        while b.item("anna", "home").await["fallback_level"] != "personalised" {
            assert!(cut.elapsed() < LEASE, "within the lease it needs nobody");
        }
        a.patch("anna", &json!({"age": 30})).await;
        let changed = Instant::now();
        let (mut stale, mut refused) = (0, 0);
        while cut.elapsed() < LEASE * 3 || (stale.min(refused) <= 3 && cut.elapsed() < PATIENCE) {
            let asked = Instant::now();
            let mut body = ask("anna", "home");
            let strict = refused < stale;
            if strict {
                body["max_staleness_ms"] = json!(500);
            }
            let answer = b.decide(&body).await;
            let item = &answer["placements"]["top"][0];
            let level = item["fallback_level"].as_str().expect("a level");
            let old = item["components"]["headline"].is_null();
            if level == "personalised" {
                assert!(asked < cut + LEASE || !old, "{:?} after the cut: {answer:#}", asked - cut);
            } else if strict {
                refused += 1;
                assert_eq!((level, &item["degraded"]), ("contextual", &json!(["stale_profile"])), "{answer:#}");
                assert!(answer["user"]["staleness_ms"].is_null(), "nothing was read: {answer:#}");
            } else {
                stale += 1;
                assert_eq!(level, "stale", "{answer:#}");
                let staleness = answer["user"]["staleness_ms"].as_u64().expect("a staleness");
                let least = asked.duration_since(cut).as_millis() as u64;
                assert!(
                    staleness + 50 >= least && staleness <= cut.elapsed().as_millis() as u64 + 2_000,
                    "{staleness} at {least}: {answer:#}"
                );
                let why = item["degraded"][0].as_str().unwrap_or_default();
                // a decision that begins late has no time left to wait for the store
                assert!(old && (why.starts_with("store_") || why == "deadline"), "{item:#}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(stale > 3 && refused > 3, "{stale} {refused}");
        gate.set(true);
        let opened = Instant::now();
        until("she is known as she is", || async {
            let item = b.item("anna", "home").await;
            item["fallback_level"] == "personalised" && item["components"]["headline"] == "grown"
        })
        .await;
        println!("cut off for {:?}, current again after {:?}", opened - changed, opened.elapsed());
        a.patch("anna", &json!({"age": 10})).await;
        until("the replica sees it", || async {
            let item = b.item("anna", "home").await;
            item["fallback_level"] == "personalised" && item["components"]["headline"].is_null()
        })
        .await;
    }
    assert!(PATIENCE > LEASE * 3);
}
