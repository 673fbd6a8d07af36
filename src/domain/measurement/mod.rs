//! What happened: outcomes and the signed tokens that bring them.

pub mod beacon;
pub mod outcome;
