//! The whole service on a real socket and a real PostgreSQL, with a small catalogue.

#[path = "../support/patient.rs"]
mod patient;

use std::{
    fs::{self, Permissions},
    ops::Deref,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder, Response, redirect::Policy};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tessera::{
    config::Config,
    server::Server,
    store::embedded::{self, PrivateCluster, search_folders},
};

pub(crate) use self::patient::Patient;

pub(crate) const KEY: &str = "0123456789abcdef-admin";

/// Long enough for whatever ends at all, on a machine that does other work as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A PostgreSQL of our own, in a folder that goes with it.
pub(crate) struct Cluster {
    pub(crate) server: PrivateCluster,
    pub(crate) folder: TempDir,
    databases: AtomicU32,
}

/// Starts PostgreSQL on a data folder, or starts it again there.
pub(crate) fn start(folder: &Path) -> PrivateCluster {
    let (path, home) = (std::env::var_os("PATH"), std::env::var_os("HOME").map(PathBuf::from));
    PrivateCluster::start(embedded::Options {
        data_dir: folder.into(),
        guard: env!("CARGO_BIN_EXE_tessera").into(),
        binaries: None,
        search: search_folders(path.as_deref(), home.as_deref()),
    })
    .expect("the cluster starts")
}

/// A folder that PostgreSQL's own user may enter too.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a mode");
    folder
}

impl Cluster {
    /// A cluster whose database `catalogue` holds the small catalogue.
    pub(crate) async fn start() -> Self {
        let folder = folder();
        let path = folder.path().to_owned();
        let server = tokio::task::spawn_blocking(move || start(&path)).await.expect("no panic");
        let cluster = Self { server, folder, databases: AtomicU32::new(0) };
        cluster.execute("create database catalogue").await;
        let service = Service::start(&cluster.url("catalogue"), |_| {}).await;
        service.author().await;
        service.server.shutdown().await;
        service.data.close().expect("removed");
        cluster
    }

    /// The address of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        self.server.url().replacen("/tessera?", &format!("/{database}?"), 1)
    }

    /// A database of its own for a test, with the small catalogue in it.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        // connections of whoever wrote it may be on their way out
        self.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'catalogue'").await;
        self.execute(&format!("create database {name} template catalogue")).await;
        self.url(&name)
    }

    async fn execute(&self, sql: &str) {
        let mut connection = PgConnection::connect(&self.server.url()).await.expect("a connection");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect(sql);
        connection.close().await.expect("closed");
    }
}

/// A running service in this process.
pub(crate) struct Service {
    pub(crate) server: Server,
    pub(crate) data: TempDir,
    pub(crate) remote: Remote,
}

impl Service {
    /// A service on a database. It has all the time it wants for a decision, so that what it
    /// decides does not depend on the speed of the machine.
    pub(crate) async fn start(database: &str, tune: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(folder(), database, tune).await
    }

    /// The same with a data folder that was used before.
    pub(crate) async fn start_in(data: TempDir, database: &str, tune: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.http.bind = ([127, 0, 0, 1], 0).into();
        config.store.database_url = Some(database.into());
        // a machine that builds beside the tests is no overload
        config.http.lag_scale = 100.0;
        config.store.data = data.path().to_owned();
        config.store.admin_key = Some(KEY.into());
        // nor what is told or known on how long the database takes
        config.store.beacon_wait_ms = 20_000;
        config.users.load_wait_ms = 5_000;
        config.decisions.budget_ms = 5_000;
        config.decisions.record_share = 0.0;
        tune(&mut config);
        let server = Server::start(config, env!("CARGO_BIN_EXE_tessera").into()).await.expect("the service starts");
        let remote = Remote::at(format!("http://{}", server.address()));
        Self { server, data, remote }
    }
}

impl Deref for Service {
    type Target = Remote;

    fn deref(&self) -> &Remote {
        &self.remote
    }
}

/// A service as its callers see it.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) base: String,
    pub(crate) http: Client,
}

impl Remote {
    /// The service at an address, through a client that follows no redirects.
    pub(crate) fn at(base: String) -> Self {
        let http = Client::builder().redirect(Policy::none()).timeout(4 * PATIENCE).build().expect("a client");
        Self { base, http }
    }

