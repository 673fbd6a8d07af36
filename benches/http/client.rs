//! A small HTTP/1.1 client over keep-alive connections, so that little of the machine goes to it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time,
};

/// A request, written once.
#[derive(Clone)]
pub(crate) struct Request {
    head: String,
    /// Its body.
    pub(crate) body: String,
    bytes: Arc<[u8]>,
}

impl Request {
    /// A decision request.
    pub(crate) fn new(address: &str, key: &str, body: String) -> Self {
        Self::post(address, key, "/v1/decisions", body)
    }

    /// A request with a JSON body.
    pub(crate) fn post(address: &str, key: &str, path: &str, body: String) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Self::written(head, body, address)
    }

    /// The same request to another server.
    pub(crate) fn to(&self, address: &str) -> Self {
        Self::written(self.head.clone(), self.body.clone(), address)
    }

    fn written(head: String, body: String, address: &str) -> Self {
        let bytes = format!("{}{body}", head.replace("HOST", address)).into_bytes().into();
        Self { head, body, bytes }
    }
}

/// An answer.
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

/// A connection that is kept open.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, buffer: Vec::with_capacity(16_384) }
    }

    pub(crate) async fn send(&mut self, request: &Request) -> Answer {
        self.stream.write_all(&request.bytes).await.expect("sending");
        self.buffer.clear();
        let (head, length) = loop {
            self.read().await;
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..at]).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                break (at + 4, length.unwrap_or(0_usize));
            }
        };
        while self.buffer.len() < head + length {
            self.read().await;
        }
        let status = std::str::from_utf8(&self.buffer[9..12]).ok().and_then(|code| code.parse().ok());
        Answer { status: status.expect("a status"), body: self.buffer[head..].to_vec() }
    }

    async fn read(&mut self) {
        let read = self.stream.read_buf(&mut self.buffer).await.expect("receiving");
        assert!(read > 0, "the server closed the connection");
    }
}

/// Sends one request.
pub(crate) async fn once(address: &str, request: &Request) -> Answer {
    Connection::open(address).await.send(request).await
}

/// How long answers took, and what they said.
pub(crate) struct Load {
    micros: Vec<u32>,
    wrong: usize,
    /// How many answers each of the texts looked for stood in.
    pub(crate) found: Vec<usize>,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |share: f64| self.micros[((self.micros.len() - 1) as f64 * share) as usize];
        write!(f, "p50 {} us, p99 {} us, p99.9 {} us", at(0.5), at(0.99), at(0.999))?;
        if self.wrong > 0 { write!(f, ", {} not answered with 200", self.wrong) } else { Ok(()) }
    }
}

/// What one connection saw.
#[derive(Default)]
struct Part {
    micros: Vec<u32>,
    wrong: usize,
    found: Vec<usize>,
}

impl Part {
    fn note(&mut self, took: Duration, answer: &Answer, looked_for: &[&str]) {
        self.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        self.wrong += usize::from(answer.status != 200);
        self.found.resize(looked_for.len(), 0);
        for (found, text) in self.found.iter_mut().zip(looked_for) {
            *found += usize::from(answer.body.windows(text.len()).any(|window| window == text.as_bytes()));
        }
    }
}

impl Load {
    fn of(parts: Vec<Part>, looked_for: usize) -> Self {
        let mut whole = Self { micros: Vec::new(), wrong: 0, found: vec![0; looked_for] };
        for part in parts {
            whole.micros.extend(part.micros);
            whole.wrong += part.wrong;
            whole.found.iter_mut().zip(part.found).for_each(|(sum, found)| *sum += found);
        }
        whole.micros.sort_unstable();
        whole
    }
}

/// So many requests over so many connections, each sending the next when it has its answer.
pub(crate) async fn closed(address: &str, requests: &[Request], connections: usize, count: usize) -> Load {
    drive(address, requests, connections, count, |_| None, &[]).await
}

/// So many requests per second, whether or not earlier ones are answered; the time counts from
/// when a request was due, so that waiting for a connection counts too.
/// Counts the answers that hold each of the texts looked for.
pub(crate) async fn open(
    address: &str,
    requests: &[Request],
    connections: usize,
    rate: u32,
    during: Duration,
    looked_for: &'static [&'static str],
) -> Load {
    let start = Instant::now() + Duration::from_millis(50);
    let count = (during.as_secs_f64() * f64::from(rate)) as usize;
    let due = move |at: usize| Some(start + Duration::from_secs_f64(at as f64 / f64::from(rate)));
    drive(address, requests, connections, count, due, looked_for).await
}

/// Sends each request when it is due, or as soon as a connection is free.
async fn drive(
    address: &str,
    requests: &[Request],
    connections: usize,
    count: usize,
    due: impl Fn(usize) -> Option<Instant> + Copy + Send + 'static,
    looked_for: &'static [&'static str],
) -> Load {
    let next = Arc::new(AtomicUsize::new(0));
    let requests: Arc<[Request]> = requests.into();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (next, requests, mut connection) = (next.clone(), requests.clone(), Connection::open(address).await);
        tasks.spawn(async move {
            let mut part = Part::default();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return part;
                }
                let start = match due(at) {
                    Some(due) => {
                        time::sleep_until(due.into()).await;
                        due
                    }
                    None => Instant::now(),
                };
                let answer = connection.send(&requests[at % requests.len()]).await;
                part.note(start.elapsed(), &answer, looked_for);
            }
        });
    }
    Load::of(tasks.join_all().await, looked_for.len())
}
