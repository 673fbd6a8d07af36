//! What browsers are told of pages on other origins (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

/// The answer to a browser that asks first: a page may post with these headers, and need not ask again for a day. Which
/// origin may is for the caller to say.
pub(super) fn may_post(headers: &'static str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let out = response.headers_mut();
    out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(headers));
    out.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}
