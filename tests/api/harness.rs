//! One running service for all checks, and a client that sees status, headers and JSON.

#[path = "../support/patient.rs"]
mod patient;

use std::{
    fs::{self, Permissions},
    future::Future,
    os::unix::fs::PermissionsExt,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use reqwest::{
    Client, Method, RequestBuilder,
    header::{HeaderMap, IF_MATCH, IF_NONE_MATCH},
};
use serde_json::Value;
use tessera::{config::Config, server::Server};
use tokio::{process::Command, task::JoinSet};

pub(crate) use self::patient::Patient;

/// A check: an async function over the service, boxed so that all fit one list.
pub(crate) type Check = (&'static str, fn(Arc<Service>) -> Pin<Box<dyn Future<Output = ()> + Send>>);

pub(crate) const ADMIN: &str = "an-admin-key-for-tests";

/// The running service.
pub(crate) struct Service {
    url: String,
    key: String,
    client: Client,
    names: Arc<AtomicU32>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

/// Starts a service with an empty catalogue, runs all checks at once and stops it in good order.
pub(crate) fn run(checks: &'static [Check]) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a mode");
    let empty = folder.path().join("nothing");
    fs::create_dir(&empty).expect("a folder");
    let mut config = Config::default();
    config.http.bind = "127.0.0.1:0".parse().expect("an address");
    // a machine that builds beside the tests is no overload
    config.http.lag_scale = 100.0;
    config.store.data = folder.path().join("data");
    config.store.admin_key = Some(ADMIN.to_owned());
    config.store.bundle = Some(empty);
    config.openrtb.audited = vec!["strict".to_owned()];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    tessera::telemetry::init_logs("warn").expect("logs");
    let failed = runtime.block_on(async {
        let server = Server::start(config, env!("CARGO_BIN_EXE_tessera").into()).await.expect("the service starts");
        let url = format!("http://{}", server.address());
        let client = Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
        let service = Arc::new(Service { url, key: ADMIN.to_owned(), client, names: Arc::default() });
        let mut failed = Vec::new();
        // the scripts ask once, and a service that is busy asks to come back
        let (alone, together): (Vec<_>, Vec<_>) = checks.iter().partition(|(name, _)| name.contains("the_tour"));
        for wave in [together, alone] {
            let mut running = JoinSet::new();
            for &(name, check) in wave {
                let task = tokio::spawn(check(Arc::clone(&service)));
                running.spawn(async move { (name, task.await) });
            }
            while let Some(done) = running.join_next().await {
                match done.expect("a check is awaited") {
                    (name, Ok(())) => println!("{name} ok"),
                    (name, Err(error)) => {
                        // the panic hook of the service withholds what panics say
                        println!("{name}: {error}");
                        failed.push(name);
                    }
                }
            }
        }
        drop(service);
        server.shutdown().await;
        failed
    });
    assert!(failed.is_empty(), "{failed:#?}");
}

impl Service {
    /// The same service, asked with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { url: self.url.clone(), key: key.to_owned(), client: self.client.clone(), names: Arc::clone(&self.names) }
    }

    /// An id that no other check uses.
    pub(crate) fn name(&self, kind: &str) -> String {
        format!("{kind}-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A request with the key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path)).bearer_auth(&self.key)
    }

    /// A request without a key.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PATCH, path).json(body)).await
    }

    /// Creates a document that must be accepted.
    pub(crate) async fn create(&self, path: &str, body: &Value) -> Answer {
        let answer = self.put_new(path, body).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
        answer
    }

    pub(crate) async fn put_new(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PUT, path).header(IF_NONE_MATCH, "*").json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, etag: &str, body: &Value) -> Answer {
        send(self.request(Method::PUT, path).header(IF_MATCH, etag).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, etag: &str) -> Answer {
        send(self.request(Method::DELETE, path).header(IF_MATCH, etag)).await
    }
}

/// Sends a request and reads its answer.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.sent().await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, bytes: response.bytes().await.expect("a body").to_vec() }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("text")).unwrap_or_default()
    }

    /// A problem of this status; where its faults are and what they are called.
    pub(crate) fn faults(&self, status: u16) -> Vec<(String, String)> {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let faults = problem["errors"].as_array().into_iter().flatten();
        faults.map(|fault| (text(&fault["pointer"]), text(&fault["code"]))).collect()
    }
}

/// What a script said, as the documentation has it: without what differs from one installation to
/// another (versions, the draw of a person, temporary files).
pub(crate) fn masked(said: &str) -> String {
    let line = |line: &str| {
        let mut line = match line.split_once(" frames in ") {
            Some((count, _)) => format!("{count} frames in FILE"),
            None => line.to_owned(),
        };
        for (before, after) in [("\"version\":", ""), ("It is at version \\\"", "\\\""), ("\"components\":{", "}")] {
            if let Some((head, rest)) = line.split_once(before) {
                let end = if after.is_empty() { rest.find([',', '}']) } else { rest.find(after) };
                line = format!("{head}{before}*{}", &rest[end.unwrap_or(rest.len())..]);
            }
        }
        line
    };
    said.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The output that a page of the documentation shows.
pub(crate) fn documented(page: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("a page");
    let (_, rest) = page.split_once("```text\n").expect("output");
    rest.split_once("\n```").expect("its end").0.to_owned()
}

/// What a script of the documentation says of this service; nothing where its tools are missing. It may
/// write `sheet`.
pub(crate) async fn tour(service: &Service, script: &str, sheet: &Path) -> Option<String> {
    for program in ["curl", "jq"] {
        if Command::new(program).arg("--version").output().await.is_err() {
            // where every check must run, one that did not is a failure
            assert!(std::env::var_os("CI").is_none(), "no {program}: the tour cannot be tried");
            eprintln!("no {program}: the tour was not tried");
            return None;
        }
    }
    let mut tour = Command::new("bash");
    let tour = tour.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
    let tour = tour.env("TESSERA_URL", service.url("")).env("TESSERA_ADMIN_KEY", ADMIN).env("SHEET", sheet);
    let ran = tour.output().await.expect("bash, curl and jq");
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}\n{complained}");
    Some(said.into_owned())
}
