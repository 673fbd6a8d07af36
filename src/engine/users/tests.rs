use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{
    domain::{audience::user::Lists, ids::NameHash, values::Span},
    engine::fakes::{FakeUsers, Fault},
    ports::UserRow,
    telemetry,
};

const BUDGET: Duration = Duration::from_millis(20);
const LEASE: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

struct World {
    store: Arc<FakeUsers>,
    users: Users,
}

fn world() -> World {
    let store = Arc::new(FakeUsers::default());
    store.set(Fault::Slow(MS));
    let config = UsersConfig { absent_keys: 1_000, ..UsersConfig::default() };
    let users = Users::new(config, store.clone(), &telemetry::metrics().0);
    World { store, users }
}

impl World {
    async fn get(&self, uid: u128) -> UserRead {
        self.get_with(uid, Freshness::default()).await
    }

    async fn get_with(&self, uid: u128, freshness: Freshness) -> UserRead {
        let deadline = Deadline::starting(Instant::now(), BUDGET);
        self.users.get(1, Uid(uid), Purposes::ALL, deadline, freshness).await
    }

    /// A good look at the feed that saw nothing.
    fn prove(&self) {
        self.users.prove(Instant::now());
    }
}

fn at_most(ms: i64) -> Freshness {
    Freshness { max_staleness_ms: Some(ms), strict: false }
}

fn version(read: &UserRead) -> Option<u64> {
    read.state.as_ref().map(|state| state.version)
}

fn state(version: u64) -> Arc<UserState> {
    Arc::new(UserState::decode(&[], version, Lists::default(), CapRing::default()).expect("nobody in particular"))
}

