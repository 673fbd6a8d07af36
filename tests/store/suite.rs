//! The list of checks and what they share.

use std::{
    fs,
    future::Future,
    panic::AssertUnwindSafe,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tessera::{
    domain::{
        catalog::key::{DocumentKey, Kind},
        ids::{DecisionId, Uid, UserKey},
        values::Millis,
    },
    ports::{AccountRow, Change, Cursor, DocumentWrite, StoreError},
    store::{Opened, Options, open},
};
use uuid::Uuid;

use crate::{catalog, events, faults, feed, identity, lessons, outcomes, people, standings, webhooks};

/// A check: an async function over the place, boxed so that all fit one list.
type Check = fn(Arc<Place>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! checks {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), |place| Box::pin($module::$name(place)))),+]
    };
}

const CHECKS: &[(&str, Check)] = checks![
    faults::processes_that_migrate_at_once_do_it_once,
    catalog::of_two_writers_one_has_to_read_again,
    catalog::an_image_that_goes_meanwhile_is_missed_at_the_commit,
    catalog::references_lead_somewhere_and_hold_what_they_name,
    catalog::a_commit_is_all_or_nothing_whatever_its_size,
    catalog::old_versions_read_as_they_were,
    catalog::changes_are_the_difference_of_two_readings,
    catalog::documents_come_back_as_they_went_in,
    catalog::keys_and_secrets,
    people::are_loaded_many_at_a_time_and_by_key,
    people::are_written_by_whoever_knows_their_newest_version,
    people::are_moved_in_and_out_of_lists,
    people::are_uploaded_to_lists_in_bulk,
    people::move_once_whoever_else_moves_them,
    people::leave_a_list_that_is_deleted,
    people::leave_a_large_list_after_it_is_deleted,
    people::are_named_in_no_answer_once_erased,
    people::once_erased_stay_away,
    people::are_erased_for_good_while_others_write,
    identity::two_keys_become_one_person,
    identity::whatever_comes_later_is_about_the_person,
    identity::a_merge_is_refused_where_it_must_be,
    identity::who_is_known_is_claimed_by_nobody,
    identity::nothing_is_lost_or_doubled_beside_other_writers,
    outcomes::count_once_however_often_they_are_told,
    outcomes::come_back_as_they_went_in,
    outcomes::count_towards_caps_once_and_none_is_lost,
    outcomes::records_are_kept_until_erased_or_old,
    outcomes::never_lack_a_partition_and_go_when_they_are_old,
    events::count_once_however_often_they_are_sent,
    events::lose_nothing_beside_other_writers,
    events::too_late_are_kept_and_not_applied,
    events::do_not_bring_the_erased_back,
    events::wait_for_replicas_that_know_all_streams,
    events::give_a_new_stream_its_history_once,
    events::never_lack_a_partition_and_go_when_they_are_old,
    events::upkeep_goes_on_beside_a_step_that_fails,
    webhooks::are_changed_by_whoever_knows_their_version,
    webhooks::hand_a_batch_to_one_until_it_is_accepted,
    webhooks::miss_nothing_beside_a_long_writer,
    lessons::are_learned_from_by_one_and_nobody_waits,
    lessons::of_decisions_are_read_evenly_where_they_are_old_enough,
    standings::are_kept_with_what_is_told_or_not_at_all,
    standings::steps_of_many_replicas_at_once_are_taken_once,
    standings::who_leaves_a_list_when_their_time_is_over_is_told_once,
    standings::a_wave_of_those_whose_time_is_over_is_told_page_by_page,
    feed::starts_with_a_position_and_tells_each_kind_of_change,
    feed::loses_nothing_beside_a_long_writer,
    feed::starts_anew_on_another_server_or_when_too_far_behind,
    faults::a_read_only_server_is_unavailable,
    faults::an_absent_server_is_unavailable,
    faults::a_dropped_answer_does_no_harm,
    faults::a_stopped_server_costs_no_more_than_the_limit,
    faults::a_crashed_server_forgets_nothing_and_hides_nothing,
];

/// A backend under test.
pub(crate) struct Place {
    /// Where its database is.
    pub(crate) url: String,
    /// Its data folder, where the server is ours to stop.
    pub(crate) data: Option<PathBuf>,
}

impl Place {
    /// The ports, opened anew as another replica would.
    pub(crate) fn open(&self) -> Opened {
        open(&Options::new(&self.url)).expect("the URL is fine")
    }

