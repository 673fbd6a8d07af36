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
