//! A published creative, ready to be chosen from and assembled.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::domain::{
    audience::{
        compile::{Condition, RuleSet},
        rule::Targeting,
    },
    catalog::{
        assets,
        content::Content,
        document::{AdvertiserDoc, RevisionDoc},
        index::Shape,
        landing,
        reviewed::Combination,
        templates::Templates,
    },
    creative::{
        ComponentDoc, ComponentStatus, Pairing, Picking, Prepared, SlotSpec, SlotType, SlotValue, Template, Video,
    },
    ids::{AdvertiserId, ComponentId, CreativeId, NameHash, SlotName, TemplateId},
    values::{Locale, Millis},
    violation::{Violation, Violations, token},
};

/// One immutable revision of a creative.
#[derive(Clone, Debug)]
pub struct Creative {
    /// Its id.
    pub id: CreativeId,
    /// The revision.
    pub revision: u32,
    /// Stands for id and revision in hashes.
    pub hash: u64,
    /// Stands for the id in hashes, whatever the revision.
    pub lasting: NameHash,
    /// Whose it is.
    pub advertiser: AdvertiserId,
    /// The advertiser's root domain.
    pub domain: Box<str>,
    /// What the advertiser advertises, and the taxonomy that says so.
    pub categories: (u16, Vec<Box<str>>),
    /// AdCOM's creative attributes that it has.
    pub attributes: Vec<u16>,
    /// Every slot of its templates, by name.
    pub slots: Arc<[Slot]>,
    /// Its components, by id.
    pub components: Arc<[Component]>,
    /// Its templates, one per size and format.
    pub variants: Arc<[Variant]>,
    /// Which components go together.
    pub pairing: Pairing,
    /// The slot whose value is where a click leads.
    pub landing_slot: Option<usize>,
    /// Whether any component picks products from a feed.
    pub picks: bool,
    /// Those of its combinations that exchanges review one by one.
    pub combinations: Arc<[Combination]>,
}

/// A slot of any of the templates.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name.
    pub name: SlotName,
    /// Positions of the components that may fill it.
    pub candidates: Vec<u32>,
}

/// A component that may be chosen.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its id.
    pub id: ComponentId,
    /// Stands for the id in hashes.
    pub hash: NameHash,
    /// Position of its slot.
    pub slot: usize,
    /// Share within its slot.
    pub weight: u32,
    /// Its language; none for every language.
    pub locale: Option<Locale>,
    /// First instant.
    pub start: Option<Millis>,
    /// The instant after the last.
    pub end: Option<Millis>,
    /// Whether it may be chosen at all.
    pub active: bool,
    /// To whom; none for everybody.
    pub condition: Option<Box<Condition>>,
    /// Its value as JSON.
    pub content: Content,
    /// A hash of its value.
    pub fingerprint: u64,
    /// Its value, where it is the address a click leads to.
    pub landing: Option<Box<str>>,
    /// Its value, where every decision picks products from a feed.
    pub picking: Option<Box<Picking>>,
    /// Its value, where it is a video.
    pub video: Option<Box<Video>>,
}

/// The creative in one size and format.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The template's id.
    pub id: TemplateId,
    /// What it renders.
    pub shape: Shape,
    /// The template.
    pub template: Arc<Template>,
    /// Whether it may show something that is not loaded into a safe page.
    pub insecure: bool,
    /// What may stand in each slot of the template, in its order.
    pub places: Vec<Place>,
}

/// What may stand in one slot of one template, escaped for it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Position of the slot in [`Creative::slots`].
    pub slot: usize,
    /// The slot's default.
    pub default: Prepared,
    /// The default as JSON.
    pub default_content: Content,
    /// A hash of the default.
    pub default_fingerprint: u64,
    /// The default, where it is the address a click leads to.
    pub default_landing: Option<Box<str>>,
    /// The components, in the order of [`Slot::candidates`].
    pub prepared: Vec<Prepared>,
    /// Values that are others here than in the creative's first template with the slot, by their
    /// positions in [`Slot::candidates`]: pictures in another size.
    pub resized: BTreeMap<u16, Content>,
}

/// The most components of a slot: a choice holds their positions in 16 bits.
pub const MOST_OF_A_SLOT: usize = 65_000;

