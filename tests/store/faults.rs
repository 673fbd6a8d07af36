//! Servers that are absent, frozen, read-only or started by several at once.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, query, query_scalar};
use tessera::{
    domain::{
        catalog::key::Kind,
        ids::{Uid, UserKey},
    },
    ports::{AccountRow, Change, ProfileWritten, StoreError},
    store::{Opened, Options, open},
};

use crate::{
    catalog::commit,
    family::family,
    people::{load, traits},
    suite::{Place, position, recovered, somebody, url_of, write},
};

/// An empty database beside the place's, dropped by the caller.
async fn fresh(place: &Place, name: &str) -> Place {
    let mut connection = place.connect().await;
    query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await.expect("a database");
    let options: sqlx::postgres::PgConnectOptions = place.url.parse().expect("a URL");
    Place { url: url_of(&options.database(name)), data: None }
}

async fn discard(place: &Place, name: &str) {
    let mut connection = place.connect().await;
    query(AssertSqlSafe(format!("drop database {name} with (force)"))).execute(&mut connection).await.expect("dropped");
}

pub(crate) async fn processes_that_migrate_at_once_do_it_once(place: Arc<Place>) {
    let other = fresh(&place, "tessera_migrations").await;
    let stores: Vec<_> = (0..4).map(|_| other.open()).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for store in &stores {
        let store = store.clone();
        tasks.spawn(async move { store.migrate().await });
    }
    for migrated in tasks.join_all().await {
        migrated.expect("migrated");
    }
    let mut connection = other.connect().await;
    let (steps, accounts): (i64, i64) =
        query_scalar("select ((select count(*) from _sqlx_migrations where success), (select count(*) from account))")
            .fetch_one(&mut connection)
            .await
            .expect("counts");
    assert!(steps >= 4 && accounts == 1, "{steps} migrations, {accounts} accounts");
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).expect("a folder").count();
    assert_eq!(steps, files as i64);
    connection.close().await.expect("closed");
    discard(&place, "tessera_migrations").await;
}

