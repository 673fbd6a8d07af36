//! The documents that a change touches or depends on, all of one catalogue version, and the
//! checks that need more than the document itself.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::pictures::Pictures;
use crate::domain::{
    audience::{
        compile::RuleSet,
        model_document::ModelDoc,
        models::Models,
        rule::{SegmentRule, Targeting},
    },
    catalog::{
        audit::AuditDoc,
        campaign::Campaign,
        compile::Source,
        creative::Creative,
        document::{AdvertiserDoc, CampaignDoc, PlacementDoc, RevisionDoc, SegmentDoc},
        key::{DocumentKey, Kind},
        landing,
        templates::Templates,
    },
    creative::{ComponentDoc, CreativeDoc, Picking, SlotSpec, SlotValue, Template, TemplateDoc, every_image_has_words},
    ids::{ComponentId, ModelKey, SegmentKey, SlotName},
    products::FeedDoc,
    values::Millis,
    violation::{Violation, Violations},
    webhook::Reach,
};

/// Documents by name.
#[derive(Debug, Default)]
pub struct Workspace {
    /// The catalogue version that they were read at.
    pub version: i64,
    /// The documents; `None`: looked for and not there.
    pub documents: BTreeMap<DocumentKey, Option<(i64, Value)>>,
    /// The account's segments, compiled.
    pub rules: Arc<RuleSet>,
    /// How far the addresses of feeds may lead.
    pub reach: Reach,
    /// The images that the documents name.
    pub pictures: Pictures,
    /// The highest number that a revision of a creative ever had, also of one that was deleted.
    pub numbers: BTreeMap<String, u32>,
}

impl Workspace {
    /// A document, typed.
    #[must_use]
    pub fn typed<T: DeserializeOwned>(&self, kind: Kind, id: &str) -> Option<T> {
        let (_, body) = self.documents.get(&DocumentKey::new(kind, id))?.as_ref()?;
        serde_json::from_value(body.clone()).ok()
    }

    /// Whether there is such a document.
    pub(super) fn has(&self, key: &DocumentKey) -> bool {
        matches!(self.documents.get(key), Some(Some(_)))
    }

    /// Puts a document in, as if it had been read.
    pub fn put(&mut self, key: DocumentKey, body: Value) {
        let version = self.version;
        self.documents.insert(key, Some((version, body)));
    }

