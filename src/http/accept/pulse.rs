//! What a connection is waiting for, kept by its socket and its service and read by its clock.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    http::{HeaderValue, header::CONNECTION},
    response::Response,
};
use hyper::body::SizeHint;
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Phase {
    /// The first byte ever.
    Fresh = 0,
    /// The rest of a head.
    Head = 1,
    /// The handler, or the body that it reads.
    Serving = 2,
    /// The next request; also while an answer is written without hindrance.
    Idle = 3,
    /// The client to read its answer.
    Stuck = 4,
}

const PHASES: [Phase; 5] = [Phase::Fresh, Phase::Head, Phase::Serving, Phase::Idle, Phase::Stuck];

/// Phase and progress of one connection. Only its own task writes, so plain stores are enough.
pub(super) struct Pulse {
    /// The phase in the low 3 bits, a counter of changes above.
    beat: AtomicU32,
    closing: AtomicBool,
    draining: Arc<AtomicBool>,
    /// Whether the last request had a body, and whether it is one that may be left unread.
    body: AtomicBool,
    long: AtomicBool,
}

impl Pulse {
    /// A new connection of a server that may begin to drain.
    pub(super) fn new(draining: Arc<AtomicBool>) -> Self {
        Self {
            beat: AtomicU32::new(Phase::Fresh as u32),
            closing: AtomicBool::new(false),
            draining,
            body: AtomicBool::new(false),
            long: AtomicBool::new(false),
        }
    }

    /// Notes progress into a phase.
    pub(super) fn enter(&self, phase: Phase) {
        let changes = (self.beat.load(Relaxed) >> 3).wrapping_add(1);
        self.beat.store(changes << 3 | phase as u32, Relaxed);
    }

    /// Changes with every progress.
    pub(super) fn beat(&self) -> u32 {
        self.beat.load(Relaxed)
    }

    pub(super) fn phase(&self) -> Phase {
        PHASES[(self.beat() & 7) as usize]
    }

    /// Notes how much of a body the request that begins has, as far as that is known.
    pub(super) fn carries(&self, body: &SizeHint) {
        /// A shorter body has arrived with its head, and costs nothing to read to its end.
        const LONG: u64 = 16 * 1024;
        self.body.store(body.exact() != Some(0), Relaxed);
        self.long.store(body.exact().is_none_or(|bytes| bytes > LONG), Relaxed);
    }

    /// Lets the next answer be the last.
    pub(super) fn close(&self) {
        self.closing.store(true, Relaxed);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Relaxed) || self.draining.load(Relaxed)
    }
}

/// A socket that tells the pulse about bytes.
pub(super) struct Watched<T> {
    inner: T,
    pulse: Arc<Pulse>,
    /// Once everything is said: until when the client may go on talking.
    leaving: Option<Pin<Box<Sleep>>>,
}

/// How long a client may go on sending what nobody reads. A socket that is closed on unread bytes
/// is reset, and the client never sees the answer that refused them.
const LINGER: Duration = Duration::from_secs(5);

impl<T> Watched<T> {
    pub(super) fn new(inner: T, pulse: Arc<Pulse>) -> Self {
        Self { inner, pulse, leaving: None }
    }

    fn wrote<R>(&self, result: Poll<R>) -> Poll<R> {
        match self.pulse.phase() {
            // From the first full socket on, the whole answer is on the clock: a client that reads a
            // byte now and then makes no progress that counts.
            Phase::Stuck => {}
            _ if result.is_pending() => self.pulse.enter(Phase::Stuck),
            Phase::Idle => self.pulse.enter(Phase::Idle),
            // `100 Continue`, while the handler reads the body.
            _ => {}
        }
        result
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if buf.filled().len() > before && matches!(self.pulse.phase(), Phase::Fresh | Phase::Idle) {
            self.pulse.enter(Phase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.leaving.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            if !this.pulse.body.load(Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let until = this.leaving.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut unread = [0; 16 * 1024];
        while until.as_mut().poll(cx).is_pending() {
            let mut unread = ReadBuf::new(&mut unread);
            match ready!(Pin::new(&mut this.inner).poll_read(cx, &mut unread)) {
                Ok(()) if !unread.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

pin_project! {
    /// The answer of a service on its way to a connection that may be closing.
    pub(super) struct Answer<F> {
        #[pin]
        pub(super) inner: F,
        pub(super) pulse: Arc<Pulse>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answer<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.inner.poll(cx));
        this.pulse.enter(Phase::Idle);
        // What is refused may be left unread, and then no other request can follow: the client must know.
        let refused = this.pulse.long.load(Relaxed) && !response.status().is_success();
        if refused || this.pulse.is_closing() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}
