//! Streams: which events of a person must be remembered so that the rules can be answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, map::Entry};

use super::Event;
use crate::domain::{
    audience::{
        codec::{put_text, put_varint},
        node::Where,
        predicate::{Order, Test},
        value::Scalar,
    },
    ids::{EventName, NameHash},
};

/// Stands for the definition of a [`Stream`]: equal definitions have equal ids everywhere and for
/// good, and a changed definition is another stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(pub u64);

/// What must be remembered of a type of event.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    id: StreamId,
    event: EventName,
    filter: Vec<Where>,
    key: Option<Box<str>>,
    value: Option<Box<str>>,
    keep: Keep,
}

/// How many of the newest events are kept one by one; older ones are kept as sums of UTC days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// 16.
    #[default]
    Few,
    /// 32.
    Some,
    /// 64.
    Most,
}

impl Keep {
    /// Enough to compare counts with numbers up to `threshold`, which is at most 63.
    #[must_use]
    pub fn for_threshold(threshold: usize) -> Self {
        match threshold {
            0..=15 => Self::Few,
            16..=31 => Self::Some,
            _ => Self::Most,
        }
    }

    /// How many.
    #[must_use]
    pub fn count(self) -> usize {
        16 << self.class()
    }

    pub(super) fn class(self) -> u8 {
        self as u8
    }

    pub(super) fn of_class(class: u8) -> Option<Self> {
        [Self::Few, Self::Some, Self::Most].get(usize::from(class)).copied()
    }
}

impl Stream {
    /// The most keys of a keyed stream that are kept for one person; beyond, the one seen least
    /// recently is forgotten.
    pub const KEYS: usize = 16;
    /// Stands in for the key of streams without keys.
    pub(super) const UNKEYED: NameHash = NameHash(0);
    /// How far back events are remembered, before the newest one of the same kind.
    pub const RETENTION_DAYS: i64 = 400;

    /// The stream of events called `event` that pass `filter`, kept apart by the property `key`,
    /// and only those with a number at the property `value`, which is added up.
    #[must_use]
    pub fn new(
        event: EventName,
        mut filter: Vec<Where>,
        key: Option<Box<str>>,
        value: Option<Box<str>>,
        keep: Keep,
    ) -> Self {
        let bytes = |test: &Where| {
            let mut bytes = Vec::new();
            put_where(&mut bytes, test);
            bytes
        };
        filter.iter_mut().for_each(|test| test.tests.sort_by_cached_key(canonical));
        filter.sort_by_cached_key(bytes);
        filter.dedup();
        let mut definition = b"stream 1\0".to_vec();
        put_text(&mut definition, event.as_str());
        put_varint(&mut definition, filter.len() as u64);
        filter.iter().for_each(|test| put_where(&mut definition, test));
        for property in [&key, &value] {
            definition.push(u8::from(property.is_some()));
            put_text(&mut definition, property.as_deref().unwrap_or_default());
        }
        definition.push(keep.class());
        let mut id = [0; 8];
        id.copy_from_slice(&blake3::hash(&definition).as_bytes()[..8]);
        Self { id: StreamId(u64::from_le_bytes(id)), event, filter, key, value, keep }
    }

    /// Stands for everything below.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The type of event.
    #[must_use]
    pub fn event(&self) -> &EventName {
        &self.event
    }

    /// The property by whose value events are kept apart.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The property that is added up. Events without a number there are no part of the stream.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// How many events are kept one by one.
    #[must_use]
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// The definition as a document, for people and for the store: a rule's `where`, and under `and`
    /// what is asked of a property beside that, each as a `where` of its own.
    #[must_use]
    pub fn definition(&self) -> Value {
        let (mut filter, mut more) = (Map::new(), Vec::new());
        for Where { property, tests } in &self.filter {
            let tests = operators(tests);
            match filter.entry(&**property) {
                Entry::Vacant(place) => _ = place.insert(tests),
                Entry::Occupied(_) => more.push(json!({&**property: tests})),
            }
        }
        let mut definition = json!({"event": self.event, "where": filter, "key": self.key, "value": self.value, "keep": self.keep.count()});
        if !more.is_empty() {
            definition["and"] = more.into();
        }
        definition
    }

