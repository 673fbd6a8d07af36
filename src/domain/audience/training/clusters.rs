//! Clusters of people who behave alike, numbered as those that they continue.

use std::sync::Arc;

use super::{
    ClusterView, Proposal, Settings, TooFew, Tried,
    kmeans::{self, Centroids, Points},
    moved, naming,
};
use crate::domain::{
    audience::{cluster::FeatureCheck, model_document::ModelDoc, models::Feature, user::UserState},
    values::Millis,
};

/// People with events that it takes, at least and for each cluster that must be found.
const NEEDED: usize = 50;
const NEEDED_EACH: usize = 10;
/// People by whom the number of clusters is chosen, and by whom they are judged.
const CHOOSING: usize = 10_000;
const JUDGING: usize = 1_000;
/// Strongest features that are told of each cluster.
const TOLD: usize = 5;

pub(super) fn train(
    document: &ModelDoc,
    people: &[Arc<UserState>],
    now: Millis,
    settings: &Settings,
) -> Result<Proposal, TooFew> {
    let mut proposed = document.clone();
    let ModelDoc::Clusters { features, centroids: live, names, .. } = &mut proposed else {
        return Err(TooFew { found: 0, needed: NEEDED });
    };
    let checks: Vec<_> = features.iter().map(FeatureCheck::new).collect();
    let known = |person: &&Arc<UserState>| {
        checks.iter().any(|check| person.activity.view().stream(check.stream().id()).is_some())
    };
    let (found, needed) = (people.iter().filter(known).count(), NEEDED.max(settings.least_clusters * NEEDED_EACH));
    if found < needed {
        return Err(TooFew { found, needed });
    }
    let value = |person: &Arc<UserState>, check: &FeatureCheck| check.value(person.activity.view(), now.0);
    let values = people.iter().flat_map(|person| checks.iter().map(move |check| value(person, check)));
    let raw = Points { values: values.collect(), width: checks.len() };

    let before: Vec<Option<usize>> = match live.is_empty() {
        true => Vec::new(),
        false => normalised(&raw, features).labels(live).into_iter().map(Some).collect(),
    };
    let old: Centroids = live.iter().map(|centroid| denormalised(centroid, features)).collect();
    scale(&raw, features);
    let points = normalised(&raw, features);
    let (fitted, tried) = choose(&points, settings);
    let old: Centroids = old.iter().map(|centroid| normalise(centroid, features)).collect();
    let sizes = kmeans::sizes(&points.labels(&fitted), fitted.len());
    let order = numbered(&fitted, &sizes, &old);
    let centroids: Centroids = order.into_iter().map(|at| at.map_or_else(Vec::new, |at| fitted[at].clone())).collect();

    let labels = points.labels(&centroids);
    let sizes = kmeans::sizes(&labels, centroids.len());
    let of = before.iter().flatten().copied().zip(labels.iter().copied());
    let transitions: Vec<_> =
        (!before.is_empty()).then(|| moved("clusters", of, old.len(), centroids.len())).into_iter().collect();
    let proposed_names = naming::names(features, &centroids);
    // An author's name stays with a cluster that keeps most of its people.
    let kept = |at: usize| {
        let row = transitions.first()?.people.get(at)?;
        names.get(at).filter(|_| row.get(at).is_some_and(|stay| stay * 2 > row.iter().sum::<u64>())).cloned()
    };
    let mut kept_names: Vec<String> = Vec::new();
    for (at, proposed) in proposed_names.iter().enumerate() {
        kept_names.push(kept(at).unwrap_or_else(|| proposed.clone()));
    }
    let view = |(at, proposed_name): (usize, String)| ClusterView {
        cluster: at as u32,
        proposed_name,
        people: sizes[at] as u64,
        share: sizes[at] as f64 / points.len() as f64,
        strongest: naming::strongest(&centroids[at]).into_iter().take(TOLD).collect(),
    };
    let there = proposed_names.into_iter().enumerate().filter(|(at, _)| !centroids[*at].is_empty());
    let clusters = there.map(view).collect();
    let silhouette = kmeans::silhouette(&points.first(JUDGING), &centroids);
    (*live, *names) = (centroids, kept_names);
    Ok(Proposal {
        at: now,
        seed: settings.seed,
        people: points.len() as u64,
        fifths: None,
        clusters,
        silhouette: Some(silhouette),
        tried,
        transitions,
        document: proposed,
    })
}

