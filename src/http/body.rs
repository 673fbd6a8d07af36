//! Bodies as bytes, within limits of size, time and coding.

use std::{io::Read, time::Instant};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use tokio::time::timeout_at;

use super::{
    layers::BODY_DEADLINE,
    problem::{Problem, ProblemKind},
    request::RequestInfo,
};

/// Largest JSON body by default, in bytes, as sent and after decompression.
pub const BODY_LIMIT: usize = 256 * 1024;

/// Reads a JSON body: its type and coding must be known, it must fit `limit`, arrive in time and
/// find the request still worth beginning.
///
/// # Errors
/// 415, 413, 408, 400 or 503.
pub async fn read_json(request: Request, limit: usize) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        let sent = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let detail =
            format!("The body must be application/json in UTF-8, not {}.", sent.unwrap_or("what it is called"));
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    read(request, limit).await
}

/// Reads a body of any type, plain or gzipped.
///
/// # Errors
/// 415 for another coding, 413, 408, 400 or 503.
pub async fn read(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let gzipped = match request.headers().get(header::CONTENT_ENCODING).map(|coding| coding.as_bytes()) {
        None => false,
        Some(coding) if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") => true,
        Some(coding) if coding.eq_ignore_ascii_case(b"identity") => false,
        Some(_) => {
            return Err(Problem::new(
                ProblemKind::UnsupportedMediaType,
                "The body may be coded with gzip or not at all.",
            ));
        }
    };
    let times = request.extensions().get::<RequestInfo>().map(|info| (info.body_by, info.expires));
    let (body_by, expires) = times.unwrap_or_else(|| {
        let by = Instant::now() + BODY_DEADLINE;
        (by, by)
    });
    let mut body = request.into_body();
    let bytes = match timeout_at(body_by.into(), collect(&mut body, limit)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(Unread::TooLarge)) => return Err(too_large(limit)),
        Ok(Err(Unread::Broken(error))) => {
            return Err(Problem::new(ProblemKind::BadRequest, "The body broke off.").caused_by(error));
        }
        Err(_) => return Err(Problem::new(ProblemKind::RequestTimeout, "The body took too long to arrive.")),
    };
    // It came in time, yet we were too slow to look at it.
    if Instant::now() > expires {
        return Err(ProblemKind::Overloaded.into());
    }
    if gzipped { gunzip(&bytes, limit) } else { Ok(bytes) }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(ProblemKind::PayloadTooLarge, format!("The body may have at most {limit} bytes."))
}

enum Unread {
    TooLarge,
    Broken(axum::Error),
}

/// Gathers a body; one that comes in a single piece is not copied.
async fn collect(body: &mut Body, limit: usize) -> Result<Bytes, Unread> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Unread::TooLarge);
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Err(Unread::TooLarge);
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    Ok([first, rest.freeze()].concat().into())
}

fn gunzip(bytes: &[u8], limit: usize) -> Result<Bytes, Problem> {
    let mut plain = Vec::with_capacity((bytes.len() * 4).min(limit));
    match MultiGzDecoder::new(bytes).take(limit as u64 + 1).read_to_end(&mut plain) {
        Ok(length) if length > limit => Err(too_large(limit)),
        Ok(_) => Ok(plain.into()),
        Err(_) => Err(Problem::new(ProblemKind::BadRequest, "The body is not gzip as Content-Encoding says.")),
    }
}

