//! What the whole core promises: catalogues, people and requests in, items out.

mod components;
mod evolving;
mod features;
mod goods;
mod ladder;
mod proofs;
mod random;
mod recording;
mod reviewed;
mod selection;
mod shadow;
mod sharing;
mod spaces;
mod what_if;

use serde_json::{Value, json};

use super::{
    answer::write_item,
    assemble::{Issuer, assemble},
    decide::decide,
    decided::{Decision, Person, Showing},
    explanation::ItemExplanation,
    request::{AdRequest, Seed},
    standing::Standing,
};
use crate::domain::{
    audience::{
        caps::CapRing,
        profile::Traits,
        user::{Lists, UserState},
    },
    catalog::{
        combinations::select,
        creative::Creative,
        key::{DocumentKey, Kind},
        reviewed::Frozen,
        snapshot::{Changed, Snapshot},
    },
    consent::Purposes,
    ids::{NameHash, Uid},
    measurement::beacon::TokenKeys,
    values::{Json, Millis, Span},
};

/// 2 March 2026, a Monday, at noon in UTC.
pub(super) const NOW: Millis = Millis(1_772_452_800_000);
pub(super) const SEED: Seed = Seed(*b"0123456789abcdef");
pub(super) const DAY: i64 = 86_400_000;
const PUBLIC_URL: &str = "https://t.example";

/// Documents of an account, to build a snapshot from.
#[derive(Clone, Debug)]
pub(super) struct Catalogue(pub(super) Vec<Changed>);

impl Catalogue {
    /// An advertiser, a placement `top` with the house creative `house`, and nothing else.
    pub(super) fn new() -> Self {
        Self(Vec::new())
            .with(Kind::Advertiser, "shop", json!({"name": "Shop", "domain": "shop.example"}))
            .with(
                Kind::Placement,
                "top",
                json!({"name": "Top", "sizes": ["300x250"], "formats": ["html"], "house_creative": "house"}),
            )
            .creative("house", json!({}))
    }

    pub(super) fn with(mut self, kind: Kind, id: &str, body: Value) -> Self {
        self.0.push((DocumentKey::new(kind, id), Some(body)));
        self
    }

    /// A segment: `null` for a static one, else the condition.
    pub(super) fn segment(self, key: &str, node: Value) -> Self {
        self.with(Kind::Segment, key, segment(node))
    }

    /// A campaign on everything, changed by `patch`; it shows the creative of its own name.
    pub(super) fn campaign(self, id: &str, patch: Value) -> Self {
        self.with(Kind::Campaign, id, campaign(id, patch))
    }

    /// A published creative of one template with the slots `headline` and `cta`. `patch` may hold
    /// `components`, `pairing`, `templates` and `revision`.
    pub(super) fn creative(self, id: &str, patch: Value) -> Self {
        let (revision, publication) = creative(patch);
        let number = publication["revision"].clone();
        self.with(Kind::Revision, &format!("{id}/{number}"), revision).with(Kind::Publication, id, publication)
    }

    /// A campaign with a creative of the same name.
    pub(super) fn both(self, id: &str, campaign: Value, creative: Value) -> Self {
        self.creative(id, creative).campaign(id, campaign)
    }

    /// The same with combinations of a creative, chosen as publishing its first revision would.
    pub(super) fn reviewed(
        mut self,
        id: &str,
        most: usize,
        pages: impl Fn(&Creative, usize) -> Vec<Vec<Frozen>>,
    ) -> Self {
        let snapshot = self.clone().build();
        let creative = &snapshot.creatives[id];
        let chosen = select(creative, NOW, most, |variant| pages(creative, variant));
        let key = DocumentKey::new(Kind::Revision, format!("{id}/1"));
        let revision = self.0.iter_mut().find(|(own, _)| *own == key).and_then(|(_, body)| body.as_mut());
        revision.expect("a revision")["combinations"] = json!(chosen);
        self
    }

    pub(super) fn build(self) -> Snapshot {
        let snapshot = self.build_with_faults();
        assert_eq!((&snapshot.faults, &snapshot.held), (&Default::default(), &Default::default()));
        snapshot
    }

    pub(super) fn build_with_faults(self) -> Snapshot {
        Snapshot::empty().evolve(1, self.0, PUBLIC_URL, NOW)
    }
}

pub(super) fn segment(node: Value) -> Value {
    let rule = match node {
        Value::Null => json!({"v": 1, "kind": "static"}),
        node => json!({"v": 1, "kind": "dynamic", "match": node}),
    };
    json!({"name": "A segment", "rule": rule})
}

pub(super) fn campaign(id: &str, patch: Value) -> Value {
    let mut body = json!({"name": "A campaign", "advertiser": "shop", "status": "active", "creatives": [id],
        "landing_url": "https://shop.example/offer"});
    merge(&mut body, patch);
    body
}

