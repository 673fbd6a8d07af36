//! What a profile changes, and which rule is told to have done it.

use serde_json::{Value, json};

use super::{Catalogue, NOW, SEED, of, person};
use crate::domain::{
    audience::user::UserState,
    catalog::snapshot::Snapshot,
    consent::Purposes,
    decision::{learned::Learned, shadow::Asked, standing::Standing},
};

fn causes(snapshot: &Snapshot, state: Option<&UserState>, purposes: Purposes) -> Vec<String> {
    let request = of(7, json!({}));
    let learned = Learned::default();
    let asked = Asked {
        snapshot,
        learned: &learned,
        request: &request,
        state,
        standing: Standing::Personalised,
        counted: true,
        purposes,
        now: NOW,
        seed: SEED,
    };
    asked.causes().iter().map(ToString::to_string).collect()
}

fn headline(targeting: Value) -> Value {
    json!({"components": {"own": {"slot": "headline", "value": "Yours", "targeting": targeting}}})
}

/// Campaigns by what people are in, one that adults are kept from, and one for all.
fn snapshot() -> Snapshot {
    let adults = json!({"trait": "age", "gte": 18});
    Catalogue::new()
        .segment("vip", Value::Null)
        .segment("loyal", Value::Null)
        .segment("regular", Value::Null)
        .segment("adults", adults)
        .segment("young_vip", json!({"all": [{"segment": "vip"}, {"not": {"segment": "adults"}}]}))
        .both("first", json!({"priority": 1, "targeting": {"segment": "young_vip"}}), json!({}))
        .both(
            "second",
            json!({"priority": 2, "targeting": {"any": [{"segment": "loyal"}, {"segment": "regular"}]}}),
            json!({}),
        )
        .both("third", json!({"priority": 3, "targeting": {"trait": "city", "eq": "Berlin"}}), json!({}))
        .both("fourth", json!({"priority": 4, "targeting": {"not": {"segment": "adults"}}}), json!({}))
        .both("last", json!({"priority": 9}), headline(json!({"trait": "plan", "eq": "gold"})))
        .build()
}

#[test]
fn the_rule_that_makes_the_difference_is_named() {
    let snapshot = snapshot();
    let of = |traits: Value, lists: &[&str]| causes(&snapshot, Some(&person(traits, lists, &[])), Purposes::ALL);
    // nothing of all this is about them
    assert_eq!(of(json!({"shoe": 42}), &[]), Vec::<String>::new());
    // being in it, be it that the way leads past something else
    assert_eq!(of(json!({"age": 40}), &["loyal"]), ["segment:loyal"]);
    assert_eq!(of(json!({"age": 40}), &[]), ["segment:adults"]);
    assert_eq!(of(json!({"age": 40}), &["vip"]), ["segment:adults"]);
    // a segment that rests on another: both alone
    assert_eq!(of(json!({}), &["vip"]), ["segment:vip", "segment:young_vip"]);
    // either would do, so that neither alone makes the difference
    assert_eq!(of(json!({"age": 40}), &["loyal", "regular"]), ["campaign:second"]);
    // no segment at all
    assert_eq!(of(json!({"city": "Berlin"}), &[]), ["campaign:third"]);
    let gold = of(json!({"age": 40, "plan": "gold"}), &[]);
    assert_eq!(gold, ["segment:adults"], "without that segment they would not come as far");
}

#[test]
fn a_component_is_named_and_chance_is_not() {
    let rotating = (0..8).fold(Catalogue::new(), |catalogue, at| {
        catalogue.both(&format!("c{at}"), json!({}), headline(json!({"trait": "plan", "eq": "gold"})))
    });
    let snapshot = rotating.build();
    let of = |traits: Value| causes(&snapshot, Some(&person(traits, &[], &[])), Purposes::ALL);
    assert_eq!(of(json!({"plan": "tin"})), Vec::<String>::new());
    let named = of(json!({"plan": "gold"}));
    assert!(named.len() == 1 && named[0].starts_with("component:c") && named[0].ends_with("/own"), "{named:?}");
}

#[test]
fn what_may_not_be_read_makes_no_difference() {
    let snapshot = snapshot();
    let state = person(json!({"city": "Berlin"}), &["vip"], &[]);
    let reads = Purposes { profile_read: false, ..Purposes::ALL };
    assert_eq!(causes(&snapshot, Some(&state), reads), Vec::<String>::new());
    assert_eq!(causes(&snapshot, None, Purposes::ALL), Vec::<String>::new());
}