#[track_caller]
fn assert_stands(read: &UserRead, standing: Standing, degraded: Option<Degraded>) {
    assert_eq!((read.standing, read.degraded), (standing, degraded), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn fifty_callers_cost_one_read() {
    let world = world();
    world.store.write(1, 3);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let users = world.users.clone();
            let deadline = Deadline::starting(Instant::now(), BUDGET);
            tokio::spawn(async move { users.get(1, Uid(1), Purposes::ALL, deadline, Freshness::default()).await })
        })
        .collect();
    for caller in callers {
        let read = caller.await.expect("an answer");
        assert_stands(&read, Standing::Personalised, None);
        assert_eq!((version(&read), read.known), (Some(3), true));
    }
    assert_eq!(world.store.calls(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn keys_that_miss_together_are_read_together() {
    let world = world();
    (0..1_000).for_each(|uid| world.store.write(uid, 1));
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..1_000)
        .map(|uid| {
            let (users, answered) = (world.users.clone(), answered.clone());
            let deadline = Deadline::starting(Instant::now(), BUDGET);
            tokio::spawn(async move {
                let read = users.get(1, Uid(uid), Purposes::ALL, deadline, Freshness::default()).await;
                answered.fetch_add(usize::from(read.known), Ordering::SeqCst);
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("an answer");
    }
    assert_eq!(answered.load(Ordering::SeqCst), 1_000);
    let (calls, keys) = world.store.calls();
    assert!(calls <= 8 && keys == 1_000, "{calls} reads of {keys} keys");
}

#[tokio::test(start_paused = true)]
async fn a_lapsed_deadline_still_fills_the_cache() {
    let world = world();
    world.store.write(1, 3);
    world.store.set(Fault::Slow(100 * MS));
    let start = Instant::now();
    assert_stands(&world.get(1).await, Standing::Contextual, Some(Degraded::StoreTimeout));
    assert!(start.elapsed() <= BUDGET + 2 * MS);
    time::sleep(100 * MS).await;
    let read = world.get(1).await;
    assert_stands(&read, Standing::Personalised, None);
    assert_eq!((version(&read), world.store.calls().0), (Some(3), 1));
    assert_eq!(read.as_of(Millis(1_000)), Some(Millis(1_000 - read.staleness_ms)));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_cancels_nothing() {
    let world = world();
    world.store.write(1, 3);
    let users = world.users.clone();
    let deadline = Deadline::starting(Instant::now(), BUDGET);
    let caller = tokio::spawn(async move { users.get(1, Uid(1), Purposes::ALL, deadline, Freshness::default()).await });
    tokio::task::yield_now().await;
    caller.abort();
    time::sleep(5 * MS).await;
    assert_eq!(version(&world.get(1).await), Some(3));
    assert_eq!(world.store.calls().0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_passed_deadline_waits_for_nothing() {
    let world = world();
    world.store.write(1, 3);
    let deadline = Deadline::starting(Instant::now(), Duration::ZERO);
    let read = world.users.get(1, Uid(1), Purposes::ALL, deadline, Freshness::default()).await;
    assert_stands(&read, Standing::Contextual, Some(Degraded::Deadline));
    time::sleep(5 * MS).await;
    assert_stands(&world.get(1).await, Standing::Personalised, None);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_store_degrades_in_time_and_recovers() {
    let world = world();
    world.store.write(1, 3);
    world.get(1).await;
    time::sleep(LEASE + MS).await;
    world.store.set(Fault::Hang);
    for uid in 0..2_000 {
        let start = Instant::now();
        let read = world.get(uid % 40).await;
        assert!(start.elapsed() <= BUDGET + 2 * MS);
        let why = read.degraded.expect("something was given up");
        assert!(matches!(why, Degraded::StoreTimeout | Degraded::StoreUnavailable), "{why:?}");
        let standing = if uid % 40 == 1 { Standing::Stale } else { Standing::Contextual };
        assert_eq!(read.standing, standing);
        time::sleep(MS).await;
    }
    let start = Instant::now();
    let read = world.get(77).await;
    assert_stands(&read, Standing::Contextual, Some(Degraded::StoreUnavailable));
    assert_eq!(start.elapsed(), Duration::ZERO, "nobody waits for a store that is known to be down");

    world.store.set(Fault::None);
    world.store.write(1, 4);
    time::sleep(Duration::from_millis(1_300)).await;
    world.get(5).await;
    time::sleep(10 * MS).await;
    let read = world.get(1).await;
    assert_stands(&read, Standing::Personalised, None);
    assert_eq!(version(&read), Some(4));
    assert!(!world.get(78).await.known);
    assert_stands(&world.get(79).await, Standing::Personalised, None);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_is_tried_seldom() {
    let world = world();
    world.store.set(Fault::Unavailable);
    for uid in 0..5_000 {
        assert_stands(&world.get(uid).await, Standing::Contextual, Some(Degraded::StoreUnavailable));
        time::sleep(MS).await;
    }
    assert!((5..40).contains(&world.store.calls().0), "{:?}", world.store.calls());
    world.store.set(Fault::None);
    let start = Instant::now();
    while world.get(9_999).await.standing != Standing::Personalised {
        time::sleep(MS).await;
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_still_fills_the_cache() {
    let world = world();
    (0..100).for_each(|uid| world.store.write(uid, 1));
    world.store.set(Fault::Slow(Duration::from_millis(500)));
    for round in 0..400 {
        world.prove();
        world.get(round % 100).await;
        time::sleep(10 * MS).await;
    }
    world.prove();
    for uid in 0..100 {
        assert_stands(&world.get(uid).await, Standing::Personalised, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_profile_is_current_only_as_long_as_its_lease() {
    let world = world();
    world.store.write(1, 1);
    world.prove();
    world.get(1).await;
    let read_at = Instant::now();
    world.store.set(Fault::Hang);
    // The feed is frozen too: nothing proves anything from here on.
    while read_at.elapsed() < Duration::from_secs(3) {
        let read = world.get(1).await;
        let age = read_at.elapsed();
        match read.standing {
            Standing::Personalised => assert!(age <= LEASE, "{age:?}"),
            Standing::Stale => {
                assert!(age > LEASE, "{age:?}");
                assert!(read.staleness_ms >= age.as_millis() as i64);
            }
            Standing::Contextual => panic!("the last known profile is young enough"),
        }
        time::sleep(7 * MS).await;
    }
    world.prove();
    assert_stands(&world.get(1).await, Standing::Personalised, None);
    time::sleep(Duration::from_secs(601)).await;
    let read = world.get(1).await;
    assert_eq!(read.standing, Standing::Contextual, "past the limit of stale profiles");
}

#[tokio::test(start_paused = true)]
async fn past_the_lease_one_direct_read_is_tried() {
    let world = world();
    world.store.write(1, 1);
    world.get(1).await;
    world.store.write(1, 2);
    time::sleep(LEASE + MS).await;
    let read = world.get(1).await;
    assert_stands(&read, Standing::Personalised, None);
    assert_eq!(version(&read), Some(2));
}

#[tokio::test(start_paused = true)]
async fn nothing_older_than_asked_for_is_used() {
    let world = world();
    world.store.write(1, 1);
    world.get(1).await;
    time::sleep(300 * MS).await;
    world.store.set(Fault::Hang);
    let strict = Freshness { strict: true, max_staleness_ms: None };
    for freshness in [at_most(100), at_most(0), at_most(-5), strict] {
        let read = world.get_with(1, freshness).await;
        assert_stands(&read, Standing::Contextual, Some(Degraded::StaleProfile));
        assert!(read.state.is_none() && !read.known);
    }
    assert_stands(&world.get_with(1, at_most(500)).await, Standing::Personalised, None);
    time::sleep(LEASE).await;
    assert_eq!(world.get_with(1, at_most(5_000)).await.standing, Standing::Stale);
    assert_stands(&world.get_with(1, at_most(1_000)).await, Standing::Contextual, Some(Degraded::StaleProfile));
}

#[tokio::test(start_paused = true)]
async fn asking_for_no_staleness_reads_anew() {
    let world = world();
    world.store.write(1, 1);
    world.get(1).await;
    world.store.write(1, 2);
    time::sleep(MS).await;
    let read = world.get_with(1, at_most(0)).await;
    assert_stands(&read, Standing::Personalised, None);
    assert_eq!(version(&read), Some(2));
}

#[tokio::test(start_paused = true)]
async fn without_the_purpose_nothing_is_touched() {
    let world = world();
    world.store.write(1, 1);
    world.get(1).await;
    let before = world.store.calls();
    let closed = Purposes { profile_read: false, basic: false, ..Purposes::ALL };
    for purposes in [Purposes::NONE, closed] {
        for uid in [1, 2] {
            let deadline = Deadline::starting(Instant::now(), BUDGET);
            let read = world.users.get(1, Uid(uid), purposes, deadline, Freshness::default()).await;
            assert_stands(&read, Standing::Contextual, Some(Degraded::NoConsent));
            assert!(read.state.is_none() && !read.known && !read.counted);
        }
    }
    time::sleep(LEASE).await;
    assert_eq!(world.store.calls(), before);
}

#[tokio::test(start_paused = true)]
async fn without_the_basic_purpose_there_are_no_counters() {
    let world = world();
    let mut caps = CapRing::default();
    caps.absorb(NameHash(1), Millis(5), Span::from_millis(1_000));
    let (packed, caps) = (vec![], caps.encode());
    world
        .store
        .write_row(1, UserRow { version: 1, packed, caps, lists: vec![(NameHash(9), None).into()], merged_into: None });
    let read = world.get(1).await;
    assert_eq!(read.state.expect("a person").caps.count_since(NameHash(1), Millis(0)), 1);
    let deadline = Deadline::starting(Instant::now(), BUDGET);
    let purposes = Purposes { basic: true, ..Purposes::NONE };
    for (uid, times) in [(1, Some(1)), (2, None)] {
        let read = world.users.get(1, Uid(uid), purposes, deadline, Freshness::default()).await;
        assert_stands(&read, Standing::Contextual, Some(Degraded::NoConsent));
        assert!(read.counted && !read.known, "counters alone were read, of somebody or nobody");
        let state = read.state.as_ref();
        assert_eq!(state.map(|state| state.caps.count_since(NameHash(1), Millis(0))), times);
        assert!(state.is_none_or(|state| state.lists == Lists::default()), "and nothing else");
    }
    let purposes = Purposes { basic: false, ..Purposes::ALL };
    let state = world.users.get(1, Uid(1), purposes, deadline, Freshness::default()).await.state.expect("a person");
    assert!(state.caps.is_empty());
    assert_eq!(state.lists, Lists::new([(NameHash(9), None)]));
    assert!(!world.get(1).await.state.expect("a person").caps.is_empty(), "the cache keeps them");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_remembered_until_it_changes() {
    let world = world();
    for _ in 0..3 {
        let read = world.get(1).await;
        assert_stands(&read, Standing::Personalised, None);
        assert!(!read.known && read.state.is_none());
    }
    assert_eq!(world.store.calls().0, 1);
    world.store.write(1, 1);
    world.users.on_remote_change(1, Uid(1), 1);
    assert!(world.get(1).await.known);
    assert!(!world.get(2).await.known);
    world.store.write(2, 1);
    world.users.on_lists(1, Uid(0), Uid(u128::MAX));
    assert!(world.get(2).await.known, "being listed makes a person known");
}

#[tokio::test(start_paused = true)]
async fn only_older_people_are_dropped() {
    let world = world();
    world.store.write(1, 5);
    world.get(1).await;
    world.users.on_remote_change(1, Uid(1), 4);
    world.users.on_remote_change(1, Uid(1), 5);
    world.get(1).await;
    assert_eq!(world.store.calls().0, 1);
    world.store.write(1, 6);
    world.users.on_remote_change(1, Uid(1), 6);
    assert_eq!(version(&world.get(1).await), Some(6));
}

#[tokio::test(start_paused = true)]
async fn a_read_overtaken_by_a_change_is_not_kept() {
    let world = world();
    world.store.write(1, 1);
    let users = world.users.clone();
    let deadline = Deadline::starting(Instant::now(), BUDGET);
    let caller = tokio::spawn(async move { users.get(1, Uid(1), Purposes::ALL, deadline, Freshness::default()).await });
    time::sleep(Duration::from_micros(500)).await;
    world.store.write(1, 2);
    world.users.on_remote_change(1, Uid(1), 2);
    assert_eq!(version(&caller.await.expect("an answer")), Some(2), "the same request reads again");
    assert_eq!(version(&world.get(1).await), Some(2));
    assert_eq!(world.store.calls().0, 2);

    // The same for a person who appears, and for one who is erased.
    for (uid, erased) in [(2, false), (3, true)] {
        if erased {
            world.store.write(uid, 7);
        }
        let users = world.users.clone();
        let deadline = Deadline::starting(Instant::now(), BUDGET);
        let caller =
            tokio::spawn(async move { users.get(1, Uid(uid), Purposes::ALL, deadline, Freshness::default()).await });
        time::sleep(Duration::from_micros(500)).await;
        if erased {
            world.store.erase_row(uid);
            world.users.on_erased(1, Uid(uid));
        } else {
            world.store.write(uid, 1);
            world.users.on_remote_change(1, Uid(uid), 1);
        }
        assert_eq!(caller.await.expect("an answer").known, !erased);
        assert_eq!(world.get(uid).await.known, !erased);
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_read_never_replaces_what_was_written_here() {
    let world = world();
    world.store.write(1, 1);
    world.store.set(Fault::Slow(10 * MS));
    let moment = world.users.moment();
    let users = world.users.clone();
    let deadline = Deadline::starting(Instant::now(), BUDGET);
    let caller = tokio::spawn(async move { users.get(1, Uid(1), Purposes::ALL, deadline, Freshness::default()).await });
    time::sleep(MS).await;
    world.store.write(1, 2);
    world.users.put(1, Uid(1), state(2), moment);
    caller.await.expect("an answer");
    assert_eq!(version(&world.get(1).await), Some(2));
    let calls = world.store.calls().0;
    world.users.on_remote_change(1, Uid(1), 2);
    world.get(1).await;
    assert_eq!(world.store.calls().0, calls, "the feed's echo drops nothing");

    world.users.put(1, Uid(1), state(1), world.users.moment());
    assert_eq!(version(&world.get(1).await), Some(2), "nor does an older write");
    world.users.on_remote_change(1, Uid(1), 4);
    world.users.put(1, Uid(1), state(3), moment);
    world.store.write(1, 4);
    assert_eq!(version(&world.get(1).await), Some(4), "nor one that was overtaken elsewhere");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_could_not_be_read_anew_does_not_reflect_what_was_told() {
    let world = world();
    world.store.write(1, 1);
    world.prove();
    assert!(world.get(1).await.reflects_told());
    world.store.write(1, 2);
    world.users.on_remote_change(1, Uid(1), 2);
    world.store.set(Fault::Unavailable);
    let read = world.get(1).await;
    assert_stands(&read, Standing::Personalised, None);
    assert_eq!((version(&read), read.reflects_told()), (Some(1), false));
    world.store.set(Fault::None);
    time::sleep(Duration::from_secs(5)).await;
    world.prove();
    let read = world.get(1).await;
    assert_eq!((version(&read), read.reflects_told()), (Some(2), true));
}

#[tokio::test(start_paused = true)]
async fn what_was_forgotten_is_read_again() {
    let world = world();
    world.store.write(1, 1);
    world.get(1).await;
    time::sleep(MS).await;
    world.users.forget(1, Uid(1));
    world.store.write(1, 2);
    time::sleep(MS).await;
    assert_eq!(version(&world.get(1).await), Some(2));
    world.get(1).await;
    assert_eq!(world.store.calls().0, 2);
}

#[tokio::test(start_paused = true)]
async fn who_changed_is_the_last_known_while_they_cannot_be_read_again() {
    let world = world();
    world.prove();
    for uid in 1..=3 {
        world.store.write(uid, 1);
        world.get(uid).await;
    }
    time::sleep(LEASE / 2).await;
    world.prove();
    world.users.forget(1, Uid(1));
    world.users.on_remote_change(1, Uid(2), 2);
    world.users.on_erased(1, Uid(3));
    (1..=2).for_each(|uid| world.store.write(uid, 2));
    world.store.set(Fault::Hang);
    time::sleep(LEASE + MS).await;
    // what the feed proves from now on is not about them
    world.prove();
    for uid in 1..=2 {
        let read = world.get(uid).await;
        assert_eq!((read.standing, version(&read)), (Standing::Stale, Some(1)), "{read:?}");
        assert!(read.staleness_ms > 1_000, "since the last proof before the change: {read:?}");
    }
    let erased = world.get(3).await;
    assert!(erased.standing == Standing::Contextual && erased.state.is_none(), "{erased:?}");
    world.store.set(Fault::None);
    time::sleep(5 * LEASE).await;
    for uid in 1..=2 {
        assert_eq!(version(&world.get(uid).await), Some(2));
    }
}

#[tokio::test(start_paused = true)]
async fn lists_of_many_are_read_again_and_the_old_ones_serve_meanwhile() {
    let world = world();
    world.store.write(1, 1);
    world.get(1).await;
    world.prove();
    world.users.on_lists(1, Uid(0), Uid(u128::MAX));
    let lists = vec![(NameHash(9), None).into()];
    world.store.write_row(1, UserRow { version: 1, packed: vec![], caps: vec![], lists, merged_into: None });
    assert!(world.get(1).await.state.expect("a person").lists.get(NameHash(9)).is_some());
    world.users.on_lists(1, Uid(0), Uid(u128::MAX));
    world.store.set(Fault::Hang);
    time::sleep(LEASE + MS).await;
    world.prove();
    let read = world.get(1).await;
    assert_stands(&read, Standing::Stale, Some(Degraded::StoreTimeout));
    assert!(read.staleness_ms > 1_000, "the feed's proof does not cover what it said has changed");
}

#[tokio::test(start_paused = true)]
async fn another_server_drops_everything() {
    let world = world();
    world.store.write(1, 9);
    world.get(1).await;
    world.get(2).await;
    // A read under way on the old server.
    world.store.write(3, 9);
    world.store.set(Fault::Slow(100 * MS));
    world.get(3).await;
    world.users.forget_all();
    world.store.set(Fault::Slow(MS));
    (1..=3).for_each(|uid| world.store.write(uid, 5));
    time::sleep(200 * MS).await;
    for uid in 1..=3 {
        assert_eq!(version(&world.get(uid).await), Some(5), "person {uid}");
    }
    world.users.forget_all();
    world.store.set(Fault::Hang);
    assert_stands(&world.get(1).await, Standing::Contextual, Some(Degraded::StoreTimeout));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_profile_harms_nobody_else() {
    let world = world();
    world.store.write_row(1, UserRow { version: 1, packed: vec![255], caps: vec![], lists: vec![], merged_into: None });
    world.store.write(2, 1);
    for _ in 0..10 {
        assert_stands(&world.get(1).await, Standing::Contextual, Some(Degraded::StoreUnavailable));
        assert_stands(&world.get(2).await, Standing::Personalised, None);
    }
}

#[tokio::test(start_paused = true)]
async fn memory_stays_within_its_bound() {
    let store = Arc::new(FakeUsers::default());
    let config = UsersConfig { cache_bytes: 100_000, absent_keys: 1_000, ..UsersConfig::default() };
    let users = Users::new(config, store, &telemetry::metrics().0);
    for uid in 0..5_000 {
        users.put(1, Uid(uid), state(1), users.moment());
    }
    let (people, bytes) = users.size();
    assert!(people > 50 && bytes <= 100_000, "{people} people, {bytes} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_panics_harms_nobody_else() {
    let world = world();
    world.store.write(1, 1);
    world.store.set(Fault::Panic);
    for _ in 0..10 {
        let start = Instant::now();
        assert_stands(&world.get(1).await, Standing::Contextual, Some(Degraded::StoreUnavailable));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
    world.store.set(Fault::None);
    time::sleep(LEASE).await;
    world.get(1).await;
    time::sleep(MS).await;
    assert_stands(&world.get(1).await, Standing::Personalised, None);
}

/// The row that is found under a key which leads to a person.
fn leading(person: u128, version: i64) -> UserRow {
    UserRow { version, packed: vec![], caps: vec![], lists: vec![], merged_into: Some(Uid(person)) }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_merged_is_held_as_the_person_it_leads_to() {
    let world = world();
    world.store.write(1, 4);
    world.store.write(2, 7);
    assert_eq!((version(&world.get(1).await), world.get(1).await.merged_into), (Some(4), None));
    // merged elsewhere, and told by the feed
    world.store.write(2, 8);
    world.store.write_row(1, leading(2, 8));
    world.users.on_remote_change(1, Uid(1), 5);
    world.users.on_remote_change(1, Uid(2), 8);
    for _ in 0..3 {
        let read = world.get(1).await;
        assert_eq!((version(&read), read.merged_into), (Some(8), Some(Uid(2))));
        assert_stands(&read, Standing::Personalised, None);
    }
    assert_eq!((version(&world.get(2).await), world.get(2).await.merged_into), (Some(8), None));
    assert_eq!(world.store.calls(), (2, 2), "one read brings both keys");
    // whatever changes of the person is seen under the key
    world.store.write(2, 9);
    world.users.on_remote_change(1, Uid(2), 9);
    let read = world.get(1).await;
    assert_eq!((version(&read), read.merged_into), (Some(9), Some(Uid(2))));
    world.store.write(2, 10);
    world.users.forget(1, Uid(1));
    assert_eq!(version(&world.get(2).await), Some(10), "what is forgotten of the key is forgotten of the person");
    // the person turns out to be a third
    world.store.write(3, 12);
    world.store.write_row(2, leading(3, 12));
    world.store.write_row(1, leading(3, 12));
    world.users.on_remote_change(1, Uid(2), 11);
    world.users.on_remote_change(1, Uid(3), 12);
    let read = world.get(1).await;
    assert_eq!((version(&read), read.merged_into), (Some(12), Some(Uid(3))));
    for uid in 1..=3 {
        world.store.erase_row(uid);
        world.users.on_erased(1, Uid(uid));
    }
    assert!(!world.get(1).await.known && !world.get(2).await.known);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_leads_elsewhere_serves_the_last_known_person() {
    let world = world();
    world.store.write(2, 7);
    world.store.write_row(1, leading(2, 7));
    world.get(1).await;
    world.store.set(Fault::Unavailable);
    world.users.on_remote_change(1, Uid(2), 8);
    time::sleep(LEASE * 2).await;
    let read = world.get(1).await;
    assert_eq!((read.standing, version(&read), read.merged_into), (Standing::Stale, Some(7), Some(Uid(2))));
}
