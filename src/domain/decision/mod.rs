//! The main job: which creative, made of which components, and why.
//!
//! [`decide::decide`] chooses; [`assemble::assemble`] signs and renders what was chosen. Both are
//! pure: the snapshot, the person, the time and the seed are arguments.

pub mod answer;
pub mod assemble;
pub mod belief;
pub mod choose;
mod contest;
pub mod coverage;
pub mod decide;
pub mod decided;
pub mod eligibility;
pub mod exclusion;
mod explaining;
pub mod explanation;
pub mod exposing;
mod fallback;
pub mod goods;
pub mod late;
pub mod learned;
pub mod proof;
pub mod reasoning;
pub mod record;
pub mod replay;
pub mod request;
pub mod rotation;
mod run;
pub mod shadow;
mod sharing;
pub mod spaces;
pub mod standing;
pub mod what_if;

#[cfg(test)]
mod tests;
