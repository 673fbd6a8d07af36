//! Fetching files from addresses that others name.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{HeaderMap, Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
    time::timeout,
};

use super::HttpCourier;
use crate::{
    domain::webhook::Target,
    ports::{Download, Errand, Fetcher, Fetching, Found, Piece, PostError, Validators},
};

/// Redirections that are followed.
const REDIRECTIONS: usize = 3;
/// The longest wait for an answer, and for each piece of its body.
const PATIENCE: Duration = Duration::from_secs(30);

impl Fetcher for HttpCourier {
    fn fetch(&self, errand: Errand) -> Fetching<'_> {
        Box::pin(async move {
            let Errand { mut target, known } = errand;
            for _ in 0..=REDIRECTIONS {
                // the first address was checked when it was written, but the setting may have changed
                target.check(self.reach).map_err(|_| PostError::OutOfReach)?;
                let asked = timeout(PATIENCE, self.ask(&target, &known)).await;
                let (answer, driver) = asked.map_err(|_| PostError::Late)??;
                match answer.status() {
                    StatusCode::OK => {
                        let validators = validators(answer.headers());
                        let body = Box::new(Body { body: answer.into_body(), _driver: driver });
                        return Ok(Found::Changed { validators, body });
                    }
                    StatusCode::NOT_MODIFIED => return Ok(Found::Unchanged),
                    status if status.is_redirection() => {
                        let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
                        target = to.and_then(|to| elsewhere(&target, to)).ok_or(PostError::Broken)?;
                    }
                    status => return Ok(Found::Refused(status.as_u16())),
                }
            }
            Err(PostError::Broken)
        })
    }
}

impl HttpCourier {
    async fn ask(&self, target: &Target, known: &Validators) -> Result<(Response<Incoming>, Driver), PostError> {
        let stream = self.connect(target).await?;
        if target.is_secure() {
            let stream = self.secure(target, stream).await?;
            request(stream, target, known).await
        } else {
            request(stream, target, known).await
        }
    }
}

/// Moves what is sent and read; ends with the body.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn request<S>(stream: S, target: &Target, known: &Validators) -> Result<(Response<Incoming>, Driver), PostError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = Request::get(target.path().as_ref())
        .header(header::HOST, target.authority())
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "gzip")
        .header(header::USER_AGENT, concat!("Tessera/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    let conditions = [(header::IF_NONE_MATCH, &known.etag), (header::IF_MODIFIED_SINCE, &known.last_modified)];
    for (name, value) in conditions {
        if let Some(value) = value {
            builder = builder.header(name, value);
        }
    }
    let request = builder.body(Empty::<Bytes>::new()).map_err(|_| PostError::Broken)?;
    let handshake = http1::Builder::new().max_buf_size(64 << 10).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|_| PostError::Broken)?;
    let driver = Driver(tokio::spawn(async move {
        // its end shows in the body
        let _ended = connection.await;
    }));
    let answer = sender.send_request(request).await.map_err(|_| PostError::Broken)?;
    Ok((answer, driver))
}

/// What is to be said the next time, as far as it can be.
fn validators(headers: &HeaderMap) -> Validators {
    let read = |name| {
        let value = headers.get(name)?.to_str().ok()?;
        (value.len() <= 1_024).then(|| value.to_owned())
    };
    Validators { etag: read(header::ETAG), last_modified: read(header::LAST_MODIFIED) }
}

/// Where a redirection leads: another address, or another path of the same host.
fn elsewhere(from: &Target, to: &str) -> Option<Target> {
    let to = to.split('#').next()?;
    if to.starts_with('/') && !to.starts_with("//") {
        let scheme = if from.is_secure() { "https" } else { "http" };
        return format!("{scheme}://{}{to}", from.authority()).parse().ok();
    }
    to.parse().ok()
}

struct Body {
    body: Incoming,
    _driver: Driver,
}

