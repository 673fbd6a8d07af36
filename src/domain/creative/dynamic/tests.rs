use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::domain::{
    creative::{ComponentDoc, CreativeDoc, PairingRule, SlotType, TemplateDoc},
    ids::{ComponentId, SlotName, TemplateId},
    violation::Violation,
};

const SLOTS: [(&str, SlotType); 8] = [
    ("background", SlotType::Image),
    ("cta", SlotType::Text),
    ("film", SlotType::Video),
    ("headline", SlotType::Text),
    ("price", SlotType::Price),
    ("stars", SlotType::Number),
    ("target", SlotType::Url),
    ("tint", SlotType::Color),
];

fn slots() -> BTreeMap<SlotName, SlotType> {
    SLOTS.iter().map(|(name, kind)| (name.parse().expect("a slot"), *kind)).collect()
}

fn read(document: &Value, named: &[(&str, &str)], base: Option<&str>) -> Result<Imported, Vec<Violation>> {
    let named = named.iter().map(|(part, slot)| ((*part).to_owned(), slot.parse().expect("a slot"))).collect();
    let base = base.map(|base| base.parse().expect("an address"));
    import(document, &slots(), &named, base.as_ref())
}

fn taken(document: &Value, named: &[(&str, &str)], base: Option<&str>) -> Vec<Map<String, Value>> {
    let imported = read(document, named, base).expect("a document");
    imported.assets.into_iter().map(|asset| asset.component.unwrap_or_else(|faults| panic!("{faults:#?}"))).collect()
}

fn part(name: &str, assets: Value) -> Value {
    json!({"ad": {"id": "1", "name": "A", "advertiser": "a.example", "adUnits": [], "creativeComponents": [
        {"id": 1, "name": name, "assetType": "image", "adUnit": ["1"], "assets": assets}
    ]}})
}

/// As tools in use write it: quotes and no scheme in addresses, one id for all assets, a kind of source that the
/// standard has not, sizes as texts, and targets that only the ad server knows.
#[test]
fn documents_that_deviate_are_read() {
    let document = json!({"ad": {
        "id": 115, "name": "Shoes", "advertiser": "shop.example", "version": [{"versionNumber": 1.0}],
        "creativeComponents": [
            {"id": 3982, "name": "Background", "assetType": "image", "componentDescription": "", "adUnit": "2000", "assets": [
                {"id": "23543", "name": "Sunny Run", "source": "'//cdn.shop.example/sunny.jpg'", "sourceType": "URL",
                 "fallback": "0", "activeForVariant": true, "target": "DISPGR:Sunny-Run", "attributes": {"dimension": "[300,250]"}},
                {"id": "23543", "name": "Cloudy Run", "source": "'////cdn.shop.example/cloudy.jpg'", "sourceType": "URL",
                 "fallback": 0, "target": "DISPGR:Cloudy-Run", "attributes": {"Width": "300px", "HEIGHT": 250}}
            ]},
            {"ID": 7, "Name": "C.T.A.", "AssetType": "Text", "ad_unit": [2000], "Assets":
                {"id": 9, "Name": "Now", "Source": " Buy 'now' ", "source_type": "Embedded", "fallback": true, "target": ""}}
        ]
    }});
    let found = taken(&document, &[], None);
    let sunny = json!({
        "id": "background-sunny-run", "slot": "background", "name": "Sunny Run",
        "value": {"src": "https://cdn.shop.example/sunny.jpg", "alt": "Sunny Run", "width": 300, "height": 250},
        "targeting": {"context": "data.target", "eq": "DISPGR:Sunny-Run"}
    });
    assert_eq!(Value::Object(found[0].clone()), sunny);
    assert_eq!(found[1]["value"]["src"], "https://cdn.shop.example/cloudy.jpg");
    assert_eq!((&found[1]["value"]["width"], &found[1]["value"]["height"]), (&json!(300), &json!(250)));
    let now = json!({"id": "9", "slot": "cta", "name": "Now", "value": "Buy 'now'", "weight": 1});
    assert_eq!(Value::Object(found[2].clone()), now);
    // without the ad around it
    assert_eq!(taken(&document["ad"], &[], None), found);
    assert_eq!(taken(&document, &[], None), found, "the same ids again");
}

