use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::domain::{
    audience::{
        activity::{Event, Streams},
        compile::{RuleSet, SegmentIx},
        context::Context,
        evaluate::{Evaluator, UserView},
        models::Models,
        rule::SegmentRule,
    },
    ids::ModelKey,
};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const NOW: Millis = Millis(1_800_000_000_000);

/// A purchase: hours ago and its amount.
type Purchase = (i64, f64);

fn document(json: Value) -> ModelDoc {
    serde_json::from_value(json).expect("a document")
}

fn rfm() -> ModelDoc {
    document(json!({"name": "Buyers", "kind": "rfm", "event": "purchase", "amount": "amount", "window": "P365D"}))
}

fn shoppers() -> ModelDoc {
    document(json!({"name": "Shoppers", "kind": "clusters", "features": [
        {"event": "purchase", "measure": "recency"},
        {"event": "purchase", "measure": {"count": {"last": "P365D"}}},
        {"event": "purchase", "measure": {"sum": {"of": "amount", "last": "P365D"}}}]}))
}

fn person(model: &ModelDoc, purchases: &[Purchase]) -> Arc<UserState> {
    let mut streams = Streams::default();
    streams.extend(model.streams());
    let mut state = UserState::default();
    for (ago, amount) in purchases {
        let properties: Map<_, _> = [("amount".to_owned(), json!(amount))].into_iter().collect();
        let name = "purchase".parse().expect("a name");
        state.absorb(&streams, &Event { name, at: Millis(NOW.0 - ago * HOUR), properties });
    }
    Arc::new(state)
}

fn people(model: &ModelDoc, all: &[Vec<Purchase>]) -> Vec<Arc<UserState>> {
    all.iter().map(|purchases| person(model, purchases)).collect()
}

/// Three kinds of shoppers, taking turns: keen, lapsed and large, and those who never bought.
fn kinds(each: usize) -> Vec<Vec<Purchase>> {
    let kinds = (0..each as i64).flat_map(|n| {
        let keen = (0..10).map(|order| (1 + n % 3 + order * 24, 5.0 + (n % 7) as f64)).collect();
        [keen, vec![(4_000 + n, 900.0 + n as f64), (4_100, 700.0)], Vec::new()]
    });
    kinds.collect()
}

/// Whether a rule holds for a person under a trained document.
fn holds(trained: &ModelDoc, rule: Value, state: &UserState) -> bool {
    let key: ModelKey = "m".parse().expect("a key");
    let models = Arc::new(Models::of_documents([(&key, trained)]));
    let rule = SegmentRule::parse(&json!({"v": 1, "kind": "dynamic", "match": rule})).expect("a rule");
    let name = "it".parse().expect("a key");
    let (rules, refused) = RuleSet::with_gaps(&[(&name, Some(&rule))], models);
    assert_eq!(refused, []);
    let user = UserView { state: Some(state), ..UserView::default() };
    Evaluator::new(&rules, user, &Context::default(), NOW).segment(SegmentIx(0)).holds()
}

#[test]
fn fifths_are_fifths_and_rules_agree_with_the_proposal() {
    let model = rfm();
    let all: Vec<_> =
        (1..=200_i64).map(|n| (0..1 + n % 15).map(|order| (n * 7 + order, n as f64 + 0.01)).collect()).collect();
    let people = people(&model, &all);
    let proposal = train(&model, &people, NOW, &Settings::default()).expect("enough people");
    let fifths = proposal.fifths.expect("fifths");
    assert_eq!((fifths.recency, fifths.money.iter().sum::<u64>()), ([40; 5], 200));
    assert_eq!(proposal.transitions, []);
    assert_eq!(proposal.document.check(), Ok(()));
    for (field, counts) in [("r", fifths.recency), ("f", fifths.frequency), ("m", fifths.money)] {
        for (fifth, expected) in (1..).zip(counts) {
            let rule = json!({"rfm": {"event": "purchase", field: [fifth]}});
            let found = people.iter().filter(|person| holds(&proposal.document, rule.clone(), person)).count();
            assert_eq!(found as u64, expected, "{field}{fifth}");
        }
    }
    let again = train(&proposal.document, &people, NOW, &Settings::default()).expect("enough people");
    assert_eq!(again.document, proposal.document);
    for transition in again.transitions {
        let off = transition.people.iter().enumerate().flat_map(|(row, counts)| {
            counts.iter().enumerate().filter(move |(column, _)| *column != row).map(|(_, count)| *count)
        });
        assert_eq!(off.sum::<u64>(), 0, "nobody moves");
    }
}

