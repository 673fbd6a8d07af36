//! Golden cases: `tests/cases/*.json` are a catalogue, a person and a request in plain words, with
//! the whole answer that is expected. They are read by people who do not program.
//!
//! To add a case, write everything but `expect` and run `TESSERA_UPDATE_CASES=1 cargo test --test
//! cases`; then read what it filled in.
#![expect(clippy::disallowed_methods, reason = "a variable asks for new answers")]

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tessera::domain::{
    audience::{
        caps::CapRing,
        context::LocalTime,
        profile::Traits,
        user::{Lists, UserState},
    },
    catalog::snapshot::Snapshot,
    consent::Purposes,
    decision::{
        answer::write_item,
        assemble::{Issuer, assemble},
        decide::decide,
        decided::Person,
        learned::Learned,
        request::{AdRequest, Seed},
        standing::{Degraded, Standing},
    },
    ids::{NameHash, Uid, UserKey},
    measurement::beacon::TokenKeys,
    values::{Json, Millis, Span},
};

#[path = "support/documents.rs"]
mod documents;

use documents::Documents;

const URL: &str = "https://ads.example";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    description: String,
    now: Millis,
    seed: Seed,
    catalogue: Documents,
    #[serde(default)]
    person: Option<Who>,
    #[serde(default)]
    consent: Option<Purposes>,
    request: Value,
    #[serde(default)]
    expect: Value,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Who {
    key: Option<UserKey>,
    traits: Value,
    lists: Vec<String>,
    /// Campaigns they saw, and when.
    seen: Vec<(String, Millis)>,
    standing: Option<Standing>,
    degraded: Vec<Degraded>,
}

/// What the case leads to: every item of every placement, and what was said about the choice.
fn run(case: &Case) -> Value {
    let snapshot = Snapshot::empty().evolve(1, case.catalogue.changes(), URL, case.now);
    assert!(snapshot.faults.is_empty(), "{:#?}", snapshot.faults);
    let mut request: AdRequest = serde_json::from_value(case.request.clone()).expect("a request");
    request.context.local = request.context.local.or(LocalTime::of(case.now, &jiff::tz::TimeZone::UTC));
    let who = case.person.as_ref();
    request.person = who.and_then(|who| who.key.as_ref()).map(|key| Uid::of(&[5; 32], key));
    let state = who.filter(|who| !who.traits.is_null() || !who.lists.is_empty() || !who.seen.is_empty()).map(|who| {
        let traits = if who.traits.is_null() { json!({}) } else { who.traits.clone() };
        let mut caps = CapRing::default();
        let month = Span::from_millis(30 * 86_400_000);
        who.seen.iter().for_each(|(campaign, at)| caps.absorb(NameHash::of(campaign), *at, month));
        let lists = Lists::new(who.lists.iter().map(|list| (NameHash::of(list), None)));
        UserState::new(1, Traits::parse(&traits, case.now.plus(-1)).expect("traits"), lists, caps)
    });
    let nobody = if who.is_some() { Standing::Personalised } else { Standing::Contextual };
    let person = Person {
        state: state.as_ref(),
        standing: who.and_then(|who| who.standing).unwrap_or(nobody),
        counted: who.and_then(|who| who.standing).unwrap_or(nobody) != Standing::Contextual,
        degraded: who.map_or(&[], |who| &who.degraded),
        reserved: &[],
        recorded: &[],
        replay: None,
    };
    let purposes = case.consent.unwrap_or(Purposes::ALL);
    let decision = match decide(&snapshot, &Learned::default(), &request, &person, purposes, case.now, case.seed) {
        Ok(decision) => decision,
        Err(faults) => return json!({"refused": faults}),
    };
    let keys = TokenKeys::new((1, &[7; 32]), []);
    let issuer = Issuer { account: 1, keys: &keys, public_url: URL };
    let mut placements = Map::new();
    for (items, placement) in decision.placements.iter().zip(&request.placements) {
        let answers = items.iter().map(|item| {
            let shown = item.shown.as_ref();
            let assembled = shown.map(|shown| assemble(item, shown, &request, placement, purposes, issuer));
            let mut json = Json::default();
            write_item(&mut json, item, assembled.as_ref(), &snapshot.rules);
            serde_json::from_str::<Value>(&json.into_text()).expect("JSON")
        });
        placements.insert(placement.id.clone(), answers.collect());
    }
    let mut told = json!({"placements": placements});
    if !decision.explanation.is_empty() {
        told["explanation"] = json!(decision.explanation);
    }
    told
}

#[test]
fn every_case_is_answered_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 12, "{} cases", paths.len());
    let update = std::env::var_os("TESSERA_UPDATE_CASES").is_some();
    let mut wrong = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a case");
        let case: Case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let told = run(&case);
        if told == case.expect {
            continue;
        }
        if update {
            // what the author wrote stays as it is written
            let written =
                text.find("\n  \"expect\":").map_or_else(|| text.trim_end().trim_end_matches('}'), |at| &text[..at]);
            let told = serde_json::to_string_pretty(&told).expect("JSON").replace('\n', "\n  ");
            let written = written.trim_end().trim_end_matches(',');
            fs::write(&path, format!("{written},\n  \"expect\": {told}\n}}\n")).expect("a case written");
        } else {
            let (expected, told) = (serde_json::to_string_pretty(&case.expect), serde_json::to_string_pretty(&told));
            let (expected, told) = (expected.expect("JSON"), told.expect("JSON"));
            let differs = expected.lines().zip(told.lines()).find(|(expected, told)| expected != told);
            let (expected, told) = differs.unwrap_or(("more or fewer lines", &told));
            wrong.push(format!("{}: {}\n  expected {expected}\n  but got  {told}", path.display(), case.description));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
