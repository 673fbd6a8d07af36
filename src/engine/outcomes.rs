//! Outcomes, committed in groups. While the store is away they go to a local log and are replayed
//! when it is back.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, oneshot},
    task, time,
};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    learning::Learning,
    queue::{Group as Grouped, Queue},
    reservations::Reservations,
    spool::Spool,
    users::Users,
};
use crate::{
    domain::measurement::{
        attribution::Credit,
        outcome::{Outcome, OutcomeKind, Recorded},
    },
    ports::{Clock, OutcomeStore, Recording, Sought, StoreError, Touched},
};

/// What became of a reported outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// Committed, and counted for the first time; of a conversion with what it is to its campaign.
    Recorded(Option<Credit>),
    /// Counted before.
    Duplicate,
    /// A conversion after its campaign's windows.
    Late,
    /// On the local disk, to be committed and told from repeats when the store is back.
    Accepted,
    /// Lost unless it is reported again.
    Unavailable,
}

impl From<Recorded> for Reported {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::New => Self::Recorded(None),
            Recorded::Credited(credit) => Self::Recorded(Some(credit)),
            Recorded::Duplicate => Self::Duplicate,
            Recorded::Late => Self::Late,
        }
    }
}

/// Settings of the outcome writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomesConfig {
    /// Where the local log lives, which one process writes. Without one an outcome that the store does
    /// not take is lost.
    pub dir: Option<PathBuf>,
    /// Most bytes of the local log. Default 256 MiB, some 700,000 outcomes.
    pub log_bytes: u64,
    /// How long to gather before a commit. Default 5 ms.
    pub gather: Duration,
    /// A commit that takes longer is given up (not cancelled), and its outcomes go to the local
    /// log; should it succeed after all, they are found to be repeats. Default 500 ms.
    pub patience: Duration,
    /// Commits under way at a time. Default 4.
    pub concurrent_commits: usize,
}

impl OutcomesConfig {
    /// The defaults, with the local log in `dir`, or with none.
    #[must_use]
    pub fn new(dir: Option<PathBuf>) -> Self {
        Self {
            dir,
            log_bytes: 256 << 20,
            gather: Duration::from_millis(5),
            patience: Duration::from_millis(500),
            concurrent_commits: 4,
        }
    }
}

/// Outcomes and who waits for their answers.
type Group = Vec<(Outcome, oneshot::Sender<Reported>)>;

/// Where outcomes are reported. Clones report to the same place.
#[derive(Clone)]
pub struct Outcomes(Arc<Shared>);

struct Shared {
    queue: Queue<(Outcome, oneshot::Sender<Reported>)>,
    store: Arc<dyn OutcomeStore>,
    clock: Arc<dyn Clock>,
    users: Users,
    reservations: Arc<Reservations>,
    spool: Mutex<Option<Spool>>,
    /// Whether the store failed last, so that outcomes go to the log without asking it.
    away: AtomicBool,
    commits: Arc<Semaphore>,
    config: OutcomesConfig,
    /// Told of what was committed.
    learning: OnceLock<Learning>,
}

impl Outcomes {
    /// Outcomes in one commit.
    const GROUP: usize = 2_000;
    /// Outcomes that may wait for a commit.
    const QUEUE: usize = 16_384;
    /// Time between looks for something to replay.
    const REPLAY_EVERY: Duration = Duration::from_millis(200);

    /// Opens the local log. Run [`Outcomes::write`] and [`Outcomes::replay`] as background tasks.
    ///
    /// # Errors
    /// When the local log cannot be opened.
    pub fn open(
        config: OutcomesConfig,
        (store, clock): (Arc<dyn OutcomeStore>, Arc<dyn Clock>),
        users: Users,
        reservations: Arc<Reservations>,
    ) -> std::io::Result<Self> {
        let spool = config.dir.as_ref().map(|dir| Spool::open(dir, config.log_bytes)).transpose()?;
        let queue = Queue::new(Self::QUEUE);
        let commits = Arc::new(Semaphore::new(config.concurrent_commits.max(1)));
        let away = AtomicBool::new(false);
        Ok(Self(Arc::new(Shared {
            queue,
            store,
            clock,
            users,
            reservations,
            spool: Mutex::new(spool),
            away,
            commits,
            config,
            learning: OnceLock::new(),
        })))
    }

    /// Has `learning` told how many outcomes are committed, from now on.
    pub fn tell(&self, learning: Learning) {
        let _told_already = self.0.learning.set(learning);
    }