/// Whether the body claims to be JSON in UTF-8; a body without a type is taken for it.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    if value.as_bytes() == b"application/json" {
        return true;
    }
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json");
    let charset = |part: &str| {
        let part = part.to_ascii_lowercase();
        part.strip_prefix("charset=").is_none_or(|set| matches!(set.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"))
    };
    json && parts.all(charset)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use std::{
        collections::VecDeque,
        pin::Pin,
        task::{Context, Poll},
    };

    use axum::http::HeaderValue;
    use flate2::{Compression, write::GzEncoder};
    use hyper::body::Frame;

    use std::time::Duration;

    use super::*;

    /// A body in pieces, which may never end.
    struct Pieces(VecDeque<&'static [u8]>, bool);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            match self.0.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece))))),
                None if self.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn request(body: impl Into<Body>, coding: Option<&'static str>) -> Request {
        let mut request = Request::new(body.into());
        if let Some(coding) = coding {
            request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        request
    }

    async fn kind(request: Request, limit: usize) -> ProblemKind {
        read(request, limit).await.expect_err("it must be refused").kind
    }

    #[tokio::test]
    async fn bodies_fit_their_limit_to_the_byte() {
        assert_eq!(read(request(vec![7; 10], None), 10).await.unwrap(), vec![7; 10]);
        assert_eq!(kind(request(vec![7; 11], None), 10).await, ProblemKind::PayloadTooLarge);
        let zipped = gzip(&[7; 1_000]);
        assert_eq!(read(request(zipped.clone(), Some("gzip")), 1_000).await.unwrap(), vec![7; 1_000]);
        assert_eq!(kind(request(zipped, Some("gzip")), 999).await, ProblemKind::PayloadTooLarge);
    }

    #[tokio::test]
    async fn a_request_that_is_too_old_is_not_begun() {
        let mut request = request("{}", None);
        let past = Instant::now() - Duration::from_millis(1);
        let info = RequestInfo {
            id: Default::default(),
            trace: None,
            arrived: past,
            body_by: past,
            expires: past,
            peer: None,
        };
        request.extensions_mut().insert(info);
        assert_eq!(kind(request, 10).await, ProblemKind::Overloaded);
    }

    #[tokio::test]
    async fn a_bomb_is_not_unpacked() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < BODY_LIMIT, "small on the wire: {}", bomb.len());
        assert_eq!(kind(request(bomb, Some("GZIP")), BODY_LIMIT).await, ProblemKind::PayloadTooLarge);
    }

    #[tokio::test]
    async fn unknown_and_broken_codings_are_refused() {
        assert_eq!(kind(request("{}", Some("br")), 10).await, ProblemKind::UnsupportedMediaType);
        assert_eq!(kind(request("{}", Some("gzip, gzip")), 10).await, ProblemKind::UnsupportedMediaType);
        assert_eq!(kind(request("{}", Some("gzip")), 10).await, ProblemKind::BadRequest);
        let mut cut = gzip(b"{\"a\":1}");
        cut.truncate(12);
        assert_eq!(kind(request(cut, Some("gzip")), 100).await, ProblemKind::BadRequest);
        assert_eq!(read(request("{}", Some("identity")), 10).await.unwrap(), "{}");
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let body = Body::new(Pieces([&b"ab"[..]].into(), false));
        let mut request = request(body, None);
        let now = Instant::now();
        request.extensions_mut().insert(RequestInfo {
            id: Default::default(),
            trace: None,
            arrived: now,
            body_by: now + Duration::from_millis(20),
            expires: now + Duration::from_secs(1),
            peer: None,
        });
        assert_eq!(kind(request, 10).await, ProblemKind::RequestTimeout);
    }

    #[tokio::test]
    async fn pieces_are_put_together() {
        let body = || Body::new(Pieces([&b"ab"[..], b"", b"cd", b"e"].into(), true));
        assert_eq!(read(request(body(), None), 5).await.unwrap(), "abcde");
        assert_eq!(kind(request(body(), None), 4).await, ProblemKind::PayloadTooLarge);
    }

    #[test]
    fn json_types_are_recognised() {
        let json = |text: &'static str| {
            is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))]))
        };
        for yes in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/merge-patch+json",
            "application/json; version=1",
        ] {
            assert!(json(yes), "{yes}");
        }
        for no in
            ["text/plain", "text/json", "application/jsonx", "application/json; charset=utf-16", "", "json", "a/b+json"]
        {
            assert!(!json(no), "{no}");
        }
        assert!(is_json(&HeaderMap::new()), "a missing type is taken for JSON");
    }
}