/// One choice per slot of [`Creative::slots`]: a position in [`Slot::candidates`], or the default.
pub type Choice = [Option<u16>];

impl Creative {
    /// Reads a revision. Asset paths are made absolute under `public_url`; `known` has templates that were
    /// compiled before, and takes those that are compiled now.
    ///
    /// # Errors
    /// Everything that keeps it from being served, with pointers into the revision.
    pub fn compile(
        id: CreativeId,
        doc: &RevisionDoc,
        advertiser: Option<&AdvertiserDoc>,
        rules: &RuleSet,
        public_url: &str,
        known: &mut Templates,
    ) -> Result<Self, Vec<Violation>> {
        let mut faults = Violations::new();
        let templates = parse_templates(doc, public_url, known, &mut faults);
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
        let mut reader =
            Reader { doc, templates: &templates, advertiser, rules, public_url, landing_slot, faults: &mut faults };
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
            return Err(faults.into_vec());
        };
        faults.into_result()?;
        let lasting = NameHash::of(id.as_str());
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
        Ok(made)
    }
}

type Parsed = (TemplateId, Shape, Arc<Template>);

fn parse_templates(doc: &RevisionDoc, public_url: &str, known: &mut Templates, faults: &mut Violations) -> Vec<Parsed> {
    let mut parsed: Vec<Parsed> = Vec::new();
    for (at, id) in doc.creative.templates.iter().enumerate() {
        let pointer = format!("/creative/templates/{at}");
        let Some(template) = doc.templates.get(id) else {
            faults.push(pointer, "unknown_template", format!("there is no template {id}"));
            continue;
        };
        let shape = (template.format, template.size);
        if let Some((other, ..)) = parsed.iter().find(|(_, taken, _)| *taken == shape) {
            faults.push(pointer, "duplicate_size", format!("template {other} already has this format and size"));
            continue;
        }
        let under = format!("/templates/{}", token(id.as_str()));
        if let Some(template) = faults.keep(&under, known.parse(id, template, public_url)) {
            parsed.push((id.clone(), shape, template));
        }
    }
    if doc.creative.templates.is_empty() || doc.creative.templates.len() > 16 {
        faults.push("/creative/templates", "range", "must name 1 to 16 templates");
    }
    parsed
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
}

impl Reader<'_> {
    fn component(&mut self, id: &ComponentId, doc: &ComponentDoc, slots: &[Slot], pointer: &str) -> Option<Component> {
        let Some(slot) = slots.iter().position(|slot| slot.name == doc.slot) else {
            self.faults.push(format!("{pointer}/slot"), "unknown_slot", "no template of the creative has this slot");
            return None;
        };
        let condition = doc.targeting.as_ref().and_then(|targeting| {
            let bound = Targeting::parse(targeting).and_then(|node| self.rules.bind(&node));
            self.faults.keep(&format!("{pointer}/targeting"), bound).map(Box::new)
        });
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
        let landing = self.landing(slot, &content, &format!("{pointer}/value"));
        let content = Content::new(&content);
        Some(Component {
            hash: NameHash::of(id.as_str()),
            id: id.clone(),
            slot,
            weight: doc.weight,
            locale: doc.locale.clone(),
            start: flight.start,
            end: flight.end,
            active: doc.status == ComponentStatus::Active,
            condition,
            fingerprint: content.fingerprint(),
            content,
            landing,
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
            let landing = self.landing(slot, &content, &pointer);
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
                default_landing: landing,
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
    fn landing(&mut self, slot: usize, content: &Value, pointer: &str) -> Option<Box<str>> {
        let first = || content.pointer("/0/link")?.as_str();
        let url = content.as_str().or_else(first).filter(|_| self.landing_slot == Some(slot))?;
        match (self.advertiser, landing::parse(url)) {
            (_, Err(detail)) => self.faults.push(pointer, "invalid_url", detail),
            (Some(advertiser), Ok(host)) if !landing::allowed(advertiser, &host) => {
                self.faults.push(pointer, "landing_host_not_allowed", landing::refusal(advertiser, &host));
            }
            _ => {}
        }
        Some(url.into())
    }
}

/// Published creatives by id.
pub type Creatives = BTreeMap<CreativeId, Arc<Creative>>;