#[test]
fn values_are_what_their_slots_hold() {
    let value = |slot: &str, asset: Value| {
        let mut asset = asset;
        asset["id"] = json!("a");
        let mut found = taken(&part(slot, json!([asset])), &[], Some("https://cdn.example/ads/a.json"));
        found.remove(0)["value"].take()
    };
    assert_eq!(value("headline", json!({"source": 2026})), "2026");
    assert_eq!(value("tint", json!({"source": "#e63946"})), "#e63946");
    assert_eq!(value("stars", json!({"source": "4.5"})), json!(4.5));
    let price = json!({"amount": "19.90", "currency": "EUR"});
    for (source, attributes) in
        [("19.90 EUR", json!({})), ("eur 19.90", json!({})), ("19.90", json!({"currency": "eur"}))]
    {
        assert_eq!(value("price", json!({"source": source, "attributes": attributes})), price, "{source}");
    }
    for (source, whole) in [
        ("https://x.example/a", "https://x.example/a"),
        ("HTTP://x.example/a", "HTTP://x.example/a"),
        ("//x.example/a", "https://x.example/a"),
        ("/b.png", "https://cdn.example/b.png"),
        ("b.png", "https://cdn.example/ads/b.png"),
        ("./b.png", "https://cdn.example/ads/b.png"),
        ("/v1/assets/x.png", "/v1/assets/x.png"),
    ] {
        assert_eq!(value("target", json!({"source": source, "sourceType": "Relative"})), whole);
    }
    let file = json!({"src": "https://x.example/a.mp4?b", "type": "video/mp4", "width": 640, "height": 360});
    let film = json!({"source": "//x.example/a.mp4?b", "attributes": {"dimension": "640x360", "duration": "15.5"}});
    assert_eq!(value("film", film), json!({"files": [file], "duration_ms": 15_500}));
    let image =
        value("background", json!({"source": "a.png", "name": "n", "attributes": {"alt": "w", "size": [1, 2]}}));
    assert_eq!(image, json!({"src": "https://cdn.example/ads/a.png", "alt": "w", "width": 1, "height": 2}));
}

#[test]
fn faults_are_named_where_they_stand() {
    let faults = |document: &Value| {
        let imported = read(document, &[], None).expect("a document");
        let faults = imported.assets.into_iter().filter_map(|asset| asset.component.err()).flatten();
        faults.map(|fault| (fault.pointer, fault.code)).collect::<Vec<_>>()
    };
    let at = |end: &str| format!("/ad/creativeComponents/0/assets/0{end}");
    for (slot, asset, end, code) in [
        ("nothing", json!({"source": "x"}), "", "unknown_slot"),
        ("headline", json!({}), "/source", "required"),
        ("headline", json!(7), "/source", "required"),
        ("stars", json!({"source": "many"}), "/source", "type"),
        ("price", json!({"source": "19.90"}), "/source", "type"),
        ("target", json!({"source": "a.html"}), "/source", "relative"),
        ("background", json!({"source": "data:image/png;base64,AA"}), "/source", "embedded"),
        ("film", json!({"source": "//x.example/a.mp4"}), "/source", "required"),
        ("cta", json!({"source": "x", "target": "{no rule"}), "/target", "invalid_target"),
        ("cta", json!({"source": "x", "target": "segment:No Such!"}), "/target", "invalid_target"),
    ] {
        assert_eq!(faults(&part(slot, json!([asset]))), [(at(end), code)], "{slot} {asset}");
    }
    for odd in [json!([]), json!("x"), json!({}), json!({"ad": 7}), json!({"ad": {"id": "1"}})] {
        assert!(read(&odd, &[], None).is_err(), "{odd}");
    }
    let asset = ImportedAsset { pointer: at(""), id: "a".into(), component: Err(Vec::new()) };
    let pointers = ["", "/id", "/value/src", "/targeting/all/0", "/weight"].map(|pointer| asset.pointer(pointer));
    assert_eq!(pointers, ["", "/id", "/source", "/target", "/attributes"].map(at));
}