    /// The ports and an account that no other check uses.
    pub(crate) async fn account(&self) -> (Opened, AccountRow) {
        let store = self.open();
        let name = format!("a-{}", Uuid::now_v7().simple());
        let account = store.catalog.create_account(name.parse().expect("an id")).await.expect("an account");
        (store, account)
    }

    /// The server's main process, where it is ours to stop.
    pub(crate) fn postmaster(&self) -> Option<i32> {
        let text = fs::read_to_string(self.data.as_ref()?.join("pg/postmaster.pid")).expect("a running server");
        Some(text.lines().next().and_then(|line| line.parse().ok()).expect("a number"))
    }

    /// A connection past the ports.
    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("the server answers")
    }
}

/// A runtime for one test.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// The URL behind options that were changed.
pub(crate) fn url_of(options: &PgConnectOptions) -> String {
    options.to_url_lossy().into()
}

/// Runs every check, each to its end, and fails with the names of those that failed.
pub(crate) fn run(place: Arc<Place>) {
    let runtime = runtime();
    runtime.block_on(async { place.open().migrate().await.expect("the schema") });
    let only = std::env::var("TESSERA_TEST_ONLY").unwrap_or_default();
    let mut failed = Vec::new();
    for (name, check) in CHECKS.iter().filter(|(name, _)| name.contains(&only)) {
        let began = Instant::now();
        let run = || runtime.block_on(check(Arc::clone(&place)));
        if std::panic::catch_unwind(AssertUnwindSafe(run)).is_err() {
            failed.push(*name);
        }
        eprintln!("{name}: {:?}", began.elapsed());
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// The time of day.
pub(crate) fn now() -> Millis {
    Millis(SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_millis() as i64)
}

/// A person nobody has seen.
pub(crate) fn somebody(account: &AccountRow) -> (UserKey, Uid) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let key: UserKey = format!("u-{}", NEXT.fetch_add(1, Ordering::Relaxed)).parse().expect("a key");
    let uid = Uid::of(&account.secret, &key);
    (key, uid)
}

/// A decision made at an instant.
pub(crate) fn decision(at: Millis) -> DecisionId {
    let random = Uuid::now_v7().as_u128() & ((1 << 80) - 1);
    DecisionId(Uuid::from_u128((at.0 as u128) << 80 | random))
}

/// A document to write.
pub(crate) fn write(kind: Kind, id: &str, body: serde_json::Value, refs: &[(Kind, &str)]) -> DocumentWrite {
    let refs = refs.iter().map(|&(kind, id)| DocumentKey::new(kind, id)).collect();
    DocumentWrite { key: DocumentKey::new(kind, id), body: Some(body), refs }
}

/// A document to delete.
pub(crate) fn delete(kind: Kind, id: &str) -> DocumentWrite {
    DocumentWrite { key: DocumentKey::new(kind, id), body: None, refs: Vec::new() }
}

/// Everything the feed tells from `cursor` until `enough` is.
pub(crate) async fn told(
    store: &Opened,
    cursor: &mut Cursor,
    mut enough: impl FnMut(&[Change]) -> bool,
) -> Vec<Change> {
    let (began, mut all) = (Instant::now(), Vec::new());
    while !enough(&all) {
        assert!(began.elapsed() < Duration::from_secs(20), "not told within 20 s, only {all:?}");
        let batch = recovered(|| store.feed.poll(Some(cursor.clone()))).await;
        assert!(!batch.failed_over, "nothing happened to the server");
        *cursor = batch.cursor;
        all.extend(batch.changes);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    all
}

/// An answer, once there is a connection to ask on: on a machine that does other work as well, all may be
/// taken for longer than a caller waits.
pub(crate) async fn served<T, F: Future<Output = Result<T, StoreError>>>(ask: impl Fn() -> F) -> T {
    patiently(ask, |error| matches!(error, StoreError::Busy)).await
}

/// An answer to what does no harm when it is asked twice, once the server answers in time and no connection is left
/// of those that were lost: each is met by somebody, once.
pub(crate) async fn recovered<T, F: Future<Output = Result<T, StoreError>>>(ask: impl Fn() -> F) -> T {
    patiently(ask, StoreError::is_passing).await
}

/// An answer that is none of the `passing` errors.
async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
    ask: impl Fn() -> F,
    passing: impl Fn(&StoreError) -> bool,
) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Err(error) if passing(&error) && began.elapsed() < Duration::from_secs(30) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answer => return answer.expect("an answer"),
        }
    }
}

/// Where to read on from now.
pub(crate) async fn position(store: &Opened) -> Cursor {
    recovered(|| store.feed.poll(None)).await.cursor
}
