//! Pinned campaigns and creatives, and the steps down from them.

use serde_json::{Value, json};

use super::{Catalogue, campaigns, decided, known, of, only, person, reasons, request, winner};
use crate::domain::{
    catalog::snapshot::Snapshot,
    decision::{
        decided::Decision,
        explanation::Reason,
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

#[test]
fn who_has_nothing_for_the_player_leaves_it_to_the_next() {
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
    let creatives = || {
        let segment = json!({"trait": "runs", "eq": true});
        Catalogue::new()
            .segment("runners", segment)
            .creative("long", spot(30, cut.clone()))
            .creative("short", spot(10, json!({})))
    };
    let asked = |person| {
        of(person, json!({"placements": [{"id": "a", "formats": ["vast"], "video": {"max_duration_ms": 15_000}}]}))
    };
    // the player takes 15 seconds: of the first campaign only runners get something so short
    let two = creatives().campaign("long", json!({"priority": 1})).campaign("short", json!({"priority": 2})).build();
    assert_eq!(winner(&two, &asked(1)), "short");
    let runner = person(json!({"runs": true}), &[], &[]);
    assert_eq!(campaigns(&decided(&two, &asked(1), &known(Some(&runner)))), ["long"]);
    // and of one campaign its other creative
    let one = creatives().campaign("both", json!({"creatives": ["long", "short"]})).build();
    for person in 1..30 {
        assert_eq!(only(&decided(&one, &asked(person), &known(None))).creative.id.as_str(), "short");
    }
}
