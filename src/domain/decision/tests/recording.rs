//! A recorded decision is made again, byte for byte.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Catalogue, DAY, NOW, PUBLIC_URL, SEED, answers, known, of, person,
    random::{self, Dice},
};
use crate::domain::{
    catalog::snapshot::Snapshot,
    consent::Purposes,
    decision::{
        decide::decide,
        decided::{Decision, Person},
        record::{Inputs, Origin, ReplayError},
        request::{AdRequest, Explain},
        standing::{Degraded, Standing},
    },
    ids::DecisionId,
};

pub(super) fn recorded(
    snapshot: &Snapshot,
    request: &AdRequest,
    person: &Person<'_>,
    purposes: Purposes,
) -> (Decision, Value) {
    let decision =
        decide(snapshot, &crate::domain::decision::learned::Learned::default(), request, person, purposes, NOW, SEED)
            .expect("a request");
    let origin = Origin { snapshot, request, person, purposes, seed: SEED, public_url: PUBLIC_URL, signing_key: 1 };
    let inputs = serde_json::to_string(&Inputs::take(&origin, &decision)).expect("JSON");
    (decision, serde_json::from_str(&inputs).expect("JSON"))
}

pub(super) fn read(record: Value) -> Inputs {
    serde_json::from_value(record).expect("a record")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn replaying_gives_the_same_bytes(seed in any::<u64>()) {
        replays(seed)?;
    }
}

/// Items that gave way show nothing that would be given up for others once more, so that the reasons are the same.
#[test]
fn whether_items_gave_way_is_recorded() {
    let shared = replays(1_174_144_591_016_592_961).expect("the same");
    assert!(shared.contains(&Some(true)), "{shared:?}");
}

/// Decides somebody's requests and makes the decisions again; tells of each whether items gave way.
fn replays(seed: u64) -> Result<Vec<Option<bool>>, TestCaseError> {
    let mut shared = Vec::new();
    let mut dice = Dice(seed);
    let catalogue = random::catalogue(&mut dice, 30);
    let snapshot = catalogue.clone().build();
    // the catalogue of the time is built from documents in whatever order the store gives them
    let mut documents = catalogue.0;
    documents.reverse();
    let later = Snapshot::empty().evolve(snapshot.version, documents, PUBLIC_URL, NOW.plus(3 * DAY));
    for _ in 0..4 {
        let mut asked = random::ask(&mut dice, 30);
        asked.explain = dice.pick(&[Explain::None, Explain::Summary, Explain::Full]);
        let somebody = random::somebody(&mut dice, 30);
        let degraded = [Degraded::StaleProfile];
        let person = Person {
            standing: somebody.standing,
            counted: somebody.standing != Standing::Contextual,
            degraded: &degraded,
            reserved: &somebody.reserved,
            ..known(somebody.state.as_ref())
        };
        let purposes = dice.pick(&[
            Purposes::ALL,
            Purposes::ALL,
            Purposes::NONE,
            Purposes { basic: false, ..Purposes::ALL },
            Purposes { profile_read: false, ..Purposes::ALL },
        ]);
        let (decision, record) = recorded(&snapshot, &asked, &person, purposes);
        let inputs = read(record);
        shared.push(inputs.shared);
        let original = answers(&snapshot, &asked, &decision, purposes);
        let ids: Vec<DecisionId> = decision.placements.iter().flatten().map(|item| item.id).collect();
        for (id, original) in ids.iter().zip(&original) {
            let (again, at, item) = inputs.replay(&later, *id).expect("a decision");
            prop_assert_eq!(again.placements[at][item].id, *id);
            let number = ids.iter().position(|known| known == id).expect("an item");
            prop_assert_eq!(&answers(&later, &inputs.request, &again, inputs.purposes)[number], original);
            prop_assert_eq!(again.id, decision.id);
            let reasons = |decision: &Decision| -> Vec<_> {
                let of = decision.explanation.iter().filter(|explained| explained.decision_id == *id);
                of.map(super::reasons).collect()
            };
            prop_assert_eq!(reasons(&again), reasons(&decision));
            prop_assert!(again.explanation.len() <= 1, "the others are not asked for");
            // also what was not looked at then
            let full = |request: &AdRequest| AdRequest { explain: Explain::Full, ..request.clone() };
            let (explained, _) = recorded(&snapshot, &full(&asked), &person, purposes);
            let later_asked = Inputs { request: full(&inputs.request), ..inputs.clone() };
            let (again, ..) = later_asked.replay(&later, *id).expect("a decision");
            prop_assert_eq!(reasons(&again), reasons(&explained));
        }
    }
    Ok(shared)
}

