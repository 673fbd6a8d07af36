//! Which component stands in each slot, and to whom.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::subsequence};
use serde_json::{Value, json};

use super::{Catalogue, DAY, NOW, SEED, answers, decided, known, of, only, person, request};
use crate::domain::{
    catalog::{
        creative::{Component, Creative},
        document::{Control, Rotation},
        snapshot::Snapshot,
    },
    consent::Purposes,
    creative::Pairing,
    decision::{
        choose::{Chosen, Manner, choose, eligible},
        decide::decide,
        decided::{Decision, Person},
        explanation::Reason,
        request::AdRequest,
        rotation::Sticky,
        standing::Degraded,
    },
    ids::NameHash,
    measurement::exposure::{Arm, Exposure},
};

fn headlines(components: Value) -> Snapshot {
    headlines_of(json!({}), components)
}

fn headlines_of(campaign: Value, components: Value) -> Snapshot {
    let Value::Object(components) = components else { panic!("an object") };
    let component = |(id, more): (String, Value)| {
        let mut body = json!({"slot": "headline", "value": format!("This is {id}")});
        super::merge(&mut body, more);
        (id, body)
    };
    let components: Value = components.into_iter().map(component).collect();
    Catalogue::new()
        .segment("vip", Value::Null)
        .segment("young", json!({"trait": "age", "lt": 30}))
        .both("ad", campaign, json!({"components": components}))
        .build()
}

fn headline(decision: &Decision) -> String {
    let showing = only(decision);
    let slot = showing.creative.slots.iter().position(|slot| slot.name.as_str() == "headline").expect("a slot");
    showing.creative.chosen(slot, &showing.choice).map_or_else(|| "-".to_owned(), |component| component.id.to_string())
}

fn seen_by(snapshot: &Snapshot, request: &AdRequest, person: &Person<'_>) -> String {
    headline(&decided(snapshot, request, person))
}

#[test]
fn the_closest_language_is_shown_then_the_wider_one_then_none() {
    let all = json!({"swiss": {"locale": "de-CH"}, "german": {"locale": "de"}, "french": {"locale": "fr"}, "any": {}});
    let shown = |snapshot: &Snapshot, language: Value| {
        seen_by(snapshot, &request(json!({"context": {"language": language}})), &known(None))
    };
    let snapshot = headlines(all);
    assert_eq!(shown(&snapshot, json!("de-CH")), "swiss");
    assert_eq!(shown(&snapshot, json!("de-AT")), "german");
    assert_eq!(shown(&snapshot, json!("de")), "german");
    assert_eq!(shown(&snapshot, json!("en-GB")), "any");
    assert_eq!(shown(&snapshot, Value::Null), "any");
    let bare = headlines(json!({"swiss": {"locale": "de-CH"}}));
    assert_eq!(shown(&bare, json!("de")), "-", "the slot's default");
}

#[test]
fn flights_status_and_targeting_keep_components_out() {
    let only_one = |component: Value, request: &AdRequest, person: &Person<'_>| {
        seen_by(&headlines(json!({"one": component})), request, person) == "one"
    };
    let nobody = known(None);
    let plain = request(json!({}));
    assert!(only_one(json!({}), &plain, &nobody));
    assert!(!only_one(json!({"status": "paused"}), &plain, &nobody));
    assert!(only_one(json!({"flight": {"start": NOW}}), &plain, &nobody), "the start is included");
    assert!(!only_one(json!({"flight": {"start": NOW.plus(1)}}), &plain, &nobody));
    assert!(!only_one(json!({"flight": {"end": NOW}}), &plain, &nobody), "the end is not");
    assert!(only_one(json!({"flight": {"end": NOW.plus(1)}}), &plain, &nobody));
    let state = person(json!({"age": 24, "city": "Berlin"}), &["vip"], &[]);
    for (targeting, context) in [
        (json!({"trait": "age", "gte": 18}), json!({})),
        (json!({"segment": "young"}), json!({})),
        (json!({"list": "vip"}), json!({})),
        (json!({"context": "geo.country", "eq": "FR"}), json!({"country": "FR"})),
        (json!({"context": "geo.city", "eq": "Paris"}), json!({"city": "paris"})),
        (json!({"context": "device.type", "eq": "mobile"}), json!({"device": "mobile"})),
        (json!({"context": "language", "eq": "de"}), json!({"language": "de-CH"})),
        (json!({"context": "data.weather", "eq": "rain"}), json!({"data": {"weather": "rain"}})),
        (json!({"context": "keywords", "has_any": ["running"]}), json!({"keywords": ["running"]})),
    ] {
        let asked = of(1, json!({"context": context}));
        assert!(only_one(json!({"targeting": targeting}), &asked, &known(Some(&state))), "{targeting}");
        assert!(!only_one(json!({"targeting": {"not": targeting}}), &asked, &known(Some(&state))), "not {targeting}");
    }
}

