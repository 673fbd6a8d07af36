//! Reads a revision into a creative that can be chosen from and assembled.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::domain::{
    audience::{compile::RuleSet, rule::Targeting},
    catalog::{
        assets,
        content::Content,
        creative::{Component, Creative, MOST_OF_A_SLOT, Place, Slot, Variant},
        document::{AdvertiserDoc, RevisionDoc},
        landing,
        templates::{Parsed, Templates},
    },
    creative::{ComponentDoc, ComponentStatus, Pairing, SlotSpec, SlotType, SlotValue, Template},
    ids::{ComponentId, CreativeId, NameHash, TemplateId},
    violation::{Violation, Violations, token},
};

/// A revision, and what it is compiled with.
pub struct Source<'a> {
    /// Whose revision it is.
    pub id: CreativeId,
    /// The revision.
    pub doc: &'a RevisionDoc,
    /// Its advertiser; none where there is none any more.
    pub advertiser: Option<&'a AdvertiserDoc>,
    /// The segments that targeting may name.
    pub rules: &'a RuleSet,
    /// Asset paths are made absolute under it.
    pub public_url: &'a str,
    /// Templates that were compiled before; it takes those that are compiled now.
    pub known: &'a mut Templates,
}

impl Creative {
    /// Reads a revision.
    ///
    /// # Errors
    /// Everything that keeps it from being served, with pointers into the revision.
    pub fn compile(source: Source<'_>) -> Result<Self, Vec<Violation>> {
        let (made, mut faults, held) = Self::read(source);
        faults.extend_under("", held.into_vec());
        made.filter(|_| faults.is_empty()).ok_or_else(|| faults.into_vec())
    }

    /// As [`Self::compile`], for what has been published once. What has come to be against a component
    /// since, that its targeting names nothing or its click leads elsewhere, holds that component back
    /// alone: it is never shown, and pairing rules count it all the same. A default's click leads where
    /// the campaign's does. What was held back is told.
    ///
    /// # Errors
    /// Everything that keeps it from being rendered.
    pub fn published(source: Source<'_>) -> Result<(Self, Vec<Violation>), Vec<Violation>> {
        let (made, faults, held) = Self::read(source);
        made.map(|made| (made, held.into_vec())).ok_or_else(|| faults.into_vec())
    }

