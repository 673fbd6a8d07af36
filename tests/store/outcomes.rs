//! Outcomes and decision records.

use std::sync::Arc;

use serde_json::json;
use sqlx::query_scalar;
use tessera::{
    domain::{
        audience::caps::CapRing,
        ids::{DecisionId, NameHash, Uid},
        measurement::{
            attribution::{Credit, Terms},
            outcome::{Outcome, OutcomeKind, Recorded},
        },
        values::{Millis, Span},
    },
    ports::{AccountRow, Change, DecisionRecord, FoundRecord},
};

use crate::{
    people::{load, profile},
    suite::{Place, decision, now, position, served, somebody, told},
};

#[path = "../support/outcome.rs"]
mod sample;

const DAY: i64 = 86_400_000;

/// An impression of a fresh decision that counts towards a weekly cap.
pub(crate) fn impression(account: &AccountRow, person: Option<Uid>) -> Outcome {
    sample::impression(account.number, decision(now()), now(), person)
}

/// A decision record.
pub(crate) fn record(account: &AccountRow, person: Option<Uid>) -> DecisionRecord {
    let body = json!({"seed": "00", "user": "a\u{0}b", "price": 1e16}).to_string();
    DecisionRecord { account: account.number, decision: decision(now()), at: now(), person, catalog_version: 4, body }
}

pub(crate) fn seen(caps: &[u8]) -> u32 {
    CapRing::decode(caps).expect("a ring").count_since(NameHash::of("spring"), Millis(0))
}

pub(crate) async fn count_once_however_often_they_are_told(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (_, uid) = somebody(&account);
    let first = impression(&account, Some(uid));
    for replay in 0..80 {
        let expected = if replay == 0 { Recorded::New } else { Recorded::Duplicate };
        let again = Outcome { at: Millis(first.at.0 + replay), ..first.clone() };
        assert_eq!(store.outcomes.record(vec![again]).await.expect("an answer"), [expected]);
    }
    // Through two replicas, eighty at once, in batches that repeat themselves and each other.
    let (second, other) = (impression(&account, Some(uid)), place.open());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let store = if task % 2 == 0 { store.clone() } else { other.clone() };
        let mut batch: Vec<_> = [&first, &second].into_iter().cycle().take(10).cloned().collect();
        if task % 3 == 0 {
            batch.reverse();
        }
        tasks.spawn(async move { served(|| store.outcomes.record(batch.clone())).await });
    }
    let new = tasks.join_all().await.concat().into_iter().filter(|recorded| *recorded == Recorded::New).count();
    assert_eq!(new, 1);
    let row = load(&store, &account, uid).await.expect("somebody who saw something");
    assert_eq!((seen(&row.caps), row.version), (2, 2));

    // Another kind, another conversion and another account are others.
    let click = Outcome { kind: OutcomeKind::Click, ..first.clone() };
    let order = |discriminator| Outcome { kind: OutcomeKind::Conversion, discriminator, ..first.clone() };
    let (_, elsewhere) = place.account().await;
    let theirs = Outcome { account: elsewhere.number, ..first.clone() };
    let batch = vec![click.clone(), order(1), order(2), order(1), theirs, click, first];
    use Recorded::{Credited, Duplicate, New};
    let recorded = store.outcomes.record(batch).await.expect("an answer");
    assert_eq!(recorded, [New, Credited(Credit::Click), Credited(Credit::Click), Duplicate, New, Duplicate, Duplicate]);
    assert_eq!(store.outcomes.record(vec![]).await.expect("an answer"), []);
}

pub(crate) async fn come_back_as_they_went_in(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (_, uid) = somebody(&account);
    let shown = impression(&account, Some(uid));
    let bought = Outcome {
        kind: OutcomeKind::Conversion,
        discriminator: u128::MAX,
        at: shown.at.plus(5),
        campaign: None,
        cap_window: None,
        revision: u32::MAX,
        value_micros: Some(-12_340_000),
        ..shown.clone()
    };
    store.outcomes.record(vec![bought.clone(), shown.clone()]).await.expect("an answer");
    let read = store.outcomes.outcomes_of(account.number, shown.decision).await.expect("an answer");
    assert_eq!(read, [shown.clone(), bought]);
    let (_, other) = place.account().await;
    assert_eq!(store.outcomes.outcomes_of(other.number, shown.decision).await.expect("an answer"), []);
}

