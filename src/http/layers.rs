//! Everything that happens around a handler, in one layer and in this order:
//!
//! 1. name the request (`X-Request-Id`, `traceparent`) and stamp its time,
//! 2. admit it or refuse it at once, also for query parameters that its route does not know,
//! 3. run the handler; a panic in it becomes a 500 and stops nothing else,
//! 4. write the request id into a problem and log the cause of an internal one, once,
//! 5. add the headers that every answer has,
//! 6. count it, and log it (debug; warn for faults of the server) without path, query or body.
//!
//! One layer instead of a stack of twelve: each layer of a router costs two allocations a request.

use std::{
    any::Any,
    collections::HashMap,
    convert::Infallible,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request},
    handler::HandlerWithoutStateExt,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tower_http::compression::{CompressionLayer, predicate::SizeAbove};
use utoipa_axum::router::OpenApiRouter;

use super::{
    accept::Arrival,
    admission::{Admission, Class, Permit, refused},
    problem::{Problem, method_not_allowed, not_found},
    queries::Queries,
    request::{RequestId, RequestInfo, TraceId, X_REQUEST_ID},
};
use crate::telemetry::{ClassMeters, Meters, RouteMeters};

/// Time for a whole body to arrive, unless the class of its route gives less.
pub const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Wraps groups of routes into what every request gets.
#[derive(Clone)]
pub struct Edge(Arc<Shared>);

struct Shared {
    admission: Arc<Admission>,
    body_deadline: Duration,
    meters: Meters,
    classes: [ClassMeters; 6],
    routes: RwLock<HashMap<String, Arc<Route>>>,
}

/// A route as logs and metrics know it.
struct Route {
    /// Its template, never a concrete path.
    name: String,
    meters: RouteMeters,
}

impl Edge {
    /// An edge that admits by `admission`, counts in `meters` and waits `body_deadline` for bodies.
    #[must_use]
    pub fn new(admission: Arc<Admission>, meters: Meters, body_deadline: Duration) -> Self {
        let classes = Class::ALL.map(|class| meters.class(class.name()));
        Self(Arc::new(Shared { admission, body_deadline, meters, classes, routes: RwLock::default() }))
    }

    /// A group of routes of one priority class, with 405 as a problem. Call it on the finished group.
    pub fn group<S: Clone + Send + Sync + 'static>(&self, class: Class, routes: Router<S>) -> Router<S> {
        routes.method_not_allowed_fallback(method_not_allowed).layer(self.layer(class))
    }

    /// [`Self::group`] for routes that say which query parameters they know: others are 422.
    pub fn described<S: Clone + Send + Sync + 'static>(&self, class: Class, routes: OpenApiRouter<S>) -> Router<S> {
        let (routes, document) = routes.split_for_parts();
        let layer = EdgeLayer { queries: Some(Arc::new(Queries::of(&document))), ..self.layer(class) };
        routes.method_not_allowed_fallback(method_not_allowed).layer(layer)
    }

    /// The whole router: `groups` merged, and 404 as a problem for every other path.
    pub fn close<S: Clone + Send + Sync + 'static>(&self, groups: Router<S>) -> Router<S> {
        groups.fallback_service(self.layer(Class::Free).layer(not_found.into_service()))
    }

    /// The layer of one class, for a router that is put together by other means than [`Self::group`].
    #[must_use]
    pub fn layer(&self, class: Class) -> EdgeLayer {
        EdgeLayer { shared: self.0.clone(), class, queries: None }
    }
}

/// Compresses answers of 4 KiB and more where the client accepts it. For large lists only: a
/// decision costs less to send than to compress.
#[must_use]
pub fn compression() -> CompressionLayer<SizeAbove> {
    CompressionLayer::new().compress_when(SizeAbove::new(4 * 1024))
}

/// See [`Edge::layer`].
#[derive(Clone)]
pub struct EdgeLayer {
    shared: Arc<Shared>,
    class: Class,
    queries: Option<Arc<Queries>>,
}

impl<S> Layer<S> for EdgeLayer {
    type Service = EdgeService<S>;

    fn layer(&self, inner: S) -> EdgeService<S> {
        let (shared, queries) = (self.shared.clone(), self.queries.clone());
        EdgeService { inner, shared, class: self.class, queries, route: Arc::default() }
    }
}

/// A handler with what every request gets around it.
#[derive(Clone)]
pub struct EdgeService<S> {
    inner: S,
    shared: Arc<Shared>,
    class: Class,
    queries: Option<Arc<Queries>>,
    /// A router makes one service for each method of a path, so its meters are looked up once.
    route: Arc<OnceLock<Arc<Route>>>,
}

impl<S> Service<Request> for EdgeService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = EdgeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let shared = &self.shared;
        let arrival = request.extensions().get::<Arrival>().copied();
        let arrived = arrival.map_or_else(Instant::now, |arrival| arrival.at);
        let deadline = shared.admission.limits(self.class).deadline;
        let info = RequestInfo {
            id: RequestId::of(request.headers()),
            trace: TraceId::of(request.headers()),
            arrived,
            body_by: arrived + deadline.min(shared.body_deadline),
            expires: arrived + deadline,
            peer: arrival.map(|arrival| arrival.peer),
        };
        let route = self.route.get_or_init(|| shared.route(request.extensions().get())).clone();
        let permit = shared.admission.enter(self.class);
        let around = Around {
            shared: shared.clone(),
            class: self.class,
            route,
            method: request.method().clone(),
            info: info.clone(),
            permit,
        };
        let refusal = match (&around.permit, &self.queries) {
            (None, _) => Some(refused()),
            (Some(_), None) => None,
            (Some(_), Some(queries)) => {
                let refusal = queries.refuse(&around.route.name, request.method(), request.uri());
                refusal.map(IntoResponse::into_response)
            }
        };
        if refusal.is_some() {
            return EdgeFuture { inner: None, refusal, around: Some(around) };
        }
        request.extensions_mut().insert(info);
        EdgeFuture { inner: Some(self.inner.call(request)), refusal: None, around: Some(around) }
    }
}

