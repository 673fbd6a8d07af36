//! The database is killed, frozen, slow, restarted, read-only or gone at the start: decisions go on.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tessera::store::embedded::PrivateCluster;
use tokio::time::sleep;

use crate::{
    harness::{self, Cluster, PATIENCE, folder, until},
    load::{KNOWN, Load, Sample, Told, Who},
    process::{Process, server_of, signal_all},
    setting,
};

/// What a decision may take where nothing is said, in ms.
const BUDGET: Duration = Duration::from_millis(20);
/// What the test's own client and a busy machine may add; nothing is optimised in a debug build.
const SLACK: Duration = Duration::from_millis(if cfg!(debug_assertions) { 480 } else { 80 });
/// How long a profile counts as current after the feed last proved it, and then some.
const LEASE: Duration = Duration::from_millis(1_300);
/// Within which everything is current again.
const AGAIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Frozen,
    Slow,
    Restarted,
    ReadOnly,
    GoneAtStart,
}

impl Fault {
    const ALL: [Self; 6] = [Self::Killed, Self::Frozen, Self::Slow, Self::Restarted, Self::ReadOnly, Self::GoneAtStart];

    /// Whether nothing can be read for as long as the fault lasts.
    fn is_total(self) -> bool {
        matches!(self, Self::Frozen | Self::Restarted | Self::GoneAtStart)
    }

    /// Levels that are right for somebody once the lease is over.
    fn levels(self, who: Who) -> &'static [&'static str] {
        match (self, who) {
            (_, Who::Keyless) => &["contextual"],
            (Self::Frozen | Self::Restarted, Who::Known) => &["stale"],
            (Self::Killed | Self::Slow, Who::Known) => &["personalised", "stale"],
            (Self::Killed | Self::Slow, Who::New) => &["personalised", "contextual"],
            (Self::ReadOnly, _) => &["personalised"],
            (Self::GoneAtStart, _) | (_, Who::New) => &["contextual"],
        }
    }
}

/// The database server, there or not.
struct Site {
    server: Option<PrivateCluster>,
    folder: TempDir,
}

impl Site {
    fn stop(&mut self) {
        self.server.take().expect("it runs").stop().expect("it stops");
    }

    fn start(&mut self) {
        self.server = Some(harness::start(self.folder.path()));
    }

    /// Brings the fault about, for as long as `lasting`; answers from when on it was there, and when its
    /// end began or, where it ends by itself, was over.
    async fn suffer(&mut self, fault: Fault, database: &str, lasting: Duration) -> (Instant, Instant) {
        let server = self.server.as_ref().map(|_| server_of(self.folder.path()));
        let server = || server.expect("it runs");
        let began;
        let over = match fault {
            Fault::Killed => {
                // whoever runs the cluster starts it again
                signal_all(server(), Signal::SIGKILL);
                began = Instant::now();
                sleep(lasting).await;
                // it recovers first, which syncs every file
                while PgConnection::connect(database).await.is_err() {
                    sleep(Duration::from_millis(20)).await;
                }
                Instant::now()
            }
            Fault::Frozen => {
                signal_all(server(), Signal::SIGSTOP);
                began = Instant::now();
                sleep(lasting).await;
                let over = Instant::now();
                signal_all(server(), Signal::SIGCONT);
                over
            }
            Fault::Slow => {
                began = Instant::now();
                while began.elapsed() < lasting {
                    signal_all(server(), Signal::SIGSTOP);
                    sleep(Duration::from_millis(150)).await;
                    signal_all(server(), Signal::SIGCONT);
                    sleep(Duration::from_millis(50)).await;
                }
                Instant::now()
            }
            Fault::Restarted | Fault::GoneAtStart => {
                if fault == Fault::Restarted {
                    tokio::task::block_in_place(|| self.stop());
                }
                began = Instant::now();
                sleep(lasting).await;
                let over = Instant::now();
                tokio::task::block_in_place(|| self.start());
                over
            }
            Fault::ReadOnly => {
                self.read_only("on").await;
                began = Instant::now();
                sleep(lasting).await;
                self.read_only("off").await;
                Instant::now()
            }
        };
        (began, over)
    }