pub(crate) async fn count_towards_caps_once_and_none_is_lost(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let other = place.open();
    let people: Vec<_> = (0..5).map(|_| somebody(&account).1).collect();
    let cursor = &mut position(&store).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_usize {
        let store = if task.is_multiple_of(2) { store.clone() } else { other.clone() };
        // Five impressions of each person, in an order of their own in every batch.
        let mut batch: Vec<_> =
            (0..25).map(|n| impression(&account, Some(people[(n * (task + 1) + task) % 5]))).collect();
        if task == 4 {
            batch.iter_mut().zip(0..).for_each(|(shown, n)| shown.person = Some(people[n % 5]));
        }
        batch.push(Outcome { cap_window: None, ..impression(&account, Some(people[0])) });
        batch.push(impression(&account, None));
        tasks.spawn(async move { served(|| store.outcomes.record(batch.clone())).await });
    }
    assert!(tasks.join_all().await.concat().iter().all(|recorded| *recorded == Recorded::New));
    for &uid in &people {
        let row = load(&store, &account, uid).await.expect("somebody who saw something");
        assert_eq!((seen(&row.caps), row.version), (40, 8));
        let told_of = Change::Person { account: account.number, uid, version: 8 };
        told(&store, &mut cursor.clone(), |all| all.contains(&told_of)).await;
        assert_eq!(profile(&store, &account, uid).await.expect("known").key, None, "their name is not known");
    }
    // A ring that cannot be read starts anew.
    let mut connection = place.connect().await;
    sqlx::query("update profile set caps = '\\xffff' where account = $1 and uid = $2")
        .bind(account.number.cast_signed())
        .bind(people[0].as_uuid())
        .execute(&mut connection)
        .await
        .expect("a spoilt ring");
    store.outcomes.record(vec![impression(&account, Some(people[0]))]).await.expect("an answer");
    assert_eq!(seen(&load(&store, &account, people[0]).await.expect("a person").caps), 1);
}

pub(crate) async fn records_are_kept_until_erased_or_old(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (_, uid) = somebody(&account);
    let (about, nobody) = (record(&account, Some(uid)), record(&account, None));
    store.outcomes.keep(vec![about.clone(), nobody.clone()]).await.expect("kept");
    let changed = DecisionRecord { catalog_version: 5, ..nobody.clone() };
    store.outcomes.keep(vec![changed.clone(), changed]).await.expect("left as it is");
    let find = async |number, decision| store.outcomes.find(number, decision).await.expect("an answer");
    let kept = |record: &DecisionRecord| FoundRecord::Kept(Box::new(record.clone()));
    assert_eq!(find(account.number, about.decision).await, kept(&about));
    assert_eq!(find(account.number, nobody.decision).await, kept(&nobody));
    assert_eq!(find(account.number + 1, nobody.decision).await, FoundRecord::Absent);
    assert_eq!(find(account.number, decision(now())).await, FoundRecord::Absent);
    assert!(store.users.erase(account.number, uid).await.expect("there was a record").known);
    assert_eq!(find(account.number, about.decision).await, FoundRecord::Erased);
    assert_eq!(find(account.number, nobody.decision).await, kept(&nobody));
}

pub(crate) async fn never_lack_a_partition_and_go_when_they_are_old(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let ago = |days: i64| now().plus(-days * DAY);
    let shown = |at: Millis| Outcome { decision: decision(at), ..impression(&account, None) };
    let kept = |at: Millis| DecisionRecord { decision: decision(at), ..record(&account, None) };
    // Before any partition is there, and for days that no partition will ever be made for.
    let days = [0, 1, 6, 8, 399, 402, -400];
    let (outcomes, records): (Vec<_>, Vec<_>) = days.iter().map(|&days| (shown(ago(days)), kept(ago(days)))).unzip();
    assert!(store.outcomes.record(outcomes.clone()).await.expect("an answer").iter().all(|new| *new == Recorded::New));
    store.outcomes.keep(records.clone()).await.expect("kept");
    // A day long ago that gets its own partition, and today, whose rows move over to theirs.
    store.outcomes.maintain(ago(402)).await.expect("maintained");
    let (a, b) = tokio::join!(store.outcomes.maintain(now()), store.outcomes.maintain(now()));
    a.and(b).expect("maintained by two at once");
    store.outcomes.maintain(now()).await.expect("maintained");
    let mut connection = place.connect().await;
    let names: Vec<String> = query_scalar(
        "select relname::text from pg_class where relkind = 'r' and relname ~ '^(outcome|decision_record|change_log)_(default|[0-9]+)$' order by 1",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the partitions");
    let count = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
    // Yesterday to the day after tomorrow, what is left of the days long ago, and the default.
    assert_eq!((count("outcome_"), count("decision_record_"), count("change_log_")), (6, 5, 4), "{names:?}");
    let waiting: i64 =
        query_scalar("select count(*) from outcome_default").fetch_one(&mut connection).await.expect("a count");
    assert_eq!(waiting, 4, "today and yesterday moved, the oldest is gone");
    for (outcome, days) in outcomes.iter().zip(days) {
        let again = store.outcomes.outcomes_of(account.number, outcome.decision).await.expect("an answer");
        assert_eq!(again.len(), usize::from(days < 400), "an outcome of {days} days ago");
    }
    for (record, days) in records.iter().zip(days) {
        let found = store.outcomes.find(account.number, record.decision).await.expect("an answer");
        assert_eq!(found != FoundRecord::Absent, days <= 7, "a record of {days} days ago");
    }
    let again = store.outcomes.record(vec![outcomes[0].clone()]).await.expect("an answer");
    assert_eq!(again, [Recorded::Duplicate], "also after it moved");
}
