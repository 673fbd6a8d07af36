//! Outcomes and records of decisions in memory.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Fault, Switch};
use crate::{
    domain::{
        ids::{CampaignId, DecisionId, NameHash, Uid},
        measurement::{
            attribution::Terms,
            outcome::{Outcome, OutcomeKind, Recorded},
        },
        values::{Millis, Span},
    },
    ports::{Answer, DecisionRecord, FoundRecord, OutcomeStore, Recording, Sought, StoreError, Tally, Touched},
};

#[path = "../../../tests/support/outcome.rs"]
mod sample;

/// Outcomes in memory.
#[derive(Default)]
pub(in crate::engine) struct FakeOutcomes {
    switch: Switch,
    counted: Mutex<HashSet<(DecisionId, OutcomeKind, u128)>>,
    calls: AtomicUsize,
    kept: AtomicUsize,
    keeps: AtomicUsize,
}

impl FakeOutcomes {
    pub(in crate::engine) fn set(&self, fault: Fault) {
        self.switch.set(fault);
    }

    pub(in crate::engine) fn counted(&self) -> usize {
        self.counted.lock().unwrap().len()
    }

    /// How often outcomes were to be recorded, without those that are replayed.
    pub(in crate::engine) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(in crate::engine) fn kept(&self) -> usize {
        self.kept.load(Ordering::SeqCst)
    }

    pub(in crate::engine) fn keeps(&self) -> usize {
        self.keeps.load(Ordering::SeqCst)
    }
}

impl OutcomeStore for FakeOutcomes {
    fn touched(&self, _: u32, _: Vec<Sought>) -> Answer<'_, Vec<Option<Touched>>> {
        unreachable!("nobody is joined here")
    }

    fn record_as(&self, outcomes: Vec<Outcome>, how: Recording, _: Millis) -> Answer<'_, Vec<Recorded>> {
        Box::pin(async move {
            self.calls.fetch_add(usize::from(how != Recording::Kept), Ordering::SeqCst);
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
pub(in crate::engine) const POISON: u128 = 0xbad;

/// The impression of a decision about person 1.
pub(in crate::engine) fn outcome(decision: u128) -> Outcome {
    sample::impression(1, DecisionId(uuid::Uuid::from_u128(decision)), Millis(1_700_000_000_000), Some(Uid(1)))
}

/// The campaign of [`outcome`].
pub(in crate::engine) fn campaign() -> NameHash {
    NameHash::of("spring")
}