pub(super) fn template(shape: Value) -> Value {
    let slots = json!({
        "headline": {"type": "text", "default": "Hello"},
        "cta": {"type": "text", "default": "Look"},
    });
    let mut body = json!({"name": "A template", "slots": slots});
    let content = match shape["format"].as_str() {
        Some("native") => json!({"native": {"assets": [{"id": 1, "kind": "title", "slot": "headline"},
            {"id": 2, "kind": "cta", "slot": "cta"}]}}),
        _ => json!({"markup": "<!doctype html><body><a href=\"{{click_url}}\">{{headline}} {{cta}}</a></body>"}),
    };
    merge(&mut body, content);
    merge(&mut body, shape);
    body
}

/// A revision and its publication.
pub(super) fn creative(patch: Value) -> (Value, Value) {
    let take = |name: &str, default: Value| patch.get(name).cloned().unwrap_or(default);
    let number = take("revision", json!(1));
    let templates = take("templates", json!({"t": template(json!({"format": "html", "size": "300x250"}))}));
    let names: Vec<_> = templates.as_object().expect("an object").keys().cloned().collect();
    let revision = json!({
        "revision": number, "published_at": NOW, "templates": templates, "components": take("components", json!({})),
        "creative": {"name": "A creative", "advertiser": "shop", "templates": names, "pairing": take("pairing", json!([]))},
    });
    (revision, json!({"revision": number, "status": "published"}))
}

fn merge(into: &mut Value, patch: Value) {
    let (Value::Object(into), Value::Object(patch)) = (into, patch) else { panic!("both are objects") };
    into.extend(patch);
}

/// The request that `json` describes, on the placement `top` when it names none.
pub(super) fn request(json: Value) -> AdRequest {
    let mut request: AdRequest = serde_json::from_value(json).expect("a request");
    if request.placements.is_empty() {
        request.placements = serde_json::from_value(json!([{"id": "a", "placement": "top"}])).expect("a placement");
    }
    request
}

/// A request of the person with this number.
pub(super) fn of(person: u128, json: Value) -> AdRequest {
    // scattered, as keyed hashes are
    AdRequest { person: Some(Uid(person.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))), ..request(json) }
}

/// Somebody with traits and lists, who saw some campaigns so many milliseconds ago.
pub(super) fn person(traits: Value, lists: &[&str], seen: &[(&str, i64)]) -> UserState {
    let traits = Traits::parse(&traits, NOW.plus(-DAY)).expect("traits");
    let lists = Lists::new(lists.iter().map(|list| (NameHash::of(list), None)));
    let mut caps = CapRing::default();
    for (campaign, ago) in seen {
        caps.absorb(NameHash::of(campaign), NOW.plus(-ago), Span::from_millis(30 * DAY));
    }
    UserState::new(1, traits, lists, caps)
}

pub(super) fn known(state: Option<&UserState>) -> Person<'_> {
    Person {
        state,
        standing: Standing::Personalised,
        counted: true,
        degraded: &[],
        reserved: &[],
        recorded: &[],
        replay: None,
    }
}

pub(super) fn decided(snapshot: &Snapshot, request: &AdRequest, person: &Person<'_>) -> Decision {
    decide(snapshot, &crate::domain::decision::learned::Learned::default(), request, person, Purposes::ALL, NOW, SEED)
        .expect("a valid request")
}

/// The campaigns shown, item by item; `-` for a house creative, `` for no fill.
pub(super) fn campaigns(decision: &Decision) -> Vec<&str> {
    let items = decision.placements.iter().flatten();
    items
        .map(|item| item.shown.as_ref().map_or("", |shown| shown.campaign.as_ref().map_or("-", |c| c.id.as_str())))
        .collect()
}

/// The campaign shown to somebody of whom nothing is known.
pub(super) fn winner(snapshot: &Snapshot, request: &AdRequest) -> String {
    campaigns(&decided(snapshot, request, &known(None)))[0].to_owned()
}

pub(super) fn only(decision: &Decision) -> &Showing {
    decision.placements[0][0].shown.as_ref().expect("a filled item")
}

/// Every item's answer, in full.
pub(super) fn answers(
    snapshot: &Snapshot,
    request: &AdRequest,
    decision: &Decision,
    purposes: Purposes,
) -> Vec<String> {
    let keys = TokenKeys::new((1, &[7; 32]), []);
    let issuer = Issuer { account: 1, keys: &keys, public_url: PUBLIC_URL };
    let mut answers = Vec::new();
    for (items, placement) in decision.placements.iter().zip(&request.placements) {
        for item in items {
            let assembled =
                item.shown.as_ref().map(|showing| assemble(item, showing, request, placement, purposes, issuer));
            let mut json = Json::default();
            write_item(&mut json, item, assembled.as_ref(), &snapshot.rules);
            answers.push(json.into_text());
        }
    }
    answers
}

/// Why each campaign was not shown, by the name of the condition; empty for the one that was.
pub(super) fn reasons(explanation: &ItemExplanation) -> Vec<(String, String)> {
    let of = |candidate: &super::explanation::Candidate| {
        let excluded = serde_json::to_value(&candidate.excluded).expect("JSON");
        (candidate.campaign.to_string(), excluded["condition"].as_str().unwrap_or_default().to_owned())
    };
    explanation.candidates.iter().map(of).collect()
}
