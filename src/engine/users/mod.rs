//! The one door to what is known of a person.
//!
//! Reads come from memory. The change feed drops what changed elsewhere and proves with every look
//! that the rest is current; a proof is worth the length of the staleness lease. What is not held,
//! or not proven, is read from the store apart from the caller, who waits until the deadline and
//! then goes on with less: the last known profile, or none.

mod absent;
mod announced;
mod breaker;
mod key;
mod loader;
mod memory;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{self, Instant};

pub use self::key::Moment;
use self::{
    key::Key,
    loader::{Loaded, Loader},
    memory::{Look, Memory},
};
use super::deadline::Deadline;
use crate::{
    domain::{
        audience::{
            caps::CapRing,
            profile::Traits,
            user::{Lists, UserState},
        },
        consent::Purposes,
        decision::standing::{Degraded, Standing},
        ids::{AccountId, Uid},
        values::Millis,
    },
    ports::UserStore,
    telemetry::{Meters, UserCache},
};

/// Settings of the user cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersConfig {
    /// Memory for cached people, in bytes. Default 256 MiB.
    pub cache_bytes: u64,
    /// Unknown keys to remember, 32 bytes each. Default 1,048,576.
    pub absent_keys: usize,
    /// How long a proof that a profile is current is worth, the staleness lease. Default 1 s.
    pub lease: Duration,
    /// The lease for strict accounts. Default 250 ms.
    pub strict_lease: Duration,
    /// The strict accounts. Default none.
    pub strict: Vec<AccountId>,
    /// How old the last known profile may be to be used when a current one cannot be had.
    /// Default 10 min.
    pub stale_limit: Duration,
    /// A read from the store that takes longer counts as failed and others are started beside it. It is
    /// not cancelled, and what it brings in the end is used. Default 250 ms.
    pub load_wait: Duration,
    /// Reads from the store under way at a time. Default 4.
    pub concurrent_loads: usize,
}

impl Default for UsersConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
            absent_keys: 1 << 20,
            lease: Duration::from_secs(1),
            strict_lease: Duration::from_millis(250),
            strict: Vec::new(),
            stale_limit: Duration::from_secs(600),
            load_wait: Duration::from_millis(250),
            concurrent_loads: 4,
        }
    }
}

/// How current a profile must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// A profile older than this many milliseconds is not used. Shortens the lease if it is
    /// shorter.
    pub max_staleness_ms: Option<i64>,
    /// Whether the account never uses a profile past its (shorter) lease.
    pub strict: bool,
}

/// A person as a decision may use them.
#[derive(Clone, Debug)]
pub struct UserRead {
    /// The person, if known, current enough and allowed; without frequency counters where the
    /// purposes do not allow those, and nothing but these where they are all that is allowed.
    pub state: Option<Arc<UserState>>,
    /// Whether the person is known, as far as this could be found out.
    pub known: bool,
    /// How the profile stands.
    pub standing: Standing,
    /// Whether frequency counters could be read, if only as zero.
    pub counted: bool,
    /// What was given up, unless the standing is personalised.
    pub degraded: Option<Degraded>,
    /// Age, in milliseconds, of the last proof that this is current; zero where nothing was read.
    pub staleness_ms: i64,
    /// Who the person is, where the key asked for is known to have been merged into theirs.
    pub merged_into: Option<Uid>,
    /// When it was last known to be current, on the caches' clock.
    at: u64,
    /// Whether it is an older copy, because reading it anew failed.
    made_do: bool,
}

impl UserRead {
    /// Without a profile, for a reason; nobody named is no reason.
    #[must_use]
    pub fn contextual(degraded: Option<Degraded>) -> Self {
        let standing = Standing::Contextual;
        let counted = false;
        Self {
            state: None,
            known: false,
            standing,
            counted,
            degraded,
            staleness_ms: 0,
            merged_into: None,
            at: 0,
            made_do: false,
        }
    }

    fn personalised(state: Option<Arc<UserState>>, age: Duration, at: u64) -> Self {
        let (known, standing) = (state.is_some(), Standing::Personalised);
        let (staleness_ms, counted) = (millis(age), true);
        Self { state, known, standing, counted, degraded: None, staleness_ms, merged_into: None, at, made_do: false }
    }

    /// When the profile was last proven current, if `now` is the time of the read.
    #[must_use]
    pub fn as_of(&self, now: Millis) -> Option<Millis> {
        (self.standing != Standing::Contextual).then(|| now.plus(-self.staleness_ms))
    }

    /// Whether everything that was committed before `moment` is in it.
    #[must_use]
    pub fn reflects(&self, moment: Moment) -> bool {
        self.standing == Standing::Personalised && self.was_current_at(moment)
    }

    /// Whether what was committed before `moment` is in what it has, be it frequency counters alone.
    #[must_use]
    pub fn was_current_at(&self, moment: Moment) -> bool {
        self.at >= moment.at
    }

    /// Whether everything that the feed had told of before the read is in it.
    #[must_use]
    pub fn reflects_told(&self) -> bool {
        self.standing == Standing::Personalised && !self.made_do
    }

