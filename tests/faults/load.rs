//! Decisions without a pause, each with what came of it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Remote, ask};

/// For whom a decision is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Who {
    /// Somebody who was decided for before.
    Known,
    /// Somebody whom the service has never met.
    New,
    /// Nobody named.
    Keyless,
}

/// One decision.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) who: Who,
    pub(crate) asked: Instant,
    pub(crate) took: Duration,
    pub(crate) status: u16,
    pub(crate) level: String,
    pub(crate) degraded: Vec<String>,
}

/// One beacon: its status and what became of it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) click: bool,
    pub(crate) status: u16,
    pub(crate) outcome: String,
    pub(crate) at: Instant,
}

/// People who are known, each by a profile.
pub(crate) const KNOWN: u64 = 5;

/// Decisions and beacons in the background until they are stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    tasks: JoinSet<Vec<Told>>,
}

impl Load {
    /// Starts one loop for each kind of person.
    pub(crate) fn start(remote: &Remote) -> Self {
        let mut load = Self { stop: Arc::default(), samples: Arc::default(), tasks: JoinSet::new() };
        for who in [Who::Known, Who::New, Who::Keyless] {
            let (stop, samples, remote) = (Arc::clone(&load.stop), Arc::clone(&load.samples), remote.clone());
            load.tasks.spawn(async move {
                let mut beacons = JoinSet::new();
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    let (sample, item) = decide(&remote, who, round).await;
                    if who != Who::New && round.is_multiple_of(8) && sample.status == 200 {
                        beacons.spawn(tell(remote.clone(), item, round.is_multiple_of(16)));
                    }
                    samples.lock().expect("whole").push(sample);
                    round += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                beacons.join_all().await
            });
        }
        load
    }

    /// Whether the last decision for somebody known was personalised.
    pub(crate) fn is_fresh(&self) -> bool {
        let samples = self.samples.lock().expect("whole");
        samples
            .iter()
            .rev()
            .find(|sample| sample.who == Who::Known)
            .is_some_and(|sample| sample.level == "personalised")
    }

    /// Stops, and hands over everything.
    pub(crate) async fn stop(self) -> (Vec<Sample>, Vec<Told>) {
        self.stop.store(true, Ordering::Relaxed);
        let told = self.tasks.join_all().await.into_iter().flatten().collect();
        (std::mem::take(&mut self.samples.lock().expect("whole")), told)
    }
}

async fn decide(remote: &Remote, who: Who, round: u64) -> (Sample, Value) {
    let mut body = match who {
        Who::Known => ask(&format!("known-{}", round % KNOWN), "home"),
        Who::New => ask(&format!("new-{}", uuid::Uuid::now_v7()), "home"),
        Who::Keyless => ask("", "home"),
    };
    if who == Who::Keyless {
        body["user"] = json!({});
    }
    let asked = Instant::now();
    let answer = remote.request(Method::POST, "/v1/decisions").json(&body).send().await;
    let (status, mut answer) = match answer {
        Ok(answer) => (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default()),
        Err(error) => (0, json!(error.to_string())),
    };
    let took = asked.elapsed();
    let item = answer.pointer_mut("/placements/top/0").map(Value::take).unwrap_or_default();
    let level = item["fallback_level"].as_str().unwrap_or_default().to_owned();
    let degraded = serde_json::from_value(item["degraded"].clone()).unwrap_or_default();
    (Sample { who, asked, took, status, level, degraded }, item)
}

async fn tell(remote: Remote, item: Value, click: bool) -> Told {
    let at = Instant::now();
    let url = item[if click { "click_url" } else { "impression_url" }].as_str().expect("a URL").to_owned();
    let (status, outcome) = remote.beacon(&url).await;
    Told { click, status, outcome, at }
}
