//! The accept loop: sockets in, requests out, and no client may hold a connection for nothing.
//!
//! `axum::serve` sets no timers, so a client that sends one byte a minute keeps its connection for
//! ever. Here every connection has a pulse that says what it is waiting for, and a slow tick that
//! cuts it when it has waited too long. Nothing is timed per request: a request costs two stores.

mod pulse;

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, Instant},
};

use axum::response::Response;
use hyper::{
    Request,
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::Service;

use self::pulse::{Answer, Phase, Pulse, Watched};
use crate::telemetry::Meters;

/// What clients may take of the server before their first byte of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at a time; more wait in the listener's queue.
    pub connections: usize,
    /// Bytes of the request line and all header fields together; at least 8192.
    pub head_bytes: usize,
    /// From a connection, or the first byte of a head, to the end of that head.
    pub head: Duration,
    /// Between an answer and the next request. Longer than usual pools of load balancers (60 s), so
    /// that they and not the server close first; cut to `head` while connections are scarce.
    pub idle: Duration,
    /// For a client to read an answer, from the moment its socket is first full.
    pub write: Duration,
    /// After which a connection is closed with its next answer, so that load spreads to new replicas.
    pub lifetime: Duration,
    /// For requests in flight to finish once the server drains.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8_192,
            head_bytes: 64 * 1024,
            head: Duration::from_secs(5),
            idle: Duration::from_secs(75),
            write: Duration::from_secs(10),
            lifetime: Duration::from_secs(600),
            drain: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// How often a connection looks at its clock; a limit holds to within this much.
    fn tick(&self) -> Duration {
        let shortest = self.head.min(self.idle).min(self.write).min(self.lifetime);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}

/// When a request arrived and from where; an extension of every request.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The moment its head was complete, on the monotonic clock: deadlines count from here.
    pub at: Instant,
    /// The other end of the connection, which may be a proxy.
    pub peer: SocketAddr,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections still busy when the time for draining was over; they were cut.
    pub aborted: usize,
}

/// Serves `service` on `listener` until `shutdown`, then drains: no new connections, every answer
/// says `Connection: close`, idle connections are closed, and requests in flight get
/// [`Limits::drain`] to finish.
///
/// A panic that reaches this loop costs its connection and nothing else.
pub async fn serve<S>(
    listener: TcpListener,
    service: S,
    limits: Limits,
    meters: &Meters,
    shutdown: impl Future<Output = ()>,
) -> Drained
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let server = Arc::new(Server {
        slots: Arc::new(Semaphore::new(limits.connections)),
        limits,
        draining: Arc::new(AtomicBool::new(false)),
        meters: meters.clone(),
        http: builder(&limits),
    });
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (slot, stream, peer) = tokio::select! {
            biased;
            () = shutdown.as_mut() => break,
            accepted = server.accept(&listener) => accepted,
        };
        connections.spawn(server.clone().connection(service.clone(), stream, peer, slot));
        while connections.try_join_next().is_some() {}
    }
    server.draining.store(true, Relaxed);
    // Clients that the kernel has accepted already get their one answer.
    while let Ok(slot) = server.slots.clone().try_acquire_owned() {
        match poll_fn(|cx| Poll::Ready(listener.poll_accept(cx))).await {
            Poll::Ready(Ok((stream, peer))) => {
                connections.spawn(server.clone().connection(service.clone(), stream, peer, slot));
            }
            Poll::Ready(Err(_)) | Poll::Pending => break,
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let aborted = if timeout(limits.drain, all).await.is_ok() { 0 } else { connections.len() };
    server.meters.connections_cut.drain.increment(aborted as u64);
    connections.shutdown().await;
    Drained { aborted }
}

fn builder(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // The pulse watches the head: hyper's own timer costs an allocation and two timer operations a
    // request, and would apply to idle connections as well.
    http.header_read_timeout(None).max_header_size(limits.head_bytes).max_buf_size(limits.head_bytes.max(8_192));
    http
}

/// What all connections share.
struct Server {
    slots: Arc<Semaphore>,
    limits: Limits,
    draining: Arc<AtomicBool>,
    meters: Meters,
    http: http1::Builder,
}

impl Server {
    /// The next connection. A slot is taken first, so that a full server leaves clients in the
    /// kernel's queue and opens no descriptor for them.
    async fn accept(&self, listener: &TcpListener) -> (OwnedSemaphorePermit, TcpStream, SocketAddr) {
        let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        let mut pause = Duration::from_millis(10);
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (slot, stream, peer),
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: closing connections cures it, trying harder does not.
                    self.meters.accept_errors.increment(1);
                    tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "no connection can be accepted");
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
    }

    /// Serves one connection to its end.
    async fn connection<S>(self: Arc<Self>, service: S, stream: TcpStream, peer: SocketAddr, slot: OwnedSemaphorePermit)
    where
        S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        self.meters.connections_accepted.increment(1);
        let _open = Open::new(self.meters.connections.clone(), slot);
        // It fails only where the client is gone, which the first read shows.
        let _ = stream.set_nodelay(true);
        let pulse = Arc::new(Pulse::new(self.draining.clone()));
        let answer = |mut request: Request<Incoming>| {
            pulse.enter(Phase::Serving);
            pulse.carries(&request.body().size_hint());
            request.extensions_mut().insert(Arrival { at: Instant::now(), peer });
            // A service is ready when it is called: axum's always are, and load is shed by admission.
            Answer { inner: service.clone().call(request), pulse: pulse.clone() }
        };
        let io = TokioIo::new(Watched::new(stream, pulse.clone()));
        let mut connection = pin!(self.http.serve_connection(io, service_fn(answer)));
        let mut clock = Clock::new(&self.limits);
        let mut tick = pin!(sleep(clock.tick));
        loop {
            tokio::select! {
                biased;
                _ = connection.as_mut() => return,
                () = tick.as_mut() => {}
            }
            tick.as_mut().reset(tokio::time::Instant::now() + clock.tick);
            match clock.tick(&pulse, &self.limits, self.slots.available_permits()) {
                Verdict::Wait => {}
                Verdict::Finish => connection.as_mut().graceful_shutdown(),
                Verdict::Cut => {
                    let cut = &self.meters.connections_cut;
                    match pulse.phase() {
                        Phase::Stuck => &cut.write,
                        Phase::Idle => &cut.idle,
                        _ => &cut.head,
                    }
                    .increment(1);
                    return;
                }
            }
        }
    }
}

