//! Documents, keys and secrets.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use tessera::{
    domain::{
        access::Scope,
        catalog::key::{DocumentKey, Kind},
        ids::KeyId,
    },
    ports::{ApiKeyRow, AssetGone, AssetRow, Commit, DocumentRow, DocumentWrite, KeyChange, OldSecret, StoreError},
    store::Opened,
};

use crate::suite::{Place, delete, now, write};

/// Commits and expects it to be done.
pub(crate) async fn commit(store: &Opened, account: u32, based_on: i64, writes: Vec<DocumentWrite>) -> i64 {
    match store.catalog.commit(account, based_on, "a test".into(), writes, false).await.expect("an answer") {
        Commit::Done { version } => version,
        other => panic!("not done: {other:?}"),
    }
}

async fn refused(store: &Opened, account: u32, based_on: i64, writes: Vec<DocumentWrite>) -> Commit {
    store.catalog.commit(account, based_on, "a test".into(), writes, false).await.expect("an answer")
}

pub(crate) async fn of_two_writers_one_has_to_read_again(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let other = place.open();
    for round in 0..20 {
        let writes = |who: &str| vec![write(Kind::Advertiser, "brand", json!({"round": round, "by": who}), &[])];
        let (a, b) = tokio::join!(
            store.catalog.commit(account.number, round, "a".into(), writes("a"), false),
            other.catalog.commit(account.number, round, "b".into(), writes("b"), false),
        );
        let answers = [a.expect("an answer"), b.expect("an answer")];
        assert!(answers.contains(&Commit::Done { version: round + 1 }), "{answers:?}");
        assert!(answers.contains(&Commit::Moved { version: round + 1 }), "{answers:?}");
        let winner = if answers[0] == (Commit::Done { version: round + 1 }) { "a" } else { "b" };
        let read = store.catalog.get(account.number, vec![DocumentKey::new(Kind::Advertiser, "brand")]).await;
        assert_eq!(read.expect("an answer").rows[0].body["by"], winner);
    }
    let nowhere = store.catalog.serving(4_000_000_000, None).await;
    assert!(matches!(nowhere, Err(StoreError::Refused(_))), "{nowhere:?}");
}

pub(crate) async fn an_image_that_goes_meanwhile_is_missed_at_the_commit(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (number, name) = (account.number, format!("{:064x}.png", account.number));
    let row = AssetRow {
        account: number,
        name: name.clone(),
        media_type: "image/png".into(),
        sides: Some((1, 1)),
        bytes: vec![1],
    };
    let shows = || vec![write(Kind::Component, "hero/i", json!({"value": {"src": format!("/v1/assets/{name}")}}), &[])];
    let gone = Commit::NoAsset { name: name.clone() };
    assert_eq!(refused(&store, number, 0, shows()).await, gone, "whoever looked it up before");
    let would = store.catalog.commit(number, 0, "a test".into(), shows(), true).await;
    assert_eq!(would.expect("an answer"), Commit::Done { version: 0 }, "a dry run keeps no images");
    store.catalog.put_asset(row).await.expect("kept");
    // of a document that names it and a deletion at the same time, one gives way
    let other = place.open();
    let (written, deleted) = tokio::join!(
        store.catalog.commit(number, 0, "a test".into(), shows(), false),
        other.catalog.delete_asset(number, name.clone(), false),
    );
    match (written.expect("an answer"), deleted.expect("an answer")) {
        (Commit::Done { .. }, AssetGone::InUse(by)) => assert_eq!(by, [DocumentKey::new(Kind::Component, "hero/i")]),
        (refused, AssetGone::Done(_)) => assert_eq!(refused, gone),
        both => panic!("{both:?}"),
    }
}

