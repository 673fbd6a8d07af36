//! What callers see: the whole service over HTTP.
#![expect(clippy::disallowed_methods, reason = "tests have settings and ids of their own")]

mod arms;
mod beacons;
mod blind;
mod browser;
mod budgets;
mod bundles;
mod consent;
mod conversions;
mod crm;
mod decisions;
mod events;
mod experiments;
mod feeds;
mod harness;
mod identity;
mod inert;
mod late;
mod learning;
mod lessons;
mod lint;
mod models;
mod openrtb;
mod overflow;
#[path = "../support/places.rs"]
mod places;
mod privacy;
mod process;
mod refusals;
mod replicas;
mod reports;
mod reviews;
mod shadow;
#[path = "../support/signals.rs"]
mod signals;
mod simulations;
mod starts;
mod streams;
mod tags;
mod video;
mod webhooks;
mod what_if;
mod wire;

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use self::harness::{Cluster, Service};

/// The cluster that all tests of this program share.
async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_init(|| async {
            let cluster = Cluster::start().await;
            clear_away(&cluster);
            cluster
        })
        .await
}

/// Removes the cluster's folders once this program has ended, however it ends: nothing else would,
/// as what is shared is never dropped.
fn clear_away(cluster: &Cluster) {
    let url = cluster.server.url();
    let socket = url.split_once("host=").expect("a socket").1;
    let script = "cat; while ! rm -rf \"$@\"; do sleep 0.2; done; sleep 2; rm -rf \"$@\"";
    Command::new("sh")
        .args(["-c", script, "sh", socket])
        .arg(cluster.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map(std::mem::forget)
        .expect("a shell");
}

/// A service on a database of its own, while it is its turn: the server has 60 connections, and a
/// service takes up to 13.
async fn service() -> (Service, SemaphorePermit<'static>) {
    let turn = turn(1).await;
    (Service::start(&cluster().await.database().await, |_| {}).await, turn)
}

/// Waits until so many services may run.
async fn turn(services: u32) -> SemaphorePermit<'static> {
    static TURNS: Semaphore = Semaphore::const_new(4);
    TURNS.acquire_many(services).await.expect("never closed")
}

/// Waits for tomorrow where today has less than 90 s left, for tests of what is counted by day.
pub(crate) async fn in_one_day() {
    const DAY: Duration = Duration::from_secs(86_400);
    let gone = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs() % DAY.as_secs();
    let left = DAY - Duration::from_secs(gone);
    if left < Duration::from_secs(90) {
        tokio::time::sleep(left).await;
    }
}