impl Download for Body {
    fn next(&mut self) -> Piece<'_> {
        Box::pin(async move {
            loop {
                let frame = timeout(PATIENCE, self.body.frame()).await.map_err(|_| PostError::Late)?;
                match frame {
                    None => return Ok(None),
                    Some(Err(_)) => return Err(PostError::Broken),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if !data.is_empty() => return Ok(Some(data.into())),
                        // trailers
                        _ => {}
                    },
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::domain::webhook::Reach;

    /// Fetches from a server that gives each of its callers these bytes; how often it was called.
    async fn fetched(reach: Reach, path: &str, bytes: &'static str) -> (Result<Found, PostError>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&calls);
        let server = tokio::spawn(async move {
            loop {
                let mut stream = listener.accept().await.expect("a caller").0;
                counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let mut request = [0; 2048];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(bytes.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        let courier = HttpCourier::new(reach).expect("a courier");
        let target = format!("http://127.0.0.1:{port}{path}").parse().expect("an address");
        let found = courier.fetch(Errand { target, known: Validators::default() }).await;
        server.abort();
        (found, calls.load(std::sync::atomic::Ordering::SeqCst))
    }

    #[tokio::test]
    async fn what_is_there_comes_piece_by_piece_with_what_was_said_of_it() {
        let answer = "HTTP/1.1 200 OK\r\netag: \"a\"\r\nlast-modified: then\r\ntransfer-encoding: chunked\r\n\r\n\
                      2\r\nid\r\n3\r\n,ti\r\n0\r\n\r\n";
        let (found, _) = fetched(Reach::Loopback, "/feed", answer).await;
        let Ok(Found::Changed { validators, mut body }) = found else { panic!("a body") };
        assert_eq!(validators, Validators { etag: Some("\"a\"".into()), last_modified: Some("then".into()) });
        let mut text = Vec::new();
        while let Some(piece) = body.next().await.expect("a piece") {
            text.extend(piece);
        }
        assert_eq!(text, b"id,ti");
        let (found, _) = fetched(Reach::Loopback, "/", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nid").await;
        let Ok(Found::Changed { mut body, .. }) = found else { panic!("a body") };
        assert_eq!(body.next().await, Ok(Some(b"id".to_vec())));
        assert_eq!(body.next().await, Err(PostError::Broken), "it broke off");
        let (found, _) = fetched(Reach::Loopback, "/", "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(found, Ok(Found::Refused(404))));
        let (found, _) = fetched(Reach::Loopback, "/", "HTTP/1.1 304 Same\r\n\r\n").await;
        assert!(matches!(found, Ok(Found::Unchanged)));
    }

    #[tokio::test]
    async fn redirections_lead_no_further_than_addresses_may() {
        let error = |found: Result<Found, PostError>| found.err().expect("an error");
        for to in
            ["http://169.254.169.254/latest", "http://10.0.0.1/", "https://192.168.0.1/", "http://[::ffff:10.0.0.1]/"]
        {
            let answer = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").leak();
            let (found, calls) = fetched(Reach::Loopback, "/", answer).await;
            assert_eq!((error(found), calls), (PostError::OutOfReach, 1), "{to}");
        }
        let (found, calls) =
            fetched(Reach::Loopback, "/", "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!((error(found), calls), (PostError::Broken, 1 + REDIRECTIONS));
        for odd in ["file:///etc/passwd", "//elsewhere.example/", "gopher://x/", ""] {
            let answer = format!("HTTP/1.1 307 Go\r\nlocation: {odd}\r\ncontent-length: 0\r\n\r\n").leak();
            let (found, calls) = fetched(Reach::Loopback, "/", answer).await;
            assert_eq!((error(found), calls), (PostError::Broken, 1), "{odd}");
        }
        let (found, calls) = fetched(Reach::Public, "/", "HTTP/1.1 200 OK\r\n\r\n").await;
        assert_eq!((error(found), calls), (PostError::OutOfReach, 0), "not even called");
    }
}
