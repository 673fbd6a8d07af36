//! What the service tells its operators: JSON logs and Prometheus metrics.
//!
//! Neither may carry personal data. Logs name routes and ids, never bodies, query strings or user
//! keys; metric labels come from small fixed sets. Every metric is declared in [`METRICS`] and its
//! handle is made once, in [`Meters`], so that counting costs one atomic operation and no look-up.

mod logs;

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use logs::{LogError, init_logs};

/// Decisions answered, by `fallback_level`.
pub const DECISIONS: &str = "tessera_decisions_total";
/// Time from arrival of a decision request to its answer, in seconds.
pub const DECISION_DURATION: &str = "tessera_decision_duration_seconds";
/// Time spent deciding, by `step`, in nanoseconds. Waiting for the store counts as `user`.
pub const DECISION_STEPS: &str = "tessera_decision_steps_nanoseconds_total";
/// Users read from the store, by `result`.
pub const USER_LOADS: &str = "tessera_user_loads_total";
/// Look-ups in the user cache, by `result`.
pub const USER_CACHE: &str = "tessera_user_cache_total";
/// Events taken in, by `result`.
pub const EVENTS: &str = "tessera_events_total";
/// Outcomes reported by beacons, by `kind`.
pub const OUTCOMES: &str = "tessera_outcomes_total";
/// Bid requests refused, by `reason`.
pub const BID_REFUSALS: &str = "tessera_bid_refusals_total";
/// Bid requests answered without a bid, by `reason`; `bid` are those with one.
pub const BIDS: &str = "tessera_bids_total";
/// Errors of video players, by `reason`: their code in VAST.
pub const PLAYER_ERRORS: &str = "tessera_player_errors_total";
/// Failures to learn about a creative while the store is there.
pub const LEARNING_FAILURES: &str = "tessera_learning_failures_total";
/// Decision records lost before they were written, because their queue was full or the store failed.
pub const RECORDS_DROPPED: &str = "tessera_records_dropped_total";
/// Servings of capped campaigns that were not reserved for want of room: until their impressions are
/// reported, caps do not count them.
pub const RESERVATIONS_REFUSED: &str = "tessera_reservations_refused_total";
/// People of whom nothing could be told to those who follow segments.
pub const TRANSITIONS_DROPPED: &str = "tessera_transitions_dropped_total";
/// Connections open now.
pub const CONNECTIONS: &str = "tessera_connections";
/// Connections accepted since the start.
pub const CONNECTIONS_ACCEPTED: &str = "tessera_connections_accepted_total";
/// Connections cut because the client was too slow or idle, by `phase`.
pub const CONNECTIONS_CUT: &str = "tessera_connections_cut_total";
/// Failures to accept a connection, such as running out of file descriptors.
pub const ACCEPT_ERRORS: &str = "tessera_accept_errors_total";
/// Requests answered, by `route` (its template) and `status` class.
pub const REQUESTS: &str = "tessera_requests_total";
/// Time from arrival of a request to its answer, by `class`, in seconds.
pub const REQUEST_DURATION: &str = "tessera_request_duration_seconds";
/// Requests refused by admission control, by `class`.
pub const SHED: &str = "tessera_shed_total";
/// Handlers that panicked.
pub const PANICS: &str = "tessera_panics_total";
/// How late the runtime wakes a task that asked for a time, in seconds.
pub const SCHEDULER_LAG: &str = "tessera_scheduler_lag_seconds";
/// Time since the change feed last proved this replica current, in seconds.
pub const FEED_LAG: &str = "tessera_feed_lag_seconds";
/// 1 while the staleness lease of the change feed holds, else 0.
pub const FEED_LEASE: &str = "tessera_feed_lease";
/// How long the oldest writing transaction has been open, as the change feed sees it, in seconds.
pub const FEED_HELD: &str = "tessera_feed_held_seconds";
/// Version of the catalogue in use.
pub const CATALOG_VERSION: &str = "tessera_catalog_version";

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// Every metric: its name, kind and meaning.
pub const METRICS: &[(&str, Kind, &str)] = &[
    (DECISIONS, Kind::Counter, "Decisions answered, by fallback level"),
    (DECISION_DURATION, Kind::Histogram, "Time from arrival of a decision request to its answer"),
    (DECISION_STEPS, Kind::Counter, "Time spent deciding, by step"),
    (USER_LOADS, Kind::Counter, "Users read from the store, by result"),
    (USER_CACHE, Kind::Counter, "Look-ups in the user cache, by result"),
    (EVENTS, Kind::Counter, "Events taken in, by result"),
    (OUTCOMES, Kind::Counter, "Outcomes reported by beacons, by kind"),
    (BID_REFUSALS, Kind::Counter, "Bid requests refused, by reason"),
    (BIDS, Kind::Counter, "Bid requests answered, by the reason for no bid"),
    (PLAYER_ERRORS, Kind::Counter, "Errors of video players, by their code in VAST"),
    (RECORDS_DROPPED, Kind::Counter, "Decision records lost before they were written"),
    (LEARNING_FAILURES, Kind::Counter, "Failures to learn about a creative while the store is there"),
    (RESERVATIONS_REFUSED, Kind::Counter, "Servings of capped campaigns not reserved for want of room"),
    (TRANSITIONS_DROPPED, Kind::Counter, "People of whom nothing could be told to those who follow segments"),
    (CONNECTIONS, Kind::Gauge, "Connections open now"),
    (CONNECTIONS_ACCEPTED, Kind::Counter, "Connections accepted"),
    (CONNECTIONS_CUT, Kind::Counter, "Connections cut because the client was slow or idle, by phase"),
    (ACCEPT_ERRORS, Kind::Counter, "Failures to accept a connection"),
    (REQUESTS, Kind::Counter, "Requests answered, by route and status class"),
    (REQUEST_DURATION, Kind::Histogram, "Time from arrival of a request to its answer, by class"),
    (SHED, Kind::Counter, "Requests refused by admission control, by class"),
    (PANICS, Kind::Counter, "Handlers that panicked"),
    (SCHEDULER_LAG, Kind::Gauge, "How late the runtime wakes tasks"),
    (FEED_LAG, Kind::Gauge, "Time since the change feed last proved this replica current"),
    (FEED_LEASE, Kind::Gauge, "Whether the staleness lease of the change feed holds"),
    (FEED_HELD, Kind::Gauge, "How long the oldest writing transaction has been open"),
    (CATALOG_VERSION, Kind::Gauge, "Version of the catalogue in use"),
];