#[test]
fn parts_that_are_called_otherwise_are_told_their_slot() {
    let document = part("Background 1", json!([{"id": "a", "source": "//x.example/a.png"}]));
    assert_eq!(taken(&document, &[("Background 1", "background")], None)[0]["slot"], "background");
    assert_eq!(taken(&document, &[("1", "background")], None)[0]["slot"], "background");
}

#[test]
fn assets_of_a_group_are_shown_together() {
    let text = |name: &str, assets: Value| json!({"id": name, "name": name, "assets": assets});
    let asset = |id: &str, groups: Value| json!({"id": id, "source": id, "assetGroupIds": groups});
    let pairing = |parts: Value| rules(&json!({"ad": {"creativeComponents": parts}}));
    let one_each =
        json!([text("headline", json!([asset("h", json!(["g"]))])), text("cta", json!([asset("c", json!("g"))]))]);
    assert_eq!(pairing(one_each), json!([{"group": ["h", "c"]}]));
    let several = json!([
        text("headline", json!([asset("h1", json!([1])), asset("h2", json!([1])), asset("h3", json!([2]))])),
        text("cta", json!([asset("c", json!([1]))]))
    ]);
    let require = |when: &str, then: &[&str]| json!({"require": {"if": when, "then": then}});
    assert_eq!(
        pairing(several),
        json!([require("c", &["h1", "h2"]), require("h1", &["c"]), require("h2", &["c"])]),
        "a group of one slot asks nothing"
    );
    // whoever drops a member makes another rule of it
    let refused = json!([
        text("headline", json!([asset("h", json!(["g", "g"]))])),
        text("stars", json!([asset("no-number", json!("g"))])),
        text("nothing", json!([asset("nowhere", json!("g"))]))
    ]);
    assert_eq!(pairing(refused), json!([{"group": ["h", "no-number", "nowhere"]}]));
}

/// The rules that a document asks for.
fn rules(document: &Value) -> Value {
    let rules = read(document, &[], None).expect("a document").pairing.into_iter();
    let rules: Vec<PairingRule> = rules.map(|rule| rule.rule.expect("a rule")).collect();
    serde_json::to_value(rules).expect("JSON")
}

#[test]
fn rules_that_are_none_are_told() {
    let asset = |id: usize| json!({"id": format!("h{id}"), "source": "x", "assetGroupIds": "g"});
    let mut document = part("headline", (0..65).map(asset).collect());
    document["ad"]["creativeComponents"]
        .as_array_mut()
        .expect("parts")
        .push(json!({"name": "cta", "assets": {"id": "c", "source": "x", "assetGroupIds": "g"}}));
    document["ad"]["tessera"] = json!({"pairing": [{"forbid": ["h1", "c"]}, {"forbids": ["h2", "c"]}]});
    let found = read(&document, &[], None).expect("a document").pairing;
    let faults = found.iter().filter_map(|rule| Some((rule, rule.rule.as_ref().err()?)));
    let faults = faults.flat_map(|(rule, all)| all.iter().map(|fault| (rule.pointer(&fault.pointer), fault.code)));
    assert_eq!(
        faults.collect::<Vec<_>>(),
        [
            ("/ad/creativeComponents/1/assets/0/assetGroupIds".into(), "too_many"),
            ("/ad/tessera/pairing/1".into(), "unreadable")
        ]
    );
    let own = found.iter().find(|rule| rule.is_own).expect("a rule of ours");
    assert_eq!(own.pointer("/forbid/0"), "/ad/tessera/pairing/0/forbid/0");
}

