//! A catalogue as cases write it: documents by kind and id, creatives with their components.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tessera::domain::catalog::{
    key::{DocumentKey, Kind},
    snapshot::Changed,
};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Documents {
    pub(crate) advertisers: Map<String, Value>,
    pub(crate) segments: Map<String, Value>,
    pub(crate) placements: Map<String, Value>,
    pub(crate) templates: Map<String, Value>,
    /// Creatives, each with its `components`.
    pub(crate) creatives: Map<String, Value>,
    pub(crate) campaigns: Map<String, Value>,
    /// What exchanges say of creatives, as `creative/exchange`.
    pub(crate) audits: Map<String, Value>,
}

impl Documents {
    pub(crate) fn changes(&self) -> Vec<Changed> {
        let mut all = Vec::new();
        let mut add = |kind, id: &str, body: Value| all.push((DocumentKey::new(kind, id), Some(body)));
        self.advertisers.iter().for_each(|(id, body)| add(Kind::Advertiser, id, body.clone()));
        self.segments.iter().for_each(|(id, body)| add(Kind::Segment, id, body.clone()));
        self.placements.iter().for_each(|(id, body)| add(Kind::Placement, id, body.clone()));
        self.campaigns.iter().for_each(|(id, body)| add(Kind::Campaign, id, body.clone()));
        self.audits.iter().for_each(|(id, body)| add(Kind::Audit, id, body.clone()));
        for (id, body) in &self.creatives {
            let mut draft = body.clone();
            let components = draft.as_object_mut().and_then(|draft| draft.remove("components"));
            let named = draft["templates"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let templates: Map<String, Value> =
                named.map(|name| (name.to_owned(), self.templates[name].clone())).collect();
            let revision = json!({"revision": 1, "published_at": "2026-01-01T00:00:00Z", "creative": draft,
                "templates": templates, "components": components.unwrap_or_else(|| json!({}))});
            add(Kind::Revision, &format!("{id}/1"), revision);
            add(Kind::Publication, id, json!({"revision": 1, "status": "published"}));
        }
        all
    }
}
