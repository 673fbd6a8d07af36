//! What was learned of people, for rules to name: cut points of recency, frequency and money, and
//! clusters. Models are numbers only, so conditions on them are answered at read like all others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    activity::Stream,
    nearest::hint,
    node::{Age, EventCondition, Measure, Node, Range, Rfm, Window},
};
use crate::domain::{
    ids::{EventName, ModelKey, TraitName},
    values::Span,
    violation::{Violation, Violations},
};

/// Every model of an account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Models {
    /// The first is that of rules which name no event.
    pub(super) rfm: Vec<(ModelKey, RfmModel)>,
    pub(super) clusters: BTreeMap<ModelKey, Arc<ClusterModel>>,
    /// Those that nothing was learned for yet.
    pub(super) untrained: BTreeSet<ModelKey>,
}

/// Where people fall into fifths of recency, frequency and money.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RfmModel {
    /// The event that counts as a purchase.
    pub event: EventName,
    /// The property that is its amount.
    pub amount: TraitName,
    /// People without such an event for this long fall into no fifth. At most 400 days.
    pub window: Span,
    /// Longest times since the last one, for the fifths 5, 4, 3 and 2; ascending.
    pub recency: [Span; 4],
    /// Least numbers within the window, for the fifths 2, 3, 4 and 5; ascending, 2 to 63.
    pub frequency: [u8; 4],
    /// Least sums within the window, for the fifths 2, 3, 4 and 5; ascending.
    pub money: [f64; 4],
}

/// Groups of people who behave alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterModel {
    /// What people are compared by; 1 to 32.
    pub features: Vec<Feature>,
    /// The middle of each cluster in normalised features; 1 to 64, each as long as `features`, or
    /// empty: there is no cluster of this number.
    pub centroids: Vec<Vec<f64>>,
}

/// One number that people are compared by: `(value - mean) / scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"event": "purchase", "measure": {"sum": {"of": "amount", "last": "P90D"}}}))]
pub struct Feature {
    /// The type of event that it is about.
    pub event: EventName,
    /// What of it.
    pub measure: FeatureKind,
    /// The mean of everyone; learned.
    #[serde(default)]
    pub mean: f64,
    /// The standard deviation of everyone; more than 0; learned.
    #[serde(default = "Feature::unscaled")]
    #[schema(exclusive_minimum = 0.0)]
    pub scale: f64,
}

/// What of an event is measured, on a logarithmic scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FeatureKind {
    /// Whole doublings of hours since the newest event: 0 within the first hour, 1 within the
    /// second, 2 until four hours have passed, and so on; 14 from 8,192 hours on and
    /// when there was none.
    Recency,
    /// `ln(1 + n)` of the number of events within the last stretch of time.
    Count {
        /// At most 400 days.
        last: Span,
    },
    /// `ln(1 + s)` of the sum `s` of a property, 0 when that is negative.
    Sum {
        /// The property.
        of: TraitName,
        /// At most 400 days.
        last: Span,
    },
    /// `ln(1 + n)` of the number of different values of a property.
    Distinct {
        /// The property.
        of: TraitName,
        /// At most 400 days.
        last: Span,
    },
}

impl FeatureKind {
    /// The highest step of recency.
    pub const LONG_AGO: u32 = 14;
}

impl Models {
    /// These models.
    ///
    /// # Errors
    /// Every fault of a model, with its pointer within `{"rfm": {..}, "clusters": {..}}`.
    pub fn new(
        rfm: impl IntoIterator<Item = (ModelKey, RfmModel)>,
        clusters: impl IntoIterator<Item = (ModelKey, ClusterModel)>,
    ) -> Result<Self, Vec<Violation>> {
        let rfm: Vec<_> = rfm.into_iter().collect();
        let clusters: BTreeMap<_, _> = clusters.into_iter().map(|(name, model)| (name, Arc::new(model))).collect();
        let mut faults = Violations::new();
        for (name, model) in &rfm {
            faults.extend_under(&format!("/rfm/{name}"), model.faults());
        }
        for (name, model) in &clusters {
            faults.extend_under(&format!("/clusters/{name}"), model.faults());
        }
        faults.into_result().map(|()| Self { rfm, clusters, untrained: BTreeSet::new() })
    }

    /// The models that a condition rests on.
    #[must_use]
    pub fn named(&self, node: &Node) -> BTreeSet<ModelKey> {
        let mut named = BTreeSet::new();
        node.walk(&mut |node| match node {
            Node::Cluster { model, .. } => named.extend([model.clone()]),
            Node::Rfm(wanted) => named.extend(self.fifths(wanted).map(|(key, _)| key.clone())),
            _ => {}
        });
        named
    }

