//! The catalogue of an account, compiled once and then only read.
//!
//! A snapshot is made from the one before and the documents that changed. What did not change and
//! depends on nothing that did is shared with it, compiled as it was.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::{
    audience::{
        compile::{RuleSet, SegmentIx},
        rule::SegmentRule,
    },
    catalog::{
        campaign::Campaign,
        creative::{Creative, Creatives},
        document::{
            AdvertiserDoc, CampaignDoc, CampaignStatus, PlacementDoc, PublicationDoc, PublicationStatus, RevisionDoc,
            SegmentDoc,
        },
        index::{Index, Needs, Offer, Scratch},
        key::{DocumentKey, Kind},
    },
    ids::{AdvertiserId, CampaignId, CreativeId, NameHash, PlacementId, SegmentKey},
    values::{Format, Millis, Size},
    violation::Violation,
};

/// Everything an account may show, at one catalogue version.
#[derive(Debug)]
pub struct Snapshot {
    /// The catalogue version.
    pub version: i64,
    /// Segments, compiled.
    pub rules: Arc<RuleSet>,
    /// Published creatives.
    pub creatives: Creatives,
    /// Registered placements.
    pub placements: HashMap<PlacementId, Placement>,
    /// Campaigns in serving order: by priority, then by id.
    pub lines: Vec<Line>,
    /// Documents that could not be used, with what is wrong with them.
    pub faults: BTreeMap<DocumentKey, Vec<Violation>>,
    by_id: HashMap<CampaignId, usize>,
    capped: bool,
    index: Index,
    built_at: Millis,
    advertisers: BTreeMap<AdvertiserId, Arc<AdvertiserDoc>>,
    segments: Vec<(SegmentKey, SegmentRule)>,
    /// Bodies of the documents that name others, to compile them again when those change.
    sources: BTreeMap<DocumentKey, Arc<Value>>,
    campaigns: BTreeMap<CampaignId, Arc<Campaign>>,
}

/// A registered placement.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Sizes it shows.
    pub sizes: Vec<Size>,
    /// Formats it shows.
    pub formats: Vec<Format>,
    /// Shown when no campaign may be.
    pub house: Option<CreativeId>,
}

/// A campaign with what it shows.
#[derive(Debug)]
pub struct Line {
    /// The campaign.
    pub campaign: Arc<Campaign>,
    /// Those of its creatives that are published.
    pub creatives: Vec<Arc<Creative>>,
    /// Its default creative, if that is published.
    pub default: Option<Arc<Creative>>,
}

/// A document and its body; no body: it was deleted.
pub type Changed = (DocumentKey, Option<Value>);

