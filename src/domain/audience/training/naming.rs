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

/// A name for each cluster, all different, and none for a number without one.
pub(super) fn names(features: &[Feature], centroids: &[Vec<f64>]) -> Vec<String> {
    let one_event = features.iter().all(|feature| feature.event == features[0].event);
    let mut names: Vec<String> = Vec::new();
    for centroid in centroids {
        if centroid.is_empty() {
            names.push(String::new());
            continue;
        }
        let never = |feature: &Feature| {
            let of =
                |(other, deviations): (&Feature, &f64)| other.event == feature.event && is_never(other, *deviations);
            features.iter().zip(centroid).any(of)
        };
        // Who never did something did it neither seldom nor cheaply.
        let (absent, present): (Vec<_>, Vec<_>) =
            strongest(centroid).into_iter().partition(|one| never(&features[one.feature]));
        let absent = absent.iter().map(|one| format!("no {}", spoken(features[one.feature].event.as_str())));
        let present = present.iter().map(|one| word(&features[one.feature], one.deviations, one_event));
        let mut words: Vec<String> = Vec::new();
        for word in absent.chain(present) {
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

/// Whether the middle of a cluster is among those without such an event.
fn is_never(feature: &Feature, deviations: f64) -> bool {
    let step = deviations * feature.scale + feature.mean;
    feature.measure == FeatureKind::Recency && step > f64::from(FeatureKind::LONG_AGO) - 0.5
}

/// Where a cluster stands in one feature, in words.
fn word(feature: &Feature, deviations: f64, one_event: bool) -> String {
    let high = deviations > 0.0;
    let which = |more: &'static str, less: &'static str| if high { more } else { less };
    let of_event = |word: &str| match one_event {
        true => word.to_owned(),
        false => format!("{word} {}", spoken(feature.event.as_str())),
    };
    match &feature.measure {
        FeatureKind::Recency => of_event(which("lapsed", "recent")),
        FeatureKind::Count { .. } => of_event(which("frequent", "rare")),
        FeatureKind::Sum { of, .. } => format!("{} {}", which("high", "low"), spoken(of.as_str())),
        FeatureKind::Distinct { of, .. } => format!("{} {}", which("varied", "few"), spoken(of.as_str())),
    }
}

fn spoken(name: &str) -> String {
    name.replace('_', " ")
}