    /// Documents of a kind whose id starts with `prefix`.
    pub fn of<'a>(&'a self, kind: Kind, prefix: &'a str) -> impl Iterator<Item = (&'a DocumentKey, &'a Value)> {
        let from = DocumentKey::new(kind, prefix);
        let some =
            self.documents.range(from..).take_while(move |(key, _)| key.kind == kind && key.id.starts_with(prefix));
        some.filter_map(|(key, document)| Some((key, &document.as_ref()?.1)))
    }

    /// Compiles the segments that are in the workspace, with its models.
    ///
    /// # Errors
    /// What is wrong with each that cannot be used, with pointers into its document.
    pub fn compile_rules(&mut self) -> Result<(), Vec<(DocumentKey, Violation)>> {
        let mut faults = Vec::new();
        let mut rules = Vec::new();
        for (key, body) in self.of(Kind::Segment, "") {
            let doc = serde_json::from_value::<SegmentDoc>(body.clone()).ok();
            let (Some(doc), Ok(name)) = (doc, key.id.parse::<SegmentKey>()) else { continue };
            match SegmentRule::parse(&doc.rule.0) {
                Ok(rule) => rules.push((name, rule)),
                Err(found) => faults.extend(found.into_iter().map(|fault| (key.clone(), fault.under("/rule")))),
            }
        }
        let models = self.of(Kind::Model, "").filter_map(|(key, body)| {
            Some((key.id.parse::<ModelKey>().ok()?, serde_json::from_value::<ModelDoc>(body.clone()).ok()?))
        });
        let models: Vec<_> = models.collect();
        let models = Arc::new(Models::of_documents(models.iter().map(|(key, document)| (key, document))));
        let given: Vec<_> = rules.iter().map(|(key, rule)| (key, Some(rule))).collect();
        let (compiled, refused) = RuleSet::with_gaps(&given, models);
        let refused = refused.into_iter();
        faults.extend(
            refused.map(|(name, fault)| (DocumentKey::new(Kind::Segment, name.as_str()), fault.under("/rule"))),
        );
        self.rules = Arc::new(compiled);
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Everything about a document that its own structure does not say.
    ///
    /// # Errors
    /// Every fault, with its pointer.
    pub fn check(&self, key: &DocumentKey, body: &Value) -> Result<(), Vec<Violation>> {
        match key.kind {
            Kind::Advertiser => self.read(body).and_then(|doc| check_advertiser(&doc)),
            Kind::Model => self.read(body).and_then(|doc| self.check_model(key, &doc)),
            Kind::Feed => self.read(body).and_then(|doc| self.check_feed(&doc)),
            Kind::Template => self.read(body).and_then(|doc: TemplateDoc| {
                let mut faults = Violations::new();
                faults.keep("", Template::parse(&doc));
                faults.keep("", every_image_has_words(&doc));
                faults.keep("", self.check_template_pictures(&doc));
                faults.into_result()
            }),
            Kind::Creative => self.read(body).and_then(|doc| self.check_creative(key, &doc)),
            Kind::Component => self.read(body).and_then(|doc| self.check_component(key, &doc)),
            Kind::Audit => self.read(body).and_then(|doc: AuditDoc| doc.check()),
            Kind::Placement => self.read(body).and_then(|doc| self.check_placement(&doc)),
            Kind::Campaign => self.read(body).and_then(|doc| self.check_campaign(key, &doc)),
            // segments are checked together, publications by compiling what they publish
            Kind::Segment | Kind::Revision | Kind::Publication => Ok(()),
            // its form says all there is to check
            Kind::WriteKey => Ok(()),
        }
    }

    /// What publishing a creative's draft would make.
    ///
    /// # Errors
    /// Everything that keeps it from being served.
    pub fn revision(
        &self,
        creative: &str,
        number: u32,
        now: Millis,
        public_url: &str,
    ) -> Result<(RevisionDoc, Creative), Vec<Violation>> {
        let gone = || vec![Violation::new("", "unknown_creative", format!("there is no creative {creative}"))];
        let doc = self.drafted(creative, number, now).ok_or_else(gone)?;
        let compiled = self.compiled(creative, &doc, public_url)?;
        Ok((doc, compiled))
    }

    /// A creative's draft with everything it uses, its images measured, as a revision that nobody has
    /// checked.
    pub(super) fn drafted(&self, creative: &str, revision: u32, published_at: Millis) -> Option<RevisionDoc> {
        let draft: CreativeDoc = self.typed(Kind::Creative, creative)?;
        let templates =
            draft.templates.iter().filter_map(|id| Some((id.clone(), self.typed(Kind::Template, id.as_str())?)));
        let prefix = format!("{creative}/");
        let components = self.of(Kind::Component, &prefix).filter_map(|(key, body)| {
            let id: ComponentId = key.id[prefix.len()..].parse().ok()?;
            Some((id, serde_json::from_value(body.clone()).ok()?))
        });
        let (templates, components) = (templates.collect(), components.collect());
        let combinations = Vec::new();
        Some(self.measured(RevisionDoc {
            revision,
            published_at,
            templates,
            components,
            creative: draft,
            combinations,
        }))
    }

    /// A revision whose images are measured, checked against the rest of the account.
    ///
    /// # Errors
    /// Everything that keeps it from being served.
    pub(super) fn compiled(
        &self,
        creative: &str,
        doc: &RevisionDoc,
        public_url: &str,
    ) -> Result<Creative, Vec<Violation>> {
        let id = creative.parse().map_err(|error| vec![Violation::new("", "invalid_id", format!("{error}"))])?;
        let advertiser: Option<AdvertiserDoc> = self.typed(Kind::Advertiser, doc.creative.advertiser.as_str());
        let mut faults = Violations::new();
        faults.keep("", self.check_pictures(doc));
        let (advertiser, rules, known) = (advertiser.as_ref(), &self.rules, &mut Templates::default());
        let compiled = Creative::compile(Source { id, doc, advertiser, rules, public_url, known });
        let compiled = faults.keep("", compiled);
        compiled.filter(|_| faults.is_empty()).ok_or_else(|| faults.into_vec())
    }

    fn read<T: DeserializeOwned>(&self, body: &Value) -> Result<T, Vec<Violation>> {
        serde_json::from_value(body.clone()).map_err(|error| vec![Violation::new("", "unreadable", error.to_string())])
    }

    /// Notes a reference that leads nowhere.
    fn exists(&self, faults: &mut Violations, pointer: String, kind: Kind, id: &str) {
        if !self.has(&DocumentKey::new(kind, id)) {
            faults.push(pointer, "unknown_reference", format!("there is no {kind} {id}"));
        }
    }

    fn check_creative(&self, key: &DocumentKey, doc: &CreativeDoc) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        for (campaign, body) in self.of(Kind::Campaign, "") {
            let Ok(campaign_doc) = serde_json::from_value::<CampaignDoc>(body.clone()) else { continue };
            let mut shown = campaign_doc.creatives.iter().chain(&campaign_doc.default_creative);
            if campaign_doc.advertiser != doc.advertiser && shown.any(|id| id.as_str() == key.id) {
                let detail = format!("{campaign} shows it and is of {}", campaign_doc.advertiser);
                faults.push("/advertiser", "other_advertiser", detail);
            }
        }
        self.exists(&mut faults, "/advertiser".into(), Kind::Advertiser, doc.advertiser.as_str());
        for (at, id) in doc.templates.iter().enumerate() {
            self.exists(&mut faults, format!("/templates/{at}"), Kind::Template, id.as_str());
        }
        let mut shapes: Vec<_> = Vec::new();
        for (at, id) in doc.templates.iter().enumerate() {
            let Some(template) = self.typed::<TemplateDoc>(Kind::Template, id.as_str()) else { continue };
            let shape = (template.format, template.size);
            if shapes.contains(&shape) {
                faults.push(format!("/templates/{at}"), "duplicate_size", "another template has this format and size");
            }
            shapes.push(shape);
        }
        faults.into_result()
    }

    fn check_component(&self, key: &DocumentKey, doc: &ComponentDoc) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        let creative = key.id.split('/').next().unwrap_or_default();
        let Some(draft) = self.typed::<CreativeDoc>(Kind::Creative, creative) else {
            faults.push("", "unknown_reference", format!("there is no creative {creative}"));
            return Err(faults.into_vec());
        };
        faults.keep("", self.slots_of(&draft).check(doc, &self.rules, &self.pictures));
        faults.keep("/value", self.check_picking(&draft, doc));
        faults.into_result()
    }

    /// What keeps a component of a draft from picking products where it wants to.
    pub(super) fn check_picking(&self, draft: &CreativeDoc, doc: &ComponentDoc) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        let Some(picking) = Picking::of(&doc.value) else { return Ok(()) };
        match self.typed::<FeedDoc>(Kind::Feed, picking.feed.as_str()) {
            None => self.exists(&mut faults, "/feed".into(), Kind::Feed, picking.feed.as_str()),
            Some(feed) if feed.advertiser != draft.advertiser => {
                let detail = format!("{} is of {}, not of {}", picking.feed, feed.advertiser, draft.advertiser);
                faults.push("/feed", "other_advertiser", detail);
            }
            Some(_) => {}
        }
        if let Some(segment) = picking.segment.filter(|segment| self.rules.ix(segment).is_none()) {
            faults.push("/segment", "unknown_reference", format!("there is no segment {segment}"));
        }
        faults.into_result()
    }

    fn check_feed(&self, doc: &FeedDoc) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        self.exists(&mut faults, "/advertiser".into(), Kind::Advertiser, doc.advertiser.as_str());
        faults.keep("", doc.check(self.reach));
        faults.into_result()
    }

    /// What components of a draft are checked with.
    pub(super) fn slots_of(&self, draft: &CreativeDoc) -> Slots {
        let templates: Vec<TemplateDoc> =
            draft.templates.iter().filter_map(|id| self.typed(Kind::Template, id.as_str())).collect();
        Slots::of(&templates)
    }

    fn check_model(&self, key: &DocumentKey, doc: &ModelDoc) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        faults.keep("", doc.check());
        let others = self.of(Kind::Model, "").filter(|(other, _)| *other != key);
        for (other, body) in others {
            if doc.rfm_event().is_some() && body.get("event").and_then(Value::as_str) == doc.rfm_event() {
                faults.push("/event", "duplicate_event", format!("{other} has cut points of this event already"));
            }
        }
        for (of, body) in self.of(Kind::Campaign, "").chain(self.of(Kind::Component, "")) {
            let node = body.get("targeting").and_then(|targeting| Targeting::parse(targeting).ok());
            if let Some(Err(found)) = node.map(|node| self.rules.bind(&node)) {
                let breaks =
                    |fault: Violation| Violation::new("", fault.code, format!("breaks {of}: {}", fault.detail));
                found.into_iter().map(breaks).for_each(|fault| faults.push(fault.pointer, fault.code, fault.detail));
            }
        }
        faults.into_result()
    }

    fn check_placement(&self, doc: &PlacementDoc) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        if let Some(id) = &doc.house_creative {
            self.exists(&mut faults, "/house_creative".into(), Kind::Creative, id.as_str());
        }
        if doc.sizes.is_empty() && doc.formats.contains(&crate::domain::values::Format::Html) {
            faults.push("/sizes", "required", "an html placement must name its sizes");
        }
        faults.into_result()
    }

    fn check_campaign(&self, key: &DocumentKey, doc: &CampaignDoc) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        let advertiser: Option<AdvertiserDoc> = self.typed(Kind::Advertiser, doc.advertiser.as_str());
        if let Ok(id) = key.id.parse() {
            faults.keep("", Campaign::compile(id, doc, advertiser.as_ref(), &self.rules));
        }
        let listed = doc.creatives.iter().enumerate().map(|(at, id)| (format!("/creatives/{at}"), id));
        let default = doc.default_creative.iter().map(|id| ("/default_creative".to_owned(), id));
        for (pointer, id) in listed.chain(default) {
            let creative: Option<CreativeDoc> = self.typed(Kind::Creative, id.as_str());
            if let Some(other) = creative.map(|creative| creative.advertiser).filter(|of| *of != doc.advertiser) {
                faults.push(pointer, "other_advertiser", format!("{id} is of {other}, not of {}", doc.advertiser));
            } else {
                self.exists(&mut faults, pointer, Kind::Creative, id.as_str());
            }
        }
        for (at, id) in doc.placements.iter().enumerate() {
            self.exists(&mut faults, format!("/placements/{at}"), Kind::Placement, id.as_str());
        }
        faults.into_result()
    }
}

