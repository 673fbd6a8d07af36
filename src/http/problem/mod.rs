//! Errors as callers see them: RFC 9457 `application/problem+json`.
//!
//! Nobody below the edge knows this file. Words for callers stand in [`ProblemKind`]; words for
//! operators ride along as the source of an internal problem and are logged once, by the layer
//! that also writes the request id into the document.

mod kind;
mod pages;
mod table;

use std::{collections::BTreeMap, error::Error, sync::Arc};

use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::openapi::{self, ContentBuilder, Ref, RefOr, ResponseBuilder};

pub use self::{kind::ProblemKind, pages::routes};
use crate::{domain::violation::Violation, schema::ReadError};

/// Media type of a problem document.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The wire form of a problem (RFC 9457 section 3), in the OpenAPI document named `Problem`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "/problems/invalid",
    "title": "The document breaks one or more rules",
    "status": 422,
    "detail": "1 fault was found.",
    "errors": [{"pointer": "/placements/0/sizes/0", "code": "pattern", "detail": "must look like 300x250"}],
    "request_id": "5f0c2c0e-7d1b-8a51-8000-00000000002a"
}))]
pub struct ProblemDocument<'a> {
    /// Where this kind of problem is documented, relative to the server.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of problem it is; the same for every occurrence.
    pub title: &'a str,
    /// HTTP status of the answer.
    pub status: u16,
    /// What is wrong with this request.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub detail: &'a str,
    /// Every fault of the document sent.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<Violation>)]
    pub errors: &'a [Violation],
    /// Names this request in the server's logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
}

/// A failed request.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What went wrong.
    pub kind: ProblemKind,
    /// What is wrong with this request, for its caller; may be empty.
    pub detail: String,
    /// Every fault of the document sent.
    pub errors: Vec<Violation>,
    /// The cause, for operators only: never on the wire.
    pub source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), source: None }
    }

    /// A document that breaks rules: 422 with every fault.
    #[must_use]
    pub fn invalid(errors: Vec<Violation>) -> Self {
        let detail = match errors.len() {
            1 => "1 fault was found.".to_owned(),
            count => format!("{count} faults were found."),
        };
        Self { errors, ..Self::new(ProblemKind::Invalid, detail) }
    }

    /// A fault of the server: opaque to the caller, logged with its cause.
    #[must_use]
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ProblemKind::Internal, "").caused_by(source)
    }

    /// The same problem with its cause, which is logged and not shown.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// The same problem with faults at places of the document sent.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<Violation>) -> Self {
        self.errors = errors;
        self
    }

    /// The same problem, its faults within a part of what was sent.
    #[must_use]
    pub fn under(mut self, part: &str) -> Self {
        self.errors = self.errors.into_iter().map(|fault| fault.under(part)).collect();
        self
    }

    /// The bytes of the problem document.
    #[must_use]
    pub fn render(&self, request_id: Option<&str>) -> Vec<u8> {
        let document = ProblemDocument {
            kind: format!("/problems/{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            errors: &self.errors,
            request_id,
        };
        serde_json::to_vec(&document).expect("strings and integers always serialise")
    }
}

impl From<ProblemKind> for Problem {
    fn from(kind: ProblemKind) -> Self {
        Self::new(kind, "")
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            // JSON begins on line 1, so that there was nothing at all
            ReadError::Malformed { line: 1, column: 0, .. } => {
                Self::new(ProblemKind::MalformedJson, "The body is empty; send a JSON document, such as {}.")
            }
            ReadError::Malformed { line, column, detail } => {
                Self::new(ProblemKind::MalformedJson, format!("line {line}, column {column}: {detail}"))
            }
            ReadError::Invalid(errors) => Self::invalid(errors),
        }
    }
}

