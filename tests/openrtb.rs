//! Golden bid requests: `tests/openrtb/*.json` hold requests in groups, each with a base that its
//! cases change, and beside each lies what is answered. They are read by people who do not program.
//!
//! To add a case, write it and run `TESSERA_UPDATE_CASES=1 cargo test --test openrtb`; then read
//! what it wrote.
#![expect(clippy::disallowed_methods, reason = "a variable asks for new answers")]

#[path = "support/documents.rs"]
mod documents;
#[path = "support/signals.rs"]
mod signals;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use documents::Documents;
use jiff::tz::{Offset, TimeZone};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use signals::{CONSENTING, Dice, NO_PROFILES, merge};
use tessera::domain::{
    audience::{
        caps::CapRing,
        hints::Hints,
        profile::Traits,
        user::{Lists, UserState},
        value::Position,
    },
    catalog::{
        campaign::Campaign,
        combinations::select,
        key::{DocumentKey, Kind},
        snapshot::Snapshot,
    },
    consent::{self, Rules, Signals, mask},
    decision::{
        assemble::{Issuer, assemble},
        decide::decide,
        decided::Person,
        learned::Learned,
        request::Seed,
        standing::Standing,
    },
    ids::{CreativeId, DecisionId, ExchangeId, NameHash, Uid, UserKey},
    measurement::beacon::TokenKeys,
    openrtb::{self, Asker, Granularity, MappedSegment, NoBid, Purses, Refusal, Settings, Taxonomy},
    values::{Millis, Money},
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
    /// Campaigns that they have just seen.
    seen: BTreeMap<UserKey, Vec<String>>,
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
    /// Campaigns beside those of the scene.
    #[serde(default)]
    campaigns: Map<String, Value>,
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
    /// Whether these stand for the segments within them too.
    contains: bool,
    /// Per taxonomy the ids with those of their parents, which may be empty.
    taxonomies: BTreeMap<i64, Vec<(String, String)>>,
    /// For how many impressions each campaign has the money that bids by itself.
    money: BTreeMap<String, u32>,
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
            contains: self.contains,
        });
        let table = |lines: &[(String, String)]| {
            let lines: Vec<_> = lines.iter().map(|(id, parent)| format!("{id}\t{parent}")).collect();
            Taxonomy::read(&lines.join("\n")).expect("a taxonomy")
        };
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
            taxonomies: self.taxonomies.iter().map(|(number, lines)| (*number, table(lines))).collect(),
        }
    }
}

/// Money for some impressions of campaigns.
struct Wallet(Mutex<BTreeMap<String, u32>>);

impl Purses for Wallet {
    fn affords(&self, campaign: &Campaign, _: Money) -> u32 {
        self.0.lock().expect("a lock").get(campaign.id.as_str()).copied().unwrap_or_default()
    }

    fn pay(&self, campaign: &Campaign, _: DecisionId, _: Money) -> bool {
        let mut money = self.0.lock().expect("a lock");
        let left = money.get_mut(campaign.id.as_str()).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }
}

