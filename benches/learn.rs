//! What learning and choosing cost, beside the goals: for 5 slots of 8 components and 64 active
//! features a choice in at most 5 us at the median and 25 us at the 99th percentile, the exact
//! probability of one in at most 80 us and once more in at most 1 us, an outcome learned in at most
//! 1 us, a snapshot of 64 draws in at most 10 ms; chosen by within a second of its commit, and on
//! every other replica within 5.
//!
//! `cargo bench --bench learn`

#![expect(clippy::disallowed_methods, reason = "benches have settings and clocks of their own")]

#[path = "support/freshness.rs"]
mod freshness;

use std::{
    collections::HashMap,
    hint::black_box,
    time::{Duration, Instant},
};

use tessera::domain::{
    optimizer::{Free, Layout, Lesson, LessonKind, Likely, Posterior, Settings, Snapshot, Space, Statistics},
    values::Millis,
};

/// The times of many calls, shortest first.
fn times<T>(calls: u64, mut call: impl FnMut(u64) -> T) -> Vec<Duration> {
    let mut times: Vec<_> = (0..calls)
        .map(|at| {
            let start = Instant::now();
            black_box(call(at));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}

fn at(times: &[Duration], share: f64) -> Duration {
    times[((times.len() - 1) as f64 * share) as usize]
}

fn told(what: &str, took: Duration, goal: Duration) {
    let met = if took <= goal { "met" } else { "MISSED" };
    println!(
        "{what:<58} {:>10.3} us   goal {:>8.1} us   {met}",
        took.as_nanos() as f64 / 1e3,
        goal.as_nanos() as f64 / 1e3
    );
}

/// A number that looks random.
fn mixed(seed: u64) -> u64 {
    let bits = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

fn choice(seed: u64) -> Vec<u16> {
    (0..5).map(|slot| (mixed(seed * 5 + slot) % 8) as u16).collect()
}

fn main() {
    let (us, layout, settings) = (Duration::from_micros, Layout::new(&[8; 5], 64), Settings::default());
    let mut statistics = Statistics::new(layout.clone());
    let mut posterior = Posterior::new(&statistics, &settings);
    let every: Vec<u16> = (0..64).collect();
    let some = |seed: u64, count: u64| {
        let mut features: Vec<u16> = (0..count).map(|at| ((seed + at * 13) % 64) as u16).collect();
        features.sort_unstable();
        features.dedup();
        features
    };
    for seed in 0..50_000 {
        let (choice, features) = (choice(seed), some(mixed(seed) % 64, 8));
        let lesson = |kind| Lesson { choice: &choice, features: &features, kind, at: Millis(0) };
        posterior.learn(&lesson(LessonKind::Shown)).expect("a lesson");
        if mixed(seed) % 1_000 < 20 + 10 * u64::from(choice[0]) {
            posterior.learn(&lesson(LessonKind::Rewarded { value: 1.0 })).expect("a lesson");
        }
    }
    statistics.merge(&posterior.take());
    let posterior = Posterior::new(&statistics, &settings);
    let draw = |version| Snapshot::new(1, version, black_box(&posterior), &statistics, &settings);
    let snapshot = draw(1);
    println!(
        "5 slots of 8 components, 64 features: {} weights, {} KB a snapshot, {} KB of statistics",
        layout.weights(),
        snapshot.bytes() / 1_024,
        statistics.encode().len() / 1_024
    );
    let space = Space::new(&layout, vec![(0..8).collect(); 5], Free).expect("a space");
    for (count, features) in [(4, some(1, 4)), (8, some(1, 8)), (64, every.clone())] {
        let times = times(50_000, |seed| snapshot.choose(&space, black_box(&features), mixed(seed)));
        told(&format!("choose, {count} active features, median"), at(&times, 0.5), us(5));
        told(&format!("choose, {count} active features, 99th percentile"), at(&times, 0.99), us(25));
    }
    let build = times(20_000, |_| Space::new(&layout, vec![(0..8).collect(); 5], Free));
    told("the space of legal combinations, no rules, median", at(&build, 0.5), us(5));
    for (count, features) in [(8, some(1, 8)), (64, every.clone())] {
        let chosen: Vec<_> = (0..2_000).map(|seed| snapshot.choose(&space, &features, mixed(seed)).choice).collect();
        let times = times(2_000, |at| snapshot.propensity(&space, &features, &chosen[at as usize]));
        told(&format!("exact probability, {count} active features, median"), at(&times, 0.5), us(80));
    }
    cached(&snapshot, &space, &some(1, 8));
    let rounds = times(500, |_| snapshot.mixture(&space, &every));
    told("how likely every choice is, 64 active features, median", at(&rounds, 0.5), us(400));
    // exposures carry 16 at most
    for (count, features) in [(4, some(1, 4)), (8, some(1, 8)), (16, some(1, 16)), (64, every)] {
        let choices: Vec<_> = (0..512).map(choice).collect();
        let mut learner = Posterior::new(&statistics, &settings);
        let rounds = times(200, |_| {
            for choice in &choices {
                let lesson = Lesson { choice, features: &features, kind: LessonKind::Shown, at: Millis(0) };
                black_box(learner.learn(&lesson)).expect("a lesson");
            }
        });
        told(&format!("learn one outcome, {count} active features, median"), at(&rounds, 0.5) / 512, us(1));
    }
    let rounds = times(50, draw);
    told("snapshot of 64 draws, median", at(&rounds, 0.5), us(10_000));
    let rounds = times(50, |_| Posterior::new(black_box(&statistics), &settings));
    told("posterior with fitted priors, median", at(&rounds, 0.5), us(10_000));
    let bytes = statistics.encode();
    let rounds = times(50, |_| Statistics::decode(black_box(&bytes)).expect("own bytes").encode());
    told("decode and encode statistics, median", at(&rounds, 0.5), us(10_000));
    let took = freshness::measure(20);
    for (what, goal, of) in [
        ("where it came", us(1_000_000), took.iter().map(|took| took.0).collect::<Vec<_>>()),
        ("on another replica", us(5_000_000), took.iter().map(|took| took.1).collect()),
    ] {
        told(&format!("an outcome is chosen by {what}, longest of 20"), of.into_iter().max().unwrap_or_default(), goal);
    }
}

/// The exact probability of what was asked for before, found by its context as the log of decisions does.
fn cached(snapshot: &Snapshot, space: &Space<Free>, features: &[u16]) {
    let chosen: Vec<_> = (0..512).map(|seed| snapshot.choose(space, features, mixed(seed)).choice).collect();
    let context = || (black_box(7_usize), features.to_vec(), space.options().to_vec());
    let mut contexts = HashMap::from([(context(), Likely::new(snapshot, space, features, u64::MAX))]);
    let mut all = || {
        for choice in &chosen {
            let likely = contexts.get_mut(&context()).expect("known");
            black_box(likely.of(snapshot, space, features, choice));
        }
    };
    all();
    let rounds = times(200, |_| all());
    told("exact probability, asked for before, median", at(&rounds, 0.5) / 512, Duration::from_micros(1));
}
