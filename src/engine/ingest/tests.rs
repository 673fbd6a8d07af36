//! The ingest on a store in memory.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};

use serde_json::json;

use super::*;
use crate::engine::{
    consistency::Consistency,
    fakes::{FakeClock, FakeFollowers},
    world::World,
};
use crate::{
    domain::{
        audience::activity::{Keep, Stream, Streams},
        catalog::snapshot::Snapshot,
        ids::{EventId, EventName},
        values::Millis,
    },
    engine::{fakes::FakeUsers, users::UsersConfig},
    ports::{AccountRow, Answer, BackfillStep, Fold, StreamRow},
    telemetry,
};

/// Keeps ids and nothing else.
#[derive(Default)]
pub(in crate::engine) struct Store {
    ids: Mutex<HashSet<EventId>>,
    streams: Mutex<Vec<StreamRow>>,
    types: Mutex<Vec<EventName>>,
    epoch: AtomicI64,
    batches: AtomicUsize,
    away: AtomicBool,
}

impl Store {
    fn check(&self) -> Result<(), StoreError> {
        let away = self.away.load(Ordering::SeqCst);
        if away { Err(StoreError::Unavailable("switched off".into())) } else { Ok(()) }
    }
}

impl EventStore for Store {
    fn ingest(&self, batch: EventBatch) -> Answer<'_, BatchWritten> {
        Box::pin(async move {
            self.check()?;
            self.batches.fetch_add(1, Ordering::SeqCst);
            if batch.epoch != self.epoch.load(Ordering::SeqCst) {
                return Ok(BatchWritten::Behind);
            }
            if batch.events.iter().any(|event| event.event.name.as_str() == "poison") {
                return Err(StoreError::Refused("no such thing".into()));
            }
            let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
            let mut became = |event: &EventRow| match ids.insert(event.id) {
                true => Ingested::Accepted,
                false => Ingested::Duplicate,
            };
            let events = batch.events.iter().map(&mut became).collect();
            let person =
                |event: &EventRow| FoldedPerson { uid: event.uid, base: 0, version: 1, before: vec![], packed: vec![] };
            let people = batch.events.iter().map(person).collect();
            Ok(BatchWritten::Done { events, people, xid: 7 })
        })
    }

    fn streams(&self, _: u32) -> Answer<'_, (i64, Vec<StreamRow>)> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move { Ok((self.epoch.load(Ordering::SeqCst), streams)) })
    }

    fn add_streams(&self, _: u32, streams: Vec<StreamRow>) -> Answer<'_, ()> {
        let epoch = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        let added = streams.into_iter().map(|stream| StreamRow { epoch, ..stream });
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).extend(added);
        Box::pin(async { Ok(()) })
    }

    fn keep_types(&self, _: u32, names: Vec<EventName>, _: usize) -> Answer<'_, ()> {
        Box::pin(async move {
            self.check()?;
            self.types.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
            Ok(())
        })
    }

    fn types(&self, _: u32) -> Answer<'_, Vec<String>> {
        let types = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        let types = types.iter().map(EventName::to_string).collect();
        Box::pin(async { Ok(types) })
    }

    fn backfill(&self, _: u32, _: i64, _: Vec<EventName>, _: Fold) -> Answer<'_, BackfillStep> {
        Box::pin(async {
            time::sleep(Duration::from_millis(1)).await;
            Ok(BackfillStep::More)
        })
    }

    fn erase_events(&self, _: Option<(u32, Vec<Uid>)>) -> Answer<'_, u64> {
        unreachable!("not here")
    }

    fn maintain(&self, _: Millis) -> Answer<'_, ()> {
        unreachable!("not here")
    }
}

fn ingest() -> (Arc<Store>, Ingest, CancellationToken) {
    ingest_and_tell(None)
}