    /// Reports an outcome and waits until it is safe, or cannot be made so. Once called it is
    /// carried through, whether or not the caller goes on waiting.
    pub async fn report(&self, outcome: Outcome) -> Reported {
        let (answer, reported) = oneshot::channel();
        if !self.0.queue.offer((outcome, answer)) {
            return Reported::Unavailable;
        }
        reported.await.unwrap_or(Reported::Unavailable)
    }

    /// Reports several at once.
    pub async fn report_all(&self, outcomes: Vec<Outcome>) -> Vec<Reported> {
        let waiting: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| {
                let (answer, reported) = oneshot::channel();
                self.0.queue.offer((outcome, answer)).then_some(reported)
            })
            .collect();
        let mut all = Vec::with_capacity(waiting.len());
        for reported in waiting {
            let answer = match reported {
                Some(reported) => reported.await.ok(),
                None => None,
            };
            all.push(answer.unwrap_or(Reported::Unavailable));
        }
        all
    }

    /// What would become of outcomes, each counted once among these and all others.
    ///
    /// # Errors
    /// The store's.
    pub async fn rehearse(&self, outcomes: Vec<Outcome>) -> Result<Vec<Reported>, StoreError> {
        let (store, count, now) = (Arc::clone(&self.0.store), outcomes.len(), self.0.clock.now());
        let call = tokio::spawn(async move { store.record_as(outcomes, Recording::Rehearsed, now).await });
        let recorded = call.await.map_err(|_| StoreError::Unavailable("a rehearsal panicked".to_owned()))??;
        debug_assert_eq!(recorded.len(), count, "one answer each");
        Ok(recorded.into_iter().map(Reported::from).collect())
    }

    /// What each person last clicked of a campaign within its terms, else last saw.
    ///
    /// # Errors
    /// The store's.
    pub async fn touched(&self, account: u32, sought: Vec<Sought>) -> Result<Vec<Option<Touched>>, StoreError> {
        let store = Arc::clone(&self.0.store);
        let call = tokio::spawn(async move { store.touched(account, sought).await });
        call.await.map_err(|_| StoreError::Unavailable("a look-up panicked".to_owned()))?
    }

    /// Waits until everything reported so far is answered.
    pub async fn flush(&self) {
        self.0.queue.flush().await;
    }

    /// Writes what is reported, until `stop` and until the queue is empty then.
    pub async fn write(self, stop: CancellationToken) {
        let mut reader = self.0.queue.reader().await;
        while let Some(Grouped { items, flush }) = reader.next(&stop, Self::GROUP, self.0.config.gather).await {
            if !items.is_empty()
                && let Ok(place) = self.0.commits.clone().acquire_owned().await
            {
                let shared = self.0.clone();
                tokio::spawn(async move {
                    shared.commit(items).await;
                    drop(place);
                });
            }
            if let Some(done) = flush {
                self.settled().await;
                let _gone = done.send(());
            }
        }
        self.settled().await;
    }

    /// Waits until no commit is under way.
    async fn settled(&self) {
        let all = u32::try_from(self.0.config.concurrent_commits.max(1)).unwrap_or(u32::MAX);
        let _all = self.0.commits.acquire_many(all).await;
    }

    /// Replays what the local log holds whenever the store is there, until `stop`. What an earlier
    /// run of the program left is replayed first.
    pub async fn replay(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Self::REPLAY_EVERY, Duration::from_secs(2));
        let mut wait = Self::REPLAY_EVERY;
        while stop.run_until_cancelled(time::sleep(wait)).await.is_some() {
            wait = match self.0.replay_all(&stop).await {
                Ok(()) => {
                    backoff.reset();
                    // With an empty log the next group finds out whether the store is there.
                    self.0.away.store(false, Ordering::Relaxed);
                    Self::REPLAY_EVERY
                }
                Err(error) => {
                    tracing::warn!(%error, "outcomes wait in the local log");
                    backoff.wait()
                }
            };
        }
    }
}