#[test]
fn keywords_are_those_of_the_placement_and_of_the_page() {
    let aimed = |word: &str| json!({"targeting": {"context": "keywords", "has_any": [word]}});
    let asked = request(
        json!({"placements": [{"id": "a", "placement": "top", "keywords": ["Trail"]}], "context": {"keywords": ["running"]}}),
    );
    for (word, shown) in [("trail", "one"), ("running", "one"), ("cycling", "-")] {
        assert_eq!(seen_by(&headlines(json!({"one": aimed(word)})), &asked, &known(None)), shown, "{word}");
    }
}

#[test]
fn what_learning_has_not_met_yet_is_told_by_what_stands_for_it() {
    let snapshot = headlines_of(json!({"holdout": 0.5}), json!({"a": {}, "b": {}}));
    let stands = |name: &str| Exposure::stand_in(NameHash::of(name));
    for person in 0..20 {
        let decision = decided(&snapshot, &of(person, json!({"context": {"country": "US"}})), &known(None));
        let exposure = only(&decision).exposure.clone().expect("an exposure");
        let held = only(&decision).reason == Reason::Holdout;
        assert_eq!((exposure.arm, exposure.version), (if held { Arm::Control } else { Arm::Personalised }, 0));
        let shown: Vec<u32> = if held { Vec::new() } else { vec![stands(&headline(&decision))] };
        assert_eq!((exposure.new_components, exposure.choice), (shown, Vec::new()));
        assert!(exposure.new_features.contains(&stands("geo:US")) && exposure.experiment != 0);
    }
}

const PEOPLE: u128 = 4_000;

fn shares(snapshot: &Snapshot) -> Vec<(String, Reason)> {
    let of = |n| decided(snapshot, &of(n, json!({})), &known(None));
    (0..PEOPLE).map(of).map(|decision| (headline(&decision), only(&decision).reason)).collect()
}

#[track_caller]
fn assert_share(counted: usize, expected: f64) {
    let share = counted as f64 / PEOPLE as f64;
    let slack = 5.0 * (expected * (1.0 - expected) / PEOPLE as f64).sqrt();
    assert!((share - expected).abs() <= slack, "{share} instead of {expected}");
}

#[test]
fn components_share_people_by_weight_or_evenly_and_stay() {
    let components = json!({"a": {"weight": 100}, "b": {"weight": 300}});
    let weighted = shares(&headlines(components.clone()));
    assert_share(weighted.iter().filter(|(id, _)| id == "b").count(), 0.75);
    assert_eq!(weighted, shares(&headlines(components.clone())), "sticky");
    assert!(weighted.iter().all(|(_, reason)| *reason == Reason::Weighted));
    let even = shares(&headlines_of(json!({"rotation": "even"}), components));
    assert_share(even.iter().filter(|(id, _)| id == "b").count(), 0.5);
    let heavier = shares(&headlines(json!({"a": {"weight": 100}, "b": {"weight": 360}})));
    assert!(weighted.iter().zip(&heavier).all(|(before, after)| before == after || after.0 == "b"));
}

