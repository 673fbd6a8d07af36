//! The live part: what is kept in memory, what waits in queues, and until when anybody waits.
//!
//! | module | what it does |
//! |---|---|
//! | [`deadline`] | until when an answer is worth anything |
//! | [`users`] | the one door to what is known of a person |
//! | [`feed`] | keeps the caches current, and proves that they are |
//! | [`reservations`] | impressions that were decided but not yet reported, for frequency caps |
//! | [`outcomes`], [`spool`] | beacons, committed in groups or kept in a local log until they can be |
//! | [`records`] | decision records, written off the path |
//! | [`tasks`] | background work, supervised and drained |

mod backoff;
pub mod deadline;
#[cfg(test)]
mod fakes;
pub mod feed;
pub mod outcomes;
mod queue;
pub mod records;
pub mod reservations;
pub mod spool;
pub mod tasks;
pub mod users;