    /// Without what the purposes do not allow.
    fn within(mut self, purposes: Purposes) -> Self {
        if !purposes.profile_read {
            let counters = |state: &UserState| {
                let (traits, lists) = (Traits::default(), Lists::default());
                Arc::new(UserState::new(state.version, traits, lists, state.caps.clone()))
            };
            self.state = self.state.as_deref().map(counters);
            (self.known, self.standing) = (false, Standing::Contextual);
            self.degraded = self.degraded.filter(|_| !self.counted).or(Some(Degraded::NoConsent));
        }
        if !purposes.basic
            && let Some(state) = self.state.as_mut().filter(|state| !state.caps.is_empty())
        {
            Arc::make_mut(state).caps = CapRing::default();
        }
        self
    }
}

fn millis(age: Duration) -> i64 {
    i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
}

/// What a request asks of a profile's age.
#[derive(Clone, Copy)]
struct Bounds {
    /// Younger is current.
    lease: Duration,
    /// Older is not used.
    limit: Option<Duration>,
}

/// The last that was read of a person, and when that was known to be current.
struct Last {
    state: Option<Arc<UserState>>,
    at: u64,
}

/// The one door to what is known of people. Clones are the same door.
#[derive(Clone)]
pub struct Users {
    memory: Arc<Memory>,
    loader: Arc<Loader>,
    config: Arc<UsersConfig>,
    looks: UserCache,
    late: metrics::Counter,
    /// Transactions before this one have been told by the feed.
    told: Arc<AtomicU64>,
}

impl Users {
    /// Reads on behalf of one request whose joined read turned out too old.
    const TRIES: usize = 3;

    /// A door with nothing behind it yet. Nothing counts as proven until
    /// [`feed`](super::feed) runs.
    #[must_use]
    pub fn new(config: UsersConfig, store: Arc<dyn UserStore>, meters: &Meters) -> Self {
        let memory = Arc::new(Memory::new(config.cache_bytes, config.absent_keys));
        let reads = (config.concurrent_loads, config.load_wait);
        let loader = Loader::new(memory.clone(), store, reads, meters.user_loads.clone());
        let late = meters.user_loads.late.clone();
        Self {
            memory,
            loader: Arc::new(loader),
            config: config.into(),
            looks: meters.user_cache.clone(),
            late,
            told: Arc::default(),
        }
    }

    /// What is known of a person, as current as asked for, at the latest at `deadline`.
    ///
    /// Without the purpose of reading profiles nothing but the frequency counters comes back, and
    /// without the basic purpose either nothing is looked up at all. A person whom the store does
    /// not know is personalised too: nothing was given up.
    pub async fn get(
        &self,
        account: u32,
        uid: Uid,
        purposes: Purposes,
        deadline: Deadline,
        freshness: Freshness,
    ) -> UserRead {
        if !purposes.profile_read && !purposes.basic {
            return UserRead::contextual(Some(Degraded::NoConsent));
        }
        let bounds = self.bounds(freshness);
        let (key, look) = self.memory.look(Key { account, uid });
        let merged_into = (key.uid != uid).then_some(key.uid);
        let last = match look {
            Look::Held(state, currency) => {
                let age = self.memory.age(currency.at);
                if !currency.changed && age <= bounds.lease {
                    self.looks.hit.increment(1);
                    let read = UserRead::personalised(state, age, currency.at);
                    return UserRead { merged_into, ..read }.within(purposes);
                }
                self.looks.stale.increment(1);
                Some(Last { state, at: currency.at })
            }
            Look::Nothing => {
                self.looks.miss.increment(1);
                None
            }
        };
        let mut read = self.read(key, deadline, bounds, last).await.within(purposes);
        read.merged_into = read.merged_into.or(merged_into);
        read
    }

    /// Whether decisions of an account use no profile that was not just proven current.
    #[must_use]
    pub fn is_strict(&self, account: &AccountId) -> bool {
        self.config.strict.contains(account)
    }

    fn bounds(&self, freshness: Freshness) -> Bounds {
        let lease = if freshness.strict { self.config.strict_lease } else { self.config.lease };
        let asked = freshness.max_staleness_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        let limit = asked.or(freshness.strict.then_some(lease));
        Bounds { lease: limit.map_or(lease, |limit| limit.min(lease)), limit }
    }

    /// Has the person read, waits until the deadline, and makes do with `last` after it.
    async fn read(&self, key: Key, deadline: Deadline, bounds: Bounds, mut last: Option<Last>) -> UserRead {
        let asked = self.memory.now();
        let mut why = Degraded::StoreTimeout;
        for _ in 0..Self::TRIES {
            let Some(mut answer) = self.loader.ask(key) else {
                why = Degraded::StoreUnavailable;
                break;
            };
            if deadline.passed() {
                why = Degraded::Deadline;
                break;
            }
            let loaded = time::timeout_at(deadline.instant(), answer.wait_for(Option::is_some)).await;
            let loaded = match loaded {
                Ok(Ok(loaded)) => loaded.clone(),
                // The read panicked.
                Ok(Err(_)) => Some(Loaded::Failed(Degraded::StoreUnavailable)),
                Err(_) => {
                    self.late.increment(1);
                    break;
                }
            };
            match loaded {
                Some(Loaded::Read { state, merged_into, began, outdated }) => {
                    let age = self.memory.age(began);
                    if !outdated && (began >= asked || age <= bounds.lease) {
                        return UserRead { merged_into, ..UserRead::personalised(state, age, began) };
                    }
                    if last.as_ref().is_none_or(|last| last.at <= began) {
                        last = Some(Last { state, at: began });
                    }
                }
                Some(Loaded::Failed(degraded)) => {
                    why = degraded;
                    break;
                }
                None => break,
            }
        }
        self.make_do(key, bounds, last, why)
    }

