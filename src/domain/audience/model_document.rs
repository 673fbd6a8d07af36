//! The document of a model: what is to be learned of people and, once trained, what was learned.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    activity::Stream,
    cluster::FeatureCheck,
    models::{ClusterModel, Feature, FeatureKind, Models, RfmModel},
    node::{Node, Rfm},
    training::protected::attribute,
};
use crate::domain::{
    ids::{EventName, ModelKey, TraitName},
    values::Span,
    violation::{Violation, Violations},
};

/// What is to be learned of people and, once trained, what was learned. Rules can name it as soon
/// as it says what was learned; until then it has the events remembered that training needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[schema(example = json!({"name": "Shoppers", "kind": "clusters", "features": [
    {"event": "purchase", "measure": "recency"},
    {"event": "purchase", "measure": {"sum": {"of": "amount", "last": "P90D"}}}
]}))]
pub enum ModelDoc {
    /// Fifths of recency, frequency and money.
    Rfm {
        /// For people.
        #[schema(min_length = 1, max_length = 200)]
        name: String,
        /// The event that counts as a purchase; one model for each.
        event: EventName,
        /// The property that is its amount.
        amount: TraitName,
        /// People without such an event for this long fall into no fifth. At most 400 days.
        window: Span,
        /// Learned: longest times since the last one, for the fifths 5, 4, 3 and 2; ascending.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Vec<Span>>, min_items = 4, max_items = 4)]
        recency: Option<[Span; 4]>,
        /// Learned: least numbers within the window, for the fifths 2, 3, 4 and 5; ascending, 2 to 63.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Vec<u8>>, min_items = 4, max_items = 4)]
        frequency: Option<[u8; 4]>,
        /// Learned: least sums within the window, for the fifths 2, 3, 4 and 5; ascending.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Vec<f64>>, min_items = 4, max_items = 4)]
        money: Option<[f64; 4]>,
        /// Protected attributes that it may nevertheless be about, each by name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schema(max_items = 32)]
        allow_protected: Vec<TraitName>,
    },
    /// Groups of people who behave alike.
    Clusters {
        /// For people.
        #[schema(min_length = 1, max_length = 200)]
        name: String,
        /// What people are compared by.
        #[schema(min_items = 1, max_items = 32)]
        features: Vec<Feature>,
        /// Learned: the middle of each cluster in normalised features, `(value - mean) / scale`, by
        /// number; empty where a cluster is no more.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schema(max_items = 64)]
        centroids: Vec<Vec<f64>>,
        /// What each cluster is called, by number; proposed by training and free to edit.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schema(max_items = 64)]
        names: Vec<String>,
        /// Protected attributes that features may nevertheless be about, each by name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schema(max_items = 32)]
        allow_protected: Vec<TraitName>,
    },
}

/// What a trained document says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Learned {
    Rfm(RfmModel),
    Clusters(ClusterModel),
}

impl ModelDoc {
    /// What was learned; none: it was not trained yet.
    pub(super) fn learned(&self) -> Option<Learned> {
        match self {
            Self::Rfm { event, amount, window, recency, frequency, money, .. } => Some(Learned::Rfm(RfmModel {
                event: event.clone(),
                amount: amount.clone(),
                window: *window,
                recency: (*recency)?,
                frequency: (*frequency)?,
                money: (*money)?,
            })),
            Self::Clusters { features, centroids, .. } => (!centroids.is_empty())
                .then(|| Learned::Clusters(ClusterModel { features: features.clone(), centroids: centroids.clone() })),
        }
    }

    /// Whether rules can name it.
    #[must_use]
    pub fn is_trained(&self) -> bool {
        self.learned().is_some()
    }

    /// The event whose fifths it has, or will have.
    #[must_use]
    pub fn rfm_event(&self) -> Option<&str> {
        if let Self::Rfm { event, .. } = self { Some(event.as_str()) } else { None }
    }

