//! The bar that users feel: a million people in the store, half of the keys never seen, a fixed
//! rate, a budget of 20 ms, with a cold and then a warm cache: `cargo bench --bench users`.
//!
//! `TESSERA_BENCH_USERS` sets how many people there are, `TESSERA_BENCH_RATE` the requests per second.
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

use client::Request;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tessera::{
    domain::{
        audience::{
            caps::CapRing,
            profile::Traits,
            user::{Lists, UserState},
        },
        values::Millis,
    },
    store::embedded::{Options, PrivateCluster},
};

const KEY: &str = "bench-admin-key-0123456789";
const SECONDS: u64 = 20;
const LOOKED_FOR: &[&str] =
    &["\"fallback_level\":\"personalised\"", "\"known\":true", "\"fallback_level\":\"contextual\""];

fn main() {
    let set = |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (users, rate) = (set("TESSERA_BENCH_USERS", 1_000_000), set("TESSERA_BENCH_RATE", 2_000));
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = PrivateCluster::start(Options {
        data_dir: folder.path().join("data"),
        guard: env!("CARGO_BIN_EXE_tessera").into(),
        binaries: None,
        search: std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect(),
    })
    .expect("a private cluster");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(folder.path(), &cluster.url(), users, rate));
}

async fn run(folder: &Path, url: &str, users: u64, rate: u64) {
    drop(Service::start(folder, url));
    let filling = Instant::now();
    fill(url, users).await;
    println!("{users} people stored in {:.0} s", filling.elapsed().as_secs_f64());
    let service = Service::start(folder, url);
    println!("idle service: {} MiB resident", service.resident_mib());
    let rate = u32::try_from(rate).expect("a rate");
    let requests = requests(&service.address, users, SECONDS * u64::from(rate));
    for cache in ["cold", "warm"] {
        let before = service.metrics().await;
        let during = Duration::from_secs(SECONDS);
        let load = client::open(&service.address, &requests, 64, rate, during, LOOKED_FOR).await;
        let after = service.metrics().await;
        let moved = |name: &str| after.of(name) - before.of(name);
        let (hit, miss) =
            (moved("tessera_user_cache_total{result=\"hit\"}"), moved("tessera_user_cache_total{result=\"miss\"}"));
        let loads =
            moved("tessera_user_loads_total{result=\"found\"}") + moved("tessera_user_loads_total{result=\"absent\"}");
        let [personalised, known, contextual] = load.found[..] else { unreachable!("three texts are looked for") };
        println!("{cache} cache, {rate}/s: {load}");
        println!(
            "  personalised {:.2}% of all, {known} of known people, contextual {contextual}; hit ratio {:.1}%, {:.0} people read/s",
            100.0 * personalised as f64 / requests.len() as f64,
            100.0 * hit / (hit + miss).max(1.0),
            loads / SECONDS as f64
        );
    }
    println!("after both: {} MiB resident", service.resident_mib());
}

/// Zipf 0.8 over the known keys; every other request is of a key never seen.
fn requests(address: &str, users: u64, count: u64) -> Vec<Request> {
    const EXPONENT: f64 = 0.8;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut unit = move || {
        // xorshift64*: no more is asked of it than to be spread
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / 9_007_199_254_740_992.0
    };
    let spread = (users as f64).powf(1.0 - EXPONENT);
    (0..count)
        .map(|at| {
            let rank = (unit() * (spread - 1.0) + 1.0).powf(1.0 / (1.0 - EXPONENT));
            let key =
                if at % 2 == 0 { format!("user-{}", (rank as u64).min(users) - 1) } else { format!("unseen-{at}") };
            let body = json!({"placements": [{"id": "a", "placement": "top"}], "user": {"key": key},
                "context": {"geo": {"country": "US"}, "device": {"type": "mobile"}}, "deadline_ms": 20});
            Request::new(address, KEY, body.to_string())
        })
        .collect()
}

/// Stores people as the service would: 16 kinds of traits, each person under their own key.
async fn fill(url: &str, users: u64) {
    let packed: Vec<Vec<u8>> = (0..16)
        .map(|at| {
            let traits = json!({"age": 18 + at, "country": "US", "orders": at, "vip": at % 5 == 0, "city": "New York",
                "interests": ["running", "travel"], "income_band": "c1", "spend": 120.5, "birthday": "1995-05-17",
                "home": {"lat": 40.7, "lon": -74.0}, "email_opt_in": true, "plan": "plus"});
            let traits = Traits::parse(&traits, Millis(1_700_000_000_000)).expect("traits");
            UserState::new(1, traits, Lists::default(), CapRing::default()).encode()
        })
        .collect();
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let each = 100_000;
    for from in (0..users).step_by(each) {
        sqlx::query(
            "insert into profile (account, uid, key, version, packed)
             select 1, encode(substring(sha256(a.secret || convert_to('user-' || n, 'UTF8')) for 16), 'hex')::uuid,
                    'user-' || n, 1, ($3::bytea[])[1 + n % 16]
             from account a, generate_series($1::bigint, $2::bigint) n where a.number = 1
             on conflict do nothing",
        )
        .bind(from as i64)
        .bind((from + each as u64).min(users) as i64 - 1)
        .bind(&packed)
        .execute(&mut connection)
        .await
        .expect("people");
    }
    sqlx::query("analyze profile").execute(&mut connection).await.expect("statistics");
}

/// The service as a process of its own.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(folder: &Path, url: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
        let address = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let bundle = write_bundle(folder);
        let child = Command::new(env!("CARGO_BIN_EXE_tessera"))
            .env("TESSERA_BIND", &address)
            .env("TESSERA_DATA", folder.join("service"))
            .env("TESSERA_ADMIN_KEY", KEY)
            .env("TESSERA_STORE__BUNDLE", bundle)
            .env("TESSERA_LOG", "warn")
            .env("DATABASE_URL", url)
            .stdout(Stdio::null())
            .spawn()
            .expect("the service");
        let service = Self { child, address };
        let until = Instant::now() + Duration::from_secs(60);
        while !service.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            assert!(Instant::now() < until, "the service is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        service
    }

    fn get(&self, path: &str) -> Option<String> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    async fn metrics(&self) -> Metrics {
        Metrics(self.get("/metrics").unwrap_or_default())
    }

    fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1_024
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        let _ended = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
        let _status = self.child.wait();
    }
}

/// The text of `/metrics`.
struct Metrics(String);

impl Metrics {
    fn of(&self, name: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    }
}

/// One campaign with a segment that asks for traits.
fn write_bundle(folder: &Path) -> PathBuf {
    let young = json!({"all": [{"trait": "age", "lt": 26}, {"trait": "country", "eq": "US"}]});
    bundle::write(folder, &[("young".to_owned(), young)], "young")
}
