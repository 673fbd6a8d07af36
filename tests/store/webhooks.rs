//! Webhooks: versions, and batches that nobody gets twice and nothing is missing from.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use sqlx::Connection as _;
use tessera::{
    domain::{
        ids::{Uid, UserKey, WebhookId},
        values::Millis,
        webhook::{Secret, WebhookDoc, WebhookStatus},
    },
    ports::{
        AccountRow, AfterFailure, Delivered, DeliveryJob, PausedBy, StandingStep, TransitionRow, WebhookExpect,
        WebhookWritten,
    },
    store::Opened,
};

use crate::{
    people::traits,
    suite::{Place, now, somebody},
};

const LEASE: i64 = 30_000;

fn doc(value: Value) -> WebhookDoc {
    serde_json::from_value(value).expect("a webhook")
}

fn secret(byte: u8) -> Secret {
    Secret::new([byte; 32]).expect("32 bytes")
}

fn id() -> WebhookId {
    "crm".parse().expect("an id")
}

async fn put(store: &Opened, account: &AccountRow, expect: WebhookExpect, document: Value) -> WebhookWritten {
    store.webhooks.put(account.number, id(), expect, doc(document), secret(1)).await.expect("an answer")
}

fn row(account: &AccountRow, uid: Uid, segment: &str, entered: bool) -> TransitionRow {
    let segment = segment.parse().expect("a key");
    TransitionRow { account: account.number, segment, uid, entered, at: now(), erased: false }
}

async fn record(store: &Opened, told: Vec<TransitionRow>) {
    let (account, uid) = (told[0].account, told[0].uid);
    let step = StandingStep { account, uid, seen: None, base: 0, kept: None, told };
    assert_eq!(store.transitions.step(vec![step]).await.expect("recorded"), []);
}

