//! What decisions tell learning as they are made: who takes part in an experiment, and what has no
//! number yet.

use std::{collections::BTreeSet, sync::PoisonError};

use super::{Learning, Shared};
use crate::{
    domain::{
        decision::{
            decided::Decision,
            learned::{self, Feature},
            request::AdRequest,
        },
        ids::{CampaignId, NameHash, Uid},
        measurement::cells::Counts,
    },
    ports::{StoreError, Subject, Unit},
};

/// People to be enrolled, and those who were lately.
#[derive(Default)]
pub(super) struct Units {
    waiting: Vec<(u32, CampaignId, Unit)>,
    lately: BTreeSet<(u32, NameHash, u32, u128)>,
}

impl Learning {
    /// People remembered as enrolled, so that they are not enrolled with each decision.
    const LATELY: usize = 200_000;
    /// People that may wait to be enrolled; more are left to their outcomes.
    const WAITING: usize = 50_000;

    /// Notes what a decision showed: who takes part in an experiment, by what it was chosen, and features
    /// without a number.
    pub fn shown(&self, account: u32, request: &AdRequest, measured: Option<Uid>, decision: &Decision) {
        for item in decision.placements.iter().flatten() {
            let Some(showing) = &item.shown else { continue };
            let (Some(campaign), Some(exposure)) = (&showing.campaign, &showing.exposure) else { continue };
            if let Some(thought) = &showing.thought {
                self.asked(&thought.learner);
            }
            if let Some(thought) = &showing.thought
                && let Some(country) = request.context.country
            {
                let name = Feature::Country(country.as_str().into()).name();
                let shape = &thought.learner.shape;
                if shape.feature(&name).is_none() && learned::count(shape, "geo:") < learned::COUNTRIES {
                    let subject =
                        Subject { account, campaign: campaign.id.clone(), creative: showing.creative.id.clone() };
                    self.0.want(&subject, BTreeSet::from([name]));
                }
            }
            if exposure.arm.is_side()
                && let Some(person) = measured
            {
                let mut units = self.0.units.lock().unwrap_or_else(PoisonError::into_inner);
                if units.waiting.len() >= Self::WAITING {
                    continue;
                }
                if units.lately.len() >= Self::LATELY {
                    units.lately.clear();
                }
                let (experiment, arm) = (exposure.experiment, exposure.arm);
                if units.lately.insert((account, campaign.hash, experiment, person.0)) {
                    let unit = Unit { person, experiment, arm, at: decision.at, counts: Counts::default() };
                    units.waiting.push((account, campaign.id.clone(), unit));
                }
            }
        }
    }
}

impl Shared {
    /// What decisions met that has no number yet.
    pub(super) fn wanted(&self) -> Vec<Subject> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The features of a subject that are to have numbers, once.
    pub(super) fn take_wanted(&self, subject: &Subject) -> BTreeSet<String> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(subject).unwrap_or_default()
    }

    /// Notes features of a subject that are to have numbers.
    pub(super) fn want(&self, subject: &Subject, mut names: BTreeSet<String>) {
        if !names.is_empty() {
            let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.entry(subject.clone()).or_default().append(&mut names);
        }
    }

    /// Enrols those who wait.
    pub(super) async fn enrol(&self) -> Result<(), StoreError> {
        let _turn = self.enrolling.lock().await;
        let waiting = std::mem::take(&mut self.units.lock().unwrap_or_else(PoisonError::into_inner).waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let enrolled = self.store.enrol(waiting).await;
        if enrolled.is_err() {
            // they are met again
            self.units.lock().unwrap_or_else(PoisonError::into_inner).lately.clear();
        }
        enrolled
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use metrics::Counter;
    use tokio::{task, time};

    use super::*;
    use crate::{
        domain::{measurement::exposure::Arm, values::Millis},
        engine::{
            catalogue::Catalogue,
            disk::Disk,
            fakes::{FakeCatalog, FakeClock, FakeLearning, Fault},
        },
        ports::Clock,
    };

    #[tokio::test]
    async fn who_looks_next_finds_those_whom_another_is_enrolling() {
        let (store, clock): (_, Arc<dyn Clock>) = (Arc::new(FakeLearning::default()), Arc::new(FakeClock));
        let catalog = Arc::new(FakeCatalog::default());
        let catalogue = Arc::new(Catalogue::new(catalog, Arc::clone(&clock), Disk::new(None), String::new()));
        let folder = tempfile::tempdir().expect("a folder");
        let learning = Learning::new(store.clone(), catalogue, clock, folder.path().to_owned(), Counter::noop());
        let unit = Unit { person: Uid(1), experiment: 1, arm: Arm::Control, at: Millis(1), counts: Counts::default() };
        let campaign = "spring".parse().expect("an id");
        learning.0.units.lock().expect("not poisoned").waiting.push((1, campaign, unit));
        let enrol = || {
            let learning = learning.clone();
            task::spawn(async move { learning.0.enrol().await })
        };
        store.enrolling(Fault::Hang);
        let first = enrol();
        task::yield_now().await;
        assert!(learning.0.units.lock().expect("not poisoned").waiting.is_empty());
        let second = enrol();
        time::sleep(Duration::from_millis(50)).await;
        assert!(!first.is_finished() && !second.is_finished());
        store.enrolling(Fault::None);
        second.await.expect("no panic").expect("enrolled");
        assert_eq!(store.enrolled(), 1);
        first.await.expect("no panic").expect("enrolled");
    }
}