#[test]
fn groups_that_are_apart_are_found_named_and_answered() {
    let model = shoppers();
    let people = people(&model, &kinds(60));
    let proposal = train(&model, &people, NOW, &Settings::default()).expect("enough people");
    assert_eq!(proposal.clusters.iter().map(|one| one.people).collect::<Vec<_>>(), [60, 60, 60], "{proposal:#?}");
    assert!(proposal.silhouette.expect("one") > 0.8, "{proposal:#?}");
    assert_eq!(proposal.tried.len(), 7);
    let mut names: Vec<_> = proposal.clusters.iter().map(|one| one.proposed_name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["high amount, lapsed", "no purchase", "recent, frequent"]);
    for one in &proposal.clusters {
        let rule = json!({"cluster": {"model": "m", "in": [one.cluster]}});
        let found = people.iter().filter(|person| holds(&proposal.document, rule.clone(), person)).count();
        assert_eq!(found as u64, one.people);
    }
}

#[test]
fn numbers_and_names_stay_when_people_do() {
    let model = shoppers();
    let people = people(&model, &kinds(60));
    let first = train(&model, &people, NOW, &Settings::default()).expect("enough people");
    // an author turns the clusters round and names them
    let mut live = first.document.clone();
    let ModelDoc::Clusters { centroids, names, .. } = &mut live else { panic!("clusters") };
    centroids.reverse();
    *names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let expected = centroids.clone();
    let again = train(&live, &people, NOW, &Settings { seed: 99, ..Settings::default() }).expect("enough people");
    let ModelDoc::Clusters { centroids, names, .. } = &again.document else { panic!("clusters") };
    assert_eq!((centroids, names.join("")), (&expected, "abc".to_owned()));
    assert_eq!(again.transitions[0].people, [[60, 0, 0], [0, 60, 0], [0, 0, 60]]);
}

#[test]
fn a_number_whose_cluster_is_gone_comes_to_mean_nobody_else() {
    let model = shoppers();
    let train = |live: &ModelDoc, all: &[Vec<Purchase>]| {
        let people = people(&model, all);
        let proposal = train(live, &people, NOW, &Settings::default()).expect("enough people");
        assert_eq!(proposal.document.check(), Ok(()));
        (people, proposal)
    };
    let all = kinds(60);
    let three = train(&model, &all).1.document;
    let ModelDoc::Clusters { centroids: before, .. } = &three else { panic!("clusters") };
    for gone in 0..3 {
        // the kinds take turns: all of one stay away
        let kind = all
            .iter()
            .take(3)
            .position(|one| holds(&three, json!({"cluster": {"model": "m", "in": [gone]}}), &person(&model, one)));
        let kind = kind.expect("each kind is a cluster");
        let left: Vec<_> =
            all.iter().enumerate().filter(|(at, _)| at % 3 != kind).map(|(_, one)| one.clone()).collect();
        let (people, proposal) = train(&three, &left);
        let two = &proposal.document;
        let stayed: Vec<u32> = (0..3).filter(|number| *number != gone).collect();
        assert_eq!(proposal.clusters.iter().map(|one| one.cluster).collect::<Vec<_>>(), stayed);
        for number in &stayed {
            let rule = json!({"cluster": {"model": "m", "in": [number]}});
            for person in &people {
                assert_eq!(holds(two, rule.clone(), person), holds(&three, rule.clone(), person), "{number}");
            }
        }
        // who comes back has the number that was free, and nobody else moves
        let (_, again) = train(two, &all);
        let ModelDoc::Clusters { centroids, .. } = &again.document else { panic!("clusters") };
        assert_eq!(centroids, before);
        assert_eq!(again.clusters.len(), 3);
    }
}

