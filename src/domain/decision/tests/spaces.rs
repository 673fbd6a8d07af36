//! Legal combinations that are kept say what those that are worked out say.

use std::sync::Arc;

use serde_json::json;

use super::{Catalogue, NOW, SEED, known, of, only};
use crate::domain::{
    catalog::creative::Creative,
    consent::Purposes,
    decision::{
        decide::decide,
        learned::{self, Learned, Learner},
        spaces::Spaces,
    },
    optimizer::{Posterior, Settings, Shape, Snapshot, Statistics},
};

#[test]
fn beside_what_is_shown_only_what_could_be_is_told() {
    let named =
        |slot: &str, n: u32| (format!("{}-{n}", &slot[..1]), json!({"slot": slot, "value": format!("{slot} {n}")}));
    let components: serde_json::Map<_, _> = (0..3).flat_map(|n| [named("headline", n), named("cta", n)]).collect();
    // the first of each go together or not at all
    let creative = json!({"components": components, "pairing": [{"group": ["h-0", "c-0"]}]});
    let catalog = Catalogue::new().both("spring", json!({"rotation": "optimized"}), creative).build();
    let (campaign, creative) = (&catalog.lines[0].campaign, &catalog.lines[0].creatives[0]);
    let mut shape = Shape::default();
    learned::admit(&mut shape, &catalog, campaign, creative);
    let (statistics, settings) = (Statistics::new(shape.layout()), Settings::default());
    let draws = Snapshot::new(1, 1, &Posterior::new(&statistics, &settings), &statistics, &settings);
    let learner = Arc::new(Learner::new(shape, 1, Some(draws)));
    let learned: Learned = [((campaign.hash, creative.lasting), learner)].into_iter().collect();
    let mut together = 0;
    for person in 0..200_u32 {
        let mut seed = SEED;
        seed.0[..8].copy_from_slice(&u64::from(person).to_be_bytes());
        let request = of(person.into(), json!({}));
        let decision = decide(&catalog, &learned, &request, &known(None), Purposes::ALL, NOW, seed).expect("a request");
        let showing = only(&decision);
        let reasoning = showing.thought.as_ref().and_then(|thought| thought.reasoning(showing)).expect("reasons");
        let shown: Vec<_> = (0..creative.slots.len())
            .filter_map(|slot| Some(creative.chosen(slot, &showing.choice)?.id.as_str().to_owned()))
            .collect();
        let others: Vec<_> = reasoning.others.iter().map(|other| other.component.as_str()).collect();
        // and what could not, with where it could stand else
        let forbidden = reasoning.forbidden.iter().map(|one| one.component.as_str());
        let mut all: Vec<_> = others.iter().copied().chain(forbidden).chain(shown.iter().map(String::as_str)).collect();
        all.sort_unstable();
        assert_eq!(all, ["c-0", "c-1", "c-2", "h-0", "h-1", "h-2"]);
        if shown.contains(&"h-0".to_owned()) {
            assert_eq!(others, [] as [&str; 0], "beside {shown:?}");
            together += 1;
        } else {
            assert!(
                others.len() == 2 && others.iter().all(|other| !other.ends_with("-0")),
                "{others:?} beside {shown:?}"
            );
        }
    }
    assert!(together > 10);
}

/// A campaign's creative with six headlines, and what is known of it.
fn scene() -> (Arc<Creative>, impl Fn(u64) -> Learner) {
    let components: serde_json::Map<_, _> =
        (0..6).map(|n| (format!("h-{n}"), json!({"slot": "headline", "value": format!("Headline {n}")}))).collect();
    scene_of(json!({"components": components}))
}

