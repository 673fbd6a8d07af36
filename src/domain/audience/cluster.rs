//! The cluster a person is in: the one whose middle is nearest. Time moves features only at known
//! instants, so the answer comes with a stretch in which it stays the same, as every other.

use std::sync::Arc;

use super::{
    activity::{Activity, ActivityView, Keep, Stream, StreamId, Timeline, count_distinct, total_within},
    models::{ClusterModel, Feature, FeatureKind},
    verdict::Verdict,
};
use crate::domain::{ids::ModelKey, values::Millis, violation::Violation};

const HOUR: i64 = 3_600_000;

/// A feature and the events it is read from.
#[derive(Clone, Debug)]
pub(super) struct FeatureCheck {
    kind: FeatureKind,
    stream: Stream,
}

/// Whether a person is in one of some clusters.
#[derive(Clone, Debug)]
pub(super) struct ClusterCheck {
    pub(super) name: ModelKey,
    pub(super) among: Vec<u32>,
    max_distance: Option<f64>,
    pub(super) model: Arc<ClusterModel>,
    features: Vec<FeatureCheck>,
}

/// Which cluster is nearest, and for how long that was and will be so at least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Nearest {
    pub(super) cluster: u32,
    pub(super) distance: f64,
    since: Option<Millis>,
    until: Option<Millis>,
}

