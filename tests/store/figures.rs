//! Figures, not checks: `cargo test --release --test store figures -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use tessera::{
    domain::{
        ids::{SegmentKey, Uid},
        measurement::outcome::Outcome,
    },
    ports::{MemberChange, Membership, ProfileWrite},
};

use crate::{
    outcomes::impression,
    people::traits,
    suite::{Place, somebody},
};

const PEOPLE: usize = 50_000;

fn percentiles(mut took: Vec<Duration>) -> String {
    took.sort_unstable();
    format!("p50 {:?}, p99 {:?}", took[took.len() / 2], took[took.len() * 99 / 100])
}

/// Measures loads of people and ingest of outcomes, and prints.
pub(crate) async fn print(place: Place) {
    let (store, account) = place.account().await;
    store.outcomes.maintain(crate::suite::now()).await.expect("maintained");
    let list: SegmentKey = "crm".parse().expect("a segment");
    let people: Vec<_> = (0..PEOPLE).map(|_| somebody(&account)).collect();
    let began = Instant::now();
    for chunk in people.chunks(1_000) {
        let packed = |write: ProfileWrite| ProfileWrite { packed: vec![7; 1_600], ..write };
        let writes = chunk.iter().map(|(key, uid)| packed(traits(key, *uid, 0, 1))).collect();
        store.users.write_profiles(account.number, writes).await.expect("written");
    }
    println!("profiles written: {:.0}/s in batches of 1,000", PEOPLE as f64 / began.elapsed().as_secs_f64());
    let began = Instant::now();
    for chunk in people.chunks(1_000) {
        let enter = |(key, uid): &(_, Uid)| MemberChange {
            uid: *uid,
            key: Clone::clone(key),
            change: Membership::In { expires_at: None },
        };
        let changes = chunk.iter().map(enter).collect();
        store.users.change_members(account.number, list.clone(), changes).await.expect("moved");
    }
    println!("list members: {:.0}/s in batches of 1,000", PEOPLE as f64 / began.elapsed().as_secs_f64());

    for size in [1, 16, 256] {
        let mut took = Vec::new();
        for round in 0..400 {
            let batch = (0..size).map(|n| (account.number, people[(round * 7_919 + n * 104_729) % PEOPLE].1)).collect();
            let began = Instant::now();
            assert_eq!(store.users.load(batch).await.expect("loaded").len(), size);
            took.push(began.elapsed());
        }
        println!("load of {size} people of 1.6 kB with a list: {}", percentiles(took));
    }

    for (what, person, caps) in
        [("about nobody", false, false), ("about people", true, false), ("with caps", true, true)]
    {
        for tasks in [1, 4] {
            let mut writers = tokio::task::JoinSet::new();
            let began = Instant::now();
            for task in 0..tasks {
                let (store, account, people) = (store.clone(), account.clone(), people.clone());
                writers.spawn(async move {
                    for round in 0..20 {
                        let batch = (0..1_000_usize).map(|n| {
                            let uid = people[(task * 31 + round * 7_919 + n * 104_729) % PEOPLE].1;
                            let shown = impression(&account, person.then_some(uid));
                            Outcome { cap_window: shown.cap_window.filter(|_| caps), ..shown }
                        });
                        store.outcomes.record(batch.collect()).await.expect("recorded");
                    }
                });
            }
            writers.join_all().await;
            let rate = (tasks * 20_000) as f64 / began.elapsed().as_secs_f64();
            println!("outcomes {what}: {rate:.0}/s in batches of 1,000 over {tasks} connections");
        }
    }

    let cursor = crate::suite::position(&store).await;
    let mut took = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        store.feed.poll(Some(cursor.clone())).await.expect("a look");
        took.push(began.elapsed());
    }
    println!("look at a quiet feed: {}", percentiles(took));
}
