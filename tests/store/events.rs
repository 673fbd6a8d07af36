//! Events, the profiles they change and the history of streams.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;
use sqlx::{query, query_scalar};
use tessera::{
    domain::{
        audience::activity::Event,
        ids::{EventId, Uid, UserKey},
        values::Millis,
    },
    ports::{
        AccountRow, BackfillStep, BatchWritten, Change, EventBatch, EventRow, Fold, FoldedPerson, Ingested, StreamRow,
    },
    store::Opened,
};
use uuid::Uuid;

use crate::{
    outcomes::impression,
    people::{load, profile},
    suite::{Place, now, position, served, somebody, told},
};

const DAY: i64 = 86_400_000;

/// An event of somebody.
pub(crate) fn event((key, uid): &(UserKey, Uid), account: &AccountRow, at: Millis) -> EventRow {
    let properties = json!({"value": 1.5, "note": "a\u{0}b"});
    EventRow {
        id: EventId::given(account.number, &Uuid::now_v7().to_string()),
        uid: *uid,
        key: key.clone(),
        event: Event {
            name: "viewed".parse().expect("a name"),
            at,
            properties: properties.as_object().expect("an object").clone(),
        },
        received_at: now(),
        late: false,
    }
}

/// Keeps the times of events, sorted: a function of their set that hides no repeat.
pub(crate) fn fold() -> Fold {
    Arc::new(|packed, events| {
        let mut times = times(packed);
        times.extend(events.iter().map(|event| event.at.0));
        times.sort_unstable();
        times.into_iter().flat_map(i64::to_le_bytes).collect()
    })
}

pub(crate) fn times(packed: &[u8]) -> Vec<i64> {
    packed.chunks(8).map(|time| i64::from_le_bytes(time.try_into().expect("8 bytes"))).collect()
}

pub(crate) async fn send(store: &Opened, account: &AccountRow, epoch: i64, events: Vec<EventRow>) -> BatchWritten {
    let batch = EventBatch { account: account.number, epoch, events, fold: fold() };
    served(|| store.events.ingest(batch.clone())).await
}

pub(crate) fn done(written: BatchWritten) -> (Vec<Ingested>, Vec<FoldedPerson>) {
    match written {
        BatchWritten::Done { events, people, .. } => (events, people),
        BatchWritten::Behind => panic!("at another epoch"),
    }
}

async fn kept(place: &Place, account: &AccountRow) -> i64 {
    let mut connection = place.connect().await;
    let count = query_scalar("select count(*) from event where account = $1").bind(account.number.cast_signed());
    count.fetch_one(&mut connection).await.expect("a count")
}

pub(crate) async fn count_once_however_often_they_are_sent(place: Arc<Place>) {
    use Ingested::{Accepted, Duplicate};
    let (store, account) = place.account().await;
    let (anna, ben) = (somebody(&account), somebody(&account));
    let cursor = &mut position(&store).await;
    let (first, second) = (event(&anna, &account, now()), event(&ben, &account, now()));
    let again = EventRow { event: Event { at: Millis(5), ..first.event.clone() }, ..first.clone() };
    let (became, people) = done(send(&store, &account, 0, vec![first.clone(), again, second.clone()]).await);
    assert_eq!(became, [Accepted, Duplicate, Accepted]);
    assert_eq!(people.len(), 2);
    assert!(people.iter().all(|person| (person.base, person.version) == (0, 1) && person.packed.len() == 8));
    for uid in [anna.1, ben.1] {
        let change = Change::Person { account: account.number, uid, version: 1 };
        told(&store, &mut cursor.clone(), |all| all.contains(&change)).await;
    }

    // Through two replicas, many at once, in batches that repeat themselves and each other.
    let (other, mut tasks) = (place.open(), tokio::task::JoinSet::new());
    let fresh: Vec<EventRow> =
        (0..40).map(|at| event(if at % 2 == 0 { &anna } else { &ben }, &account, Millis(now().0 - at))).collect();
    for task in 0..8_usize {
        let (store, account) = (if task % 2 == 0 { store.clone() } else { other.clone() }, account.clone());
        let mut batch: Vec<_> = fresh.iter().chain([&first, &second]).cloned().collect();
        batch.rotate_left(task * 5);
        if task % 3 == 0 {
            batch.reverse();
        }
        tasks.spawn(async move { done(send(&store, &account, 0, batch).await).0 });
    }
    let new = tasks.join_all().await.concat().into_iter().filter(|became| *became == Accepted).count();
    assert_eq!(new, 40);
    for uid in [anna.1, ben.1] {
        assert_eq!(times(&load(&store, &account, uid).await.expect("a person").packed).len(), 21);
    }
    assert_eq!(kept(&place, &account).await, 42);
    // The same id in another account is another event.
    let (_, elsewhere) = place.account().await;
    assert_eq!(done(send(&store, &elsewhere, 0, vec![first]).await).0, [Accepted]);
    assert_eq!(done(send(&store, &elsewhere, 0, vec![]).await).0, []);
}

