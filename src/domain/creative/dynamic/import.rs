//! Documents of the standard as components and pairing rules of a creative.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    DEFAULT, NAMED, OWN, SEGMENT, TARGET,
    groups::{Groups, ImportedRule},
    lenient::{list, member, number, plain, says_yes, size, text},
    naming::{Called, ids},
};
use crate::domain::{
    creative::{SlotType, WebUrl},
    ids::{SegmentKey, SlotName},
    violation::{Violation, Violations},
};

/// What a document says, as the creative that takes it would.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// Its assets in their order, but for those that slots show by default.
    pub assets: Vec<ImportedAsset>,
    /// Which of them go together.
    pub pairing: Vec<ImportedRule>,
}

/// An asset as a component.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedAsset {
    /// Where it stands in the document.
    pub pointer: String,
    /// Its id.
    pub id: String,
    /// The component with that `id`, or why it is none, with pointers into the document.
    pub component: Result<Map<String, Value>, Vec<Violation>>,
}

impl ImportedAsset {
    /// Where in the document a fault of the component stands.
    #[must_use]
    pub fn pointer(&self, of_component: &str) -> String {
        let at = match of_component.split('/').nth(1) {
            None => "",
            Some("id") => "/id",
            Some("value") => "/source",
            Some("name") => "/name",
            Some("targeting") => "/target",
            Some(_) => "/attributes",
        };
        format!("{}{at}", self.pointer)
    }
}

/// What an import needs to know of the creative, and of the document.
#[derive(Clone, Copy)]
struct Setting<'a> {
    slots: &'a BTreeMap<SlotName, SlotType>,
    /// The slots by their names as they are compared.
    plain: &'a BTreeMap<String, &'a SlotName>,
    named: &'a BTreeMap<String, SlotName>,
    base: Option<&'a WebUrl>,
    /// Whether the document is one of ours: quotes and spaces are meant.
    is_own: bool,
}

impl Setting<'_> {
    /// The slot that a part is, by what it is called.
    fn slot(&self, name: &str) -> Option<SlotName> {
        let exact = || name.parse::<SlotName>().ok().filter(|name| self.slots.contains_key(name));
        exact().or_else(|| self.plain.get(&plain(name)).map(|slot| (*slot).clone()))
    }
}

/// The most assets of a document: as many as a creative has components.
const MOST: usize = 100_000;

/// Reads a document for a creative with these slots; `named` says which slot a creative component is that no slot is
/// called like, `base` where relative addresses begin.
///
/// # Errors
/// It is no document of the standard, or has more than 100,000 assets.
pub fn import(
    document: &Value,
    slots: &BTreeMap<SlotName, SlotType>,
    named: &BTreeMap<String, SlotName>,
    base: Option<&WebUrl>,
) -> Result<Imported, Vec<Violation>> {
    let refuse = |pointer: &str, code, detail: &str| vec![Violation::new(pointer, code, detail)];
    let root = document.as_object().ok_or_else(|| refuse("", "type", "must be an object"))?;
    // some write the ad without its name around it
    let (at, ad) = match member(root, "ad") {
        Some(ad) => ("/ad", list(Some(ad)).first().and_then(Value::as_object)),
        None => ("", Some(root)),
    };
    let ad = ad.ok_or_else(|| refuse("/ad", "type", "must be an object"))?;
    let components = member(ad, "creativeComponents")
        .ok_or_else(|| refuse(&format!("{at}/creativeComponents"), "required", "must list the parts of the ad"))?;
    let components = list(Some(components));
    let assets = |component: &Value| list(component.as_object().and_then(|part| member(part, "assets"))).len();
    if components.iter().map(assets).sum::<usize>() > MOST {
        let detail = format!("must have at most {MOST} assets");
        return Err(refuse(&format!("{at}/creativeComponents"), "too_many", &detail));
    }
    let own = member(ad, OWN).and_then(Value::as_object);
    let mut by_plain = BTreeMap::new();
    for slot in slots.keys() {
        by_plain.entry(plain(slot.as_str())).or_insert(slot);
    }
    let setting = Setting { slots, plain: &by_plain, named, base, is_own: own.is_some() };
    let parts: Vec<Part<'_>> = components
        .iter()
        .enumerate()
        .flat_map(|(number, component)| Part::of(component, &format!("{at}/creativeComponents/{number}"), setting))
        .collect();
    let ids = ids(&parts.iter().map(Part::called).collect::<Vec<_>>());
    let mut imported = Imported::default();
    let mut groups = Groups::default();
    for (part, id) in parts.iter().zip(ids) {
        let component = part.component(&id, setting);
        groups.add(&part.pointer, part.slot.as_ref(), &id, part.field("assetGroupIds"));
        imported.assets.push(ImportedAsset { pointer: part.pointer.clone(), id, component });
    }
    let own = |name: &str| list(own.and_then(|own| member(own, name)));
    imported.pairing = groups.rules(&own("groups").iter().filter_map(|group| text(Some(group))).collect());
    let rules = own("pairing").iter().enumerate();
    imported.pairing.extend(rules.map(|(n, rule)| ImportedRule::own(format!("{at}/{OWN}/pairing/{n}"), rule)));
    Ok(imported)
}

