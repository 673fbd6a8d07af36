//! Combinations that exchanges review one by one: which are chosen, and that no others are shown.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Catalogue, DAY, NOW, PUBLIC_URL, known, of, only, person, template};
use crate::domain::{
    catalog::{
        creative::Creative,
        key::{DocumentKey, Kind},
        listed::Withdrawn,
        reviewed::{CombinationDoc, Frozen},
        snapshot::Snapshot,
    },
    decision::goods::content_crid,
    values::Millis,
};

/// A creative in two sizes, of which one has no call to action, with headlines and calls to action by weight; of
/// those marked the words are for runners.
fn draft(headlines: &[(u32, bool)], calls: &[(u32, bool)], pairing: Value) -> Catalogue {
    let mut components = serde_json::Map::new();
    for (slot, all) in [("headline", headlines), ("cta", calls)] {
        for (at, (weight, runners)) in all.iter().enumerate() {
            let mut component = json!({"slot": slot, "value": format!("{slot} {at}"), "weight": weight});
            if *runners {
                component["targeting"] = json!({"segment": "runners"});
            }
            components.insert(format!("{slot}-{at}"), component);
        }
    }
    let wide = json!({"name": "Wide", "format": "html", "size": "728x90",
        "slots": {"headline": {"type": "text", "default": "Hello"}}, "markup": "<body><a href=\"{{click_url}}\">{{headline}}</a></body>"});
    let templates = json!({"t": template(json!({"format": "html", "size": "300x250"})), "w": wide});
    Catalogue::new().segment("runners", json!({"trait": "runs", "eq": true})).both(
        "banner",
        json!({}),
        json!({"templates": templates, "components": components, "pairing": pairing}),
    )
}

fn creative(snapshot: &Snapshot) -> &Creative {
    &snapshot.creatives["banner"]
}

/// What was chosen of a template: the components by slot.
fn rows(draft: &Catalogue, template: &str) -> Vec<BTreeMap<String, String>> {
    let body = draft.0.iter().find(|(key, _)| key.id == "banner/1").and_then(|(_, body)| body.as_ref());
    let chosen: Vec<CombinationDoc> =
        serde_json::from_value(body.expect("a revision")["combinations"].clone()).expect("combinations");
    let own = chosen.into_iter().filter(|of| of.template.as_str() == template);
    own.map(|of| of.components.into_iter().map(|(slot, id)| (slot.to_string(), id.to_string())).collect()).collect()
}

fn none(_: &Creative, _: usize) -> Vec<Vec<Frozen>> {
    Vec::new()
}

#[test]
fn the_default_comes_first_then_pairs_then_what_is_heaviest() {
    let headlines = [(10, false), (500, false), (20, false)];
    let calls = [(30, false), (700, false), (40, false)];
    let all = draft(&headlines, &calls, json!([])).reviewed("banner", 50, none);
    // nine and the default, and in the size without a call three and the default
    assert_eq!((rows(&all, "t").len(), rows(&all, "w").len()), (10, 4));
    assert!(rows(&all, "t")[0].is_empty() && rows(&all, "w")[0].is_empty());
    // what is legal alone, and each pair as long as there is room
    let forbidden = json!([{"forbid": ["headline-1", "cta-1"]}]);
    let few = draft(&headlines, &calls, forbidden).reviewed("banner", 5, none);
    let chosen = rows(&few, "t");
    assert_eq!(chosen.len(), 5);
    let both = |of: &BTreeMap<String, String>| {
        of.get("headline").map(String::as_str) == Some("headline-1")
            && of.get("cta").map(String::as_str) == Some("cta-1")
    };
    assert!(!chosen.iter().any(both), "{chosen:?}");
    // with one slot pairs are all there is, so more than fit go by their weights only after these
    let many: Vec<(u32, bool)> = (1..=30).map(|weight| (weight, true)).collect();
    let some = draft(&many, &many, json!([])).reviewed("banner", 50, none);
    let chosen = rows(&some, "t");
    let words: BTreeSet<_> = chosen.iter().filter_map(|of| of.get("headline")).collect();
    assert_eq!((chosen.len(), words.len() > 1), (50, true));
    assert_eq!(rows(&some, "w").len(), 31, "each content once");
    // what never serves is no choice
    let mut ended = draft(&headlines, &calls, json!([]));
    for (_, body) in ended.0.iter_mut().filter(|(key, _)| key.id == "banner/1") {
        let components = &mut body.as_mut().expect("a revision")["components"];
        components["headline-0"]["status"] = json!("paused");
        components["headline-1"]["flight"] = json!({"end": NOW});
    }
    assert_eq!(rows(&ended.reviewed("banner", 50, none), "w").len(), 2);
}

