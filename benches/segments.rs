//! Lists and previews at full size, each beside its goal: `cargo bench --bench segments`.
//!
//! `TESSERA_BENCH_PEOPLE` sets how many people are uploaded.
#![expect(clippy::disallowed_methods, reason = "benches have settings and clocks of their own")]

use std::time::{Duration, Instant};

use serde_json::json;
use tessera::{
    domain::{
        audience::{
            caps::CapRing,
            preview::{Population, Probe, Tally},
            profile::Traits,
            rule::SegmentRule,
            user::{Lists, UserState},
        },
        ids::{SegmentKey, Uid, UserKey},
        values::Millis,
    },
    ports::{UploadMode, UploadRow},
    store::{
        self,
        embedded::{Options, PrivateCluster},
    },
};

fn main() {
    preview();
    let people = std::env::var("TESSERA_BENCH_PEOPLE").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = PrivateCluster::start(Options {
        data_dir: folder.path().join("data"),
        guard: env!("CARGO_BIN_EXE_tessera").into(),
        binaries: None,
        search: std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect(),
    })
    .expect("a private cluster");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(lists(&cluster.url(), people));
}

/// A preview of a rule of four conditions, compared with 20 segments, over a sample of 20,000.
fn preview() {
    let rule = |node| SegmentRule::parse(&json!({"v": 1, "kind": "dynamic", "match": node})).expect("a rule");
    let known: Vec<(SegmentKey, Option<SegmentRule>)> = (0..20)
        .map(|n| {
            let node =
                json!({"any": [{"trait": "age", "gte": n, "lt": n + 20}, {"trait": "city", "eq": format!("c{n}")}]});
            (format!("s{n}").parse().expect("a key"), Some(rule(node)))
        })
        .collect();
    let keys: Vec<_> = known.iter().map(|(key, _)| key.clone()).collect();
    let draft =
        rule(json!({"all": [{"trait": "age", "gte": 18, "lt": 26}, {"trait": "likes", "has_any": ["l1", "l2"]},
        {"not": {"trait": "city", "eq": "c3"}}, {"trait": "seen", "within_last": "P30D"}]}));
    let SegmentRule::Dynamic(draft) = draft else { unreachable!("a dynamic rule") };
    let people: Vec<UserState> = (0..20_000_u32)
        .map(|n| {
            let traits = json!({"age": n % 80, "city": format!("c{}", n % 50), "likes": [format!("l{}", n % 7)],
                "seen": "2026-11-01T00:00:00Z", "vip": n % 9 == 0, "spend": n});
            let traits = Traits::parse(&traits, Millis(0)).expect("traits");
            UserState::new(1, traits, Lists::default(), CapRing::default())
        })
        .collect();
    let mut took: Vec<Duration> = (0..30)
        .map(|_| {
            let began = Instant::now();
            let probe = Probe::new(&draft, &known, &keys, &std::sync::Arc::default()).expect("a probe");
            let mut tally = Tally::default();
            for (state, n) in people.iter().zip(1..) {
                probe.ask(Uid(n), state, Millis(1_795_000_000_000), &mut tally);
            }
            let size = Population::below(20_000, Uid(u128::MAX / 50)).like(probe.size(&tally));
            std::hint::black_box((size, probe.conditions(&tally)));
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!(
        "preview of 4 conditions and 20 overlaps over 20,000 people: p50 {:?}, worst {:?} (goal: 50 ms)",
        took[15], took[29]
    );
}

async fn lists(url: &str, count: usize) {
    let store = store::open(&store::Options::new(url)).expect("a store");
    store.migrate().await.expect("migrated");
    let account = store.catalog.create_account("default".parse().expect("an id")).await.expect("an account");
    let list: SegmentKey = "crm".parse().expect("a key");
    for (what, mode, share) in [
        ("add people who are not known yet", UploadMode::Add, 1),
        ("add the same again", UploadMode::Add, 1),
        ("replace by every second", UploadMode::Replace, 2),
        ("add all who are known", UploadMode::Add, 1),
    ] {
        let began = Instant::now();
        let mut upload = store.crowds.upload(account.number, list.clone(), mode).await.expect("an upload");
        let mut rows = Vec::with_capacity(10_000);
        for n in (0..count).step_by(share) {
            let key: UserKey = format!("user-{n}").parse().expect("a key");
            rows.push(UploadRow { uid: Uid::of(&account.secret, &key), key, expires_at: None });
            if rows.len() == 10_000 {
                upload.stage(std::mem::take(&mut rows)).await.expect("staged");
            }
        }
        upload.stage(rows).await.expect("staged");
        let staged = began.elapsed();
        let (mut changed, mut longest) = (0, Duration::ZERO);
        loop {
            let step = Instant::now();
            let Some(done) = upload.step().await.expect("a step") else { break };
            changed += done.moved.changed;
            longest = longest.max(step.elapsed());
        }
        let ids = count / share;
        println!(
            "{what}: {:.0} ids/s, {changed} changed (staged in {:.1} s of {:.1}, longest step {longest:?}; goal: 100,000 ids/s)",
            ids as f64 / began.elapsed().as_secs_f64(),
            staged.as_secs_f64(),
            began.elapsed().as_secs_f64(),
        );
    }
}