/// An asset and the part of the ad that it may stand in.
struct Part<'v> {
    pointer: String,
    /// What the part is called.
    part: String,
    slot: Option<SlotName>,
    asset: Option<&'v Map<String, Value>>,
    attributes: Option<&'v Map<String, Value>>,
    /// Whether the document is one of ours.
    is_own: bool,
}

impl<'v> Part<'v> {
    /// The assets of a creative component.
    fn of(component: &'v Value, at: &str, setting: Setting<'_>) -> Vec<Self> {
        let object = component.as_object();
        let field = |name: &str| object.and_then(|object| member(object, name));
        let (name, id) = (text(field("name")), text(field("id")));
        let called = || [&name, &id].into_iter().flatten();
        let named = called().find_map(|name| setting.named.get(name).cloned());
        let slot = named.or_else(|| called().find_map(|name| setting.slot(name)));
        // it is told with each of its assets
        let part: String = name.or(id).unwrap_or_default().chars().take(200).collect();
        let assets = list(field("assets")).iter().enumerate();
        let parts = assets.map(|(number, asset)| {
            let asset = asset.as_object();
            let attributes = asset.and_then(|asset| member(asset, "attributes")).and_then(Value::as_object);
            let pointer = format!("{at}/assets/{number}");
            Self { pointer, part: part.clone(), slot: slot.clone(), asset, attributes, is_own: setting.is_own }
        });
        // what a slot shows by default is its template's
        parts.filter(|part| !part.attribute(DEFAULT).is_some_and(|value| says_yes(Some(value)))).collect()
    }

