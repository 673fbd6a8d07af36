//! What may be used about a person, decided once per request and carried with it from then on.

pub mod policy;

pub use policy::{Purposes, Signals, purposes};