    /// The ladder below a current profile.
    fn make_do(&self, key: Key, bounds: Bounds, last: Option<Last>, why: Degraded) -> UserRead {
        // The feed may have come back meanwhile.
        let (person, look) = self.memory.look(key);
        let merged_into = (person != key).then_some(person.uid);
        if let Look::Held(state, currency) = look
            && !currency.changed
            && self.memory.age(currency.at) <= bounds.lease
        {
            return UserRead {
                merged_into,
                ..UserRead::personalised(state, self.memory.age(currency.at), currency.at)
            };
        }
        let Some(last) = last else { return UserRead::contextual(Some(why)) };
        let age = self.memory.age(last.at);
        if age <= bounds.lease {
            return UserRead { made_do: true, ..UserRead::personalised(last.state, age, last.at) };
        }
        let Some(state) = last.state else { return UserRead::contextual(Some(why)) };
        if bounds.limit.is_some_and(|limit| age > limit) {
            return UserRead::contextual(Some(Degraded::StaleProfile));
        }
        if age > self.config.stale_limit {
            return UserRead::contextual(Some(why));
        }
        let (standing, staleness_ms) = (Standing::Stale, millis(age));
        UserRead {
            state: Some(state),
            known: true,
            standing,
            counted: true,
            degraded: Some(why),
            staleness_ms,
            merged_into,
            at: last.at,
            made_do: true,
        }
    }

    /// The present moment, to be taken before reading what a later [`Users::put`] is based on.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.memory.moment()
    }

    /// Takes a person as committed by this replica, based on what was read after `moment`. An
    /// older state never replaces a newer one, whichever comes first.
    pub fn put(&self, account: u32, uid: Uid, state: Arc<UserState>, moment: Moment) {
        self.memory.put(Key { account, uid }, state, moment);
    }

    /// Takes what this replica committed about a person: their traits and events as packed, at
    /// `version`, made from `base`. Lists and counters are those held with `base`; where another
    /// version is held, the person is read again at their next use.
    pub fn advance(&self, account: u32, uid: Uid, base: i64, version: i64, packed: &[u8]) {
        self.memory.advance(Key { account, uid }, base.unsigned_abs(), version.unsigned_abs(), packed);
    }

    /// What is held of a person is current no more, because this replica committed something about
    /// them whose outcome it does not know exactly, such as an impression. It is read again at its
    /// next use, and serves as the last known while that fails.
    pub fn forget(&self, account: u32, uid: Uid) {
        self.memory.forget(Key { account, uid });
    }

    /// A person changed somewhere, to `version`; what is held is current no more if it is older.
    pub fn on_remote_change(&self, account: u32, uid: Uid, version: i64) {
        self.memory.changed(Key { account, uid }, u64::try_from(version).unwrap_or_default());
    }

    /// A person was erased: nothing held of them is used again.
    pub fn on_erased(&self, account: u32, uid: Uid) {
        self.memory.erase(Key { account, uid });
    }

    /// Static lists of many people of an account changed, all between two of them; these are read
    /// again at their next use.
    pub fn on_lists(&self, account: u32, from: Uid, upto: Uid) {
        self.memory.lists_changed(account, from, upto);
    }

    /// Nothing held may be used any more: the server is another one, or changes may have been
    /// missed. Call it **after** taking the cursor to follow the feed from.
    pub fn forget_all(&self) {
        self.memory.forget_all();
    }

    /// Everything that was committed before `start` has been told: the start of a look at the
    /// feed, called after all it brought was passed on.
    pub fn prove(&self, start: Instant) {
        self.memory.prove(start);
    }

    /// The feed has told every change of transactions before this one, and the caches know them.
    pub fn note_told(&self, before: u64) {
        self.told.store(before, Ordering::Release);
    }

    /// Whether what is held reflects a transaction.
    #[must_use]
    pub fn was_told(&self, xid: u64) -> bool {
        xid < self.told.load(Ordering::Acquire)
    }

    /// Time since the feed last proved anything.
    #[must_use]
    pub fn proof_age(&self) -> Duration {
        self.memory.proof_age()
    }

    /// Whether the lease of the feed holds.
    #[must_use]
    pub fn lease_holds(&self) -> bool {
        self.proof_age() <= self.config.lease
    }

    /// People held, and their estimated bytes.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        self.memory.size()
    }
}
