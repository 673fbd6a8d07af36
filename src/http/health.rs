//! What probes and collectors ask: is it alive, may it get traffic, what has it counted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use crate::telemetry::Exposition;

/// Whether this replica should get traffic: every check passes and it is not draining.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Checks>);

#[derive(Debug)]
struct Checks {
    checks: BTreeMap<&'static str, AtomicBool>,
    draining: AtomicBool,
}

impl Readiness {
    /// Not ready until each of the named checks has passed.
    #[must_use]
    pub fn new(checks: &[&'static str]) -> Self {
        let checks = checks.iter().map(|&name| (name, AtomicBool::new(false))).collect();
        Self(Arc::new(Checks { checks, draining: AtomicBool::new(false) }))
    }

    /// Notes whether a check passes now; a name that was not declared is ignored.
    pub fn set(&self, check: &str, passes: bool) {
        if let Some(state) = self.0.checks.get(check) {
            state.store(passes, Relaxed);
        }
    }

    /// Asks balancers to send no more; there is no way back.
    pub fn drain(&self) {
        self.0.draining.store(true, Relaxed);
    }

    /// The answer of `/readyz`.
    #[must_use]
    pub fn report(&self) -> Report {
        let checks: BTreeMap<_, _> = self.0.checks.iter().map(|(name, state)| (*name, state.load(Relaxed))).collect();
        let status = match (self.0.draining.load(Relaxed), checks.values().all(|&passes| passes)) {
            (true, _) => "draining",
            (false, true) => "ready",
            (false, false) => "not_ready",
        };
        Report { status, checks }
    }
}

/// The state of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Readiness)]
pub struct Report {
    /// `ready`, `not_ready` or `draining`.
    pub status: &'static str,
    /// Each check and whether it passes.
    #[schema(value_type = BTreeMap<String, bool>)]
    pub checks: BTreeMap<&'static str, bool>,
}

/// `GET /healthz`, `/readyz` and `/metrics`.
pub fn routes<S: Clone + Send + Sync + 'static>(readiness: Readiness, exposition: Exposition) -> Router<S> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(readiness)
        .merge(Router::new().route("/metrics", get(metrics)).with_state(exposition))
}

/// Ask whether the process is alive
///
/// It runs and its runtime answers.
#[utoipa::path(
    get, path = "/healthz", tag = "operations", operation_id = "get_health", security(()),
    responses((status = 200, description = "It is.", body = String, example = "ok\n"))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Ask whether this replica should get traffic
///
/// Every check passes and it is not draining.
#[utoipa::path(
    get, path = "/readyz", tag = "operations", operation_id = "get_readiness", security(()),
    responses((status = 200, description = "It should.", body = Report), (status = 503, description = "It should not.", body = Report))
)]
pub(super) async fn readyz(State(readiness): State<Readiness>) -> Response {
    let report = readiness.report();
    let status = if report.status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

/// Read the metrics
///
/// In Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "get_metrics", security(()),
    responses((status = 200, description = "Every counter, gauge and histogram.", body = String))
)]
pub(super) async fn metrics(State(exposition): State<Exposition>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], exposition.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_check_and_no_drain() {
        let readiness = Readiness::new(&["catalogue", "feed"]);
        assert_eq!(readiness.report().status, "not_ready");
        readiness.set("catalogue", true);
        readiness.set("typo", true);
        assert_eq!(readiness.report().status, "not_ready");
        readiness.set("feed", true);
        assert_eq!(readiness.report().status, "ready");
        readiness.set("feed", false);
        assert_eq!(readiness.report().checks, BTreeMap::from([("catalogue", true), ("feed", false)]));
        readiness.set("feed", true);
        readiness.drain();
        assert_eq!(readiness.report().status, "draining");
    }
}