impl Snapshot {
    /// The snapshot of an account that has nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            version: 0,
            rules: Arc::new(RuleSet::build(&[]).0),
            creatives: Creatives::new(),
            placements: HashMap::new(),
            lines: Vec::new(),
            faults: BTreeMap::new(),
            by_id: HashMap::new(),
            capped: false,
            index: Index::build(&[]),
            built_at: Millis(i64::MIN),
            advertisers: BTreeMap::new(),
            segments: Vec::new(),
            sources: BTreeMap::new(),
            campaigns: BTreeMap::new(),
        }
    }

    /// The snapshot at `version`, which differs from this one by `changes`. One document that
    /// cannot be used is noted in `faults` and left out; it never keeps the others from serving.
    #[must_use]
    pub fn evolve(&self, version: i64, changes: Vec<Changed>, public_url: &str, now: Millis) -> Self {
        let mut next = Self {
            version,
            rules: Arc::clone(&self.rules),
            creatives: self.creatives.clone(),
            placements: self.placements.clone(),
            lines: Vec::new(),
            faults: self.faults.clone(),
            by_id: HashMap::new(),
            capped: false,
            index: Index::build(&[]),
            built_at: now,
            advertisers: self.advertisers.clone(),
            segments: self.segments.clone(),
            sources: self.sources.clone(),
            campaigns: self.campaigns.clone(),
        };
        let mut stale = next.take_in(changes);
        if stale.segments {
            next.rebuild_rules();
            // what could not be bound before may be bound now
            let unbound = next.faults.keys().filter(|key| matches!(key.kind, Kind::Publication | Kind::Campaign));
            stale.documents.extend(unbound.cloned());
        }
        next.note_dependants(&mut stale);
        for key in stale.documents.iter().filter(|key| key.kind == Kind::Publication) {
            next.compile_creative(key, public_url);
        }
        for key in stale.documents.iter().filter(|key| key.kind == Kind::Campaign) {
            next.compile_campaign(key);
        }
        next.link();
        next
    }

    /// Campaigns that may serve an offer, in serving order; a superset of the eligible ones.
    /// Campaigns that had ended when the snapshot was built are left out.
    pub fn candidates<'s>(
        &self,
        offer: &Offer<'_>,
        scratch: &'s mut Scratch,
        is_member: impl FnMut(SegmentIx) -> bool,
    ) -> impl Iterator<Item = usize> + 's {
        self.index.candidates(offer, scratch, is_member)
    }

    /// Whether [`Snapshot::candidates`] is a superset of the eligible campaigns at this time too.
    #[must_use]
    pub fn index_holds_at(&self, now: Millis) -> bool {
        now >= self.built_at
    }

    /// Whether any campaign has frequency caps.
    #[must_use]
    pub fn has_caps(&self) -> bool {
        self.capped
    }

    /// A campaign's position in [`Snapshot::lines`].
    #[must_use]
    pub fn line(&self, id: &CampaignId) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Traits that the targeting of campaigns and components names itself, not by a segment.
    pub fn targeted_traits(&self) -> impl Iterator<Item = NameHash> {
        let campaigns = self.lines.iter().filter_map(|line| line.campaign.condition.as_ref());
        let creatives = self.creatives.values().flat_map(|creative| &creative.components);
        let components = creatives.filter_map(|component| component.condition.as_ref());
        campaigns.chain(components).flat_map(|condition| condition.traits().iter().copied())
    }

    fn take_in(&mut self, changes: Vec<Changed>) -> Stale {
        let mut stale = Stale::default();
        for (key, body) in changes {
            self.faults.remove(&key);
            match key.kind {
                Kind::Segment => {
                    stale.segments = true;
                    self.take_segment(&key, body);
                }
                Kind::Advertiser => {
                    if let Ok(id) = key.id.parse::<AdvertiserId>() {
                        match body.and_then(|body| self.read(&key, body)) {
                            Some(doc) => self.advertisers.insert(id.clone(), Arc::new(doc)),
                            None => self.advertisers.remove(&id),
                        };
                        stale.advertisers.push(id);
                    }
                }
                Kind::Placement => {
                    if let Ok(id) = key.id.parse::<PlacementId>() {
                        match body.and_then(|body| self.read::<PlacementDoc>(&key, body)) {
                            Some(doc) => self.placements.insert(id, Placement::from(doc)),
                            None => self.placements.remove(&id),
                        };
                    }
                }
                Kind::Revision => {
                    match body {
                        Some(body) => self.sources.insert(key, Arc::new(body)),
                        None => self.sources.remove(&key),
                    };
                }
                Kind::Publication | Kind::Campaign => {
                    match body {
                        Some(body) => self.sources.insert(key.clone(), Arc::new(body)),
                        None => self.sources.remove(&key),
                    };
                    stale.documents.push(key);
                }
                // drafts serve nothing
                Kind::Template | Kind::Creative | Kind::Component => {}
            }
        }
        stale
    }

    fn take_segment(&mut self, key: &DocumentKey, body: Option<Value>) {
        let Ok(name) = key.id.parse::<SegmentKey>() else { return };
        let rule = body.and_then(|body| self.read::<SegmentDoc>(key, body)).and_then(|doc| {
            let parsed = SegmentRule::parse(&doc.rule.0);
            parsed.map_err(|faults| self.fault(key, faults)).ok()
        });
        // A deleted or faulty segment keeps its place with nobody in it: positions never move, so
        // that conditions bound to them stay bound.
        let rule = rule.unwrap_or(SegmentRule::Static);
        match self.segments.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = rule,
            None => self.segments.push((name, rule)),
        }
    }

    fn rebuild_rules(&mut self) {
        let (rules, faults) = RuleSet::build(&self.segments);
        for (name, fault) in faults {
            self.fault(&DocumentKey::new(Kind::Segment, name.as_str()), vec![fault]);
        }
        self.rules = Arc::new(rules);
    }

    /// Adds the documents that name a changed advertiser.
    fn note_dependants(&self, stale: &mut Stale) {
        if stale.advertisers.is_empty() {
            return;
        }
        for (key, body) in &self.sources {
            let advertiser = match key.kind {
                Kind::Campaign => body.get("advertiser"),
                Kind::Publication => {
                    self.revision_of(key).and_then(|body| body.get("creative")).and_then(|c| c.get("advertiser"))
                }
                _ => None,
            };
            let named = advertiser.and_then(Value::as_str);
            if named.is_some_and(|named| stale.advertisers.iter().any(|id| id.as_str() == named)) {
                stale.documents.push(key.clone());
            }
        }
    }

    fn revision_of(&self, publication: &DocumentKey) -> Option<&Arc<Value>> {
        let number = self.sources.get(publication)?.get("revision")?.as_u64()?;
        self.sources.get(&DocumentKey::new(Kind::Revision, format!("{}/{number}", publication.id)))
    }

    fn compile_creative(&mut self, key: &DocumentKey, public_url: &str) {
        let Ok(id) = key.id.parse::<CreativeId>() else { return };
        self.creatives.remove(&id);
        self.faults.remove(key);
        let Some(publication) = self.sources.get(key).cloned() else { return };
        let Some(publication) = self.read::<PublicationDoc>(key, (*publication).clone()) else { return };
        if publication.status == PublicationStatus::Archived {
            return;
        }
        let Some(body) = self.revision_of(key).cloned() else {
            let fault = Violation::new("/revision", "unknown_revision", "there is no such revision");
            self.fault(key, vec![fault]);
            return;
        };
        let Some(doc) = self.read::<RevisionDoc>(key, (*body).clone()) else { return };
        let advertiser = self.advertisers.get(&doc.creative.advertiser).map(Arc::as_ref);
        match Creative::compile(id.clone(), &doc, advertiser, &self.rules, public_url) {
            Ok(creative) => {
                self.creatives.insert(id, Arc::new(creative));
            }
            Err(faults) => self.fault(key, faults),
        }
    }

    fn compile_campaign(&mut self, key: &DocumentKey) {
        let Ok(id) = key.id.parse::<CampaignId>() else { return };
        self.campaigns.remove(&id);
        self.faults.remove(key);
        let Some(body) = self.sources.get(key).cloned() else { return };
        let Some(doc) = self.read::<CampaignDoc>(key, (*body).clone()) else { return };
        let advertiser = self.advertisers.get(&doc.advertiser).map(Arc::as_ref);
        match Campaign::compile(id.clone(), &doc, advertiser, &self.rules) {
            Ok(campaign) => {
                self.campaigns.insert(id, Arc::new(campaign));
            }
            Err(faults) => self.fault(key, faults),
        }
    }

    /// Puts campaigns in serving order beside their creatives, and indexes them.
    fn link(&mut self) {
        let published = |id: &CreativeId| self.creatives.get(id).cloned();
        let mut lines: Vec<Line> = self
            .campaigns
            .values()
            .map(|campaign| Line {
                creatives: campaign.creatives.iter().filter_map(published).collect(),
                default: campaign.default_creative.as_ref().and_then(published),
                campaign: Arc::clone(campaign),
            })
            .collect();
        lines.sort_by(|a, b| (a.campaign.priority, &a.campaign.id).cmp(&(b.campaign.priority, &b.campaign.id)));
        let needs: Vec<Option<Needs>> = lines.iter().map(|line| line.needs(self.built_at)).collect();
        self.index = Index::build(&needs);
        self.by_id = lines.iter().enumerate().map(|(at, line)| (line.campaign.id.clone(), at)).collect();
        self.capped = lines.iter().any(|line| !line.campaign.caps.is_empty());
        self.lines = lines;
    }

    fn read<T: DeserializeOwned>(&mut self, key: &DocumentKey, body: Value) -> Option<T> {
        match serde_json::from_value(body) {
            Ok(doc) => Some(doc),
            Err(error) => {
                self.fault(key, vec![Violation::new("", "unreadable", error.to_string())]);
                None
            }
        }
    }

    fn fault(&mut self, key: &DocumentKey, faults: Vec<Violation>) {
        self.faults.insert(key.clone(), faults);
    }
}

