//! Learning from outcomes: takes what was committed, learns, and gives decisions what was learned.
//!
//! Any replica may learn from any outcome: the store hands each out once, in a transaction that
//! keeps what was learned from it. All replicas read what is known again when its version has
//! changed, and draw the same from it.

mod enrolment;
mod fold;
mod idle;
mod kept;
mod lines;
mod looked;
mod teaching;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::Counter;
use tokio::{sync::Notify, time};
use tokio_util::sync::CancellationToken;

pub use self::fold::{Knowledge, Unreadable};
use self::{
    enrolment::Units,
    fold::{Wish, learn},
    kept::Kept,
    lines::{Line, Lines, base_rate},
    looked::Looked,
};
use crate::{
    domain::{
        catalog::document::GoalDoc,
        decision::learned::{self, Learner},
        measurement::beacon::CLICK_LIFE_MS,
        optimizer::Settings,
    },
    engine::catalogue::Catalogue,
    ports::{Clock, LearnedRow, LearningStore, StoreError, Subject},
};

/// Learns. Clones share everything.
#[derive(Clone)]
pub struct Learning(Arc<Shared>);

struct Shared {
    store: Arc<dyn LearningStore>,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
    kept: Kept,
    /// What is known, one look at a time.
    state: tokio::sync::Mutex<State>,
    /// What decisions of each account were given last: who asks for it does not wait for a look.
    given: Mutex<HashMap<u32, Arc<HashMap<Subject, Known>>>>,
    /// Features that decisions met and that have no number yet.
    wanted: Mutex<BTreeMap<Subject, BTreeSet<String>>>,
    /// People to be enrolled in experiments, and those who were lately.
    units: Mutex<Units>,
    /// Held while people are enrolled: whoever looks next finds those of the look before in the store.
    enrolling: tokio::sync::Mutex<()>,
    /// Outcomes committed here since the last look.
    outcomes: AtomicU64,
    enough: Notify,
    /// In which order subjects are learned about: another one on each replica, so that they share the work.
    order: RandomState,
    /// Failures to learn about something while the store is there.
    failures: Counter,
}

/// What is known, what there is to learn about, and how far was looked.
#[derive(Default)]
struct State {
    known: HashMap<Subject, Known>,
    lines: Lines,
    looked: Looked,
    /// What could not be learned about last time.
    failing: BTreeSet<Subject>,
    /// What waited last time and the catalogue here did not have yet, nor was anything known of it.
    strange: BTreeSet<Subject>,
    /// How often was looked: the order is another one each time, so that none waits for the slow ones for good.
    looks: u64,
    /// What is to be made ready anew, until it is.
    stale: BTreeSet<Subject>,
    /// Accounts whose decisions were not given what is known yet.
    untold: BTreeSet<u32>,
    /// Whether anything is known that is not on disk.
    unkept: bool,
}

/// What is known of one subject, and what was made of it.
#[derive(Clone)]
struct Known {
    row: Arc<LearnedRow>,
    goal: Option<GoalDoc>,
    learner: Arc<Learner>,
    /// Whether it was made for a campaign that chooses by it.
    chooses: bool,
    /// When decisions chose by it last; none, and few draws, after a while without any.
    used: Option<time::Instant>,
    rewarded: f64,
    shown: u64,
}

impl Learning {
    /// Lessons of one transaction.
    const BATCH: u32 = 5_000;
    /// Transactions of one look about one subject: the others wait no longer for one with a backlog.
    const BATCHES: usize = 4;
    /// Time between looks, unless [`Self::ENOUGH`] outcomes came.
    const EVERY: Duration = Duration::from_millis(500);
    /// Outcomes after which to look at once.
    const ENOUGH: u64 = 100;
    /// Time between looks while others learn what is waited for.
    const AGAIN: Duration = Duration::from_millis(20);
    /// Time between writes to disk.
    const KEEP_EVERY: Duration = Duration::from_secs(30);

    /// Learning with a store; `folder` is where what was learned is kept for a start without it.
    #[must_use]
    pub fn new(
        store: Arc<dyn LearningStore>,
        catalogue: Arc<Catalogue>,
        clock: Arc<dyn Clock>,
        folder: PathBuf,
        failures: Counter,
    ) -> Self {
        Self(Arc::new(Shared {
            store,
            catalogue,
            clock,
            kept: Kept::new(folder),
            state: tokio::sync::Mutex::default(),
            given: Mutex::default(),
            wanted: Mutex::default(),
            units: Mutex::default(),
            enrolling: tokio::sync::Mutex::default(),
            outcomes: AtomicU64::new(0),
            enough: Notify::new(),
            order: RandomState::new(),
            failures,
        }))
    }