#[test]
fn names_follow_what_is_shown_and_not_what_things_are_called() {
    let names = |draft: &Catalogue| {
        let snapshot = draft.clone().reviewed("banner", 50, none).build();
        creative(&snapshot).combinations.iter().map(|of| of.crid.to_string()).collect::<BTreeSet<_>>()
    };
    let draft = draft(&[(1, false)], &[(1, false)], json!([]));
    let with = |change: fn(&mut Value)| {
        let mut other = draft.clone();
        let revision = other.0.iter_mut().find(|(key, _)| key.id == "banner/1").expect("a revision");
        change(revision.1.as_mut().expect("a body"));
        names(&other)
    };
    assert_eq!(with(|body| body["templates"]["t"]["name"] = json!("Another name")), names(&draft));
    assert_eq!(with(|body| body["components"]["cta-0"]["weight"] = json!(9)), names(&draft));
    let markup = with(|body| {
        body["templates"]["t"]["markup"] = json!("<body><a href=\"{{click_url}}\">{{cta}}: {{headline}}</a></body>")
    });
    assert_eq!(markup.intersection(&names(&draft)).count(), 2, "those of the other size");
    let default = with(|body| body["templates"]["t"]["slots"]["cta"]["default"] = json!("Other"));
    assert_eq!(default.intersection(&names(&draft)).count(), 3, "only what shows it");
}

#[test]
fn a_kept_combination_that_would_be_another_is_not_shown() {
    let mut draft = draft(&[(1, false)], &[(1, false)], json!([])).reviewed("banner", 50, none);
    assert_eq!(creative(&draft.clone().build()).combinations.len(), 4);
    for (_, body) in draft.0.iter_mut().filter(|(key, _)| key.id == "banner/1") {
        let combinations = body.as_mut().expect("a revision")["combinations"].as_array_mut().expect("combinations");
        combinations[1]["crid"] = json!("0".repeat(32));
        combinations[2]["components"] = json!({"headline": "gone"});
    }
    assert_eq!(creative(&draft.build()).combinations.len(), 2);
}

