//! Tables and feeds at a service of its own.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tessera::store::embedded::{Options, PrivateCluster};

use super::memory;

const KEY: &str = "bench-admin-key-0123456789";

pub(super) fn run(share: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = PrivateCluster::start(Options {
        data_dir: folder.path().join("data"),
        guard: env!("CARGO_BIN_EXE_tessera").into(),
        binaries: None,
        search: std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect(),
    })
    .expect("a private cluster");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        table(&Service::start(folder.path(), &cluster.url()).await, 100_000 / share).await;
        // another process, so that its memory is its own
        feed(&Service::start(folder.path(), &cluster.url()).await, 700_000 / share).await;
    });
}

/// The service as a process of its own.
struct Service {
    child: Child,
    base: String,
    http: Client,
}

impl Service {
    async fn start(folder: &Path, url: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
        let address = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let child = Command::new(env!("CARGO_BIN_EXE_tessera"))
            .env("TESSERA_BIND", &address)
            .env("TESSERA_DATA", folder.join("service"))
            .env("TESSERA_ADMIN_KEY", KEY)
            .env("TESSERA_LOG", "warn")
            .env("DATABASE_URL", url)
            .stdout(Stdio::null())
            .spawn()
            .expect("the service");
        let http = Client::builder().timeout(Duration::from_secs(600)).build().expect("a client");
        let service = Self { child, base: format!("http://{address}"), http };
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let ready = service.http.get(format!("{}/readyz", service.base)).send().await;
            if ready.is_ok_and(|answer| answer.status() == 200) {
                return service;
            }
            assert!(Instant::now() < until, "the service is not ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(KEY)
    }

    async fn put(&self, path: &str, document: Value) {
        let answer = self.request(Method::PUT, path).json(&document).header("if-none-match", "*").send().await;
        let answer = answer.expect("an answer");
        let status = answer.status();
        assert!(status.is_success() || status == 412, "{path}: {}", answer.text().await.unwrap_or_default());
    }

    async fn table(&self, path: &str, table: String) -> Value {
        let sent = self.request(Method::POST, path).header("content-type", "text/csv").body(table).send().await;
        let answer: Value = sent.expect("an answer").json().await.expect("JSON");
        assert!(answer["rejected"] == 0, "{answer}");
        answer
    }

    fn memory(&self) -> (f64, f64) {
        memory(&self.child.id().to_string())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        let _ended = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
        let _status = self.child.wait();
    }
}

async fn table(service: &Service, rows: usize) {
    service.put("/v1/advertisers/shop", json!({"name": "Shop", "domain": "shop.example"})).await;
    let slots = json!({"headline": {"type": "text", "default": "New"}, "cta": {"type": "text", "default": "Go"}});
    let markup = "<body><a href=\"{{click_url}}\">{{headline}} {{cta}}</a></body>";
    let template = json!({"name": "T", "format": "html", "size": "300x250", "markup": markup, "slots": slots});
    service.put("/v1/templates/t", template).await;
    let creative = json!({"name": "C", "advertiser": "shop", "templates": ["t"]});
    service.put("/v1/creatives/wide", creative).await;
    let mut table = String::from("id,slot,value,weight,locale\n");
    for n in 0..rows {
        let slot = ["headline", "cta"][n % 2];
        table.push_str(&format!("c-{n},{slot},The {slot} number {n} of many,{},en\n", 1 + n % 100));
    }
    let (idle, _) = service.memory();
    let began = Instant::now();
    let answer = service.table("/v1/creatives/wide/components", table).await;
    let took = began.elapsed().as_secs_f64();
    assert_eq!(answer["created"], rows, "{answer}");
    println!(
        "{rows} components by CSV: {took:.1} s (goal 60 s); the service holds {:.0} MB at most (goal 200 MB), {idle:.0} MB before",
        service.memory().1
    );
}

async fn feed(service: &Service, rows: usize) {
    let default = json!([{"id": "shop", "title": "All of our shop", "link": "https://shop.example/",
        "image": {"src": "https://cdn.example/shop.jpg", "alt": "The shop"}}]);
    let markup = "<body><a href=\"{{click_url}}\">x</a>{{#each products}}{{title}}{{#if price}} {{price}}{{/if}}{{/each}}</body>";
    service.put("/v1/feeds/shop", json!({"name": "Shop", "advertiser": "shop", "format": "csv"})).await;
    let template = json!({"name": "Shelf", "format": "html", "size": "120x600", "markup": markup,
        "slots": {"products": {"type": "product", "max_items": 3, "default": default}}});
    service.put("/v1/templates/shelf", template).await;
    service.put("/v1/creatives/shelf", json!({"name": "S", "advertiser": "shop", "templates": ["shelf"]})).await;
    let component = json!({"slot": "products", "value": {"feed": "shop", "choose": "last_viewed"}});
    service.put("/v1/creatives/shelf/components/seen", component).await;
    let publish = service.request(Method::POST, "/v1/creatives/shelf/publish").json(&json!({})).send().await;
    assert_eq!(publish.expect("an answer").status(), 200);
    let campaign = json!({"name": "Shelf", "advertiser": "shop", "status": "active", "creatives": ["shelf"],
        "landing_url": "https://shop.example/shelf"});
    service.put("/v1/campaigns/shelf", campaign).await;
    let viewed =
        json!({"user": "anna", "type": "product_view", "properties": {"product_id": format!("p-{}", rows / 2)}});
    let sent = service.request(Method::POST, "/v1/events").json(&viewed).send().await.expect("an answer");
    assert_eq!(sent.status(), 200);
    let shown = async || {
        let ask = json!({"placements": [{"id": "a", "sizes": ["120x600"], "candidates": {"campaign": "shelf"}}],
            "user": {"key": "anna"}, "context": {"geo": {"country": "US"}}});
        let sent = service.request(Method::POST, "/v1/decisions").json(&ask).send().await.expect("an answer");
        let answer: Value = sent.json().await.expect("JSON");
        answer["placements"]["a"][0]["markup"].as_str().unwrap_or_default().to_owned()
    };
    for (what, cents) in [("filled", 17), ("one price changed", 34), ("one price changed again", 51)] {
        let mut table = String::from("id,title,link,image_link,price,availability,brand\n");
        for n in 0..rows {
            let price = if n == rows / 2 { cents } else { 99 };
            table.push_str(&format!(
                "p-{n},Product number {n} of the shop,https://shop.example/products/{n},https://cdn.example/images/{n}.jpg,{}.{price} EUR,in_stock,Brand {}\n",
                n % 500, n % 900
            ));
        }
        let bytes = table.len() as f64 / 1e6;
        let began = Instant::now();
        service.table("/v1/feeds/shop/items", table).await;
        let took = began.elapsed().as_secs_f64();
        let answered = Instant::now();
        let price = format!(".{cents}");
        while !shown().await.contains(&price) {
            assert!(answered.elapsed() < Duration::from_secs(120), "the price is never shown");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (now, most) = service.memory();
        println!(
            "a feed of {rows} products ({bytes:.0} MB) {what}: taken in {took:.1} s, shown {:.2} s after the answer (goal 5 s); {now:.0} MB resident, {most:.0} MB at most",
            answered.elapsed().as_secs_f64()
        );
    }
}