    fn field(&self, name: &str) -> Option<&'v Value> {
        self.asset.and_then(|asset| member(asset, name))
    }

    fn attribute(&self, name: &str) -> Option<&'v Value> {
        self.attributes.and_then(|attributes| member(attributes, name))
    }

    /// A text as it is meant: of a document of ours with the spaces and quotes around it.
    fn said(&self, value: Option<&Value>) -> Option<String> {
        match value {
            Some(Value::String(said)) if self.is_own => Some(said.clone()),
            value => text(value),
        }
    }

    fn called(&self) -> Called {
        let id = text(self.field("id"));
        let slot = self.slot.as_ref().map_or(&*self.part, SlotName::as_str);
        let name = text(self.field("name")).or_else(|| id.clone()).unwrap_or_default();
        Called { name: format!("{slot} {name}"), id }
    }

    /// The component that it is.
    fn component(&self, id: &str, setting: Setting<'_>) -> Result<Map<String, Value>, Vec<Violation>> {
        let mut faults = Violations::new();
        let slot = self.slot.as_ref().and_then(|slot| Some((slot, *setting.slots.get(slot)?)));
        let Some((slot, kind)) = slot else {
            const SOME: usize = 12;
            let names: Vec<&str> = setting.slots.keys().map(SlotName::as_str).take(SOME).collect();
            let more = if setting.slots.len() > SOME { " and others" } else { "" };
            let detail = format!("no slot is called {:?}: the creative has {}{more}", self.part, names.join(", "));
            return Err(vec![Violation::new(self.pointer.clone(), "unknown_slot", detail)]);
        };
        let mut component = Map::new();
        component.insert("id".into(), id.into());
        component.insert("slot".into(), slot.as_str().into());
        match self.value(kind, setting.base) {
            Ok(value) => drop(component.insert("value".into(), value)),
            Err((code, detail)) => faults.push(format!("{}/source", self.pointer), code, detail),
        }
        // an asset must have a name: the id where the component has none
        let named = self.is_own && self.attribute(NAMED).is_some();
        if let Some(name) = self.said(self.field("name")).filter(|name| name != id || named) {
            component.insert("name".into(), name.chars().take(200).collect::<String>().into());
        }
        let target = text(self.field("target"));
        if let Some(target) = &target {
            match targeting(target) {
                Ok(rule) => drop(component.insert("targeting".into(), rule)),
                Err(detail) => faults.push(format!("{}/target", self.pointer), "invalid_target", detail),
            }
        }
        if let Some(locale) = text(self.attribute("locale").or_else(|| self.attribute("language"))) {
            component.insert("locale".into(), locale.into());
        }
        // what stands in for others is shown least where there are others
        let fallback = says_yes(self.field("fallback")) && target.is_none();
        if let Some(weight) = number(self.attribute("weight")).or(fallback.then_some(1)) {
            component.insert("weight".into(), weight.into());
        }
        for name in ["status", "flight"] {
            if let Some(value) = self.attribute(name) {
                component.insert(name.into(), value.clone());
            }
        }
        faults.into_result().map(|()| component)
    }

    /// The value, as the slot's type asks.
    fn value(&self, kind: SlotType, base: Option<&WebUrl>) -> Result<Value, (&'static str, String)> {
        let source = self.field("source");
        let said = self.said(source).ok_or(("required", "must say what the asset is".to_owned()));
        Ok(match kind {
            // quotes may be part of what is said
            SlotType::Text | SlotType::Legal => match source {
                Some(Value::String(said)) if !self.is_own && !said.trim().is_empty() => said.trim().into(),
                _ => said?.into(),
            },
            SlotType::Color => said?.into(),
            SlotType::Url => address(&said?, base)?.into(),
            SlotType::Number => {
                let number = said?.parse::<serde_json::Number>();
                Value::Number(number.map_err(|_| ("type", "must be a number".to_owned()))?)
            }
            SlotType::Price => self.price(&said?)?,
            SlotType::Image => self.image(&said?, base)?,
            SlotType::Video => match embedded(source) {
                Some(value) => value,
                None => self.video(&said?, base)?,
            },
            SlotType::Product => embedded(source).ok_or(("type", "must be products, as JSON".to_owned()))?,
        })
    }

    fn price(&self, said: &str) -> Result<Value, (&'static str, String)> {
        let own = text(self.attribute("currency"));
        let mut words = said.split_whitespace();
        let (amount, currency) = match (words.next(), words.next(), words.next(), own) {
            (Some(amount), None, None, Some(currency)) => (amount.to_owned(), currency),
            (Some(one), Some(other), None, _) if one.starts_with(|c: char| c.is_ascii_digit()) => {
                (one.to_owned(), other.to_owned())
            }
            (Some(one), Some(other), None, _) => (other.to_owned(), one.to_owned()),
            _ => return Err(("type", "must be an amount and a currency, such as 19.90 EUR".to_owned())),
        };
        let currency = if self.is_own { currency } else { currency.to_ascii_uppercase() };
        Ok(json!({"amount": amount, "currency": currency}))
    }

    fn image(&self, said: &str, base: Option<&WebUrl>) -> Result<Value, (&'static str, String)> {
        if self.is_own {
            let mut image = json!({"src": address(said, base)?});
            for name in ["alt", "width", "height", "renditions"] {
                if let Some(value) = self.attribute(name) {
                    image[name] = value.clone();
                }
            }
            return Ok(image);
        }
        let words = text(self.attribute("alt")).or_else(|| text(self.field("name"))).unwrap_or_default();
        let mut image = json!({"src": address(said, base)?, "alt": words});
        if let Some((width, height)) = self.size() {
            (image["width"], image["height"]) = (width.into(), height.into());
        }
        if let Some(renditions) = self.attribute("renditions") {
            image["renditions"] = renditions.clone();
        }
        Ok(image)
    }

    fn size(&self) -> Option<(u32, u32)> {
        let sides = || Some((number(self.attribute("width"))?, number(self.attribute("height"))?));
        sides().or_else(|| size(self.attribute("dimension"))).or_else(|| size(self.attribute("size")))
    }

    fn video(&self, said: &str, base: Option<&WebUrl>) -> Result<Value, (&'static str, String)> {
        let src = address(said, base)?;
        let path = src.split(['?', '#']).next().unwrap_or_default();
        let by_name = [(".mp4", "video/mp4"), (".webm", "video/webm"), (".m3u8", "application/vnd.apple.mpegurl")];
        let by_name = by_name.into_iter().find(|(end, _)| path.ends_with(end)).map(|(_, mime)| mime.to_owned());
        let mime = text(self.attribute("mimeType")).or_else(|| text(self.attribute("type"))).or(by_name);
        let seconds = || Some((text(self.attribute("duration"))?.parse::<f64>().ok()? * 1_000.0).round() as u32);
        let duration = number(self.attribute("duration_ms")).or_else(seconds);
        let (Some(mime), Some((width, height)), Some(duration)) = (mime, self.size(), duration) else {
            let detail = "of a video the attributes must say the type, the dimension and the duration in seconds";
            return Err(("required", detail.to_owned()));
        };
        let file = json!({"src": src, "type": mime, "width": width, "height": height});
        Ok(json!({"files": [file], "duration_ms": duration}))
    }
}

