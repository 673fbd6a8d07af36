//! Learning models from a sample of people: pure, and the same for the same sample, time and seed.
//!
//! Nothing is learned from traits, nor from what may tell a [`protected`] attribute. What comes out
//! is a proposal: a document that rules follow only once its author has put it.

mod clusters;
mod fifths;
mod kmeans;
mod naming;
pub mod protected;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{model_document::ModelDoc, user::UserState};
use crate::domain::{values::Millis, violation::Violation};

/// How to train a model.
#[derive(Debug, Clone, PartialEq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({"seed": 1, "least_clusters": 2, "most_clusters": 8, "smallest": 0.02}))]
pub struct Settings {
    /// The same seed, sample and time make the same model.
    pub seed: u32,
    /// The fewest clusters to try, 1 to 64.
    #[schema(minimum = 1, maximum = 64)]
    pub least_clusters: usize,
    /// The most clusters to try, `least_clusters` to 15 more and at most 64; of the numbers between,
    /// the one with the best silhouette is taken.
    #[schema(minimum = 1, maximum = 64)]
    pub most_clusters: usize,
    /// The least share of the sample that is a cluster, 0 to 0.5; smaller ones join the nearest.
    #[schema(minimum = 0.0, maximum = 0.5)]
    pub smallest: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 0, least_clusters: 2, most_clusters: 8, smallest: 0.02 }
    }
}

impl Settings {
    /// How many numbers of clusters are tried at most, so that training ends within a minute.
    const TRIES: usize = 16;

    /// Whether training can follow them.
    ///
    /// # Errors
    /// What is out of range.
    pub fn check(&self) -> Result<(), Vec<Violation>> {
        let fault = |pointer, detail| Violation::new(pointer, "out_of_range", detail);
        let faults = [
            (!(1..=64).contains(&self.least_clusters)).then(|| fault("/least_clusters", "must be 1 to 64")),
            (self.most_clusters > 64
                || !(self.least_clusters..=self.least_clusters.saturating_add(Self::TRIES - 1))
                    .contains(&self.most_clusters))
            .then(|| fault("/most_clusters", "must be \"least_clusters\" to 15 more, and at most 64")),
            (!(0.0..=0.5).contains(&self.smallest)).then(|| fault("/smallest", "must be 0 to 0.5")),
        ];
        let faults: Vec<_> = faults.into_iter().flatten().collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// What training proposes, and what would change with it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Proposal {
    /// The time it is of.
    pub at: Millis,
    /// The seed.
    pub seed: u32,
    /// The document with what was learned: put it and rules follow it.
    pub document: ModelDoc,
    /// People of the sample that it was learned from.
    pub people: u64,
    /// How many of them fall into each fifth; of recency, frequency and money only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fifths: Option<Fifths>,
    /// The clusters, in the order of their numbers; of clusters only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<ClusterView>,
    /// How well the clusters are apart, -1 to 1 (Rousseeuw 1987), measured on a thousand people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silhouette: Option<f64>,
    /// The numbers of clusters that were tried.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    /// How the people would move; none where the live document is not trained yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<Transition>,
}

/// People in the fifths 1 to 5.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Fifths {
    /// By recency.
    pub recency: [u64; 5],
    /// By frequency.
    pub frequency: [u64; 5],
    /// By money.
    pub money: [u64; 5],
}

/// A proposed cluster.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ClusterView {
    /// Its number, which rules name.
    pub cluster: u32,
    /// The name that its strongest features give it.
    pub proposed_name: String,
    /// People of the sample in it.
    pub people: u64,
    /// Their share of the sample.
    pub share: f64,
    /// In what it differs most from everyone, the strongest first.
    pub strongest: Vec<Strength>,
}

/// How far the middle of a cluster is from everyone's in one feature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Strength {
    /// The feature's position in the document.
    pub feature: usize,
    /// In standard deviations; negative: below the mean.
    pub deviations: f64,
}

/// A number of clusters that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Tried {
    /// So many clusters were looked for.
    pub clusters: usize,
    /// So many were left when those too small had joined others.
    pub found: usize,
    /// How well they are apart.
    pub silhouette: f64,
}

/// How many people would move from where to where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = ModelTransition)]
pub struct Transition {
    /// `clusters`, `recency`, `frequency` or `money`.
    pub of: &'static str,
    /// A row for each live cluster or fifth, a column for each proposed one, by number; of clusters
    /// that are no more all are 0.
    pub people: Vec<Vec<u64>>,
}

/// Too little is known to learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} people of the sample have such events; {needed} are needed")]
pub struct TooFew {
    /// People with events that the model is about.
    pub found: usize,
    /// How many it takes.
    pub needed: usize,
}

/// The most people that are learned from.
pub const LARGEST_SAMPLE: usize = 200_000;

/// Learns a model anew from people, as they are at `now`.
///
/// # Errors
/// Too few of them have events that it is about.
pub fn train(
    document: &ModelDoc,
    people: &[Arc<UserState>],
    now: Millis,
    settings: &Settings,
) -> Result<Proposal, TooFew> {
    let people = &people[..people.len().min(LARGEST_SAMPLE)];
    match document {
        ModelDoc::Rfm { .. } => fifths::train(document, people, now, settings.seed),
        ModelDoc::Clusters { .. } => clusters::train(document, people, now, settings),
    }
}

fn moved(of: &'static str, places: impl Iterator<Item = (usize, usize)>, rows: usize, columns: usize) -> Transition {
    let mut people = vec![vec![0; columns]; rows];
    places.for_each(|(old, new)| people[old][new] += 1);
    Transition { of, people }
}

#[cfg(test)]
mod tests;
