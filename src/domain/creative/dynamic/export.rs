//! A creative's draft as a document of the standard.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{DEFAULT, NAMED, OWN, SEGMENT};
use crate::domain::{
    creative::{ComponentDoc, ComponentStatus, CreativeDoc, PairingRule, SlotDoc, SlotType, TemplateDoc},
    ids::{ComponentId, CreativeId, SlotName, TemplateId},
};

/// A draft with what it uses.
#[derive(Clone, Copy, Debug)]
pub struct Exported<'a> {
    /// Its id.
    pub id: &'a CreativeId,
    /// The draft.
    pub creative: &'a CreativeDoc,
    /// Its version in the catalogue.
    pub version: i64,
    /// The advertiser's domain.
    pub advertiser: &'a str,
    /// Its templates, in its own order.
    pub templates: &'a [(TemplateId, TemplateDoc)],
    /// Its components.
    pub components: &'a BTreeMap<ComponentId, ComponentDoc>,
}

/// Writes a draft as a document of the standard: ad units are templates, creative components slots, assets
/// components, and asset groups the groups of pairing rules. What the standard has no word for stands in an asset's
/// `attributes`, or for the other pairing rules in the ad's `tessera`, where importing finds it again. Components that
/// show nothing or whose slot no template has are left out.
#[must_use]
pub fn export(draft: Exported<'_>) -> Value {
    let units = draft.templates.iter().map(|(id, template)| {
        let mut unit = json!({"id": id, "name": template.name});
        if let Some(size) = template.size {
            unit["size"] = size.to_string().into();
        }
        unit
    });
    let mut slots: BTreeMap<&SlotName, (&SlotDoc, Vec<&TemplateId>)> = BTreeMap::new();
    for (id, template) in draft.templates {
        for (name, slot) in &template.slots {
            slots.entry(name).or_insert((slot, Vec::new())).1.push(id);
        }
    }
    let shown = |id: &ComponentId| {
        let component = draft.components.get(id)?;
        let (slot, _) = slots.get(&component.slot)?;
        asset("", "", slot.kind, &component.value, "0").map(|_| &component.slot)
    };
    // what a group of assets cannot say stays a rule
    let of_group = |rule: &&PairingRule| {
        let PairingRule::Group(members) = rule else { return false };
        let slots: Option<BTreeSet<&SlotName>> = members.iter().map(shown).collect();
        (2..=8).contains(&members.len()) && slots.is_some_and(|slots| slots.len() == members.len())
    };
    let (written, others): (Vec<&PairingRule>, Vec<&PairingRule>) = draft.creative.pairing.iter().partition(of_group);
    let mut groups: BTreeMap<&ComponentId, Vec<String>> = BTreeMap::new();
    let written = written.into_iter().zip(1_u32..).map(|(rule, id)| {
        rule.names().for_each(|member| groups.entry(member).or_default().push(id.to_string()));
        let names: Vec<&str> = rule.names().map(ComponentId::as_str).collect();
        json!({"id": id.to_string(), "name": names.join(", ")})
    });
    let written: Vec<Value> = written.collect();
    let own = json!({"groups": written.iter().map(|group| &group["id"]).collect::<Vec<_>>(), "pairing": others});
    let parts = slots.into_iter().zip(1_u32..).map(|((name, (slot, units)), number)| {
        let default = asset("default", "Default", slot.kind, &slot.default, "1");
        let default = default.map(|mut default| {
            default["attributes"][DEFAULT] = true.into();
            default
        });
        let own = draft.components.iter().filter(|(_, component)| component.slot == *name);
        let own = own.filter_map(|(id, component)| of_component(id, component, slot.kind, groups.get(id)));
        json!({
            "id": number, "name": name, "assetType": asset_type(slot.kind), "adUnit": units,
            "assets": default.into_iter().chain(own).collect::<Vec<_>>()
        })
    });
    let ad = json!({
        "id": draft.id, "name": draft.creative.name, "advertiser": draft.advertiser,
        "version": draft.version.to_string(), "adUnits": units.collect::<Vec<_>>(),
        "assetGroups": written, "creativeComponents": parts.collect::<Vec<_>>(), OWN: own
    });
    json!({ "ad": ad })
}

/// The standard's word for what a slot holds.
fn asset_type(kind: SlotType) -> &'static str {
    match kind {
        SlotType::Image => "image",
        SlotType::Url => "Uri",
        SlotType::Product => "dataFeed",
        SlotType::Video => "media",
        SlotType::Text | SlotType::Legal | SlotType::Color | SlotType::Number | SlotType::Price => "Text",
    }
}

/// An asset with this value; none where it shows nothing.
fn asset(id: &str, name: &str, kind: SlotType, value: &Value, fallback: &str) -> Option<Value> {
    let mut attributes = Map::new();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (source, is_address) = match (kind, value) {
        (_, Value::Null) => return None,
        (SlotType::Image, Value::Object(image)) => {
            let more = image.iter().filter(|(name, _)| *name != "src");
            attributes.extend(more.map(|(name, value)| (name.clone(), value.clone())));
            (text(image.get("src")?)?, true)
        }
        (SlotType::Price, Value::Object(price)) => {
            attributes.extend(price.get("currency").map(|currency| ("currency".to_owned(), currency.clone())));
            (text(price.get("amount")?)?, false)
        }
        (SlotType::Url, value) => (text(value)?, true),
        (_, Value::String(text)) => (text.clone(), false),
        (_, value) => (value.to_string(), false),
    };
    let source_type = if is_address { "Uri" } else { "Embedded" };
    Some(json!({
        "id": id, "name": name, "source": source, "sourceType": source_type, "fallback": fallback,
        "attributes": attributes
    }))
}

fn of_component(
    id: &ComponentId,
    component: &ComponentDoc,
    kind: SlotType,
    groups: Option<&Vec<String>>,
) -> Option<Value> {
    let name = component.name.as_deref().unwrap_or(id.as_str());
    let mut asset = asset(id.as_str(), name, kind, &component.value, "0")?;
    if let Some(rule) = &component.targeting {
        let segment = rule.as_object().filter(|rule| rule.len() == 1).and_then(|rule| rule.get("segment")?.as_str());
        let target = segment.map_or_else(|| rule.to_string(), |segment| format!("{SEGMENT}{segment}"));
        asset["target"] = target.into();
    }
    if let Some(groups) = groups {
        asset["assetGroupIds"] = json!(groups);
    }
    let attributes = &mut asset["attributes"];
    attributes["weight"] = component.weight.into();
    if component.name.as_deref() == Some(id.as_str()) {
        attributes[NAMED] = true.into();
    }
    if let Some(locale) = &component.locale {
        attributes["locale"] = json!(locale);
    }
    if component.status != ComponentStatus::Active {
        attributes["status"] = json!(component.status);
    }
    if let Some(flight) = &component.flight {
        attributes["flight"] = json!(flight);
    }
    Some(asset)
}