    /// Takes up what was last kept on disk.
    pub async fn start(&self) {
        let rows = self.0.kept.read().await;
        let mut state = self.0.state.lock().await;
        state.lines.follow(&self.0.catalogue.world());
        self.0.take_up(&mut state, rows).await;
        self.0.publish(&mut state).await;
    }

    /// Says that outcomes were committed here.
    pub fn committed(&self, outcomes: u64) {
        if self.0.outcomes.fetch_add(outcomes, Ordering::Relaxed) + outcomes >= Self::ENOUGH {
            self.0.enough.notify_one();
        }
    }

    /// Learns in the background until `stop`.
    pub async fn work(self, stop: CancellationToken) {
        let mut kept = time::Instant::now();
        let mut failed = false;
        while !stop.is_cancelled() {
            match self.look().await {
                // what others learn from now is looked at again the next time
                Ok(_) => failed = false,
                Err(error) if !failed => {
                    failed = true;
                    tracing::warn!(%error, "learning waits for the store");
                }
                Err(_) => {}
            }
            if kept.elapsed() >= Self::KEEP_EVERY {
                kept = time::Instant::now();
                self.keep().await;
            }
            let pause = async {
                tokio::select! {
                    () = time::sleep(Self::EVERY) => {}
                    () = self.0.enough.notified(), if !failed => {}
                }
            };
            if stop.run_until_cancelled(pause).await.is_none() {
                break;
            }
        }
        // what waits to be enrolled is not lost with an orderly end
        if let Err(error) = self.0.enrol().await {
            tracing::debug!(%error, "people in experiments are left to their outcomes");
        }
        self.keep().await;
    }

    /// Learns from everything that is committed by now and gives it to decisions. What cannot be
    /// learned about is told and counted, and left for the next time; the rest is learned all the same.
    ///
    /// # Errors
    /// The store's, where it is away.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        while !self.look().await? {
            time::sleep(Self::AGAIN).await;
        }
        Ok(())
    }

    /// The same, but for what other replicas are learning from just now; whether there was nothing of that.
    async fn look(&self) -> Result<bool, StoreError> {
        let shared = &self.0;
        shared.outcomes.store(0, Ordering::Relaxed);
        let mut state = shared.state.lock().await;
        shared.attune(&mut state).await;
        drop(state);
        shared.enrol().await?;
        let mut state = shared.state.lock().await;
        let State { known, lines, looks, .. } = &mut *state;
        *looks += 1;
        lines.follow(&shared.catalogue.world());
        if known.is_empty() {
            // who knows nothing need not wait for what others learned until this look has learned, nor learn nothing
            // where that is too much for the store at once
            let _tried = shared.catch_up(&mut state).await;
        }
        let State { known, lines, failing, strange, looks, stale, .. } = &mut *state;
        shared.store.settle(shared.clock.now()).await?;
        let mut waiting: BTreeSet<Subject> = shared.store.waiting().await?.into_iter().collect();
        waiting.extend(shared.wanted());
        // without its creative nothing gets a number: the catalogue may be on its way
        let is_strange = |subject: &Subject| lines.get(subject).is_none() && !known.contains_key(subject);
        let new = waiting.iter().filter(|subject| is_strange(subject)).cloned().collect();
        let before = std::mem::replace(strange, new);
        waiting.retain(|subject| !strange.contains(subject) || before.contains(subject));
        lines.open = std::mem::take(&mut lines.open)
            .into_iter()
            .filter(|subject| {
                let (Some(line), Some(known)) = (lines.get(subject), known.get(subject)) else {
                    waiting.insert(subject.clone());
                    return true;
                };
                if known.chooses != lines.chooses(subject) {
                    stale.insert(subject.clone());
                }
                let grows =
                    learned::admit(&mut known.learner.shape.clone(), line.snapshot(), &line.campaign, &line.creative)
                        || known.goal.as_ref() != Some(&line.campaign.goal);
                if grows {
                    waiting.insert(subject.clone());
                }
                // looked at once more when it has grown
                grows
            })
            .collect();
        let (failed, mut fails) = (failing.clone(), BTreeSet::new());
        let (mut late, mut end, mut all) = (false, None, strange.is_subset(&before));
        let mut waiting = Vec::from_iter(waiting);
        // what failed goes last: it may be slow again
        waiting.sort_by_cached_key(|subject| (failed.contains(subject), shared.order.hash_one((*looks, subject))));
        for subject in waiting {
            let result = shared.learn_all(&subject, lines.get(&subject), base_rate(known, subject.account)).await;
            all &= !matches!(result, Ok(false));
            if let Err(error) = result {
                // one may be slow by itself; two are the store's, and what others learned is taken up all the same
                let slow = matches!(error, StoreError::Timeout(_));
                if error.is_passing() && (!slow || std::mem::replace(&mut late, true)) {
                    fails.extend(failed);
                    fails.extend(slow.then_some(subject));
                    end = Some(error);
                    break;
                }
                shared.failed(&subject, &error, failed.contains(&subject));
                fails.insert(subject);
            }
        }
        *failing = fails;
        shared.catch_up(&mut state).await?;
        end.map_or(Ok(all), Err)
    }

    /// Writes what is known to disk, where that has changed.
    async fn keep(&self) {
        let mut state = self.0.state.lock().await;
        if !std::mem::take(&mut state.unkept) {
            return;
        }
        let rows: Vec<_> =
            state.known.iter().map(|(subject, known)| (subject.clone(), Arc::clone(&known.row))).collect();
        drop(state);
        if !self.0.kept.write(rows).await {
            self.0.state.lock().await.unkept = true;
        }
    }
}