/// The answer to a request, without the signatures in its addresses.
fn answer(scene: &Scene, snapshot: &Snapshot, group: &Group, body: &[u8]) -> Value {
    let request = match openrtb::read(body) {
        Ok(request) => request,
        Err(refusal) => {
            let (_, name) = Refusal::ALL.into_iter().find(|(of, _)| *of == refusal).expect("a name");
            return json!({"refused": name});
        }
    };
    match bids(scene, snapshot, group, &request, |key| scene.people.get(key)) {
        Ok(Bids { bytes, .. }) => {
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

/// What is bid.
struct Bids {
    bytes: Vec<u8>,
    /// The segments in play that the person is in.
    segments: Vec<String>,
    /// Whether the person's profile may be read.
    reads: bool,
}

fn bids<'a>(
    scene: &Scene,
    snapshot: &Snapshot,
    group: &Group,
    request: &openrtb::request::BidRequest<'_>,
    traits: impl Fn(&UserKey) -> Option<&'a Value>,
) -> Result<Bids, NoBid> {
    let settings = &group.settings.settings();
    let rules = Rules { vendor_id: Some(scene.vendor_id), gdpr_by_default: false };
    let wallet = Wallet(Mutex::new(group.settings.money.clone()));
    let asker = Asker { exchange: group.exchange.as_ref(), late: group.late, objects: false, purses: &wallet };
    openrtb::plan(request, snapshot, settings, rules, asker, Hints::default()).and_then(|mut plan| {
        let mut asked = std::mem::take(&mut plan.request);
        let known = plan.keys.iter().find(|key| traits(key).is_some()).or(plan.keys.first());
        asked.person = known.map(|key| Uid::of(&[5; 32], key));
        let seen = known.into_iter().flat_map(|key| scene.seen.get(key).into_iter().flatten());
        let seen: Vec<_> = seen.map(|campaign| (NameHash::of(campaign), scene.now.plus(-1_000))).collect();
        if let Some(preview) = &mut asked.preview {
            preview.seed = Some(scene.seed);
        }
        let state = known.and_then(traits).map(|traits| {
            let traits = Traits::parse(traits, scene.now.plus(-1)).expect("traits");
            UserState::new(1, traits, Lists::default(), CapRing::default())
        });
        let read = !plan.keys.is_empty() && plan.allowed.purposes.profile_read;
        let person = Person {
            state: state.as_ref(),
            standing: if read { Standing::Personalised } else { Standing::Contextual },
            counted: true,
            degraded: &[],
            reserved: &seen,
            recorded: &[],
            replay: None,
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
        let bytes = openrtb::answer(&plan, &decision, &assembled, issuer, settings, &wallet, asked.person)?.json;
        let segments =
            decision.segments(&snapshot.rules).iter().map(|(ix, _)| snapshot.rules.key(*ix).to_string()).collect();
        Ok(Bids { bytes, segments, reads: purposes.profile_read })
    })
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
        let deals = imp["pmp"]["deals"].as_array().into_iter().flatten();
        let deal = deals.into_iter().find(|deal| deal["id"] == bid["dealid"]);
        let within = |of: &&Value| {
            let (dur, least, most) = (bid["dur"].as_i64(), of["mindur"].as_i64(), of["maxdur"].as_i64());
            dur.is_some_and(|dur| least.is_none_or(|least| dur >= least) && most.is_none_or(|most| dur <= most))
        };
        let length = |of: &Value| of["durfloors"].as_array().into_iter().flatten().find(within).cloned();
        let (of_deal, of_video) = (deal.and_then(length), length(&imp["video"]));
        let mut floors = [of_deal.as_ref(), deal, of_video.as_ref(), Some(imp)].into_iter().flatten();
        let floor = floors.find_map(|of| of["bidfloor"].as_f64());
        assert!(bid["price"].as_f64().expect("a price") >= floor.unwrap_or(0.0));
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

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openrtb")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn scene() -> (Scene, Snapshot) {
    let scene: Scene = serde_json::from_str(&read(&folder().join("scene.json"))).expect("a scene");
    let mut changes = scene.catalogue.changes();
    let drafted = Snapshot::empty().evolve(1, changes.clone(), URL, scene.now);
    // what publishing would choose for exchanges that review combinations
    for (key, body) in &mut changes {
        let creative =
            key.id.split_once('/').and_then(|(id, _)| drafted.creatives.get(&id.parse::<CreativeId>().ok()?));
        if let (Kind::Revision, Some(creative), Some(body)) = (key.kind, creative, body) {
            body["combinations"] = json!(select(creative, scene.now, 50, |_| Vec::new()));
        }
    }
    let snapshot = Snapshot::empty().evolve(1, changes, URL, scene.now);
    assert!(snapshot.faults.is_empty(), "{:#?}", snapshot.faults);
    (scene, snapshot)
}

/// A request for anything, that says much of a person.
fn request(dice: &mut Dice) -> Value {
    let campaign = dice.of(&["spring", "spring", "spring", "film", "mixed", "paused"]);
    let imp = |id: String, media: Value| {
        let mut imp = json!({"id": id, "secure": 1, "ext": {"tessera": {"campaign": campaign, "price": "1.50"}}});
        merge(&mut imp, &media);
        imp
    };
    let media = [
        json!({"banner": {"format": [{"w": 300, "h": 250}]}}),
        json!({"banner": {"w": 728, "h": 90}}),
        json!({"video": {"mimes": ["video/mp4"], "protocols": [2, 3, 7], "w": 640, "h": 360}}),
    ];
    let imps: Vec<Value> = (0..=dice.below(2)).map(|at| imp(at.to_string(), dice.of(&media))).collect();
    json!({
        "id": "r-1", "imp": imps, "test": dice.below(2),
        "site": {"page": dice.of(&["https://news.example/sport", "https://shop.example/"]), "keywords": "shoes"},
        "device": {
            "ip": "203.0.113.77", "ifa": "5f2d", "devicetype": dice.below(8), "language": dice.of(&["en", "de"]),
            "geo": {"city": "Berlin", "zip": "10115", "lat": 52.51, "lon": 13.4, "utcoffset": 60}
        },
        "user": {
            "id": "x-1", "buyeruid": "anna", "yob": 1990, "gender": "F", "keywords": "running",
            "eids": [{"source": "ids.example", "uids": [{"id": "xyz"}]}],
            "data": [{"id": "p", "name": "p", "segment": [{"id": dice.of(&["x1", "x2"])}]}]
        }
    })
}

#[test]
fn where_somebody_is_stays_in_the_rough_where_nothing_more_may_be_known() {
    let (scene, snapshot) = scene();
    let group: Group = serde_json::from_str(&read(&folder().join("consent.json"))).expect("a group");
    let rules = Rules { vendor_id: Some(scene.vendor_id), gdpr_by_default: false };
    let position = |device: Value| {
        let mut body = json!({"id": "r-1", "imp": [{"id": "1", "secure": 1, "banner": {"w": 300, "h": 250},
                "ext": {"tessera": {"campaign": "spring", "price": "1.50"}}}],
            "site": {"page": "https://news.example/"},
            "device": {"geo": {"country": "USA", "lat": 40.712_776, "lon": -74.005_974}}});
        merge(&mut body, &json!({"device": device}));
        let text = body.to_string();
        let request = openrtb::read(text.as_bytes()).expect("sound");
        let wallet = Wallet(Mutex::new(group.settings.money.clone()));
        let asker = Asker { exchange: None, late: false, objects: false, purses: &wallet };
        let plan = openrtb::plan(&request, &snapshot, &group.settings.settings(), rules, asker, Hints::default());
        plan.unwrap_or_else(|why| panic!("{why:?}")).request.context.position
    };
    let exact = Position::new(40.712_776, -74.005_974);
    assert_eq!(position(json!({})), exact);
    // as at every other door
    assert_eq!(position(json!({"lmt": 1})), exact.map(Position::coarse));
}

/// Money without end, of which it is counted how often anybody asks for it.
struct Asked(AtomicUsize);

impl Purses for Asked {
    fn affords(&self, _: &Campaign, _: Money) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed);
        u32::MAX
    }

    fn pay(&self, _: &Campaign, _: DecisionId, _: Money) -> bool {
        true
    }
}

#[test]
fn a_campaign_is_asked_for_its_money_once_for_all_impressions() {
    let (scene, snapshot) = scene();
    let group: Group = serde_json::from_str(&read(&folder().join("people.json"))).expect("a group");
    let beside = group.campaigns.iter();
    let beside = beside.map(|(id, body)| (DocumentKey::new(Kind::Campaign, id), Some(body.clone())));
    let snapshot = snapshot.evolve(1, beside.collect(), URL, scene.now);
    let imps: Vec<Value> =
        (0..64).map(|id| json!({"id": id.to_string(), "secure": 1, "banner": {"w": 300, "h": 250}})).collect();
    let text = json!({"id": "r-1", "imp": imps, "site": {"page": "https://news.example/"}}).to_string();
    let request = openrtb::read(text.as_bytes()).expect("sound");
    let purses = Asked(AtomicUsize::new(0));
    let asker = Asker { exchange: None, late: false, objects: false, purses: &purses };
    let rules = Rules { vendor_id: Some(scene.vendor_id), gdpr_by_default: false };
    let plan = openrtb::plan(&request, &snapshot, &group.settings.settings(), rules, asker, Hints::default());
    assert_eq!(plan.unwrap_or_else(|why| panic!("{why:?}")).bids.len(), 64);
    assert_eq!(purses.0.into_inner(), snapshot.payers.len());
}

#[test]
fn the_time_is_that_of_the_address_only_in_the_country_that_is_said() {
    let (scene, snapshot) = scene();
    let group: Group = serde_json::from_str(&read(&folder().join("consent.json"))).expect("a group");
    let rules = Rules { vendor_id: Some(scene.vendor_id), gdpr_by_default: false };
    let berlin = TimeZone::get("Europe/Berlin").expect("a time zone");
    let zone = |geo: Value| {
        let text = json!({"id": "r-1", "imp": [{"id": "1", "secure": 1, "banner": {"w": 300, "h": 250},
                "ext": {"tessera": {"campaign": "spring", "price": "1.50"}}}],
            "site": {"page": "https://news.example/"}, "regs": {"gdpr": 0}, "device": {"geo": geo}})
        .to_string();
        let request = openrtb::read(text.as_bytes()).expect("sound");
        let hints = Hints { country: "DE".parse().ok(), zone: Some(berlin.clone()), ..Hints::default() };
        let wallet = Wallet(Mutex::new(BTreeMap::new()));
        let asker = Asker { exchange: None, late: false, objects: false, purses: &wallet };
        let plan = openrtb::plan(&request, &snapshot, &group.settings.settings(), rules, asker, hints);
        plan.unwrap_or_else(|why| panic!("{why:?}")).zone
    };
    assert_eq!(zone(json!({})), Some(berlin.clone()));
    assert_eq!(zone(json!({"country": "DEU"})), Some(berlin.clone()));
    assert_eq!(zone(json!({"country": "USA"})), None);
    let offset = TimeZone::fixed(Offset::from_hours(-5).expect("an offset"));
    assert_eq!(zone(json!({"country": "USA", "utcoffset": -300})), Some(offset));
}

#[test]
fn of_thousands_of_impressions_the_first_are_bid_on() {
    let (scene, snapshot) = scene();
    let group: Group = serde_json::from_str(&read(&folder().join("consent.json"))).expect("a group");
    let imp = |id: usize| {
        json!({"id": id.to_string(), "secure": 1, "banner": {"w": 300, "h": 250},
            "ext": {"tessera": {"campaign": "spring", "price": "1.50"}}})
    };
    let mut imps: Vec<Value> = (0..5_000).map(imp).collect();
    let body = |imps: &[Value]| {
        json!({"id": "r-1", "imp": imps, "site": {"page": "https://news.example/"},
            "device": {"geo": {"country": "USA"}}})
        .to_string()
    };
    let text = body(&imps);
    let request = openrtb::read(text.as_bytes()).expect("sound");
    let made = bids(&scene, &snapshot, &group, &request, |_| None).unwrap_or_else(|why| panic!("{why:?}"));
    let made: Value = serde_json::from_slice(&made.bytes).expect("JSON");
    let ids = made["seatbid"][0]["bid"].as_array().expect("bids").iter().map(|bid| bid["impid"].as_str());
    assert!(ids.eq((0..64).map(|id| id.to_string()).collect::<Vec<_>>().iter().map(|id| Some(&**id))));
    // whatever is wrong with any of them is still told
    imps.push(imp(4_000));
    assert_eq!(openrtb::read(body(&imps).as_bytes()).err(), Some(Refusal::ImpId));
}

#[test]
fn ten_thousand_requests_without_consent_do_not_depend_on_the_person() {
    let (scene, snapshot) = scene();
    let mut group: Group = serde_json::from_str(&read(&folder().join("consent.json"))).expect("a group");
    group.settings.contextual_without_consent = true;
    let (grown, child) = (json!({"age": 34}), json!({"age": 9}));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut made = 0;
    for _ in 0..10_000 {
        let no_profiles = json!({"regs": {"gdpr": 1}, "user": {"consent": NO_PROFILES}});
        let forbidding = if dice.below(13) == 0 { no_profiles } else { dice.forbidding() };
        let mut body = request(&mut dice);
        merge(&mut body, &json!({"device": {"geo": {"country": "USA"}}}));
        merge(&mut body, &forbidding);
        let text = body.to_string();
        let request = openrtb::read(text.as_bytes()).expect("sound");
        let first = bids(&scene, &snapshot, &group, &request, |_| Some(&grown));
        let second = bids(&scene, &snapshot, &group, &request, |_| Some(&child));
        match (first, second) {
            (Ok(first), Ok(second)) => {
                // with one seed and one time even ids and tokens are the same
                assert_eq!(first.bytes, second.bytes, "{body:#}");
                assert!(!first.reads && first.segments.is_empty(), "{body:#}");
                made += 1;
            }
            (first, second) => assert_eq!(first.err(), second.err(), "{body:#}"),
        }
    }
    assert!(made > 5_000, "{made} bids");
}

#[test]
fn ten_thousand_requests_with_consent_depend_on_segments() {
    let (scene, snapshot) = scene();
    let group: Group = serde_json::from_str(&read(&folder().join("consent.json"))).expect("a group");
    let (grown, child) = (json!({"age": 34}), json!({"age": 9}));
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut differed = 0;
    for _ in 0..10_000 {
        let allowing = [
            json!({"regs": {"gdpr": 1}, "user": {"consent": CONSENTING}, "device": {"geo": {"country": "FRA"}}}),
            json!({"regs": {"ext": {"gdpr": 1}}, "user": {"ext": {"consent": CONSENTING}}}),
            json!({"regs": {"gpp": format!("DBABMA~{CONSENTING}"), "gpp_sid": [2]}, "device": {"geo": {"country": "FRA"}}}),
            json!({"regs": {"gpp": "DBABTA~1YNN", "gpp_sid": [6]}, "device": {"geo": {"country": "USA"}}}),
            json!({"regs": {"us_privacy": "1YNN"}, "device": {"geo": {"country": "USA"}}}),
            json!({"device": {"geo": {"country": "USA"}}}),
        ];
        let mut body = request(&mut dice);
        merge(&mut body, &dice.of(&allowing));
        let text = body.to_string();
        let request = openrtb::read(text.as_bytes()).expect("sound");
        let first = bids(&scene, &snapshot, &group, &request, |_| Some(&grown));
        let second = bids(&scene, &snapshot, &group, &request, |_| Some(&child));
        match (first, second) {
            (Ok(first), Ok(second)) => {
                assert!(first.reads && second.reads, "{body:#}");
                let same = first.segments == second.segments;
                assert_eq!(same, first.bytes == second.bytes, "{body:#}");
                differed += u32::from(!same);
            }
            (first, second) => assert_eq!(first.err(), second.err(), "{body:#}"),
        }
    }
    assert!(differed > 1_000, "{differed} of 10,000 pairs differed");
}

#[test]
fn every_request_is_answered_as_expected() {
    let folder = folder();
    let (scene, snapshot) = scene();
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
        let beside = group.campaigns.iter();
        let beside = beside.map(|(id, body)| (DocumentKey::new(Kind::Campaign, id), Some(body.clone())));
        let snapshot = snapshot.evolve(1, beside.collect(), URL, scene.now);
        assert!(snapshot.faults.is_empty(), "{:#?}", snapshot.faults);
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

/// The lines of a file in a folder that a variable of the environment names; nothing where it is not set.
fn lines(variable: &str, file: &str) -> Option<(std::path::PathBuf, Vec<Value>)> {
    let folder = std::path::PathBuf::from(std::env::var_os(variable)?);
    let text = read(&folder.join(file));
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Some((folder, lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()))
}

/// Prints how many of some cases agree, and fails where not all of them do.
fn agree(what: &str, cases: &[Value], agrees: impl Fn(&Value) -> bool) {
    let wrong: Vec<_> = cases.iter().filter(|case| !agrees(case)).collect();
    println!("{what}: {} of {}", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty() && !cases.is_empty(), "{what}: {wrong:#?}");
}

/// Strings made with the encoders of IAB Tech Lab, for whoever has them: `TESSERA_VECTORS` names a folder with
/// `tcf.jsonl`, `gpp.jsonl` and `ipmask.jsonl`.
#[test]
fn vectors_of_others_agree() {
    let Some((_, tcf)) = lines("TESSERA_VECTORS", "tcf.jsonl") else { return };
    let allowed = |signals: &Signals<'_>, vendor: Option<u64>| {
        let vendor_id = Some(vendor.and_then(|vendor| vendor.try_into().ok()).unwrap_or(1_001));
        consent::read(signals, Rules { vendor_id, gdpr_by_default: false }).allowed
    };
    agree("tcf", &tcf, |case| {
        let signals = Signals { gdpr: Some(true), tcf: case["tc"].as_str(), ..Signals::default() };
        let allowed = allowed(&signals, case["vendor"].as_u64());
        let geo = case["geo"].as_bool();
        case["personalise"] == allowed.purposes.profile_read
            && geo.is_none_or(|geo| geo == allowed.precise_geo || !allowed.purposes.profile_read)
    });
    let (_, gpp) = lines("TESSERA_VECTORS", "gpp.jsonl").expect("the same folder");
    agree("gpp", &gpp, |case| {
        let sections: Vec<i32> = serde_json::from_value(case["sids"].clone()).expect("sections");
        let signals = Signals { gpp: case["gpp"].as_str(), gpp_sid: &sections, ..Signals::default() };
        case["personalise"] == allowed(&signals, None).purposes.profile_read
    });
    let (_, masks) = lines("TESSERA_VECTORS", "ipmask.jsonl").expect("the same folder");
    agree("ipmask", &masks, |case| {
        let address = |name: &str| case[name].as_str().expect("a text").parse().expect("an address");
        let bits = case["keep_bits"].as_u64().and_then(|bits| bits.try_into().ok());
        mask::keep(address("ip"), bits.expect("a number of bits")) == address("masked")
    });
}

/// Requests of public test suites, for whoever has them: `TESSERA_OPENRTB_SAMPLES` names a folder with an
/// `index.jsonl` that says what each `file` must get, `ok` or `refuse`.
#[test]
fn samples_of_others_get_what_they_must() {
    let Some((folder, index)) = lines("TESSERA_OPENRTB_SAMPLES", "index.jsonl") else { return };
    agree("samples", &index, |sample| {
        let body = fs::read(folder.join(sample["file"].as_str().expect("a name"))).expect("a file");
        openrtb::read(&body).is_ok() == (sample["expect"] == "ok")
    });
}
