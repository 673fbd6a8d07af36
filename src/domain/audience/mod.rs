//! Who the user is: traits, list memberships, what they did, and the segments that follow from it.
//!
//! A rule is parsed once ([`rule`]), compiled once per catalogue ([`compile`]) and evaluated at
//! read ([`evaluate`]), so no membership is ever stored for deciding. Events are folded into
//! packed streams ([`activity`]), as many as the rules need, and conditions read them in place. Every answer is a
//! [`verdict::Verdict`]: whether the condition holds, since when, and until when time alone
//! cannot change that.
//!
//! | module | what it holds |
//! |---|---|
//! | [`node`] | a parsed rule as a tree |
//! | [`rule`] | the documents and their one parser |
//! | [`predicate`] | what each operator means, to the millisecond |
//! | [`profile`], [`user`], [`caps`] | what is known of a person, and its packed form |
//! | [`activity`] | what a person did, summed up, and the conditions on it |
//! | [`models`] | cut points and clusters, for rules to name |
//! | [`context`] | what is known of a request |
//! | [`value`] | scalars, points, instants written as text, zones |
//! | [`compile`] | names resolved, references ordered, cycles refused |
//! | [`evaluate`], [`explain`] | the answer, and why |
//! | [`transition`], [`standing`] | who enters and who leaves, by a change and as time passes |
//! | [`models`], [`model_document`], [`training`] | what is learned of people, and how |
//! | [`lint`], [`preview`] | what an author should look at, and who would be in |

pub mod activity;
pub mod caps;
mod check;
mod cluster;
mod codec;
pub mod compile;
pub mod context;
pub mod evaluate;
pub mod explain;
mod grammar;
mod grammar_events;
pub mod hints;
mod implication;
pub mod lint;
mod lower;
pub mod model_document;
pub mod models;
mod nearest;
pub mod node;
#[cfg(test)]
mod oracle;
mod parser;
mod places;
pub mod predicate;
pub mod preview;
pub mod profile;
mod program;
#[cfg(test)]
mod proof;
pub mod report;
mod requirements;
pub mod rule;
mod schema;
pub mod standing;
#[cfg(test)]
mod tests;
pub mod training;
pub mod transition;
pub mod user;
pub mod value;
pub mod verdict;

pub use requirements::Requirements;
pub use rule::{RuleDoc, TargetingDoc};
