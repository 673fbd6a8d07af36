//! Stores in memory whose faults are switched on and off.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time};

use crate::{
    domain::{
        ids::{CampaignId, DecisionId, NameHash, SegmentKey, Uid, UserKey},
        measurement::{
            attribution::Terms,
            outcome::{Outcome, OutcomeKind, Recorded},
        },
        values::{Millis, Span},
    },
    ports::{
        Answer, Change, ChangeFeed, Clock, CrowdRow, CrowdStore, Cursor, DecisionRecord, Erasure, FeedBatch,
        FoundProfile, FoundRecord, ListUpload, MemberChange, Merge, Merged, Moved, OutcomeStore, Person, ProfileRow,
        ProfileWrite, ProfileWritten, Recording, ServerIdentity, Sought, StandingRow, StandingStep, StoreError, Tally,
        Touched, TransitionCursor, TransitionDay, TransitionRead, TransitionStore, UploadMode, UserRow, UserStore,
    },
};

/// What a fake does to calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Answers later.
    Slow(Duration),
    /// Does not answer until the fault is another one, like a stopped process.
    Hang,
    Unavailable,
    /// Panics.
    Panic,
    /// A statement is refused because of something in it.
    Refused,
}

/// The switch of a fake.
pub(super) struct Switch {
    fault: Mutex<Fault>,
    changed: Notify,
}

impl Default for Switch {
    fn default() -> Self {
        Self { fault: Mutex::new(Fault::None), changed: Notify::new() }
    }
}

impl Switch {
    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
        self.changed.notify_waiters();
    }

    async fn pass(&self) -> Result<(), StoreError> {
        loop {
            let changed = self.changed.notified();
            let fault = *self.fault.lock().unwrap();
            match fault {
                Fault::None | Fault::Refused => return Ok(()),
                Fault::Slow(delay) => {
                    time::sleep(delay).await;
                    return Ok(());
                }
                Fault::Hang => changed.await,
                Fault::Panic => panic!("a fault of the store"),
                Fault::Unavailable => return Err(StoreError::Unavailable("switched off".to_owned())),
            }
        }
    }
}

/// People in memory. A call answers with what was stored when it began.
#[derive(Default)]
pub(super) struct FakeUsers {
    switch: Switch,
    people: Mutex<HashMap<(u32, Uid), UserRow>>,
    calls: AtomicUsize,
    keys: AtomicUsize,
}

impl FakeUsers {
    pub(super) fn set(&self, fault: Fault) {
        self.switch.set(fault);
    }

    /// Stores a version of a person.
    pub(super) fn write(&self, uid: u128, version: i64) {
        self.write_row(uid, UserRow { version, packed: vec![], caps: vec![], lists: vec![], merged_into: None });
    }

    pub(super) fn write_row(&self, uid: u128, row: UserRow) {
        self.people.lock().unwrap().insert((1, Uid(uid)), row);
    }

    pub(super) fn erase_row(&self, uid: u128) {
        self.people.lock().unwrap().remove(&(1, Uid(uid)));
    }

    /// Loads begun, and keys in them.
    pub(super) fn calls(&self) -> (usize, usize) {
        (self.calls.load(Ordering::SeqCst), self.keys.load(Ordering::SeqCst))
    }
}

