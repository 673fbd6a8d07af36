//! A small service with one route for each thing that can go wrong, and clients that see bytes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::FromRef,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tessera::{
    http::{
        accept::{Drained, Limits, serve},
        admission::{Admission, AdmissionLimits, Class},
        extract::{ApiJson, ApiPath, ApiQuery, StrictJson},
        health::{self, Readiness},
        layers::{Edge, compression},
        problem::{self, Problem},
        request::RequestInfo,
    },
    schema::Schemas,
    telemetry,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use utoipa::{OpenApi, ToSchema};

/// Long enough for any wait that ends, on a machine that does other work as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    #[schema(min_length = 1, pattern = "^[a-z]+$")]
    name: String,
    #[schema(minimum = 1, maximum = 9)]
    count: Option<u32>,
    #[serde(default)]
    sizes: Vec<Size>,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Size {
    w: u32,
    h: u32,
}

#[derive(OpenApi)]
#[openapi(components(schemas(Order, Size)))]
struct Api;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<u8>,
}

#[derive(Clone)]
struct App {
    schemas: Arc<Schemas>,
}

impl FromRef<App> for Arc<Schemas> {
    fn from_ref(app: &App) -> Self {
        app.schemas.clone()
    }
}

/// Bytes of the answer of `/large`: more than the socket buffers of both ends hold.
pub(crate) const LARGE: usize = 64 << 20;

async fn wait(ApiPath(ms): ApiPath<u64>) -> String {
    sleep(Duration::from_millis(ms)).await;
    "waited".to_owned()
}

async fn boom() -> String {
    panic!("the handler of {} panics", "anna@example.com")
}

/// A running service.
pub(crate) struct Service {
    pub(crate) addr: SocketAddr,
    pub(crate) readiness: Readiness,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<Drained>,
}

/// Limits short enough for a test.
pub(crate) fn short() -> Limits {
    let ms = Duration::from_millis;
    Limits { head: ms(400), idle: ms(600), write: ms(500), drain: ms(3_000), ..Limits::default() }
}

pub(crate) async fn start(limits: Limits, admission: AdmissionLimits) -> Service {
    let schemas = Arc::new(Schemas::new(&serde_json::to_value(Api::openapi()).expect("JSON"), &[]).expect("schemas"));
    let (meters, exposition) = telemetry::metrics();
    let edge = Edge::new(Admission::new(admission), meters.clone(), Duration::from_millis(500));
    let readiness = Readiness::new(&["catalogue"]);
    let hot = Router::new()
        .route("/orders", post(|ApiJson(order): ApiJson<Order>| async { Json(order) }))
        .route("/strict", post(|StrictJson(order): StrictJson<Order>| async { Json(order) }))
        .route("/id", get(|info: RequestInfo| async move { info.id.as_str().to_owned() }))
        .route("/wait/{ms}", get(wait))
        .route("/boom", get(boom))
        .route("/fail", get(|| async { Problem::internal("the secret cause") }));
    let reports = Router::new()
        .route("/items/{id}", get(|ApiPath(id): ApiPath<u32>| async move { id.to_string() }))
        .route("/list", get(|ApiQuery(page): ApiQuery<Page>| async move { page.limit.unwrap_or(50).to_string() }))
        .route("/rows", get(|| async { "row,".repeat(10_000) }))
        .route("/large", get(|| async { vec![b'x'; LARGE] }))
        .route("/report/{ms}", get(wait))
        .layer(compression());
    let router = edge
        .close(
            edge.group(Class::Decide, hot)
                .merge(edge.group(Class::Reports, reports))
                .merge(edge.group(Class::Free, health::routes(readiness.clone(), exposition)))
                .merge(edge.group(Class::Free, problem::routes())),
        )
        .with_state(App { schemas });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let done = tokio::spawn(async move {
        let shutdown = async {
            let _ = stopped.await;
        };
        serve(listener, router, limits, &meters, shutdown).await
    });
    Service { addr, readiness, stop: Some(stop), done }
}

impl Service {
    pub(crate) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.addr).await.expect("a connection"), Vec::new())
    }

    /// Begins to drain.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().expect("stopped once").send(());
    }

    pub(crate) async fn drained(self) -> Drained {
        timeout(PATIENCE, self.done).await.expect("the drain ends").expect("no panic")
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "", b"").await
    }

    /// One request with extra header lines (each ended by CRLF) on a connection of its own.
    pub(crate) async fn call(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut client = self.connect().await;
        client.send(&request(method, path, headers, body)).await;
        client.answer_to(method).await.expect("an answer")
    }
}

pub(crate) fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n{length}{headers}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let value = |line: &'_ str| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)).is_some();
        self.head.lines().find(|line| value(line)).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Asserts that this is a problem document of this status, and returns it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?} {}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], status);
        assert!(document["type"].as_str().is_some_and(|kind| kind.starts_with("/problems/")));
        assert_eq!(document["request_id"].as_str(), self.header("x-request-id"));
        document
    }
}

/// One connection and what was read of it beyond the last answer.
pub(crate) struct Client(pub(crate) TcpStream, Vec<u8>);

impl Client {
    /// Sends bytes; a server that has closed already is no failure.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        self.answer_to("GET").await
    }

    /// The next answer, or `None` when the connection ends first.
    pub(crate) async fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = self.1.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.1.drain(..head_end).collect()).expect("a head in ASCII");
        let status = head[9..12].parse().expect("a status");
        let mut answer = Answer { status, head, body: Vec::new() };
        if answer.header("transfer-encoding").is_some() {
            while !self.1.ends_with(b"0\r\n\r\n") {
                self.more().await?;
            }
            answer.body = dechunk(&std::mem::take(&mut self.1));
        } else if method != "HEAD" {
            let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
            while self.1.len() < length {
                self.more().await?;
            }
            answer.body = self.1.drain(..length).collect();
        }
        Some(answer)
    }

    async fn more(&mut self) -> Option<()> {
        let read = timeout(PATIENCE, self.0.read_buf(&mut self.1)).await.expect("the server does something");
        (read.unwrap_or(0) > 0).then_some(())
    }

    /// Waits until the server closes the connection, reading what comes.
    pub(crate) async fn closed(mut self) {
        while self.more().await.is_some() {
            self.1.clear();
        }
    }
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    loop {
        let at = bytes.windows(2).position(|two| two == b"\r\n").expect("a chunk");
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).expect("ASCII"), 16).expect("a length");
        if length == 0 {
            return plain;
        }
        plain.extend_from_slice(&bytes[at + 2..at + 2 + length]);
        bytes = &bytes[at + 4 + length..];
    }
}
