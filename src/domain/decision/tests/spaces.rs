//! Legal combinations that are kept say what those that are worked out say.

use std::sync::Arc;

use serde_json::json;

use super::Catalogue;
use crate::domain::{
    catalog::creative::Creative,
    decision::{
        learned::{self, Learner},
        spaces::Spaces,
    },
    optimizer::{Posterior, Settings, Shape, Snapshot, Statistics},
};

/// A campaign's creative with six headlines, and what is known of it.
fn scene() -> (Arc<Creative>, impl Fn(u64) -> Learner) {
    let components: serde_json::Map<_, _> =
        (0..6).map(|n| (format!("h-{n}"), json!({"slot": "headline", "value": format!("Headline {n}")}))).collect();
    let catalog = Catalogue::new().both("spring", json!({}), json!({"components": components})).build();
    let line = &catalog.lines[0];
    let creative = Arc::clone(&line.creatives[0]);
    let mut shape = Shape::default();
    learned::admit(&mut shape, &catalog, &line.campaign, &creative);
    let learner = move |version: u64| {
        let (statistics, settings) = (Statistics::new(shape.layout()), Settings::default());
        let posterior = Posterior::new(&statistics, &settings);
        let draws = Snapshot::new(1, version, &posterior, &statistics, &settings);
        Learner::new(shape.clone(), version, Some(draws))
    };
    (creative, learner)
}

#[test]
fn a_space_is_worked_out_once_also_for_the_next_version() {
    let (creative, learner) = scene();
    let slot = creative.slots.iter().position(|slot| slot.candidates.len() == 6).expect("the headlines");
    let eligible = |which: u64| {
        let mut eligible = vec![Vec::new(); creative.slots.len()];
        eligible[slot] = (0..6).filter(|at| which >> at & 1 == 1).collect::<Vec<u16>>();
        eligible
    };
    let first = learner(1);
    for which in 1..64 {
        let space = first.space(&creative, &eligible(which)).expect("some");
        assert_eq!(space.count(), f64::from(which.count_ones()));
        let fresh = learner(1).space(&creative, &eligible(which)).expect("some");
        assert_eq!(space.options(), fresh.options());
    }
    let second = learner(2).after(&first);
    let (before, after) = (first.space(&creative, &eligible(21)), second.space(&creative, &eligible(21)));
    assert!(Arc::ptr_eq(&before.expect("some"), &after.expect("some")));
}

#[test]
fn what_is_kept_is_bounded() {
    let (creative, _) = scene();
    let spaces = Spaces::default();
    for round in 0..3 {
        for one in 0..200 {
            let mut made = false;
            let space = spaces.get(&creative, &[vec![one]], || {
                made = true;
                None
            });
            assert!(space.is_none() && (made || round > 0));
            assert!(spaces.count() <= Spaces::MOST);
        }
    }
    let mut made = 0;
    for _ in 0..5 {
        spaces.get(&creative, &[vec![7], vec![8]], || {
            made += 1;
            None
        });
    }
    assert_eq!(made, 1);
}
