//! Events into profiles, and how soon decisions know: `cargo bench --bench ingest`.
//!
//! Two services on one private PostgreSQL. First how many events a second one of them takes, in
//! requests of 100 over 4 connections, profiles and change log included. Then, at 1,000 events a
//! second, how long it takes from sending an event to a decision by it on the other replica, and
//! from the acknowledgement to a decision by it on the same one; five runs of each.
#![expect(clippy::disallowed_methods, reason = "benches have settings and clocks of their own")]

#[path = "../support/bundle.rs"]
mod bundle;
#[path = "../http/client.rs"]
#[expect(dead_code, reason = "shared with the bench of decisions, which uses the rest")]
mod client;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use client::{Connection, Request};
use serde_json::{Value, json};
use tessera::store::embedded::{Options, PrivateCluster};

const KEY: &str = "bench-admin-key-0123456789";
/// Events in a request.
const BATCH: usize = 100;
/// Requests whose events are counted.
const REQUESTS: usize = 600;
/// People whose profiles change.
const PEOPLE: usize = 5_000;
/// Events a second beside which freshness is measured.
const RATE: u32 = 1_000;
/// Probes in a run.
const PROBES: usize = 100;
/// Types of events, each remembered for several segments.
const TYPES: [&str; 3] = ["viewed", "basket_emptied", "purchase"];

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = PrivateCluster::start(Options {
        data_dir: folder.path().join("data"),
        guard: env!("CARGO_BIN_EXE_tessera").into(),
        binaries: None,
        search: std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect(),
    })
    .expect("a private cluster");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(folder.path(), &cluster.url()));
}

async fn run(folder: &Path, url: &str) {
    let first = Service::start(&folder.join("a"), url, &bundle(folder));
    let second = Service::start(&folder.join("b"), url, &bundle(folder));
    tokio::time::sleep(Duration::from_secs(2)).await;
    throughput(&first).await;
    for run in 0..5 {
        freshness(&first, &second, run).await;
    }
}

/// Requests of many events, each event another one, of people in an order of their own.
fn events(service: &Service, salt: &str, count: usize, size: usize) -> Vec<Request> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        // xorshift64*: no more is asked of it than to be spread
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    };
    let mut event = |at: usize| {
        json!({"id": format!("{salt}-{at}"), "user": format!("user-{}", draw(PEOPLE)), "type": TYPES[draw(3)],
            "properties": {"value": draw(10_000) as f64 / 100.0, "category": format!("c{}", draw(20)), "sku": at}})
    };
    let body = |request: usize, event: &mut dyn FnMut(usize) -> Value| {
        json!((0..size).map(|at| event(request * size + at)).collect::<Vec<_>>()).to_string()
    };
    (0..count).map(|at| Request::post(&service.address, KEY, "/v1/events", body(at, &mut event))).collect()
}

async fn throughput(service: &Service) {
    // everybody has a past
    let before = events(service, "past", 300, BATCH);
    client::closed(&service.address, &before, 4, before.len()).await;
    for run in 0..3 {
        let requests = events(service, &format!("run-{run}"), REQUESTS, BATCH);
        let began = Instant::now();
        let load = client::closed(&service.address, &requests, 4, REQUESTS).await;
        let rate = (REQUESTS * BATCH) as f64 / began.elapsed().as_secs_f64();
        println!(
            "ingest: {rate:.0} events/s with profiles and change log, 4 connections, batches of {BATCH} (goal 8000); requests {load}"
        );
    }
}

