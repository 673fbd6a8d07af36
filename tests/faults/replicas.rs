//! Several processes on one database: what one writes the other sees, and what a failover took back
//! nobody goes on believing.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Map, json};
use sqlx::{Connection as _, PgConnection, query, query_scalar};
use tessera::{
    domain::{
        audience::{
            activity::{Event, Keep, Stream, Streams},
            user::UserState,
        },
        values::Millis,
    },
    ports::{Cursor, FeedBatch, StreamRow},
    store::{self, Opened},
};
use tokio::time::sleep;

use crate::{
    harness::{self, Cluster, PATIENCE, Patient as _, Remote, folder, read, until},
    process::Process,
};

/// Whether somebody is decided for as who they are now: one who is greeted as an adult, or not.
async fn is_grown(remote: &Remote, user: &str, grown: bool) -> bool {
    let item = remote.item(user, "home").await;
    item["fallback_level"] == "personalised" && (item["components"]["headline"] == "grown") == grown
}

async fn connect(database: &str) -> PgConnection {
    PgConnection::connect(database).await.expect("a connection")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_one_misses_nothing_beside_a_long_writer() {
    const PEOPLE: usize = 10;
    const ROUNDS: usize = 12;
    let cluster = Cluster::start().await;
    let database = cluster.url("catalogue");
    let (one, other) = (folder(), folder());
    let start = |data: &Path| tokio::task::block_in_place(|| Process::start(data, Some(&database), PATIENCE));
    let (mut writer, mut reader) = (start(one.path()), start(other.path()));
    let people: Vec<String> = (0..PEOPLE).map(|person| format!("person-{person}")).collect();
    for user in people.iter().map(String::as_str).chain(["late"]) {
        writer.remote.patch(user, &json!({"age": 10})).await;
        until("everybody is cached", || is_grown(&reader.remote, user, false)).await;
    }
    writer.remote.patch("grown", &json!({"age": 30})).await;

    // It has its id before all others, and commits last.
    let mut long = connect(&database).await;
    query("begin").execute(&mut long).await.expect("a transaction");
    let changed = query(
        "with late as (
             update profile set version = version + 1, packed = (select packed from profile where key = 'grown')
             where key = 'late' returning account, uid, version)
         insert into change_log (kind, account, uid, version) select 'person', account, uid, version from late",
    );
    assert_eq!(changed.execute(&mut long).await.expect("a change that nobody sees yet").rows_affected(), 1);
    let began = Instant::now();
    let (mut of_people, mut of_catalogue, mut slowest) = (0, 0, Duration::ZERO);
    for round in 0..ROUNDS {
        let grown = round % 2 == 0;
        for user in &people {
            writer.remote.patch(user, &json!({"age": if grown { 30 } else { 10 }})).await;
        }
        let headline = format!("Round {round}");
        let path = "/v1/creatives/spring/components/call";
        let put = writer
            .remote
            .request(Method::PUT, path)
            .header(["if-match", "if-none-match"][usize::from(round == 0)], "*");
        let put = put.json(&json!({"slot": "cta", "value": headline})).sent().await;
        read(put, if round == 0 { 201 } else { 200 }).await;
        let publish = writer.remote.request(Method::POST, "/v1/creatives/spring/publish").json(&json!({}));
        read(publish.sent().await, 200).await;
        for user in &people {
            let took = until("a change of a person is seen", || is_grown(&reader.remote, user, grown)).await;
            slowest = slowest.max(took);
            of_people += 1;
        }
        let shown = || async { reader.remote.item("late", "home").await["content"]["cta"] == headline.as_str() };
        slowest = slowest.max(until("a change of the catalogue is seen", shown).await);
        of_catalogue += 1;
    }
    let open = began.elapsed();
    until("who is still being changed is as before", || is_grown(&reader.remote, "late", false)).await;
    query("commit").execute(&mut long).await.expect("a commit");
    let last = until("the change that commits last is seen", || is_grown(&reader.remote, "late", true)).await;
    assert!(writer.runs() && reader.runs());
    println!(
        "two processes: {of_people} changes of people and {of_catalogue} of the catalogue through one while a writing \
         transaction was open for {open:?}, and its own: all {} seen by the other, 0 lost; the slowest after \
         {slowest:?}, its own {last:?} after the commit",
        of_people + of_catalogue + 1
    );
    assert_eq!((of_people, of_catalogue), (PEOPLE * ROUNDS, ROUNDS));
}

/// A stream of views that adds up a property.
fn views(of: &str) -> Stream {
    Stream::new("viewed".parse().expect("a name"), Vec::new(), None, Some(of.into()), Keep::Few)
}

