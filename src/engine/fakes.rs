//! Stores in memory whose faults are switched on and off.

mod learning;
mod outcomes;

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time};

pub(super) use self::{
    learning::{Failing, FakeCatalog, FakeLearning},
    outcomes::{FakeOutcomes, POISON, campaign, outcome},
};
use crate::{
    domain::{
        ids::{SegmentKey, Uid, UserKey},
        values::Millis,
    },
    ports::{
        Answer, Change, ChangeFeed, Clock, CrowdRow, CrowdStore, Cursor, Erasure, FeedBatch, FoundProfile, ListUpload,
        MemberChange, Merge, Merged, Moved, Person, ProfileRow, ProfileWrite, ProfileWritten, ServerIdentity,
        StandingRow, StandingStep, StoreError, TransitionCursor, TransitionDay, TransitionRead, TransitionStore,
        UploadMode, UserRow, UserStore,
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
