//! The edge: connections become requests, requests become typed values, answers become bytes.
//!
//! [`accept`] owns sockets and their time limits; [`layers`] is what happens around every request;
//! [`admission`] refuses early what cannot be served in time; [`extract`] turns bodies, paths and
//! queries into values; [`problem`] is the only place that knows how an error looks on the wire.

pub mod accept;
pub mod admission;
pub mod app;
pub mod auth;
pub mod beacons;
pub mod body;
pub mod catalog;
pub mod decisions;
pub mod etag;
pub mod extract;
pub mod health;
pub mod layers;
pub mod openapi;
pub mod page;
pub mod problem;
pub mod request;

/// provisional
pub fn router(
    app: app::App,
    edge: &layers::Edge,
    readiness: health::Readiness,
    exposition: crate::telemetry::Exposition,
) -> axum::Router {
    let (d, _) = decisions::routes().split_for_parts();
    let (b, _) = beacons::routes().split_for_parts();
    let (c, _) = catalog::routes().split_for_parts();
    edge.close(
        edge.group(admission::Class::Decide, d)
            .merge(edge.group(admission::Class::Beacons, b))
            .merge(edge.group(admission::Class::Authoring, c))
            .merge(edge.group(admission::Class::Free, health::routes(readiness, exposition))),
    )
    .with_state(app)
}
