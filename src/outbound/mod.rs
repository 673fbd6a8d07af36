//! What leaves on its own account: letters to addresses that others name, and errands to fetch what
//! is there.
//!
//! A name is resolved here, each of its addresses is checked, and the connection goes to the one
//! that was: nobody can have it resolved again in between. Nothing is reused or read through a proxy,
//! and where an errand is sent elsewhere that is checked as the first address was, so there is no
//! second way in.

mod fetch;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, Error as TlsError, RootCertStore, crypto::ring, pki_types::ServerName},
};

use crate::{
    domain::webhook::{Reach, Target},
    ports::{Courier, Letter, PostError, Posting, Receipt},
};

/// Posts over HTTP/1.1, with TLS where the address says so.
#[derive(Clone)]
pub struct HttpCourier {
    reach: Reach,
    tls: TlsConnector,
    limit: Duration,
}

impl HttpCourier {
    /// The longest that a letter may take in all.
    pub const LIMIT: Duration = Duration::from_secs(10);
    /// The longest that one of the addresses of a name may take to answer.
    const CONNECT: Duration = Duration::from_secs(3);
    /// Addresses of a name that are tried.
    const TRIED: usize = 3;
    /// Bytes of a head, and of a body, that are read; the rest is cut off.
    const READ: usize = 16 << 10;

    /// A courier that goes so far and trusts the authorities that browsers do.
    ///
    /// # Errors
    /// A fault of this program: TLS cannot be set up.
    pub fn new(reach: Reach) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self::trusting(reach, roots, Self::LIMIT)
    }

    fn trusting(reach: Reach, roots: RootCertStore, limit: Duration) -> Result<Self, TlsError> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { reach, tls: TlsConnector::from(Arc::new(config)), limit })
    }

    async fn exchange(&self, letter: Letter) -> Result<Receipt, PostError> {
        let stream = self.connect(&letter.target).await?;
        if !letter.target.is_secure() {
            return speak(stream, letter).await;
        }
        let stream = self.secure(&letter.target, stream).await?;
        speak(stream, letter).await
    }

    async fn secure(&self, target: &Target, stream: TcpStream) -> Result<TlsStream<TcpStream>, PostError> {
        // a name may end in the root's dot, which no certificate has
        let name = target.host().trim_end_matches('.').to_owned();
        let name = ServerName::try_from(name).map_err(|_| PostError::Insecure)?;
        self.tls.connect(name, stream).await.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => PostError::Insecure,
            _ => PostError::Unreachable,
        })
    }

    async fn connect(&self, target: &Target) -> Result<TcpStream, PostError> {
        let found = lookup_host((target.host(), target.port())).await.map_err(|_| PostError::Unresolved)?;
        let found: Vec<SocketAddr> = found.collect();
        if found.is_empty() {
            return Err(PostError::Unresolved);
        }
        let allowed = found.into_iter().filter(|address| self.reach.admits(address.ip(), target.is_secure()));
        let mut failed = PostError::OutOfReach;
        for address in allowed.take(Self::TRIED) {
            match timeout(Self::CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(_)) | Err(_) => failed = PostError::Unreachable,
            }
        }
        Err(failed)
    }
}

impl Courier for HttpCourier {
    fn post(&self, letter: Letter) -> Posting<'_> {
        Box::pin(async move { timeout(self.limit, self.exchange(letter)).await.unwrap_or(Err(PostError::Late)) })
    }
}

/// Sends the letter and reads what is answered.
async fn speak<S>(stream: S, letter: Letter) -> Result<Receipt, PostError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = Request::post(letter.target.path().as_ref())
        .header(header::HOST, letter.target.authority())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("Tessera/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    for (name, value) in letter.headers {
        builder = builder.header(name, value);
    }
    let request = builder.body(Full::new(Bytes::from(letter.body))).map_err(|_| PostError::Broken)?;
    let handshake = http1::Builder::new().max_buf_size(HttpCourier::READ).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|_| PostError::Broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|_| PostError::Broken)?;
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let receipt = Receipt { status: response.status().as_u16(), retry_after: retry_after.map(str::to_owned) };
        drain(response.into_body()).await;
        Ok(receipt)
    };
    // what is sent and read moves while the connection is driven; its own end shows in the answer
    let driven = async {
        let _ended = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = answer => answer,
        never = driven => never,
    }
}