impl UserStore for FakeUsers {
    fn load(&self, people: Vec<(u32, Uid)>) -> Answer<'_, Vec<((u32, Uid), UserRow)>> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.keys.fetch_add(people.len(), Ordering::SeqCst);
            let rows = {
                let stored = self.people.lock().unwrap();
                people.into_iter().filter_map(|who| Some((who, stored.get(&who)?.clone()))).collect()
            };
            self.switch.pass().await?;
            Ok(rows)
        })
    }

    fn profile(&self, _: u32, _: Uid) -> Answer<'_, FoundProfile> {
        unreachable!("the cache reads packed people only")
    }

    fn people(&self, _: u32, _: Vec<Uid>) -> Answer<'_, Vec<(Uid, Person)>> {
        unreachable!("the cache reads packed people only")
    }

    fn page(&self, _: u32, _: Option<Uid>, _: u32) -> Answer<'_, Vec<(Uid, ProfileRow)>> {
        unreachable!("the cache lists nothing")
    }

    fn write_profiles(&self, _: u32, _: Vec<ProfileWrite>) -> Answer<'_, Vec<ProfileWritten>> {
        unreachable!("the cache writes nothing")
    }

    fn change_members(&self, _: u32, _: SegmentKey, _: Vec<MemberChange>) -> Answer<'_, Moved> {
        unreachable!("the cache writes nothing")
    }

    fn members(
        &self,
        _: u32,
        _: SegmentKey,
        _: Option<Uid>,
        _: u32,
    ) -> Answer<'_, Vec<(Uid, UserKey, Option<Millis>)>> {
        unreachable!("the cache lists nothing")
    }

    fn merge(&self, _: u32, _: Merge) -> Answer<'_, Merged> {
        unreachable!("the cache merges nobody")
    }

    fn erase(&self, _: u32, _: Uid) -> Answer<'_, Erasure> {
        unreachable!("the cache erases nothing")
    }

    fn clear_leftovers(&self) -> Answer<'_, ()> {
        unreachable!("the cache leaves nothing")
    }
}

/// A feed in memory. Every look brings what was told since the last.
#[derive(Default)]
pub(super) struct FakeFeed {
    switch: Switch,
    told: Mutex<(Vec<Change>, bool)>,
    polls: AtomicUsize,
}

impl FakeFeed {
    pub(super) fn set(&self, fault: Fault) {
        self.switch.set(fault);
    }

    pub(super) fn tell(&self, change: Change) {
        self.told.lock().unwrap().0.push(change);
    }

    pub(super) fn fail_over(&self) {
        self.told.lock().unwrap().1 = true;
    }

    pub(super) fn polls(&self) -> usize {
        self.polls.load(Ordering::SeqCst)
    }
}

impl ChangeFeed for FakeFeed {
    fn poll(&self, cursor: Option<Cursor>) -> Answer<'_, FeedBatch> {
        Box::pin(async move {
            self.polls.fetch_add(1, Ordering::SeqCst);
            self.switch.pass().await?;
            let (mut changes, failed_over) = std::mem::take(&mut *self.told.lock().unwrap());
            if cursor.is_none() {
                changes.clear();
            }
            let cursor = Cursor { server: ServerIdentity { system: 1, timeline: 1 }, low: "1".to_owned() };
            Ok(FeedBatch { held: false, cursor, failed_over, changes })
        })
    }
}

/// Outcomes in memory.
#[derive(Default)]
pub(super) struct FakeOutcomes {
    switch: Switch,
    counted: Mutex<HashSet<(DecisionId, OutcomeKind, u128)>>,
    calls: AtomicUsize,
    kept: AtomicUsize,
    keeps: AtomicUsize,
}

impl FakeOutcomes {
    pub(super) fn set(&self, fault: Fault) {
        self.switch.set(fault);
    }

    pub(super) fn counted(&self) -> usize {
        self.counted.lock().unwrap().len()
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(super) fn kept(&self) -> usize {
        self.kept.load(Ordering::SeqCst)
    }

    pub(super) fn keeps(&self) -> usize {
        self.keeps.load(Ordering::SeqCst)
    }
}

impl OutcomeStore for FakeOutcomes {
    fn touched(&self, _: u32, _: Vec<Sought>) -> Answer<'_, Vec<Option<Touched>>> {
        unreachable!("nobody is joined here")
    }