#[test]
fn a_combination_whose_components_may_not_be_shown_is_withdrawn() {
    let mut draft = draft(&[(1, true), (1, false)], &[], json!([]));
    for (_, body) in draft.0.iter_mut().filter(|(key, _)| key.id == "banner/1") {
        let flight = json!({"start": NOW.plus(-DAY), "end": NOW.plus(DAY)});
        body.as_mut().expect("a revision")["components"]["headline-1"]["flight"] = flight;
    }
    let before = draft.reviewed("banner", 50, none).build();
    let why = |snapshot: &Snapshot, now: Millis| {
        let creative = creative(snapshot);
        let of = creative.combinations.iter().filter(|of| of.variant == 0).map(|of| {
            let shown = of.options.iter().find_map(|at| creative.components.get(*at as usize));
            let id = shown.map_or_else(String::new, |component| component.id.to_string());
            (id, snapshot.listed.withdrawn(creative, &of.crid, now))
        });
        of.collect::<BTreeMap<_, _>>()
    };
    let told = |runners, other| {
        let all = [("", None), ("headline-0", runners), ("headline-1", other)];
        all.map(|(id, why)| (id.to_owned(), why)).into_iter().collect::<BTreeMap<_, _>>()
    };
    let rests = Some(Withdrawn::NotRunning);
    assert_eq!(why(&before, NOW), told(None, None));
    assert_eq!(why(&before, NOW.plus(DAY - 1)), told(None, None));
    assert_eq!(why(&before, NOW.plus(DAY)), told(None, rests));
    assert_eq!(why(&before, NOW.plus(-DAY - 1)), told(None, rests));
    let gone = vec![(DocumentKey::new(Kind::Segment, "runners"), None)];
    let gone = before.evolve(2, gone, PUBLIC_URL, NOW);
    assert_eq!(why(&gone, NOW), told(Some(Withdrawn::HeldBack), None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_but_what_was_chosen_and_approved_is_shown(
        headlines in prop::collection::vec((1_u32..50, any::<bool>()), 0..6),
        calls in prop::collection::vec((1_u32..50, any::<bool>()), 0..6),
        forbidden in prop::collection::vec((0_usize..6, 0_usize..6), 0..4),
        most in 1_usize..12,
        approved in any::<u32>(),
        optimized in any::<bool>(),
    ) {
        let legal = forbidden.iter().filter(|(a, b)| *a < headlines.len() && *b < calls.len());
        let rules: Vec<_> = legal.map(|(a, b)| json!({"forbid": [format!("headline-{a}"), format!("cta-{b}")]})).collect();
        let draft = draft(&headlines, &calls, json!(rules)).reviewed("banner", most, none);
        for template in ["t", "w"] {
            let chosen = rows(&draft, template);
            prop_assert!((1..=most).contains(&chosen.len()) && chosen[0].is_empty());
            let once: BTreeSet<_> = chosen.iter().collect();
            prop_assert_eq!(once.len(), chosen.len());
            let both = |of: &BTreeMap<String, String>, (a, b): &(usize, usize)| {
                of.get("headline") == Some(&format!("headline-{a}")) && of.get("cta") == Some(&format!("cta-{b}"))
            };
            prop_assert!(!chosen.iter().any(|of| forbidden.iter().any(|rule| both(of, rule))));
        }
        let snapshot = draft.clone().build();
        let names: Vec<String> = creative(&snapshot).combinations.iter().map(|of| of.crid.to_string()).collect();
        prop_assert_eq!(names.len(), rows(&draft, "t").len() + rows(&draft, "w").len(), "all are what they were named for");
        let said: BTreeMap<&String, Value> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (name, json!({"status": if approved >> (at % 32) & 1 == 1 { 3 } else { 4 }})))
            .collect();
        let served: BTreeSet<&str> =
            said.iter().filter(|(_, state)| state["status"] == 3).map(|(name, _)| name.as_str()).collect();
        let mut audited = draft.clone().with(Kind::Audit, "banner/strict", json!({"crids": said}));
        if optimized {
            audited = audited.campaign("banner", json!({"rotation": "optimized"}));
        }
        let audited = audited.build();
        for (runs, size) in [(true, "300x250"), (false, "300x250"), (true, "728x90")] {
            let state = person(json!({"runs": runs}), &[], &[]);
            for listing in [json!("chosen"), json!({"approved": "strict"})] {
                let ask = json!({"placements": [{"id": "a", "sizes": [size], "formats": ["html"], "listing": listing}]});
                let decided = super::decided(&audited, &of(approved.into(), ask), &known(Some(&state)));
                let Some(showing) = decided.placements[0][0].shown.as_ref() else {
                    prop_assert!(listing != "chosen", "the default is always chosen");
                    continue;
                };
                prop_assert_eq!(only(&decided).creative.id.as_str(), "banner");
                let variant = &showing.creative.variants[showing.variant];
                let crid = content_crid(&showing.creative, variant, &showing.choice, &showing.picked);
                prop_assert!(names.contains(&crid));
                prop_assert!(listing == "chosen" || served.contains(&*crid), "{}", crid);
            }
        }
    }
}
