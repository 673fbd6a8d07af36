//! What profiles remember of events, as the store has agreed it with every replica.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::{
    domain::{
        audience::{
            activity::{AmountError, Event, Keep, Stream, StreamId, Streams},
            caps::CapRing,
            node::Node,
            rule::Targeting,
            user::{Lists, UserState},
        },
        ids::EventName,
    },
    ports::{EventRow, EventStore, Fold, StoreError, StreamRow},
};

/// The streams of one account at an epoch. A stream stays for good, so that a rule that comes back
/// finds its history.
#[derive(Debug, Default)]
pub struct Streamed {
    /// Grows when streams are added.
    pub epoch: i64,
    /// All of them.
    pub streams: Arc<Streams>,
    /// Those whose earlier events are still being folded, with the epoch that added them.
    pub backfilling: HashMap<StreamId, i64>,
    /// Those whose definitions are not understood, and what they are of, if that is.
    unread: Vec<(StreamId, Option<EventName>)>,
}

impl Streamed {
    /// `needed` are the streams that rules were seen to need; others are read back from their
    /// definitions.
    fn of(epoch: i64, rows: &[StreamRow], needed: &HashMap<StreamId, Stream>) -> Self {
        let (mut streams, mut unread) = (Streams::default(), Vec::new());
        for row in rows {
            match needed.get(&StreamId(row.id)).cloned().or_else(|| parse(row)) {
                Some(stream) => streams.extend([stream]),
                None => unread.push((StreamId(row.id), event(row))),
            }
        }
        let backfilling = rows.iter().filter(|row| !row.live).map(|row| (StreamId(row.id), row.epoch)).collect();
        Self { epoch, streams: Arc::new(streams), backfilling, unread }
    }

    /// Folds `events` into every stream.
    ///
    /// # Errors
    /// A stream of such events is not understood here. What is folded without it it would lack for good,
    /// so they wait until a rule here says what it is of, or a newer version does.
    pub(super) fn fold(&self, events: &[EventRow]) -> Result<Fold, StoreError> {
        let waits =
            |of: &Option<EventName>| of.as_ref().is_none_or(|of| events.iter().any(|event| event.event.name == *of));
        match self.unread.iter().find(|(_, of)| waits(of)) {
            None => Ok(fold_into(Arc::clone(&self.streams))),
            Some((StreamId(id), _)) => {
                Err(StoreError::Unavailable(format!("no rule here needs stream {id}, and its definition says nothing")))
            }
        }
    }

    /// Those added by one epoch.
    pub(super) fn added_by(&self, epoch: i64) -> Arc<Streams> {
        let ids: Vec<StreamId> =
            self.backfilling.iter().filter(|(_, added)| **added == epoch).map(|(id, _)| *id).collect();
        Arc::new(self.streams.only(&ids))
    }

    /// Epochs whose streams lack history, oldest first; none while one is not understood.
    pub(super) fn unfinished(&self) -> Vec<i64> {
        if !self.unread.is_empty() {
            return Vec::new();
        }
        let mut epochs: Vec<i64> = self.backfilling.values().copied().collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }

    /// The events of those of these streams that lack history, or are not known at all; each once.
    #[must_use]
    pub fn unread(&self, of: &Streams) -> Vec<EventName> {
        let lacks =
            |stream: &&Stream| self.backfilling.contains_key(&stream.id()) || !self.streams.contains(stream.id());
        let mut unread: Vec<_> = of.iter().filter(lacks).map(|stream| stream.event().clone()).collect();
        unread.dedup();
        unread
    }
}

/// Folds events into some streams of a packed profile. One that cannot be read stays as it is.
pub(super) fn fold_into(streams: Arc<Streams>) -> Fold {
    Arc::new(move |packed: &[u8], events: &[&Event]| {
        match UserState::decode(packed, 0, Lists::default(), CapRing::default()) {
            Ok(mut person) => {
                for event in events {
                    person.absorb(&streams, event);
                }
                person.encode()
            }
            Err(error) => {
                tracing::error!(%error, "a stored profile cannot be read; events are kept and not folded into it");
                packed.to_vec()
            }
        }
    })
}