impl FeatureCheck {
    pub(super) fn new(feature: &Feature) -> Self {
        let (key, value) = match &feature.measure {
            FeatureKind::Recency | FeatureKind::Count { .. } => (None, None),
            FeatureKind::Sum { of, .. } => (None, Some(of.as_str().into())),
            FeatureKind::Distinct { of, .. } => (Some(of.as_str().into()), None),
        };
        let stream = Stream::new(feature.event.clone(), Vec::new(), key, value, Keep::Few);
        Self { kind: feature.measure.clone(), stream }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    fn id(&self) -> StreamId {
        self.stream.id()
    }

    /// The value at `now`, not normalised.
    pub(super) fn value(&self, activity: ActivityView<'_>, now: i64) -> f64 {
        let Some(stream) = activity.stream(self.id()) else {
            return if self.kind == FeatureKind::Recency { f64::from(FeatureKind::LONG_AGO) } else { 0.0 };
        };
        let amount = match &self.kind {
            FeatureKind::Recency => {
                let newest = stream.whole().atoms().map(|atom| atom.at).find(|&at| at <= now);
                return f64::from(newest.map_or(FeatureKind::LONG_AGO, |newest| step(now - newest)));
            }
            FeatureKind::Count { last } => total_within(stream.whole(), *last, now).0 as f64,
            FeatureKind::Sum { last, .. } => total_within(stream.whole(), *last, now).1 as f64 / 1e6,
            FeatureKind::Distinct { last, .. } => count_distinct(stream, *last, now) as f64,
        };
        amount.max(0.0).ln_1p()
    }

    fn edges(&self, activity: ActivityView<'_>, edge: &mut dyn FnMut(i64)) {
        let Some(stream) = activity.stream(self.id()) else { return };
        let mut of = |at: i64| match self.kind.last() {
            Some(last) => [at, at + last.millis()].into_iter().for_each(&mut *edge),
            None => {
                edge(at);
                (0..FeatureKind::LONG_AGO).for_each(|step| edge(at + (HOUR << step)));
            }
        };
        match self.kind {
            FeatureKind::Distinct { .. } => {
                stream.tracks().for_each(|(_, track)| track.atoms().for_each(|atom| of(atom.at)));
            }
            _ => stream.whole().atoms().for_each(|atom| of(atom.at)),
        }
    }
}

impl Feature {
    /// What the feature is of a person at `now`, before it is normalised: for learning.
    #[must_use]
    pub fn value(&self, activity: &Activity, now: Millis) -> f64 {
        FeatureCheck::new(self).value(activity.view(), now.0)
    }
}

/// Whole doublings of hours.
fn step(age: i64) -> u32 {
    (64 - (age / HOUR).leading_zeros()).min(FeatureKind::LONG_AGO)
}

impl ClusterCheck {
    pub(super) fn new(
        name: &ModelKey,
        model: &Arc<ClusterModel>,
        among: &[u32],
        max_distance: Option<f64>,
    ) -> Result<Self, Violation> {
        let known: Vec<u32> = model.clusters().map(|(cluster, _)| cluster).collect();
        if let Some(at) = among.iter().position(|cluster| !known.contains(cluster)) {
            let known: Vec<String> = known.iter().map(u32::to_string).collect();
            let detail = format!("\"{name}\" has the clusters {}", known.join(", "));
            return Err(Violation::new(format!("/in/{at}"), "unknown_cluster", detail));
        }
        let features = model.features.iter().map(FeatureCheck::new).collect();
        Ok(Self { name: name.clone(), among: among.to_vec(), max_distance, model: Arc::clone(model), features })
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = Stream> {
        self.features.iter().map(|feature| feature.stream.clone())
    }

    /// The nearest cluster at `now`. It depends on the model only, so it can be asked once for
    /// all conditions on one.
    pub(super) fn nearest(&self, activity: ActivityView<'_>, now: Millis) -> Nearest {
        let (cluster, distance) = self.place(activity, now.0);
        let (mut since, mut until) = (None, None);
        self.edges(activity, &mut |edge| {
            if edge <= now.0 {
                since = since.max(Some(Millis(edge)));
            } else {
                until = Some(until.map_or(Millis(edge), |until: Millis| until.min(Millis(edge))));
            }
        });
        Nearest { cluster, distance, since, until }
    }

    pub(super) fn verdict(&self, nearest: Nearest) -> Verdict {
        let Nearest { cluster, distance, since, until } = nearest;
        Verdict::new(self.takes(cluster, distance), since, until)
    }

    pub(super) fn exact(&self, activity: ActivityView<'_>, now: Millis) -> Verdict {
        Placed { check: self, activity }.exact(now.0)
    }

    fn takes(&self, cluster: u32, distance: f64) -> bool {
        self.among.contains(&cluster) && self.max_distance.is_none_or(|most| distance <= most)
    }

    fn edges(&self, activity: ActivityView<'_>, edge: &mut dyn FnMut(i64)) {
        self.features.iter().for_each(|feature| feature.edges(activity, edge));
    }

    fn place(&self, activity: ActivityView<'_>, now: i64) -> (u32, f64) {
        let normal =
            |(feature, check): (&Feature, &FeatureCheck)| (check.value(activity, now) - feature.mean) / feature.scale;
        let point: Vec<f64> = self.model.features.iter().zip(&self.features).map(normal).collect();
        let squared = |centroid: &[f64]| centroid.iter().zip(&point).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let distances = self.model.clusters().map(|(cluster, centroid)| (squared(centroid), cluster));
        // Of equally near ones the first.
        let (distance, cluster) = distances.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default();
        (cluster, distance.sqrt())
    }
}

struct Placed<'a> {
    check: &'a ClusterCheck,
    activity: ActivityView<'a>,
}

impl Timeline for Placed<'_> {
    fn holds(&self, at: i64) -> bool {
        let (cluster, distance) = self.check.place(self.activity, at);
        self.check.takes(cluster, distance)
    }

    fn edges(&self, edge: &mut dyn FnMut(i64)) {
        self.check.edges(self.activity, edge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recency_steps_double() {
        let hours = [0, 1, 2, 3, 4, 7, 8, 8_191, 8_192, 100_000].map(|hours| step(hours * HOUR));
        assert_eq!(hours, [0, 1, 2, 2, 3, 3, 4, 13, 14, 14]);
        assert_eq!((step(HOUR - 1), step(4 * HOUR - 1)), (0, 2));
    }
}
