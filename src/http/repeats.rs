//! `Idempotency-Key`: a POST that may be sent again, and is done once.
//!
//! The first request with a key is answered as ever, and its answer kept for 24 hours; the same
//! request with the same key gets that answer again. What failed on our side is forgotten, so that
//! it can be tried again. Each API key gets its own answers alone, and secrets are never kept. After
//! draft-ietf-httpapi-idempotency-key-header.

use axum::{
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use utoipa::openapi::{
    PathItem, RefOr, Required, SecurityRequirement,
    path::{ParameterBuilder, ParameterIn},
    schema::{ObjectBuilder, Type},
};

use super::{
    app::App,
    auth::Caller,
    body,
    problem::{Problem, ProblemKind},
};
use crate::{
    domain::violation::Violation,
    engine::{KeptAnswer, Repeat},
};

/// Ends of paths whose answers are secrets: they are never kept.
const SECRET: [&str; 2] = ["/rotate", "/token"];
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The largest body of a request with a key, in bytes: all of it is looked at before it is done.
const LARGEST: usize = 32 << 20;
/// Headers of an answer that are kept.
const HEADERS: [HeaderName; 4] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG, header::CONTENT_DISPOSITION];

/// Whether the answers of a path are secrets.
fn is_secret(path: &str) -> bool {
    SECRET.iter().any(|end| path.ends_with(end))
}

/// Describes the key where a POST may have one.
pub(super) fn describe(path: &str, item: &mut PathItem) {
    let Some(operation) = item.post.as_mut().filter(|_| !is_secret(path)) else { return };
    if operation.security.as_ref().is_none_or(|kinds| kinds.iter().all(|kind| *kind == SecurityRequirement::default()))
    {
        return;
    }
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255));
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Makes it safe to send the request again: for 24 hours the same request with the same key gets the same \
             answer, with `Idempotency-Replayed: true`, and is done once. With another request it is 422, and 409 \
             while the first is under way. All of the body is looked at first, so with a key it may have at most \
             32 MiB (413), also where the operation itself takes more.",
        ))
        .schema(Some(text));
    operation.parameters.get_or_insert_default().push(RefOr::T(key.build()));
    let answers = &mut operation.responses.responses;
    let problem = answers.get("401").cloned();
    for (status, means) in [("409", "The first request with the same key is under way"), ("422", "The key is no key")] {
        if let (None, Some(RefOr::T(mut problem))) = (answers.get(status), problem.clone()) {
            problem.description = means.to_owned();
            answers.insert(status.to_owned(), RefOr::T(problem));
        }
    }
}

/// Does a POST with a key once, however often it is sent.
pub(super) async fn once(State(app): State<App>, request: Request, next: Next) -> Response {
    let secret = is_secret(request.uri().path());
    if request.method() != Method::POST || !request.headers().contains_key(KEY) || secret {
        return next.run(request).await;
    }
    let (mut parts, content) = request.into_parts();
    // whoever may not call is told so by the route itself
    let Ok(caller) = Caller::from_request_parts(&mut parts, &app).await else {
        return next.run(Request::from_parts(parts, content)).await;
    };
    match keyed(&app, &caller, Request::from_parts(parts, content), next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn keyed(app: &App, caller: &Caller, request: Request, next: Next) -> Result<Response, Problem> {
    let key = request.headers().get(KEY).and_then(|key| key.to_str().ok()).unwrap_or_default().trim().to_owned();
    if !(1..=255).contains(&key.len()) {
        let detail = "Idempotency-Key must be 1 to 255 printable characters";
        return Err(Problem::invalid(vec![Violation::new("", "header", detail)]));
    }
    let (parts, content) = request.into_parts();
    let mut hash = blake3::Hasher::new();
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    hash.update(&(target.len() as u64).to_le_bytes()).update(target.as_bytes());
    let mut whole = Request::from_parts(parts.clone(), content);
    // the body as it travels: its coding is the route's to undo
    whole.headers_mut().remove(header::CONTENT_ENCODING);
    let bytes = body::read(whole, LARGEST).await.map_err(|problem| match problem.kind {
        ProblemKind::PayloadTooLarge => Problem {
            detail: format!(
                "With an Idempotency-Key the body may have at most {LARGEST} bytes, because all of it is looked at \
                 before it is done. Send it without the key, or in parts."
            ),
            ..problem
        },
        _ => problem,
    })?;
    hash.update(&bytes);
    let (account, request_hash) = (caller.account.number(), *hash.finalize().as_bytes());
    // each API key has its own: what one may read another may not
    let key = format!("{}/{key}", caller.principal.key);
    let repeats = &app.engine.repeats;
    match repeats.begin_once(account, key.clone(), request_hash).await? {
        Repeat::First => {}
        Repeat::Answered(answer) => return Ok(again(answer)),
        Repeat::UnderWay => {
            return Err(Problem::new(ProblemKind::Conflict, "The first request with this key is still under way."));
        }
        Repeat::Other => {
            let detail = "another request was sent with this Idempotency-Key";
            return Err(Problem::invalid(vec![Violation::new("", "key_reused", detail)]));
        }
    }
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    let (parts, content) = response.into_parts();
    let Ok(content) = content.collect().await else {
        repeats.end_once(account, key, None).await?;
        return Err(Problem::internal("an answer could not be read"));
    };
    let content: Bytes = content.to_bytes();
    let ours = parts.status.is_server_error()
        || matches!(
            parts.status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
        );
    let kept = (!ours).then(|| KeptAnswer {
        status: parts.status.as_u16(),
        headers: HEADERS
            .iter()
            .filter_map(|name| Some((name.to_string(), parts.headers.get(name)?.to_str().ok()?.to_owned())))
            .collect(),
        body: content.to_vec(),
    });
    if let Err(error) = repeats.end_once(account, key, kept).await {
        // what was done is done: the same request is refused for two minutes, then done again
        tracing::warn!(%error, "the answer of a request with an idempotency key is not kept");
    }
    Ok(Response::from_parts(parts, Body::from(content)))
}

fn again(answer: KeptAnswer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
