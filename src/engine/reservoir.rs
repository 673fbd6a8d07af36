//! A sample of each account's people in memory, kept even: those with the smallest uids, which are
//! hashes. It is filled by reading people in that order, follows the change feed, and tells from
//! how close the uids lie how many people there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{backoff::Backoff, catalogue::Catalogue, ingest::StreamRegistry, unpack::unpack};
use crate::{
    domain::{
        audience::{activity::Streams, preview::Population, user::UserState},
        ids::{EventName, NameHash, Uid},
    },
    ports::{CrowdRow, CrowdStore, StoreError},
};

/// The samples of all accounts.
pub struct Reservoir {
    store: Arc<dyn CrowdStore>,
    /// People in a sample; a person takes about 2 KiB.
    size: usize,
    streams: Arc<StreamRegistry>,
    samples: Mutex<BTreeMap<u32, Sample>>,
}

/// The people of one account.
#[derive(Default)]
struct Sample {
    people: BTreeMap<Uid, Arc<UserState>>,
    /// Whether there is nobody else.
    whole: bool,
    /// Whether more are being read, so that changes of anybody are worth noting.
    reading: bool,
    /// To be read again.
    dirty: BTreeSet<Uid>,
    /// Stretches of people to be read again.
    stretches: Vec<(Uid, Uid)>,
    /// Names of traits that the people have.
    traits: BTreeSet<String>,
    /// The same as they are met in people, and whether some were met that have no name yet.
    met: BTreeSet<NameHash>,
    nameless: bool,
}

/// A sample as it is at one moment.
#[derive(Clone)]
pub struct Drawn {
    /// The people.
    pub people: Vec<(Uid, Arc<UserState>)>,
    /// Of how many.
    pub population: Population,
    /// Whether the sample is as large as it will be.
    pub complete: bool,
    /// Names of traits that the people have.
    pub traits: BTreeSet<String>,
}

impl Sample {
    /// The last person whose changes matter.
    fn reach(&self) -> Uid {
        match self.people.last_key_value() {
            Some((last, _)) if !self.whole => *last,
            _ => Uid(u128::MAX),
        }
    }

    fn put(&mut self, size: usize, row: CrowdRow) {
        let (uid, version) = (row.uid, row.row.version);
        match unpack(row.row) {
            Ok(state) => {
                for held in state.traits.iter() {
                    self.nameless |= self.met.insert(held.name);
                }
                self.people.insert(uid, Arc::new(state));
            }
            Err(error) => tracing::warn!(%error, version, "a person cannot be read and is left out of the sample"),
        }
        while self.people.len() > size {
            self.people.pop_last();
            self.whole = false;
        }
    }
}

impl Reservoir {
    /// How often changes are taken in.
    const PAUSE: Duration = Duration::from_millis(200);
    /// People read at a time.
    const BATCH: u32 = 1_000;
    /// Changes noted while people are read; beyond, all are read anew.
    const NOTED: usize = 200_000;

    /// Empty samples of up to `size` people.
    #[must_use]
    pub fn new(store: Arc<dyn CrowdStore>, size: usize, streams: Arc<StreamRegistry>) -> Self {
        Self { store, size, streams, samples: Mutex::default() }
    }

    fn samples(&self) -> MutexGuard<'_, BTreeMap<u32, Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The events of those of these streams that people lack, wholly or in part. To be asked before
    /// the people are: a history that ends meanwhile may be missing in the first of them.
    ///
    /// # Errors
    /// The store's.
    pub async fn unread(&self, account: u32, needed: &Streams) -> Result<Vec<EventName>, StoreError> {
        Ok(self.streams.of(account).await?.unread(needed))
    }

    /// Types of events that came, as far as the store tells.
    pub async fn event_types(&self, account: u32) -> Vec<String> {
        self.streams.types(account).await
    }

    /// The sample of an account.
    #[must_use]
    pub fn draw(&self, account: u32) -> Drawn {
        let samples = self.samples();
        let Some(sample) = samples.get(&account) else {
            return Drawn {
                people: vec![],
                population: Population::whole(0),
                complete: false,
                traits: BTreeSet::new(),
            };
        };
        let count = sample.people.len() as u64;
        let population = match sample.people.last_key_value() {
            Some((last, _)) if !sample.whole => Population::below(count, *last),
            _ => Population::whole(count),
        };
        let people = sample.people.iter().map(|(uid, state)| (*uid, Arc::clone(state))).collect();
        let complete = sample.whole || sample.people.len() >= self.size;
        Drawn { people, population, complete, traits: sample.traits.clone() }
    }