/// Whether accepting failed because of the one connection that was to be accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Counts a connection as open, and holds its slot, for as long as it lives.
struct Open(metrics::Gauge, #[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Open {
    fn new(gauge: metrics::Gauge, slot: OwnedSemaphorePermit) -> Self {
        gauge.increment(1);
        Self(gauge, slot)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// What a tick decides about a connection.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    /// Close as soon as no request is in flight.
    Finish,
    Cut,
}

/// Counts how long a connection has been in its phase and in the world.
struct Clock {
    tick: Duration,
    beat: u32,
    /// Ticks since the pulse last changed.
    still: u32,
    /// Ticks since the connection was opened.
    age: u32,
    /// Ticks since it should close.
    closing: u32,
}

impl Clock {
    fn new(limits: &Limits) -> Self {
        Self { tick: limits.tick(), beat: 0, still: 0, age: 0, closing: 0 }
    }

    fn tick(&mut self, pulse: &Pulse, limits: &Limits, free_slots: usize) -> Verdict {
        self.age += 1;
        self.still = if pulse.beat() == self.beat { self.still + 1 } else { 0 };
        self.beat = pulse.beat();
        if self.tick * self.age >= limits.lifetime {
            pulse.close();
        }
        let phase = pulse.phase();
        if pulse.is_closing() {
            // A tick of grace: a request may be on its way, and its answer will say `close`.
            self.closing += 1;
            match phase {
                Phase::Fresh if self.closing > 1 => return Verdict::Cut,
                Phase::Idle if self.closing > 1 => return Verdict::Finish,
                _ => {}
            }
        }
        let scarce = free_slots < limits.connections / 4;
        let limit = match phase {
            Phase::Fresh | Phase::Head => limits.head,
            Phase::Idle if scarce => limits.head.min(limits.idle),
            Phase::Idle => limits.idle,
            Phase::Stuck => limits.write,
            // Handlers have deadlines of their own, for the body as well.
            Phase::Serving => return Verdict::Wait,
        };
        if self.tick * self.still >= limit { Verdict::Cut } else { Verdict::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        connections: 100,
        head_bytes: 8_192,
        head: Duration::from_secs(4),
        idle: Duration::from_secs(8),
        write: Duration::from_secs(6),
        lifetime: Duration::from_secs(100),
        drain: Duration::from_secs(1),
    };

    /// Ticks (of a second) until the connection is not left alone any more.
    fn patience(clock: &mut Clock, pulse: &Pulse, free: usize) -> (u32, Verdict) {
        for tick in 1..1_000 {
            match clock.tick(pulse, &LIMITS, free) {
                Verdict::Wait => {}
                verdict => return (tick, verdict),
            }
        }
        (0, Verdict::Wait)
    }

    fn connection() -> (Clock, Pulse) {
        (Clock::new(&LIMITS), Pulse::new(Arc::default()))
    }

    #[test]
    fn every_phase_has_its_limit() {
        for (phase, seconds) in [(Phase::Head, 4), (Phase::Idle, 8), (Phase::Stuck, 6)] {
            let (mut clock, pulse) = connection();
            pulse.enter(phase);
            // The first tick notices the change, at most one tick late.
            assert_eq!(patience(&mut clock, &pulse, 100), (seconds + 1, Verdict::Cut), "{phase:?}");
        }
        let (mut clock, pulse) = connection();
        assert_eq!(patience(&mut clock, &pulse, 100), (4, Verdict::Cut), "a client that never speaks");
    }

    #[test]
    fn a_handler_may_take_its_time_until_the_connection_is_old() {
        let (mut clock, pulse) = connection();
        pulse.enter(Phase::Serving);
        assert_eq!(patience(&mut clock, &pulse, 100), (0, Verdict::Wait));
        assert!(pulse.is_closing(), "its answer closes the connection");
    }

    #[test]
    fn idle_connections_make_room_when_slots_are_scarce() {
        let (mut clock, pulse) = connection();
        pulse.enter(Phase::Idle);
        assert_eq!(patience(&mut clock, &pulse, 24), (5, Verdict::Cut));
    }

    #[test]
    fn a_drain_leaves_one_tick_for_a_request_on_its_way() {
        let (mut clock, pulse) = connection();
        pulse.enter(Phase::Idle);
        pulse.close();
        assert_eq!(patience(&mut clock, &pulse, 100), (2, Verdict::Finish));
        let (mut clock, pulse) = connection();
        pulse.close();
        assert_eq!(patience(&mut clock, &pulse, 100), (2, Verdict::Cut), "nothing was ever asked");
    }
}
