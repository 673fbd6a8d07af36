//! Follows the change feed: keeps the caches current, and proves that they are.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{backoff::Backoff, users::Users};
use crate::{
    domain::ids::Uid,
    ports::{Change, ChangeFeed, Cursor, FeedBatch, StoreError},
    telemetry::Meters,
};

/// What the feed tells besides people.
pub trait Listener: Send + Sync {
    /// The catalogue of an account is at least at `version`. Repeats are common.
    fn on_catalog(&self, account: u32, version: i64);
    /// Accounts or API keys changed.
    fn on_keys(&self);
    /// Anything may have changed: this is the start, another server, or a long silence.
    fn on_reset(&self);
    /// A person changed; they were erased, where they have no version. Repeats are common.
    fn on_person(&self, account: u32, uid: Uid, version: Option<i64>);
    /// Lists of people between two, both included, changed.
    fn on_lists(&self, account: u32, from: Uid, upto: Uid);
}

/// Settings of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedConfig {
    /// Time between looks. Default 20 ms.
    pub interval: Duration,
    /// A look that takes longer is given up (not cancelled) and another is made. Default 1 s.
    pub patience: Duration,
    /// After a silence this long changes may have been deleted unread, so everything is read
    /// anew. Must be well below the store's retention of changes. Default 10 min.
    pub longest_silence: Duration,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(20),
            patience: Duration::from_secs(1),
            longest_silence: Duration::from_secs(600),
        }
    }
}

/// A reader of the change feed.
#[derive(Clone)]
pub struct Feed {
    feed: Arc<dyn ChangeFeed>,
    users: Users,
    listener: Arc<dyn Listener>,
    config: FeedConfig,
    meters: Meters,
}

/// Where the reader stands.
#[derive(Default)]
struct Position {
    cursor: Option<Cursor>,
    /// Start of the last good look.
    proven: Option<Instant>,
    lists: Known,
    /// Since when the same open transaction is the oldest, and whether that was told.
    held: Option<(Instant, bool)>,
}

/// Changes to lists that were told lately. A transaction that stays open has them told again with
/// every look, and each would have many people read anew.
#[derive(Default)]
struct Known {
    new: HashSet<i64>,
    old: HashSet<i64>,
}

impl Known {
    /// At least so many are remembered.
    const KEPT: usize = 8_192;

    /// Whether a change is told for the first time, as far as is remembered.
    fn is_new(&mut self, change: i64) -> bool {
        if self.new.len() >= Self::KEPT {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(change) && !self.old.contains(&change)
    }
}

impl Position {
    /// For how long the oldest open transaction has kept the cursor where it is.
    fn hold(&mut self, batch: &FeedBatch, now: Instant) -> Duration {
        let same = self.cursor.as_ref().is_some_and(|cursor| *cursor == batch.cursor);
        self.held = match self.held {
            _ if !batch.held => None,
            Some(held) if same => Some(held),
            _ => Some((now, false)),
        };
        let age = self.held.map_or(Duration::ZERO, |(since, _)| now.duration_since(since));
        if let Some((_, told)) = &mut self.held
            && age > Feed::LONG
            && !std::mem::replace(told, true)
        {
            tracing::warn!(seconds = age.as_secs(), "a writing transaction stays open and holds back the change feed");
        }
        age
    }
}

impl Feed {
    /// A writing transaction that is open for longer is told of: all that was committed since is read
    /// again with every look, and followers of transitions wait for it.
    const LONG: Duration = Duration::from_secs(2);

    /// A reader that has not started yet.
    #[must_use]
    pub fn new(
        feed: Arc<dyn ChangeFeed>,
        users: Users,
        listener: Arc<dyn Listener>,
        config: FeedConfig,
        meters: Meters,
    ) -> Self {
        Self { feed, users, listener, config, meters }
    }

