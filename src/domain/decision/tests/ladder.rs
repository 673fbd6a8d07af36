//! Pinned campaigns and creatives, and the steps down from them.

use serde_json::{Value, json};

use super::{Catalogue, SEED, campaign, campaigns, decided, known, of, only, person, reasons, request, winner};
use crate::domain::{
    catalog::{key::Kind, snapshot::Snapshot},
    consent::Purposes,
    decision::{
        decided::Decision,
        explanation::Reason,
        record::{Inputs, Origin},
        request::AdRequest,
        standing::{Degraded, FallbackLevel, Standing},
    },
};

fn snapshot() -> Snapshot {
    let french = json!({"context": "geo.country", "eq": "FR"});
    Catalogue::new()
        .creative("spare", json!({}))
        .both("best", json!({"priority": 1}), json!({}))
        .both("pinned", json!({"priority": 16, "targeting": french, "default_creative": "spare"}), json!({}))
        .both("bare", json!({"targeting": french}), json!({}))
        .creative("alone", json!({}))
        .build()
}

fn decide(candidate: Value, country: &str) -> Decision {
    let placement =
        json!({"id": "a", "placement": "top", "candidate": candidate, "floor": {"amount": "5", "currency": "USD"}});
    let asked = json!({"placements": [placement], "context": {"country": country}, "explain": "summary"});
    decided(&snapshot(), &request(asked), &known(None))
}

fn told(decision: &Decision) -> (&str, &str, FallbackLevel, &[Degraded]) {
    let item = &decision.placements[0][0];
    let creative = item.shown.as_ref().map_or("", |shown| shown.creative.id.as_str());
    (campaigns(decision)[0], creative, item.fallback, &item.degraded)
}

const PERSONALISED: FallbackLevel = FallbackLevel::Personalised;
const DEFAULT: FallbackLevel = FallbackLevel::Default;
const INELIGIBLE: &[Degraded] = &[Degraded::PinnedIneligible];

#[test]
fn a_pinned_campaign_wins_whatever_its_priority_and_price() {
    assert_eq!(told(&decide(json!({"campaign": "pinned"}), "FR")), ("pinned", "pinned", PERSONALISED, &[][..]));
    assert_eq!(told(&decide(json!({"creative": "pinned"}), "FR")), ("pinned", "pinned", PERSONALISED, &[][..]));
    assert_eq!(told(&decide(json!({"creative": "alone"}), "FR")), ("-", "alone", PERSONALISED, &[][..]));
    let reasons = reasons(&decide(json!({"campaign": "pinned"}), "FR").explanation[0]);
    assert_eq!(reasons[0], ("best".into(), "not_pinned".into()), "its price is not asked either");
}

#[test]
fn a_pinned_campaign_that_may_not_serve_gives_way_to_its_default_then_to_the_house() {
    let spare = decide(json!({"campaign": "pinned"}), "US");
    assert_eq!(told(&spare), ("pinned", "spare", DEFAULT, INELIGIBLE));
    assert_eq!(only(&spare).reason, Reason::Default);
    assert_eq!(told(&decide(json!({"creative": "pinned"}), "US")), ("pinned", "spare", DEFAULT, INELIGIBLE));
    assert_eq!(told(&decide(json!({"campaign": "bare"}), "US")), ("-", "house", DEFAULT, INELIGIBLE));
    assert_eq!(told(&decide(json!({"campaign": "unknown"}), "US")), ("-", "house", DEFAULT, INELIGIBLE));
    assert_eq!(told(&decide(json!({"creative": "unknown"}), "US")), ("-", "house", DEFAULT, INELIGIBLE));
}

#[test]
fn nothing_eligible_shows_the_house_creative_and_without_one_nothing() {
    let snapshot = Catalogue::new().both("paused", json!({"status": "paused"}), json!({})).build();
    let decide = |placement: Value| decided(&snapshot, &request(json!({"placements": [placement]})), &known(None));
    assert_eq!(told(&decide(json!({"id": "a", "placement": "top"}))), ("-", "house", DEFAULT, &[][..]));
    let none = ("", "", FallbackLevel::None, &[][..]);
    assert_eq!(told(&decide(json!({"id": "a", "sizes": ["300x250"]}))), none, "an unregistered placement");
    assert_eq!(
        told(&decide(json!({"id": "a", "placement": "top", "sizes": ["728x90"]}))),
        none,
        "no house of this size"
    );
    let blocked = json!({"id": "a", "placement": "top", "blocked_creatives": ["house"]});
    assert_eq!(told(&decide(blocked)), none, "a blocked house creative");
    let pinned =
        json!({"id": "a", "placement": "top", "blocked_creatives": ["house"], "candidate": {"creative": "house"}});
    assert_eq!(told(&decide(pinned)), ("", "", FallbackLevel::None, INELIGIBLE));
}

#[test]
fn how_the_person_was_read_is_passed_on() {
    for (standing, level) in [
        (Standing::Personalised, FallbackLevel::Personalised),
        (Standing::Stale, FallbackLevel::Stale),
        (Standing::Contextual, FallbackLevel::Contextual),
    ] {
        let degraded = [Degraded::StoreTimeout];
        let person = crate::domain::decision::decided::Person { standing, degraded: &degraded, ..known(None) };
        let decision = decided(&snapshot(), &request(json!({})), &person);
        assert_eq!(told(&decision), ("best", "best", level, &degraded[..]));
    }
    assert_eq!(crate::domain::decision::decided::Person::nobody(&[]).standing, Standing::Contextual);
}

