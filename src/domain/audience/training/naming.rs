//! Names for clusters, from what sets them apart.

use super::Strength;
use crate::domain::audience::models::{Feature, FeatureKind};

/// Standard deviations from everyone's mean below which a feature says nothing about a cluster.
const FAINT: f64 = 0.3;
/// Features that a name is made of, and how many more may tell equal names apart.
const WORDS: usize = 2;
const MOST_WORDS: usize = 4;

/// In what a cluster differs from everyone, the strongest first.
pub(super) fn strongest(centroid: &[f64]) -> Vec<Strength> {
    let all = centroid.iter().enumerate().map(|(feature, &deviations)| Strength { feature, deviations });
    let mut strong: Vec<_> = all.filter(|one| one.deviations.abs() >= FAINT).collect();
    strong.sort_by(|a, b| b.deviations.abs().total_cmp(&a.deviations.abs()));
    strong
}

/// A name for each cluster, all different.
pub(super) fn names(features: &[Feature], centroids: &[Vec<f64>]) -> Vec<String> {
    let one_event = features.iter().all(|feature| feature.event == features[0].event);
    let mut names: Vec<String> = Vec::new();
    for centroid in centroids {
        let mut words: Vec<String> = Vec::new();
        for one in strongest(centroid) {
            let word = word(&features[one.feature], one.deviations, one_event);
            if !words.contains(&word) {
                words.push(word);
            }
        }
        let some = |count: usize| {
            if words.is_empty() { "average".to_owned() } else { words[..count.min(words.len())].join(", ") }
        };
        let mut tries = (WORDS..=MOST_WORDS).map(some).chain((2..).map(|n| format!("{} ({n})", some(WORDS))));
        names.extend(tries.find(|name| !names.contains(name)));
    }
    names
}

/// Where a cluster stands in one feature, in words.
fn word(feature: &Feature, deviations: f64, one_event: bool) -> String {
    let event = feature.event.as_str().replace('_', " ");
    let of_event = |word: &str| if one_event { word.to_owned() } else { format!("{word} {event}") };
    let high = deviations > 0.0;
    match &feature.measure {
        FeatureKind::Recency => {
            let hours = deviations * feature.scale + feature.mean;
            if hours > f64::from(FeatureKind::LONG_AGO) - 0.5 {
                format!("no {event}")
            } else {
                of_event(if high { "lapsed" } else { "recent" })
            }
        }
        FeatureKind::Count { .. } => of_event(if high { "frequent" } else { "rare" }),
        FeatureKind::Sum { of, .. } => {
            format!("{} {}", if high { "high" } else { "low" }, of.as_str().replace('_', " "))
        }
        FeatureKind::Distinct { of, .. } => {
            format!("{} {}", if high { "varied" } else { "few" }, of.as_str().replace('_', " "))
        }
    }
}