/// Without ids or with one name for all there is a lot to number; nor do groups of thousands or slots by the hundred
/// make what is small large.
#[test]
fn large_documents_are_read_soon() {
    let begun = Instant::now();
    let ids: Vec<String> = {
        let found = read(&part("headline", json!(vec![0; 20_000])), &[], None).expect("a document");
        found.assets.into_iter().map(|asset| asset.id).collect()
    };
    assert_eq!((&*ids[0], &*ids[1], &*ids[19_999]), ("headline", "headline-2", "headline-20000"));
    let grouped = json!({"source": "x", "assetGroupIds": [1]});
    let mut document = part("headline", json!(vec![&grouped; 10_000]));
    let other = json!({"name": "cta", "assets": vec![&grouped; 10_000]});
    document["ad"]["creativeComponents"].as_array_mut().expect("parts").push(other);
    let found = read(&document, &[], None).expect("a document");
    assert_eq!(found.pairing.iter().filter(|rule| rule.rule.is_err()).count(), 20_000);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let most = read(&part("headline", json!(vec![0; 100_001])), &[], None).expect_err("too many");
    assert_eq!((&*most[0].pointer, most[0].code), ("/ad/creativeComponents", "too_many"));
}

/// A creative's draft as a document.
fn written(slots: &Value, components: &BTreeMap<ComponentId, ComponentDoc>, pairing: &Value) -> Value {
    let template =
        json!({"name": "Banner", "format": "html", "size": "300x250", "markup": "<body></body>", "slots": slots});
    let template: TemplateDoc = serde_json::from_value(template).expect("a template");
    let creative = json!({"name": "Shoes", "advertiser": "shop", "templates": ["banner"], "pairing": pairing});
    let creative: CreativeDoc = serde_json::from_value(creative).expect("a creative");
    export(Exported {
        id: &"shoes".parse().expect("an id"),
        creative: &creative,
        version: 7,
        advertiser: "shop.example",
        templates: &[("banner".parse::<TemplateId>().expect("an id"), template)],
        components,
    })
}

/// The components of a document.
fn components(imported: Imported) -> BTreeMap<ComponentId, ComponentDoc> {
    let component = |asset: ImportedAsset| {
        let mut component = asset.component.unwrap_or_else(|faults| panic!("{faults:#?}"));
        component.remove("id");
        (asset.id.parse().expect("an id"), serde_json::from_value(Value::Object(component)).expect("a component"))
    };
    imported.assets.into_iter().map(component).collect()
}

#[test]
fn what_is_written_reads_back_as_it_was() {
    let slots = json!({
        "background": {"type": "image", "default": {"src": "https://x.example/a.png", "alt": "A shoe"}},
        "headline": {"type": "text", "default": "Hello"}, "price": {"type": "price", "optional": true, "default": null},
        "stars": {"type": "number", "default": 4}
    });
    let docs = json!({
        "h-1": {"slot": "headline", "value": "'Quoted'", "targeting": {"segment": "vip"}, "locale": "de", "weight": 60},
        "h-2": {"slot": "headline", "value": "Second", "name": "The second", "status": "paused",
                "targeting": {"all": [{"segment": "vip"}, {"context": "language", "eq": "de"}]}},
        "b-1": {"slot": "background", "value": {"src": "/v1/assets/x.png", "alt": "b", "width": 300, "height": 250,
                "renditions": [{"src": "/v1/assets/y.png", "width": 728, "height": 90}]}},
        "b-2": {"slot": "background", "value": {"src": "https://x.example/?q='b'", "alt": " 'b' ", "width": 300}},
        "p-1": {"slot": "price", "value": {"amount": "19.90", "currency": "EUR"}, "flight": {"start": "2026-05-01T00:00:00.000Z"}},
        "s-1": {"slot": "stars", "value": 4.5}
    });
    let docs: BTreeMap<ComponentId, ComponentDoc> = serde_json::from_value(docs).expect("components");
    let pairing = json!([{"group": ["h-1", "p-1"]}, {"forbid": ["h-2", "s-1"]}]);
    let document = written(&slots, &docs, &pairing);
    let ad = &document["ad"];
    assert_eq!((&ad["version"], &ad["advertiser"]), (&json!("7"), &json!("shop.example")));
    assert_eq!(ad["adUnits"], json!([{"id": "banner", "name": "Banner", "size": "300x250"}]));
    assert_eq!(ad["assetGroups"], json!([{"id": "1", "name": "h-1, p-1"}]));
    for part in ad["creativeComponents"].as_array().expect("parts") {
        // what the standard's schema requires
        assert!(part["id"].is_u64() && part["name"].is_string() && part["adUnit"] == json!(["banner"]), "{part}");
        for asset in part["assets"].as_array().expect("assets") {
            for name in ["id", "name", "source", "sourceType", "fallback"] {
                assert!(asset[name].is_string(), "{name} of {asset}");
            }
            assert!(asset["attributes"].is_object());
        }
    }
    assert_eq!(rules(&document), pairing);
    assert_eq!(components(read(&document, &[], None).expect("a document")), docs);
}