#[test]
fn small_clusters_join_others() {
    let model = shoppers();
    let mut all = kinds(60);
    all.push((0..60).map(|order| (1 + order, 100_000.0)).collect());
    let people = people(&model, &all);
    let settings = Settings { least_clusters: 4, most_clusters: 4, ..Settings::default() };
    let proposal = train(&model, &people, NOW, &settings).expect("enough people");
    assert!(proposal.clusters.iter().all(|one| one.people >= 4), "{proposal:#?}");
    assert_eq!(proposal.clusters.iter().map(|one| one.people).sum::<u64>(), 181);
}

#[test]
fn too_few_people_are_told_with_how_many_it_takes() {
    let found = |model: ModelDoc, all: &[Vec<Purchase>]| {
        train(&model, &people(&model, all), NOW, &Settings::default()).expect_err("too few")
    };
    assert_eq!(found(rfm(), &kinds(20)), TooFew { found: 40, needed: 50 });
    assert_eq!(found(shoppers(), &kinds(3)), TooFew { found: 6, needed: 50 });
}

#[test]
fn people_who_are_all_the_same_are_one_cluster() {
    let model = shoppers();
    let all = vec![vec![(5, 10.0)]; 80];
    let proposal = train(&model, &people(&model, &all), NOW, &Settings::default()).expect("enough people");
    assert_eq!(proposal.clusters.len(), 1);
    assert_eq!((proposal.clusters[0].proposed_name.as_str(), proposal.silhouette), ("average", Some(0.0)));
    assert_eq!(proposal.document.check(), Ok(()));
}

#[test]
fn settings_have_bounds() {
    assert_eq!(Settings::default().check(), Ok(()));
    let many = Settings { least_clusters: 2, most_clusters: 18, ..Settings::default() };
    assert_eq!(many.check().expect_err("a fault")[0].pointer, "/most_clusters");
    let wrong = Settings { least_clusters: 0, most_clusters: 65, smallest: f64::NAN, ..Settings::default() };
    assert_eq!(wrong.check().expect_err("faults").len(), 3);
}

fn purchases() -> impl Strategy<Value = Vec<Vec<Purchase>>> {
    let one = (0..8_000_i64, prop_oneof![Just(0.0), -50.0..500.0, 1e5..1e8])
        .prop_map(|(ago, amount): (i64, f64)| (ago, (amount * 100.0).round() / 100.0));
    prop::collection::vec(prop::collection::vec(one, 1..6), 50..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_same_sample_and_seed_make_the_same_sound_model(all in purchases(), seed in 0..u32::MAX) {
        let settings = Settings { seed, most_clusters: 5, ..Settings::default() };
        for model in [rfm(), shoppers()] {
            let people = people(&model, &all);
            let proposal = train(&model, &people, NOW, &settings).expect("enough people");
            prop_assert_eq!(&proposal, &train(&model, &people, NOW, &settings).expect("enough people"));
            prop_assert_eq!(proposal.document.check(), Ok(()), "all numbers are finite and in order");
            let sizes: u64 = proposal.clusters.iter().map(|one| one.people).sum();
            prop_assert!(proposal.fifths.is_some() || sizes == all.len() as u64);
            prop_assert!(proposal.silhouette.is_none_or(|apart| (-1.0..=1.0).contains(&apart)));
            let least = (settings.smallest * all.len() as f64).ceil() as u64;
            prop_assert!(proposal.clusters.len() < 2 || proposal.clusters.iter().all(|one| one.people >= least));
        }
    }

    #[test]
    fn different_people_fall_into_equal_fifths(n in 50_usize..300, step in 1..5_000_i64) {
        let buyer = |at: usize| fifths::Buyer { age: at as i64 * step * 1_000, count: 1, sum: at as f64 };
        let buyers: Vec<_> = (1..=n).map(buyer).collect();
        let cuts = fifths::cut(&buyers, crate::domain::values::Span::from_millis(365 * DAY));
        let mut counts = [[0; 5]; 3];
        for buyer in &buyers {
            fifths::place(buyer, &cuts).into_iter().zip(&mut counts).for_each(|(fifth, counts)| counts[fifth] += 1);
        }
        for of in [counts[0], counts[2]] {
            prop_assert!(of.iter().all(|&count| count == n / 5 || count == n.div_ceil(5)), "{of:?}");
        }
        prop_assert_eq!(counts[1], [n, 0, 0, 0, 0], "everyone bought once");
    }
}