impl Shared {
    /// Commits a group, or keeps it in the local log, and answers everybody.
    async fn commit(self: Arc<Self>, group: Group) {
        let (outcomes, answers): (Vec<Outcome>, Vec<_>) = group.into_iter().unzip();
        if self.away.load(Ordering::Relaxed) {
            return Self::answer(answers, &self.keep(outcomes).await);
        }
        let shared = self.clone();
        let sent = outcomes.clone();
        // Apart, so that giving up cancels nothing.
        let call = tokio::spawn(async move { shared.record(sent, Recording::Live).await });
        match time::timeout(self.config.patience, call).await {
            Ok(Ok(Ok(recorded))) => {
                self.counted(&outcomes, &recorded);
                let reported = recorded.iter().map(|recorded| recorded.map_or(Reported::Unavailable, Reported::from));
                Self::answer(answers, &reported.collect::<Vec<_>>());
            }
            failed => {
                self.away.store(true, Ordering::Relaxed);
                if let Ok(Ok(Err(error))) = failed {
                    tracing::warn!(%error, "committing outcomes failed; they go to the local log");
                } else {
                    tracing::warn!("committing outcomes took too long; they go to the local log");
                }
                Self::answer(answers, &self.keep(outcomes).await);
            }
        }
    }

    fn answer(waiting: Vec<oneshot::Sender<Reported>>, reported: &[Reported]) {
        for (answer, &reported) in waiting.into_iter().zip(reported) {
            let _gone = answer.send(reported);
        }
    }

    /// Commits outcomes. A statement that the store refuses is halved until what it refuses stands
    /// alone, so that one bad outcome takes no others with it; that one has no answer.
    async fn record(&self, outcomes: Vec<Outcome>, how: Recording) -> Result<Vec<Option<Recorded>>, StoreError> {
        let mut recorded = vec![None; outcomes.len()];
        let mut parts = vec![(0, outcomes.len())];
        while let Some((from, to)) = parts.pop() {
            match self.store.record_as(outcomes[from..to].to_vec(), how, self.clock.now()).await {
                Ok(answers) => {
                    for (place, answer) in recorded[from..to].iter_mut().zip(answers) {
                        *place = Some(answer);
                    }
                }
                Err(error) if error.is_passing() => return Err(error),
                Err(error) if to - from == 1 => {
                    tracing::error!(%error, decision = %outcomes[from].decision, "the store refuses an outcome");
                }
                Err(_) => {
                    let middle = from.midpoint(to);
                    parts.extend([(middle, to), (from, middle)]);
                }
            }
        }
        Ok(recorded)
    }

    /// What was committed can be learned from. New impressions change what decisions count: first
    /// make sure that they read the committed count, then settle what was reserved.
    fn counted(&self, outcomes: &[Outcome], recorded: &[Option<Recorded>]) {
        if let Some(learning) = self.learning.get() {
            learning.committed(recorded.iter().flatten().filter(|recorded| recorded.is_new()).count() as u64);
        }
        let committed = self.users.moment();
        for (outcome, recorded) in outcomes.iter().zip(recorded) {
            if outcome.kind == OutcomeKind::Impression
                // of a repeat, the first answer may have been lost
                && matches!(recorded, Some(Recorded::New | Recorded::Duplicate))
                && let Some(person) = outcome.person
            {
                if recorded.is_some_and(Recorded::is_new) {
                    self.users.forget(outcome.account, person);
                }
                self.reservations.settle(person, outcome.decision, committed);
            }
        }
    }

    /// Keeps outcomes in the local log.
    async fn keep(self: &Arc<Self>, outcomes: Vec<Outcome>) -> Vec<Reported> {
        let count = outcomes.len();
        let kept = self.with_spool(move |spool| spool.append(&outcomes)).await;
        match kept {
            Ok(()) => vec![Reported::Accepted; count],
            Err(error) => {
                tracing::error!(%error, "neither the store nor the local log takes outcomes");
                vec![Reported::Unavailable; count]
            }
        }
    }

