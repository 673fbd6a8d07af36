//! The description of the API for programs (`/openapi.json`) and for people (`/docs`), served from
//! the binary.

use std::sync::LazyLock;

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{
    etag::{self, Unless},
    layers::compression,
    openapi,
};

/// The document and its entity tag, made once.
static DOCUMENT: LazyLock<(Bytes, HeaderValue)> = LazyLock::new(|| {
    let json = serde_json::to_vec(&openapi::document()).unwrap_or_default();
    let tag = format!("\"{}\"", &blake3::hash(&json).to_hex()[..16]);
    (json.into(), HeaderValue::from_str(&tag).unwrap_or_else(|_| HeaderValue::from_static("\"0\"")))
});

/// `GET /openapi.json` and `/docs`.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let pages = SwaggerUi::new("/docs").config(Config::from("/openapi.json").try_it_out_enabled(true));
    Router::new().route("/openapi.json", get(document)).merge(pages).layer(compression())
}

/// Describe the API
///
/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations", operation_id = "get_openapi", params(Unless), security(()),
    responses(
        (status = 200, description = "An OpenAPI 3.1 document.", body = Object, content_type = "application/json",
            headers(("ETag" = String, description = "Changes with the document."))),
        (status = 304, description = "The caller has it."),
    )
)]
pub(super) async fn document(headers: HeaderMap) -> Response {
    let (json, tag) = &*DOCUMENT;
    let always = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if etag::is_known(&headers, tag) {
        return (StatusCode::NOT_MODIFIED, always).into_response();
    }
    (always, [(header::CONTENT_TYPE, "application/json")], json.clone()).into_response()
}
