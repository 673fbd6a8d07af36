//! Golden bid requests: `tests/openrtb/*.json` hold requests in groups, each with a base that its
//! cases change, and beside each lies what is answered. They are read by people who do not program.
//!
//! To add a case, write it and run `TESSERA_UPDATE_CASES=1 cargo test --test openrtb`; then read
//! what it wrote.
#![expect(clippy::disallowed_methods, reason = "a variable asks for new answers")]

#[path = "support/documents.rs"]
mod documents;

use std::{collections::BTreeMap, fs, path::Path};

use documents::Documents;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tessera::domain::{
    audience::{
        caps::CapRing,
        hints::Hints,
        profile::Traits,
        user::{Lists, UserState},
    },
    catalog::snapshot::Snapshot,
    consent::Rules,
    decision::{
        assemble::{Issuer, assemble},
        decide::decide,
        decided::Person,
        learned::Learned,
        request::Seed,
        standing::Standing,
    },
    ids::{ExchangeId, Uid, UserKey},
    measurement::beacon::TokenKeys,
    openrtb::{self, Asker, Granularity, MappedSegment, NoBid, Penniless, Refusal, Settings},
    values::Millis,
};

const URL: &str = "https://ads.example";

/// What all groups share.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scene {
    now: Millis,
    seed: Seed,
    /// Our number on the Global Vendor List.
    vendor_id: u16,
    catalogue: Documents,
    /// Traits of the people by their keys.
    people: BTreeMap<UserKey, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    description: String,
    #[serde(default)]
    settings: Changes,
    /// Who asks.
    #[serde(default)]
    exchange: Option<ExchangeId>,
    /// Whether components are chosen when bids are rendered.
    #[serde(default)]
    late: bool,
    base: Value,
    cases: Vec<Case>,
}

/// What of the settings is not as usual.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Changes {
    /// Exchanges that take only what they have approved.
    audited: Vec<ExchangeId>,
    combination_crids: bool,
    /// Exchanges that want a crid for each content.
    crids: Vec<ExchangeId>,
    contextual_without_consent: bool,
    eid_sources: Vec<String>,
    /// Taxonomy, provider, segment of theirs, segment of ours.
    segments: Vec<(Option<i64>, Option<String>, String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    /// Changes of the base, as a JSON merge patch: null removes a member.
    #[serde(default)]
    change: Value,
    /// In the place of the base: bytes that are no JSON, or JSON of another shape.
    #[serde(default)]
    raw: Option<String>,
}

impl Changes {
    fn settings(&self) -> Settings {
        let mapped = self.segments.iter().map(|(segtax, data, id, segment)| MappedSegment {
            segtax: *segtax,
            data: data.clone(),
            id: id.clone(),
            segment: segment.parse().expect("a segment"),
        });
        Settings {
            seat: "tessera".into(),
            network_ms: 30,
            expires_s: 300,
            crid: if self.combination_crids { Granularity::Combination } else { Granularity::Creative },
            crids: self.crids.iter().map(|id| (id.clone(), Granularity::Combination)).collect(),
            audited: self.audited.clone(),
            contextual_without_consent: self.contextual_without_consent,
            eid_sources: self.eid_sources.clone(),
            segments: mapped.collect(),
        }
    }
}