    /// The events that must be remembered to train it.
    #[must_use]
    pub fn streams(&self) -> Vec<Stream> {
        match self {
            Self::Rfm { .. } => self.rfm_streams().map(Vec::from).unwrap_or_default(),
            Self::Clusters { features, .. } => {
                features.iter().map(|feature| FeatureCheck::new(feature).stream().clone()).collect()
            }
        }
    }

    /// The streams of its purchases and of their amounts: those of any conditions on them.
    pub(super) fn rfm_streams(&self) -> Option<[Stream; 2]> {
        let every = Rfm { event: None, recency: Vec::new(), frequency: vec![1], money: vec![1] };
        let Node::All(parts) = self.unlearned()?.node(&every) else { return None };
        let mut streams = Vec::new();
        Node::All(parts).walk(&mut |node| {
            if let Node::Event(condition) = node {
                streams.push(condition.stream());
            }
        });
        let amounts = streams.pop()?;
        Some([streams.pop()?, amounts])
    }

    /// The fifths with cut points that say nothing.
    fn unlearned(&self) -> Option<RfmModel> {
        let Self::Rfm { event, amount, window, .. } = self else { return None };
        let (event, amount, window) = (event.clone(), amount.clone(), *window);
        Some(RfmModel { event, amount, window, recency: [window; 4], frequency: [2; 4], money: [0.0; 4] })
    }

    /// Whether it can be used.
    ///
    /// # Errors
    /// Everything that is wrong with it, beyond its form.
    pub fn check(&self) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        match (self, self.learned()) {
            (Self::Rfm { event, amount, recency, frequency, money, allow_protected, .. }, learned) => {
                let given = [recency.is_some(), frequency.is_some(), money.is_some()];
                let fields = ["/recency", "/frequency", "/money"];
                for (field, _) in fields.into_iter().zip(given).filter(|(_, given)| !given && learned.is_none()) {
                    if given.contains(&true) {
                        faults.push(field, "required", "cut points must be given for all three or for none");
                    }
                }
                let sound = if let Some(Learned::Rfm(model)) = learned { Some(model) } else { self.unlearned() };
                faults.extend_under("", sound.iter().flat_map(RfmModel::faults));
                let named = [("/event", event.as_str()), ("/amount", amount.as_str())];
                faults.extend_under("", protected(named, allow_protected));
            }
            (Self::Clusters { features, centroids, names, allow_protected, .. }, _) => {
                let centroids = if centroids.is_empty() { vec![vec![0.0; features.len()]] } else { centroids.clone() };
                if !names.is_empty() && names.len() != centroids.len() {
                    faults.push("/names", "out_of_range", "must name every cluster, or none");
                }
                faults.extend_under("", ClusterModel { features: features.clone(), centroids }.faults());
                for (at, feature) in features.iter().enumerate() {
                    let of = match &feature.measure {
                        FeatureKind::Sum { of, .. } => Some(("/measure/sum/of", of.as_str())),
                        FeatureKind::Distinct { of, .. } => Some(("/measure/distinct/of", of.as_str())),
                        FeatureKind::Recency | FeatureKind::Count { .. } => None,
                    };
                    let named = std::iter::once(("/event", feature.event.as_str())).chain(of);
                    faults.extend_under(&format!("/features/{at}"), protected(named, allow_protected));
                }
            }
        }
        faults.into_result()
    }
}

/// What these names may tell, unless it is allowed.
fn protected<'a>(
    named: impl IntoIterator<Item = (&'static str, &'a str)>,
    allowed: &[TraitName],
) -> impl Iterator<Item = Violation> {
    let named = named.into_iter().filter(|(_, name)| !allowed.iter().any(|allowed| allowed.as_str() == *name));
    named.filter_map(|(place, name)| {
        let attribute = attribute(name)?;
        let detail = format!("\"{name}\" may tell {attribute}; to use it, name it in allow_protected");
        Some(Violation::new(place, "protected_attribute", detail))
    })
}