/// What a stream is of.
fn event(row: &StreamRow) -> Option<EventName> {
    row.definition.get("event")?.as_str()?.parse().ok()
}

/// The stream behind a definition, if it has one and means the same as when it was written.
fn parse(row: &StreamRow) -> Option<Stream> {
    let definition = row.definition.as_object()?;
    let event = event(row)?;
    let text = |name: &str| definition.get(name).and_then(Value::as_str).map(Box::from);
    let keep = usize::try_from(definition.get("keep")?.as_u64()?).ok()?;
    let more = definition.get("and").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut filter = Vec::new();
    for (property, tests) in definition.get("where").into_iter().chain(more).filter_map(Value::as_object).flatten() {
        // The rules' own parser reads the tests; properties can be more here than in one rule's condition.
        let condition = json!({"event": event, "where": {property: tests}, "last_seen": {"within": "P1D"}});
        let Ok(Node::Event(condition)) = Targeting::parse(&condition) else { return None };
        filter.extend(condition.filter);
    }
    let keep = Keep::for_threshold(keep.checked_sub(1)?);
    let stream = Stream::new(event, filter, text("key"), text("value"), keep);
    (stream.id() == StreamId(row.id)).then_some(stream)
}

/// Whether what is added up is a number that can be, wherever there is anything; all that is not,
/// by property.
pub(in crate::engine) fn check_amounts<'a>(streams: &'a Streams, event: &Event) -> Vec<(&'a str, AmountError)> {
    let amounts: BTreeSet<&str> = streams.of_event(&event.name).iter().filter_map(Stream::value).collect();
    amounts.into_iter().filter_map(|property| Some((property, event.check_amount(property).err()?))).collect()
}

/// Which streams each account has.
pub struct StreamRegistry {
    store: Arc<dyn EventStore>,
    known: Mutex<HashMap<u32, Arc<Streamed>>>,
    needed: Mutex<HashMap<StreamId, Stream>>,
    came: Mutex<HashMap<u32, Came>>,
}

/// Types of events that came to an account here, and those of them that the store does not have yet.
#[derive(Default)]
struct Came {
    all: HashSet<EventName>,
    new: Vec<EventName>,
}

impl StreamRegistry {
    /// The most types of events that are known of an account.
    const TYPES: usize = 1_000;