async fn freshness(first: &Service, second: &Service, run: usize) {
    let load = events(first, &format!("load-{run}"), RATE as usize * 60, 1);
    let (address, stop) = (first.address.clone(), tokio_util::sync::CancellationToken::new());
    let stopped = stop.clone();
    let background = tokio::spawn(async move {
        let _stopped =
            stopped.run_until_cancelled(client::open(&address, &load, 32, RATE, Duration::from_secs(60), &[])).await;
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (mut here, mut there) = (Connection::open(&first.address).await, Connection::open(&second.address).await);
    let (mut elsewhere, mut same, mut missed) = (Vec::new(), Vec::new(), 0);
    for probe in 0..PROBES {
        let user = format!("probe-{run}-{probe}");
        let decide = |address: &str| {
            let body = json!({"placements": [{"id": "a", "placement": "top"}], "user": {"key": user},
                "context": {"geo": {"country": "US"}}});
            Request::new(address, KEY, body.to_string())
        };
        let (ask_here, ask_there) = (decide(&first.address), decide(&second.address));
        // both hold the person as somebody who did nothing
        assert!(!is_for_keen(&here.send(&ask_here).await.body) && !is_for_keen(&there.send(&ask_there).await.body));
        let body = json!({"user": user, "type": "signed_up"}).to_string();
        let event = Request::post(&first.address, KEY, "/v1/events", body);
        let sent = Instant::now();
        assert_eq!(here.send(&event).await.status, 200);
        let acknowledged = Instant::now();
        missed += usize::from(!is_for_keen(&here.send(&ask_here).await.body));
        same.push(acknowledged.elapsed());
        while !is_for_keen(&there.send(&ask_there).await.body) {
            assert!(sent.elapsed() < Duration::from_secs(10), "the other replica never knows");
        }
        elsewhere.push(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    background.await.expect("the load");
    let at = |times: &mut Vec<Duration>, share: f64| {
        times.sort_unstable();
        times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0
    };
    println!(
        "run {}: sent -> decided by on the other replica p50 {:.1} ms, p99 {:.1} ms (goal 50); \
         acknowledged -> decided by on the same p50 {:.2} ms, p99 {:.2} ms (goal 1), {missed} of {PROBES} not yet",
        run + 1,
        at(&mut elsewhere, 0.5),
        at(&mut elsewhere, 0.99),
        at(&mut same, 0.5),
        at(&mut same, 0.99)
    );
}

fn is_for_keen(body: &[u8]) -> bool {
    body.windows(7).any(|window| window == b"For you")
}

/// A service as a process of its own.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(folder: &Path, url: &str, bundle: &Path) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
        let address = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let child = Command::new(env!("CARGO_BIN_EXE_tessera"))
            .env("TESSERA_BIND", &address)
            .env("TESSERA_DATA", folder)
            .env("TESSERA_ADMIN_KEY", KEY)
            .env("TESSERA_STORE__BUNDLE", bundle)
            .env("TESSERA_STORE__FEED_INTERVAL_MS", "5")
            .env("TESSERA_LOG", "warn")
            .env("DATABASE_URL", url)
            .stdout(Stdio::null())
            .spawn()
            .expect("the service");
        let until = Instant::now() + Duration::from_secs(60);
        while !is_ready(&address) {
            assert!(Instant::now() < until, "the service is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, address }
    }
}

fn is_ready(address: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}

impl Drop for Service {
    fn drop(&mut self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        let _ended = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
        let _status = self.child.wait();
    }
}

/// One campaign with a segment for what the probes do, and segments over what everybody does.
fn bundle(folder: &Path) -> PathBuf {
    let keen = json!({"event": "signed_up", "count": {"gte": 1}, "in": {"last": "P1D"}});
    let mut segments = vec![("keen".to_owned(), keen)];
    for name in TYPES {
        let often = json!({"event": name, "count": {"gte": 3}, "in": {"last": "P30D"}});
        let sum = json!({"event": name, "sum": {"of": "value", "is": {"gte": 100}}, "in": {"last": "P7D"}});
        let wide = json!({"event": name, "distinct": {"of": "category", "is": {"gte": 5}}, "in": {"last": "P7D"}});
        segments.extend([
            (format!("often-{name}"), often),
            (format!("sum-{name}"), sum),
            (format!("wide-{name}"), wide),
        ]);
    }
    bundle::write(folder, &segments, "keen")
}
