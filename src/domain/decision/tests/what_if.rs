//! What a draft would change of recorded decisions.

use serde_json::{Value, json};

use super::{Catalogue, NOW, PUBLIC_URL, SEED, known, of, person};
use crate::domain::{
    catalog::snapshot::Snapshot,
    consent::Purposes,
    decision::{
        decide::decide,
        learned::Learned,
        record::{Inputs, Origin},
        request::{AdRequest, Preview},
        what_if::{Change, Held, Unfit, WhatIf},
    },
    ids::NameHash,
};

fn recorded(snapshot: &Snapshot, request: &AdRequest, traits: Value, lists: &[&str]) -> Inputs {
    let state = person(traits, lists, &[]);
    let person = known(Some(&state));
    let purposes = Purposes::ALL;
    let decision = decide(snapshot, &Learned::default(), request, &person, purposes, NOW, SEED).expect("a request");
    let origin =
        Origin { snapshot, request, person: &person, purposes, seed: SEED, public_url: PUBLIC_URL, signing_key: 1 };
    let kept = serde_json::to_string(&Inputs::take(&origin, &decision)).expect("JSON");
    serde_json::from_str(&kept).expect("a record")
}

/// What the first item changes to by a draft of the catalogue.
fn change(now: &Snapshot, draft: &Snapshot, inputs: &Inputs) -> Result<Option<Change>, Unfit> {
    let (learned, drafted) = (Learned::default(), ["new".parse().expect("an id")]);
    let what_if = WhatIf { now, draft, learned: &learned, drafted: &drafted };
    what_if.compare(inputs, &Held::by(now), None).map(|items| items[0].change())
}

fn catalogue() -> Catalogue {
    Catalogue::new().segment("vip", Value::Null).segment("loyal", Value::Null).both("all", json!({}), json!({})).both(
        "few",
        json!({"priority": 1, "targeting": {"segment": "vip"}}),
        json!({}),
    )
}

#[test]
fn each_change_is_what_it_is() {
    let now = catalogue().build();
    let of_vip = recorded(&now, &of(1, json!({})), json!({}), &["vip", "loyal"]);
    let of_all = recorded(&now, &of(2, json!({})), json!({}), &["loyal"]);
    let with = |draft: Catalogue| draft.build();
    let same = with(catalogue());
    assert_eq!((change(&now, &same, &of_vip), change(&now, &same, &of_all)), (Ok(None), Ok(None)));

    let vip_only = json!({"priority": 1, "targeting": {"segment": "vip"}});
    let taken = with(catalogue().both("new", vip_only, json!({})).campaign("few", json!({"status": "paused"})));
    assert_eq!(change(&now, &taken, &of_vip), Ok(Some(Change::Campaign)));
    assert_eq!(change(&now, &taken, &of_all), Ok(None));

    let other = with(catalogue().creative("other", json!({})).campaign("all", json!({"creatives": ["other"]})));
    assert_eq!(change(&now, &other, &of_all), Ok(Some(Change::Creative)));
    let headline = json!({"revision": 2, "components": {"h": {"slot": "headline", "value": "New"}}});
    assert_eq!(change(&now, &with(catalogue().creative("all", headline)), &of_all), Ok(Some(Change::Components)));
    let again = with(catalogue().creative("all", json!({"revision": 2})));
    assert_eq!(change(&now, &again, &of_all), Ok(Some(Change::Revision)));

    // the house creative goes as well
    let bare = json!({"name": "Top", "sizes": ["300x250"], "formats": ["html"]});
    let kind = crate::domain::catalog::key::Kind::Placement;
    let none = with(catalogue().campaign("all", json!({"status": "paused"})).with(kind, "top", bare));
    assert_eq!(change(&now, &none, &of_all), Ok(Some(Change::Unfilled)));
    assert_eq!(change(&none, &now, &of_all), Ok(Some(Change::Filled)));
}

#[test]
fn what_a_record_does_not_hold_is_named_and_not_guessed() {
    let now = catalogue().build();
    let inputs = recorded(&now, &of(1, json!({})), json!({"age": 30}), &["loyal"]);
    let drafted =
        |targeting: Value| catalogue().both("new", json!({"priority": 1, "targeting": targeting}), json!({})).build();
    let loyal = vec!["loyal".parse().expect("a key")];
    assert_eq!(change(&now, &drafted(json!({"segment": "loyal"})), &inputs), Err(Unfit::Segments(loyal)));
    assert_eq!(change(&now, &drafted(json!({"trait": "age", "gte": 18})), &inputs), Err(Unfit::Traits));
    let bought = json!({"event": "purchase", "count": {"gte": 1}, "in": {"last": "P7D"}});
    assert_eq!(change(&now, &drafted(bought), &inputs), Err(Unfit::Events));
    // where the draft does not look, nothing is missing
    let elsewhere = catalogue()
        .both("new", json!({"priority": 9, "weight": 1, "targeting": {"segment": "loyal"}}), json!({}))
        .build();
    assert!(matches!(change(&now, &elsewhere, &inputs), Ok(None) | Err(Unfit::Segments(_))));
    let preview = AdRequest { preview: Some(Preview::default()), ..inputs.request.clone() };
    assert_eq!(change(&now, &now, &Inputs { request: preview, ..inputs.clone() }), Err(Unfit::Preview));
    let gone = Snapshot::empty();
    assert_eq!(change(&gone, &gone, &inputs), Err(Unfit::Placement));
}

#[test]
fn drafted_campaigns_have_money_where_others_need_it() {
    let now = catalogue().build();
    let mut request = of(1, json!({}));
    request.placements[0].among = Some(vec![NameHash::of("all")]);
    let inputs = recorded(&now, &request, json!({}), &[]);
    let draft = catalogue().both("new", json!({"priority": 1}), json!({})).build();
    assert_eq!(change(&now, &draft, &inputs), Ok(Some(Change::Campaign)));
}
