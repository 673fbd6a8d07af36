//! Admission: a request that could not be answered in time is refused at once, which costs little
//! and leaves the capacity to those that can.
//!
//! Two signs are looked at, each an atomic load. The requests of a class in flight bound what waits
//! for the store. The lag of the runtime bounds what waits for a processor: handlers that never wait
//! are never counted in flight together, however long the queue in front of them is. Less important
//! classes tolerate less lag, so they are shed first.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use metrics::Gauge;

use super::problem::{PROBLEM_JSON, Problem, ProblemKind};

/// Priority classes of routes, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Decisions.
    Decide,
    /// Pixels and clicks, which nobody repeats.
    Beacons,
    /// Event ingest, whose callers retry.
    Events,
    /// Changes by people and imports.
    Authoring,
    /// Reports.
    Reports,
    /// Health, metrics and documentation: never refused.
    Free,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 6] = [Self::Decide, Self::Beacons, Self::Events, Self::Authoring, Self::Reports, Self::Free];

    /// The name in metrics and configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decide => "decide",
            Self::Beacons => "beacons",
            Self::Events => "events",
            Self::Authoring => "authoring",
            Self::Reports => "reports",
            Self::Free => "free",
        }
    }
}

/// What a class may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassLimits {
    /// Requests in flight at a time.
    pub in_flight: u32,
    /// Lag of the runtime up to which new requests are let in.
    pub lag: Duration,
    /// Age, counted from arrival, at which a request is dropped rather than begun.
    pub deadline: Duration,
}

const fn limits(in_flight: u32, lag_ms: u64, deadline_ms: u64) -> ClassLimits {
    ClassLimits { in_flight, lag: Duration::from_millis(lag_ms), deadline: Duration::from_millis(deadline_ms) }
}

/// Limits of all classes, in the order of [`Class::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits(pub [ClassLimits; 6]);

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self([
            limits(512, 250, 1_000),
            limits(256, 200, 2_000),
            limits(256, 100, 10_000),
            limits(64, 75, 30_000),
            limits(8, 50, 60_000),
            limits(u32::MAX, u64::MAX, 30_000),
        ])
    }
}

impl AdmissionLimits {
    /// The same with other lags.
    #[must_use]
    pub fn scaled(self, by: f64) -> Self {
        // a lag that never is reached stays so
        Self(self.0.map(|limits| ClassLimits {
            lag: Duration::try_from_secs_f64(limits.lag.as_secs_f64() * by).unwrap_or(Duration::MAX),
            ..limits
        }))
    }
}

/// Counts requests in flight and knows how busy the runtime is.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    in_flight: [AtomicU32; 6],
    /// Smoothed lag of the runtime in microseconds.
    lag: AtomicU32,
}

impl Admission {
    /// Admits within `limits`.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Arc<Self> {
        Arc::new(Self { limits, in_flight: Default::default(), lag: AtomicU32::new(0) })
    }

    /// What a class may take.
    #[must_use]
    pub fn limits(&self, class: Class) -> &ClassLimits {
        &self.limits.0[class as usize]
    }

    /// Lets a request in, for as long as the permit lives; `None` when it must be refused.
    #[must_use]
    pub fn enter(self: &Arc<Self>, class: Class) -> Option<Permit> {
        let limits = self.limits(class);
        if u128::from(self.lag.load(Relaxed)) > limits.lag.as_micros() {
            return None;
        }
        let before = self.in_flight[class as usize].fetch_add(1, Relaxed);
        let permit = Permit { admission: self.clone(), class };
        // A refused permit is given back by its drop.
        (before < limits.in_flight).then_some(permit)
    }

    /// Requests of a class in flight.
    #[must_use]
    pub fn in_flight(&self, class: Class) -> u32 {
        self.in_flight[class as usize].load(Relaxed)
    }

    /// How late the runtime wakes tasks, smoothed.
    #[must_use]
    pub fn lag(&self) -> Duration {
        Duration::from_micros(self.lag.load(Relaxed).into())
    }

    /// Takes one measurement of the lag in; the last four count most.
    pub fn note_lag(&self, lag: Duration) {
        let sample = u32::try_from(lag.as_micros()).unwrap_or(u32::MAX / 4).min(u32::MAX / 4);
        let smoothed = (self.lag.load(Relaxed) / 4) * 3 + sample / 4;
        self.lag.store(smoothed, Relaxed);
    }

    /// Measures the lag for ever: run it as a task of the runtime that serves requests.
    pub async fn watch_lag(self: Arc<Self>, gauge: Gauge) {
        const EVERY: Duration = Duration::from_millis(10);
        /// Timers are a millisecond coarse, so that much lateness says nothing.
        const COARSE: Duration = Duration::from_millis(2);
        loop {
            let due = Instant::now() + EVERY;
            tokio::time::sleep_until(due.into()).await;
            self.note_lag(due.elapsed().saturating_sub(COARSE));
            gauge.set(self.lag().as_secs_f64());
        }
    }
}