/// Reads the beginning of a body, so that a short one does not end in a reset.
async fn drain(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > HttpCourier::READ {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{
            ServerConfig,
            pki_types::{CertificateDer, PrivateKeyDer},
        },
    };

    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/support/tls/localhost.crt.der");
    const KEY: &[u8] = include_bytes!("../../tests/support/tls/localhost.key.der");

    fn courier(reach: Reach, trusted: bool) -> HttpCourier {
        let mut roots = RootCertStore::empty();
        if trusted {
            roots.add(CertificateDer::from(CERTIFICATE)).expect("a certificate");
        }
        HttpCourier::trusting(reach, roots, Duration::from_secs(2)).expect("a courier")
    }

    fn letter(url: &str) -> Letter {
        let headers = vec![("webhook-id", "msg_1".to_owned())];
        Letter { target: url.parse().expect("an address"), headers, body: b"{\"a\":1}".to_vec() }
    }

    /// Reads one request, answers with these bytes and gives what was read.
    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> String {
        let mut read = Vec::new();
        while !read.ends_with(b"{\"a\":1}") {
            let mut piece = [0; 1024];
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return String::new(),
                Ok(count) => read.extend_from_slice(&piece[..count]),
            }
        }
        // whoever asked may leave before the end
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        String::from_utf8(read).expect("text")
    }

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        (listener, port)
    }

    async fn exchange(courier: HttpCourier, bytes: &'static [u8]) -> (String, Result<Receipt, PostError>) {
        let (listener, port) = listener().await;
        let served = tokio::spawn(async move { answer(listener.accept().await.expect("a caller").0, bytes).await });
        let receipt = courier.post(letter(&format!("http://localhost:{port}/in?x=1"))).await;
        (served.await.expect("served"), receipt)
    }

    #[tokio::test]
    async fn a_letter_arrives_and_its_answer_is_told() {
        let bytes = b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno";
        let (request, receipt) = exchange(courier(Reach::Loopback, false), bytes).await;
        assert_eq!(receipt, Ok(Receipt { status: 503, retry_after: Some("7".into()) }));
        let request = request.to_ascii_lowercase();
        assert!(request.starts_with("post /in?x=1 http/1.1\r\nhost: localhost:"), "{request}");
        for line in ["content-type: application/json", "content-length: 7", "webhook-id: msg_1", "connection: close"] {
            assert!(request.contains(&format!("{line}\r\n")), "{line}: {request}");
        }
    }

    #[tokio::test]
    async fn redirections_are_answers_and_odd_ones_harmless() {
        let moved = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
        let (_, receipt) = exchange(courier(Reach::Loopback, false), moved).await;
        assert_eq!(receipt.map(|receipt| receipt.status), Ok(302));
        let (_, receipt) = exchange(courier(Reach::Loopback, false), b"SSH-2.0-x\r\n").await;
        assert_eq!(receipt, Err(PostError::Broken));
        let endless: &'static [u8] = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'x'; 4 << 20]].concat().leak();
        let (_, receipt) = exchange(courier(Reach::Loopback, false), endless).await;
        assert_eq!(receipt.map(|receipt| receipt.status), Ok(200));
        let head: &'static [u8] = [&b"HTTP/1.1 200 OK\r\nx: "[..], &vec![b'x'; 1 << 20]].concat().leak();
        let (_, receipt) = exchange(courier(Reach::Loopback, false), head).await;
        assert_eq!(receipt, Err(PostError::Broken));
    }

    #[tokio::test]
    async fn what_lies_out_of_reach_is_not_even_called() {
        let (listener, port) = listener().await;
        for url in [
            format!("http://localhost:{port}"),
            format!("https://localhost:{port}"),
            format!("https://127.0.0.1:{port}"),
            format!("https://2130706433:{port}"),
            format!("https://[::ffff:127.0.0.1]:{port}"),
        ] {
            assert_eq!(courier(Reach::Public, true).post(letter(&url)).await, Err(PostError::OutOfReach), "{url}");
        }
        let metadata = courier(Reach::Private, true).post(letter("http://169.254.169.254/latest")).await;
        assert_eq!(metadata, Err(PostError::OutOfReach));
        assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err(), "nobody called");
        let nobody = courier(Reach::Private, true).post(letter("https://nobody.invalid")).await;
        // a resolver that cannot ask anybody may be slow to say so
        assert!(matches!(nobody, Err(PostError::Unresolved | PostError::Late)), "{nobody:?}");
    }

    #[tokio::test]
    async fn a_silent_receiver_costs_no_more_than_the_limit() {
        let (_listener, port) = listener().await;
        let courier = HttpCourier { limit: Duration::from_millis(100), ..courier(Reach::Loopback, false) };
        let began = std::time::Instant::now();
        assert_eq!(courier.post(letter(&format!("http://127.0.0.1:{port}"))).await, Err(PostError::Late));
        assert!(began.elapsed() < Duration::from_secs(10));
        drop(_listener);
        assert_eq!(courier.post(letter(&format!("http://127.0.0.1:{port}"))).await, Err(PostError::Unreachable));
    }

    #[tokio::test]
    async fn over_tls_the_receiver_must_be_who_it_should_be() {
        let key = PrivateKeyDer::try_from(KEY).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (listener, port) = listener().await;
        let served = tokio::spawn(async move {
            for _ in 0..3 {
                let stream = listener.accept().await.expect("a caller").0;
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, b"HTTP/1.1 204 Done\r\n\r\n").await;
                }
            }
        });
        let named = letter(&format!("https://localhost:{port}"));
        let receipt = courier(Reach::Loopback, true).post(named.clone()).await;
        assert_eq!(receipt.map(|receipt| receipt.status), Ok(204));
        assert_eq!(courier(Reach::Loopback, false).post(named).await, Err(PostError::Insecure), "nobody vouches");
        let other = courier(Reach::Loopback, true).post(letter(&format!("https://127.0.0.1:{port}"))).await;
        assert_eq!(other, Err(PostError::Insecure), "the certificate is of another name");
        served.await.expect("served");
    }
}