pub(crate) async fn lose_nothing_beside_other_writers(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let people: Vec<_> = (0..6).map(|_| somebody(&account)).collect();
    let replicas: Vec<_> = (0..3).map(|_| place.open()).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..12_usize {
        let (store, account, people) = (replicas[task % replicas.len()].clone(), account.clone(), people.clone());
        tasks.spawn(async move {
            for round in 0..5 {
                let at = |n: usize| &people[(n * (task + 1) + round) % people.len()];
                if task % 4 == 3 {
                    let shown: Vec<_> = (0..6).map(|n| impression(&account, Some(at(n).1))).collect();
                    served(|| store.outcomes.record(shown.clone())).await;
                } else {
                    let batch = (0..12).map(|n| event(at(n), &account, now())).collect();
                    let became = done(send(&store, &account, 0, batch).await).0;
                    assert!(became.iter().all(|became| *became == Ingested::Accepted));
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
    let mut folded = 0;
    for (_, uid) in &people {
        folded += times(&load(&store, &account, *uid).await.expect("a person").packed).len();
    }
    assert_eq!((folded, kept(&place, &account).await), (9 * 5 * 12, 9 * 5 * 12));
}

pub(crate) async fn too_late_are_kept_and_not_applied(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let anna = somebody(&account);
    let late = EventRow { late: true, ..event(&anna, &account, now().plus(-40 * DAY)) };
    let (became, people) = done(send(&store, &account, 0, vec![late.clone()]).await);
    assert_eq!((became, people[0].packed.len()), (vec![Ingested::Late], 0));
    assert_eq!(kept(&place, &account).await, 1);
    let profile = profile(&store, &account, anna.1).await.expect("a person");
    assert_eq!((profile.key, profile.version), (Some(anna.0.clone()), 1));
    assert_eq!(done(send(&store, &account, 0, vec![late]).await).0, [Ingested::Duplicate]);
    let late = EventRow { late: true, ..event(&anna, &account, now().plus(-40 * DAY)) };
    let (_, people) = done(send(&store, &account, 0, vec![late]).await);
    assert_eq!((people[0].base, people[0].version), (1, 1), "nothing changed about them");
}

pub(crate) async fn do_not_bring_the_erased_back(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let (anna, ben) = (somebody(&account), somebody(&account));
    let (first, other) = (event(&anna, &account, now()), event(&ben, &account, now()));
    send(&store, &account, 0, vec![first.clone(), other]).await;
    assert!(store.users.erase(account.number, anna.1).await.expect("an answer").known);
    let late = EventRow { late: true, ..event(&anna, &account, now().plus(-40 * DAY)) };
    let (became, people) = done(send(&store, &account, 0, vec![first, event(&anna, &account, now()), late]).await);
    assert_eq!(became, [Ingested::Duplicate, Ingested::Erased, Ingested::Erased]);
    assert_eq!(people, []);
    assert_eq!(load(&store, &account, anna.1).await, None);
    assert_eq!(kept(&place, &account).await, 2, "no pass yet");
    let gone = store.events.erase_events(Some((account.number, vec![anna.1]))).await.expect("an answer");
    assert_eq!((gone, kept(&place, &account).await), (1, 1));
    assert_eq!(store.events.erase_events(Some((account.number, vec![ben.1]))).await.expect("an answer"), 0);
    // A pass that nobody asked for comes once somebody has waited.
    assert!(store.users.erase(account.number, ben.1).await.expect("an answer").known);
    store.events.erase_events(None).await.expect("an answer");
    assert_eq!(kept(&place, &account).await, 1);
    let mut connection = place.connect().await;
    query("update event_erasure set at = 0 where account = $1")
        .bind(account.number.cast_signed())
        .execute(&mut connection)
        .await
        .expect("aged");
    store.events.erase_events(None).await.expect("an answer");
    assert_eq!(kept(&place, &account).await, 0);

    // While others write, erasing is for good.
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, account, person) = (store.clone(), account.clone(), somebody(&account));
        tasks.spawn(async move {
            let batch = vec![event(&person, &account, now())];
            let erase = served(|| store.users.erase(account.number, person.1));
            tokio::join!(send(&store, &account, 0, batch), erase);
            served(|| store.events.erase_events(Some((account.number, vec![person.1])))).await;
        });
    }
    tasks.join_all().await;
    assert_eq!(kept(&place, &account).await, 0);
}

pub(crate) fn stream(id: u64) -> StreamRow {
    StreamRow { id, definition: json!({"event": "viewed"}), epoch: 0, live: false }
}

pub(crate) async fn wait_for_replicas_that_know_all_streams(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let anna = somebody(&account);
    assert_eq!(store.events.streams(account.number).await.expect("an answer"), (0, vec![]));
    store.events.add_streams(account.number, vec![stream(u64::MAX), stream(2)]).await.expect("added");
    store.events.add_streams(account.number, vec![stream(2)]).await.expect("nothing to add");
    let (epoch, streams) = store.events.streams(account.number).await.expect("an answer");
    assert_eq!((epoch, streams.len()), (1, 2));
    assert!(streams.iter().all(|stream| !stream.live && stream.epoch == 1));
    let better = StreamRow { definition: json!({"event": "viewed", "where": {}}), ..stream(2) };
    store.events.add_streams(account.number, vec![better.clone()]).await.expect("told better");
    let (epoch, streams) = store.events.streams(account.number).await.expect("an answer");
    assert_eq!((epoch, streams[1].epoch), (1, 1), "nothing was added");
    assert!(streams.contains(&StreamRow { epoch: 1, ..better }), "{streams:?}");
    let sent = event(&anna, &account, now());
    assert_eq!(send(&store, &account, 0, vec![sent.clone()]).await, BatchWritten::Behind);
    assert_eq!(load(&store, &account, anna.1).await, None, "nothing was written");
    assert_eq!(done(send(&store, &account, 1, vec![sent]).await).0, [Ingested::Accepted]);
    let (a, b) = tokio::join!(
        store.events.add_streams(account.number, vec![stream(3)]),
        store.events.add_streams(account.number, vec![stream(3), stream(4)])
    );
    a.and(b).expect("added by two at once");
    let (last, streams) = store.events.streams(account.number).await.expect("an answer");
    assert_eq!(streams.len(), 4);
    for epoch in 1..=last {
        while store.events.backfill(account.number, epoch, vec![], fold()).await.expect("a step") != BackfillStep::Live
        {
        }
    }
}

pub(crate) async fn give_a_new_stream_its_history_once(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let people: Vec<_> = (0..50).map(|_| somebody(&account)).collect();
    let unfolded: Fold = Arc::new(|packed, _| packed.to_vec());
    let mut expected: BTreeMap<Uid, Vec<i64>> = BTreeMap::new();
    for batch in 0..20 {
        let mut events: Vec<_> =
            (0..250).map(|n| event(&people[n % 50], &account, now().plus(-(n as i64 % 40) * DAY))).collect();
        for (n, event) in events.iter_mut().enumerate() {
            event.late = n % 40 > 30;
            if (n + batch) % 7 == 0 {
                event.event.name = "bought".parse().expect("a name");
            }
            if !event.late && event.event.name.as_str() == "viewed" {
                expected.entry(event.uid).or_default().push(event.event.at.0);
            }
        }
        let batch = EventBatch { account: account.number, epoch: 0, events, fold: Arc::clone(&unfolded) };
        done(store.events.ingest(batch).await.expect("an answer"));
    }
    let erased = people[7].1;
    store.users.erase(account.number, erased).await.expect("an answer");
    expected.remove(&erased);
    store.events.add_streams(account.number, vec![stream(9)]).await.expect("added");
    // Two replicas at it, partitions made, and events that come meanwhile.
    let names = vec!["viewed".parse().expect("a name")];
    let reader = |store: Opened| {
        let names = names.clone();
        async move {
            let mut steps = 0;
            loop {
                match store.events.backfill(account.number, 1, names.clone(), fold()).await.expect("an answer") {
                    BackfillStep::Live => return steps,
                    BackfillStep::More => steps += 1,
                    BackfillStep::Busy => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                }
            }
        }
    };
    let account_too = account.clone();
    let writer = async {
        for (n, person) in people.iter().take(20).enumerate() {
            let came = event(person, &account_too, now());
            if came.uid != erased {
                expected.entry(came.uid).or_default().push(came.event.at.0);
            }
            done(send(&store, &account_too, 1, vec![came]).await);
            if n == 10 {
                store.events.maintain(now()).await.expect("maintained");
            }
        }
    };
    let (a, b, ()) = tokio::join!(reader(store.clone()), reader(place.open()), writer);
    assert!(a + b > 1, "{a} and {b} steps");
    let (_, streams) = store.events.streams(account.number).await.expect("an answer");
    assert!(streams.iter().all(|stream| stream.live));
    for (uid, times_of) in &mut expected {
        times_of.sort_unstable();
        let person = load(&store, &account, *uid).await.expect("a person");
        assert_eq!(&times(&person.packed), times_of);
    }
    assert_eq!(load(&store, &account, erased).await, None);
}

pub(crate) async fn never_lack_a_partition_and_go_when_they_are_old(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let anna = somebody(&account);
    let ago = |days: i64| now().plus(-days * DAY);
    store.events.maintain(now()).await.expect("maintained");
    let days = [0, 1, 30, 399, 402];
    let events: Vec<_> = days.iter().map(|&days| event(&anna, &account, ago(days))).collect();
    done(send(&store, &account, 0, events.clone()).await);
    let old = EventRow { received_at: ago(36), ..event(&anna, &account, now()) };
    done(send(&store, &account, 0, vec![old.clone()]).await);
    let (a, b) = tokio::join!(store.events.maintain(now()), store.events.maintain(now()));
    a.and(b).expect("maintained by two at once");
    store.events.maintain(now()).await.expect("maintained");
    let mut connection = place.connect().await;
    let waiting: i64 = query_scalar("select count(*) from event_default where account = $1")
        .bind(account.number.cast_signed())
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    assert_eq!((waiting, kept(&place, &account).await), (1, 5), "only what is older than a partition waits");
    let again = done(send(&store, &account, 0, vec![events[0].clone(), old]).await).0;
    assert_eq!(again, [Ingested::Duplicate, Ingested::Accepted], "ids are told apart for 35 days");
}

pub(crate) async fn upkeep_goes_on_beside_a_step_that_fails(place: Arc<Place>) {
    let (store, account) = place.account().await;
    let anna = somebody(&account);
    done(send(&store, &account, 0, vec![event(&anna, &account, now())]).await);
    store.users.erase(account.number, anna.1).await.expect("an answer");
    let mut connection = place.connect().await;
    let mut run = async |sql: &'static str| {
        query(sql).execute(&mut connection).await.expect("a statement of the test");
    };
    run("update event_erasure set at = 0").await;
    run("alter function keep_transitions rename to keep_transitions_away").await;
    let failed = store.maintain(now()).await;
    run("alter function keep_transitions_away rename to keep_transitions").await;
    let failed: Vec<_> = failed.iter().map(|(step, _)| *step).collect();
    assert_eq!((failed, kept(&place, &account).await), (vec!["transitions"], 0));
    assert_eq!(store.maintain(now()).await.len(), 0);
}