impl Shared {
    /// Whether there is no lesson left; another replica may have them, or there were too many for one look.
    async fn learn_all(&self, subject: &Subject, line: Option<&Line>, base_rate: f64) -> Result<bool, StoreError> {
        for _ in 0..Learning::BATCHES {
            match self.learn(subject, line, base_rate).await? {
                None => return Ok(false),
                Some(lessons) if lessons < Learning::BATCH as usize => return Ok(true),
                Some(_) => {}
            }
        }
        self.enough.notify_one();
        Ok(false)
    }

    fn failed(&self, subject: &Subject, error: &StoreError, known: bool) {
        self.failures.increment(1);
        if !known {
            let Subject { campaign, creative, .. } = subject;
            tracing::error!(%error, %campaign, %creative, "nothing is learned about this creative");
        }
    }

    /// What the store knows of these, without those that cannot be read.
    async fn known(&self, subjects: Vec<Subject>) -> Result<Vec<(Subject, Arc<LearnedRow>)>, StoreError> {
        let rows = match self.store.known(subjects.clone()).await {
            Err(error) if !error.is_passing() => {
                let mut rows = Vec::new();
                for subject in subjects {
                    match self.store.known(vec![subject.clone()]).await {
                        Ok(known) => rows.extend(known),
                        Err(error) if error.is_passing() => return Err(error),
                        Err(error) => self.failed(&subject, &error, false),
                    }
                }
                rows
            }
            answer => answer?,
        };
        Ok(rows.into_iter().map(|(subject, row)| (subject, Arc::new(row))).collect())
    }

    async fn learn(&self, subject: &Subject, line: Option<&Line>, base_rate: f64) -> Result<Option<usize>, StoreError> {
        let wanted = self.take_wanted(subject);
        let now = self.clock.now();
        let catalog =
            line.map(|line| (Arc::clone(&line.account), Arc::clone(&line.campaign), Arc::clone(&line.creative)));
        let wish = Wish {
            goal: line.map(|line| line.campaign.goal.clone()),
            longest_ms: line.map_or(CLICK_LIFE_MS, |line| line.campaign.longest_ms()),
            settings: Settings { base_rate, ..Settings::default() },
        };
        let names = wanted.clone();
        let learn = move |known, lessons| {
            let learned = learn(known, lessons, &wish, now, |shape| {
                let mut grown = false;
                if let Some((account, campaign, creative)) = &catalog {
                    grown |= learned::admit(shape, &account.snapshot, campaign, creative);
                }
                for name in &wanted {
                    let room = learned::count(shape, "geo:") < learned::COUNTRIES;
                    grown |=
                        room && shape.feature(name).is_none() && shape.admit_feature(name, learned::FEATURES).is_some();
                }
                grown
            });
            learned.map_err(|error| StoreError::Corrupt(error.to_string()))
        };
        let learned = self.store.learn(subject.clone(), Learning::BATCH, Box::new(learn)).await?;
        if learned.is_none() {
            self.want(subject, names);
        }
        Ok(learned)
    }
}

#[cfg(test)]
mod tests;
