//! The edge: connections become requests, requests become typed values, answers become bytes.
//!
//! [`accept`] owns sockets and their time limits; [`layers`] is what happens around every request;
//! [`admission`] refuses early what cannot be served in time; [`extract`] turns bodies, paths and
//! queries into values; [`problem`] is the only place that knows how an error looks on the wire.

pub mod accept;
pub mod admission;
pub mod body;
pub mod extract;
pub mod health;
pub mod layers;
pub mod problem;
pub mod request;
