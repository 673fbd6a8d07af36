//! What happened and when: outcomes, the signed tokens that bring them, the time of events.

pub mod beacon;
pub mod exposure;
pub mod moment;
pub mod outcome;
pub mod tally;
pub mod user_token;
