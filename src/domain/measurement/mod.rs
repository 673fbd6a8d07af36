//! What happened and what it shows: outcomes and the signed tokens that bring them, rates and
//! reports, the lift over the control, and what another rotation would have earned.

pub mod attribution;
pub mod beacon;
pub mod best;
pub mod cells;
pub mod evaluate;
pub mod exposure;
pub mod holdout;
pub mod lift;
pub mod moment;
mod numbers;
pub mod outcome;
#[cfg(test)]
mod proof;
pub mod rate;
pub mod report;
mod sealed;
mod sequence;
pub mod slate;
pub mod traffic;
pub mod user_token;

pub use numbers::ln_beta;