fn scene_of(creative: serde_json::Value) -> (Arc<Creative>, impl Fn(u64) -> Learner) {
    let catalog = Catalogue::new().both("spring", json!({}), creative).build();
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

/// Where rules leave a slot no component beside another slot's, it shows its default, and how likely
/// that was is known too.
#[test]
fn defaults_that_rules_make_necessary_are_chosen_with_a_known_probability() {
    const DRAWS: u64 = 100_000;
    let component = |slot: &str, n: u32| (format!("{slot}-{n}"), json!({"slot": slot, "value": format!("{slot} {n}")}));
    let components: serde_json::Map<_, _> =
        ["headline", "cta"].into_iter().flat_map(|slot| [component(slot, 0), component(slot, 1)]).collect();
    // what is legal: each slot's components, by place, none for the default
    let cases = [
        // no headline goes with any call: one of both slots is left to its default
        (
            json!([{"forbid": ["headline-0", "cta-0"]}, {"forbid": ["headline-0", "cta-1"]},
                {"forbid": ["headline-1", "cta-0"]}, {"forbid": ["headline-1", "cta-1"]}]),
            4,
        ),
        // one headline goes with no call, the other with both
        (json!([{"forbid": ["headline-0", "cta-0"]}, {"forbid": ["headline-0", "cta-1"]}]), 3),
        (json!([{"forbid": ["headline-0", "cta-0"]}]), 3),
    ];
    for (pairing, legal) in cases {
        let (creative, learner) = scene_of(json!({"components": components, "pairing": pairing}));
        let learner = learner(1);
        let eligible: Vec<Vec<u16>> =
            creative.slots.iter().map(|slot| (0..slot.candidates.len() as u16).collect()).collect();
        let (space, draws) =
            (learner.space(&creative, &eligible).expect("some"), learner.draws.as_ref().expect("draws"));
        let all = space.list_all(100).expect("few");
        assert_eq!(all.len(), legal, "{pairing}: {all:?}");
        let mut counts = std::collections::BTreeMap::<Vec<u16>, u64>::new();
        for seed in 0..DRAWS {
            *counts.entry(draws.choose(&space, &[], seed).choice).or_default() += 1;
        }
        let mut sum = 0.0;
        for choice in &all {
            let share = draws.propensity(&space, &[], choice);
            let drawn = counts.remove(choice).unwrap_or_default() as f64 / DRAWS as f64;
            let slack = 4.5 * (share * (1.0 - share) / DRAWS as f64).sqrt();
            assert!((drawn - share).abs() <= slack && share > 0.0, "{pairing} {choice:?}: {drawn} of {share}");
            sum += share;
        }
        assert!((sum - 1.0).abs() < 1e-9 && counts.is_empty(), "{pairing}: {sum} {counts:?}");
    }
}

#[test]
fn components_that_are_gone_make_room_for_new_ones() {
    let mut shape = Shape::default();
    let mut statistics = Statistics::new(shape.layout());
    for round in 0..3 {
        let component = |n| (format!("h-{round}-{n}"), json!({"slot": "headline", "value": format!("{round} {n}")}));
        let components: serde_json::Map<_, _> = (0..600).map(component).collect();
        let catalog = Catalogue::new().both("spring", json!({}), json!({"components": components})).build();
        let line = &catalog.lines[0];
        let creative = Arc::clone(&line.creatives[0]);
        assert!(learned::admit(&mut shape, &catalog, &line.campaign, &creative));
        assert!(!learned::admit(&mut shape, &catalog, &line.campaign, &creative), "once");
        statistics.fit(&shape.layout());
        let settings = Settings { members: 1, ..Settings::default() };
        let draws = Snapshot::new(1, 1, &Posterior::new(&statistics, &settings), &statistics, &settings);
        let learner = Learner::new(shape.clone(), 1, Some(draws));
        let eligible: Vec<Vec<u16>> =
            creative.slots.iter().map(|slot| (0..slot.candidates.len() as u16).collect()).collect();
        let space = learner.space(&creative, &eligible).expect("some");
        assert_eq!(space.count(), 600.0, "in round {round} all may be shown");
    }
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