    /// What `event` adds to this stream, if anything: under which key, and which amount.
    pub(super) fn takes(&self, event: &Event) -> Option<(NameHash, i64)> {
        if !event.passes(&self.filter) {
            return None;
        }
        let key = self.key.as_deref().map_or(Some(Self::UNKEYED), |property| event.key(property))?;
        let value = self.value.as_deref().map_or(Some(0), |property| event.micros(property))?;
        Some((key, value))
    }
}

fn sign(order: Order) -> &'static str {
    match order {
        Order::Gt => "gt",
        Order::Gte => "gte",
        Order::Lt => "lt",
        Order::Lte => "lte",
    }
}

/// Tests of one property as a rule has them, each under an operator of its own: of two choices one
/// was an `eq`.
fn operators(tests: &[Test]) -> Value {
    let mut own = Map::new();
    let twice = tests.iter().filter(|test| matches!(test, Test::OneOf(_))).count() > 1;
    for test in tests {
        let (operator, operand) = match test {
            Test::Number(order, bound) => (sign(*order), json!(bound)),
            Test::OneOf(choices) => {
                let mut scalars: Vec<Value> = choices.scalars().map(|scalar| json!(scalar)).collect();
                if twice && scalars.len() == 1 && !own.contains_key("eq") {
                    ("eq", scalars.remove(0))
                } else {
                    ("in", scalars.into())
                }
            }
            other => ("is", json!(other.to_string())),
        };
        own.insert(operator.into(), operand);
    }
    own.into()
}

fn put_where(out: &mut Vec<u8>, Where { property, tests }: &Where) {
    put_text(out, property);
    put_varint(out, tests.len() as u64);
    tests.iter().for_each(|test| out.extend_from_slice(&canonical(test)));
}

/// Bytes that are equal for equal tests only.
fn canonical(test: &Test) -> Vec<u8> {
    let mut out = Vec::new();
    match test {
        Test::Number(order, bound) => {
            put_text(&mut out, sign(*order));
            out.extend_from_slice(&bound.to_bits().to_le_bytes());
        }
        Test::OneOf(choices) => {
            put_text(&mut out, "in");
            put_varint(&mut out, choices.scalars().count() as u64);
            for scalar in choices.scalars() {
                match scalar {
                    Scalar::Text(text) => {
                        out.push(b't');
                        put_text(&mut out, &text);
                    }
                    Scalar::Number(number) => {
                        out.push(b'n');
                        out.extend_from_slice(&number.to_bits().to_le_bytes());
                    }
                    Scalar::Bool(yes) => out.extend_from_slice(&[b'b', u8::from(yes)]),
                }
            }
        }
        // The grammar gives properties no other operators.
        other => put_text(&mut out, &other.to_string()),
    }
    out
}

/// Every stream that some rules need, by type of event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Streams(BTreeMap<EventName, Vec<Stream>>);

impl Streams {
    /// Those of events called `event`, sorted by id.
    #[must_use]
    pub fn of_event(&self, event: &EventName) -> &[Stream] {
        self.0.get(event).map_or(&[], Vec::as_slice)
    }

    /// Whether `id` is one of them.
    #[must_use]
    pub fn contains(&self, id: StreamId) -> bool {
        self.iter().any(|stream| stream.id == id)
    }

    /// Every stream, by type of event and then by id.
    pub fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.0.values().flatten()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether nothing needs to be remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Only those among `ids`: to fold past events into new streams and leave the others alone.
    #[must_use]
    pub fn only(&self, ids: &[StreamId]) -> Self {
        self.iter().filter(|stream| ids.contains(&stream.id)).cloned().collect()
    }
}