impl IntoResponse for Problem {
    /// The document without a request id; the layer around the route adds it, which is why the
    /// problem itself travels along as an extension.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.render(None)));
        *response.status_mut() = self.kind.status();
        response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
        if let Some(seconds) = self.kind.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Answers a path that names nothing.
pub async fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "The path names no operation; GET /openapi.json lists them all.")
}

/// Answers a method that a path does not support; the router adds `Allow`.
pub async fn method_not_allowed() -> Problem {
    ProblemKind::MethodNotAllowed.into()
}

/// The OpenAPI responses of these problems, for [`utoipa::IntoResponses`].
#[must_use]
pub fn responses(kinds: &[ProblemKind]) -> BTreeMap<String, RefOr<openapi::Response>> {
    let mut words: BTreeMap<StatusCode, Vec<&str>> = BTreeMap::new();
    for kind in kinds {
        words.entry(kind.status()).or_default().push(kind.title());
    }
    let document = |(status, titles): (StatusCode, Vec<&str>)| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new()
            .description(titles.join("; or: "))
            .content("application/problem+json", content)
            .build();
        (status.as_str().to_owned(), RefOr::T(response))
    };
    words.into_iter().map(document).collect()
}

/// Declares a type that names the problems of an operation, for `responses(...)` of
/// `#[utoipa::path]`.
#[macro_export]
macro_rules! problems {
    ($(#[$doc:meta])* $vis:vis $name:ident = [$($kind:ident),+ $(,)?]) => {
        $(#[$doc])*
        #[doc = "The problems that an operation may answer with."]
        $vis struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                $crate::http::problem::responses(&[$($crate::http::problem::ProblemKind::$kind),+])
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::{Value, json};
    use utoipa::{IntoResponses, PartialSchema, ToSchema};

    use super::*;

    fn json(problem: &Problem, request_id: Option<&str>) -> Value {
        serde_json::from_slice(&problem.render(request_id)).unwrap()
    }

    #[test]
    fn a_document_says_everything_a_caller_needs() {
        let problem = Problem::invalid(vec![Violation::new("/a", "type", "must be a number")]);
        assert_eq!(
            json(&problem, Some("r-1")),
            json!({
                "type": "/problems/invalid", "title": "The document breaks one or more rules", "status": 422,
                "detail": "1 fault was found.",
                "errors": [{"pointer": "/a", "code": "type", "detail": "must be a number"}],
                "request_id": "r-1"
            })
        );
    }

    #[test]
    fn a_cause_never_reaches_the_caller() {
        let problem = Problem::internal("password=hunter2");
        assert_eq!(problem.source.as_ref().unwrap().to_string(), "password=hunter2");
        assert!(!String::from_utf8(problem.render(None)).unwrap().contains("hunter2"));
    }

    #[test]
    fn the_table_is_consistent() {
        let mut slugs = HashSet::new();
        for &kind in ProblemKind::ALL {
            assert!(slugs.insert(kind.slug()), "{} twice", kind.slug());
            assert!(kind.slug().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", kind.slug());
            assert!(kind.status().is_client_error() || kind.status().is_server_error());
            let waits = matches!(kind.status().as_u16(), 429 | 503);
            assert_eq!(kind.retry_after().is_some(), waits, "{}", kind.slug());
            let response = Problem::from(kind).into_response();
            assert_eq!(response.headers().contains_key(RETRY_AFTER), waits);
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        }
    }

    problems!(
        /// Those of a busy server.
        Busy = [Overloaded, StoreUnavailable, TooManyRequests]
    );

    #[test]
    fn kinds_of_one_status_share_a_response() {
        let responses = Busy::responses();
        assert_eq!(responses.keys().collect::<Vec<_>>(), ["429", "503"]);
        let RefOr::T(busy) = &responses["503"] else { panic!("a reference") };
        assert_eq!(busy.description, "The server is overloaded; or: The store is not available");
        assert_eq!(ProblemDocument::name(), "Problem");
        assert!(serde_json::to_value(ProblemDocument::schema()).unwrap()["properties"]["type"].is_object());
    }
}