pub(crate) async fn a_read_only_server_is_unavailable(place: Arc<Place>) {
    let other = fresh(&place, "tessera_read_only").await;
    let (store, account) = {
        other.open().migrate().await.expect("migrated");
        other.account().await
    };
    let mut connection = place.connect().await;
    query("alter database tessera_read_only set default_transaction_read_only = on")
        .execute(&mut connection)
        .await
        .expect("read-only");
    let store_before = store;
    let store = other.open();
    let (key, uid) = somebody(&account);
    let refused = store.users.write_profiles(account.number, vec![traits(&key, uid, 0, 1)]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(load(&store, &account, uid).await, None);
    query("alter database tessera_read_only reset default_transaction_read_only")
        .execute(&mut connection)
        .await
        .expect("writable");
    // The connection that met the read-only server was not kept.
    store.users.write_profiles(account.number, vec![traits(&key, uid, 0, 1)]).await.expect("written");
    // A server that ends its connections is met once per connection, and then no more.
    query("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'tessera_read_only'")
        .execute(&mut connection)
        .await
        .expect("ended");
    let began = Instant::now();
    for store in [&store, &store_before] {
        while let Err(error) = store.catalog.accounts().await.and(store.users.load(vec![]).await) {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
            assert!(began.elapsed() < Duration::from_secs(20));
        }
    }
    discard(&place, "tessera_read_only").await;
}

pub(crate) async fn an_absent_server_is_unavailable(place: Arc<Place>) {
    assert!(matches!(open(&Options::new("not a URL")), Err(StoreError::Refused(_))));
    let nowhere = tempfile::tempdir().expect("a folder");
    for url in [
        format!("postgresql://nobody@localhost/none?host={}", nowhere.path().display()),
        "postgresql://nobody@127.0.0.1:1/none".into(),
    ] {
        let store = open(&Options::new(url)).expect("the URL is fine");
        let began = Instant::now();
        let error = store.users.load(vec![]).await.expect_err("nobody answers");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        for error in [
            store.users.load(vec![]).await.expect_err("nobody answers"),
            store.feed.poll(None).await.expect_err("nobody answers"),
            store.migrate().await.expect_err("nobody answers"),
        ] {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        }
        // a caller waits for some 20 ms; whoever waits for a place in a pool waits for more than 2 s in all
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    drop(place);
}

pub(crate) async fn a_dropped_answer_does_no_harm(place: Arc<Place>) {
    let (store, account) = place.account().await;
    for round in 0..100_u64 {
        let (key, uid) = somebody(&account);
        let limit = Duration::from_micros(round * 40);
        let write = store.users.write_profiles(account.number, vec![traits(&key, uid, 0, 1)]);
        let written = tokio::time::timeout(limit, write).await;
        if let Ok(written) = written {
            written.expect("an answer");
            assert!(load(&store, &account, uid).await.is_some());
        }
    }
    let version = commit(&store, account.number, 0, vec![write(Kind::Advertiser, "brand", json!({}), &[])]).await;
    assert_eq!(version, 1);
}

pub(crate) async fn a_stopped_server_costs_no_more_than_the_limit(place: Arc<Place>) {
    let Some(postmaster) = place.postmaster() else { return };
    let (store, account) = place.account().await;
    let (key, uid) = somebody(&account);
    store.users.write_profiles(account.number, vec![traits(&key, uid, 0, 1)]).await.expect("an answer");
    load(&store, &account, uid).await.expect("a person");
    let cursor = position(&store).await;
    let processes = family(postmaster);
    assert!(processes.len() > 3, "the server and what it started: {processes:?}");
    // a worker of the server may have ended by itself since
    let signal = |signal| {
        let told = processes.iter().filter(|&&pid| kill(Pid::from_raw(pid), signal).is_ok()).count();
        assert!(told > 2, "{told} of {processes:?}");
    };

    signal(Signal::SIGSTOP);
    let ask = async |replica: &Opened| {
        let began = Instant::now();
        let loads = (0..8).map(|_| {
            let (store, number) = (replica.clone(), account.number);
            tokio::spawn(async move { store.users.load(vec![(number, uid)]).await })
        });
        let mut answers = Vec::new();
        for load in loads.collect::<Vec<_>>() {
            answers.push(load.await.expect("no panic").map(drop));
        }
        answers.push(replica.feed.poll(Some(cursor.clone())).await.map(drop));
        (answers, began.elapsed())
    };
    let (known, took) = ask(&store).await;
    let (unknown, took_longer) = ask(&place.open()).await;
    signal(Signal::SIGCONT);
    for answer in &known {
        assert!(matches!(answer, Err(StoreError::Timeout(_) | StoreError::Busy)), "{answer:?}");
    }
    for answer in &unknown {
        assert!(
            matches!(answer, Err(StoreError::Timeout(_) | StoreError::Busy | StoreError::Unavailable(_))),
            "{answer:?}"
        );
    }
    assert!(took.max(took_longer) < Duration::from_secs(8), "{took:?} {took_longer:?}");

    recovered(|| store.users.load(vec![(account.number, uid)])).await;
    assert!(!recovered(|| store.feed.poll(Some(cursor.clone()))).await.failed_over);
}

/// A server that crashes loses transactions that wrote nothing, and hands out their ids again: below
/// the position of readers who knew of them.
pub(crate) async fn a_crashed_server_forgets_nothing_and_hides_nothing(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (key, uid) = somebody(&account);
    let (mut version, mut below) = (0, 0);
    for _ in 0..20 {
        let Some(postmaster) = place.postmaster() else { return };
        version += 1;
        rewrite(&store, &account, &key, uid, version).await;
        let mut connection = place.connect().await;
        for _ in 0..300 {
            query("select pg_current_xact_id()").execute(&mut connection).await.expect("a transaction");
        }
        let cursor = recovered(|| store.feed.poll(None)).await.cursor;
        for pid in family(postmaster) {
            // One may end before its turn comes.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        // Each lane finds out by itself that its connections are gone.
        version += 1;
        rewrite(&store, &account, &key, uid, version).await;
        let loaded = recovered(|| store.users.load(vec![(account.number, uid)])).await;
        assert_eq!(loaded[0].1.version, version, "what was acknowledged");
        let batch = recovered(|| store.feed.poll(Some(cursor.clone()))).await;
        let change = Change::Person { account: account.number, uid, version };
        assert!(batch.failed_over || batch.changes.contains(&change), "{change:?} in {:?}", batch.changes);
        let told_below: bool = query_scalar("select max(xid) < $1::text::xid8 from change_log where uid = $2")
            .bind(&cursor.low)
            .bind(uid.as_uuid())
            .fetch_one(&mut place.connect().await)
            .await
            .expect("a comparison");
        below += u32::from(told_below);
        if below > 1 {
            return;
        }
    }
    panic!("no id was handed out again: the check shows nothing");
}

/// Changes a person to `version`, whatever connections are lost meanwhile.
async fn rewrite(store: &Opened, account: &AccountRow, key: &UserKey, uid: Uid, version: i64) {
    let change = traits(key, uid, version - 1, 1);
    let written = recovered(|| store.users.write_profiles(account.number, vec![change.clone()])).await;
    match written.as_slice() {
        [ProfileWritten::Done { .. }] => {}
        // The answer to an earlier attempt was lost on the way.
        [ProfileWritten::Moved] => {
            let loaded = recovered(|| store.users.load(vec![(account.number, uid)])).await;
            assert_eq!(loaded[0].1.version, version, "written once");
        }
        other => panic!("{other:?}"),
    }
}
