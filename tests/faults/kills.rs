//! The service is killed while it writes: what it said is safe is there after the next start.

use std::{
    collections::BTreeMap,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::{task::JoinSet, time::sleep};
use uuid::Uuid;

use crate::{
    harness::{PATIENCE, Remote, ask, folder, read, until},
    process::{Process, gone, postmaster, server_of},
    setting,
};

/// What the service has said is safe.
#[derive(Clone, Default)]
struct Said {
    /// By person, the last number that was answered.
    numbers: BTreeMap<String, u64>,
    /// Decisions whose impression was recorded or accepted.
    seen: Vec<Uuid>,
}

/// Changes one person again and again, and reports impressions, until the service is gone.
async fn write(remote: Remote, writer: usize, said: Arc<Mutex<Said>>, stop: Arc<AtomicBool>) {
    let user = format!("writer-{writer}");
    let mut number = said.lock().expect("whole").numbers.get(&user).copied().unwrap_or_default();
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let patch = json!({"traits": {"number": number}});
        let patched = remote.request(Method::PATCH, &format!("/v1/profiles/{user}")).json(&patch).send().await;
        if patched.is_ok_and(|answer| answer.status() == 200) {
            said.lock().expect("whole").numbers.insert(user.clone(), number);
        }
        let Ok(answer) = remote.request(Method::POST, "/v1/decisions").json(&ask(&user, "home")).send().await else {
            continue;
        };
        let answer: Value = answer.json().await.unwrap_or_default();
        let item = &answer["placements"]["top"][0];
        let Some(url) = item["impression_url"].as_str() else { continue };
        let Ok(told) = remote.http.get(url).send().await else { continue };
        if told.headers().get("tessera-outcome").is_some_and(|is| is == "recorded" || is == "accepted") {
            let id = item["decision_id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
            said.lock().expect("whole").seen.push(id);
        }
    }
}

/// Checks that everything that was said holds.
async fn hold(remote: &Remote, data: &Path, said: &Said) {
    for (user, number) in &said.numbers {
        let sent = remote.request(Method::GET, &format!("/v1/profiles/{user}")).send().await;
        let profile = read(sent.expect("an answer"), 200).await;
        let kept = profile["traits"]["number"]["value"].as_f64().expect("a number");
        // the change under way when the service was killed may or may not be there
        assert!((*number as f64..=*number as f64 + 1.0).contains(&kept), "{user} was at {number} and is at {kept}");
    }
    let url = format!("postgres://tessera@localhost/tessera?host={}", postmaster(data)[4]);
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    let began = Instant::now();
    loop {
        let sql = "select count(*), count(distinct decision) from outcome where decision = any($1)";
        let (rows, decisions): (i64, i64) =
            sqlx::query_as(sql).bind(&said.seen).fetch_one(&mut connection).await.expect("a count");
        assert_eq!(rows, decisions, "an impression counts once");
        if decisions == said.seen.len() as i64 {
            return;
        }
        // those in the local log are replayed
        assert!(began.elapsed() < PATIENCE, "{decisions} of {} impressions are there", said.seen.len());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_service_loses_nothing_it_acknowledged_and_leaves_no_server() {
    let rounds = setting("TESSERA_PROOF_ROUNDS", 10);
    let data = folder();
    let said = Arc::new(Mutex::new(Said::default()));
    let mut process = Process::start(data.path(), None, PATIENCE);
    process.remote.author().await;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for writer in 0..4 {
            writers.spawn(write(process.remote.clone(), writer, Arc::clone(&said), Arc::clone(&stop)));
        }
        // a generator of its own, so that every run kills at the same moments (Marsaglia's xorshift)
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        sleep(Duration::from_millis(150 + seed % 450)).await;
        let server = server_of(data.path());
        process.end(Signal::SIGKILL);
        stop.store(true, Ordering::Relaxed);
        writers.join_all().await;
        if round % 2 == 0 {
            // the database server does not outlive the service
            tokio::task::block_in_place(|| gone(server));
        }
        process = tokio::task::block_in_place(|| Process::start(data.path(), None, PATIENCE));
        assert_ne!(server_of(data.path()), server, "the server of a dead service is not joined");
        let said = said.lock().expect("whole").clone();
        hold(&process.remote, data.path(), &said).await;
    }
    let server = server_of(data.path());
    assert!(process.end(Signal::SIGTERM).success());
    gone(server);
    let said = said.lock().expect("whole");
    let changes: u64 = said.numbers.values().sum();
    println!("{rounds} kills: {changes} changes of people and {} impressions acknowledged, none lost", said.seen.len());
    assert!(changes >= rounds && said.seen.len() as u64 >= rounds, "too little was written to show anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_start_is_waited_for_with_the_last_catalogue() {
    let data = folder();
    let process = Process::start(data.path(), None, PATIENCE);
    process.remote.author().await;
    process.remote.patch("anna", &json!({"age": 30})).await;
    let known = || async { process.remote.item("anna", "home").await["fallback_level"] == "personalised" };
    until("she is known", known).await;
    process.end(Signal::SIGTERM);
    let control = data.path().join("pg/global/pg_control");
    let away = data.path().join("pg_control");
    std::fs::rename(&control, &away).expect("a file of the cluster");
    let process = tokio::task::block_in_place(|| Process::start(data.path(), None, PATIENCE));
    let without = process.remote.item("anna", "home").await;
    assert_eq!((&without["status"], &without["fallback_level"]), (&json!("filled"), &json!("contextual")));
    assert_eq!(without["degraded"].as_array().map(Vec::len), Some(1), "{without}");
    std::fs::rename(&away, &control).expect("the file is put back");
    until("people are known again", || async {
        process.remote.item("anna", "home").await["fallback_level"] == "personalised"
    })
    .await;
    process.remote.patch("anna", &json!({"age": 31})).await;
}

/// Programs of PostgreSQL whose server does not begin for as long as `hold` is there.
fn held_programs(data: &Path, folder: &Path, hold: &Path) -> PathBuf {
    let started = std::fs::read_to_string(data.join("pg/postmaster.opts")).expect("how the server was started");
    let server = Path::new(started.split(' ').next().expect("a program"));
    let programs = folder.join("bin");
    std::fs::create_dir(&programs).expect("a folder");
    symlink(server.with_file_name("initdb"), programs.join("initdb")).expect("a link");
    let (postgres, hold, server) = (programs.join("postgres"), hold.display(), server.display());
    // a run in the background ignores interrupts, and what a shell finds ignored it cannot trap
    let script = format!(
        "#!/usr/bin/env -S --default-signal=INT sh\ntrap 'exit 1' INT\n[ \"$1\" = --version ] || while [ -e {hold} ]; do sleep 0.05; done\n\
         trap - INT\nexec {server} \"$@\"\n"
    );
    std::fs::write(&postgres, script).expect("written");
    std::fs::set_permissions(&postgres, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    programs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_slow_to_start_is_not_waited_for_where_there_is_a_catalogue() {
    let (data, aside) = (folder(), folder());
    let process = Process::start(data.path(), None, PATIENCE);
    process.remote.author().await;
    process.remote.patch("anna", &json!({"age": 30})).await;
    process.end(Signal::SIGTERM);
    let hold = aside.path().join("hold");
    let programs = held_programs(data.path(), aside.path(), &hold);
    // however long a start would wait, this test ends
    let late = hold.clone();
    std::thread::spawn(move || {
        std::thread::sleep(3 * PATIENCE);
        std::fs::remove_file(late).ok();
    });
    let start = || {
        std::fs::write(&hold, "").expect("a file");
        let wait = Duration::from_secs(1);
        let process = tokio::task::block_in_place(|| Process::start_on(data.path(), None, wait, Some(&programs)));
        assert!(hold.exists(), "it listens before its database does");
        process
    };

    let process = start();
    let family = process.family();
    assert!(family.len() > 1, "the database's start goes on");
    let began = Instant::now();
    assert!(process.end(Signal::SIGTERM).success());
    assert!(began.elapsed() < PATIENCE / 2, "it ended after {:?}", began.elapsed());
    assert!(hold.exists(), "nothing was waited for");
    family.into_iter().for_each(gone);

    let process = start();
    let without = process.remote.item("anna", "home").await;
    assert_eq!((&without["status"], &without["fallback_level"]), (&json!("filled"), &json!("contextual")));
    let family = process.family();
    std::fs::remove_file(&hold).expect("let go");
    until("people are known again", || async {
        process.remote.item("anna", "home").await["fallback_level"] == "personalised"
    })
    .await;
    process.remote.patch("anna", &json!({"age": 31})).await;
    let server = server_of(data.path());
    assert!(family.contains(&server), "it is the server whose start was under way");
    assert!(process.end(Signal::SIGTERM).success());
    gone(server);
}