fn merge(into: &mut Value, change: &Value) {
    let Some(change) = change.as_object() else {
        into.clone_from(change);
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let members = into.as_object_mut().expect("an object");
    for (name, value) in change {
        if value.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The answer to a request, without the signatures in its addresses.
fn answer(scene: &Scene, snapshot: &Snapshot, group: &Group, body: &[u8]) -> Value {
    let settings = &group.settings.settings();
    let request = match openrtb::read(body) {
        Ok(request) => request,
        Err(refusal) => {
            let (_, name) = Refusal::ALL.into_iter().find(|(of, _)| *of == refusal).expect("a name");
            return json!({"refused": name});
        }
    };
    let rules = Rules { vendor_id: Some(scene.vendor_id), gdpr_by_default: false };
    let asker = Asker { exchange: group.exchange.as_ref(), late: group.late, purses: &Penniless };
    let told = openrtb::plan(&request, snapshot, settings, rules, asker, Hints::default()).and_then(|mut plan| {
        let mut asked = std::mem::take(&mut plan.request);
        let known = plan.keys.iter().find(|key| scene.people.contains_key(*key)).or(plan.keys.first());
        asked.person = known.map(|key| Uid::of(&[5; 32], key));
        if let Some(preview) = &mut asked.preview {
            preview.seed = Some(scene.seed);
        }
        let traits = known.and_then(|key| scene.people.get(key));
        let state = traits.map(|traits| {
            let traits = Traits::parse(traits, scene.now.plus(-1)).expect("traits");
            UserState::new(1, traits, Lists::default(), CapRing::default())
        });
        let read = !plan.keys.is_empty() && plan.allowed.purposes.profile_read;
        let person = Person {
            state: state.as_ref(),
            standing: if read { Standing::Personalised } else { Standing::Contextual },
            counted: true,
            degraded: &[],
            reserved: &[],
            recorded: &[],
            goods: None,
        };
        let purposes = plan.allowed.purposes;
        let decision = decide(snapshot, &Learned::default(), &asked, &person, purposes, scene.now, scene.seed)
            .expect("no placements");
        let keys = TokenKeys::new((1, &[7; 32]), []);
        let issuer = Issuer { account: 1, keys: &keys, public_url: URL };
        let placements = decision.placements.iter().zip(&asked.placements);
        let assembled: Vec<Vec<_>> = placements
            .map(|(items, placement)| {
                let made = items.iter().map(|item| {
                    item.shown.as_ref().map(|shown| assemble(item, shown, &asked, placement, purposes, issuer))
                });
                made.collect()
            })
            .collect();
        openrtb::answer(&plan, &decision, &assembled, issuer, settings, &Penniless)
    });
    match told {
        Ok(bytes) => {
            let answer: Value = serde_json::from_slice(&bytes).expect("JSON");
            check(&serde_json::from_slice(body).expect("JSON"), &answer);
            lint(body, &bytes);
            serde_json::from_str(&unsigned(&answer.to_string())).expect("JSON")
        }
        Err(reason) => {
            let (_, name) = NoBid::ALL.into_iter().find(|(of, _)| *of == reason).expect("a name");
            json!({"no_bid": name, "nbr": reason.number()})
        }
    }
}

/// A text with `...` in the place of our signed tokens.
fn unsigned(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("/v1/").map(|at| at + 5) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('/') {
            let end = rest[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
            rest = &rest[1 + end.unwrap_or(rest.len() - 1)..];
            out.push_str("/...");
        }
    }
    out + rest
}

/// What a linter of OpenRTB finds in an answer beside its request.
fn lint(request: &[u8], answer: &[u8]) {
    let text = |bytes| std::str::from_utf8(bytes).expect("UTF-8");
    let version = rtblint_core::OpenRtbVersion::V2_6_202606;
    let found = rtblint_core::validate_bid_response_against_request(version, text(request), text(answer));
    let errors: Vec<_> = found.issues.iter().filter(|issue| issue.severity == rtblint_core::Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{}", text(answer));
}

/// What exchanges check of every bid.
fn check(request: &Value, answer: &Value) {
    assert_eq!(answer["id"], request["id"]);
    let imps: BTreeMap<&str, &Value> =
        request["imp"].as_array().expect("imps").iter().map(|imp| (imp["id"].as_str().expect("an id"), imp)).collect();
    let mut seen = std::collections::BTreeSet::new();
    for bid in answer["seatbid"][0]["bid"].as_array().expect("bids") {
        let imp = imps[bid["impid"].as_str().expect("an impression")];
        assert!(seen.insert(bid["id"].to_string()), "each id once");
        assert!(bid["price"].as_f64().expect("a price") >= imp["bidfloor"].as_f64().unwrap_or(0.0));
        assert!(bid["price"].as_f64() > Some(0.0));
        for member in ["crid", "adm", "nurl", "burl", "lurl"] {
            assert!(!bid[member].as_str().expect(member).is_empty(), "{member}");
        }
        assert_eq!(bid["adomain"].as_array().map(Vec::len), Some(1));
        let adm = bid["adm"].as_str().expect("markup");
        if imp["secure"] == 1 {
            assert!(!adm.contains("http:") && !adm.contains("http%3A") && adm.contains("https:"), "{adm}");
        }
        match bid["mtype"].as_u64() {
            Some(1) => {
                let sides = |of: &Value| (of["w"].as_f64(), of["h"].as_f64());
                let formats = imp["banner"]["format"].as_array().into_iter().flatten();
                let mut offered = formats.map(sides).chain([sides(&imp["banner"])]);
                assert!(imp["instl"] == 1 || offered.any(|size| size == sides(bid)), "{bid}");
            }
            Some(2) => {
                let found = vastlint_core::validate(adm);
                assert!(found.summary.is_valid(), "{:#?}\n{adm}", found.issues);
                let version = [(2, "2.0"), (3, "3.0"), (7, "4.0"), (11, "4.1"), (13, "4.2")];
                let (_, name) = version.into_iter().find(|(of, _)| bid["protocol"] == *of).expect("a protocol");
                assert!(adm.contains(&format!("<VAST version=\"{name}\"")), "{adm}");
                assert!(bid["dur"].as_u64() > Some(0) && bid["w"].as_u64() > Some(0) && bid["h"].as_u64() > Some(0));
            }
            Some(4) => assert!(serde_json::from_str::<Value>(adm).is_ok_and(|native| native.is_object())),
            other => panic!("media type {other:?}"),
        }
        let deals = imp["pmp"]["deals"].as_array().into_iter().flatten();
        let known = deals.filter_map(|deal| deal["id"].as_str()).any(|id| bid["dealid"] == *id);
        assert!(bid["dealid"].is_null() || known);
        assert!(imp["pmp"]["private_auction"] != 1 || known);
    }
}

#[test]
fn every_request_is_answered_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openrtb");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let scene: Scene = serde_json::from_str(&read(&folder.join("scene.json"))).expect("a scene");
    let snapshot = Snapshot::empty().evolve(1, scene.catalogue.changes(), URL, scene.now);
    assert!(snapshot.faults.is_empty(), "{:#?}", snapshot.faults);
    let mut paths: Vec<_> =
        fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name != "scene.json" && !name.ends_with(".expected.json")
    });
    let update = std::env::var_os("TESSERA_UPDATE_CASES").is_some();
    let (mut count, mut wrong) = (0, Vec::new());
    for path in paths {
        let group: Group =
            serde_json::from_str(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut told = Map::new();
        for case in &group.cases {
            let mut request = group.base.clone();
            merge(&mut request, &case.change);
            let body = case.raw.clone().unwrap_or_else(|| request.to_string());
            let known = told.insert(case.what.clone(), answer(&scene, &snapshot, &group, body.as_bytes()));
            assert!(known.is_none(), "{}: twice {}", path.display(), case.what);
            count += 1;
        }
        let told = Value::Object(told);
        let expected = path.with_extension("expected.json");
        if update {
            let text = serde_json::to_string_pretty(&told).expect("JSON") + "\n";
            fs::write(&expected, text).expect("answers written");
            continue;
        }
        let expected: Value = serde_json::from_str(&read(&expected)).expect("answers");
        for case in &group.cases {
            let (want, got) = (&expected[&case.what], &told[&case.what]);
            if want != got {
                wrong.push(format!("{}: {}\n  expected {want}\n  but got  {got}", group.description, case.what));
            }
        }
    }
    assert!(count >= 120, "{count} requests");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