    fn record_as(&self, outcomes: Vec<Outcome>, _: Recording) -> Answer<'_, Vec<Recorded>> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.switch.pass().await?;
            let refuses = *self.switch.fault.lock().unwrap() == Fault::Refused;
            if refuses && outcomes.iter().any(|outcome| outcome.discriminator == POISON) {
                return Err(StoreError::Refused("no such thing".to_owned()));
            }
            let mut counted = self.counted.lock().unwrap();
            let mut count =
                |outcome: &Outcome| match counted.insert((outcome.decision, outcome.kind, outcome.discriminator)) {
                    true => Recorded::New,
                    false => Recorded::Duplicate,
                };
            Ok(outcomes.iter().map(&mut count).collect())
        })
    }

    fn keep(&self, records: Vec<DecisionRecord>) -> Answer<'_, ()> {
        Box::pin(async move {
            self.keeps.fetch_add(1, Ordering::SeqCst);
            self.switch.pass().await?;
            self.kept.fetch_add(records.len(), Ordering::SeqCst);
            Ok(())
        })
    }

    fn find(&self, _: u32, _: DecisionId) -> Answer<'_, FoundRecord> {
        unreachable!("nobody looks here")
    }

    fn tallies(&self, _: u32, _: CampaignId, _: std::ops::RangeInclusive<i32>) -> Answer<'_, Vec<Tally>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn records(
        &self,
        _: u32,
        _: std::ops::RangeInclusive<i32>,
        _: Option<DecisionId>,
        _: u32,
    ) -> Answer<'_, Vec<DecisionRecord>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn outcomes_of(&self, _: u32, _: DecisionId) -> Answer<'_, Vec<Outcome>> {
        unreachable!("nobody looks here")
    }

    fn maintain(&self, _: Millis) -> Answer<'_, ()> {
        unreachable!("there are no partitions")
    }
}

/// Outcomes with this discriminator are refused while the fault is [`Fault::Refused`].
pub(super) const POISON: u128 = 0xbad;

/// The impression of a decision about person 1.
pub(super) fn outcome(decision: u128) -> Outcome {
    Outcome {
        account: 1,
        decision: DecisionId(uuid::Uuid::from_u128(decision)),
        kind: OutcomeKind::Impression,
        discriminator: 0,
        at: Millis(1_700_000_000_000),
        campaign: Some("spring".parse().expect("an id")),
        creative: "shoes".parse().expect("an id"),
        revision: 1,
        combination: 2,
        person: Some(Uid(1)),
        measured: true,
        cap_window: Some(Span::from_millis(86_400_000)),
        across_decisions: false,
        value_micros: None,
        goal: None,
        invalid: None,
        exposure: None,
        terms: Terms::default(),
        charge: None,
    }
}

/// The campaign of [`outcome`].
pub(super) fn campaign() -> NameHash {
    NameHash::of("spring")
}

/// Followers of whom nothing is read nor written: every call hangs.
pub(super) struct FakeFollowers;

fn hang<T: 'static>() -> Answer<'static, T> {
    Box::pin(std::future::pending())
}

impl TransitionStore for FakeFollowers {
    fn standings(&self, _: u32, _: Vec<Uid>) -> Answer<'_, Vec<StandingRow>> {
        hang()
    }

    fn due(&self, _: Millis, _: u32) -> Answer<'_, Vec<StandingRow>> {
        hang()
    }

    fn step(&self, _: Vec<StandingStep>) -> Answer<'_, Vec<(u32, Uid)>> {
        hang()
    }

    fn postpone(&self, _: Vec<(u32, Uid)>, _: Millis) -> Answer<'_, ()> {
        hang()
    }

    fn expire(&self, _: Millis, _: u32) -> Answer<'_, u64> {
        hang()
    }

    fn read(&self, _: u32, _: SegmentKey, _: TransitionCursor, _: u32) -> Answer<'_, Vec<TransitionRead>> {
        hang()
    }

    fn daily(&self, _: u32, _: Vec<SegmentKey>, _: i64, _: i64) -> Answer<'_, Vec<TransitionDay>> {
        hang()
    }

    fn kept_days(&self) -> u32 {
        30
    }

    fn end(&self) -> Answer<'_, TransitionCursor> {
        hang()
    }

    fn maintain(&self, _: Millis) -> Answer<'_, ()> {
        hang()
    }
}

impl CrowdStore for FakeFollowers {
    fn upload(&self, _: u32, _: SegmentKey, _: UploadMode) -> Answer<'_, Box<dyn ListUpload>> {
        hang()
    }

    fn scan(&self, _: u32, _: Option<Uid>, _: u32) -> Answer<'_, Vec<CrowdRow>> {
        hang()
    }

    fn people(&self, _: u32, _: Vec<Uid>) -> Answer<'_, Vec<CrowdRow>> {
        hang()
    }

    fn trait_names(&self, _: u32, _: Uid) -> Answer<'_, Vec<String>> {
        hang()
    }
}

/// A clock that stands still.
pub(super) struct FakeClock;

impl Clock for FakeClock {
    fn now(&self) -> Millis {
        Millis(1)
    }
}