#[test]
fn the_holdout_is_a_fixed_share_that_sees_the_control() {
    let components = json!({"a": {}, "b": {"weight": 900}, "aimed": {"targeting": {"context": "geo.country", "ne": "US"}, "weight": 900}});
    let held = |holdout: f64, control: &str| {
        shares(&headlines_of(json!({"holdout": holdout, "control": control}), components.clone()))
    };
    let bare = held(0.2, "default");
    let out: Vec<bool> = bare.iter().map(|(_, reason)| *reason == Reason::Holdout).collect();
    assert_share(out.iter().filter(|out| **out).count(), 0.2);
    assert!(bare.iter().all(|(id, reason)| (id == "-") == (*reason == Reason::Holdout)), "the control shows defaults");
    let even = held(0.2, "even");
    let control: Vec<_> = even.iter().filter(|(_, reason)| *reason == Reason::Holdout).map(|(id, _)| id).collect();
    assert_eq!(control.len(), out.iter().filter(|out| **out).count(), "whatever the control, the same people");
    let a = control.iter().filter(|id| **id == "a").count();
    assert!((a as f64 / control.len() as f64 - 0.5).abs() < 0.1 && control.iter().all(|id| *id != "aimed"), "{a}");
    let more = held(0.3, "default");
    assert!(
        out.iter().zip(&more).all(|(out, (_, reason))| !out || *reason == Reason::Holdout),
        "who was held out stays"
    );
    let nobody = decided(&headlines_of(json!({"holdout": 0.9}), components), &request(json!({})), &known(None));
    assert_eq!(only(&nobody).reason, Reason::Weighted, "without a person there is no holdout");
}

#[test]
fn samples_and_draws_of_the_person_need_consent() {
    let snapshot = headlines(json!({"one": {"targeting": {"sample": {"salt": "x", "from": 0, "to": 10_000}}}}));
    let shown = |purposes| {
        headline(
            &decide(
                &snapshot,
                &crate::domain::decision::learned::Learned::default(),
                &of(1, json!({})),
                &known(None),
                purposes,
                NOW,
                SEED,
            )
            .expect("a request"),
        )
    };
    assert_eq!(shown(Purposes::ALL), "one");
    assert_eq!(shown(Purposes::NONE), "-");
}

#[test]
fn what_cannot_be_paired_shows_the_defaults_and_says_so() {
    let components = json!({
        "offer": {"slot": "headline", "value": "Half price"},
        "terms": {"slot": "cta", "value": "Terms apply", "flight": {"end": NOW.plus(DAY)}},
    });
    let creative = json!({"components": components, "pairing": [{"group": ["offer", "terms"]}]});
    let snapshot = Catalogue::new().both("ad", json!({}), creative).build();
    let at = |now| {
        decide(
            &snapshot,
            &crate::domain::decision::learned::Learned::default(),
            &request(json!({})),
            &known(None),
            Purposes::ALL,
            now,
            SEED,
        )
        .expect("a request")
    };
    let (during, after) = (at(NOW), at(NOW.plus(DAY)));
    assert_eq!(
        (only(&during).choice.as_slice(), &*during.placements[0][0].degraded),
        (&[Some(0), Some(0)][..], &[][..])
    );
    assert_eq!(only(&after).choice, [None, None], "no offer without its terms");
    assert_eq!(after.placements[0][0].degraded, [Degraded::PairingUnsatisfiable]);
    assert_eq!(only(&after).reason, Reason::Default);
    let answer = answers(&snapshot, &request(json!({})), &after, Purposes::ALL).remove(0);
    assert!(
        answer.contains(">Hello Look</a>") && answer.contains(r#""components":{"cta":null,"headline":null}"#),
        "{answer}"
    );
}

/// A creative with `slots` slots of three components each.
fn wide(slots: usize, pairing: Value) -> Creative {
    let names: Vec<String> = (0..slots).map(|slot| format!("s{slot:02}")).collect();
    let declared: Value = names.iter().map(|name| (name.clone(), json!({"type": "text", "default": "-"}))).collect();
    let marks: String = names.iter().map(|name| format!("{{{{{name}}}}}")).collect();
    let markup = format!("<body><a href=\"{{{{click_url}}}}\">{marks}</a></body>");
    let template = json!({"name": "Wide", "format": "html", "slots": declared, "markup": markup});
    let components: Value = names
        .iter()
        .enumerate()
        .flat_map(|(slot, name)| {
            (0..3).map(move |at| {
                (format!("{slot}-{at}"), json!({"slot": name, "value": format!("{slot} {at}"), "weight": 1 + at * 50}))
            })
        })
        .collect();
    let (revision, publication) =
        super::creative(json!({"templates": {"t": template}, "components": components, "pairing": pairing}));
    let snapshot = Catalogue::new()
        .with(crate::domain::catalog::key::Kind::Revision, "wide/1", revision)
        .with(crate::domain::catalog::key::Kind::Publication, "wide", publication)
        .build();
    let creative =
        snapshot.creatives.iter().find(|(id, _)| id.as_str() == "wide").map(|(_, creative)| creative.clone());
    drop(snapshot);
    std::sync::Arc::into_inner(creative.expect("a creative")).expect("the only one")
}

fn manner(person: u128) -> Manner<'static> {
    Manner {
        sticky: Sticky(person),
        rotation: Rotation::Weighted,
        control: None,
        language: None,
        languages: None,
        video: None,
        native: None,
        now: NOW,
    }
}