/// The centroids of the number of clusters whose silhouette is best, of equal ones the fewest.
fn choose(points: &Points, settings: &Settings) -> (Centroids, Vec<Tried>) {
    let (some, few) = (points.first(CHOOSING), points.first(JUDGING));
    let least = |of: &Points| (settings.smallest * of.len() as f64).ceil() as usize;
    let (mut best, mut tried): (Option<(f64, Centroids)>, _) = (None, Vec::new());
    for clusters in settings.least_clusters..=settings.most_clusters {
        let centroids = kmeans::fit(&some, clusters, least(&some), settings.seed);
        let silhouette = kmeans::silhouette(&few, &centroids);
        tried.push(Tried { clusters, found: centroids.len(), silhouette });
        if best.as_ref().is_none_or(|(so_far, _)| silhouette > *so_far) {
            best = Some((silhouette, centroids));
        }
    }
    let (centroids, _) = kmeans::lloyd(points, best.unwrap_or_default().1);
    let mut centroids = kmeans::merge_small(points, centroids, least(points));
    centroids.iter_mut().flatten().for_each(|value| *value = rounded(*value));
    (centroids, tried)
}

/// Which cluster has each number: one that continues an old one, by centroids, the nearest pairs
/// first, keeps that one's; the others have the lowest that are free, the largest first. A number
/// whose cluster none continues stays free, so that it never comes to mean other people unseen.
fn numbered(fitted: &[Vec<f64>], sizes: &[usize], old: &[Vec<f64>]) -> Vec<Option<usize>> {
    let there = old.iter().enumerate().filter(|(_, old)| !old.is_empty());
    let pairs = there.flat_map(|(number, old)| {
        fitted.iter().enumerate().map(move |(at, new)| (kmeans::squared(old, new), number, at))
    });
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut order, mut placed) = (vec![None; old.len().max(fitted.len())], vec![false; fitted.len()]);
    for (_, number, at) in pairs {
        if order[number].is_none() && !placed[at] {
            (order[number], placed[at]) = (Some(at), true);
        }
    }
    let mut rest: Vec<usize> = (0..fitted.len()).filter(|&at| !placed[at]).collect();
    rest.sort_by_key(|&at| std::cmp::Reverse(sizes[at]));
    // Where any are left, every old one goes on.
    let free = order.iter_mut().filter(|slot| slot.is_none());
    free.zip(rest).for_each(|(slot, at)| *slot = Some(at));
    while order.last().is_some_and(Option::is_none) {
        order.pop();
    }
    order
}

/// Takes the mean and the standard deviation of every feature from the points.
fn scale(raw: &Points, features: &mut [Feature]) {
    let count = raw.len().max(1) as f64;
    for (at, feature) in features.iter_mut().enumerate() {
        let mean = raw.rows().map(|row| row[at]).sum::<f64>() / count;
        let variance = raw.rows().map(|row| (row[at] - mean).powi(2)).sum::<f64>() / count;
        feature.mean = rounded(mean);
        feature.scale = rounded(variance.sqrt());
        // What is the same for everyone tells nobody apart.
        if feature.scale <= 0.0 {
            feature.scale = 1.0;
        }
    }
}

/// Six digits after the point: short documents, and finer than any difference that matters.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn normalised(raw: &Points, features: &[Feature]) -> Points {
    Points { values: raw.rows().flat_map(|row| normalise(row, features)).collect(), width: raw.width }
}

fn normalise(row: &[f64], features: &[Feature]) -> Vec<f64> {
    row.iter().zip(features).map(|(value, feature)| (value - feature.mean) / feature.scale).collect()
}

fn denormalised(centroid: &[f64], features: &[Feature]) -> Vec<f64> {
    centroid.iter().zip(features).map(|(value, feature)| value * feature.scale + feature.mean).collect()
}