fn words() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["a", "b", "cta-1-a", " a ", "'a'", "' a'", "a'", " ", "2", "no"])
        .prop_map(str::to_owned)
}

proptest! {
    /// Whatever texts are like, slots are called and components are paired: a component in several groups, groups of
    /// nobody, of one slot or of too few, and rules that name nothing.
    #[test]
    fn a_document_of_ours_changes_nothing(
        texts in proptest::collection::vec((0_usize..3, words(), proptest::option::of(words())), 1..8),
        pairing in proptest::collection::vec((0_usize..3, proptest::collection::vec(0_usize..9, 1..5)), 0..5),
    ) {
        let names = ["cta-1", "cta1", "pic"];
        let text = json!({"type": "text", "default": "Now"});
        let pic = json!({"type": "image", "default": {"src": "https://x.example/a.png", "alt": "A"}});
        let slots = json!({"cta-1": text, "cta1": text, "pic": pic});
        let id = |at: usize| format!("cta-1-{}", (b'a' + at as u8) as char);
        let doc = |(at, (slot, text, name)): (usize, &(usize, String, Option<String>))| {
            let value = if *slot == 2 { json!({"src": "/v1/assets/x.png", "alt": text}) } else { json!(text) };
            let mut doc = json!({"slot": names[*slot], "value": value});
            if let Some(name) = name {
                doc["name"] = json!(name);
            }
            (id(at).parse().expect("an id"), serde_json::from_value(doc).expect("a component"))
        };
        let docs: BTreeMap<ComponentId, ComponentDoc> = texts.iter().enumerate().map(doc).collect();
        let rule = |(kind, members): &(usize, Vec<usize>)| {
            let members: Vec<String> = members.iter().map(|at| id(*at)).collect();
            match kind {
                0 => json!({"forbid": members}),
                1 => json!({"require": {"if": members[0], "then": members}}),
                _ => json!({"group": members}),
            }
        };
        let pairing: Vec<Value> = pairing.iter().map(rule).collect();
        let document = written(&slots, &docs, &json!(pairing));
        let kinds = [SlotType::Text, SlotType::Text, SlotType::Image];
        let slots = names.iter().zip(kinds).map(|(name, kind)| (name.parse().expect("a slot"), kind)).collect();
        let found = import(&document, &slots, &BTreeMap::new(), None).expect("a document");
        let known: Vec<PairingRule> = serde_json::from_value(json!(pairing)).expect("rules");
        for rule in &found.pairing {
            let rule = rule.rule.as_ref().expect("a rule");
            prop_assert!(known.iter().any(|known| known.asks() == rule.asks()), "{rule:?}");
        }
        for rule in &known {
            let found = found.pairing.iter().flat_map(|found| &found.rule);
            prop_assert!(found.into_iter().any(|found| found.asks() == rule.asks()), "{rule:?}");
        }
        prop_assert_eq!(components(found), docs);
    }
}
