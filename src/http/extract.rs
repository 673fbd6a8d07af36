//! Extractors whose every failure is a problem document; axum's own answer in plain text.

use std::sync::Arc;

use axum::{
    body::HttpBody as _,
    extract::{
        FromRef, FromRequest, FromRequestParts, Path, Query, Request, path::ErrorKind, rejection::PathRejection,
    },
    http::request::Parts,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

pub use super::body::BODY_LIMIT;
use super::{
    body,
    problem::{Problem, ProblemKind},
};
use crate::{domain::violation::Violation, schema::Schemas};

/// A JSON body of at most `LIMIT` bytes whose types say all there is to check: one typed pass.
#[derive(Debug)]
pub struct ApiJson<T, const LIMIT: usize = BODY_LIMIT>(pub T);

/// A JSON body that a person wrote: the schema's patterns, ranges and lengths hold as well.
#[derive(Debug)]
pub struct StrictJson<T, const LIMIT: usize = BODY_LIMIT>(pub T);

/// A [`StrictJson`] body that may be left out.
#[derive(Debug)]
pub struct MaybeJson<T, const LIMIT: usize = BODY_LIMIT>(pub T);

/// The bytes of a JSON body, for those who read it themselves.
#[derive(Debug)]
pub struct JsonBytes<const LIMIT: usize = BODY_LIMIT>(pub Bytes);

/// The bytes of a body of any type.
#[derive(Debug)]
pub struct RawBytes<const LIMIT: usize = BODY_LIMIT>(pub Bytes);

/// Parameters of the path.
#[derive(Debug)]
pub struct ApiPath<T>(pub T);

/// Parameters of the query.
#[derive(Debug)]
pub struct ApiQuery<T>(pub T);

impl<T, S, const LIMIT: usize> FromRequest<S> for ApiJson<T, LIMIT>
where
    T: DeserializeOwned + ToSchema,
    S: Send + Sync,
    Arc<Schemas>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = body::read_json(request, LIMIT).await?;
        Ok(Self(Arc::<Schemas>::from_ref(state).read(&bytes)?))
    }
}

impl<T, S, const LIMIT: usize> FromRequest<S> for StrictJson<T, LIMIT>
where
    T: DeserializeOwned + ToSchema,
    S: Send + Sync,
    Arc<Schemas>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = body::read_json(request, LIMIT).await?;
        Ok(Self(Arc::<Schemas>::from_ref(state).read_strict(&bytes)?))
    }
}

impl<T, S, const LIMIT: usize> FromRequest<S> for MaybeJson<T, LIMIT>
where
    T: Default + DeserializeOwned + ToSchema,
    S: Send + Sync,
    Arc<Schemas>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if request.body().is_end_stream() {
            return Ok(Self(T::default()));
        }
        let bytes = body::read_json(request, LIMIT).await?;
        if bytes.is_empty() || bytes.trim_ascii() == b"null" {
            return Ok(Self(T::default()));
        }
        Ok(Self(Arc::<Schemas>::from_ref(state).read_strict(&bytes)?))
    }
}

impl<S: Send + Sync, const LIMIT: usize> FromRequest<S> for JsonBytes<LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        body::read_json(request, LIMIT).await.map(Self)
    }
}

impl<S: Send + Sync, const LIMIT: usize> FromRequest<S> for RawBytes<LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        body::read(request, LIMIT).await.map(Self)
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(match error.kind() {
                ErrorKind::InvalidUtf8InPathParam { .. } => {
                    Problem::new(ProblemKind::BadRequest, "The path is not valid UTF-8.")
                }
                ErrorKind::WrongNumberOfParameters { .. } | ErrorKind::UnsupportedType { .. } => {
                    Problem::internal(error)
                }
                kind => Problem::invalid(vec![Violation::new("", "path", kind.to_string())]),
            }),
            Err(other) => Err(Problem::internal(other)),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(error) => {
                let mut words = error.body_text();
                if let Some(at) = words.find(": ") {
                    words.drain(..at + 2);
                }
                Err(Problem::invalid(vec![Violation::new("", "query", words)]))
            }
        }
    }
}
