//! Keeps in memory what creatives show of feeds, and has feeds fetched when they are due. Never on the
//! way of a decision.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::JoinSet, time, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{FillError, Manner, Products};
use crate::{
    domain::{
        audience::{
            context::Context,
            evaluate::{Evaluator, UserView},
        },
        catalog::landing,
        decision::goods::looked_at,
        ids::{FeedId, SegmentKey},
        products::{Feed, FeedDoc, Popular, Stock, Stocks, Tally},
    },
    engine::{
        backoff::Backoff,
        catalogue::Catalogue,
        reservoir::{Drawn, Reservoir},
        world::Account,
    },
    ports::{Clock, Errand, FetchNote, Fetcher, Found, ProductStore, StockState, StoreError},
};

type Key = (u32, FeedId);

/// See the module.
pub struct Keeper {
    products: Products,
    store: Arc<dyn ProductStore>,
    catalogue: Arc<Catalogue>,
    reservoir: Arc<Reservoir>,
    fetcher: Arc<dyn Fetcher>,
    clock: Arc<dyn Clock>,
    /// Feeds that this replica fetches at the moment.
    fetching: Mutex<HashSet<Key>>,
}

/// What is done less often than looking.
struct Times {
    counted: Option<Instant>,
    swept: Instant,
    /// Whether any feed held anything at the last look.
    held: bool,
}

impl Keeper {
    /// Time between two looks at what feeds hold.
    const LOOK: Duration = Duration::from_millis(250);
    /// Time between two counts of what is popular.
    const COUNT: Duration = Duration::from_secs(5);
    /// Time between two looks for what is not needed any more.
    const SWEEP: Duration = Duration::from_secs(30);
    /// How long nobody else fetches what was taken, in ms: longer than a fetch may last.
    const LEASE: i64 = 900_000;
    /// The longest that a fetch may take.
    const FETCH: Duration = Duration::from_secs(600);
    /// How long fetches that are given up may take to say so.
    const ENDING: Duration = Duration::from_secs(3);
    /// The longest wait after a fetch that failed, in ms.
    const AGAIN: i64 = 300_000;
    /// Feeds that this replica fetches at a time.
    const AT_A_TIME: usize = 2;

    /// A keeper that has not started yet.
    #[must_use]
    pub fn new(
        products: Products,
        catalogue: Arc<Catalogue>,
        reservoir: Arc<Reservoir>,
        fetcher: Arc<dyn Fetcher>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let store = Arc::clone(&products.store);
        Self { products, store, catalogue, reservoir, fetcher, clock, fetching: Mutex::default() }
    }

