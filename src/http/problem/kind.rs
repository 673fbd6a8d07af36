//! The one table of everything that can go wrong for a caller.

use axum::http::StatusCode;

/// Declares the kinds of problems: status, slug, title, seconds to wait before a retry, and the
/// paragraph that documents them.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $status:ident, $slug:literal, $title:literal, $retry:expr, $words:literal;)+) => {
        /// What went wrong, as a caller sees it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemKind {
            $($(#[$doc])* $kind,)+
        }

        impl ProblemKind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// HTTP status of the answer.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)+ }
            }

            /// Last part of the type URI `/problems/{slug}`.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$kind => $slug,)+ }
            }

            /// Short human title, the same for every occurrence (RFC 9457 section 3.1.3).
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)+ }
            }

            /// Seconds after which a retry makes sense; `None` where waiting changes nothing.
            #[must_use]
            pub const fn retry_after(self) -> Option<u32> {
                match self { $(Self::$kind => $retry,)+ }
            }

            /// What it means and what to do, for the documentation page.
            #[must_use]
            pub const fn documentation(self) -> &'static str {
                match self { $(Self::$kind => $words,)+ }
            }
        }
    };
}

kinds! {
    /// The body is no JSON.
    MalformedJson: BAD_REQUEST, "malformed-json", "The body is not valid JSON", None,
        "The body could not be read as one JSON document in UTF-8. `detail` names the line and column. \
         Byte order marks, comments, duplicate members, NaN, numbers beyond the range of a double and \
         more than 128 levels of nesting are refused.";
    /// The request is broken in another way than its JSON.
    BadRequest: BAD_REQUEST, "bad-request", "The request could not be read", None,
        "The path, the query, a header or the transfer of the body is broken. `detail` says which.";
    /// No key, or one that is not known.
    Unauthorized: UNAUTHORIZED, "unauthorized", "A valid API key is required", None,
        "Send `Authorization: Bearer <key>` with a key that exists and has not been revoked.";
    /// The key does not allow this.
    Forbidden: FORBIDDEN, "forbidden", "The API key does not allow this", None,
        "The key is valid but lacks the scope that this operation needs. `detail` names the scope.";
    /// Nothing is here.
    NotFound: NOT_FOUND, "not-found", "There is no such resource", None,
        "The path names no operation, or it names a resource that does not exist in the account of the key.";
    /// Another method is needed.
    MethodNotAllowed: METHOD_NOT_ALLOWED, "method-not-allowed", "The resource does not support this method", None,
        "The `Allow` header of the answer lists the methods that the path supports.";
    /// The body did not arrive in time.
    RequestTimeout: REQUEST_TIMEOUT, "request-timeout", "The request did not arrive in time", None,
        "The body must arrive whole within the limit in `detail`. The connection is closed.";
    /// Other resources stand in the way.
    Conflict: CONFLICT, "conflict", "The change conflicts with other resources", None,
        "The change would break a resource that depends on this one, or something with this key exists already. \
         `errors` names the others.";
    /// It was erased.
    Gone: GONE, "gone", "The resource was erased", None,
        "It existed and was erased on purpose, such as the decisions of a person who asked to be forgotten.";
    /// The resource has changed in between.
    PreconditionFailed: PRECONDITION_FAILED, "precondition-failed", "The resource has changed since it was read", None,
        "The `If-Match` header names a version that is no longer current. Read the resource again, apply the \
         change to it and send it with the new `ETag`.";
    /// The body is too large.
    PayloadTooLarge: PAYLOAD_TOO_LARGE, "payload-too-large", "The body is too large", None,
        "`detail` names the limit, which holds for the body as sent and for the body after decompression.";
    /// The body is of a type that is not read here.
    UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body has an unsupported type or coding", None,
        "Send `Content-Type: application/json` in UTF-8, uncompressed or with `Content-Encoding: gzip`.";
    /// The document breaks rules.
    Invalid: UNPROCESSABLE_ENTITY, "invalid", "The document breaks one or more rules", None,
        "The JSON is well formed but says something that is not allowed. `errors` lists every fault at once: a \
         JSON pointer to the place, a stable code and what to change. Nothing was changed.";
    /// A version must be named.
    PreconditionRequired: PRECONDITION_REQUIRED, "precondition-required", "The change must name the version it replaces", None,
        "Send `If-Match` with the `ETag` of the version that was read, so that no change of somebody else is lost.";
    /// The caller sends too much.
    TooManyRequests: TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", Some(1),
        "The caller is over its own limit. Wait for the seconds in `Retry-After`.";
    /// The head of the request is too large.
    HeaderFieldsTooLarge: REQUEST_HEADER_FIELDS_TOO_LARGE, "header-fields-too-large", "The header fields are too large", None,
        "All header fields together may take 64 KiB and number 100.";
    /// The server fails for a reason of its own.
    Internal: INTERNAL_SERVER_ERROR, "internal", "The server failed", None,
        "This is a fault of the server. Quote the `request_id` to its operators, whose logs hold the cause.";
    /// The server is busy.
    Overloaded: SERVICE_UNAVAILABLE, "overloaded", "The server is overloaded", Some(1),
        "The server refused the request at once, because it could not have answered in time. Nothing was \
         changed. Wait for the seconds in `Retry-After` and retry with jitter.";
    /// The database is away.
    StoreUnavailable: SERVICE_UNAVAILABLE, "store-unavailable", "The store is not available", Some(2),
        "The operation needs the database, which does not answer. Decisions go on meanwhile. Nothing was \
         changed. Wait for the seconds in `Retry-After`.";
}