    /// A revision unless it has faults, those faults, and what is held back.
    fn read(source: Source<'_>) -> (Option<Self>, Violations, Violations) {
        let Source { id, doc, advertiser, rules, public_url, known } = source;
        let (mut faults, mut held) = (Violations::new(), Violations::new());
        let templates = known.of(doc, public_url, &mut faults);
        let mut slots: Vec<Slot> = Vec::new();
        for template in doc.creative.templates.iter().filter_map(|id| doc.templates.get(id)) {
            for name in
                template.slots.keys().filter(|name| !slots.iter().any(|slot| slot.name == **name)).collect::<Vec<_>>()
            {
                slots.push(Slot { name: name.clone(), candidates: Vec::new() });
            }
        }
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        let landing_slot = doc.creative.landing_slot.as_ref().and_then(|name| {
            let at = slots.iter().position(|slot| slot.name == *name);
            if at.is_none() {
                faults.push("/creative/landing_slot", "unknown_slot", "no template has this slot");
            }
            at
        });
        let mut reader = Reader {
            doc,
            templates: &templates,
            advertiser,
            rules,
            public_url,
            landing_slot,
            faults: &mut faults,
            held: &mut held,
        };
        let mut components = Vec::new();
        for (id, component) in &doc.components {
            let pointer = format!("/components/{}", token(id.as_str()));
            if let Some(compiled) = reader.component(id, component, &slots, &pointer) {
                slots[compiled.slot].candidates.push(components.len() as u32);
                components.push(compiled);
            }
        }
        for slot in slots.iter().filter(|slot| slot.candidates.len() > MOST_OF_A_SLOT) {
            let detail = format!("slot {} has more than {MOST_OF_A_SLOT} components", slot.name);
            reader.faults.push("/components", "too_many", detail);
        }
        let places: Vec<_> =
            templates.iter().map(|(id, _, template)| reader.places(id, template, &slots, &components)).collect();
        let variants = templates.into_iter().zip(places).map(|(of, places)| Variant::new(of, places)).collect();
        let slot_of = |id: &ComponentId| {
            let at = components.iter().position(|component| component.id == *id)?;
            Some((components[at].slot as u16, at as u32))
        };
        let pairing = faults.keep("/creative/pairing", Pairing::compile(&doc.creative.pairing, slot_of));
        let Some(advertiser) = advertiser else {
            faults.push("/creative/advertiser", "unknown_advertiser", "no such advertiser");
            return (None, faults, held);
        };
        let lasting = NameHash::of(id.as_str());
        if !faults.is_empty() {
            return (None, faults, held);
        }
        let mut made = Self {
            hash: NameHash::of(&format!("{id}/{}", doc.revision)).0,
            lasting,
            id,
            revision: doc.revision,
            advertiser: doc.creative.advertiser.clone(),
            domain: advertiser.domain.as_str().into(),
            categories: (advertiser.cattax, advertiser.categories.iter().map(|of| of.as_str().into()).collect()),
            attributes: doc.creative.attributes.clone(),
            picks: components.iter().any(|component| component.picking.is_some()),
            slots: slots.into(),
            components: components.into(),
            variants,
            pairing: pairing.unwrap_or_default(),
            landing_slot,
            combinations: Arc::default(),
        };
        made.combinations = made.kept(&doc.combinations).into();
        (Some(made), faults, held)
    }
}

/// What reading the parts of a revision needs throughout.
struct Reader<'a> {
    doc: &'a RevisionDoc,
    templates: &'a [Parsed],
    advertiser: Option<&'a AdvertiserDoc>,
    rules: &'a RuleSet,
    public_url: &'a str,
    landing_slot: Option<usize>,
    faults: &'a mut Violations,
    held: &'a mut Violations,
}