    /// A person changed, or was erased where they have no version.
    pub fn on_person(&self, account: u32, uid: Uid, version: Option<i64>) {
        let mut samples = self.samples();
        let Some(sample) = samples.get_mut(&account) else { return };
        match version {
            // whatever is read of them while this happens must not bring them back
            None => drop(sample.people.remove(&uid)),
            Some(version) => {
                if sample.people.get(&uid).is_some_and(|held| held.version >= version.unsigned_abs()) {
                    return;
                }
            }
        }
        if sample.reading || uid <= sample.reach() {
            sample.dirty.insert(uid);
        }
        if sample.dirty.len() > Self::NOTED {
            *sample = Sample::default();
        }
    }

    /// Lists of people between two changed.
    pub fn on_lists(&self, account: u32, from: Uid, upto: Uid) {
        if let Some(sample) = self.samples().get_mut(&account)
            && (sample.reading || from <= sample.reach())
        {
            sample.stretches.push((from, upto));
        }
    }

    /// Anything may have changed.
    pub fn on_reset(&self) {
        self.samples().clear();
    }

    /// Keeps the samples of all accounts of the catalogue filled and current until `stop`.
    pub async fn run(self: Arc<Self>, catalogue: Arc<Catalogue>, stop: CancellationToken) {
        let mut backoff = Backoff::new(Self::PAUSE, Duration::from_secs(10));
        loop {
            let accounts: Vec<u32> = catalogue.world().accounts().map(|account| account.number()).collect();
            let mut pause = Self::PAUSE;
            for account in accounts {
                match self.keep(account).await {
                    Ok(()) => backoff.reset(),
                    Err(error) => {
                        tracing::warn!(%error, "keeping a sample of people failed; trying again");
                        pause = backoff.wait();
                    }
                }
            }
            if stop.run_until_cancelled(time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Takes in what changed of an account, and reads more people where there is room.
    async fn keep(&self, account: u32) -> Result<(), StoreError> {
        let (dirty, stretches) = {
            let mut samples = self.samples();
            let sample = samples.entry(account).or_default();
            (std::mem::take(&mut sample.dirty), std::mem::take(&mut sample.stretches))
        };
        if let Err(error) = self.read_again(account, &dirty, &stretches).await {
            if let Some(sample) = self.samples().get_mut(&account) {
                sample.dirty.extend(dirty);
                sample.stretches.extend(stretches);
            }
            return Err(error);
        }
        self.fill(account).await
    }

    async fn read_again(
        &self,
        account: u32,
        dirty: &BTreeSet<Uid>,
        stretches: &[(Uid, Uid)],
    ) -> Result<(), StoreError> {
        let uids: Vec<Uid> = dirty.iter().copied().collect();
        for uids in uids.chunks(Self::BATCH as usize) {
            let rows = self.store.people(account, uids.to_vec()).await?;
            let mut samples = self.samples();
            let Some(sample) = samples.get_mut(&account) else { return Ok(()) };
            for uid in uids {
                sample.people.remove(uid);
            }
            let reach = sample.reach();
            rows.into_iter().filter(|row| row.uid <= reach).for_each(|row| sample.put(self.size, row));
        }
        for &(from, upto) in stretches {
            let mut after = from.0.checked_sub(1).map(Uid);
            loop {
                let rows = self.store.scan(account, after, Self::BATCH).await?;
                let mut samples = self.samples();
                let Some(sample) = samples.get_mut(&account) else { return Ok(()) };
                let more = rows.len() == Self::BATCH as usize;
                after = rows.last().map(|row| row.uid);
                let end = upto.min(sample.reach());
                rows.into_iter().filter(|row| row.uid <= end).for_each(|row| sample.put(self.size, row));
                if !more || after.is_none_or(|after| after >= end) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads on behind the last person while there is room.
    async fn fill(&self, account: u32) -> Result<(), StoreError> {
        loop {
            let after = {
                let mut samples = self.samples();
                let Some(sample) = samples.get_mut(&account) else { return Ok(()) };
                if sample.whole || sample.people.len() >= self.size {
                    sample.reading = false;
                    break;
                }
                sample.reading = true;
                sample.people.last_key_value().map(|(last, _)| *last)
            };
            let rows = self.store.scan(account, after, Self::BATCH).await?;
            let mut samples = self.samples();
            let Some(sample) = samples.get_mut(&account) else { return Ok(()) };
            sample.whole = rows.len() < Self::BATCH as usize;
            rows.into_iter().for_each(|row| sample.put(self.size, row));
        }
        let nameless = self.samples().get_mut(&account).and_then(|sample| {
            let nameless = std::mem::take(&mut sample.nameless);
            nameless.then(|| sample.reach())
        });
        if let Some(reach) = nameless {
            let names = self.store.trait_names(account, reach).await;
            if let Some(sample) = self.samples().get_mut(&account) {
                match &names {
                    Ok(names) => sample.traits = names.iter().cloned().collect(),
                    Err(_) => sample.nameless = true,
                }
            }
            return names.map(drop);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::ids::SegmentKey,
        engine::ingest::tests::Store as Events,
        ports::{Answer, ListUpload, UploadMode, UserRow},
    };

    /// People in memory, each with a version.
    #[derive(Default)]
    struct Crowd(Mutex<BTreeMap<Uid, i64>>);

    fn row((&uid, &version): (&Uid, &i64)) -> CrowdRow {
        CrowdRow {
            uid,
            key: None,
            row: UserRow { version, packed: vec![], caps: vec![], lists: vec![], merged_into: None },
        }
    }

    impl CrowdStore for Crowd {
        fn upload(&self, _: u32, _: SegmentKey, _: UploadMode) -> Answer<'_, Box<dyn ListUpload>> {
            unreachable!("nobody uploads")
        }

        fn scan(&self, _: u32, after: Option<Uid>, limit: u32) -> Answer<'_, Vec<CrowdRow>> {
            let people = self.0.lock().expect("a lock");
            let rows = people.iter().filter(|(uid, _)| after.is_none_or(|after| **uid > after));
            let rows = rows.take(limit as usize).map(row).collect();
            Box::pin(async move { Ok(rows) })
        }

        fn people(&self, _: u32, uids: Vec<Uid>) -> Answer<'_, Vec<CrowdRow>> {
            let people = self.0.lock().expect("a lock");
            let rows = uids.iter().filter_map(|uid| people.get_key_value(uid)).map(row).collect();
            Box::pin(async move { Ok(rows) })
        }

        fn trait_names(&self, _: u32, _: Uid) -> Answer<'_, Vec<String>> {
            Box::pin(async { Ok(vec![]) })
        }
    }

    impl Crowd {
        fn write(&self, n: u128, version: i64) -> Uid {
            // evenly spread, as hashes are
            let uid = Uid(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
            self.0.lock().expect("a lock").insert(uid, version);
            uid
        }
    }

    fn held(reservoir: &Reservoir) -> Vec<(Uid, u64)> {
        reservoir.draw(1).people.into_iter().map(|(uid, state)| (uid, state.version)).collect()
    }

    fn smallest(crowd: &Crowd, size: usize) -> Vec<(Uid, u64)> {
        let people = crowd.0.lock().expect("a lock");
        people.iter().take(size).map(|(uid, version)| (*uid, version.unsigned_abs())).collect()
    }

    #[tokio::test]
    async fn the_sample_is_the_smallest_uids_whatever_comes_and_goes() {
        let crowd = Arc::new(Crowd::default());
        let reservoir = Reservoir::new(crowd.clone(), 500, Arc::new(StreamRegistry::new(Arc::<Events>::default())));
        for n in 1..=300 {
            crowd.write(n, 1);
        }
        reservoir.keep(1).await.expect("kept");
        assert_eq!(held(&reservoir), smallest(&crowd, 500));
        assert_eq!(reservoir.draw(1).population, Population::whole(300), "everybody");
        for n in 200..=20_000 {
            let uid = crowd.write(n, 2);
            reservoir.on_person(1, uid, Some(2));
        }
        reservoir.keep(1).await.expect("kept");
        assert_eq!(held(&reservoir), smallest(&crowd, 500));
        let population = reservoir.draw(1).population.size();
        assert!(population.at_least < 20_000 && population.at_most > 20_000, "{population:?}");
        // half of the sample is erased, and others take the places
        for (uid, _) in held(&reservoir).into_iter().step_by(2) {
            crowd.0.lock().expect("a lock").remove(&uid);
            reservoir.on_person(1, uid, None);
            assert!(!held(&reservoir).iter().any(|(held, _)| *held == uid), "gone at once");
        }
        reservoir.keep(1).await.expect("kept");
        assert_eq!(held(&reservoir), smallest(&crowd, 500));
        // an upload brings new people without naming each
        for n in 20_001..=40_000 {
            crowd.write(n, 1);
        }
        reservoir.on_lists(1, Uid(0), Uid(u128::MAX / 2));
        reservoir.on_lists(1, Uid(u128::MAX / 2 + 1), Uid(u128::MAX));
        reservoir.keep(1).await.expect("kept");
        assert_eq!(held(&reservoir), smallest(&crowd, 500));
        reservoir.on_reset();
        assert!(held(&reservoir).is_empty());
        reservoir.keep(1).await.expect("kept");
        assert_eq!(held(&reservoir), smallest(&crowd, 500));
    }
}