/// Two creatives of videos: `long` lasts 30 seconds, and for runners 10; `short` always 10.
fn spots() -> Catalogue {
    let film = |seconds: u32| {
        json!({"duration_ms": seconds * 1_000, "files": [{"src": "https://cdn.example/a.mp4", "type": "video/mp4",
            "width": 640, "height": 360}]})
    };
    let spot = |seconds: u32, components: serde_json::Value| {
        json!({"components": components, "templates": {"t": {"name": "Spot", "format": "vast",
            "slots": {"film": {"type": "video", "default": film(seconds)}, "headline": {"type": "text", "default": "Hi"}},
            "vast": {"video": "film", "title": "headline"}}}})
    };
    let cut = json!({"cut": {"slot": "film", "value": film(10), "targeting": {"segment": "runners"}}});
    Catalogue::new()
        .segment("runners", json!({"trait": "runs", "eq": true}))
        .creative("long", spot(30, cut))
        .creative("short", spot(10, json!({})))
}

/// A player that takes 15 seconds.
fn player(more: &serde_json::Value) -> serde_json::Value {
    let mut placement = json!({"id": "a", "formats": ["vast"], "video": {"max_duration_ms": 15_000}});
    placement.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    json!({"placements": [placement], "explain": "summary"})
}

#[test]
fn who_has_nothing_for_the_player_leaves_it_to_the_next() {
    let asked = |person| of(person, player(&json!({})));
    // of the first campaign only runners get something so short
    let two = spots().campaign("long", json!({"priority": 1})).campaign("short", json!({"priority": 2})).build();
    assert_eq!(winner(&two, &asked(1)), "short");
    let runner = person(json!({"runs": true}), &[], &[]);
    assert_eq!(campaigns(&decided(&two, &asked(1), &known(Some(&runner)))), ["long"]);
    // and of one campaign its other creative
    let one = spots().campaign("both", json!({"creatives": ["long", "short"]})).build();
    for person in 1..30 {
        assert_eq!(only(&decided(&one, &asked(person), &known(None))).creative.id.as_str(), "short");
    }
}

#[test]
fn what_has_nothing_for_the_player_is_told_so() {
    let told = |snapshot: &Snapshot, asked: &AdRequest| {
        let decision = decided(snapshot, asked, &known(None));
        reasons(&decision.explanation[0]).into_iter().map(|(_, reason)| reason).collect::<Vec<_>>()
    };
    let two = || spots().campaign("long", json!({})).campaign("short", json!({}));
    let asked = of(1, player(&json!({})));
    let other = |level| two().with(Kind::Campaign, "long", campaign("long", json!({"priority": level}))).build();
    assert_eq!(told(&other(1), &asked), ["nothing_plays", ""]);
    assert_eq!(told(&spots().campaign("long", json!({})).build(), &asked), ["nothing_plays"], "nobody is shown");
    let pinned = of(1, player(&json!({"candidate": {"campaign": "long"}})));
    assert_eq!(told(&two().build(), &pinned), ["nothing_plays", "not_pinned"]);
    // however many have nothing, whoever has something is found
    let many = (0..40).fold(spots().campaign("short", json!({"priority": 16})), |all, number| {
        all.campaign(&format!("long-{number}"), json!({"creatives": ["long"], "priority": 1 + number % 15}))
    });
    let many = many.build();
    assert_eq!(winner(&many, &asked), "short");
    let told = told(&many, &asked);
    assert_eq!((told.iter().filter(|reason| *reason == "nothing_plays").count(), told.len()), (40, 41));
}

#[test]
fn a_replay_shows_what_played_then() {
    let two = spots().campaign("long", json!({"priority": 1})).campaign("short", json!({"priority": 2})).build();
    let (asked, person) = (of(1, player(&json!({}))), known(None));
    let decision = decided(&two, &asked, &person);
    let origin = Origin {
        snapshot: &two,
        request: &asked,
        person: &person,
        purposes: Purposes::ALL,
        seed: SEED,
        public_url: "https://t.example",
        signing_key: 1,
    };
    let wanted = decision.placements[0][0].id;
    let mut inputs = Inputs::take(&origin, &decision);
    assert_eq!(campaigns(&inputs.replay(&two, wanted).expect("a decision").0), ["short"]);
    // by what was learned then, the short cut of the long one was chosen
    let mut record = serde_json::to_value(&inputs).expect("JSON");
    record["chosen"][0][0]["of"] = json!({"campaign": "long", "creative": "long"});
    record["made"][0][0] = json!([["film", "cut"], ["headline", null]]);
    inputs = serde_json::from_value(record.clone()).expect("a record");
    let (again, ..) = inputs.replay(&two, wanted).expect("a decision");
    assert_eq!((campaigns(&again), reasons(&again.explanation[0])[0].1.as_str()), (vec!["long"], ""));
    assert_eq!(only(&again).creative.chosen(0, &only(&again).choice).map(|cut| cut.id.as_str()), Some("cut"));
    // and where nothing was shown, nothing is
    (record["chosen"][0][0], record["made"][0][0]) = (json!(null), json!(null));
    inputs = serde_json::from_value(record).expect("a record");
    assert_eq!(campaigns(&inputs.replay(&two, wanted).expect("a decision").0), [""]);
}
