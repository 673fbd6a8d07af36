//! The service and its database are killed, again and again, while events come in: what was
//! acknowledged is there, once, and profiles are exactly what follows from it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Map, Value, json};
use sqlx::{Connection as _, PgConnection, types::Json};
use tessera::{
    domain::{
        audience::{
            activity::{Event, Keep, Stream, Streams},
            user::UserState,
        },
        ids::EventId,
        values::Millis,
    },
    ports::StreamRow,
    store,
};
use tokio::{sync::watch, task::JoinSet, time::sleep};
use uuid::Uuid;

use crate::{
    harness::{Cluster, PATIENCE, Remote, folder},
    process::{Process, server_of, signal_all},
    setting,
};

/// Events in one request.
const BATCH: u64 = 50;
/// People.
const PEOPLE: u64 = 200;

#[derive(Default)]
struct Counts {
    batches: AtomicU64,
    /// Requests that were not answered with 200 and were sent again.
    again: AtomicU64,
    duplicates: AtomicU64,
    stop: AtomicBool,
}

/// Sends batch after batch, each until it is acknowledged, and some of those once more.
async fn send(sender: u64, at: watch::Receiver<Remote>, counts: Arc<Counts>) -> u64 {
    let mut batch = 0;
    while !counts.stop.load(Ordering::Relaxed) {
        let event = |n: u64| {
            let number = batch * BATCH + n;
            // times of their own over the last weeks
            let at = Millis(started() - 25 * 86_400_000 + (number * 7_919_017 % 2_000_000_000) as i64);
            json!({"id": format!("{sender}-{number}"), "user": format!("u-{}", (number * 31 + sender) % PEOPLE),
                "type": "viewed", "at": at, "properties": {"n": number}})
        };
        let body = json!((0..BATCH).map(event).collect::<Vec<_>>());
        let repeats = if batch % 10 == 3 { 2 } else { 1 };
        for _ in 0..repeats {
            loop {
                let remote = at.borrow().clone();
                let sent =
                    remote.request(Method::POST, "/v1/events").timeout(Duration::from_secs(10)).json(&body).send();
                if let Ok(answer) = sent.await
                    && answer.status() == 200
                    && let Ok(told) = answer.json::<Value>().await
                {
                    let count = |name: &str| told[name].as_u64().expect("a count");
                    assert_eq!(
                        (count("accepted") + count("duplicates"), count("rejected_count")),
                        (BATCH, 0),
                        "{told}"
                    );
                    counts.duplicates.fetch_add(count("duplicates"), Ordering::Relaxed);
                    break;
                }
                counts.again.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(20)).await;
            }
        }
        counts.batches.fetch_add(1, Ordering::Relaxed);
        batch += 1;
    }
    batch * BATCH
}

/// A fixed time of the run, so that a batch that is sent again is the same.
fn started() -> i64 {
    static NOW: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    *NOW.get_or_init(|| {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
        since.as_millis() as i64
    })
}

/// What the profiles must remember: counts of views.
fn streams() -> Streams {
    [Stream::new("viewed".parse().expect("a name"), Vec::new(), None, None, Keep::Few)].into_iter().collect()
}

/// Compares what is kept with what was sent and with the profiles.
async fn check(database: &str, sent: &[u64]) -> (usize, usize) {
    let mut connection = PgConnection::connect(database).await.expect("a connection");
    type Row = (Uuid, Uuid, i64, Json<Map<String, Value>>);
    let rows: Vec<Row> =
        sqlx::query_as("select id, uid, at, properties from event").fetch_all(&mut connection).await.expect("events");
    let mut kept: HashMap<Uuid, usize> = HashMap::new();
    let mut people: BTreeMap<Uuid, UserState> = BTreeMap::new();
    let streams = streams();
    for (id, uid, at, Json(properties)) in rows {
        *kept.entry(id).or_default() += 1;
        let event = Event { name: "viewed".parse().expect("a name"), at: Millis(at), properties };
        people.entry(uid).or_default().absorb(&streams, &event);
    }
    assert!(kept.values().all(|count| *count == 1), "an event is kept once");
    let account: i32 = sqlx::query_scalar("select number from account where id = 'default'")
        .fetch_one(&mut connection)
        .await
        .expect("the account");
    for (sender, count) in sent.iter().enumerate() {
        for number in 0..*count {
            let id = EventId::given(account.cast_unsigned(), &format!("{sender}-{number}"));
            assert!(kept.remove(&id.as_uuid()).is_some(), "event {sender}-{number} was acknowledged and is lost");
        }
    }
    assert!(kept.is_empty(), "{} events were never sent", kept.len());
    let profiles: Vec<(Uuid, Vec<u8>)> =
        sqlx::query_as("select uid, packed from profile").fetch_all(&mut connection).await.expect("profiles");
    let profiles: BTreeMap<_, _> = profiles.into_iter().collect();
    for (uid, state) in &people {
        assert_eq!(&state.encode(), &profiles[uid], "the profile is what follows from the events");
    }
    (sent.iter().sum::<u64>() as usize, people.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_service_and_database_lose_no_acknowledged_event_and_double_none() {
    let rounds = setting("TESSERA_PROOF_ROUNDS", 4);
    let cluster = Cluster::start().await;
    let database = cluster.database().await;
    let opened = store::open(&store::Options::new(&database)).expect("a store");
    let rows = streams().iter().map(|stream| (stream.id().0, stream.definition())).collect::<Vec<_>>();
    let rows = rows.into_iter().map(|(id, definition)| StreamRow { id, definition, epoch: 0, live: false }).collect();
    opened.events.add_streams(1, rows).await.expect("a stream");
    drop(opened);
    let data = folder();
    let mut process = Process::start(data.path(), Some(&database), PATIENCE);
    let (told, at) = watch::channel(process.remote.clone());
    let counts = Arc::new(Counts::default());
    let mut senders = JoinSet::new();
    for sender in 0..4 {
        let (at, counts) = (at.clone(), Arc::clone(&counts));
        senders.spawn(async move { (sender, send(sender, at, counts).await) });
    }
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..rounds {
        // a generator of its own, so that every run kills at the same moments (Marsaglia's xorshift)
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        sleep(Duration::from_millis(300 + seed % 700)).await;
        if round % 2 == 0 {
            process.end(Signal::SIGKILL);
            process = tokio::task::block_in_place(|| Process::start(data.path(), Some(&database), PATIENCE));
            told.send_replace(process.remote.clone());
        } else {
            // whoever runs the cluster starts it again
            signal_all(server_of(cluster.folder.path()), Signal::SIGKILL);
            sleep(Duration::from_millis(300)).await;
            while PgConnection::connect(&database).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        }
        assert!(process.runs(), "the service ended");
    }
    counts.stop.store(true, Ordering::Relaxed);
    let mut sent: Vec<(u64, u64)> = senders.join_all().await;
    sent.sort_unstable();
    let sent: Vec<u64> = sent.into_iter().map(|(_, count)| count).collect();
    let (events, people) = check(&database, &sent).await;
    println!(
        "{rounds} kills ({} of the service, {} of PostgreSQL): {events} events of {people} people acknowledged in {} requests, \
         {} requests sent again, {} repeats recognised: 0 lost, 0 doubled",
        rounds.div_ceil(2),
        rounds / 2,
        counts.batches.load(Ordering::Relaxed),
        counts.again.load(Ordering::Relaxed),
        counts.duplicates.load(Ordering::Relaxed)
    );
    assert!(events as u64 >= rounds * BATCH, "too little was written to show anything");
    assert!(counts.again.load(Ordering::Relaxed) > 0, "no request was in the way of a kill");
}