/// Every legal combination of the open components that could not hold more of them, found by
/// trying all.
fn fullest(creative: &Creative, open: &dyn Fn(&str) -> bool) -> BTreeSet<Vec<u32>> {
    let mut all = vec![Vec::new()];
    for slot in creative.slots.iter() {
        let own = slot.candidates.iter().copied().filter(|at| open(creative.components[*at as usize].id.as_str()));
        let own: Vec<u32> = own.chain([Pairing::DEFAULT]).collect();
        all = all.iter().flat_map(|known: &Vec<u32>| own.iter().map(|at| [&known[..], &[*at]].concat())).collect();
    }
    all.retain(|choice| creative.pairing.allows(&choice.iter().copied().map(Some).collect::<Vec<_>>()));
    let within = |less: &[u32], more: &[u32]| less.iter().zip(more).all(|(a, b)| *a == Pairing::DEFAULT || a == b);
    let widest = |choice: &&Vec<u32>| !all.iter().any(|more| more != *choice && within(choice, more));
    all.iter().filter(widest).cloned().collect()
}

fn chosen(creative: &Creative, manner: &Manner<'_>, meets: impl FnMut(&Component) -> bool) -> Chosen {
    choose(creative, manner, &eligible(creative, manner, meets))
}

proptest! {
    #[test]
    fn the_fullest_legal_combinations_are_shown_and_all_of_them(
        rules in prop::collection::vec((0..3, subsequence(vec![0, 1, 2], 2..=3), prop::collection::vec(0..3, 3)), 0..5),
        person in any::<u128>(), closed in subsequence((0..9).collect::<Vec<usize>>(), 0..6),
    ) {
        let rules: Value = rules.into_iter().map(|(kind, slots, at)| {
            let mut ids: Vec<_> = slots.iter().zip(at).map(|(slot, at)| format!("{slot}-{at}")).collect();
            match kind {
                0 => json!({"forbid": ids}),
                1 => json!({"group": ids}),
                _ => json!({"require": {"if": ids.remove(0), "then": ids}}),
            }
        }).collect();
        let creative = wide(3, rules);
        let open = |id: &str| !closed.iter().any(|n| *id == format!("{}-{}", n / 3, n % 3));
        let expected = fullest(&creative, &open);
        // evenly, so that a rare combination is not missed for its weight
        let shown = |person: u128| {
            let manner = Manner { rotation: Rotation::Even, ..manner(person) };
            chosen(&creative, &manner, |component| open(component.id.as_str()))
        };
        let mut seen = BTreeSet::new();
        for n in 0..20_000 {
            let person = person.wrapping_add(n);
            let chosen = shown(person);
            let told: Vec<_> = chosen.choice.iter().zip(creative.slots.iter()).map(|(at, slot)| {
                at.map_or(Pairing::DEFAULT, |at| slot.candidates[usize::from(at)])
            }).collect();
            prop_assert_eq!(chosen.unsatisfiable, told.iter().all(|at| *at == Pairing::DEFAULT) && closed.len() < 9);
            prop_assert!(expected.contains(&told), "{:?} of {:?}", told, expected);
            prop_assert!(n > 0 || chosen == shown(person), "the same for the same person");
            seen.insert(told);
            if seen.len() == expected.len() {
                break;
            }
        }
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn an_offer_with_terms_leaves_people_to_the_other_offers() {
    let components = json!({
        "legal-1": {"slot": "cta", "value": "Terms apply"},
        "offer-1": {"slot": "headline", "value": "Half price"},
        "offer-2": {"slot": "headline", "value": "New in"},
        "offer-3": {"slot": "headline", "value": "Last days"},
    });
    let creative = json!({"components": components, "pairing": [{"group": ["offer-1", "legal-1"]}]});
    let shown = shares(&Catalogue::new().both("ad", json!({}), creative).build());
    // the terms choose first for one of four people; the rest have three offers to choose from
    for (offer, share) in [("offer-1", 0.5), ("offer-2", 0.25), ("offer-3", 0.25)] {
        assert_share(shown.iter().filter(|(id, _)| id == offer).count(), share);
    }
}

#[test]
fn rules_between_far_slots_do_not_exhaust_the_search() {
    let mut rules = vec![json!({"group": ["0-0", "11-0"]}), json!({"group": ["0-1", "11-1"]})];
    rules.extend((1..10).map(|slot| json!({"forbid": [format!("{slot}-0"), format!("{}-0", slot + 1)]})));
    let creative = wide(12, Value::Array(rules));
    for person in 0..50 {
        let closed = ["11-0", "11-1"];
        let chosen = chosen(&creative, &manner(person), |component| !closed.contains(&component.id.as_str()));
        assert!(!chosen.unsatisfiable);
        assert_eq!(chosen.choice[0], Some(2), "the offer that needs nothing");
    }
}

#[test]
fn a_control_of_defaults_and_a_control_of_untargeted() {
    let creative = wide(2, json!([]));
    let of = |control| chosen(&creative, &Manner { control: Some(control), ..manner(3) }, |_| true).choice;
    assert_eq!(of(Control::Default), [None, None]);
    assert!(of(Control::Even).iter().all(Option::is_some));
}

#[test]
fn what_may_not_be_safe_is_not_left_open_where_all_must_be() {
    let template = |src: &str| {
        json!({"name": "T", "format": "html", "size": "300x250",
            "slots": {"image": {"type": "image", "default": {"src": src, "alt": "A shoe"}}},
            "markup": "<!doctype html><body><a href=\"{{click_url}}\"><img src=\"{{image.src}}\" alt=\"\"></a></body>"})
    };
    let with = |src: &str, components: serde_json::Value| {
        let creative = json!({"templates": {"t": template(src)}, "components": components});
        Catalogue::new().both("a", json!({}), creative).build()
    };
    let deferred = |snapshot: &Snapshot, secure: bool| {
        let offer = json!({"id": "a", "sizes": ["300x250"], "stage": "offer", "secure": secure});
        let decision = decided(snapshot, &request(json!({"placements": [offer]})), &known(None));
        only(&decision).deferred.is_some()
    };
    let safe = with("https://cdn.example/a.png", json!({}));
    assert!(deferred(&safe, true) && deferred(&safe, false));
    let sale = json!({"sale": {"slot": "image", "value": {"src": "http://cdn.example/b.png", "alt": "A shoe"}}});
    for unsafe_one in [with("http://cdn.example/a.png", json!({})), with("https://cdn.example/a.png", sale)] {
        assert!(!deferred(&unsafe_one, true) && deferred(&unsafe_one, false));
    }
}