pub(crate) async fn references_lead_somewhere_and_hold_what_they_name(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let number = account.number;
    let campaign = |to: &str| write(Kind::Campaign, "spring", json!({}), &[(Kind::Segment, to)]);
    let key = DocumentKey::new(Kind::Campaign, "spring");
    assert_eq!(
        refused(&store, number, 0, vec![campaign("young")]).await,
        Commit::Missing { key: key.clone(), missing: DocumentKey::new(Kind::Segment, "young") },
    );
    let version =
        commit(&store, number, 0, vec![campaign("young"), write(Kind::Segment, "young", json!({}), &[])]).await;
    assert_eq!(
        refused(&store, number, version, vec![delete(Kind::Segment, "young")]).await,
        Commit::InUse { key: DocumentKey::new(Kind::Segment, "young"), by: vec![key.clone()] },
    );
    assert_eq!(
        refused(&store, number, version, vec![delete(Kind::Segment, "young"), campaign("young")]).await,
        Commit::Missing { key, missing: DocumentKey::new(Kind::Segment, "young") },
    );
    // What an older version named holds nothing.
    let writes = vec![delete(Kind::Segment, "young"), write(Kind::Segment, "old", json!({}), &[]), campaign("old")];
    let version = commit(&store, number, version, writes).await;
    let version =
        commit(&store, number, version, vec![delete(Kind::Campaign, "spring"), delete(Kind::Segment, "old")]).await;
    assert_eq!(store.catalog.serving(number, None).await.expect("an answer").rows, []);
    // Another account's documents are nobody's reference.
    let (_, other) = place.account().await;
    commit(&store, other.number, 0, vec![write(Kind::Segment, "theirs", json!({}), &[])]).await;
    assert!(matches!(refused(&store, number, version, vec![campaign("theirs")]).await, Commit::Missing { .. }));
    // Many may name one; some are shown.
    let mut writes = vec![write(Kind::Segment, "all", json!({}), &[])];
    writes.extend((0..30).map(|n| write(Kind::Campaign, &format!("c{n}"), json!({}), &[(Kind::Segment, "all")])));
    let version = commit(&store, number, version, writes).await;
    let Commit::InUse { by, .. } = refused(&store, number, version, vec![delete(Kind::Segment, "all")]).await else {
        panic!("it is in use");
    };
    assert_eq!(by.len(), 10);
}

pub(crate) async fn a_commit_is_all_or_nothing_whatever_its_size(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let number = account.number;
    let mut many: Vec<_> = (0..3_000)
        .map(|n| write(Kind::Campaign, &format!("c{n:04}"), json!({"n": n}), &[(Kind::Segment, "all")]))
        .collect();
    many.push(write(Kind::Segment, "all", json!({}), &[]));
    let mut broken = many.clone();
    broken.push(write(Kind::Campaign, "last", json!({}), &[(Kind::Segment, "nowhere")]));
    assert!(matches!(refused(&store, number, 0, broken).await, Commit::Missing { .. }));
    let dry = store.catalog.commit(number, 0, "a test".into(), many.clone(), true).await.expect("an answer");
    assert_eq!(dry, Commit::Done { version: 0 });
    let nothing = store.catalog.serving(number, None).await.expect("an answer");
    assert_eq!((nothing.version, nothing.rows), (0, vec![]));

    assert_eq!(commit(&store, number, 0, many).await, 1);
    let first = store.catalog.list(number, Kind::Campaign, "c0".into(), None, 600).await.expect("an answer").rows;
    assert_eq!(first.len(), 600);
    let after = Some(first[599].key.id.clone());
    let rest = store.catalog.list(number, Kind::Campaign, "c0".into(), after, 600).await.expect("an answer").rows;
    let ids: Vec<_> = first.iter().chain(&rest).map(|row| row.key.id.clone()).collect();
    assert_eq!(ids, (0..1_000).map(|n| format!("c{n:04}")).collect::<Vec<_>>());
    // Of two writes to the same document in one commit the last one counts.
    let twice = vec![write(Kind::Advertiser, "b", json!(1), &[]), write(Kind::Advertiser, "b", json!(2), &[])];
    commit(&store, number, 1, twice).await;
    let read = store.catalog.get(number, vec![DocumentKey::new(Kind::Advertiser, "b")]).await.expect("an answer");
    assert_eq!((read.version, read.rows[0].version, &read.rows[0].body), (2, 2, &json!(2)));
}