fn one() -> (Snapshot, Decision, Value) {
    let components = json!({"h": {"slot": "headline", "value": "For you", "targeting": {"trait": "age", "lt": 30}}});
    let snapshot = Catalogue::new()
        .segment("rich", json!({"trait": "spend", "gte": 100}))
        .both(
            "ad",
            json!({"targeting": {"segment": "rich"}, "frequency_caps": [{"impressions": 3, "per": "P1D"}]}),
            json!({"components": components}),
        )
        .build();
    let state = person(json!({"age": 24, "spend": 250, "city": "Berlin"}), &[], &[("ad", 1_000)]);
    let (decision, record) = recorded(&snapshot, &of(1, json!({})), &known(Some(&state)), Purposes::ALL);
    (snapshot, decision, record)
}

#[test]
fn only_what_the_decision_rests_on_is_kept() {
    let (_, _, record) = one();
    assert_eq!(
        record["traits"].as_array().map(Vec::len),
        Some(1),
        "the age; what segments rest on is in the memberships"
    );
    assert_eq!(record["memberships"][0][0], "rich");
    assert_eq!(record["memberships"][0][1]["holds"], true);
    assert_eq!(record["made"], json!([[[["cta", null], ["headline", "h"]]]]));
    assert!(!record.to_string().contains("Berlin"));
}

#[test]
fn without_consent_nothing_of_the_person_is_kept() {
    let (snapshot, ..) = one();
    let state = person(json!({"age": 24, "spend": 250}), &[], &[("ad", 1_000)]);
    let asked = AdRequest { person: None, ..of(1, json!({})) };
    let (_, with) = recorded(&snapshot, &asked, &known(Some(&state)), Purposes::NONE);
    let (_, without) = recorded(&snapshot, &asked, &known(None), Purposes::NONE);
    assert_eq!(with, without);
}

#[test]
fn what_cannot_be_replayed_says_why() {
    let (snapshot, decision, record) = one();
    let id = decision.placements[0][0].id;
    let replay = |change: &dyn Fn(&mut Value), snapshot: &Snapshot, id| {
        let mut record = record.clone();
        change(&mut record);
        read(record).replay(snapshot, id).map(|_| ())
    };
    assert_eq!(replay(&|_| {}, &snapshot, id), Ok(()));
    assert_eq!(replay(&|_| {}, &snapshot, decision.id), Err(ReplayError::Decision), "the request's own id is no item");
    assert_eq!(replay(&|record| record["caps"] = json!("AAAA"), &snapshot, id), Err(ReplayError::Caps));
    assert_eq!(replay(&|record| record["caps"] = json!("?"), &snapshot, id), Err(ReplayError::Caps));
    assert_eq!(
        replay(&|record| record["made"][0][0][1][1] = json!("gone"), &snapshot, id),
        Err(ReplayError::Catalogue)
    );
    assert_eq!(replay(&|record| record["made"][0][0] = Value::Null, &snapshot, id), Err(ReplayError::Catalogue));
    assert_eq!(replay(&|_| {}, &Snapshot::empty(), id), Err(ReplayError::Catalogue));
}

#[test]
fn the_recorded_choice_goes_before_a_new_one() {
    let (snapshot, decision, mut record) = one();
    record["made"][0][0][1][1] = Value::Null;
    let inputs = read(record);
    let (again, at, item) = inputs.replay(&snapshot, decision.placements[0][0].id).expect("a decision");
    assert_eq!(again.placements[at][item].shown.as_ref().expect("a filled item").choice, [None, None]);
    assert_ne!(decision.placements[0][0].shown.as_ref().expect("a filled item").choice, [None, None]);
}