/// The next batch of an account; other checks' transactions may hold it back for a while.
async fn claim(store: &Opened, account: &AccountRow, batch: u32) -> DeliveryJob {
    for _ in 0..400 {
        match store.webhooks.claim(batch, LEASE).await.expect("an answer") {
            Some(job) if job.account == account.number => return job,
            Some(other) => panic!("of another check: {other:?}"),
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("no batch within 20 s");
}

async fn settle(store: &Opened, job: &DeliveryJob, delivered: Delivered) -> bool {
    store.webhooks.settle(job.account, job.id.clone(), job.claim, delivered).await.expect("an answer")
}

fn failed(then: AfterFailure) -> Delivered {
    Delivered::Failed { status: Some(500), detail: "the receiver answered 500".into(), then }
}

const ACCEPTED: Delivered = Delivered::Accepted { sent: true };

pub(crate) async fn known(store: &Opened, account: &AccountRow, count: usize) -> Vec<(UserKey, Uid)> {
    let people: Vec<_> = (0..count).map(|_| somebody(account)).collect();
    let writes = people.iter().map(|(key, uid)| traits(key, *uid, 0, 1)).collect();
    store.users.write_profiles(account.number, writes).await.expect("written");
    people
}

pub(crate) async fn are_changed_by_whoever_knows_their_version(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let first = json!({"url": "https://a.example/in", "segments": ["vip"], "kinds": ["left"], "status": "paused"});
    assert_eq!(put(&store, &account, WebhookExpect::Present, first.clone()).await, WebhookWritten::Stale(None));
    let WebhookWritten::Done(one) = put(&store, &account, WebhookExpect::Absent, first.clone()).await else {
        panic!("made")
    };
    assert_eq!(put(&store, &account, WebhookExpect::Absent, first.clone()).await, WebhookWritten::Stale(Some(one)));
    let row = store.webhooks.get(account.number, id()).await.expect("an answer").expect("a webhook");
    assert_eq!((row.version, &row.document, row.paused), (one, &doc(first.clone()), Some(PausedBy::Asked)));
    let second = json!({"url": "https://b.example/", "status": "paused"});
    let WebhookWritten::Done(two) = put(&store, &account, WebhookExpect::Version(one), second.clone()).await else {
        panic!("changed")
    };
    assert_eq!(put(&store, &account, WebhookExpect::Version(one), first).await, WebhookWritten::Stale(Some(two)));
    let row = store.webhooks.list(account.number, None, 10).await.expect("an answer").remove(0);
    assert_eq!((row.version, row.document), (two, doc(second.clone())));
    assert_eq!(store.webhooks.list(account.number, Some("crm".into()), 10).await.expect("an answer"), []);
    let delete = async |expect| store.webhooks.delete(account.number, id(), expect).await.expect("an answer");
    assert_eq!(delete(WebhookExpect::Version(one)).await, WebhookWritten::Stale(Some(two)));
    assert_eq!(delete(WebhookExpect::Version(two)).await, WebhookWritten::Done(two));
    assert_eq!(delete(WebhookExpect::Present).await, WebhookWritten::Stale(None));
    let WebhookWritten::Done(three) = put(&store, &account, WebhookExpect::Absent, second).await else {
        panic!("made")
    };
    assert!(three > two, "a version never returns");
    assert!(store.webhooks.rotate(account.number, id(), secret(2), 1_000).await.expect("an answer").is_some());
    assert_eq!(delete(WebhookExpect::Present).await, WebhookWritten::Done(three));
    assert_eq!(store.webhooks.rotate(account.number, id(), secret(2), 1_000).await.expect("an answer"), None);
}

pub(crate) async fn hand_a_batch_to_one_until_it_is_accepted(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let other = place.open();
    let people = known(&store, &account, 5).await;
    let before = vec![row(&account, people[0].1, "vip", true)];
    record(&store, before).await;
    put(
        &store,
        &account,
        WebhookExpect::Absent,
        json!({"url": "https://a.example", "segments": ["vip"], "kinds": ["entered"]}),
    )
    .await;
    let rows = people.iter().flat_map(|(_, uid)| {
        [row(&account, *uid, "vip", true), row(&account, *uid, "vip", false), row(&account, *uid, "else", true)]
    });
    record(&store, rows.collect()).await;
    assert_eq!(store.webhooks.backlog(account.number, id(), 100).await.expect("a count"), 5);
    assert_eq!(store.webhooks.backlog(account.number, id(), 3).await.expect("a count"), 3);

    let job = claim(&store, &account, 2).await;
    let users = |job: &DeliveryJob| job.transitions.iter().map(|one| one.uid).collect::<Vec<_>>();
    assert_eq!(users(&job), [people[0].1, people[1].1], "in their order, and nothing from before it was made");
    assert_eq!(job.secrets, [secret(1)]);
    assert_eq!(other.webhooks.claim(2, LEASE).await.expect("an answer"), None, "nobody else gets it");
    assert!(settle(&other, &job, failed(AfterFailure::Retry(0))).await);
    assert!(!settle(&store, &job, ACCEPTED).await, "the claim is over");

    // The same batch again, though more came and one of the people is gone.
    record(&store, vec![row(&account, people[4].1, "vip", true)]).await;
    store.users.erase(account.number, people[0].1).await.expect("erased");
    store.webhooks.rotate(account.number, id(), secret(2), 60_000).await.expect("an answer");
    let again = claim(&other, &account, 100).await;
    assert_eq!((again.from, again.upto, users(&again)), (job.from, job.upto, vec![people[1].1]));
    assert_eq!((again.failures, again.failing_since.is_some()), (1, true));
    assert_eq!(again.secrets, [secret(2), secret(1)]);
    assert!(settle(&other, &again, ACCEPTED).await);
    let next = claim(&store, &account, 100).await;
    assert_eq!((next.from, users(&next)), (job.upto, vec![people[2].1, people[3].1, people[4].1, people[4].1]));

    // Whoever changes the choice has another batch; the claim of before is worth nothing.
    put(&store, &account, WebhookExpect::Present, json!({"url": "https://a.example", "segments": ["else"]})).await;
    assert!(!settle(&store, &next, ACCEPTED).await);
    let chosen = claim(&store, &account, 100).await;
    assert_eq!((chosen.from, users(&chosen)), (job.upto, vec![people[1].1, people[2].1, people[3].1, people[4].1]));
    assert!(settle(&store, &chosen, failed(AfterFailure::Pause(PausedBy::Gone))).await);
    let row = store.webhooks.get(account.number, id()).await.expect("an answer").expect("a webhook");
    assert_eq!((row.paused, row.document.status, row.failures), (Some(PausedBy::Gone), WebhookStatus::Paused, 1));
    assert_eq!(row.last_failure.and_then(|failure| failure.status), Some(500));
    assert_eq!(store.webhooks.claim(100, LEASE).await.expect("an answer"), None);
    store.webhooks.delete(account.number, id(), WebhookExpect::Present).await.expect("deleted");
}

/// Every account's webhooks are handed out by the same call, so there is one at a time.
pub(crate) async fn miss_nothing_beside_a_long_writer(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let people = known(&store, &account, 3).await;
    put(&store, &account, WebhookExpect::Absent, json!({"url": "https://a.example"})).await;
    // Somebody writes early and commits late.
    let mut slow = place.connect().await;
    let mut tx = slow.begin().await.expect("a transaction");
    sqlx::query(
        "insert into transition (day, account, segment, uid, entered, at) values ($1, $2, 'vip', $3, true, $4)",
    )
    .bind((now().0 / 86_400_000) as i32)
    .bind(account.number.cast_signed())
    .bind(people[0].1.as_uuid())
    .bind(now().0)
    .execute(&mut *tx)
    .await
    .expect("written");
    record(&store, vec![row(&account, people[1].1, "vip", true)]).await;
    for _ in 0..5 {
        assert_eq!(store.webhooks.claim(100, LEASE).await.expect("an answer"), None, "nobody goes past it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tx.commit().await.expect("committed");
    let mut told = BTreeSet::new();
    let mut erased = TransitionRow { erased: true, entered: false, ..row(&account, people[2].1, "vip", false) };
    erased.at = Millis(erased.at.0 + 1);
    store.users.erase(account.number, people[2].1).await.expect("erased");
    record(&store, vec![erased]).await;
    while told.len() < 3 {
        let job = claim(&store, &account, 1).await;
        told.extend(job.transitions.iter().map(|one| (one.uid, one.key.is_some(), one.entered)));
        assert!(settle(&store, &job, ACCEPTED).await);
    }
    let expected = [(people[0].1, true, true), (people[1].1, true, true), (people[2].1, false, false)];
    assert_eq!(told, expected.into());
    store.webhooks.delete(account.number, id(), WebhookExpect::Present).await.expect("deleted");
}
