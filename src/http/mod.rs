//! The edge: connections become requests, requests become typed values, answers become bytes.
//!
//! [`accept`] owns sockets and their time limits; [`layers`] is what happens around every request;
//! [`admission`] refuses early what cannot be served in time; [`extract`] turns bodies, paths and
//! queries into values; [`problem`] is the only place that knows how an error looks on the wire.

pub mod accept;
pub mod app;
pub mod admission;
pub mod auth;
pub mod beacons;
pub mod body;
pub mod catalog;
pub mod decisions;
pub mod etag;
pub mod extract;
pub mod health;
pub mod layers;
pub mod page;
pub mod problem;
pub mod request;
