//! A catalogue that grew change by change is the catalogue built at once.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Catalogue, NOW, PUBLIC_URL, answers, campaigns, decided, known, person,
    random::{self, Dice},
    request, segment, template, winner,
};
use crate::domain::{
    catalog::{
        key::{DocumentKey, Kind},
        snapshot::{Changed, Snapshot},
    },
    consent::Purposes,
    decision::{
        decided::Person,
        exclusion::ComponentExclusion,
        request::{AdRequest, Explain},
        standing::Standing,
    },
    ids::{CreativeId, ExchangeId},
    violation::Violation,
};

fn evolve(snapshot: &Snapshot, changes: Vec<Changed>) -> Snapshot {
    snapshot.evolve(snapshot.version + 1, changes, PUBLIC_URL, NOW)
}

fn write(kind: Kind, id: &str, body: Value) -> Changed {
    (DocumentKey::new(kind, id), Some(body))
}

fn delete(kind: Kind, id: &str) -> Changed {
    (DocumentKey::new(kind, id), None)
}

/// By document: pointers and codes.
type Told = Vec<(String, Vec<(String, &'static str)>)>;

fn noted(found: &BTreeMap<DocumentKey, Vec<Violation>>) -> Told {
    let of = |(key, faults): (&DocumentKey, &Vec<Violation>)| {
        (key.to_string(), faults.iter().map(|fault| (fault.pointer.clone(), fault.code)).collect())
    };
    found.iter().map(of).collect()
}

/// What is wrong.
fn faults(snapshot: &Snapshot) -> Told {
    noted(&snapshot.faults)
}

/// What is held back.
fn held(snapshot: &Snapshot) -> Told {
    noted(&snapshot.held)
}

/// Everything that an answer says, memberships included.
fn told(snapshot: &Snapshot, asked: &AdRequest, person: &Person<'_>) -> Result<(Vec<String>, Value), String> {
    let decision = super::decide(
        snapshot,
        &crate::domain::decision::learned::Learned::default(),
        asked,
        person,
        Purposes::ALL,
        NOW,
        super::SEED,
    )
    .map_err(|f| format!("{f:?}"))?;
    let segments = decision.segments(&snapshot.rules);
    let segments: Vec<_> = segments.iter().map(|(ix, verdict)| (snapshot.rules.key(*ix), verdict)).collect();
    let explanation = json!({"segments": segments, "explanation": decision.explanation});
    Ok((answers(snapshot, asked, &decision, Purposes::ALL), explanation))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn growing_and_building_at_once_are_the_same(seed in any::<u64>(), steps in 1_usize..14) {
        let mut dice = Dice(seed);
        let mut documents: BTreeMap<DocumentKey, Value> = BTreeMap::new();
        let mut grown = Snapshot::empty();
        let mut batches = vec![random::catalogue(&mut dice, 16).0];
        batches.extend((0..steps).map(|_| (0..1 + dice.below(3)).flat_map(|_| random::change(&mut dice, 16)).collect()));
        for changes in batches {
            for (key, body) in &changes {
                match body {
                    Some(body) => documents.insert(key.clone(), body.clone()),
                    None => documents.remove(key),
                };
            }
            grown = evolve(&grown, changes);
        }
        let all = documents.iter().map(|(key, body)| (key.clone(), Some(body.clone()))).collect();
        let built = Snapshot::empty().evolve(grown.version, all, PUBLIC_URL, NOW);
        prop_assert_eq!((faults(&grown), held(&grown)), (faults(&built), held(&built)));
        for _ in 0..4 {
            let mut asked = random::ask(&mut dice, 16);
            // which segments are looked at is no promise; all of them are
            asked.all_segments = true;
            asked.explain = Explain::Full;
            let somebody = random::somebody(&mut dice, 16);
            let person = Person { standing: somebody.standing, counted: somebody.standing != Standing::Contextual, ..known(somebody.state.as_ref()) };
            prop_assert_eq!(told(&grown, &asked, &person), told(&built, &asked, &person));
        }
    }
}

fn two() -> Snapshot {
    Catalogue::new()
        .segment("list", Value::Null)
        .segment("young", json!({"trait": "age", "lt": 30}))
        .both("aimed", json!({"priority": 1, "targeting": {"segment": "list"}}), json!({}))
        .both("open", json!({}), json!({}))
        .build()
}

fn asked() -> AdRequest {
    super::of(1, json!({}))
}

#[test]
fn what_did_not_change_is_shared() {
    let before = two();
    let same = |before: &Snapshot, after: &Snapshot, campaign: &str, creative: &str| {
        let campaign_of =
            |s: &Snapshot| Arc::clone(&s.lines[s.line(&campaign.parse().expect("an id")).expect("a line")].campaign);
        let creative_of = |s: &Snapshot| Arc::clone(&s.creatives[creative]);
        (Arc::ptr_eq(&campaign_of(before), &campaign_of(after)), Arc::ptr_eq(&creative_of(before), &creative_of(after)))
    };
    let after = evolve(&before, vec![write(Kind::Campaign, "open", super::campaign("open", json!({"weight": 7})))]);
    assert_eq!(same(&before, &after, "aimed", "open"), (true, true));
    assert_eq!(same(&before, &after, "open", "aimed"), (false, true));
    assert!(Arc::ptr_eq(&before.rules, &after.rules));
    let (revision, publication) = super::creative(json!({"revision": 2}));
    let after =
        evolve(&before, vec![write(Kind::Revision, "open/2", revision), write(Kind::Publication, "open", publication)]);
    assert_eq!(same(&before, &after, "open", "open"), (true, false));
    assert_eq!(same(&before, &after, "aimed", "aimed"), (true, true));
    let after = evolve(&before, vec![write(Kind::Segment, "young", segment(json!({"trait": "age", "lt": 40})))]);
    assert_eq!(same(&before, &after, "aimed", "aimed"), (true, true), "conditions name segments by position");
    let after = evolve(&before, vec![write(Kind::Advertiser, "shop", json!({"name": "S", "domain": "shop.example"}))]);
    assert_eq!(same(&before, &after, "aimed", "aimed"), (false, false));
    assert!(Arc::ptr_eq(&before.rules, &after.rules));
}

#[test]
fn a_campaign_that_names_a_creative_twice_is_one_of_those_that_show_it() {
    let twice = || json!({"creatives": ["c", "d", "c"]});
    let snapshot = Catalogue::new()
        .creative("c", json!({}))
        .both("d", json!({"creatives": ["c"]}), json!({}))
        .campaign("e", twice())
        .campaign("f", twice())
        .build();
    let showing = |creative: &str| snapshot.listing(&creative.parse().expect("an id")).to_vec();
    assert_eq!((showing("c"), showing("d"), showing("e")), (vec![0, 1, 2], vec![1, 2], vec![]));
}

#[test]
fn what_names_a_model_follows_what_was_learned() {
    let model = |centroids: Value| {
        write(
            Kind::Model,
            "k",
            json!({"name": "K", "kind": "clusters", "centroids": centroids,
                "features": [{"event": "visit", "measure": "recency"}]}),
        )
    };
    let far = json!({"cluster": {"model": "k", "in": [1]}});
    let untrained = evolve(&two(), vec![model(json!([]))]);
    assert_eq!(untrained.streams.of_event(&"visit".parse().expect("a name")).len(), 1, "remembered to learn from");
    let aimed = json!({"priority": 1, "targeting": {"all": [far, {"segment": "far"}]}});
    let named = vec![
        write(Kind::Segment, "far", segment(json!({"cluster": {"model": "k", "in": [1]}}))),
        write(Kind::Campaign, "aimed", super::campaign("aimed", aimed)),
    ];
    let early = evolve(&untrained, named);
    assert_eq!(
        faults(&early).iter().map(|(of, faults)| (of.as_str(), faults[0].1)).collect::<Vec<_>>(),
        [("segment/far", "untrained_model"), ("campaign/aimed", "untrained_model")]
    );
    let nobody = person(json!({}), &[], &[]);
    let shown = |snapshot: &Snapshot| campaigns(&decided(snapshot, &asked(), &known(Some(&nobody))))[0].to_owned();
    assert_eq!(shown(&early), "open");
    let learned = evolve(&early, vec![model(json!([[0.0], [14.0]]))]);
    assert_eq!((faults(&learned), shown(&learned).as_str()), (vec![], "aimed"));
    let turned = evolve(&learned, vec![model(json!([[14.0], [0.0]]))]);
    assert_eq!((faults(&turned), shown(&turned).as_str()), (vec![], "open"), "targeting is bound to the new numbers");
    let gone = evolve(&turned, vec![delete(Kind::Model, "k")]);
    assert_eq!((faults(&gone).len(), shown(&gone).as_str()), (2, "open"));
}

#[test]
fn one_bad_document_never_keeps_the_others_from_serving() {
    let before = two();
    let bad = [
        write(
            Kind::Segment,
            "young",
            json!({"name": "Young", "rule": {"v": 1, "kind": "dynamic", "match": {"segment": "nobody"}}}),
        ),
        write(Kind::Campaign, "aimed", json!({"weight": "much"})),
        write(
            Kind::Campaign,
            "new",
            super::campaign("open", json!({"advertiser": "ghost", "weight": 0, "holdout": 2.0})),
        ),
        write(Kind::Publication, "aimed", json!({"revision": 9, "status": "published"})),
        write(Kind::Placement, "side", json!({"name": "Side"})),
    ];
    let after = evolve(&before, bad.to_vec());
    assert_eq!(
        faults(&after),
        [
            ("segment/young".to_owned(), vec![("/match/segment".to_owned(), "unknown_segment")]),
            ("publication/aimed".to_owned(), vec![("/revision".to_owned(), "unknown_revision")]),
            ("placement/side".to_owned(), vec![(String::new(), "unreadable")]),
            ("campaign/aimed".to_owned(), vec![(String::new(), "unreadable")]),
            (
                "campaign/new".to_owned(),
                vec![
                    ("/weight".to_owned(), "range"),
                    ("/holdout".to_owned(), "range"),
                    ("/advertiser".to_owned(), "unknown_advertiser"),
                ]
            ),
        ]
    );
    assert_eq!(winner(&after, &asked()), "open");
    let mended = vec![
        write(Kind::Segment, "nobody", segment(Value::Null)),
        write(Kind::Campaign, "aimed", super::campaign("open", json!({"priority": 1}))),
        delete(Kind::Campaign, "new"),
        delete(Kind::Publication, "aimed"),
        delete(Kind::Placement, "side"),
    ];
    let after = evolve(&after, mended);
    assert_eq!(faults(&after), [], "a fault ends with its cause");
    assert_eq!(winner(&after, &asked()), "aimed");
}

#[test]
fn a_segment_that_goes_takes_its_campaigns_along_and_brings_them_back() {
    let listed = person(json!({"age": 24}), &["list"], &[]);
    let shown = |snapshot: &Snapshot| campaigns(&decided(snapshot, &asked(), &known(Some(&listed))))[0].to_owned();
    let before = two();
    assert_eq!(shown(&before), "aimed");
    let gone = evolve(&before, vec![delete(Kind::Segment, "list")]);
    assert_eq!(shown(&gone), "open", "also to those whom the store still lists");
    assert_eq!(
        faults(&gone),
        [("campaign/aimed".to_owned(), vec![("/targeting/segment".to_owned(), "unknown_segment")])]
    );
    let grown = evolve(&gone, vec![write(Kind::Segment, "another", segment(json!({"trait": "age", "gt": 99})))]);
    let back = evolve(&grown, vec![write(Kind::Segment, "list", segment(Value::Null))]);
    assert_eq!((shown(&back), faults(&back)), ("aimed".to_owned(), Vec::new()));
    let ruled = evolve(&back, vec![write(Kind::Segment, "list", segment(json!({"trait": "age", "gt": 30})))]);
    assert_eq!(shown(&ruled), "open", "a rule took the place of the list");
}

#[test]
fn a_component_that_loses_its_segment_is_held_back_alone_and_comes_back() {
    let components = json!({"offer": {"slot": "headline", "value": "Half off", "targeting": {"segment": "list"}},
        "terms": {"slot": "cta", "value": "Terms apply"}});
    let before = Catalogue::new()
        .segment("list", Value::Null)
        .both("ad", json!({}), json!({"components": components, "pairing": [{"group": ["offer", "terms"]}]}))
        .build();
    let listed = person(json!({}), &["list"], &[]);
    let shown = |snapshot: &Snapshot| {
        let decision = decided(snapshot, &asked(), &known(Some(&listed)));
        let showing = super::only(&decision);
        let chosen =
            (0..showing.creative.slots.len()).filter_map(|slot| showing.creative.chosen(slot, &showing.choice));
        (campaigns(&decision)[0].to_owned(), chosen.map(|component| component.id.to_string()).collect::<Vec<_>>())
    };
    let both = ("ad".to_owned(), vec!["terms".to_owned(), "offer".to_owned()]);
    assert_eq!(shown(&before), both);
    let gone = evolve(&before, vec![delete(Kind::Segment, "list")]);
    assert_eq!(shown(&gone), ("ad".to_owned(), vec![]), "what goes only beside it goes too");
    let fault = ("/components/offer/targeting/segment".to_owned(), "unknown_segment");
    assert_eq!((faults(&gone), held(&gone)), (vec![], vec![("publication/ad".to_owned(), vec![fault])]));
    let mut explained = asked();
    explained.explain = Explain::Full;
    let why = |snapshot: &Snapshot| {
        let decision = decided(snapshot, &explained, &known(Some(&listed)));
        let slots = decision.explanation[0].slots.iter().flat_map(|slot| slot.components.clone());
        slots.map(|one| (one.component.to_string(), one.excluded)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(why(&gone)["offer"], Some(ComponentExclusion::HeldBack));
    assert_eq!(why(&before)["offer"], None);
    let back = evolve(&gone, vec![write(Kind::Segment, "list", segment(Value::Null))]);
    assert_eq!((shown(&back), faults(&back), held(&back)), (both, vec![], vec![]));
}

#[test]
fn a_list_that_becomes_a_rule_is_no_longer_a_list() {
    let before = Catalogue::new()
        .segment("list", Value::Null)
        .both("aimed", json!({"targeting": {"list": "list"}}), json!({}))
        .build();
    let after = evolve(&before, vec![write(Kind::Segment, "list", segment(json!({"trait": "age", "lt": 30})))]);
    assert_eq!(faults(&after), [("campaign/aimed".to_owned(), vec![("/targeting/list".to_owned(), "not_a_list")])]);
}

#[test]
fn a_publication_follows_its_revision_and_its_status() {
    let tall = json!({"revision": 1, "templates": {"t": template(json!({"format": "html", "size": "160x600"}))}});
    let (revision, _) = super::creative(tall);
    let tall = request(json!({"placements": [{"id": "a", "sizes": ["160x600"]}]}));
    let before = two();
    assert_eq!(winner(&before, &tall), "");
    let after = evolve(&before, vec![write(Kind::Revision, "open/1", revision)]);
    assert_eq!(winner(&after, &tall), "open");
    let after = evolve(&after, vec![write(Kind::Publication, "open", json!({"revision": 1, "status": "archived"}))]);
    assert_eq!((winner(&after, &tall), faults(&after)), (String::new(), Vec::new()));
}

#[test]
fn what_exchanges_say_comes_and_goes_and_what_cannot_be_read_approves_nothing() {
    let audit = |body: Value| write(Kind::Audit, "first/xchange", body);
    let said = |snapshot: &Snapshot| {
        let (creative, exchange): (CreativeId, ExchangeId) =
            ("first".parse().expect("an id"), "xchange".parse().expect("an id"));
        Some(snapshot.audits.get(&creative)?.get(&exchange)?.serves("first.1.native"))
    };
    let approved = evolve(&two(), vec![audit(json!({"crids": {"first.1.native": {"status": 3}}}))]);
    assert_eq!(said(&approved), Some(true));
    let denied = evolve(&approved, vec![audit(json!({"crids": {"first.1.native": {"status": 4}}}))]);
    assert_eq!(said(&denied), Some(false));
    let unread = evolve(&approved, vec![audit(json!({"crids": {"first.1.native": {"status": 9}}}))]);
    assert_eq!((said(&unread), faults(&unread).len()), (None, 1));
    assert_eq!(said(&evolve(&approved, vec![delete(Kind::Audit, "first/xchange")])), None);
}
