//! How soon two replicas choose by an outcome, from when its sender was told that it is committed.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tessera::{
    config::Config,
    server::Server,
    store::embedded::{Options, PrivateCluster},
};

const KEY: &str = "bench-admin-key-0123456789";

/// Per outcome how long it took on the replica that took it and on another one; the first ones of a
/// new campaign, as no other pause is longer.
pub(crate) fn measure(outcomes: usize) -> Vec<(Duration, Duration)> {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = PrivateCluster::start(Options {
        data_dir: folder.path().join("data"),
        guard: env!("CARGO_BIN_EXE_tessera").into(),
        binaries: None,
        search: std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect(),
    })
    .expect("a private cluster");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(folder.path(), &cluster.url(), outcomes))
}

struct Replica {
    server: Server,
    http: Client,
}

impl Replica {
    async fn start(data: &Path, database: &str) -> Self {
        let mut config = Config::default();
        config.http.bind = ([127, 0, 0, 1], 0).into();
        config.store.database_url = Some(database.into());
        config.store.data = data.into();
        config.store.admin_key = Some(KEY.into());
        let server = Server::start(config, env!("CARGO_BIN_EXE_tessera").into()).await.expect("a service");
        Self { server, http: Client::new() }
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Value {
        let url = format!("http://{}{path}", self.server.address());
        let mut request = self.http.request(method.clone(), url).bearer_auth(KEY).json(body);
        if method == Method::PUT {
            request = request.header("if-none-match", "*");
        }
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.expect("a document")
    }

    async fn decide(&self) -> Value {
        let body = json!({
            "placements": [{"id": "top", "sizes": ["300x250"], "candidates": {"campaign": "bench"}}],
            "user": {"key": "anna"}, "context": {"geo": {"country": "US"}}, "explain": "full"
        });
        self.send(Method::POST, "/v1/decisions", &body).await
    }

    /// Counts what was learned.
    async fn version(&self) -> u64 {
        let why = self.decide().await["explanation"]["items"][0]["optimizer"].take();
        why["version"].as_u64().unwrap_or_default()
    }

    async fn newer(&self, than: u64) -> Duration {
        let began = Instant::now();
        while self.version().await <= than {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        began.elapsed()
    }
}

async fn run(folder: &Path, database: &str, outcomes: usize) -> Vec<(Duration, Duration)> {
    let here = Replica::start(&folder.join("here"), database).await;
    let there = Replica::start(&folder.join("there"), database).await;
    author(&here).await;
    let _both = tokio::join!(here.newer(0), there.newer(0));
    let mut took = Vec::with_capacity(outcomes);
    for at in 0..outcomes {
        let item = here.decide().await["placements"]["top"][0].take();
        let before = (here.version().await, there.version().await);
        // at another moment between two looks each time
        tokio::time::sleep(Duration::from_millis(at as u64 * 37 % 500)).await;
        let beacon = item["impression_url"].as_str().expect("a beacon");
        let answer = here.http.get(beacon).send().await.expect("an answer");
        assert_eq!(answer.headers()["tessera-outcome"], "recorded");
        took.push(tokio::join!(here.newer(before.0), there.newer(before.1)));
    }
    here.server.shutdown().await;
    there.server.shutdown().await;
    took
}

async fn author(replica: &Replica) {
    let template = json!({
        "name": "Banner", "format": "html", "size": "300x250",
        "slots": {"headline": {"type": "text", "default": "Hello"}, "cta": {"type": "text", "default": "Shop"}},
        "markup": "<body><a href=\"{{click_url}}\">{{headline}} {{cta}}</a></body>"
    });
    let campaign = json!({
        "name": "Bench", "advertiser": "brand", "status": "active", "creatives": ["hero"],
        "landing_url": "https://brand.example/", "rotation": "optimized"
    });
    let put = async |path: String, body: Value| replica.send(Method::PUT, &path, &body).await;
    put("/v1/advertisers/brand".into(), json!({"name": "Brand", "domain": "brand.example"})).await;
    put("/v1/templates/banner".into(), template).await;
    put("/v1/creatives/hero".into(), json!({"name": "Hero", "advertiser": "brand", "templates": ["banner"]})).await;
    for slot in ["headline", "cta"] {
        for n in 0..3 {
            let component = json!({"slot": slot, "value": format!("{slot} {n}")});
            put(format!("/v1/creatives/hero/components/{slot}-{n}"), component).await;
        }
    }
    replica.send(Method::POST, "/v1/creatives/hero/publish", &json!({})).await;
    put("/v1/campaigns/bench".into(), campaign).await;
}
