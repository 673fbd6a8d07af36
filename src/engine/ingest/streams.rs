//! What profiles remember of events, as the store has agreed it with every replica.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::{
    domain::audience::{
        activity::{AmountError, Event, Keep, Stream, StreamId, Streams},
        caps::CapRing,
        node::Node,
        rule::Targeting,
        user::{Lists, UserState},
    },
    ports::{EventStore, Fold, StoreError, StreamRow},
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
}

impl Streamed {
    /// `needed` are the streams that rules were seen to need; others are read back from their
    /// definitions.
    fn of(epoch: i64, rows: &[StreamRow], needed: &HashMap<StreamId, Stream>) -> Self {
        let stream = |row: &StreamRow| {
            let stream = needed.get(&StreamId(row.id)).cloned().or_else(|| parse(row));
            if stream.is_none() {
                tracing::error!(stream = row.id, "a stream that no rule here needs is not understood and stands still");
            }
            stream
        };
        let streams = rows.iter().filter_map(stream).collect();
        let backfilling = rows.iter().filter(|row| !row.live).map(|row| (StreamId(row.id), row.epoch)).collect();
        Self { epoch, streams: Arc::new(streams), backfilling }
    }

    /// Folds events into every stream.
    pub(super) fn fold(&self) -> Fold {
        fold_into(Arc::clone(&self.streams))
    }

    /// Those added by one epoch.
    pub(super) fn added_by(&self, epoch: i64) -> Arc<Streams> {
        let ids: Vec<StreamId> =
            self.backfilling.iter().filter(|(_, added)| **added == epoch).map(|(id, _)| *id).collect();
        Arc::new(self.streams.only(&ids))
    }

    /// Epochs whose streams lack history, oldest first.
    pub(super) fn unfinished(&self) -> Vec<i64> {
        let mut epochs: Vec<i64> = self.backfilling.values().copied().collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }

    /// Whether any of these streams lacks history, or is not known at all.
    #[must_use]
    pub fn lacks_history(&self, of: &Streams) -> bool {
        of.iter().any(|stream| self.backfilling.contains_key(&stream.id()) || !self.streams.contains(stream.id()))
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

/// The stream behind a definition, if it has one and means the same as when it was written.
fn parse(row: &StreamRow) -> Option<Stream> {
    let definition = row.definition.as_object()?;
    let text = |name: &str| definition.get(name).and_then(Value::as_str).map(Box::from);
    let keep = usize::try_from(definition.get("keep")?.as_u64()?).ok()?;
    // The rules' own parser reads the filter.
    let mut condition = json!({"event": definition.get("event")?, "last_seen": {"within": "P1D"}});
    if let Some(filter) = definition.get("where").filter(|filter| filter.as_object().is_some_and(|map| !map.is_empty()))
    {
        condition["where"] = filter.clone();
    }
    let Ok(Node::Event(condition)) = Targeting::parse(&condition) else { return None };
    let keep = Keep::for_threshold(keep - 1);
    let stream = Stream::new(condition.event, condition.filter, text("key"), text("value"), keep);
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
}

impl StreamRegistry {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>) -> Self {
        Self { store, known: Mutex::default(), needed: Mutex::default() }
    }

    /// The streams of an account, as they were last read.
    ///
    /// # Errors
    /// The store's, if they were never read.
    pub async fn of(&self, account: u32) -> Result<Arc<Streamed>, StoreError> {
        if let Some(known) = self.known(account) {
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
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(account, streamed);
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
    use super::*;
    use crate::domain::values::Millis;

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
