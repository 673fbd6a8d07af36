//! The pure core: values, documents and the functions over them.
//!
//! Nothing here reads a clock, draws a random number, logs, waits or talks to anything. `now`, the
//! catalogue snapshot and the seed are arguments, so the same inputs always give the same bytes.

pub mod access;
pub mod audience;
pub mod catalog;
pub mod consent;
pub mod creative;
pub mod decision;
pub mod ids;
pub mod measurement;
pub mod openrtb;
pub mod optimizer;
pub mod products;
pub mod values;
pub mod violation;
pub mod webhook;