impl Shared {
    /// A route by its template. The table is kept here because a router without a state
    /// makes its services anew for every request.
    fn route(&self, path: Option<&MatchedPath>) -> Arc<Route> {
        let name = path.map_or("(none)", MatchedPath::as_str);
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.unwrap_or_else(|| {
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Route { name: name.to_owned(), meters: self.meters.route(name) });
            routes.entry(name.to_owned()).or_insert_with(new).clone()
        })
    }
}

pin_project! {
    /// The answer of a handler, or the refusal to run it.
    pub struct EdgeFuture<F> {
        #[pin]
        inner: Option<F>,
        refusal: Option<Response>,
        around: Option<Around>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for EdgeFuture<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match this.inner.as_pin_mut() {
            None => this.refusal.take().expect("a future is not polled after its end"),
            // After a panic the future is never polled again, so nothing broken is seen.
            Some(inner) => match catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(Ok(response))) => response,
                Err(panic) => {
                    let around = this.around.as_ref().expect("a future is not polled after its end");
                    around.shared.meters.panics.increment(1);
                    Problem::internal(panic_words(&*panic)).into_response()
                }
            },
        };
        let around = this.around.take().expect("a future is not polled after its end");
        Poll::Ready(Ok(around.finish(response)))
    }
}

/// A literal is our own; a formatted message may quote what a person sent, so it is withheld.
fn panic_words(panic: &(dyn Any + Send)) -> String {
    format!("panic: {}", panic.downcast_ref::<&'static str>().unwrap_or(&"(message withheld)"))
}

/// What is kept of a request while its handler runs.
struct Around {
    shared: Arc<Shared>,
    class: Class,
    route: Arc<Route>,
    method: Method,
    info: RequestInfo,
    permit: Option<Permit>,
}

impl Around {
    fn finish(self, mut response: Response) -> Response {
        const NOSNIFF: (HeaderName, HeaderValue) =
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let problem = response.extensions_mut().remove::<Problem>();
        if let Some(problem) = &problem {
            *response.body_mut() = Body::from(problem.render(Some(self.info.id.as_str())));
        }
        let headers = response.headers_mut();
        headers.insert(NOSNIFF.0, NOSNIFF.1);
        headers.insert(X_REQUEST_ID, self.info.id.header());
        headers.entry(header::CACHE_CONTROL).or_insert(const { HeaderValue::from_static("no-store") });
        let status = response.status();
        let class = &self.shared.classes[self.class as usize];
        let took = self.info.arrived.elapsed();
        self.route.meters.of(status.as_u16()).increment(1);
        if self.permit.is_some() {
            class.duration.record(took.as_secs_f64());
        } else {
            class.shed.increment(1);
        }
        self.log(status, took, problem.as_ref());
        response
    }

    fn log(&self, status: StatusCode, took: Duration, problem: Option<&Problem>) {
        let cause = problem.and_then(|problem| problem.source.as_deref());
        // Refusals come in floods and are counted; everything else that is our fault is told.
        let fault = status.is_server_error() && self.permit.is_some();
        if !fault && cause.is_none() && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let (method, status, took_us) = (self.method.as_str(), status.as_u16(), took.as_micros() as u64);
        let (request_id, trace_id) = (self.info.id.as_str(), self.info.trace.as_ref().map(TraceId::as_str));
        let route = self.route.name.as_str();
        let cause = cause.map(error_chain);
        if fault {
            tracing::warn!(method, route, status, took_us, request_id, trace_id, cause, "request failed");
        } else {
            tracing::debug!(method, route, status, took_us, request_id, trace_id, cause, "request");
        }
    }
}

/// An error and everything that led to it.
fn error_chain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex};

    use axum::routing::get;
    use serde_json::Value;
    use tower::ServiceExt;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::{http::admission::AdmissionLimits, telemetry};

    /// What was logged, in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Log {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    async fn boom(axum::extract::Path(key): axum::extract::Path<String>) {
        panic!("for {key}");
    }

    #[tokio::test]
    async fn logs_name_the_route_and_the_cause_and_nobody() {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(log.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let (meters, _) = telemetry::metrics();
        let edge = Edge::new(Admission::new(AdmissionLimits::default()), meters, BODY_DEADLINE);
        let routes = Router::new()
            .route("/users/{key}", get(|| async { Problem::internal(io::Error::other("disk on fire")) }))
            .route("/boom/{key}", get(boom));
        let router: Router = edge.close(edge.group(Class::Decide, routes));
        for path in ["/users/anna?email=anna", "/boom/anna", "/nowhere/anna"] {
            let request = Request::builder()
                .uri(path)
                .header("x-request-id", "r-1")
                .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
                .body(Body::from("anna"))
                .unwrap();
            router.clone().oneshot(request).await.unwrap();
        }
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("anna"), "{text}");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "faults of the server are told, those of callers are not: {text}");
        assert_eq!(lines[0]["route"], "/users/{key}");
        assert_eq!(lines[0]["cause"], "disk on fire");
        assert_eq!(lines[0]["request_id"], "r-1");
        assert_eq!(lines[0]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(lines[1]["cause"], "panic: (message withheld)");
    }
}
