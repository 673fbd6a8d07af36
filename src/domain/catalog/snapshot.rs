//! The catalogue of an account, compiled once and then only read.
//!
//! A snapshot is made from the one before and the documents that changed. What did not change and
//! depends on nothing that did is shared with it, compiled as it was.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::Value;

use crate::domain::{
    audience::{
        activity::{StreamId, Streams},
        compile::{Condition, RuleSet, SegmentIx},
        model_document::ModelDoc,
        rule::SegmentRule,
    },
    catalog::{
        audit::AuditDoc,
        campaign::Campaign,
        creative::{Creative, Creatives},
        document::{AdvertiserDoc, CampaignStatus, PlacementDoc, WriteKeyDoc},
        index::{Index, Needs, Offer, Scratch},
        key::DocumentKey,
        listed::{Known, Listed},
        templates::Templates,
    },
    ids::{
        AdvertiserId, CampaignId, CreativeId, ExchangeId, FeedId, ModelKey, NameHash, PlacementId, SegmentKey,
        WriteKeyId,
    },
    products::{Feed, Stocks},
    values::{Format, Millis, Size},
    violation::Violation,
};

/// Everything an account may show, at one catalogue version.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The catalogue version.
    pub version: i64,
    /// Segments, compiled.
    pub rules: Arc<RuleSet>,
    /// What must be remembered of events, for segments, for targeting and to learn models.
    pub streams: Streams,
    /// Published creatives.
    pub creatives: Creatives,
    /// Registered placements.
    pub placements: HashMap<PlacementId, Placement>,
    /// What exchanges say of the ads of creatives.
    pub audits: BTreeMap<CreativeId, BTreeMap<ExchangeId, Arc<AuditDoc>>>,
    /// What of creatives is shown where combinations are reviewed one by one.
    pub listed: Listed,
    /// What web pages carry to send events.
    pub write_keys: HashMap<WriteKeyId, Arc<WriteKeyDoc>>,
    /// Catalogues of products.
    pub feeds: BTreeMap<FeedId, Arc<Feed>>,
    /// What those of them hold that published creatives show. Changes without a catalogue version.
    pub stocks: Arc<Stocks>,
    /// Feeds that published creatives show, with the segments whose favourites they show.
    pub shown_feeds: BTreeMap<FeedId, BTreeSet<SegmentKey>>,
    /// Campaigns in serving order: by priority, then by id.
    pub lines: Vec<Line>,
    /// What each line draws lots with, side by side: they are looked at far more often than lines.
    pub tickets: Vec<Ticket>,
    /// Lines that bid by themselves: active and with a budget.
    pub payers: Vec<usize>,
    /// Documents that could not be used, with what is wrong with them.
    pub faults: BTreeMap<DocumentKey, Vec<Violation>>,
    /// Publications that are used without some of their components or links, with what holds those back.
    pub held: BTreeMap<DocumentKey, Vec<Violation>>,
    pub(super) by_id: HashMap<CampaignId, usize>,
    /// By exclusive group the positions of its campaigns, in serving order.
    pub(super) groups: HashMap<Box<str>, Vec<usize>>,
    /// By creative the positions of the campaigns that list it, in serving order.
    pub(super) listing: HashMap<CreativeId, Vec<usize>>,
    pub(super) capped: bool,
    pub(super) index: Index,
    pub(super) built_at: Millis,
    pub(super) advertisers: BTreeMap<AdvertiserId, Arc<AdvertiserDoc>>,
    /// Models that can be used, trained or not.
    pub(super) models: BTreeMap<ModelKey, Arc<ModelDoc>>,
    /// Every segment there ever was, in the order of their positions; without a rule, it was
    /// deleted or cannot be read.
    pub(super) segments: Vec<(SegmentKey, Option<SegmentRule>)>,
    /// Bodies of the documents that name others, to compile them again when those change: as JSON, a tenth
    /// of the room of values.
    pub(super) sources: BTreeMap<DocumentKey, Arc<str>>,
    /// Templates of those of them that are revisions.
    pub(super) templates: Templates,
    pub(super) campaigns: BTreeMap<CampaignId, Arc<Campaign>>,
    pub(super) targeted: Arc<Targeted>,
}