impl Reader<'_> {
    fn component(&mut self, id: &ComponentId, doc: &ComponentDoc, slots: &[Slot], pointer: &str) -> Option<Component> {
        let Some(slot) = slots.iter().position(|slot| slot.name == doc.slot) else {
            self.faults.push(format!("{pointer}/slot"), "unknown_slot", "no template of the creative has this slot");
            return None;
        };
        let read = |targeting| Targeting::parse(targeting).and_then(|node| self.rules.bind(&node)).map(Box::new);
        let condition = doc.targeting.as_ref().map(read).transpose();
        let condition = self.held.keep(&format!("{pointer}/targeting"), condition);
        if !(1..=10_000).contains(&doc.weight) {
            self.faults.push(format!("{pointer}/weight"), "range", "must be 1 to 10000");
        }
        let flight = doc.flight.unwrap_or_default();
        if let (Some(start), Some(end)) = (flight.start, flight.end)
            && end <= start
        {
            self.faults.push(format!("{pointer}/flight/end"), "empty_flight", "must be later than start");
        }
        // its value must fit the slot of every template that has it
        let mut content = None;
        for (.., template) in self.templates {
            if let Some(at) = template.slot_index(doc.slot.as_str()) {
                let value = self.value(&template.slots()[at].spec, &doc.value);
                let value = self.faults.keep(&format!("{pointer}/value"), value)?;
                content.get_or_insert(value);
            }
        }
        let value = content?;
        let content = value.content();
        let (picking, video) = match value {
            SlotValue::Picked(picking) => (Some(picking), None),
            SlotValue::Video(video) => (None, Some(video)),
            _ => (None, None),
        };
        let landing = self.landing(slot, &content);
        let landing = self.held.keep(&format!("{pointer}/value"), landing);
        let content = Content::new(&content);
        let (active, bound) = (doc.status == ComponentStatus::Active, condition.is_some() && landing.is_some());
        Some(Component {
            hash: NameHash::of(id.as_str()),
            id: id.clone(),
            slot,
            weight: doc.weight,
            locale: doc.locale.clone(),
            start: flight.start,
            end: flight.end,
            active: active && bound,
            held: active && !bound,
            condition: condition.flatten(),
            fingerprint: content.fingerprint(),
            content,
            landing: landing.flatten(),
            picking,
            video,
        })
    }

    fn places(&mut self, id: &TemplateId, template: &Template, slots: &[Slot], components: &[Component]) -> Vec<Place> {
        let Some(doc) = self.doc.templates.get(id) else { return Vec::new() };
        let mut places = Vec::new();
        for (at, own) in template.slots().iter().enumerate() {
            let (name, spec) = (&own.name, &own.spec);
            let Some(slot) = slots.iter().position(|slot| slot.name == *name) else { continue };
            let Some(default) = doc.slots.get(name).map(|slot| &slot.default) else { continue };
            let pointer = format!("/templates/{}/slots/{}/default", token(id.as_str()), token(name.as_str()));
            let value = self.value(spec, default);
            let Some(default) = self.faults.keep(&pointer, value) else { continue };
            let content = default.content();
            let landing = self.landing(slot, &content);
            let landing = self.held.keep(&pointer, landing);
            let content = Content::new(&content);
            let mut resized = BTreeMap::new();
            let prepared = slots[slot].candidates.iter().enumerate().filter_map(|(nth, component)| {
                let component = &components[*component as usize];
                let value = &self.doc.components.get(&component.id)?.value;
                let several = spec.kind == SlotType::Image && value.get("renditions").is_some();
                // faults of values were noted with the component
                match self.value(spec, value).ok()? {
                    // until a decision picks products
                    SlotValue::Picked(_) => Some(template.prepare(at, &default)),
                    value => {
                        let content = several.then(|| Content::new(&value.content()));
                        if let Some(content) = content.filter(|content| *content != component.content)
                            && let Ok(nth) = u16::try_from(nth)
                        {
                            resized.insert(nth, content);
                        }
                        Some(template.prepare(at, &value))
                    }
                }
            });
            places.push(Place {
                slot,
                prepared: prepared.collect(),
                resized,
                default: template.prepare(at, &default),
                default_fingerprint: content.fingerprint(),
                default_content: content,
                default_landing: landing.flatten(),
            });
        }
        places
    }

    /// Reads a value, with paths of assets made absolute.
    fn value(&self, spec: &SlotSpec, value: &Value) -> Result<SlotValue, Vec<Violation>> {
        match spec.kind {
            SlotType::Image | SlotType::Product => {
                let mut value = value.clone();
                assets::absolute(&mut value, self.public_url);
                SlotValue::parse(spec, &value)
            }
            _ => SlotValue::parse(spec, value),
        }
    }

    /// The address a click leads to, where the slot holds it; its host must be the advertiser's.
    fn landing(&self, slot: usize, content: &Value) -> Result<Option<Box<str>>, Vec<Violation>> {
        let first = || content.pointer("/0/link")?.as_str();
        let Some(url) = content.as_str().or_else(first).filter(|_| self.landing_slot == Some(slot)) else {
            return Ok(None);
        };
        let fault = |code, detail: String| Err(vec![Violation::new("", code, detail)]);
        match (self.advertiser, landing::parse(url)) {
            (_, Err(detail)) => fault("invalid_url", detail.to_owned()),
            (Some(advertiser), Ok(host)) if !landing::allowed(advertiser, &host) => {
                fault("landing_host_not_allowed", landing::refusal(advertiser, &host))
            }
            _ => Ok(Some(url.into())),
        }
    }
}
