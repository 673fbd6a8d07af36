//! The change feed.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use sqlx::query;
use tessera::{
    domain::{catalog::key::Kind, ids::Uid},
    ports::{Change, Cursor, ProfileWritten, ServerIdentity},
};

use crate::{
    catalog::commit,
    people::traits,
    suite::{Place, position, recovered, somebody, told, write},
};

pub(crate) async fn starts_with_a_position_and_tells_each_kind_of_change(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let first = recovered(|| store.feed.poll(None)).await;
    assert!(!first.failed_over && first.changes.is_empty());
    let mut cursor = first.cursor;
    commit(&store, account.number, 0, vec![write(Kind::Advertiser, "brand", json!({}), &[])]).await;
    let (key, uid) = somebody(&account);
    store.users.write_profiles(account.number, vec![traits(&key, uid, 0, 1)]).await.expect("an answer");
    store.users.erase(account.number, uid).await.expect("an answer");
    let (_, another) = place.account().await;
    assert_ne!(another, account);
    let number = account.number;
    let expected = [
        Change::Catalog { account: number, version: 1 },
        Change::Person { account: number, uid, version: 1 },
        Change::Erased { account: number, uid },
        Change::Keys,
    ];
    told(&store, &mut cursor, |all| expected.iter().all(|change| all.contains(change))).await;
    let quiet = recovered(|| store.feed.poll(Some(cursor.clone()))).await;
    let quiet = recovered(|| store.feed.poll(Some(quiet.cursor.clone()))).await;
    assert_eq!(quiet.changes, [], "what was told long ago is not told again");
    // Another replica goes on from the same position.
    let elsewhere = place.open();
    let elsewhere = recovered(|| elsewhere.feed.poll(Some(cursor.clone()))).await;
    assert!(!elsewhere.failed_over);
}

pub(crate) async fn loses_nothing_beside_a_long_writer(place: Arc<Place>) {
    const WRITERS: i64 = 4;
    const PEOPLE: usize = 10;
    let (store, account) = place.account().await;
    let mut cursor = position(&store).await;

    // A transaction that began before all others and commits after most of them.
    let slow = Uid(17);
    let (mut long, number) = (place.connect().await, account.number.cast_signed());
    query("begin").execute(&mut long).await.expect("a transaction");
    query("insert into change_log (kind, account, uid, version) values ('person', $1, $2, 99)")
        .bind(number)
        .bind(slow.as_uuid())
        .execute(&mut long)
        .await
        .expect("a slow change");

    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (store, account) = (store.clone(), account.clone());
        writers.spawn(async move {
            let people: Vec<_> = (0..PEOPLE).map(|_| somebody(&account)).collect();
            let (began, mut version) = (Instant::now(), 0);
            while began.elapsed() < Duration::from_secs(2) || version <= 5 {
                let writes = people.iter().map(|(key, uid)| traits(key, *uid, version, version)).collect();
                let written = store.users.write_profiles(account.number, writes).await.expect("an answer");
                version += 1;
                assert!(written.iter().all(|written| *written == ProfileWritten::Done { version }));
            }
            people.into_iter().map(|(_, uid)| (uid, version)).collect::<Vec<_>>()
        });
    }
    let mut told_of: HashMap<Uid, Vec<i64>> = HashMap::new();
    let mut hear = |changes: Vec<Change>| {
        for change in changes {
            if let Change::Person { account: of, uid, version } = change
                && of == account.number
            {
                told_of.entry(uid).or_default().push(version);
            }
        }
    };
    let (began, mut looks) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_millis(1_500) || looks <= 20 {
        let batch = recovered(|| store.feed.poll(Some(cursor.clone()))).await;
        cursor = batch.cursor;
        hear(batch.changes);
        looks += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    query("commit").execute(&mut long).await.expect("a commit");
    let finals = writers.join_all().await.concat();
    for _ in 0..2 {
        let batch = recovered(|| store.feed.poll(Some(cursor.clone()))).await;
        cursor = batch.cursor;
        hear(batch.changes);
    }
    assert_eq!(told_of.remove(&slow).as_deref().and_then(|told| told.last()), Some(&99));
    for (uid, version) in finals {
        let mut told = told_of.remove(&uid).unwrap_or_default();
        told.sort_unstable();
        told.dedup();
        assert_eq!(told, (1..=version).collect::<Vec<_>>(), "every change is told");
    }
    assert!(told_of.is_empty());
}

pub(crate) async fn starts_anew_on_another_server_or_when_too_far_behind(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let cursor = position(&store).await;
    commit(&store, account.number, 0, vec![write(Kind::Advertiser, "brand", json!({}), &[])]).await;
    let real = cursor.server.clone();
    for server in [
        ServerIdentity { system: real.system + 1, ..real.clone() },
        ServerIdentity { timeline: real.timeline + 1, ..real.clone() },
    ] {
        let batch = recovered(|| store.feed.poll(Some(Cursor { server: server.clone(), low: "3".into() }))).await;
        assert!(batch.failed_over && batch.changes.is_empty());
        assert_eq!(batch.cursor.server, real);
        let next = recovered(|| store.feed.poll(Some(batch.cursor.clone()))).await;
        assert!(!next.failed_over);
    }
    // Rows that are dropped before a reader saw them leave a mark.
    let mut connection = place.connect().await;
    query("update change_log set hour = hour - 5").execute(&mut connection).await.expect("rows of long ago");
    let told = recovered(|| store.feed.poll(Some(cursor.clone()))).await;
    assert!(!told.failed_over && told.changes.contains(&Change::Catalog { account: account.number, version: 1 }));
    store.outcomes.maintain(crate::suite::now()).await.expect("maintained");
    let late = recovered(|| store.feed.poll(Some(cursor.clone()))).await;
    assert!(late.failed_over && late.changes.is_empty());
    let next = recovered(|| store.feed.poll(Some(late.cursor.clone()))).await;
    assert!(!next.failed_over);
}