/// The right of one request to be served; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    class: Class,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.in_flight[self.class as usize].fetch_sub(1, Relaxed);
    }
}

/// The answer to a request that is refused: 503 with `Retry-After`, serialised once.
#[must_use]
pub fn refused() -> Response {
    static BODY: LazyLock<Bytes> = LazyLock::new(|| Problem::from(ProblemKind::Overloaded).render(None).into());
    let mut response = Response::new(Body::from(BODY.clone()));
    *response.status_mut() = ProblemKind::Overloaded.status();
    response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM_JSON);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(in_flight: u32) -> Arc<Admission> {
        let mut all = AdmissionLimits::default();
        all.0[Class::Decide as usize].in_flight = in_flight;
        Admission::new(all)
    }

    #[test]
    fn no_more_than_the_limit_is_in_flight() {
        let admission = admission(2);
        let first = admission.enter(Class::Decide).expect("room");
        let _second = admission.enter(Class::Decide).expect("room");
        assert!(admission.enter(Class::Decide).is_none());
        assert_eq!(admission.in_flight(Class::Decide), 2, "a refusal leaves nothing behind");
        assert!(admission.enter(Class::Events).is_some(), "classes do not share");
        drop(first);
        assert!(admission.enter(Class::Decide).is_some());
    }

    #[test]
    fn threads_never_exceed_the_limit_and_leave_nothing_behind() {
        let admission = admission(3);
        let most = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if let Some(permit) = admission.enter(Class::Decide) {
                            let inside = most.fetch_add(1, Relaxed);
                            assert!(inside < 3);
                            most.fetch_sub(1, Relaxed);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert_eq!(admission.in_flight(Class::Decide), 0);
    }

    #[test]
    fn a_late_runtime_sheds_the_least_important_first() {
        let admission = Admission::new(AdmissionLimits::default());
        let open = || Class::ALL.map(|class| admission.enter(class).is_some());
        let mut order = Vec::new();
        for ms in 0..400 {
            admission.lag.store(ms * 1_000, Relaxed);
            let now = open();
            for (class, open) in Class::ALL.iter().zip(now) {
                if !open && !order.contains(class) {
                    order.push(*class);
                }
            }
        }
        assert_eq!(order, [Class::Reports, Class::Authoring, Class::Events, Class::Beacons, Class::Decide]);
    }

    #[test]
    fn lag_fades_when_the_runtime_recovers() {
        let admission = Admission::new(AdmissionLimits::default());
        for _ in 0..20 {
            admission.note_lag(Duration::from_secs(1));
        }
        assert!(admission.enter(Class::Decide).is_none());
        for _ in 0..20 {
            admission.note_lag(Duration::ZERO);
        }
        assert!(admission.enter(Class::Reports).is_some());
        admission.note_lag(Duration::MAX);
    }
}