/// Bucket bounds for durations, in seconds: 50 us to 5 s.
const BUCKETS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Declares a group of counters that differ in one label.
macro_rules! counters {
    ($(#[$doc:meta])* $group:ident, $metric:expr, $label:literal, { $($(#[$field_doc:meta])* $field:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $group {
            $($(#[$field_doc])* pub $field: Counter,)+
        }

        impl $group {
            fn register() -> Self {
                Self { $($field: counter!($metric, $label => stringify!($field)),)+ }
            }
        }
    };
}

counters!(
    /// Decisions by fallback level.
    Decisions, DECISIONS, "fallback_level", {
        /// From a current profile.
        personalised,
        /// From the last known profile.
        stale,
        /// Without a profile.
        contextual,
        /// The default creative.
        default,
        /// Nothing to show.
        none,
    }
);
counters!(
    /// Nanoseconds spent deciding by step.
    DecisionSteps, DECISION_STEPS, "step", {
        /// From bytes to a typed request.
        parse,
        /// Getting the person.
        user,
        /// Deciding.
        decide,
        /// Signing the beacons and rendering the markup.
        assemble,
        /// From what was decided to bytes.
        present,
    }
);
counters!(
    /// Loads of users by result.
    UserLoads, USER_LOADS, "result", {
        /// The user is known.
        found,
        /// Nobody has this key.
        absent,
        /// The store failed.
        failed,
        /// The caller's deadline passed first.
        late,
    }
);
counters!(
    /// Look-ups in the user cache by result.
    UserCache, USER_CACHE, "result", {
        /// Present and current.
        hit,
        /// Not present.
        miss,
        /// Present, but past its staleness lease.
        stale,
    }
);
counters!(
    /// Events by result.
    Events, EVENTS, "result", {
        /// Committed and applied.
        applied,
        /// Committed, too old to be applied.
        late,
        /// Seen before.
        duplicate,
        /// Faulty, of somebody erased, or without consent.
        refused,
    }
);
counters!(
    /// Outcomes by kind.
    Outcomes, OUTCOMES, "kind", {
        /// The creative was rendered.
        impression,
        /// It was in view.
        viewable,
        /// It was clicked.
        click,
        /// It led to a conversion.
        conversion,
        /// A repeated, expired or forged beacon, which counts nothing.
        ignored,
    }
);
counters!(
    /// Connections cut, by what the server was waiting for.
    Cut, CONNECTIONS_CUT, "phase", {
        /// The head of a request.
        head,
        /// A next request.
        idle,
        /// The client to read its answer.
        write,
        /// The end of a drain.
        drain,
    }
);

/// Handles of all metrics, made once.
#[derive(Clone)]
pub struct Meters {
    /// Decisions by fallback level.
    pub decisions: Decisions,
    /// Nanoseconds spent on each step of decisions.
    pub decision_steps: DecisionSteps,
    /// Seconds from the arrival of a decision request to its answer.
    pub decision_duration: Histogram,
    /// Loads of users by result.
    pub user_loads: UserLoads,
    /// Look-ups in the user cache by result.
    pub user_cache: UserCache,
    /// Events by result.
    pub events: Events,
    /// Outcomes by kind.
    pub outcomes: Outcomes,
    /// Decision records lost before they were written.
    pub records_dropped: Counter,
    /// Failures to learn about a creative while the store is there.
    pub learning_failures: Counter,
    /// Servings of capped campaigns that were not reserved for want of room.
    pub reservations_refused: Counter,
    /// People of whom nothing could be told to those who follow segments.
    pub transitions_dropped: Counter,
    /// Connections open now.
    pub connections: Gauge,
    /// Connections accepted.
    pub connections_accepted: Counter,
    /// Connections cut, by what the server was waiting for.
    pub connections_cut: Cut,
    /// Failures to accept.
    pub accept_errors: Counter,
    /// Handlers that panicked.
    pub panics: Counter,
    /// Seconds by which the runtime wakes tasks late.
    pub scheduler_lag: Gauge,
    /// Seconds since the change feed last proved this replica current.
    pub feed_lag: Gauge,
    /// 1 while the staleness lease holds.
    pub feed_lease: Gauge,
    /// Seconds for which the oldest writing transaction has been open.
    pub feed_held: Gauge,
    /// Version of the catalogue in use.
    pub catalog_version: Gauge,
    recorder: Arc<PrometheusRecorder>,
}

/// Requests of one route by status class.
#[derive(Clone)]
pub struct RouteMeters([Counter; 5]);

impl RouteMeters {
    /// The counter for a status code (100 to 599).
    pub fn of(&self, status: u16) -> &Counter {
        &self.0[usize::from(status / 100).clamp(1, 5) - 1]
    }
}

/// Requests of one priority class.
#[derive(Clone)]
pub struct ClassMeters {
    /// Seconds from arrival to answer.
    pub duration: Histogram,
    /// Requests refused.
    pub shed: Counter,
}

impl Meters {
    /// Handles for the requests of `route`, given as its template (never a concrete path).
    #[must_use]
    pub fn route(&self, route: &str) -> RouteMeters {
        metrics::with_local_recorder(&*self.recorder, || {
            RouteMeters(
                ["1xx", "2xx", "3xx", "4xx", "5xx"]
                    .map(|status| counter!(REQUESTS, "route" => route.to_owned(), "status" => status)),
            )
        })
    }

    /// The handle of a metric for a `reason`.
    pub fn reason(&self, metric: &'static str, reason: &'static str) -> Counter {
        metrics::with_local_recorder(&*self.recorder, || counter!(metric, "reason" => reason))
    }

    /// Handles for the requests of a priority class.
    #[must_use]
    pub fn class(&self, class: &'static str) -> ClassMeters {
        metrics::with_local_recorder(&*self.recorder, || ClassMeters {
            duration: metrics::histogram!(REQUEST_DURATION, "class" => class),
            shed: counter!(SHED, "class" => class),
        })
    }
}

/// Renders the metrics of one service in Prometheus' text format.
#[derive(Clone)]
pub struct Exposition(PrometheusHandle);

impl Exposition {
    /// The text of `/metrics`.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds what histograms have gathered since the last call. Call it every few seconds, or they
    /// grow until somebody renders them.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Makes the metrics of one service. They are not global: two services in a process count apart.
#[must_use]
pub fn metrics() -> (Meters, Exposition) {
    let suffix = Matcher::Suffix("_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(suffix, BUCKETS);
    let recorder = Arc::new(builder.expect("the bucket list is not empty").build_recorder());
    let exposition = Exposition(recorder.handle());
    let meters = metrics::with_local_recorder(&*recorder, || {
        for &(name, kind, meaning) in METRICS {
            let unit = if name.ends_with("_seconds") { Unit::Seconds } else { Unit::Count };
            match kind {
                Kind::Counter => describe_counter!(name, unit, meaning),
                Kind::Gauge => describe_gauge!(name, unit, meaning),
                Kind::Histogram => describe_histogram!(name, unit, meaning),
            }
        }
        Meters {
            decisions: Decisions::register(),
            decision_steps: DecisionSteps::register(),
            decision_duration: metrics::histogram!(DECISION_DURATION),
            user_loads: UserLoads::register(),
            user_cache: UserCache::register(),
            events: Events::register(),
            outcomes: Outcomes::register(),
            records_dropped: counter!(RECORDS_DROPPED),
            learning_failures: counter!(LEARNING_FAILURES),
            reservations_refused: counter!(RESERVATIONS_REFUSED),
            transitions_dropped: counter!(TRANSITIONS_DROPPED),
            connections: metrics::gauge!(CONNECTIONS),
            connections_accepted: counter!(CONNECTIONS_ACCEPTED),
            connections_cut: Cut::register(),
            accept_errors: counter!(ACCEPT_ERRORS),
            panics: counter!(PANICS),
            scheduler_lag: metrics::gauge!(SCHEDULER_LAG),
            feed_lag: metrics::gauge!(FEED_LAG),
            feed_lease: metrics::gauge!(FEED_LEASE),
            feed_held: metrics::gauge!(FEED_HELD),
            catalog_version: metrics::gauge!(CATALOG_VERSION),
            recorder: recorder.clone(),
        }
    });
    (meters, exposition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_renders_with_its_meaning() {
        let (meters, exposition) = metrics();
        meters.decisions.personalised.increment(2);
        meters.decision_duration.record(0.000_2);
        meters.route("/v1/decisions").of(200).increment(1);
        meters.route("/v1/decisions").of(503).increment(1);
        meters.class("decide").duration.record(0.001);
        meters.reason(BID_REFUSALS, "id").increment(1);
        meters.reason(BIDS, "bid").increment(1);
        meters.reason(PLAYER_ERRORS, "405").increment(1);
        let text = exposition.render();
        for line in [
            r#"tessera_decisions_total{fallback_level="personalised"} 2"#,
            r#"tessera_decision_duration_seconds_bucket{le="0.00025"} 1"#,
            r#"tessera_requests_total{route="/v1/decisions",status="2xx"} 1"#,
            r#"tessera_requests_total{route="/v1/decisions",status="5xx"} 1"#,
            r#"tessera_request_duration_seconds_count{class="decide"} 1"#,
            r#"tessera_bid_refusals_total{reason="id"} 1"#,
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is missing from\n{text}");
        }
        for (name, _, meaning) in METRICS {
            assert!(text.contains(&format!("# HELP {name} {meaning}")), "{name} has no help line");
        }
    }

    #[test]
    fn two_services_count_apart() {
        let ((one, _), (_, other)) = (metrics(), metrics());
        one.panics.increment(1);
        assert!(other.render().contains("tessera_panics_total 0"));
    }

    #[test]
    fn a_status_outside_the_classes_is_still_counted() {
        let (meters, _) = metrics();
        let route = meters.route("/");
        for status in [0, 99, 100, 599, 999, u16::MAX] {
            route.of(status).increment(1);
        }
    }

    #[test]
    fn a_bad_filter_is_named() {
        let error = init_logs("tessera=loud=very").expect_err("no such filter");
        assert!(error.to_string().contains("tessera=loud=very"), "{error}");
    }
}