    fn fifths(&self, wanted: &Rfm) -> Option<&(ModelKey, RfmModel)> {
        self.rfm.iter().find(|(_, model)| wanted.event.as_ref().is_none_or(|event| model.event == *event))
    }

    /// The cluster model called `name`, or that there is none.
    pub(super) fn cluster(&self, name: &ModelKey) -> Result<&Arc<ClusterModel>, Violation> {
        self.clusters.get(name).ok_or_else(|| {
            if self.untrained.contains(name) {
                let detail = format!("\"{name}\" has no clusters yet: train it and put the document that it proposes");
                return Violation::new("/model", "untrained_model", detail);
            }
            let near = hint(name.as_str(), self.clusters.keys().map(ModelKey::as_str));
            Violation::new("/model", "unknown_model", format!("no cluster model is called \"{name}\"{near}"))
        })
    }

    /// The conditions on events that these fifths come to, or that no model has cut points for
    /// them.
    pub(super) fn rfm(&self, wanted: &Rfm) -> Result<Node, Violation> {
        let (_, model) = self.fifths(wanted).ok_or_else(|| {
            let of = wanted.event.as_ref().map_or("the account's purchases".to_owned(), |event| format!("\"{event}\""));
            let near =
                wanted.event.as_ref().map(|event| hint(event.as_str(), self.rfm.iter().map(|(_, m)| m.event.as_str())));
            let detail = format!("no model has cut points of recency, frequency and money for {of}");
            Violation::new("", "unknown_model", detail + &near.unwrap_or_default())
        })?;
        Ok(model.node(wanted))
    }
}

impl RfmModel {
    pub(super) fn faults(&self) -> Vec<Violation> {
        let mut faults = Violations::new();
        let ascending = "must ascend";
        if self.window.millis() > Stream::RETENTION_DAYS * 86_400_000 {
            faults.push("/window", "out_of_range", "must be at most P400D, which is how long events are remembered");
        }
        if !self.recency.is_sorted() || self.recency[3] > self.window {
            faults.push("/recency", "out_of_range", "must ascend and be no longer than the window");
        }
        if !self.frequency.is_sorted() || self.frequency[0] < 2 || self.frequency[3] > 63 {
            faults.push("/frequency", "out_of_range", "must ascend from at least 2 to at most 63");
        }
        if !self.money.is_sorted() || !self.money.iter().all(|amount| amount.is_finite()) {
            faults.push("/money", "out_of_range", ascending);
        }
        faults.into_vec()
    }

    pub(super) fn node(&self, wanted: &Rfm) -> Node {
        let event =
            |measure| Node::Event(EventCondition { event: self.event.clone(), filter: Vec::new(), key: None, measure });
        let window = Window::Last(self.window);
        // Nobody without an event in the window is in any fifth.
        let known = event(Measure::LastSeen(Age { older_than: None, within: Some(self.window) }));
        let mut parts = vec![known];
        let mut either = |fifths: &[u8], node: &dyn Fn(usize, usize) -> Node| {
            let runs = runs(fifths);
            if !runs.is_empty() {
                parts.push(Node::Any(runs.into_iter().map(|(low, high)| node(low, high)).collect()));
            }
        };
        either(&wanted.recency, &|low, high| {
            let older_than = 5_usize.checked_sub(high + 1).map(|cut| self.recency[cut]);
            let within = self.recency.get(5 - low).copied().unwrap_or(self.window);
            event(Measure::LastSeen(Age { older_than, within: Some(within) }))
        });
        let cut = |low: usize, high: usize, cuts: &[f64; 4]| -> Range {
            use std::ops::Bound::{Excluded, Included, Unbounded};
            let least = low.checked_sub(2).map_or(Unbounded, |cut| Included(cuts[cut]));
            (least, cuts.get(high - 1).map_or(Unbounded, |&cut| Excluded(cut)))
        };
        let frequency = self.frequency.map(f64::from);
        either(&wanted.frequency, &|low, high| event(Measure::Count(cut(low, high, &frequency), window)));
        either(&wanted.money, &|low, high| {
            event(Measure::Sum(self.amount.clone(), cut(low, high, &self.money), window))
        });
        Node::All(parts)
    }
}

/// Stretches of neighbouring fifths, lowest and highest.
fn runs(fifths: &[u8]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for fifth in (1..=5).filter(|fifth| fifths.contains(fifth)).map(usize::from) {
        match runs.last_mut() {
            Some((_, high)) if *high + 1 == fifth => *high = fifth,
            _ => runs.push((fifth, fifth)),
        }
    }
    runs
}