/// JSON that stands in the document, as it is or as a text.
fn embedded(source: Option<&Value>) -> Option<Value> {
    match source? {
        Value::String(text) => {
            serde_json::from_str(text).ok().filter(|value: &Value| value.is_object() || value.is_array())
        }
        value => (value.is_object() || value.is_array()).then(|| value.clone()),
    }
}

/// A target as a targeting rule: one of our own rules, one of our segments, or what the request says.
fn targeting(target: &str) -> Result<Value, String> {
    if target.starts_with('{') {
        return serde_json::from_str(target).map_err(|error| format!("must be a rule: {error}"));
    }
    match target.strip_prefix(SEGMENT) {
        Some(key) => key.parse::<SegmentKey>().map(|key| json!({"segment": key})).map_err(|error| error.to_string()),
        None => Ok(json!({"context": TARGET, "eq": target})),
    }
}

/// An address, whole: on https where it says no scheme, and behind `base` where it says no host.
fn address(said: &str, base: Option<&WebUrl>) -> Result<String, (&'static str, String)> {
    let scheme = said.split_once(':').map_or("", |(scheme, _)| scheme);
    if said.starts_with("/v1/assets/") || ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web)) {
        return Ok(said.to_owned());
    }
    if scheme.eq_ignore_ascii_case("data") {
        return Err((
            "embedded",
            "must be an address: put the file into /v1/assets and send that of the asset".to_owned(),
        ));
    }
    if let Some(rest) = said.strip_prefix("//") {
        return Ok(format!("https://{}", rest.trim_start_matches('/')));
    }
    let base = base.ok_or(("relative", "is relative: send `base` to say where it begins".to_owned()))?.as_str();
    let host = base.find("://").map_or(0, |at| at + 3);
    let root = base[host..].find('/').map_or(base.len(), |at| host + at);
    let folder = base[root..].rfind('/').map_or(root, |at| root + at);
    let start = if said.starts_with('/') { root } else { folder };
    Ok(format!("{}/{}", &base[..start], said.trim_start_matches('/').trim_start_matches("./")))
}
