//! Catalogues, people and requests drawn at random, with every attribute that decisions look at.

use serde_json::{Value, json};

use super::{Catalogue, DAY, NOW, campaign, creative, person, request, segment, template};
use crate::domain::{
    audience::{profile::Traits, user::UserState},
    catalog::{
        key::{DocumentKey, Kind},
        snapshot::Changed,
    },
    decision::{request::AdRequest, standing::Standing},
    ids::{NameHash, Uid},
    values::Millis,
};

/// A source of choices: SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % end
    }

    /// Whether something of one in `odds` happens.
    pub(super) fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    /// Each of them with a chance of one in two.
    fn some<T: Clone>(&mut self, from: &[T]) -> Vec<T> {
        from.iter().filter(|_| self.one_in(2)).cloned().collect()
    }
}

pub(super) const SEGMENTS: [&str; 6] = ["list-a", "list-b", "young", "rich", "either", "neither"];
const COUNTRIES: [&str; 3] = ["US", "DE", "FR"];
const DEVICES: [&str; 2] = ["mobile", "desktop"];
const PLACEMENTS: [&str; 3] = ["top", "side", "feed"];
pub(super) const CREATIVES: [&str; 6] = ["c0", "c1", "c2", "c3", "c4", "c5"];

fn at(dice: &mut Dice) -> Millis {
    NOW.plus(dice.pick(&[-2, -1, 1, 2]) * DAY)
}

fn flight(dice: &mut Dice) -> Value {
    match dice.below(6) {
        0 => json!({"start": at(dice)}),
        1 => json!({"end": at(dice)}),
        2 => json!({"start": NOW.plus(-DAY), "end": NOW.plus(DAY)}),
        _ => json!({}),
    }
}

/// A targeting rule.
fn targeting(dice: &mut Dice, depth: u32) -> Value {
    let some =
        |dice: &mut Dice, depth| -> Vec<Value> { (0..1 + dice.below(3)).map(|_| targeting(dice, depth)).collect() };
    match dice.below(if depth == 0 { 7 } else { 10 }) {
        0 => json!({"segment": dice.pick(&SEGMENTS)}),
        1 => json!({"context": "geo.country", "eq": dice.pick(&COUNTRIES)}),
        2 => json!({"context": "device.type", "in": [dice.pick(&DEVICES)]}),
        3 => json!({"trait": "age", "lt": 20 + dice.below(40)}),
        4 => json!({"trait": "city", "ne": "Berlin"}),
        5 => json!({"context": "keywords", "has_any": ["running"]}),
        6 => json!({"sample": {"salt": "x", "from": 0, "to": 5_000}}),
        7 => json!({"any": some(dice, depth - 1)}),
        8 => json!({"all": some(dice, depth - 1)}),
        _ => json!({"not": targeting(dice, depth - 1)}),
    }
}

fn segment_body(dice: &mut Dice, key: &str) -> Value {
    segment(match key {
        "list-a" | "list-b" => Value::Null,
        "young" => json!({"trait": "age", "lt": 20 + dice.below(20)}),
        "rich" => json!({"trait": "spend", "gte": dice.below(900)}),
        "either" => json!({"any": [{"segment": "list-a"}, {"segment": "young"}]}),
        _ => json!({"not": {"any": [{"list": "list-b"}, {"segment": "either"}]}}),
    })
}

fn component(dice: &mut Dice, slot: &str, text: &str) -> Value {
    let mut body = json!({"slot": slot, "value": text, "weight": 1 + dice.below(200)});
    if dice.one_in(2) {
        body["targeting"] = targeting(dice, 1);
    }
    if dice.one_in(4) {
        body["locale"] = json!(dice.pick(&["de", "de-CH", "en"]));
    }
    if dice.one_in(6) {
        body["flight"] = flight(dice);
    }
    if dice.one_in(8) {
        body["status"] = json!("paused");
    }
    body
}

fn creative_body(dice: &mut Dice, revision: u64) -> (Value, Value) {
    let shapes = [
        ("t300", json!({"format": "html", "size": "300x250"})),
        ("t728", json!({"format": "html", "size": "728x90"})),
        ("tany", json!({"format": "html"})),
        ("tnat", json!({"format": "native"})),
    ];
    let mut chosen = dice.some(&shapes);
    if chosen.is_empty() {
        chosen.push(dice.pick(&shapes));
    }
    let templates: Value = chosen.into_iter().map(|(id, shape)| (id.to_owned(), template(shape))).collect();
    let headlines =
        (0..dice.below(4)).map(|n| (format!("h{n}"), component(dice, "headline", &format!("Headline {n}"))));
    let mut components: Vec<_> = headlines.collect();
    components.extend((0..dice.below(4)).map(|n| (format!("c{n}"), component(dice, "cta", &format!("Call {n}")))));
    let both = components.iter().any(|(id, _)| id == "h0") && components.iter().any(|(id, _)| id == "c0");
    let pairing = match dice.below(4) {
        0 if both => json!([{"forbid": ["h0", "c0"]}]),
        1 if both => json!([{"group": ["h0", "c0"]}]),
        2 if both => json!([{"require": {"if": "h0", "then": ["c0"]}}]),
        _ => json!([]),
    };
    let components: Value = components.into_iter().collect();
    creative(json!({"revision": revision, "templates": templates, "components": components, "pairing": pairing}))
}