    /// Knows nothing yet.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>) -> Self {
        Self { store, known: Mutex::default(), needed: Mutex::default(), came: Mutex::default() }
    }

    /// Notes types of events that came, for [`StreamRegistry::keep_types`].
    pub(super) fn note_types<'a>(&self, account: u32, names: impl Iterator<Item = &'a EventName>) {
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        let Came { all, new } = came.entry(account).or_default();
        for name in names {
            if !all.contains(name) && all.len() < Self::TYPES {
                all.insert(name.clone());
                new.push(name.clone());
            }
        }
    }

    /// Writes down the types of events that came first since the last time.
    ///
    /// # Errors
    /// The store's; they are written the next time.
    pub(super) async fn keep_types(&self) -> Result<(), StoreError> {
        let came = || self.came.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<_> = came().iter_mut().map(|(account, came)| (*account, std::mem::take(&mut came.new))).collect();
        let mut kept = Ok(());
        for (account, names) in new.into_iter().filter(|(_, names)| !names.is_empty()) {
            if kept.is_ok() {
                kept = self.store.keep_types(account, names.clone(), Self::TYPES).await;
            }
            if kept.is_err() {
                came().entry(account).or_default().new.extend(names);
            }
        }
        kept
    }

    /// Types of events that came to an account: to any replica, or here while the store is away.
    pub async fn types(&self, account: u32) -> Vec<String> {
        let mut types = self.store.types(account).await.unwrap_or_default();
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        types.extend(came.get(&account).into_iter().flat_map(|came| &came.all).map(EventName::to_string));
        types
    }

    /// The streams of an account, as they were last read and understood.
    ///
    /// # Errors
    /// The store's, if they never were.
    pub async fn of(&self, account: u32) -> Result<Arc<Streamed>, StoreError> {
        if let Some(known) = self.known(account).filter(|known| known.unread.is_empty()) {
            return Ok(known);
        }
        self.reload(account).await?;
        Ok(self.known(account).unwrap_or_default())
    }

    /// The streams of an account, if they were ever read.
    #[must_use]
    pub fn known(&self, account: u32) -> Option<Arc<Streamed>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&account).cloned()
    }

    /// Forgets what was read: another server may have given the same epochs to other streams. It may lack
    /// types of events as well, so they are written down anew.
    pub fn on_reset(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for came in self.came.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
            came.new = came.all.iter().cloned().collect();
        }
    }

    /// Accounts whose streams were read.
    pub(super) fn accounts(&self) -> Vec<u32> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Reads the streams of an account again.
    ///
    /// # Errors
    /// The store's.
    pub async fn reload(&self, account: u32) -> Result<(), StoreError> {
        let (epoch, rows) = self.store.streams(account).await?;
        let needed = self.needed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let streamed = Arc::new(Streamed::of(epoch, &rows, &needed));
        let unread = !streamed.unread.is_empty();
        let before = self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(account, Arc::clone(&streamed));
        if unread && before.is_none_or(|before| before.unread != streamed.unread) {
            tracing::error!(account, streams = ?streamed.unread, "definitions of streams are not understood: events wait");
        }
        Ok(())
    }

    /// Has the store remember all that rules need from now on, and everything before it soon.
    ///
    /// # Errors
    /// The store's.
    pub async fn ensure(&self, account: u32, needed: &Streams) -> Result<(), StoreError> {
        let known = self.of(account).await?;
        let new: Vec<&Stream> = needed.iter().filter(|stream| !known.streams.contains(stream.id())).collect();
        if new.is_empty() {
            return Ok(());
        }
        let row = |stream: &&Stream| {
            let (id, definition) = (stream.id().0, stream.definition());
            StreamRow { id, definition, epoch: 0, live: false }
        };
        let rows: Vec<StreamRow> = new.iter().map(row).collect();
        let seen = new.into_iter().map(|stream| (stream.id(), stream.clone()));
        self.needed.lock().unwrap_or_else(PoisonError::into_inner).extend(seen);
        self.store.add_streams(account, rows).await?;
        self.reload(account).await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::values::Millis;

    fn row(stream: &Stream) -> StreamRow {
        StreamRow { id: stream.id().0, definition: stream.definition(), epoch: 1, live: true }
    }

    /// As it comes back from the store.
    fn read_back(stream: &Stream) -> Option<Stream> {
        let definition = serde_json::from_str(&stream.definition().to_string()).expect("JSON");
        parse(&StreamRow { definition, ..row(stream) })
    }

    fn needed(node: &Value) -> Vec<Stream> {
        match Targeting::parse(node).unwrap_or_else(|faults| panic!("{node}: {faults:?}")) {
            Node::Event(condition) => vec![condition.stream()],
            Node::Sequence(sequence) => sequence.streams(),
            other => panic!("{other:?}"),
        }
    }

    fn texts() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "shop", "price", "a", "", "3", "3.0", "-0", "true", "inf", "NaN", "\u{0}\"/", "\u{fc}",
        ])
    }

    fn numbers() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|n| json!(if n.is_finite() { n } else { -0.0 })),
            (0..5_i32).prop_map(Value::from),
        ]
    }

    fn scalars() -> impl Strategy<Value = Value> {
        prop_oneof![texts().prop_map(Value::from), numbers(), any::<bool>().prop_map(Value::from)]
    }

    fn tests() -> impl Strategy<Value = Value> {
        let choice = prop_oneof![
            (prop::sample::select(vec!["gt", "gte", "lt", "lte"]), numbers()),
            (Just("eq"), scalars()),
            (Just("in"), prop::collection::vec(scalars(), 1..4).prop_map(Value::from)),
        ];
        prop::collection::vec(choice, 1..=2).prop_map(|tests| tests.into_iter().collect())
    }

    /// Conditions that need a stream, of every kind.
    fn conditions() -> impl Strategy<Value = Value> {
        let filter = prop::collection::hash_map(texts().prop_map(str::to_owned), tests(), 1..=6);
        let filter = filter.prop_map(|tests| tests.into_iter().collect::<Value>());
        let measures = prop_oneof![
            (0..=63_u8).prop_map(|least| json!({"count": {"gte": least}, "in": {"ever": true}})),
            Just(json!({"sum": {"of": "price", "is": {"gte": 1}}, "in": {"ever": true}})),
            Just(json!({"distinct": {"of": "a", "is": {"gte": 2}}, "in": {"ever": true}})),
            Just(json!({"last_seen": {"within": "P1D"}})),
            Just(json!({"sequence": {"lookback": "P1D", "same": "a"}})),
        ];
        let key = prop::option::of((texts(), texts()));
        (prop::option::of(filter), key, measures).prop_map(|(filter, key, mut condition)| {
            let event = match condition.get_mut("sequence") {
                Some(sequence) => {
                    sequence["then"] = json!([{"not": "b", "within": "PT1H"}]);
                    sequence["start"] = json!({});
                    &mut sequence["start"]
                }
                None => {
                    key.into_iter().for_each(|(of, text)| condition["key"] = json!({of: text}));
                    &mut condition
                }
            };
            event["event"] = json!("e");
            filter.into_iter().for_each(|filter| event["where"] = filter);
            condition
        })
    }

    proptest! {
        #[test]
        fn what_a_rule_needs_reads_back_from_its_definition(condition in conditions()) {
            for stream in needed(&condition) {
                prop_assert_eq!(read_back(&stream), Some(stream.clone()), "{} as {}", condition, stream.definition());
            }
        }
    }

    #[test]
    fn tests_of_one_property_stay_apart_and_definitions_of_before_read() {
        let seen = |filter: Value| json!({"event": "e", "where": filter, "last_seen": {"within": "P1D"}});
        let twice = &needed(&seen(json!({"shop": {"eq": "a", "in": ["a", "b"]}})))[0];
        assert_eq!(twice.definition()["where"], json!({"shop": {"eq": "a", "in": ["a", "b"]}}));
        let mut condition = json!({"event": "e", "key": {"shop": "c"}, "in": {"ever": true},
            "distinct": {"of": "item", "is": {"gte": 2}},
            "where": {"a": {"gt": 1}, "b": {"gt": 1}, "c": {"gt": 1}, "d": {"gt": 1}, "e": {"gt": 1}, "shop": {"eq": "c"}}});
        condition["where"]["shop"] = json!({"in": ["b", "c"]});
        let same = &needed(&condition)[0];
        let (filter, more) = (&same.definition()["where"], &same.definition()["and"]);
        assert_eq!((filter["shop"].clone(), more), (json!({"in": ["c"]}), &json!([{"shop": {"in": ["b", "c"]}}])));
        // seven properties, written as before
        condition["key"] = json!({"f": "c"});
        let seven = &needed(&condition)[0];
        assert_eq!(seven.definition()["where"].as_object().map(serde_json::Map::len), Some(7));
        for stream in [twice, same, seven] {
            assert_eq!(read_back(stream).as_ref(), Some(stream));
        }
        let before = json!({"event": "e", "where": {"shop": {"in": ["a"]}}, "key": null, "value": null, "keep": 16});
        let one = &needed(&seen(json!({"shop": {"eq": "a"}})))[0];
        assert_eq!(parse(&StreamRow { definition: before.clone(), ..row(one) }).as_ref(), Some(one));
        assert_eq!(parse(&StreamRow { definition: before, ..row(twice) }), None, "it means something else");
    }

    #[test]
    fn everything_that_cannot_be_added_up_is_named() {
        let adding = |property: &str| {
            Stream::new("purchase".parse().expect("a name"), Vec::new(), None, Some(property.into()), Keep::Few)
        };
        let streams: Streams = [adding("value"), adding("tax")].into_iter().collect();
        let properties = json!({"value": 9.1e11, "tax": 0.0000001, "other": {"amount": "1"}});
        let Value::Object(properties) = properties else { unreachable!() };
        let event =
            |name: &str| Event { name: name.parse().expect("a name"), at: Millis(0), properties: properties.clone() };
        let faults = [("tax", AmountError::TooFine), ("value", AmountError::TooLarge)];
        assert_eq!(check_amounts(&streams, &event("purchase")), faults);
        assert_eq!(check_amounts(&streams, &event("viewed")), []);
    }
}