    /// Runs `work`, which may wait for the disk, off the runtime's threads.
    async fn with_spool<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Spool) -> std::io::Result<R> + Send + 'static,
    ) -> std::io::Result<R> {
        let shared = self.clone();
        let run = move || match &mut *shared.spool.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(spool) => work(spool),
            None => Err(std::io::ErrorKind::Unsupported.into()),
        };
        task::spawn_blocking(run).await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
    }

    /// Replays until the log is empty.
    async fn replay_all(self: &Arc<Self>, stop: &CancellationToken) -> Result<(), StoreError> {
        let disk = |error: std::io::Error| StoreError::Corrupt(error.to_string());
        while !stop.is_cancelled()
            && let Some(mut replay) = self.with_spool(Spool::take).await.map_err(disk)?
        {
            tracing::info!("replaying outcomes from the local log");
            loop {
                let read = move || replay.next(Outcomes::GROUP).map(|outcomes| (replay, outcomes));
                let outcomes;
                (replay, outcomes) = task::spawn_blocking(read).await.map_err(|e| disk(e.into()))?.map_err(disk)?;
                if outcomes.is_empty() {
                    break;
                }
                let (shared, sent) = (self.clone(), outcomes.clone());
                let call = tokio::spawn(async move { shared.record(sent, Recording::Kept).await });
                let recorded = time::timeout(self.config.patience * 4, call)
                    .await
                    .map_err(|_| StoreError::Timeout("replaying outcomes took too long".to_owned()))?
                    .map_err(|_| StoreError::Unavailable("replaying outcomes panicked".to_owned()))??;
                self.counted(&outcomes, &recorded);
                self.away.store(false, Ordering::Relaxed);
            }
            task::spawn_blocking(move || replay.done()).await.map_err(|e| disk(e.into()))?.map_err(disk)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{consent::Purposes, ids::Uid, values::Millis},
        engine::{
            catalogue::MachineClock,
            deadline::Deadline,
            fakes::{FakeOutcomes, FakeUsers, Fault, POISON, campaign, outcome},
            reservations::Reservation,
            users::{Freshness, UserRead, UsersConfig},
        },
        telemetry,
    };

    struct World {
        store: Arc<FakeOutcomes>,
        people: Arc<FakeUsers>,
        users: Users,
        reservations: Arc<Reservations>,
        outcomes: Outcomes,
        stop: CancellationToken,
        dir: tempfile::TempDir,
    }

    fn world() -> World {
        world_in(tempfile::tempdir().expect("a directory"), 1 << 20)
    }

    fn world_in(dir: tempfile::TempDir, log_bytes: u64) -> World {
        let (store, people) = (Arc::new(FakeOutcomes::default()), Arc::new(FakeUsers::default()));
        let config = UsersConfig { absent_keys: 100, ..UsersConfig::default() };
        let meters = telemetry::metrics().0;
        let users = Users::new(config, people.clone(), &meters);
        let reservations = Reservations::new(100, Duration::from_secs(3), meters.reservations_refused);
        let reservations = Arc::new(reservations);
        let config = OutcomesConfig { log_bytes, ..OutcomesConfig::new(Some(dir.path().to_owned())) };
        let outcomes =
            Outcomes::open(config, (store.clone(), Arc::new(MachineClock)), users.clone(), reservations.clone())
                .expect("a log");
        let stop = CancellationToken::new();
        tokio::spawn(outcomes.clone().write(stop.clone()));
        tokio::spawn(outcomes.clone().replay(stop.clone()));
        World { store, people, users, reservations, outcomes, stop, dir }
    }

    impl World {
        /// Reports many at once.
        async fn report_all(&self, outcomes: impl IntoIterator<Item = Outcome>) -> Vec<Reported> {
            let report = |outcome| {
                let outcomes = self.outcomes.clone();
                tokio::spawn(async move { outcomes.report(outcome).await })
            };
            let reports: Vec<_> = outcomes.into_iter().map(report).collect();
            let mut answers = Vec::new();
            for report in reports {
                answers.push(report.await.expect("an answer"));
            }
            answers
        }

        /// Waits until `counted` outcomes are in the store.
        async fn counted(&self, counted: usize) {
            for _ in 0..1_000 {
                if self.store.counted() == counted
                    && self.outcomes.0.spool.lock().unwrap().as_ref().is_none_or(Spool::is_empty)
                {
                    return;
                }
                time::sleep(Duration::from_millis(10)).await;
            }
            panic!("{} are counted", self.store.counted());
        }
    }

    fn count(answers: &[Reported], wanted: Reported) -> usize {
        answers.iter().filter(|&&answer| answer == wanted).count()
    }

    #[tokio::test]
    async fn repeats_are_told_apart_and_committed_in_groups() {
        let world = world();
        let answers = world.report_all((0..3_000).map(|number| outcome(number % 1_000))).await;
        assert_eq!(count(&answers, Reported::Recorded(None)), 1_000);
        assert_eq!(count(&answers, Reported::Duplicate), 2_000);
        assert!(world.store.calls() < 100, "{} commits", world.store.calls());
    }

    #[tokio::test]
    async fn while_the_store_is_away_outcomes_wait_on_the_disk() {
        for fault in [Fault::Unavailable, Fault::Hang] {
            let world = world();
            assert_eq!(world.outcomes.report(outcome(1)).await, Reported::Recorded(None));
            world.store.set(fault);
            let answers = world.report_all((0..100).map(outcome)).await;
            assert_eq!(count(&answers, Reported::Accepted), 100, "{fault:?}");
            let asked = world.store.calls();
            assert_eq!(world.outcomes.report(outcome(100)).await, Reported::Accepted);
            assert_eq!(world.store.calls(), asked, "a store known to be away is not asked");
            world.store.set(Fault::None);
            world.counted(101).await;
            assert_eq!(world.outcomes.report(outcome(100)).await, Reported::Duplicate);
            assert_eq!(world.outcomes.report(outcome(101)).await, Reported::Recorded(None));
        }
    }

    #[tokio::test]
    async fn what_an_earlier_run_left_is_replayed() {
        let world = world();
        world.store.set(Fault::Unavailable);
        assert_eq!(count(&world.report_all((0..10).map(outcome)).await, Reported::Accepted), 10);
        world.stop.cancel();
        let again = world_in(world.dir, 1 << 20);
        again.counted(10).await;
        assert!(std::fs::read_dir(again.dir.path()).expect("a directory").count() == 1, "only the empty log");
    }

    #[tokio::test]
    async fn without_room_on_the_disk_the_truth_is_told() {
        let world = world_in(tempfile::tempdir().expect("a directory"), 100);
        world.store.set(Fault::Unavailable);
        assert_eq!(world.outcomes.report(outcome(1)).await, Reported::Unavailable);
        world.store.set(Fault::None);
        let began = time::Instant::now();
        while world.outcomes.report(outcome(1)).await != Reported::Recorded(None) {
            assert!(began.elapsed() < Duration::from_secs(20), "the store is asked again");
            time::sleep(Duration::from_millis(50)).await;
        }
    }

    #[tokio::test]
    async fn one_refused_outcome_takes_no_others_with_it() {
        let world = world();
        world.store.set(Fault::Refused);
        let poison = Outcome { discriminator: POISON, ..outcome(50) };
        let answers = world.report_all((0..50).map(outcome).chain([poison]).chain((51..80).map(outcome))).await;
        assert_eq!(answers[50], Reported::Unavailable);
        assert_eq!(count(&answers, Reported::Recorded(None)), 79);
    }

    #[tokio::test]
    async fn a_new_impression_settles_its_reservation_and_is_read_by_the_next_decision() {
        let world = world();
        world.people.write(1, 1);
        let read = || async {
            let deadline = Deadline::starting(time::Instant::now(), Duration::from_secs(5));
            world.users.get(1, Uid(1), Purposes::ALL, deadline, Freshness::default()).await
        };
        let version = |read: &UserRead| read.state.as_ref().map(|state| state.version);
        let before = read().await;
        assert_eq!(version(&before), Some(1));
        let reserve = |number| Reservation { decision: outcome(number).decision, campaign: campaign(), at: Millis(1) };
        world.reservations.with(Uid(1), |_| true, |_| ((), vec![reserve(1), reserve(2)]));
        world.people.write(1, 2);
        let beside = |read: &UserRead| {
            let reflects = |moment| read.was_current_at(moment);
            world.reservations.with(Uid(1), reflects, |held| (held.len(), vec![]))
        };
        let click = Outcome { kind: OutcomeKind::Click, ..outcome(1) };
        assert_eq!(world.outcomes.report(click).await, Reported::Recorded(None));
        assert_eq!(beside(&read().await), 2, "a click settles nothing");
        assert_eq!(world.outcomes.report(outcome(1)).await, Reported::Recorded(None));
        let after = read().await;
        assert_eq!((version(&after), beside(&after)), (Some(2), 1));
        assert_eq!(beside(&before), 2, "who was read before the commit does not count it");
        assert_eq!(world.outcomes.report(outcome(1)).await, Reported::Duplicate);
        assert_eq!(beside(&read().await), 1, "a repeat settles no other");
    }

    #[tokio::test]
    async fn a_flush_waits_for_all_before_it_and_a_stop_loses_nothing() {
        let world = world();
        world.store.set(Fault::Slow(Duration::from_millis(50)));
        let outcomes = world.outcomes.clone();
        let early = tokio::spawn(async move { outcomes.report(outcome(1)).await });
        tokio::task::yield_now().await;
        world.outcomes.flush().await;
        assert_eq!(world.store.counted(), 1);
        assert_eq!(early.await.expect("an answer"), Reported::Recorded(None));
        let outcomes = world.outcomes.clone();
        let late = tokio::spawn(async move { outcomes.report(outcome(2)).await });
        tokio::task::yield_now().await;
        world.stop.cancel();
        assert_eq!(late.await.expect("an answer"), Reported::Recorded(None));
    }
}
