//! What is known of a request before its handler runs: its id, its trace, its time.

use std::{
    net::SocketAddr,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
};
use uuid::{Uuid, fmt::Hyphenated};

use super::problem::Problem;

/// The header that carries a request's id in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names one request in answers and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Id);

/// Our own is copied with the request, and becomes a header's value only once.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Id {
    Sent(HeaderValue),
    New([u8; Hyphenated::LENGTH]),
}

impl RequestId {
    /// The id that the caller sent, if it is sane (1 to 128 letters, digits, `-`, `_`, `.`), else a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let sane = |value: &&HeaderValue| {
            let bytes = value.as_bytes();
            (1..=128).contains(&bytes.len())
                && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        headers.get(X_REQUEST_ID).filter(sane).map_or_else(Self::new, |value| Self(Id::Sent(value.clone())))
    }

    /// A new id in the form of a UUID of version 8: a random number of the process and a counter, so
    /// it costs no system call and never repeats.
    #[must_use]
    pub fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "once per process, to tell its requests from others'")]
        static PROCESS: LazyLock<(u64, u64)> = LazyLock::new(|| Uuid::now_v7().as_u64_pair());
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        const VERSION: u64 = 8 << 12;
        const VARIANT: u64 = 1 << 63;
        let (time, random) = *PROCESS;
        let high = (time << 16 | random & 0x0fff) & !0xf000 | VERSION;
        let low = (random >> 12).wrapping_add(COUNTER.fetch_add(1, Relaxed)) & (u64::MAX >> 2) | VARIANT;
        let mut text = [0; Hyphenated::LENGTH];
        Uuid::from_u64_pair(high, low).hyphenated().encode_lower(&mut text);
        Self(Id::New(text))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Id::Sent(value) => value.to_str().unwrap_or_default(),
            Id::New(text) => str::from_utf8(text).unwrap_or_default(),
        }
    }

    /// The id as a header's value.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(self.as_str()).expect("it came as a header's value, or is hexadecimal digits and hyphens")
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

/// The trace that a request belongs to: 32 hexadecimal digits (W3C Trace Context, `traceparent`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceId(HeaderValue);

impl TraceId {
    /// The trace named by a valid `traceparent` header of version 00 or later.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get("traceparent")?;
        let text = value.as_bytes();
        let hex = |at: std::ops::Range<usize>| {
            let digits = text.get(at)?;
            digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then_some(digits)
        };
        let (version, trace, parent, _flags) = (hex(0..2)?, hex(3..35)?, hex(36..52)?, hex(53..55)?);
        let dashes = [2, 35, 52].iter().all(|&at| text[at] == b'-');
        let ends = text.len() == 55 || version != b"00" && text[55] == b'-';
        let named = |digits: &[u8]| digits.iter().any(|&b| b != b'0');
        (dashes && ends && version != b"ff" && named(trace) && named(parent)).then(|| Self(value.clone()))
    }

    /// The 32 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().ok().and_then(|text| text.get(3..35)).unwrap_or_default()
    }
}

/// What is known of a request before its handler runs; an extractor.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// Its id.
    pub id: RequestId,
    /// Its trace, if the caller sent one.
    pub trace: Option<TraceId>,
    /// When its head was complete.
    pub arrived: Instant,
    /// When its body must be complete.
    pub body_by: Instant,
    /// When it is too old to begin.
    pub expires: Instant,
    /// The other end of the connection, which may be a proxy.
    pub peer: Option<SocketAddr>,
}

impl<S: Send + Sync> FromRequestParts<S> for RequestInfo {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::internal("a route outside the edge's layer"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())])
    }

    #[test]
    fn new_ids_are_distinct_uuids() {
        let ids: HashSet<String> = (0..10_000).map(|_| RequestId::new().as_str().to_owned()).collect();
        assert_eq!(ids.len(), 10_000);
        for id in ids {
            let uuid: Uuid = id.parse().unwrap();
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (8, uuid::Variant::RFC4122));
        }
    }

    #[test]
    fn a_callers_id_is_kept_only_if_it_is_sane() {
        for sane in ["a", "5f0c2c0e-7d1b-8a51-8000-00000000002a", "A.b_c-9", &"x".repeat(128)] {
            assert_eq!(RequestId::of(&headers("x-request-id", sane)).as_str(), sane);
        }
        for odd in ["", "a b", "a\"b", "<script>", "a,b", "\u{e4}", &"x".repeat(129)] {
            let id = RequestId::of(&headers("x-request-id", odd));
            assert!(id.as_str().parse::<Uuid>().is_ok(), "{odd} was kept");
        }
    }

    #[test]
    fn a_traceparent_is_read_by_the_letter() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = |text: &str| TraceId::of(&headers("traceparent", text)).map(|id| id.as_str().to_owned());
        assert_eq!(trace(good).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(trace(&good.replacen("00", "01", 1)).is_some(), "later versions read alike");
        assert!(trace(&format!("{}-more", good.replacen("00", "01", 1))).is_some());
        for bad in [
            "",
            "00",
            &good[..54],
            &format!("{good}0"),
            &format!("{good}-more"),
            &good.replacen("00", "ff", 1),
            &good.to_uppercase(),
            &good.replace('-', "_"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(trace(bad), None, "{bad}");
        }
    }
}