pub(crate) async fn old_versions_read_as_they_were(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let published = |revision: u32, status: &str| {
        write(Kind::Publication, "hero", json!({"revision": revision, "status": status}), &[])
    };
    let steps = [
        vec![write(Kind::Creative, "hero", json!({"draft": 1}), &[]), write(Kind::Advertiser, "brand", json!({}), &[])],
        vec![write(Kind::Revision, "hero/1", json!({"n": 1}), &[]), published(1, "published")],
        vec![write(Kind::Revision, "hero/2", json!({"n": 2}), &[]), published(2, "published")],
        vec![published(2, "archived")],
        vec![published(1, "published"), delete(Kind::Advertiser, "brand")],
    ];
    let expected = [
        vec!["advertiser/brand"],
        vec!["advertiser/brand", "publication/hero", "revision/hero/1"],
        vec!["advertiser/brand", "publication/hero", "revision/hero/2"],
        vec!["advertiser/brand", "publication/hero"],
        vec!["publication/hero", "revision/hero/1"],
    ];
    for (version, writes) in steps.into_iter().enumerate() {
        commit(&store, account.number, version as i64, writes).await;
    }
    for (version, names) in expected.iter().enumerate() {
        let read = store.catalog.serving(account.number, Some(version as i64 + 1)).await.expect("an answer");
        assert_eq!(read.version, version as i64 + 1);
        let mut read: Vec<_> = read.rows.iter().map(|row| row.key.to_string()).collect();
        read.sort();
        assert_eq!(&read, names, "at version {}", version + 1);
    }
    let newest = store.catalog.serving(account.number, None).await.expect("an answer");
    assert_eq!(newest, store.catalog.serving(account.number, Some(5)).await.expect("an answer"));
}

pub(crate) async fn changes_are_the_difference_of_two_readings(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let mut seed = 7_u32;
    let mut draw = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % below
    };
    let mut steps = vec![BTreeMap::new()];
    for version in 0..60 {
        let mut writes = Vec::new();
        for _ in 0..1 + draw(3) {
            let (id, name) = (draw(3).to_string(), format!("{}/{}", draw(3), draw(3)));
            let status = ["published", "archived"][draw(2) as usize];
            writes.push(match draw(7) {
                0 => write(Kind::Campaign, &id, json!({"at": version}), &[]),
                1 => delete(Kind::Campaign, &id),
                2 => write(Kind::Creative, &id, json!({"at": version}), &[]),
                3 | 4 => write(Kind::Publication, &id, json!({"revision": draw(3), "status": status}), &[]),
                5 => delete(Kind::Publication, &id),
                _ => write(Kind::Revision, &name, json!({"at": version}), &[]),
            });
        }
        commit(&store, account.number, version, writes).await;
        let read = store.catalog.serving(account.number, None).await.expect("an answer");
        steps.push(read.rows.into_iter().map(|row| (row.key.clone(), row)).collect());
    }
    let newest: &BTreeMap<DocumentKey, DocumentRow> = steps.last().expect("a reading");
    let at_work = steps.iter().filter(|step| step.keys().any(|key| key.kind == Kind::Revision)).count();
    assert!(at_work > 10, "the draw should put revisions to work");
    for (after, before) in steps.iter().enumerate() {
        let changes = store.catalog.serving_changes(account.number, after as i64).await.expect("an answer");
        let mut patched = before.clone();
        for key in &changes.deleted {
            assert!(patched.remove(key).is_some(), "{key} was not there at {after}");
        }
        for row in changes.written {
            assert_ne!(patched.insert(row.key.clone(), row.clone()), Some(row), "told though it is the same");
        }
        assert_eq!((changes.version, &patched), (60, newest), "after {after}");
    }
    let none = store.catalog.serving_changes(account.number, 60).await.expect("an answer");
    assert_eq!((none.version, none.written, none.deleted), (60, vec![], vec![]));
}