impl ClusterModel {
    /// The clusters that there are, by number.
    pub(super) fn clusters(&self) -> impl Iterator<Item = (u32, &[f64])> {
        let numbered = (0..).zip(self.centroids.iter().map(Vec::as_slice));
        numbered.filter(|(_, centroid)| !centroid.is_empty())
    }

    pub(super) fn faults(&self) -> Vec<Violation> {
        let mut faults = Violations::new();
        if !(1..=32).contains(&self.features.len()) {
            faults.push("/features", "out_of_range", "must be 1 to 32");
        }
        if self.centroids.len() > 64 || self.clusters().next().is_none() {
            faults.push("/centroids", "out_of_range", "must be at most 64, and not all be empty");
        }
        for (at, feature) in self.features.iter().enumerate() {
            if !(feature.mean.is_finite() && feature.scale.is_finite() && feature.scale > 0.0) {
                faults.push(format!("/features/{at}"), "out_of_range", "\"scale\" must be more than 0");
            }
            let longest =
                feature.measure.last().is_some_and(|last| last.millis() > Stream::RETENTION_DAYS * 86_400_000);
            if longest {
                let detail = "must be at most P400D, which is how long events are remembered";
                faults.push(format!("/features/{at}/measure/last"), "out_of_range", detail);
            }
        }
        for (at, centroid) in self.clusters() {
            if centroid.len() != self.features.len() || !centroid.iter().all(|value| value.is_finite()) {
                faults.push(
                    format!("/centroids/{at}"),
                    "out_of_range",
                    "must have a number for every feature, or none",
                );
            }
        }
        faults.into_vec()
    }
}

impl FeatureKind {
    pub(super) fn last(&self) -> Option<Span> {
        match self {
            Self::Recency => None,
            Self::Count { last } | Self::Sum { last, .. } | Self::Distinct { last, .. } => Some(*last),
        }
    }
}

impl Feature {
    fn unscaled() -> f64 {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn model() -> RfmModel {
        serde_json::from_value(json!({"event": "purchase", "amount": "amount", "window": "P365D",
            "recency": ["P7D", "P30D", "P90D", "P180D"], "frequency": [2, 3, 5, 9], "money": [20, 50, 100, 500]}))
        .expect("a model")
    }

    fn key() -> ModelKey {
        "buyers".parse().expect("a key")
    }

    fn faults(models: Result<Models, Vec<Violation>>) -> Vec<String> {
        models.expect_err("faults").into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn every_fault_of_a_model_is_told() {
        let bad = RfmModel {
            recency: model().recency.map(|_| "P500D".parse().expect("a span")),
            frequency: [1, 2, 3, 70],
            money: [2.0, 1.0, 3.0, 4.0],
            ..model()
        };
        assert_eq!(
            faults(Models::new([(key(), bad)], [])),
            ["/rfm/buyers/recency", "/rfm/buyers/frequency", "/rfm/buyers/money"]
        );
        let cluster: ClusterModel = serde_json::from_value(json!({"features": [
            {"event": "view", "measure": {"count": {"last": "P500D"}}, "mean": 0, "scale": 0}], "centroids": [[0], [1, 2]]}))
        .expect("a model");
        let name = "k".parse().expect("a key");
        let pointers = ["/clusters/k/features/0", "/clusters/k/features/0/measure/last", "/clusters/k/centroids/1"];
        assert_eq!(faults(Models::new([], [(name, cluster)])), pointers);
    }

    #[test]
    fn fifths_are_runs() {
        assert_eq!(runs(&[5, 1, 4, 2]), [(1, 2), (4, 5)]);
        assert_eq!(runs(&[]), []);
    }

    #[test]
    fn a_rule_names_the_model_of_its_event_or_the_first() {
        let models = Models::new([(key(), model())], []).expect("models");
        let rfm = |event: Value| {
            let event = serde_json::from_value(event).expect("a name");
            models.rfm(&Rfm { event, recency: vec![5], frequency: Vec::new(), money: Vec::new() })
        };
        assert_eq!(rfm(json!(null)), rfm(json!("purchase")));
        let unknown = rfm(json!("purchas")).expect_err("a fault");
        assert_eq!(unknown.code, "unknown_model");
        assert!(unknown.detail.ends_with("for \"purchas\"; did you mean \"purchase\"?"), "{}", unknown.detail);
    }
}