    /// A request with the admin key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(KEY)
    }

    pub(crate) async fn put(&self, path: &str, document: &Value) -> Value {
        let request = self.request(Method::PUT, path).header("if-none-match", "*").json(document);
        read(request.sent().await, 201).await
    }

    /// The answer to a request for decisions, which must be one.
    pub(crate) async fn decide(&self, body: &Value) -> Value {
        let sent = self.request(Method::POST, "/v1/decisions").json(body).sent().await;
        read(sent, 200).await
    }

    /// The first item for a person on a placement.
    pub(crate) async fn item(&self, user: &str, placement: &str) -> Value {
        self.decide(&ask(user, placement)).await["placements"]["top"][0].take()
    }

    /// Sets traits of a person; the answer's token reflects it.
    pub(crate) async fn patch(&self, user: &str, traits: &Value) -> Value {
        let request = self.request(Method::PATCH, &format!("/v1/profiles/{user}")).json(&json!({ "traits": traits }));
        read(request.sent().await, 200).await
    }

    /// Fetches a beacon; answers the status and what became of it.
    pub(crate) async fn beacon(&self, url: &str) -> (u16, String) {
        let answer = self.http.get(url).sent().await;
        let outcome = answer.headers().get("tessera-outcome").map(|value| value.to_str().expect("ASCII").to_owned());
        (answer.status().as_u16(), outcome.unwrap_or_default())
    }

    /// Writes the small catalogue, the way its authors do.
    pub(crate) async fn author(&self) {
        for (path, document) in catalogue() {
            self.put(path, &document).await;
        }
        for creative in ["spring", "fallback", "house"] {
            let request = self.request(Method::POST, &format!("/v1/creatives/{creative}/publish")).json(&json!({}));
            read(request.sent().await, 200).await;
        }
        for (path, document) in campaigns() {
            self.put(path, &document).await;
        }
    }
}

/// The body of an answer, whose status must be this.
#[track_caller]
pub(crate) fn read(answer: Response, status: u16) -> impl Future<Output = Value> {
    let caller = std::panic::Location::caller();
    async move {
        let got = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        assert_eq!(got, status, "{text} (asked at {caller})");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}

/// A request for one item for a person outside the EEA.
pub(crate) fn ask(user: &str, placement: &str) -> Value {
    json!({
        "placements": [{"id": "top", "placement": placement}],
        "user": {"key": user},
        "context": {"geo": {"country": "US"}}
    })
}

/// Waits until something holds, and answers how long that took.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what} within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

/// What is shown: one brand, three templates, a creative that greets adults in its own way, a
/// fallback and a house creative.
fn catalogue() -> Vec<(&'static str, Value)> {
    let text = |default: &str| json!({"type": "text", "default": default});
    let banner = "<body><a href=\"{{click_url}}\">{{headline}}</a><p>{{cta}}</p></body>";
    vec![
        ("/v1/advertisers/northwind", json!({"name": "Northwind", "domain": "northwind.example"})),
        ("/v1/segments/adults", segment(&json!({"trait": "age", "gte": 18}))),
        ("/v1/segments/berliners", segment(&json!({"trait": "city", "eq": "Berlin"}))),
        ("/v1/segments/vip", json!({"name": "By name", "rule": {"v": 1, "kind": "static"}})),
        (
            "/v1/templates/banner",
            json!({"name": "Banner", "format": "html", "size": "300x250", "markup": banner,
                   "slots": {"headline": text("Hello"), "cta": text("Shop now")}}),
        ),
        (
            "/v1/templates/wide",
            json!({"name": "Wide", "format": "html", "size": "728x90", "slots": {"headline": text("Ours")},
                   "markup": "<body><a href=\"{{click_url}}\">{{headline}}</a></body>"}),
        ),
        (
            "/v1/templates/card",
            json!({"name": "Card", "format": "native", "slots": {"headline": text("Hello")},
                   "native": {"assets": [{"id": 1, "required": true, "kind": "title", "slot": "headline"}]}}),
        ),
        ("/v1/creatives/spring", creative(&["banner", "card"])),
        (
            "/v1/creatives/spring/components/grown",
            json!({"slot": "headline", "value": "Hello, grown-up", "targeting": {"segment": "adults"}}),
        ),
        ("/v1/creatives/fallback", creative(&["banner"])),
        ("/v1/creatives/house", creative(&["wide"])),
        ("/v1/placements/home", json!({"name": "Home", "sizes": ["300x250"], "formats": ["html"]})),
        ("/v1/placements/capped", json!({"name": "Capped", "sizes": ["300x250"], "formats": ["html"]})),
        (
            "/v1/placements/wide",
            json!({"name": "Wide", "sizes": ["728x90"], "formats": ["html"], "house_creative": "house"}),
        ),
    ]
}

fn segment(condition: &Value) -> Value {
    json!({"name": "By rule", "rule": {"v": 1, "kind": "dynamic", "match": condition}})
}

fn creative(templates: &[&str]) -> Value {
    json!({"name": "A creative", "advertiser": "northwind", "templates": templates})
}

fn campaigns() -> Vec<(&'static str, Value)> {
    let campaign = |id: &str, creative: &str, placement: &str, more: Value| {
        let mut document = json!({
            "name": id, "advertiser": "northwind", "status": "active", "creatives": [creative],
            "landing_url": format!("https://northwind.example/{id}"), "placements": [placement]
        });
        document.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        document
    };
    vec![
        ("/v1/campaigns/spring", campaign("spring", "spring", "home", json!({}))),
        (
            "/v1/campaigns/vip",
            campaign("vip", "spring", "home", json!({"priority": 5, "targeting": {"segment": "vip"}})),
        ),
        (
            "/v1/campaigns/once",
            campaign("once", "fallback", "capped", json!({"frequency_caps": [{"impressions": 1, "per": "P1D"}]})),
        ),
        (
            "/v1/campaigns/paused",
            campaign("paused", "spring", "home", json!({"status": "paused", "default_creative": "fallback"})),
        ),
    ]
}