fn campaign_body(dice: &mut Dice) -> Value {
    let status = dice.pick(&["active", "active", "active", "active", "active", "paused", "draft"]);
    let mut body = campaign(
        "c0",
        json!({"status": status, "priority": 1 + dice.below(4), "weight": 1 + dice.below(300),
        "flight": flight(dice), "rotation": dice.pick(&["weighted", "even", "optimized"]),
        "holdout": dice.pick(&[0.0, 0.5]), "control": dice.pick(&["default", "even"]),
        "uncapped_users": dice.pick(&["serve", "skip"])}),
    );
    let mut creatives = dice.some(&CREATIVES);
    creatives.truncate(3);
    if creatives.is_empty() {
        creatives.push(dice.pick(&CREATIVES));
    }
    body["creatives"] = json!(creatives);
    if dice.one_in(2) {
        body["targeting"] = targeting(dice, 2);
    }
    if dice.one_in(3) {
        body["placements"] = json!(dice.some(&PLACEMENTS));
    }
    if dice.one_in(3) {
        body["frequency_caps"] =
            json!([{"impressions": 1 + dice.below(3), "per": "P1D"}, {"impressions": 3, "per": "P7D"}]);
    }
    if dice.one_in(4) {
        body["exclusive_group"] = json!(dice.pick(&["g0", "g1"]));
    }
    if dice.one_in(2) {
        body["cpm"] = json!({"amount": dice.pick(&["0.50", "2.00"]), "currency": dice.pick(&["USD", "EUR"])});
    }
    if dice.one_in(3) {
        body["default_creative"] = json!(dice.pick(&CREATIVES));
    }
    body
}

pub(super) fn campaign_id(number: u64) -> String {
    format!("k{number}")
}

/// A catalogue of `count` campaigns.
pub(super) fn catalogue(dice: &mut Dice, count: u64) -> Catalogue {
    let mut all = Catalogue(Vec::new())
        .with(Kind::Advertiser, "shop", json!({"name": "Shop", "domain": "shop.example"}))
        .with(
            Kind::Placement,
            "top",
            json!({"name": "Top", "sizes": ["300x250"], "formats": ["html"], "house_creative": "c0"}),
        )
        .with(Kind::Placement, "side", json!({"name": "Side", "sizes": ["160x600", "728x90"], "formats": ["html"]}))
        .with(Kind::Placement, "feed", json!({"name": "Feed", "formats": ["native"], "house_creative": "c1"}));
    for key in SEGMENTS {
        all = all.with(Kind::Segment, key, segment_body(dice, key));
    }
    for id in CREATIVES {
        let (revision, publication) = creative_body(dice, 1);
        all = all.with(Kind::Revision, &format!("{id}/1"), revision).with(Kind::Publication, id, publication);
    }
    for number in 0..count {
        all = all.with(Kind::Campaign, &campaign_id(number), campaign_body(dice));
    }
    all
}

/// One document changed, deleted, broken or brought back.
pub(super) fn change(dice: &mut Dice, campaigns: u64) -> Vec<Changed> {
    let key = |kind, id: &str| DocumentKey::new(kind, id);
    let broken = json!({"name": 7});
    match dice.below(10) {
        0 | 1 => {
            let name = dice.pick(&SEGMENTS);
            let body = match dice.below(6) {
                0 => None,
                1 => Some(broken),
                2 => Some(segment(json!({"segment": dice.pick(&SEGMENTS)}))),
                3 => Some(segment(Value::Null)),
                _ => Some(segment_body(dice, name)),
            };
            vec![(key(Kind::Segment, name), body)]
        }
        2 => {
            let body = match dice.below(3) {
                0 => None,
                1 => Some(json!({"name": "Shop", "domain": "other.example"})),
                _ => Some(json!({"name": "Shop", "domain": "shop.example"})),
            };
            vec![(key(Kind::Advertiser, "shop"), body)]
        }
        3 => {
            let body = json!({"name": "Top", "sizes": ["728x90"], "formats": ["html"], "house_creative": dice.pick(&CREATIVES)});
            vec![(key(Kind::Placement, "top"), Some(body))]
        }
        4 | 5 => {
            let (id, number) = (dice.pick(&CREATIVES), 1 + dice.below(3));
            let (revision, mut publication) = creative_body(dice, number);
            if dice.one_in(5) {
                publication["status"] = json!("archived");
            }
            let kept = if dice.one_in(6) { None } else { Some(publication) };
            vec![(key(Kind::Revision, &format!("{id}/{number}")), Some(revision)), (key(Kind::Publication, id), kept)]
        }
        _ => {
            let id = campaign_id(dice.below(campaigns + 2));
            let body = match dice.below(6) {
                0 => None,
                1 => Some(broken),
                _ => Some(campaign_body(dice)),
            };
            vec![(key(Kind::Campaign, &id), body)]
        }
    }
}