fn ingest_and_tell(changed: Option<(Transitions, Arc<dyn Clock>)>) -> (Arc<Store>, Ingest, CancellationToken) {
    let (store, stop) = (Arc::new(Store::default()), CancellationToken::new());
    let meters = telemetry::metrics().0;
    let config = UsersConfig { absent_keys: 100, ..UsersConfig::default() };
    let users = Users::new(config, Arc::new(FakeUsers::default()), &meters);
    let streams = Arc::new(StreamRegistry::new(store.clone()));
    let config = IngestConfig { patience: Duration::from_millis(50), ..IngestConfig::default() };
    let ingest = Ingest::new(config, store.clone(), users, streams, changed, meters);
    for worker in 0..ingest.workers() {
        tokio::spawn(ingest.clone().work(worker, stop.clone()));
    }
    (store, ingest, stop)
}

fn event(id: u128, uid: u128, name: &str) -> EventRow {
    let name = name.parse().expect("a name");
    let event = Event { name, at: Millis(1), properties: serde_json::Map::new() };
    let key = format!("u-{uid}").parse().expect("a key");
    EventRow { id: EventId(id), uid: Uid(uid), key, event, received_at: Millis(1), late: false }
}

#[tokio::test(start_paused = true)]
async fn events_of_many_callers_share_commits_and_keep_their_order() {
    let (store, ingest, _stop) = ingest();
    let calls: Vec<_> = (0..50)
        .map(|call| {
            let ingest = ingest.clone();
            let events = (0..20).map(|at| event(u128::from(call % 25 != 0) * (call * 100 + at), at, "e")).collect();
            tokio::spawn(async move { ingest.ingest(1, events).await.expect("kept").became })
        })
        .collect();
    let mut accepted = 0;
    for (call, answer) in calls.into_iter().enumerate() {
        let became = answer.await.expect("no panic");
        assert_eq!(became.len(), 20);
        let new = became.iter().filter(|is| **is == Ingested::Accepted).count();
        assert!(call % 25 == 0 || new == 20, "{became:?}");
        accepted += new;
    }
    assert_eq!(accepted, 48 * 20 + 1, "the same id in every place counts once");
    assert!(store.batches.load(Ordering::SeqCst) <= 8, "gathered");
}