async fn add(store: &Opened, stream: &Stream) {
    let row = StreamRow { id: stream.id().0, definition: stream.definition(), epoch: 0, live: false };
    store.events.add_streams(1, vec![row]).await.expect("a stream");
    assert_eq!(store.events.streams(1).await.expect("streams").0, 1, "at the first epoch");
}

async fn look(store: &Opened, cursor: Option<Cursor>) -> FeedBatch {
    let began = Instant::now();
    loop {
        match store.feed.poll(cursor.clone()).await {
            Ok(batch) => return batch,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
    assert!(copied.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_took_back_is_no_longer_believed() {
    let cluster = Cluster::start().await;
    let database = cluster.url("catalogue");
    let Cluster { mut server, folder: site, .. } = cluster;
    let (pg, standby) = (site.path().join("pg"), site.path().join("standby"));
    let data = folder();
    let mut process = tokio::task::block_in_place(|| Process::start(data.path(), Some(&database), PATIENCE));
    process.remote.patch("anna", &json!({"age": 30})).await;
    // a standby, which from here on lags behind
    server = tokio::task::block_in_place(|| {
        server.stop().expect("it stops");
        copy(&pg, &standby);
        harness::start(site.path())
    });
    until("the service is back", || is_grown(&process.remote, "anna", true)).await;
    let store = store::open(&store::Options::new(&database)).expect("a store");
    let before = look(&store, None).await.cursor;
    process.remote.patch("anna", &json!({"age": 10})).await;
    until("anna is cached", || is_grown(&process.remote, "anna", false)).await;
    add(&store, &views("lost")).await;
    let send = async |user: &str, at: Millis| {
        let event = json!({"user": user, "type": "viewed", "at": at, "properties": {"lost": 1, "kept": 1}});
        let sent = process.remote.request(Method::POST, "/v1/events").json(&event).sent().await;
        assert_eq!(read(sent, 200).await["accepted"], 1);
    };
    let now = Millis(std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_millis() as i64);
    send("ben", now).await;
    until("the stream has its history", || async {
        store.events.streams(1).await.is_ok_and(|(_, streams)| streams.iter().all(|stream| stream.live))
    })
    .await;
    // until the service has read that too, it reads streams again by itself
    sleep(Duration::from_secs(1)).await;

    // The server is lost, and the standby becomes the server.
    server = tokio::task::block_in_place(|| {
        server.stop().expect("it stops");
        fs::remove_dir_all(&pg).expect("the server is lost");
        fs::rename(&standby, &pg).expect("the standby takes its place");
        let (signal, owner) = (pg.join("standby.signal"), fs::metadata(&pg).expect("a folder"));
        fs::write(&signal, "").expect("a file");
        chown(&signal, Some(owner.uid()), Some(owner.gid())).expect("its owner");
        harness::start(site.path())
    });
    let mut connection = connect(&database).await;
    let recovers = async |connection: &mut PgConnection| -> bool {
        query_scalar("select pg_is_in_recovery()").fetch_one(connection).await.expect("an answer")
    };
    assert!(recovers(&mut connection).await, "it follows until it is promoted");
    let promoted: bool = query_scalar("select pg_promote()").fetch_one(&mut connection).await.expect("promoted");
    assert!(promoted && !recovers(&mut connection).await);
    let began = Instant::now();
    // another replica gives the first epoch to another stream
    add(&store, &views("kept")).await;

    let batch = look(&store, Some(before.clone())).await;
    assert!(batch.failed_over && batch.changes.is_empty());
    let (old, new) = (before.server, batch.cursor.server);
    assert_eq!((new.system, new.timeline), (old.system, old.timeline + 1), "the same database, another timeline");
    until("anna is who she was", || is_grown(&process.remote, "anna", true)).await;
    println!(
        "after a failover from timeline {} to {} people were read anew within {:?}",
        old.timeline,
        new.timeline,
        began.elapsed()
    );
    send("carla", now).await;
    let packed: Vec<u8> =
        query_scalar("select packed from profile where key = 'carla'").fetch_one(&mut connection).await.expect("carla");
    let properties: Map<_, _> = ["lost", "kept"].map(|name| (name.to_owned(), json!(1))).into_iter().collect();
    let event = Event { name: "viewed".parse().expect("a name"), at: now, properties };
    let mut carla = UserState::default();
    carla.absorb(&Streams::from_iter([views("kept")]), &event);
    assert_eq!(packed, carla.encode(), "folded into the streams of this server");
    assert!(process.runs());
    drop(server);
}