/// Somebody, perhaps unknown, with what the engine would know of them.
#[derive(Debug)]
pub(super) struct Somebody {
    pub(super) state: Option<UserState>,
    pub(super) standing: Standing,
    pub(super) reserved: Vec<(NameHash, Millis)>,
}

pub(super) fn somebody(dice: &mut Dice, campaigns: u64) -> Somebody {
    let traits =
        json!({"age": 15 + dice.below(50), "spend": dice.below(1_000), "city": dice.pick(&["Berlin", "Paris"])});
    let lists = dice.some(&["list-a", "list-b"]);
    let ids: Vec<_> = (0..dice.below(12)).map(|_| campaign_id(dice.below(campaigns.max(1)))).collect();
    let seen: Vec<_> = ids.iter().map(|id| (id.as_str(), dice.below(9) as i64 * DAY)).collect();
    let state = (!dice.one_in(5)).then(|| person(traits, &lists, &seen));
    let reserved =
        (0..dice.below(4)).map(|_| (NameHash::of(&campaign_id(dice.below(campaigns.max(1)))), NOW.plus(-30_000)));
    let reserved = reserved.collect();
    let standing = dice.pick(&[Standing::Personalised, Standing::Personalised, Standing::Stale, Standing::Contextual]);
    Somebody { state: state.filter(|_| standing != Standing::Contextual), standing, reserved }
}

fn placement(dice: &mut Dice, number: u64, campaigns: u64) -> Value {
    let mut body = json!({"id": format!("p{number}"), "count": 1 + dice.below(3)});
    if dice.one_in(4) {
        body["sizes"] = json!(dice.pick(&[vec!["300x250"], vec!["728x90", "300x250"], vec!["970x250"]]));
        body["formats"] = json!(dice.pick(&[vec!["html"], vec!["native", "html"]]));
    } else {
        body["placement"] = json!(dice.pick(&PLACEMENTS));
    }
    if dice.one_in(3) {
        body["keywords"] = json!(["Running"]);
    }
    if dice.one_in(6) {
        body["floor"] = json!({"amount": "1.00", "currency": "USD"});
    }
    if dice.one_in(3) {
        body["blocked_creatives"] = json!(dice.some(&CREATIVES[..3]));
    }
    match dice.below(8) {
        0 => body["candidate"] = json!({"campaign": campaign_id(dice.below(campaigns + 2))}),
        1 => body["candidate"] = json!({"creative": dice.pick(&CREATIVES)}),
        _ => {}
    }
    body
}

pub(super) fn ask(dice: &mut Dice, campaigns: u64) -> AdRequest {
    let placements: Vec<_> = (0..1 + dice.below(3)).map(|number| placement(dice, number, campaigns)).collect();
    let mut context = json!({});
    if !dice.one_in(4) {
        context = json!({"country": dice.pick(&COUNTRIES), "device": dice.pick(&DEVICES), "language": dice.pick(&["de-CH", "de", "en-US", "fr"])});
    }
    let mut asked = json!({"placements": placements, "context": context, "all_segments": dice.one_in(4)});
    if dice.one_in(3) {
        asked["segments"] = json!(dice.some(&SEGMENTS));
        asked["segments_mode"] = json!(dice.pick(&["merge", "override"]));
    }
    if dice.one_in(6) {
        asked["preview"] = json!({"force_segments": dice.some(&SEGMENTS), "deny_segments": dice.some(&SEGMENTS)});
    }
    let mut asked = request(asked);
    asked.person =
        (!dice.one_in(5)).then(|| Uid(u128::from(dice.below(u64::MAX)) << 64 | u128::from(dice.below(u64::MAX))));
    if dice.one_in(4) {
        // more digits than a careless reader keeps
        let spend = dice.below(1 << 53) as f64 / 9_007_199_254_740.993;
        asked.traits = Traits::parse(&json!({"age": 15 + dice.below(50), "spend": spend}), NOW).expect("traits");
    }
    asked
}