impl Models {
    /// The models of these documents, in the order of their keys; those with faults are left out.
    #[must_use]
    pub fn of_documents<'a>(documents: impl IntoIterator<Item = (&'a ModelKey, &'a ModelDoc)>) -> Self {
        let sound = documents.into_iter().filter(|(_, document)| document.check().is_ok());
        let (mut models, mut sorted) = (Self::default(), sound.collect::<Vec<_>>());
        sorted.sort_by_key(|(key, _)| *key);
        for (key, document) in sorted {
            match document.learned() {
                Some(Learned::Rfm(model)) => models.rfm.push((key.clone(), model)),
                Some(Learned::Clusters(model)) => drop(models.clusters.insert(key.clone(), Arc::new(model))),
                None => drop(models.untrained.insert(key.clone())),
            }
        }
        models
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn faults(document: Value) -> Vec<(String, &'static str)> {
        let document: ModelDoc = serde_json::from_value(document).expect("a document");
        let faults = document.check().err().unwrap_or_default();
        faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    #[test]
    fn a_model_may_be_put_before_it_is_trained() {
        let rfm = json!({"name": "Buyers", "kind": "rfm", "event": "purchase", "amount": "amount", "window": "P365D"});
        assert_eq!(faults(rfm.clone()), []);
        let document: ModelDoc = serde_json::from_value(rfm.clone()).expect("a document");
        assert!(!document.is_trained());
        assert_eq!(document.streams().len(), 2);
        assert_eq!(json!(document), rfm, "nothing is made up");
        let half = json!({"name": "Buyers", "kind": "rfm", "event": "purchase", "amount": "amount", "window": "P500D",
            "money": [1, 2, 3, 4]});
        let expected = [("/recency", "required"), ("/frequency", "required"), ("/window", "out_of_range")];
        assert_eq!(faults(half), expected.map(|(at, code)| (at.to_owned(), code)));
    }

    #[test]
    fn protected_attributes_must_be_allowed_by_name() {
        let document = |allowed: Value| {
            json!({"name": "K", "kind": "clusters", "allow_protected": allowed, "features": [
                {"event": "search", "measure": {"distinct": {"of": "gender", "last": "P30D"}}},
                {"event": "health_article_read", "measure": "recency"},
                {"event": "page_viewed", "measure": {"count": {"last": "P30D"}}}]})
        };
        let one = |at: &str| (at.to_owned(), "protected_attribute");
        assert_eq!(faults(document(json!([]))), [one("/features/0/measure/distinct/of"), one("/features/1/event")]);
        assert_eq!(faults(document(json!(["gender", "health_article_read"]))), []);
        let fifths = |allowed: Value| {
            json!({"name": "Patients", "kind": "rfm", "event": "medication_bought", "amount": "health.cost",
                "window": "P90D", "allow_protected": allowed})
        };
        assert_eq!(faults(fifths(json!([]))), [one("/event"), one("/amount")]);
        assert_eq!(faults(fifths(json!(["health.cost"]))), [one("/event")]);
        assert_eq!(faults(fifths(json!(["medication_bought", "health.cost"]))), []);
    }

    #[test]
    fn names_are_for_every_cluster_or_none() {
        let document = json!({"name": "K", "kind": "clusters", "features": [{"event": "view", "measure": "recency"}],
            "centroids": [[0.5], [1.5]], "names": ["one"]});
        assert_eq!(faults(document), [("/names".to_owned(), "out_of_range")]);
        let gaps = |centroids: Value| {
            faults(json!({"name": "K", "kind": "clusters", "centroids": centroids,
                "features": [{"event": "view", "measure": "recency"}]}))
        };
        assert_eq!(gaps(json!([[], [0.5]])), []);
        assert_eq!(gaps(json!([[], []])), [("/centroids".to_owned(), "out_of_range")]);
        assert_eq!(gaps(json!([[], [1, 2]])), [("/centroids/1".to_owned(), "out_of_range")]);
    }
}