    async fn read_only(&self, value: &str) {
        let url = self.server.as_ref().expect("it runs").url();
        let mut connection = PgConnection::connect(&url).await.expect("a connection");
        for sql in [
            "set default_transaction_read_only = off".to_owned(),
            format!("alter system set default_transaction_read_only = {value}"),
            "select pg_reload_conf()".to_owned(),
        ] {
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("a setting");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_go_on_whatever_happens_to_the_database() {
    let cluster = Cluster::start().await;
    let database = cluster.database().await;
    let mut site = Site { server: Some(cluster.server), folder: cluster.folder };
    let lasting = Duration::from_millis(setting("TESSERA_PROOF_SECONDS", 0) * 1_000).max(Duration::from_millis(2_300));
    let mut table = Vec::new();
    let mut wrong = Vec::new();
    for fault in Fault::ALL {
        let trial = Trial::run(&mut site, fault, &database, lasting).await;
        table.push(trial.row());
        wrong.extend(trial.faults().into_iter().map(|what| format!("{fault:?}: {what}")));
    }
    println!("{HEAD}\n{}", table.join("\n"));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const HEAD: &str = "fault        decisions  personalised  stale  contextual  p50 ms  p99 ms  worst ms  accepted  recorded  \
                    fresh after ms";

/// One outage, with everything that was answered around it.
struct Trial {
    fault: Fault,
    began: Instant,
    over: Instant,
    samples: Vec<Sample>,
    told: Vec<Told>,
    /// Outcomes that came into the store.
    counted: i64,
    alive: bool,
}

impl Trial {
    async fn run(site: &mut Site, fault: Fault, database: &str, lasting: Duration) -> Self {
        let data = folder();
        let mut process = Process::start(data.path(), Some(database), PATIENCE);
        let before = count(database).await;
        for person in 0..KNOWN {
            process.remote.patch(&format!("known-{person}"), &json!({"age": 34})).await;
        }
        if fault == Fault::GoneAtStart {
            drop(process);
            tokio::task::block_in_place(|| site.stop());
            process = Process::start(data.path(), Some(database), Duration::from_millis(500));
        } else {
            for person in 0..KNOWN {
                let user = format!("known-{person}");
                let read = || async { process.remote.item(&user, "home").await["fallback_level"] == "personalised" };
                until("everybody is known", read).await;
            }
        }
        let load = Load::start(&process.remote);
        if fault != Fault::GoneAtStart {
            sleep(Duration::from_millis(500)).await;
        }
        let (began, over) = site.suffer(fault, database, lasting).await;
        until("decisions are personalised again", || async { load.is_fresh() }).await;
        sleep(Duration::from_millis(500)).await;
        let (samples, told) = load.stop().await;
        let expected = before + told.len() as i64;
        let waited = Instant::now();
        while count(database).await < expected && waited.elapsed() < Duration::from_secs(8) {
            sleep(Duration::from_millis(50)).await;
        }
        // what is replayed twice would show a little later
        sleep(Duration::from_millis(300)).await;
        let counted = count(database).await - before;
        let alive = process.runs();
        Self { fault, began, over, samples, told, counted, alive }
    }

    /// Everything that is not as it should be.
    fn faults(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let fault = self.fault;
        if !self.alive {
            wrong.push("the service ended".to_owned());
        }
        let lease = if fault == Fault::GoneAtStart { Duration::ZERO } else { LEASE };
        for sample in &self.samples {
            // a machine that is too busy for the budget gives up what is there
            let hurried = sample.took >= BUDGET && !fault.is_total();
            let within = sample.asked > self.began + lease && sample.asked + sample.took < self.over && !hurried;
            let given_up = !sample.degraded.is_empty();
            let expected = sample.who != Who::Keyless && sample.level != "personalised";
            let known_reasons = sample
                .degraded
                .iter()
                .all(|why| ["store_timeout", "store_unavailable", "deadline"].contains(&why.as_str()));
            if sample.status != 200
                || (within && !fault.levels(sample.who).contains(&sample.level.as_str()))
                || given_up != expected
                || !known_reasons
            {
                wrong.push(format!("after {:?}: {sample:?}", sample.asked.duration_since(self.began)));
            }
        }
        // a machine that is busy is late now and then, also with all three at once
        let late = |limit: Duration| self.samples.iter().filter(|sample| sample.took > limit).count();
        if late(BUDGET + SLACK) * 100 > self.samples.len() || late(4 * SLACK) > 3 {
            wrong.push(format!("{} of {} decisions were late", late(BUDGET + SLACK), self.samples.len()));
        }
        let hangs = |sample: &&Sample| {
            sample.took > 4 * SLACK && sample.asked < self.over && sample.asked + sample.took > self.over
        };
        if let Some(sample) = self.samples.iter().find(hangs) {
            wrong.push(format!("a decision waited for the database: {sample:?}"));
        }
        let fresh = self.fresh_after();
        if fresh > AGAIN {
            wrong.push(format!("current again only after {fresh:?}"));
        }
        for told in &self.told {
            let status = if told.click { 302 } else { 200 };
            if told.status != status || !["recorded", "accepted"].contains(&told.outcome.as_str()) {
                wrong.push(format!("after {:?}: {told:?}", told.at.duration_since(self.began)));
            }
        }
        if (fault.is_total() || fault == Fault::ReadOnly) && self.outcomes("accepted") == 0 {
            wrong.push("no outcome was accepted into the local log".to_owned());
        }
        if self.counted != self.told.len() as i64 {
            wrong.push(format!("{} outcomes told, {} counted", self.told.len(), self.counted));
        }
        wrong.truncate(10);
        wrong
    }

    /// How long after the fault the last decision for somebody known was not personalised.
    fn fresh_after(&self) -> Duration {
        let known = self.samples.iter().filter(|sample| sample.who == Who::Known && sample.level != "personalised");
        known.map(|sample| sample.asked.saturating_duration_since(self.over)).max().unwrap_or_default()
    }

    fn outcomes(&self, outcome: &str) -> usize {
        self.told.iter().filter(|told| told.outcome == outcome).count()
    }

    fn row(&self) -> String {
        let during: Vec<&Sample> =
            self.samples.iter().filter(|sample| sample.asked > self.began && sample.asked < self.over).collect();
        let mut levels: BTreeMap<&str, usize> = BTreeMap::new();
        for sample in &during {
            *levels.entry(sample.level.as_str()).or_default() += 1;
        }
        let share = |level| 100.0 * levels.get(level).copied().unwrap_or_default() as f64 / during.len().max(1) as f64;
        let mut took: Vec<f64> = during.iter().map(|sample| sample.took.as_secs_f64() * 1_000.0).collect();
        took.sort_by(f64::total_cmp);
        let at = |share: f64| took.get(((took.len() as f64 * share) as usize).min(took.len().max(1) - 1)).copied();
        let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|share| at(share).unwrap_or_default());
        format!(
            "{:<12} {:>9}  {:>11.1}%  {:>4.1}%  {:>9.1}%  {p50:>6.1}  {p99:>6.1}  {worst:>8.1}  {:>8}  {:>8}  {:>14}",
            format!("{:?}", self.fault),
            during.len(),
            share("personalised"),
            share("stale"),
            share("contextual"),
            self.outcomes("accepted"),
            self.outcomes("recorded"),
            self.fresh_after().as_millis()
        )
    }
}

/// Outcomes in a database.
async fn count(database: &str) -> i64 {
    let mut connection = PgConnection::connect(database).await.expect("a connection");
    sqlx::query_scalar("select count(*) from outcome").fetch_one(&mut connection).await.expect("a count")
}