/// What has to be compiled again.
#[derive(Default)]
struct Stale {
    segments: bool,
    advertisers: Vec<AdvertiserId>,
    documents: Vec<DocumentKey>,
}

impl Line {
    /// What it needs before anything else matters; `None` when it cannot serve from `now` on.
    fn needs(&self, now: Millis) -> Option<Needs> {
        let campaign = &self.campaign;
        if campaign.status != CampaignStatus::Active || campaign.flight.end().is_some_and(|end| end <= now) {
            return None;
        }
        let required = campaign.condition.as_ref().map(|condition| condition.required().clone()).unwrap_or_default();
        let impossible = required.countries.as_ref().is_some_and(Vec::is_empty)
            || required.devices.as_ref().is_some_and(Vec::is_empty)
            || required.segments.iter().any(Vec::is_empty);
        if impossible {
            return None;
        }
        let mut shapes: Vec<_> = self.creatives.iter().flat_map(|creative| creative.shapes()).collect();
        shapes.sort_unstable();
        shapes.dedup();
        Some(Needs {
            placements: campaign.placements.clone(),
            shapes,
            countries: required.countries.unwrap_or_default(),
            devices: required.devices.unwrap_or_default().iter().map(|device| device.as_str().into()).collect(),
            segments: required.segments.into_iter().min_by_key(Vec::len).unwrap_or_default(),
        })
    }
}

impl From<PlacementDoc> for Placement {
    fn from(doc: PlacementDoc) -> Self {
        Self { sizes: doc.sizes, formats: doc.formats, house: doc.house_creative }
    }
}
