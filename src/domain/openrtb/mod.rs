//! OpenRTB 2.6: from the bytes of a BidRequest to a request for decisions, and from what was
//! decided to a BidResponse. Between the two lies the decision that every caller gets.
//!
//! [`read`] refuses what is malformed, [`plan`](plan::plan) says what there is to decide or why
//! there is no bid, and [`answer`](answer::answer) writes the bids.

pub mod answer;
mod block;
mod check;
mod country;
mod floors;
mod native;
pub mod plan;
mod purses;
mod refusal;
pub mod request;
mod settings;
mod stake;
mod surroundings;
mod video;

pub use answer::{Bids, answer};
pub use check::{check, read};
pub use plan::{Plan, plan};
pub use purses::{Penniless, Purses};
pub use refusal::{NoBid, Refusal};
pub use settings::{Granularity, MappedSegment, Settings, Taxonomy};
pub use stake::Asker;
pub use surroundings::{device, eid_key};
pub use video::WantedVideo;
