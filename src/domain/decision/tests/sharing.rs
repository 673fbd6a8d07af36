//! What several items of one request make of campaigns that are scarce.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Catalogue, DAY, answers, campaigns, decided, known, of, person,
    random::Dice,
    reasons,
    recording::{read, recorded},
    template,
};
use crate::domain::{
    catalog::{key::Kind, snapshot::Snapshot},
    consent::Purposes,
    decision::{
        request::AdRequest,
        rotation::{Scope, Sticky},
    },
    ids::NameHash,
};

fn capped(cap: u64) -> Value {
    json!([{"impressions": cap, "per": "P1D"}])
}

fn shape(size: &str) -> Value {
    json!({"templates": {"t": template(json!({"format": "html", "size": size}))}})
}

fn spot() -> Value {
    json!({"name": "A place", "sizes": ["300x250"], "formats": ["html"]})
}

/// Both sizes.
fn wide() -> Value {
    let of = |size: &str| template(json!({"format": "html", "size": size}));
    json!({"templates": {"a": of("300x250"), "b": of("728x90")}})
}

fn shown(snapshot: &Snapshot, placements: Value) -> Vec<String> {
    let asked = of(1, json!({"placements": placements}));
    campaigns(&decided(snapshot, &asked, &known(Some(&person(json!({}), &[], &[])))))
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// A rectangle, and a leaderboard that `only` can fill.
fn two() -> Value {
    json!([{"id": "1", "sizes": ["300x250"]}, {"id": "2", "sizes": ["728x90"]}])
}

#[test]
fn what_is_left_of_a_cap_goes_where_nothing_else_fits() {
    let snapshot = Catalogue::new()
        .both("only", json!({"frequency_caps": capped(1)}), wide())
        .both("other", json!({"priority": 9}), shape("300x250"))
        .build();
    assert_eq!(shown(&snapshot, json!([two()[0]])), ["only"], "alone it is the first");
    assert_eq!(shown(&snapshot, two()), ["other", "only"]);
    assert_eq!(shown(&snapshot, json!([two()[1], two()[0]])), ["only", "other"], "in whatever order");
    let asked = of(1, json!({"placements": two(), "explain": "summary"}));
    let told = decided(&snapshot, &asked, &known(Some(&person(json!({}), &[], &[]))));
    let why = |item: usize| reasons(&told.explanation[item]).into_iter().map(|(_, why)| why).collect::<Vec<_>>();
    assert_eq!(told.explanation.len(), 2);
    assert_eq!(why(0), ["frequency_cap", ""]);
    assert_eq!(why(1), ["", "no_matching_size"]);
    let seen = person(json!({}), &[], &[("only", DAY - 1)]);
    let asked = of(1, json!({"placements": two()}));
    assert_eq!(campaigns(&decided(&snapshot, &asked, &known(Some(&seen)))), ["other", ""], "there is nothing left");
}

#[test]
fn a_record_in_which_nothing_was_shared_stays_as_it_is() {
    let snapshot = Catalogue::new()
        .both("only", json!({"frequency_caps": capped(1)}), wide())
        .both("other", json!({"priority": 9}), shape("300x250"))
        .build();
    let (asked, somebody) = (of(1, json!({"placements": two()})), person(json!({}), &[], &[]));
    let (decision, mut record) = recorded(&snapshot, &asked, &known(Some(&somebody)), Purposes::ALL);
    assert_eq!(record["shared"].take(), true);
    record["chosen"][0][0]["of"] = json!({"campaign": "only", "creative": "only"});
    (record["chosen"][1][0], record["made"][1][0]) = (Value::Null, Value::Null);
    let (again, ..) = read(record).replay(&snapshot, decision.placements[0][0].id).expect("a decision");
    assert_eq!((campaigns(&decision), campaigns(&again)), (vec!["other", "only"], vec!["only", ""]));
}

#[test]
fn the_one_campaign_of_a_group_goes_where_nothing_else_fits() {
    let snapshot = Catalogue::new()
        .both("first", json!({"exclusive_group": "g"}), shape("300x250"))
        .both("only", json!({"exclusive_group": "g", "priority": 8}), shape("728x90"))
        .both("other", json!({"priority": 9}), shape("300x250"))
        .build();
    assert_eq!(shown(&snapshot, two()), ["other", "only"]);
}

#[test]
fn money_for_one_impression_goes_where_nobody_else_bids() {
    let snapshot = Catalogue::new()
        .both("only", json!({}), wide())
        .both("other", json!({"priority": 9}), shape("300x250"))
        .build();
    let mut among = [NameHash::of("only"), NameHash::of("other")];
    among.sort_unstable();
    let funds: Vec<u32> = among.iter().map(|hash| if *hash == NameHash::of("only") { 1 } else { 9 }).collect();
    let bidding = |id: &str, size: &str| json!({"id": id, "sizes": [size], "among": among, "funds": funds});
    let both = json!([bidding("1", "300x250"), bidding("2", "728x90")]);
    assert_eq!(shown(&snapshot, both), ["other", "only"]);
}

#[test]
fn what_a_caller_has_chosen_is_left_for_it() {
    let snapshot = Catalogue::new()
        .both("only", json!({"frequency_caps": capped(1)}), wide())
        .both("other", json!({"priority": 9}), shape("300x250"))
        .build();
    let pinned = json!([two()[0], {"id": "2", "sizes": ["728x90"], "candidate": {"campaign": "only"}}]);
    assert_eq!(shown(&snapshot, pinned), ["other", "only"]);
    let both = json!([{"id": "1", "sizes": ["300x250"], "candidate": {"campaign": "only"}}, two()[1]]);
    assert_eq!(shown(&snapshot, both), ["only", ""], "and is not taken from it");
}

/// What shows both a skyscraper and a small banner, once, and what shows the skyscraper.
fn beside(all: Catalogue) -> Catalogue {
    let of = |size: &str| template(json!({"format": "html", "size": size}));
    all.both(
        "only",
        json!({"frequency_caps": capped(1)}),
        json!({"templates": {"a": of("160x600"), "b": of("468x60")}}),
    )
    .both("other", json!({"priority": 9}), shape("160x600"))
}

#[test]
fn a_group_that_cannot_be_shared_leaves_the_rest_what_they_can_share() {
    let mut all = beside(Catalogue::new())
        .both("a", json!({"exclusive_group": "g"}), shape("300x250"))
        .creative("b", shape("728x90"));
    for number in 0..300 {
        all = all.campaign(&format!("b{number}"), json!({"creatives": ["b"], "exclusive_group": "g"}));
    }
    let sizes = ["300x250", "728x90", "160x600", "468x60"];
    let asked: Vec<_> = sizes.iter().map(|size| json!({"id": size, "sizes": [size]})).collect();
    assert_eq!(shown(&all.clone().build(), json!(asked)), ["a", "", "other", "only"]);
    // one of them that both could show is still found
    let snapshot = all.both("both", json!({"exclusive_group": "g", "priority": 9}), wide()).build();
    assert_eq!(shown(&snapshot, json!(asked)), ["both", "both", "other", "only"]);
}

#[test]
fn placements_that_nothing_can_be_left_to_keep_nothing_from_others() {
    let once = |places: Value| json!({"placements": places, "creatives": ["c"], "frequency_caps": capped(1)});
    let hopeless: Vec<_> = (0..16).map(|number| format!("h{number}")).collect();
    let mut all = Catalogue::new().creative("c", json!({}));
    for number in 0..16 {
        let mut places = vec![format!("p{number}")];
        places.extend(if number < 15 { vec![format!("p{}", number + 1)] } else { hopeless.clone() });
        all = all.campaign(&format!("k{number:02}"), once(json!(places)));
    }
    all = all.campaign("only", once(json!(["x", "y"])));
    all = all.campaign("other", json!({"placements": ["x"], "creatives": ["c"], "priority": 9}));
    let row: Vec<_> = (0..16).map(|number| format!("p{number}")).chain(["x".to_owned()]).collect();
    let places: Vec<_> = row.into_iter().chain(hopeless).chain(["y".to_owned()]).collect();
    for place in &places {
        all = all.with(Kind::Placement, place, spot());
    }
    let asked: Vec<_> = places.iter().map(|id| json!({"id": id, "placement": id})).collect();
    let shown = shown(&all.build(), json!(asked));
    assert!(shown[..16].iter().all(|shown| !shown.is_empty()), "{shown:?}");
    assert_eq!(shown[16..], [&["other"][..], &[""; 16], &["only"]].concat());
}

#[test]
fn what_turns_out_to_show_nothing_keeps_no_others_from_sharing() {
    let listed = json!({"id": "0", "sizes": ["970x250"], "listing": "chosen"});
    let snapshot = Catalogue::new()
        .both("untold", json!({}), shape("970x250"))
        .both("only", json!({"frequency_caps": capped(1)}), wide())
        .both("other", json!({"priority": 9}), shape("300x250"))
        .build();
    let asked = of(1, json!({"placements": [listed, two()[0], two()[1]], "explain": "summary"}));
    let somebody = person(json!({}), &[], &[]);
    let told = decided(&snapshot, &asked, &known(Some(&somebody)));
    assert_eq!(campaigns(&told), ["", "other", "only"]);
    let why = |item: usize| reasons(&told.explanation[item]).into_iter().map(|(_, why)| why).collect::<Vec<_>>();
    assert_eq!(told.explanation.len(), 3);
    assert_eq!(why(1), ["frequency_cap", "no_matching_size", ""]);
    let item = told.placements[1][0].id;
    let (_, record) = recorded(&snapshot, &asked, &known(Some(&somebody)), Purposes::ALL);
    let (again, ..) = read(record).replay(&snapshot, item).expect("a decision");
    assert_eq!(reasons(&again.explanation[0]), reasons(&told.explanation[1]), "and a replay says the same");
}

#[test]
fn what_is_shared_in_vain_is_not() {
    let snapshot = Catalogue::new()
        .both("only", json!({"frequency_caps": capped(1)}), wide())
        .both("other", json!({"priority": 9}), shape("300x250"))
        .build();
    let listed = json!({"id": "2", "sizes": ["728x90"], "listing": "chosen"});
    assert_eq!(shown(&snapshot, json!([two()[0], listed])), ["only", ""], "the first keeps its best");
}

#[test]
fn a_whole_row_moves_by_one() {
    let at = |places: &[&str], tier: u64| json!({"placements": places, "frequency_caps": capped(1), "priority": tier});
    let mut all = Catalogue::new();
    for place in ["p0", "p1", "p2", "p3"] {
        all = all.with(Kind::Placement, place, spot());
    }
    let snapshot = all
        .both("a", at(&["p0", "p3"], 1), json!({}))
        .both("b", at(&["p0", "p1"], 2), json!({}))
        .both("c", at(&["p1", "p2"], 3), json!({}))
        .both("d", at(&["p2"], 4), json!({}))
        .build();
    let asked: Vec<_> = ["p0", "p1", "p2", "p3"].iter().map(|id| json!({"id": id, "placement": id})).collect();
    assert_eq!(shown(&snapshot, json!(asked[..3])), ["a", "b", "c"]);
    assert_eq!(shown(&snapshot, json!(asked)), ["b", "c", "d", "a"]);
}

/// A campaign of a small world: where it may stand and how often, and which other may not stand beside it.
struct Scarce {
    id: String,
    tier: u64,
    places: Vec<usize>,
    times: usize,
    group: Option<u64>,
}

/// A catalogue of them, and per item that is asked for its place.
fn world(dice: &mut Dice, grouped: bool) -> (Snapshot, Vec<Scarce>, Vec<usize>) {
    let places = 1 + dice.below(5) as usize;
    let mut all = Catalogue::new().creative("c", json!({}));
    for place in 0..places {
        all = all.with(Kind::Placement, &format!("p{place}"), spot());
    }
    let mut scarce = Vec::new();
    for number in 0..1 + dice.below(7) {
        let one = Scarce {
            id: format!("k{number}"),
            tier: 1 + dice.below(3),
            places: (0..places).filter(|_| dice.one_in(2)).collect(),
            times: 1 + dice.below(2) as usize,
            group: (grouped && dice.one_in(2)).then(|| dice.below(3)),
        };
        if one.places.is_empty() {
            continue;
        }
        let placements: Vec<_> = one.places.iter().map(|place| format!("p{place}")).collect();
        let mut body = json!({"creatives": ["c"], "priority": one.tier, "frequency_caps": capped(one.times as u64),
            "placements": placements});
        if let Some(group) = one.group {
            body["exclusive_group"] = json!(format!("g{group}"));
        }
        all = all.campaign(&one.id, body);
        scarce.push(one);
    }
    let items = (0..places).flat_map(|place| vec![place; 1 + usize::from(dice.one_in(3))]).collect();
    (all.build(), scarce, items)
}

/// Whether a campaign may stand in a place, beside what stands in others.
fn may(scarce: &[Scarce], at: usize, place: usize, taken: &[(usize, usize)]) -> bool {
    let one = &scarce[at];
    let beside = |other: usize| other != at && one.group.is_some() && scarce[other].group == one.group;
    one.places.contains(&place)
        && taken.iter().filter(|(_, other)| *other == at).count() < one.times
        && !taken.iter().any(|(where_, other)| beside(*other) || (*where_, *other) == (place, at))
}

/// Whether all these places can be filled, by trying everything.
fn can(scarce: &[Scarce], places: &[usize], taken: &mut Vec<(usize, usize)>) -> bool {
    let Some((place, rest)) = places.split_first() else { return true };
    (0..scarce.len()).any(|at| {
        may(scarce, at, *place, taken) && {
            taken.push((*place, at));
            let found = can(scarce, rest, taken);
            taken.pop();
            found
        }
    })
}

/// Which items are filled when each takes the best that is left.
fn in_order(scarce: &[Scarce], items: &[usize], person: Sticky) -> Vec<bool> {
    let mut taken = Vec::new();
    let draw = |at: &usize| person.draw(Scope::CAMPAIGN, NameHash::of(&scarce[*at].id).0, 100);
    let mut fill = |place: &usize| {
        let able = (0..scarce.len()).filter(|at| may(scarce, *at, *place, &taken));
        let best = able.min_by(|a, b| scarce[*a].tier.cmp(&scarce[*b].tier).then(draw(a).total_cmp(&draw(b))));
        taken.extend(best.map(|at| (*place, at)));
        best.is_some()
    };
    items.iter().map(&mut fill).collect()
}

/// The places of items that are filled.
fn chosen(items: &[usize], filled: &[bool]) -> Vec<usize> {
    items.iter().zip(filled).filter(|(_, filled)| **filled).map(|(place, _)| *place).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// What is filled in order stays filled, and nothing is left empty that could be filled beside it. With caps
    /// alone that is as much as there can be.
    #[test]
    fn nothing_stays_empty_that_could_be_filled(seed in any::<u64>(), grouped in any::<bool>()) {
        let mut dice = Dice(seed);
        let (snapshot, scarce, items) = world(&mut dice, grouped);
        let mut asked: Vec<Value> = Vec::new();
        for place in &items {
            match asked.get_mut(*place) {
                Some(placement) => placement["count"] = json!(2),
                None => asked.push(json!({"id": place.to_string(), "placement": format!("p{place}")})),
            }
        }
        let asked: AdRequest = of(1 + u128::from(seed), json!({"placements": asked, "explain": "summary"}));
        let somebody = person(json!({}), &[], &[]);
        let (decision, record) = recorded(&snapshot, &asked, &known(Some(&somebody)), Purposes::ALL);

        let shown = campaigns(&decision);
        let mut taken = Vec::new();
        for (place, shown) in items.iter().zip(&shown).filter(|(_, shown)| !shown.is_empty()) {
            let at = scarce.iter().position(|one| one.id == *shown).expect("a campaign");
            prop_assert!(may(&scarce, at, *place, &taken), "{shown} in {place} beside {taken:?}");
            taken.push((*place, at));
        }

        let first = in_order(&scarce, &items, Sticky(asked.person.expect("a person").0));
        let mut best = first.clone();
        for item in 0..items.len() {
            if !best[item] {
                best[item] = true;
                best[item] = can(&scarce, &chosen(&items, &best), &mut Vec::new());
            }
        }
        let filled: Vec<_> = shown.iter().map(|shown| !shown.is_empty()).collect();
        // beside groups the search may end with its moves: about once in 30,000 of the larger worlds
        if !grouped || items.len() <= 6 {
            prop_assert_eq!(&filled, &best);
        } else {
            prop_assert!(filled.iter().zip(&first).all(|(filled, first)| *filled || !*first), "{filled:?} {first:?}");
        }
        if !grouped {
            let sets = (0..1_u32 << items.len()).map(|set| (0..items.len()).map(|at| set >> at & 1 == 1).collect());
            let able = sets.filter(|set: &Vec<bool>| can(&scarce, &chosen(&items, set), &mut Vec::new()));
            let most = able.map(|set| set.iter().filter(|filled| **filled).count()).max();
            prop_assert_eq!(Some(filled.iter().filter(|filled| **filled).count()), most);
        }

        let inputs = read(record);
        let original = answers(&snapshot, &asked, &decision, Purposes::ALL);
        for (number, explained) in decision.explanation.iter().enumerate() {
            let best: Vec<_> = reasons(explained).into_iter().filter(|(_, why)| why.is_empty()).map(|(id, _)| id).collect();
            prop_assert_eq!(best.concat(), shown[number], "nothing better is left for it");
            let (again, ..) = inputs.replay(&snapshot, explained.decision_id).expect("a decision");
            prop_assert_eq!(&answers(&snapshot, &inputs.request, &again, Purposes::ALL)[number], &original[number]);
            prop_assert_eq!(reasons(&again.explanation[0]), reasons(explained));
        }
    }
}