/// What the targeting of campaigns and components asks about people: by a segment, and itself.
#[derive(Debug, Default)]
pub(super) struct Targeted {
    pub(super) segments: BTreeSet<SegmentIx>,
    pub(super) traits: BTreeSet<NameHash>,
    pub(super) streams: BTreeSet<StreamId>,
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
#[derive(Debug, Clone)]
pub struct Line {
    /// The campaign.
    pub campaign: Arc<Campaign>,
    /// Those of its creatives that are published.
    pub creatives: Vec<Arc<Creative>>,
    /// Its default creative, if that is published.
    pub default: Option<Arc<Creative>>,
}

/// What a campaign draws lots with.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// Stands for the campaign.
    pub hash: NameHash,
    /// Share within its tier.
    pub weight: u32,
    /// 1 is first.
    pub priority: u8,
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
            streams: Streams::default(),
            creatives: Creatives::new(),
            placements: HashMap::new(),
            audits: BTreeMap::new(),
            listed: Listed::default(),
            write_keys: HashMap::new(),
            feeds: BTreeMap::new(),
            stocks: Arc::default(),
            shown_feeds: BTreeMap::new(),
            lines: Vec::new(),
            tickets: Vec::new(),
            payers: Vec::new(),
            faults: BTreeMap::new(),
            held: BTreeMap::new(),
            by_id: HashMap::new(),
            groups: HashMap::new(),
            listing: HashMap::new(),
            capped: false,
            index: Index::build(&[]),
            built_at: Millis(i64::MIN),
            advertisers: BTreeMap::new(),
            models: BTreeMap::new(),
            segments: Vec::new(),
            sources: BTreeMap::new(),
            templates: Templates::default(),
            campaigns: BTreeMap::new(),
            targeted: Arc::default(),
        }
    }

    /// The same catalogue with other products in its feeds.
    #[must_use]
    pub fn with_stocks(&self, stocks: Arc<Stocks>) -> Self {
        let mut next = Self { stocks, ..self.clone() };
        next.list();
        next
    }

    /// Finds out what is shown where combinations are reviewed one by one.
    pub(super) fn list(&mut self) {
        self.listed = self.listed.evolve(Known {
            creatives: &self.creatives,
            audits: &self.audits,
            advertisers: &self.advertisers,
            feeds: &self.feeds,
            stocks: &self.stocks,
        });
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

    /// Every segment there ever was with its rule; without one, it was deleted or cannot be read.
    #[must_use]
    pub fn segments(&self) -> &[(SegmentKey, Option<SegmentRule>)] {
        &self.segments
    }

    /// An advertiser.
    #[must_use]
    pub fn advertiser(&self, id: &AdvertiserId) -> Option<&Arc<AdvertiserDoc>> {
        self.advertisers.get(id)
    }

    /// A model, trained or not.
    #[must_use]
    pub fn model(&self, key: &ModelKey) -> Option<&Arc<ModelDoc>> {
        self.models.get(key)
    }

    /// What must be remembered of events to answer segments and those that they name.
    #[must_use]
    pub fn streams_of(&self, segments: &[SegmentKey]) -> Streams {
        let (mut streams, mut waiting, mut seen) = (Streams::default(), segments.to_vec(), BTreeSet::new());
        while let Some(key) = waiting.pop() {
            let rule = self.segments.iter().find(|(of, _)| *of == key).and_then(|(_, rule)| rule.as_ref());
            let own = self.rules.ix(&key).map_or(&[][..], |ix| self.rules.own_streams(ix));
            if let Some(node) = rule.and_then(SegmentRule::node).filter(|_| seen.insert(key)) {
                streams.extend(own.iter().cloned());
                waiting.extend(node.referenced_segments().into_iter().cloned());
            }
        }
        streams
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

    /// The positions in [`Snapshot::lines`] of all campaigns of an exclusive group, in serving order.
    #[must_use]
    pub fn group(&self, name: &str) -> &[usize] {
        self.groups.get(name).map_or(&[], Vec::as_slice)
    }

    /// The positions in [`Snapshot::lines`] of all campaigns that list a creative, in serving order.
    #[must_use]
    pub fn listing(&self, creative: &CreativeId) -> &[usize] {
        self.listing.get(creative).map_or(&[], Vec::as_slice)
    }

    /// Segments that the targeting of campaigns and components names.
    #[must_use]
    pub fn targeted_segments(&self) -> &BTreeSet<SegmentIx> {
        &self.targeted.segments
    }

    /// Traits that the targeting of campaigns and components names itself, not by a segment.
    #[must_use]
    pub fn targeted_traits(&self) -> &BTreeSet<NameHash> {
        &self.targeted.traits
    }

    /// Streams that the targeting of campaigns and components needs itself, not by a segment.
    #[must_use]
    pub fn targeted_streams(&self) -> &BTreeSet<StreamId> {
        &self.targeted.streams
    }

    /// The targeting rules of campaigns and components.
    pub(crate) fn targeting(&self) -> impl Iterator<Item = &Condition> {
        let campaigns = self.lines.iter().filter_map(|line| line.campaign.condition.as_ref());
        let creatives = self.creatives.values().flat_map(|creative| creative.components.iter());
        campaigns.chain(creatives.filter_map(|component| component.condition.as_deref()))
    }
}

impl Line {
    /// What it needs before anything else matters; `None` when it cannot serve from `now` on.
    pub(super) fn needs(&self, now: Millis) -> Option<Needs> {
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