/// The slots of a draft's templates, read once for however many components.
pub(super) struct Slots(Vec<Template>);

impl Slots {
    /// The slots of templates that can be read.
    pub(super) fn of<'a>(templates: impl IntoIterator<Item = &'a TemplateDoc>) -> Self {
        Self(templates.into_iter().filter_map(|template| Template::parse(template).ok()).collect())
    }

    /// What the slots of a name accept, in each template that has it.
    pub(super) fn named<'a>(&'a self, slot: &'a str) -> impl Iterator<Item = &'a SlotSpec> {
        self.0.iter().filter_map(move |template| Some(&template.slots()[template.slot_index(slot)?].spec))
    }

    /// Every slot.
    pub(super) fn all(&self) -> impl Iterator<Item = (&SlotName, &SlotSpec)> {
        self.0.iter().flat_map(|template| template.slots()).map(|slot| (&slot.name, &slot.spec))
    }

    /// What keeps a value from a slot, of the first template in whose slot it does not fit.
    pub(super) fn check_value(&self, slot: &str, value: &Value) -> Result<(), Vec<Violation>> {
        self.named(slot).try_for_each(|spec| SlotValue::parse(spec, value).map(drop))
    }

    /// What is wrong with the images that a value of a slot names, their sizes filled in.
    pub(super) fn check_pictures(&self, slot: &str, value: &Value, known: &Pictures) -> Result<(), Vec<Violation>> {
        let Some(spec) = self.named(slot).next() else { return Ok(()) };
        known.check(spec.kind, value)?;
        self.named(slot).try_for_each(|spec| known.weigh(spec, value))
    }

    /// Everything about a component that its own structure does not say.
    pub(super) fn check(&self, doc: &ComponentDoc, rules: &RuleSet, known: &Pictures) -> Result<(), Vec<Violation>> {
        let (mut faults, slot) = (Violations::new(), doc.slot.as_str());
        let mut value = Cow::Borrowed(&doc.value);
        if doc.value.get("src").is_some() {
            known.fill(value.to_mut());
        }
        faults.keep("/value", self.check_value(slot, &value));
        faults.keep("/value", self.check_pictures(slot, &value, known));
        if self.named(slot).next().is_none() {
            faults.push("/slot", "unknown_slot", "no template of the creative has this slot");
        }
        if let Some(targeting) = &doc.targeting {
            let bound = Targeting::parse(targeting).and_then(|node| rules.bind(&node));
            faults.keep("/targeting", bound);
        }
        if let Some((start, end)) = doc.flight.and_then(|flight| flight.start.zip(flight.end))
            && end <= start
        {
            faults.push("/flight/end", "empty_flight", "must be later than start");
        }
        faults.into_result()
    }
}

fn check_advertiser(doc: &AdvertiserDoc) -> Result<(), Vec<Violation>> {
    let mut faults = Violations::new();
    let mut host = |pointer: String, host: &str| {
        if !landing::valid_host(host) {
            faults.push(pointer, "invalid_host", "must be a host name such as shop.example.com");
        }
    };
    host("/domain".into(), &doc.domain);
    for (at, name) in doc.landing_hosts.iter().enumerate() {
        host(format!("/landing_hosts/{at}"), name);
    }
    faults.into_result()
}