    /// Works until `stop`.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(Self::LOOK, Duration::from_secs(10));
        let mut times = Times { counted: None, swept: Instant::now(), held: true };
        let mut running = JoinSet::new();
        loop {
            let wait = match self.look(&mut times, &mut running, &stop).await {
                Ok(()) => {
                    backoff.reset();
                    Self::LOOK
                }
                Err(error) => {
                    tracing::warn!(%error, "looking at what feeds hold failed; trying again");
                    backoff.wait()
                }
            };
            while running.try_join_next().is_some() {}
            if stop.run_until_cancelled(time::sleep(wait)).await.is_none() {
                // what was fetched so far is left behind, and swept; others may fetch it at once
                let _late = time::timeout(Self::ENDING, async { while running.join_next().await.is_some() {} }).await;
                return;
            }
        }
    }

    async fn look(
        self: &Arc<Self>,
        times: &mut Times,
        running: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let world = self.catalogue.world();
        if !times.held && world.accounts().all(|account| account.snapshot.feeds.is_empty()) {
            return Ok(());
        }
        let states = self.store.stocks().await?;
        times.held = !states.is_empty();
        let states: BTreeMap<Key, StockState> =
            states.into_iter().map(|state| ((state.account, state.feed.clone()), state)).collect();
        let count = times.counted.is_none_or(|at| at.elapsed() >= Self::COUNT);
        for account in world.accounts().filter(|account| !account.snapshot.feeds.is_empty()) {
            self.keep(account, &states, count).await?;
            self.fetch_due(account, &states, running, stop);
        }
        if count {
            times.counted = Some(Instant::now());
        }
        let gone = |(account, feed): &Key| {
            world.account(*account).is_some_and(|account| !account.snapshot.feeds.contains_key(feed))
        };
        if times.swept.elapsed() >= Self::SWEEP || states.keys().any(gone) {
            self.store.sweep().await?;
            times.swept = Instant::now();
        }
        Ok(())
    }

    /// Brings what an account's creatives show up to date.
    async fn keep(
        &self,
        account: &Arc<Account>,
        states: &BTreeMap<Key, StockState>,
        count: bool,
    ) -> Result<(), StoreError> {
        let snapshot = &account.snapshot;
        let mut stocks = Stocks::new();
        let mut changed = false;
        for feed in snapshot.shown_feeds.keys() {
            let generation = states.get(&(account.number(), feed.clone())).map_or(0, |state| state.generation);
            let held = snapshot.stocks.get(feed);
            match held.filter(|held| held.generation == generation) {
                Some(held) => drop(stocks.insert(feed.clone(), held.clone())),
                None if generation == 0 => {}
                None => match self.products.load(account.number(), feed, generation).await? {
                    Some(shelf) => {
                        let popular = held.map(|held| Arc::clone(&held.popular)).unwrap_or_default();
                        stocks.insert(feed.clone(), Stock { generation, shelf: Arc::new(shelf), popular });
                        changed = true;
                    }
                    // another took its place meanwhile: the next look finds that
                    None => stocks.extend(held.map(|held| (feed.clone(), held.clone()))),
                },
            }
        }
        changed |= stocks.len() != snapshot.stocks.len();
        if (count || changed) && !stocks.is_empty() {
            let before: Vec<Arc<Popular>> = stocks.values().map(|stock| Arc::clone(&stock.popular)).collect();
            stocks = self.count(account, stocks).await;
            changed |= stocks.values().zip(before).any(|(stock, before)| stock.popular != before);
        }
        if changed {
            self.catalogue.stock(account.number(), Arc::new(stocks)).await;
        }
        Ok(())
    }

    /// Counts anew what is popular, beside the threads that answer requests.
    async fn count(&self, account: &Arc<Account>, stocks: Stocks) -> Stocks {
        let drawn = self.reservoir.draw(account.number());
        let (account, now, kept) = (Arc::clone(account), self.clock.now(), stocks.clone());
        let work = move || {
            let mut counted = Stocks::new();
            for (feed, stock) in stocks {
                let document = account.snapshot.feeds.get(&feed);
                let segments = account.snapshot.shown_feeds.get(&feed);
                let popular = match (document, segments) {
                    (Some(document), Some(segments)) => {
                        Arc::new(tally(&account, document, segments, &drawn, now).popular(&stock.shelf))
                    }
                    _ => Arc::clone(&stock.popular),
                };
                counted.insert(feed, Stock { popular, ..stock });
            }
            counted
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(kept)
    }

    /// Fetches the feeds of an account that are due.
    fn fetch_due(
        self: &Arc<Self>,
        account: &Arc<Account>,
        states: &BTreeMap<Key, StockState>,
        running: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        for (feed, entry) in account.snapshot.feeds.iter().filter(|(_, entry)| entry.document.url.is_some()) {
            let key = (account.number(), feed.clone());
            let state = states.get(&key);
            let due = state.is_none_or(|state| {
                !state.claimed && (state.due || state.reading.as_deref() != Some(&reading(account, &entry.document)))
            });
            if !due || running.len() >= Self::AT_A_TIME || !self.held().insert(key.clone()) {
                continue;
            }
            let (keeper, account, entry, stop) =
                (Arc::clone(self), Arc::clone(account), Arc::clone(entry), stop.clone());
            running.spawn(async move {
                let (number, feed) = key.clone();
                if let Err(error) = keeper.fetch(&account, &feed, &entry.document, &stop).await {
                    tracing::warn!(%error, account = number, %feed, "what became of a fetch is lost");
                }
                keeper.held().remove(&key);
            });
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashSet<Key>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(
        &self,
        account: &Arc<Account>,
        feed: &FeedId,
        document: &FeedDoc,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let Some(target) = document.url.clone() else { return Ok(()) };
        #[expect(clippy::disallowed_methods, reason = "tells claims apart, nothing else")]
        let claim = Uuid::now_v7();
        let (number, reading) = (account.number(), reading(account, document));
        let claimed = self.store.claim(number, feed.clone(), claim, reading.clone(), Self::LEASE).await?;
        let Some(known) = claimed else { return Ok(()) };
        let errand = Errand { target, known: known.clone() };
        let fetching = time::timeout(Self::FETCH, self.take(account, feed, errand));
        let Some(fetched) = stop.run_until_cancelled(fetching).await else {
            return self.store.release(number, feed.clone(), claim).await;
        };
        let every = i64::from(document.every_minutes) * 60_000;
        let mut note = match fetched.unwrap_or_else(|_| Err("it took more than ten minutes".to_owned())) {
            Ok(note) => FetchNote { next_in: every, ..note },
            Err(error) => FetchNote {
                error: Some(error),
                refused: Some(Vec::new()),
                next_in: every.min(Self::AGAIN),
                ..FetchNote::default()
            },
        };
        match &note.error {
            Some(error) => tracing::info!(account = number, %feed, error, "a feed could not be fetched"),
            None => tracing::info!(account = number, %feed, "a feed was fetched"),
        }
        note.reading = reading;
        self.store.settle(number, feed.clone(), claim, note).await
    }

    /// Fetches a file and fills the feed with it.
    async fn take(&self, account: &Account, feed: &FeedId, errand: Errand) -> Result<FetchNote, String> {
        let known = errand.known.clone();
        let (validators, mut body) = match self.fetcher.fetch(errand).await.map_err(|error| error.to_string())? {
            Found::Unchanged => return Ok(FetchNote { validators: known, refused: None, ..FetchNote::default() }),
            Found::Refused(status) => return Err(format!("the server answered {status}")),
            Found::Changed { validators, body } => (validators, body),
        };
        let manner = Manner { whole: false, dry_run: false, fetched: true };
        let (sender, filling) = self.products.begin(account, feed, manner).map_err(|error| error.to_string())?;
        let send = async move {
            loop {
                let piece = body.next().await.map_err(|error| error.to_string())?;
                let ended = piece.is_none();
                // whoever reads it knows why it reads no more
                if sender.send(piece).await.is_err() || ended {
                    return Ok::<(), String>(());
                }
            }
        };
        let (sent, filled) = tokio::join!(send, filling);
        sent?;
        match filled {
            Ok(filled) => Ok(FetchNote { refused: Some(filled.told()), validators, ..FetchNote::default() }),
            Err(error) => {
                let said = error.to_string();
                let (FillError::Empty(filled) | FillError::Refused(filled)) = error else { return Err(said) };
                // nothing is said of its version, so that it is asked for again and stays told
                Ok(FetchNote { error: Some(said), refused: Some(filled.told()), ..FetchNote::default() })
            }
        }
    }
}

/// Stands for how the rows of a feed are read now.
fn reading(account: &Account, document: &FeedDoc) -> String {
    let advertiser = account.snapshot.advertiser(&document.advertiser);
    document.reading(&advertiser.into_iter().flat_map(|doc| landing::hosts(doc)).collect::<Vec<_>>())
}

/// Counts what the people of a sample looked at.
fn tally(
    account: &Account,
    feed: &Feed,
    segments: &BTreeSet<SegmentKey>,
    drawn: &Drawn,
    now: crate::domain::values::Millis,
) -> Tally {
    let (rules, context, mut tally) = (&account.snapshot.rules, Context::default(), Tally::default());
    for (uid, state) in &drawn.people {
        let seen = looked_at(state, feed, now);
        if seen.is_empty() {
            continue;
        }
        let view = UserView { uid: Some(*uid), state: Some(state), ..UserView::default() };
        let mut evaluator = Evaluator::new(rules, view, &context, now);
        let within = segments.iter().filter(|key| rules.ix(key).is_some_and(|ix| evaluator.segment(ix).holds()));
        tally.add(&seen, within);
    }
    tally
}