    /// Follows the feed until `stop`. Every start drops what the caches hold, once it has its
    /// cursor: what was read before may have changed unseen.
    pub async fn run(self, stop: CancellationToken) {
        let mut position = Position::default();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            let start = Instant::now();
            let wait = match self.look(&mut position, start).await {
                Ok(()) => {
                    backoff.reset();
                    self.config.interval.saturating_sub(start.elapsed())
                }
                Err(error) => {
                    tracing::warn!(%error, "looking at the change feed failed");
                    backoff.wait()
                }
            };
            self.meters.feed_lag.set(self.users.proof_age().as_secs_f64());
            self.meters.feed_lease.set(f64::from(u8::from(self.users.lease_holds())));
            if stop.run_until_cancelled(time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// One look, begun at `start`.
    async fn look(&self, position: &mut Position, start: Instant) -> Result<(), StoreError> {
        if position.proven.is_some_and(|proven| start.duration_since(proven) > self.config.longest_silence) {
            *position = Position::default();
        }
        let cursor = position.cursor.clone();
        let starting = cursor.is_none();
        let batch = self.poll(cursor).await?;
        if starting || batch.failed_over {
            tracing::info!(failed_over = batch.failed_over, "following the change feed from here; caches start empty");
            self.users.forget_all();
            self.listener.on_reset();
        }
        self.meters.feed_held.set(position.hold(&batch, start).as_secs_f64());
        for change in batch.changes {
            match change {
                Change::Person { account, uid, version } => {
                    self.users.on_remote_change(account, uid, version);
                    self.listener.on_person(account, uid, Some(version));
                }
                Change::Erased { account, uid } => {
                    self.users.on_erased(account, uid);
                    self.listener.on_person(account, uid, None);
                }
                Change::Lists { account, change, from, upto } => {
                    if position.lists.is_new(change) {
                        self.users.on_lists(account, from, upto);
                        self.listener.on_lists(account, from, upto);
                    }
                }
                Change::Catalog { account, version } => self.listener.on_catalog(account, version),
                Change::Keys => self.listener.on_keys(),
            }
        }
        self.users.note_told(batch.cursor.low.parse().unwrap_or_default());
        position.cursor = Some(batch.cursor);
        position.proven = Some(start);
        self.users.prove(start);
        Ok(())
    }

    /// Asks the store in a task of its own, so that giving up does not cancel the query.
    async fn poll(&self, cursor: Option<Cursor>) -> Result<FeedBatch, StoreError> {
        let feed = self.feed.clone();
        let look: JoinHandle<_> = tokio::spawn(async move { feed.poll(cursor).await });
        match time::timeout(self.config.patience, look).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Unavailable("the look panicked".to_owned())),
            Err(_) => Err(StoreError::Timeout("the look took too long".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{
        domain::{consent::Purposes, decision::standing::Standing},
        engine::{
            deadline::Deadline,
            fakes::{FakeFeed, FakeUsers, Fault},
            users::{Freshness, UserRead, UsersConfig},
        },
        telemetry,
    };

    #[derive(Default)]
    struct Heard {
        catalogs: AtomicUsize,
        keys: AtomicUsize,
        resets: AtomicUsize,
        lists: AtomicUsize,
    }

    impl Listener for Heard {
        fn on_catalog(&self, _: u32, _: i64) {
            self.catalogs.fetch_add(1, Ordering::SeqCst);
        }

        fn on_keys(&self) {
            self.keys.fetch_add(1, Ordering::SeqCst);
        }

        fn on_reset(&self) {
            self.resets.fetch_add(1, Ordering::SeqCst);
        }

        fn on_person(&self, _: u32, _: Uid, _: Option<i64>) {}

        fn on_lists(&self, _: u32, _: Uid, _: Uid) {
            self.lists.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct World {
        store: Arc<FakeUsers>,
        feed: Arc<FakeFeed>,
        users: Users,
        heard: Arc<Heard>,
        stop: CancellationToken,
    }

    fn world() -> World {
        let (store, feed, heard) =
            (Arc::new(FakeUsers::default()), Arc::new(FakeFeed::default()), Arc::new(Heard::default()));
        let (meters, _) = telemetry::metrics();
        let users = Users::new(UsersConfig { absent_keys: 100, ..UsersConfig::default() }, store.clone(), &meters);
        let stop = CancellationToken::new();
        let reader = Feed::new(feed.clone(), users.clone(), heard.clone(), FeedConfig::default(), meters);
        tokio::spawn(reader.run(stop.clone()));
        World { store, feed, users, heard, stop }
    }

    impl World {
        async fn get(&self, uid: u128) -> UserRead {
            let deadline = Deadline::starting(Instant::now(), Duration::from_millis(20));
            self.users.get(1, Uid(uid), Purposes::ALL, deadline, Freshness::default()).await
        }

        async fn version(&self, uid: u128) -> Option<u64> {
            self.get(uid).await.state.map(|state| state.version)
        }
    }

    const LOOK: Duration = Duration::from_millis(25);

    #[tokio::test(start_paused = true)]
    async fn changes_reach_the_cache_and_the_rest_stays_current() {
        let world = world();
        time::sleep(LOOK).await;
        assert_eq!(world.heard.resets.load(Ordering::SeqCst), 1);
        (1..=2).for_each(|uid| world.store.write(uid, 1));
        assert_eq!((world.version(1).await, world.version(2).await), (Some(1), Some(1)));
        time::sleep(Duration::from_secs(60)).await;
        world.store.write(2, 2);
        world.feed.tell(Change::Person { account: 1, uid: Uid(2), version: 2 });
        world.feed.tell(Change::Catalog { account: 1, version: 7 });
        world.feed.tell(Change::Keys);
        time::sleep(LOOK).await;
        assert_eq!((world.version(1).await, world.version(2).await), (Some(1), Some(2)));
        assert_eq!(world.store.calls().0, 3, "person 1 was read once");
        assert_eq!(world.heard.catalogs.load(Ordering::SeqCst), 1);
        assert_eq!(world.heard.keys.load(Ordering::SeqCst), 1);
        world.store.erase_row(1);
        world.feed.tell(Change::Erased { account: 1, uid: Uid(1) });
        time::sleep(LOOK).await;
        assert!(!world.get(1).await.known);
        world.stop.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_to_lists_counts_once_however_often_it_is_told() {
        let world = world();
        time::sleep(LOOK).await;
        world.store.write(1, 1);
        for _ in 0..5 {
            let (from, upto) = (Uid(0), Uid(9));
            world.feed.tell(Change::Lists { account: 1, change: 3, from, upto });
            time::sleep(LOOK).await;
            world.get(1).await;
        }
        assert_eq!(world.heard.lists.load(Ordering::SeqCst), 1);
        assert_eq!(world.store.calls().0, 1, "read once, after the first time it was told");
        let mut known = Known::default();
        assert!((0..3 * Known::KEPT as i64).all(|change| known.is_new(change)), "forgetting only repeats work");
        assert!(!known.is_new(3 * Known::KEPT as i64 - 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_feed_proves_nothing_and_does_not_stop_the_reader() {
        let world = world();
        time::sleep(LOOK).await;
        world.store.write(1, 1);
        world.get(1).await;
        world.feed.set(Fault::Hang);
        let frozen = Instant::now();
        world.store.set(Fault::Hang);
        while frozen.elapsed() < Duration::from_secs(10) {
            let read = world.get(1).await;
            if frozen.elapsed() > Duration::from_millis(1_001) {
                assert_eq!(read.standing, Standing::Stale, "after {:?}", frozen.elapsed());
                assert!(!world.users.lease_holds());
            }
            time::sleep(Duration::from_millis(50)).await;
        }
        assert!(world.feed.polls() > 5, "it goes on trying");
        world.feed.set(Fault::None);
        time::sleep(Duration::from_secs(2)).await;
        assert!(world.users.lease_holds());
        assert_eq!(world.get(1).await.standing, Standing::Personalised);
        assert_eq!(world.heard.resets.load(Ordering::SeqCst), 1, "the cursor still holds");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_before_the_cursor_is_dropped() {
        let world = world();
        world.feed.set(Fault::Unavailable);
        time::sleep(LOOK).await;
        world.store.write(1, 1);
        assert_eq!(world.version(1).await, Some(1));
        // Changed before the reader has a cursor, so no look will ever tell.
        world.store.write(1, 2);
        world.feed.set(Fault::None);
        time::sleep(Duration::from_secs(2)).await;
        assert_eq!(world.version(1).await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn another_server_and_a_long_silence_start_anew() {
        let world = world();
        time::sleep(LOOK).await;
        world.store.write(1, 9);
        world.get(1).await;
        world.store.write(1, 5);
        world.feed.fail_over();
        time::sleep(LOOK).await;
        assert_eq!(world.version(1).await, Some(5));
        assert_eq!(world.heard.resets.load(Ordering::SeqCst), 2);
        world.feed.set(Fault::Unavailable);
        time::sleep(Duration::from_secs(601)).await;
        world.feed.set(Fault::None);
        time::sleep(Duration::from_secs(2)).await;
        assert_eq!(world.heard.resets.load(Ordering::SeqCst), 3);
    }
}
