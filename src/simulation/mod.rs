//! Replays scenarios with a known truth against the optimizer and its rivals.
//!
//! A [`Scenario`] says who comes, what may be shown and how likely each combination is clicked by
//! whom. Every policy meets the same people with the same luck: a click is `u < p`, with the same
//! `u` for the same impression. What counts is *regret*: how much more likely the best combination
//! would have been clicked, summed, as a share of what an even choice loses (`norm`: 0 is
//! perfect, 1 is chance).

mod alarms;
mod policy;
mod reader;
mod report;
mod rivals;
mod run;
mod scenario;
mod tessera;
mod world;

pub use alarms::Alarms;
pub use report::Report;
pub use run::{Contender, Outcome, Stage};
pub use scenario::{Feedback, Phase, Scenario, Slot, User};
