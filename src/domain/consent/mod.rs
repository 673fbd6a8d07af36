//! What may be used about a person, decided once per request and carried with it from then on.
//!
//! [`read`] takes every privacy signal of a request and gives what they allow together. Strings
//! are read in place: no range is written out, nothing longer than 8 KiB is looked at, and what
//! cannot be read allows nothing.

mod bits;
mod gpp;
pub mod mask;
pub mod policy;
mod purposes;
mod relayed;
mod tcf;
mod us;

#[cfg(test)]
mod testing;

pub use policy::{Reading, Rules, Signals, read};
pub use purposes::{Allowed, Purposes};
pub use relayed::Relayed;
