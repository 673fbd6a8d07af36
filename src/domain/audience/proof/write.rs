//! Conditions as documents, for the evaluator to parse.

use serde_json::{Map, Value, json};

use super::truth::{Bound, Measure, Node, SECOND, Which, Window};

impl Which {
    fn put(&self, into: &mut Map<String, Value>) {
        let mut filter = Map::new();
        if let Some(shops) = &self.shops {
            filter.insert(
                "shop".to_owned(),
                json!({"in": shops.iter().map(|shop| format!("s{shop}")).collect::<Vec<_>>()}),
            );
        }
        if let Some(least) = self.dearer {
            filter.insert("amount".to_owned(), json!({"gte": least}));
        }
        if !filter.is_empty() {
            into.insert("where".to_owned(), Value::Object(filter));
        }
    }
}

impl Bound {
    fn json(self) -> Value {
        match self {
            Self::Gte(n) => json!({"gte": n}),
            Self::Lte(n) => json!({"lte": n}),
            Self::Eq(n) => json!({"eq": n}),
            Self::Between(least, most) => json!({"gte": least, "lt": most}),
            Self::Above(n) => json!({"gt": n}),
            Self::Below(n) => json!({"lt": n}),
        }
    }
}

impl Window {
    fn json(&self) -> Value {
        let instant = |at: i64| crate::domain::values::Millis(at).to_string();
        match self {
            Self::Last(last) => json!({"last": span(*last)}),
            Self::Ago(from, to) => json!({"ago": {"from": span(*from), "to": span(*to)}}),
            Self::Since(since, None) => json!({"since": instant(*since)}),
            Self::Since(since, Some(until)) => json!({"since": instant(*since), "until": instant(*until)}),
            Self::Calendar("days", n) => json!({"calendar": "days", "n": n}),
            Self::Calendar(name, _) => json!({"calendar": name}),
            Self::Ever => json!({"ever": true}),
        }
    }
}

/// A length of whole seconds as rules write it.
pub(super) fn span(ms: i64) -> String {
    format!("PT{}S", ms / SECOND)
}

impl Node {
    /// As a rule writes it.
    pub(super) fn json(&self) -> Value {
        let all = |nodes: &[Self]| -> Value { nodes.iter().map(Self::json).collect() };
        let age = |older: &Option<i64>, within: &Option<i64>| {
            let bounds = [("older_than", older), ("within", within)].into_iter();
            bounds.filter_map(|(name, ms)| Some((name.to_owned(), json!(span((*ms)?))))).collect::<Map<_, _>>()
        };
        match self {
            Self::All(nodes) => json!({"all": all(nodes)}),
            Self::Any(nodes) => json!({"any": all(nodes)}),
            Self::Not(node) => json!({"not": node.json()}),
            Self::Segment(at) => json!({"segment": format!("s{at}")}),
            Self::List(at) => json!({"list": format!("l{at}")}),
            Self::Trait(name, None) => json!({"trait": name, "exists": true}),
            Self::Trait(name, Some(last)) => json!({"trait": name, "within_last": span(*last)}),
            Self::Event(which, shop, measure) => {
                let mut json = json!({"event": format!("e{}", which.name)});
                which.put(json.as_object_mut().expect("an object"));
                if let Some(shop) = shop {
                    json["key"] = json!({"shop": format!("s{shop}")});
                }
                let mut put = |name: &str, value: Value, window: Option<&Window>| {
                    json[name] = value;
                    if let Some(window) = window {
                        json["in"] = window.json();
                    }
                };
                match measure {
                    Measure::Count(bound, window) => put("count", bound.json(), Some(window)),
                    Measure::Sum(bound, window) => {
                        put("sum", json!({"of": "amount", "is": bound.json()}), Some(window))
                    }
                    Measure::Avg(bound, window) => {
                        put("avg", json!({"of": "amount", "is": bound.json()}), Some(window))
                    }
                    Measure::Distinct(bound, window) => {
                        put("distinct", json!({"of": "item", "is": bound.json()}), Some(window));
                    }
                    Measure::Last(older, within) => put("last_seen", Value::Object(age(older, within)), None),
                    Measure::First(older, within) => put("first_seen", Value::Object(age(older, within)), None),
                }
                json
            }
            Self::Sequence(sequence) => {
                let step = |which: &Which, named: &str| {
                    let mut step = Map::new();
                    step.insert(named.to_owned(), json!(format!("e{}", which.name)));
                    which.put(&mut step);
                    step
                };
                let then = sequence.then.iter().map(|next| {
                    let mut step = step(&next.which, if next.happens { "event" } else { "not" });
                    step.insert("within".to_owned(), json!(span(next.within)));
                    step
                });
                let mut json = json!({"start": step(&sequence.start, "event"), "then": then.collect::<Vec<_>>(),
                    "lookback": span(sequence.lookback), "late_clears": sequence.late_clears,
                    "anchor": if sequence.any { "any" } else { "last" }});
                if sequence.same {
                    json["same"] = json!("item");
                }
                json!({"sequence": json})
            }
            Self::Rfm(recency, frequency, money) => {
                let fifths = [("r", recency), ("f", frequency), ("m", money)].into_iter();
                let given = fifths.filter(|(_, fifths)| !fifths.is_empty());
                json!({"rfm": given.map(|(name, fifths)| (name.to_owned(), json!(fifths))).collect::<Map<_, _>>()})
            }
            Self::Cluster(among, None) => json!({"cluster": {"model": "k", "in": among}}),
            Self::Cluster(among, Some(most)) => json!({"cluster": {"model": "k", "in": among, "max_distance": most}}),
        }
    }
}