#[tokio::test(start_paused = true)]
async fn the_token_names_a_version_of_one_or_the_transaction_of_many() {
    let (_, ingest, _stop) = ingest();
    let one = ingest.ingest(1, vec![event(1, 5, "e"), event(2, 5, "e")]).await.expect("kept");
    assert_eq!(one.reached.map(Reached::token), Some(Consistency::Version(1)));
    let many = ingest.ingest(1, vec![event(3, 5, "e"), event(4, 6, "e")]).await.expect("kept");
    assert_eq!(many.reached.map(Reached::token), Some(Consistency::Transaction(7)));
    assert_eq!(ingest.ingest(1, vec![]).await.expect("nothing"), Report { became: vec![], reached: None });
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_folds_again() {
    let (store, ingest, _stop) = ingest();
    ingest.ingest(1, vec![event(1, 5, "e")]).await.expect("kept");
    let stream = Stream::new("e".parse().expect("a name"), vec![], None, Some("value".into()), Keep::Some);
    let needed: Streams = [stream].into_iter().collect();
    // another replica adds a stream, which this one has never seen
    StreamRegistry::new(store.clone()).ensure(1, &needed).await.expect("added");
    assert_eq!(ingest.streams().of(1).await.expect("known").epoch, 0);
    ingest.ingest(1, vec![event(2, 5, "e")]).await.expect("kept");
    let streamed = ingest.streams().of(1).await.expect("known");
    assert_eq!((streamed.epoch, &*streamed.streams), (1, &needed));
    assert_eq!(streamed.unread(&needed), ["e".parse().expect("a name")]);
    let mut amount = event(3, 5, "e").event;
    amount.properties.insert("value".into(), json!({"amount": "1"}));
    assert_eq!(Ingest::check_amounts(&streamed, &amount), [("value", AmountError::NoNumber)]);
}

#[tokio::test(start_paused = true)]
async fn the_same_epoch_of_another_server_is_read_anew() {
    let (store, ingest, _stop) = ingest();
    let set = |value: &str| -> Streams {
        [Stream::new("e".parse().expect("a name"), vec![], None, Some(value.into()), Keep::Few)].into_iter().collect()
    };
    ingest.streams().ensure(1, &set("lost")).await.expect("added");
    // a server that never heard of it, where another replica has come by
    store.streams.lock().unwrap_or_else(PoisonError::into_inner).clear();
    store.epoch.store(0, Ordering::SeqCst);
    StreamRegistry::new(store.clone()).ensure(1, &set("new")).await.expect("added");
    ingest.streams().on_reset();
    ingest.ingest(1, vec![event(1, 5, "e")]).await.expect("kept");
    let streamed = ingest.streams().known(1).expect("read");
    assert_eq!((streamed.epoch, &*streamed.streams), (1, &set("new")));
}

#[tokio::test(start_paused = true)]
async fn events_wait_for_streams_that_nobody_understands() {
    let (store, ingest, _stop) = ingest();
    let stream = Stream::new("e".parse().expect("a name"), vec![], None, None, Keep::Some);
    let row = StreamRow { id: stream.id().0, definition: json!({"event": "e", "new": 1}), epoch: 1, live: false };
    store.streams.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    store.epoch.store(1, Ordering::SeqCst);
    let told = ingest.ingest(1, vec![event(1, 5, "e")]).await;
    assert!(matches!(told, Err(IngestError::Store(error)) if error.is_passing()));
    assert_eq!(store.ids.lock().unwrap_or_else(PoisonError::into_inner).len(), 0, "nothing is kept without them");
    let streamed = ingest.streams().of(1).await.expect("read");
    assert!(streamed.unfinished().is_empty(), "nor is their epoch called live");
    assert_eq!(ingest.ingest(1, vec![event(2, 5, "f")]).await.expect("kept").became, [Ingested::Accepted], "of others");
    // a rule says what they are of
    let needed: Streams = [stream].into_iter().collect();
    ingest.streams().ensure(1, &needed).await.expect("known");
    assert_eq!(ingest.ingest(1, vec![event(1, 5, "e")]).await.expect("kept").became, [Ingested::Accepted]);
}

#[tokio::test(start_paused = true)]
async fn types_of_events_are_written_down_once_even_when_the_store_was_away() {
    let (store, ingest, _stop) = ingest();
    let written = || store.types.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ingest.ingest(1, vec![event(1, 5, "e"), event(2, 6, "f"), event(3, 5, "e")]).await.expect("kept");
    time::sleep(Duration::from_millis(1)).await;
    store.away.store(true, Ordering::SeqCst);
    ingest.streams().keep_types().await.expect_err("away");
    store.away.store(false, Ordering::SeqCst);
    ingest.streams().keep_types().await.expect("kept");
    assert_eq!(written().len(), 2);
    ingest.ingest(1, vec![event(4, 5, "e")]).await.expect("kept");
    time::sleep(Duration::from_millis(1)).await;
    ingest.streams().keep_types().await.expect("kept");
    assert_eq!(written().len(), 2, "both are known");
    // a server that never heard of them
    store.types.lock().unwrap_or_else(PoisonError::into_inner).clear();
    ingest.streams().on_reset();
    ingest.streams().keep_types().await.expect("kept");
    assert_eq!(written().len(), 2);
    let names: Vec<EventName> = (0..2_000).map(|n| format!("e{n}").parse().expect("a name")).collect();
    ingest.streams().note_types(1, names.iter());
    ingest.streams().keep_types().await.expect("kept");
    assert_eq!(written().len(), 1_000, "there is an end to it");
}

#[tokio::test(start_paused = true)]
async fn one_senders_fault_is_not_anothers() {
    let (_, ingest, _stop) = ingest();
    let call = |id, name: &'static str| {
        let ingest = ingest.clone();
        tokio::spawn(async move { ingest.ingest(1, vec![event(id, 4, name)]).await.map(|report| report.became) })
    };
    let (good, bad, other) = (call(1, "e"), call(2, "poison"), call(3, "e"));
    assert_eq!(good.await.expect("no panic").expect("kept"), [Ingested::Accepted]);
    assert!(matches!(bad.await.expect("no panic"), Err(IngestError::Store(error)) if !error.is_passing()));
    assert_eq!(other.await.expect("no panic").expect("kept"), [Ingested::Accepted]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_told_at_once() {
    let (store, ingest, stop) = ingest();
    store.away.store(true, Ordering::SeqCst);
    let told = ingest.ingest(1, vec![event(1, 5, "e")]).await;
    assert!(matches!(told, Err(IngestError::Store(error)) if error.is_passing()));
    store.away.store(false, Ordering::SeqCst);
    assert_eq!(ingest.ingest(1, vec![event(1, 5, "e")]).await.expect("kept").became, [Ingested::Accepted]);
    // after the stop nobody takes events any more
    stop.cancel();
    time::sleep(Duration::from_millis(10)).await;
    let filled: Vec<_> = (0..Ingest::QUEUE as u128 + 1)
        .map(|id| {
            let ingest = ingest.clone();
            tokio::spawn(async move { ingest.ingest(1, vec![event(id + 10, 5, "e")]).await })
        })
        .collect();
    time::sleep(Duration::from_millis(100)).await;
    assert_eq!(filled.iter().filter(|call| call.is_finished()).count(), 1, "the queue has an end");
}

#[tokio::test(start_paused = true)]
async fn who_sent_events_is_answered_while_followers_cannot_be_told() {
    let followers = Arc::new(FakeFollowers);
    let meters = telemetry::metrics().0;
    let world = Arc::new(World::new(&[], &[], &[]));
    let world = move || Arc::clone(&world);
    let clock: Arc<dyn Clock> = Arc::new(FakeClock);
    let transitions =
        Transitions::new(followers.clone(), followers, world, Arc::clone(&clock), meters.transitions_dropped);
    let (_, ingest, stop) = ingest_and_tell(Some((transitions.clone(), clock)));
    tokio::spawn(transitions.work(stop));
    time::sleep(Duration::from_millis(1)).await;
    // one call more than may wait to be told of
    for call in 0..11 {
        let events = (0..2_000).map(|n| event(call * 2_000 + n, call * 2_000 + n, "e")).collect();
        let answer = time::timeout(Duration::from_secs(60), ingest.ingest(1, events)).await;
        assert_eq!(answer.expect("answered").expect("kept").became.len(), 2_000, "call {call}");
    }
}

#[tokio::test(start_paused = true)]
async fn new_streams_do_not_wait_for_the_history_of_others() {
    let (store, ingest, stop) = ingest();
    let row = AccountRow { number: 1, id: "shop".parse().expect("an id"), secret: [0; 32], catalog_version: 1 };
    let world = |events: &[&str]| {
        let stream = |event: &&str| Stream::new(event.parse().expect("a name"), vec![], None, None, Keep::Some);
        let mut snapshot = Snapshot::empty();
        snapshot.streams = events.iter().map(stream).collect();
        World::new(std::slice::from_ref(&row), &[], &[]).with_snapshot(1, Arc::new(snapshot))
    };
    let current = Arc::new(Mutex::new(Arc::new(world(&["a"]))));
    let seen = Arc::clone(&current);
    tokio::spawn(ingest.backfill(move || Arc::clone(&seen.lock().unwrap_or_else(PoisonError::into_inner)), stop));
    let known = || store.streams.lock().unwrap_or_else(PoisonError::into_inner).len();
    time::sleep(Duration::from_secs(2)).await;
    assert_eq!(known(), 1);
    // the history of the first one never ends here
    *current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(world(&["a", "b"]));
    time::sleep(Duration::from_secs(2)).await;
    assert_eq!(known(), 2);
}