impl Extend<Stream> for Streams {
    fn extend<T: IntoIterator<Item = Stream>>(&mut self, streams: T) {
        for stream in streams {
            let of_event = self.0.entry(stream.event.clone()).or_default();
            if let Err(place) = of_event.binary_search_by_key(&stream.id, |have| have.id) {
                of_event.insert(place, stream);
            }
        }
    }
}

impl FromIterator<Stream> for Streams {
    fn from_iter<T: IntoIterator<Item = Stream>>(streams: T) -> Self {
        let mut all = Self::default();
        all.extend(streams);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        audience::{node::Node, rule::Targeting},
        values::Millis,
    };

    fn filter(json: Value) -> Vec<Where> {
        let node = json!({"event": "e", "where": json, "last_seen": {"within": "P1D"}});
        match Targeting::parse(&node) {
            Ok(Node::Event(condition)) => condition.filter,
            other => panic!("{other:?}"),
        }
    }

    fn stream(filter: Vec<Where>, key: Option<&str>, value: Option<&str>) -> Stream {
        Stream::new("e".parse().expect("a name"), filter, key.map(Box::from), value.map(Box::from), Keep::Few)
    }

    #[test]
    fn an_id_is_that_of_the_meaning_and_fixed_for_good() {
        let id = |json| stream(filter(json), None, None).id();
        assert_eq!(
            id(json!({"a": {"eq": 1}, "b": {"in": ["x", "y"]}})),
            id(json!({"b": {"in": ["y", "x"]}, "a": {"in": [1]}}))
        );
        assert_eq!(id(json!({"a": {"gt": 1, "lt": 5}})), id(json!({"a": {"lt": 5, "gt": 1}})));
        let different = [
            stream(Vec::new(), None, None).id(),
            stream(Vec::new(), Some("k"), None).id(),
            stream(Vec::new(), None, Some("k")).id(),
            id(json!({"a": {"eq": 1}})),
            id(json!({"a": {"eq": "1"}})),
            id(json!({"a": {"gte": 1}})),
            id(json!({"b": {"eq": 1}})),
        ];
        assert_eq!(different.iter().collect::<std::collections::BTreeSet<_>>().len(), different.len());
        // Another figure would make every account remember everything anew.
        assert_eq!(different[0], StreamId(7_844_695_913_270_459_820));
    }

    #[test]
    fn a_stream_takes_what_it_is_about() {
        let event = |properties: Value| Event {
            name: "e".parse().expect("a name"),
            at: Millis(1),
            properties: properties.as_object().expect("an object").clone(),
        };
        let priced = stream(filter(json!({"price": {"gte": 20}, "tag": {"eq": "new"}})), Some("shop"), Some("price"));
        let taken = priced.takes(&event(json!({"price": 20.5, "tag": ["old", "new"], "shop": "berlin"})));
        assert_eq!(taken, Some((NameHash::of("berlin"), 20_500_000)));
        for (missing, _) in [("price", 0), ("tag", 0), ("shop", 0)] {
            let mut event = event(json!({"price": 20.5, "tag": "new", "shop": "berlin"}));
            event.properties.remove(missing);
            assert_eq!(priced.takes(&event), None, "without {missing}");
        }
        assert_eq!(
            priced.definition(),
            json!({"event": "e", "where": {"price": {"gte": 20.0}, "tag": {"in": ["new"]}}, "key": "shop", "value": "price", "keep": 16})
        );
    }

    #[test]
    fn streams_are_a_set_by_event() {
        let (one, other) = (stream(Vec::new(), None, None), stream(Vec::new(), Some("k"), None));
        let streams: Streams = [other.clone(), one.clone(), other.clone()].into_iter().collect();
        assert_eq!(streams.len(), 2);
        assert!(streams.of_event(&"e".parse().expect("a name")).is_sorted_by_key(Stream::id));
        assert_eq!(streams.only(&[one.id()]).iter().collect::<Vec<_>>(), [&one]);
        assert!(streams.contains(other.id()) && !streams.only(&[one.id()]).contains(other.id()));
        assert!(streams.of_event(&"f".parse().expect("a name")).is_empty());
    }
}
