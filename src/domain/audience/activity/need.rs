//! Which streams a condition needs.

use std::ops::Bound;

use super::{Keep, Stream};
use crate::domain::audience::{
    node::{EventCondition, Measure, Range, Sequence, Step, Where},
    predicate::{Choices, Test},
    value::Scalar,
};

impl EventCondition {
    /// The stream it is answered from.
    #[must_use]
    pub fn stream(&self) -> Stream {
        let mut filter = self.filter.clone();
        let (mut key, mut value, mut keep) = (self.key.as_ref().map(|(property, _)| property.clone()), None, Keep::Few);
        match &self.measure {
            Measure::Count(range, _) => keep = Keep::for_threshold(largest(range)),
            Measure::Sum(of, ..) | Measure::Avg(of, ..) => value = Some(of.as_str().into()),
            Measure::Distinct(of, ..) => {
                // Values are kept apart, so a key can only choose among the events.
                filter.extend(self.key.as_ref().map(|(property, text)| only(property, text)));
                key = Some(of.as_str().into());
            }
            Measure::LastSeen(_) | Measure::FirstSeen(_) => {}
        }
        Stream::new(self.event.clone(), filter, key, value, keep)
    }
}

impl Sequence {
    /// The streams of its start and of each step, in order.
    #[must_use]
    pub fn streams(&self) -> Vec<Stream> {
        let same = self.same.as_ref().map(|same| Box::from(same.as_str()));
        let stream = |step: &Step| Stream::new(step.event.clone(), step.filter.clone(), same.clone(), None, Keep::Few);
        std::iter::once(&self.start).chain(self.then.iter().map(|next| &next.step)).map(stream).collect()
    }
}

/// The largest number that a count is compared with.
fn largest(range: &Range) -> usize {
    let bound = |bound: &Bound<f64>| match bound {
        Bound::Included(count) | Bound::Excluded(count) => *count as usize,
        Bound::Unbounded => 0,
    };
    bound(&range.0).max(bound(&range.1))
}

/// A filter that lets through the events of one key: whatever counts as the text `key`.
fn only(property: &str, key: &str) -> Where {
    // "inf" and "NaN" are numbers too, of which there are none in JSON
    let number = key.parse::<f64>().ok().filter(|number| number.is_finite() && number.to_string() == key);
    let number = number.map(Scalar::Number);
    let yes = key.parse::<bool>().ok().map(Scalar::Bool);
    let choices = Choices::new([Scalar::Text(key.into())].into_iter().chain(number).chain(yes));
    Where { property: property.into(), tests: vec![Test::OneOf(choices)] }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::domain::{
        audience::{activity::Event, node::Node, rule::Targeting},
        values::Millis,
    };

    fn streams(node: &Value) -> Vec<Stream> {
        match Targeting::parse(node).expect("a rule") {
            Node::Event(condition) => vec![condition.stream()],
            Node::Sequence(sequence) => sequence.streams(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn conditions_on_the_same_events_share_a_stream() {
        let count = |n: u64| json!({"event": "e", "count": {"gte": n}, "in": {"ever": true}});
        let seen = json!({"event": "e", "last_seen": {"within": "P1D"}});
        let [one, other, seen] = [count(1), count(15), seen].map(|node| streams(&node)[0].id());
        assert!(one == other && one == seen);
        let [some, most] = [count(16), count(63)].map(|node| streams(&node)[0].keep());
        assert_eq!((some, most), (Keep::Some, Keep::Most));
        let sequence =
            json!({"sequence": {"start": {"event": "e"}, "then": [{"not": "f", "within": "PT1H"}], "lookback": "P1D"}});
        assert_eq!(streams(&sequence)[0].id(), one);
        let sum = json!({"event": "e", "sum": {"of": "v", "is": {"gte": 1}}, "in": {"ever": true}});
        assert_eq!(streams(&sum)[0].value(), Some("v"));
    }

    #[test]
    fn a_key_beside_values_that_are_told_apart_is_a_filter() {
        let node = |key: &str| json!({"event": "e", "key": {"shop": key}, "distinct": {"of": "item", "is": {"gte": 2}}, "in": {"ever": true}});
        let takes = |key: &str, shop: Value| {
            let properties: Map<_, _> =
                [("shop".to_owned(), shop), ("item".to_owned(), json!("x"))].into_iter().collect();
            let event = Event { name: "e".parse().expect("a name"), at: Millis(1), properties };
            streams(&node(key))[0].takes(&event).is_some()
        };
        assert_eq!(streams(&node("3"))[0].key(), Some("item"));
        assert!(takes("3", json!("3")) && takes("3", json!(3)) && takes("true", json!(true)));
        assert!(!takes("3", json!(4)) && !takes("3.0", json!(3)) && !takes("berlin", json!("Berlin")));
    }
}