pub(crate) async fn documents_come_back_as_they_went_in(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let body = json!({"float": 1e16, "tiny": 1e-300, "negative": -0.0, "whole": u64::MAX, "text": "a\u{0}b \u{1F600} \"<'",
                      "one": 1.0, "deep": [[[null, true]]], "empty": {}});
    let before = now();
    commit(&store, account.number, 0, vec![write(Kind::Component, "hero/a", body.clone(), &[])]).await;
    let keys = vec![DocumentKey::new(Kind::Component, "hero/a"), DocumentKey::new(Kind::Component, "hero/b")];
    let read = store.catalog.get(account.number, keys).await.expect("an answer");
    let [row] = read.rows.as_slice() else { panic!("one of the two is there: {:?}", read.rows) };
    assert_eq!(serde_json::to_string(&row.body).expect("json"), serde_json::to_string(&body).expect("json"));
    assert_eq!(row.version, 1);
    assert!(row.changed_at.since(before) < 60_000 && row.changed_at.since(before) > -60_000);
    let (_, other) = place.account().await;
    let theirs = store.catalog.get(other.number, vec![row.key.clone()]).await.expect("an answer");
    assert_eq!((theirs.version, theirs.rows), (0, vec![]));
    let none: Vec<Value> = Vec::new();
    let listed = store.catalog.list(other.number, Kind::Component, String::new(), None, 10).await.expect("an answer");
    assert_eq!(listed.rows.into_iter().map(|row| row.body).collect::<Vec<_>>(), none);
}

pub(crate) async fn keys_and_secrets(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (_, other) = place.account().await;
    assert_eq!(store.catalog.create_account(account.id.clone()).await.expect("the same account"), account);
    let accounts = store.catalog.accounts().await.expect("an answer");
    assert!(accounts.contains(&account) && accounts.contains(&other) && account.secret != other.secret);
    assert!(accounts.iter().any(|account| account.id.as_str() == "default"));

    let replica = place.open();
    let (mine, theirs) = tokio::join!(store.catalog.signing_keys(), replica.catalog.signing_keys());
    let mine = mine.expect("an answer");
    assert_eq!(mine, theirs.expect("an answer"));
    assert!(mine.iter().any(|key| key.active) && mine.iter().all(|key| key.secret != [0; 32]));

    let id: KeyId = format!("k-{}", account.number).parse().expect("an id");
    let key = |account: u32, hash: u8| ApiKeyRow {
        id: id.clone(),
        account,
        hash: [hash; 32],
        scopes: vec![Scope::Decide, Scope::Consent],
        created_at: now(),
        version: 0,
        old: None,
    };
    let first = key(account.number, 1);
    assert!(store.catalog.add_api_key(first.clone()).await.expect("added"));
    assert!(!store.catalog.add_api_key(key(account.number, 2)).await.expect("an answer"), "there is one");
    // another account's key of the same id is another key
    assert!(store.catalog.add_api_key(key(other.number, 3)).await.expect("added"));
    let read = async |account: u32| {
        let keys = store.catalog.api_keys().await.expect("an answer");
        keys.into_iter().find(|key| key.id == id && key.account == account)
    };
    let added = read(account.number).await.expect("the key");
    assert_eq!(added, ApiKeyRow { version: added.version, ..first.clone() });

    let change = async |at, scopes: Option<Vec<Scope>>, secret| {
        let change = KeyChange { scopes, secret };
        store.catalog.change_api_key(account.number, id.clone(), at, change).await.expect("an answer")
    };
    assert!(!change(Some(added.version + 99), Some(vec![]), None).await, "another version");
    assert!(change(Some(added.version), Some(vec![Scope::Report]), None).await);
    let changed = read(account.number).await.expect("the key");
    assert!(changed.version > added.version);
    assert_eq!(changed, ApiKeyRow { version: changed.version, scopes: vec![Scope::Report], ..added });
    let (at, until) = (now(), now().plus(1_000));
    assert!(change(None, None, Some(([4; 32], at, until))).await);
    let rotated = read(account.number).await.expect("the key");
    let old = Some(OldSecret { hash: [1; 32], until });
    let expected = ApiKeyRow { version: rotated.version, hash: [4; 32], created_at: at, old, ..changed };
    assert_eq!(rotated, expected);
    assert!(change(None, Some(vec![Scope::Decide]), None).await);
    assert_eq!(read(account.number).await.expect("the key").old, expected.old);

    let revoke = async |account, at| store.catalog.revoke_api_key(account, id.clone(), at).await.expect("an answer");
    assert!(revoke(other.number, None).await);
    assert!(!revoke(account.number, Some(rotated.version)).await, "another version");
    assert!(revoke(account.number, None).await && !revoke(account.number, None).await);
    assert_eq!(read(account.number).await, None);
}
