//! Learning which components work for whom.
//!
//! A hierarchical Bayesian logistic model of a creative's combinations ([`Layout`] has its terms) is
//! kept as sums that any number of replicas add to ([`Statistics`]). In the background it becomes a
//! [`Posterior`], and that a [`Snapshot`] of draws. A decision takes one of the draws as the truth
//! (Thompson sampling; Chapelle and Li, NIPS 2011) and shows what is best by it
//! ([`Snapshot::choose`]), so that what may be better is tried as often as it may be, and the
//! probability of every choice is exact ([`Snapshot::propensity`]).
//!
//! The model of slots, pairs and hill climbing follows Hill et al., "An efficient bandit algorithm
//! for realtime multivariate optimization" (KDD 2017); priors with a budget and their fit to the data
//! ([`Posterior::new`]) are what make it hold where slots and features are many.

mod change;
mod choose;
mod climb;
mod codec;
mod delays;
mod explain;
mod layout;
mod lesson;
mod likely;
mod lore;
mod marginals;
mod mixture;
mod posterior;
mod random;
mod settings;
mod shape;
mod snapshot;
mod space;
mod statistics;

pub use change::Detector;
pub use choose::{By, Chosen, Pins};
pub use codec::NotStatistics;
pub use explain::{Contribution, Score, Term};
pub use layout::{DEFAULT, Group, Layout, MOST_PAIRED};
pub use lesson::{Lesson, LessonError, LessonKind};
pub use likely::Likely;
pub use lore::{Lore, Rewards};
pub use mixture::Mixture;
pub use posterior::{Belief, Expected, Posterior};
pub use settings::Settings;
pub use shape::{Shape, ShapeSlot};
pub use snapshot::Snapshot;
pub use space::{Free, NoLegalCombination, Rules, Space};
pub use statistics::{Count, EPOCH_MS, Epoch, HALF_LIFE_MS, Statistics};

#[cfg(test)]
mod tests;
