//! What marketers wait for, each figure beside its goal: `cargo bench --bench marketers`.
//!
//! Combinations counted; a catalogue of 10,000 campaigns, each with 5 creatives of 6 slots of 8
//! components, compiled, changed, and swapped while decisions are made; and at a service of its own a
//! table of 100,000 components and a feed of 700,000 products. `TESSERA_BENCH_CAMPAIGNS` sets how
//! many campaigns, `TESSERA_BENCH_ROWS` which share of the rows (1 of so many).
#![expect(clippy::disallowed_methods, reason = "benches have settings and clocks of their own")]

mod catalogue;
mod service;

use std::time::Instant;

use serde_json::{Value, json};
use tessera::domain::{
    creative::{Combinations, Pairing},
    ids::ComponentId,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let setting = |name: &str, usual: usize| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual);
    combinations();
    service::run(setting("TESSERA_BENCH_ROWS", 1).max(1));
    catalogue::run(setting("TESSERA_BENCH_CAMPAIGNS", 10_000));
}

/// Six slots of eight, with rules that tie all of them together.
fn combinations() {
    let id = |slot: usize, component: usize| format!("{slot}-{component}");
    let mut rules: Vec<Value> = (0..8).map(|n| json!({"group": [id(0, n), id(3, n)]})).collect();
    rules.extend((0..8).map(|n| json!({"forbid": [id(1, n), id(2, (n + 1) % 8)]})));
    rules.extend((0..8).map(|n| json!({"require": {"if": id(4, n), "then": [id(5, n), id(5, (n + 3) % 8)]}})));
    rules.extend((0..4).map(|n| json!({"forbid": [id(0, n), id(2, n), id(4, n)]})));
    let rules: Vec<_> = rules.into_iter().map(|rule| serde_json::from_value(rule).expect("a rule")).collect();
    let find = |id: &ComponentId| {
        let (slot, component) = id.as_str().split_once('-')?;
        Some((slot.parse().ok()?, component.parse().ok()?))
    };
    let options: Vec<Vec<u32>> = vec![(0..8).collect(); 6];
    let (mut slowest, mut count) = (0.0_f64, 0);
    for _ in 0..50 {
        let began = Instant::now();
        let pairing = Pairing::compile(&rules, find).expect("rules");
        count = Combinations::of(&pairing, &options).expect("few").count();
        slowest = slowest.max(ms(began));
    }
    println!("combinations of 8^6 under {} rules: {count}, counted within {slowest:.2} ms (goal 10 ms)", rules.len());
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1_000.0
}

/// What a process holds in memory: now, and at most so far, in MB.
fn memory(process: &str) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() * 1_024.0 / 1e6
    };
    (of("VmRSS:"), of("VmHWM:"))
}
