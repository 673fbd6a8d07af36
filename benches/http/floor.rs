//! The floor: axum, its router and the same accept loop, reading the same body and answering the
//! same bytes with the same headers, and doing nothing else.

use std::path::PathBuf;

use axum::{
    Router,
    body::Bytes,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::post,
};
use tessera::{
    http::accept::{self, Limits},
    telemetry,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves until it is killed.
pub(crate) fn serve(address: &str, answer: PathBuf, length: usize) {
    let answer = Bytes::from(std::fs::read(answer).expect("the answer"));
    let handler = move |body: Bytes| {
        let answer = answer.clone();
        async move {
            assert_eq!(body.len(), length, "another body than the one measured");
            respond(answer)
        }
    };
    let router: Router = Router::new()
        .route("/v1/decisions", post(handler.clone()))
        .route("/openrtb2/bid", post(handler))
        .with_state(());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.expect("an address");
        let (meters, _exposition) = telemetry::metrics();
        accept::serve(listener, router, Limits::default(), &meters, std::future::pending()).await;
    });
}

fn respond(answer: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, answer).into_response()
}
