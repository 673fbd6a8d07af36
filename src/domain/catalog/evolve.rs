//! From one snapshot to the next: what changed, and what depends on it, is compiled again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::{
    audience::{
        activity::{Stream, Streams},
        compile::{Condition, RuleSet, SegmentIx},
        model_document::ModelDoc,
        models::Models,
        rule::SegmentRule,
    },
    catalog::{
        audit::AuditDoc,
        campaign::Campaign,
        compile::Source,
        creative::Creative,
        document::{
            CampaignDoc, CampaignStatus, PlacementDoc, PublicationDoc, PublicationStatus, RevisionDoc, SegmentDoc,
            WriteKeyDoc,
        },
        index::{Index, Needs},
        key::{DocumentKey, Kind},
        snapshot::{Changed, Line, Placement, Snapshot, Targeted, Ticket},
    },
    ids::{AdvertiserId, CampaignId, CreativeId, ExchangeId, FeedId, ModelKey, PlacementId, SegmentKey, WriteKeyId},
    products::FeedDoc,
    values::Millis,
    violation::Violation,
};

/// What has to be compiled again.
#[derive(Default)]
struct Stale {
    segments: bool,
    models: bool,
    advertisers: Vec<AdvertiserId>,
    documents: BTreeSet<DocumentKey>,
}

impl Snapshot {
    /// The snapshot at `version`, which differs from this one by `changes`. A document that cannot be
    /// used is noted in `faults` and left out, a component of one in `held`; it never keeps the others
    /// from serving.
    #[must_use]
    pub fn evolve(&self, version: i64, changes: Vec<Changed>, public_url: &str, now: Millis) -> Self {
        let mut next = Self {
            version,
            rules: Arc::clone(&self.rules),
            streams: Streams::default(),
            creatives: self.creatives.clone(),
            placements: self.placements.clone(),
            audits: self.audits.clone(),
            listed: self.listed.clone(),
            write_keys: self.write_keys.clone(),
            feeds: self.feeds.clone(),
            stocks: Arc::clone(&self.stocks),
            shown_feeds: BTreeMap::new(),
            lines: Vec::new(),
            tickets: Vec::new(),
            payers: Vec::new(),
            faults: self.faults.clone(),
            held: self.held.clone(),
            by_id: HashMap::new(),
            groups: HashMap::new(),
            listing: HashMap::new(),
            capped: false,
            index: Index::build(&[]),
            built_at: now,
            advertisers: self.advertisers.clone(),
            models: self.models.clone(),
            segments: self.segments.clone(),
            sources: self.sources.clone(),
            templates: self.templates.clone(),
            campaigns: self.campaigns.clone(),
            targeted: Arc::default(),
        };
        let mut stale = next.take_in(changes);
        if stale.segments || stale.models {
            next.rebuild_rules(&mut stale);
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

    fn take_in(&mut self, changes: Vec<Changed>) -> Stale {
        let mut stale = Stale::default();
        for (key, body) in changes {
            self.faults.remove(&key);
            self.held.remove(&key);
            match key.kind {
                Kind::Model => {
                    stale.models = true;
                    self.take_model(&key, body);
                }
                Kind::Segment => {
                    stale.segments = true;
                    self.take_segment(&key, body);
                }
                Kind::Advertiser => {
                    if let Ok(id) = key.id.parse::<AdvertiserId>() {
                        match body.and_then(|body| self.read(&key, &body)) {
                            Some(doc) => self.advertisers.insert(id.clone(), Arc::new(doc)),
                            None => self.advertisers.remove(&id),
                        };
                        stale.advertisers.push(id);
                    }
                }
                Kind::Placement => {
                    if let Ok(id) = key.id.parse::<PlacementId>() {
                        match body.and_then(|body| self.read::<PlacementDoc>(&key, &body)) {
                            Some(doc) => self.placements.insert(id, Placement::from(doc)),
                            None => self.placements.remove(&id),
                        };
                    }
                }
                Kind::Audit => self.take_audit(&key, body),
                Kind::Feed => {
                    if let Ok(id) = key.id.parse::<FeedId>() {
                        match body.and_then(|body| self.read::<FeedDoc>(&key, &body)) {
                            Some(doc) => self.feeds.insert(id, Arc::new(doc.into())),
                            None => self.feeds.remove(&id),
                        };
                    }
                }
                Kind::WriteKey => {
                    if let Ok(id) = key.id.parse::<WriteKeyId>() {
                        match body.and_then(|body| self.read::<WriteKeyDoc>(&key, &body)) {
                            Some(doc) => self.write_keys.insert(id, Arc::new(doc)),
                            None => self.write_keys.remove(&id),
                        };
                    }
                }
                Kind::Revision => {
                    if let Some((creative, _)) = key.id.rsplit_once('/') {
                        stale.documents.insert(DocumentKey::new(Kind::Publication, creative));
                    }
                    self.keep(key, body);
                }
                Kind::Publication | Kind::Campaign => {
                    stale.documents.insert(key.clone());
                    self.keep(key, body);
                }
                // drafts serve nothing
                Kind::Template | Kind::Creative | Kind::Component => {}
            }
        }
        stale
    }

    fn keep(&mut self, key: DocumentKey, body: Option<Value>) {
        match body {
            Some(body) => self.sources.insert(key, body.to_string().into()),
            None => self.sources.remove(&key),
        };
    }

    fn take_model(&mut self, key: &DocumentKey, body: Option<Value>) {
        let Ok(name) = key.id.parse::<ModelKey>() else { return };
        let document = body.and_then(|body| self.read::<ModelDoc>(key, &body));
        let sound = document.and_then(|document| match document.check() {
            Ok(()) => Some(document),
            Err(faults) => {
                self.fault(key, faults);
                None
            }
        });
        match sound {
            Some(document) => self.models.insert(name, Arc::new(document)),
            None => self.models.remove(&name),
        };
    }

    fn take_audit(&mut self, key: &DocumentKey, body: Option<Value>) {
        let Some((creative, exchange)) = key.id.split_once('/') else { return };
        let (Ok(creative), Ok(exchange)) = (creative.parse::<CreativeId>(), exchange.parse::<ExchangeId>()) else {
            return;
        };
        // what cannot be read approves nothing
        let doc = body.and_then(|body| self.read::<AuditDoc>(key, &body));
        let known = self.audits.entry(creative.clone()).or_default();
        match doc {
            Some(doc) => known.insert(exchange, Arc::new(doc)),
            None => known.remove(&exchange),
        };
        if known.is_empty() {
            self.audits.remove(&creative);
        }
    }

    fn take_segment(&mut self, key: &DocumentKey, body: Option<Value>) {
        let Ok(name) = key.id.parse::<SegmentKey>() else { return };
        let rule = body.and_then(|body| self.read::<SegmentDoc>(key, &body)).and_then(|doc| {
            let parsed = SegmentRule::parse(&doc.rule.0);
            parsed.map_err(|faults| self.fault(key, faults)).ok()
        });
        // A deleted or faulty segment keeps its place: positions never move, so that conditions
        // bound to them stay bound.
        match self.segments.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = rule,
            None => self.segments.push((name, rule)),
        }
    }

    /// Compiles every segment, and notes the documents whose references mean something else now.
    fn rebuild_rules(&mut self, stale: &mut Stale) {
        let models = if stale.models {
            Arc::new(Models::of_documents(self.models.iter().map(|(key, document)| (key, &**document))))
        } else {
            Arc::clone(self.rules.models())
        };
        let given: Vec<_> = self.segments.iter().map(|(name, rule)| (name, rule.as_ref())).collect();
        let (rules, faults) = RuleSet::with_gaps(&given, models);
        for (name, _) in self.segments.iter().filter(|(_, rule)| rule.is_some()) {
            self.faults.remove(&DocumentKey::new(Kind::Segment, name.as_str()));
        }
        for (name, fault) in faults {
            self.faults.entry(DocumentKey::new(Kind::Segment, name.as_str())).or_default().push(fault);
        }
        let kind = |rules: &RuleSet, name| rules.ix(name).map(|ix| rules.kind(ix));
        let turned =
            self.segments.iter().zip(0..).filter(|((name, _), _)| kind(&rules, name) != kind(&self.rules, name));
        let turned: HashSet<SegmentIx> = turned.map(|(_, at)| SegmentIx(at)).collect();
        self.rules = Arc::new(rules);
        stale.documents.extend(self.unbound());
        let learned = stale.models;
        let names = |condition: &Condition| {
            learned && condition.names_models() || condition.segments().iter().any(|ix| turned.contains(ix))
        };
        let campaigns = self.campaigns.values().filter(|campaign| campaign.condition.as_ref().is_some_and(names));
        stale.documents.extend(campaigns.map(|campaign| DocumentKey::new(Kind::Campaign, campaign.id.as_str())));
        let creatives = self.creatives.values().filter(|creative| {
            creative.components.iter().filter_map(|component| component.condition.as_deref()).any(names)
        });
        stale.documents.extend(creatives.map(|creative| DocumentKey::new(Kind::Publication, creative.id.as_str())));
    }

    /// Adds the documents that name a changed advertiser.
    fn note_dependants(&self, stale: &mut Stale) {
        if stale.advertisers.is_empty() {
            return;
        }
        let changed = &stale.advertisers;
        let campaigns = self.campaigns.values().filter(|campaign| changed.contains(&campaign.advertiser));
        let campaigns = campaigns.map(|campaign| DocumentKey::new(Kind::Campaign, campaign.id.as_str()));
        let creatives = self.creatives.values().filter(|creative| changed.contains(&creative.advertiser));
        let creatives = creatives.map(|creative| DocumentKey::new(Kind::Publication, creative.id.as_str()));
        stale.documents.extend(campaigns.chain(creatives).chain(self.unbound()));
    }

    /// What could not be used, or not whole, and may be once what it names has changed.
    fn unbound(&self) -> impl Iterator<Item = DocumentKey> {
        let unused = self.faults.keys().filter(|key| matches!(key.kind, Kind::Publication | Kind::Campaign));
        unused.chain(self.held.keys()).cloned()
    }

    fn compile_creative(&mut self, key: &DocumentKey, public_url: &str) {
        let Ok(id) = key.id.parse::<CreativeId>() else { return };
        self.creatives.remove(&id);
        self.faults.remove(key);
        self.held.remove(key);
        let Some(publication) = self.sources.get(key).cloned() else { return };
        let Some(publication) = self.read_again::<PublicationDoc>(key, &publication) else { return };
        if publication.status == PublicationStatus::Archived {
            return;
        }
        let revision = DocumentKey::new(Kind::Revision, format!("{id}/{}", publication.revision));
        let Some(body) = self.sources.get(&revision).cloned() else {
            let fault = Violation::new("/revision", "unknown_revision", "there is no such revision");
            self.fault(key, vec![fault]);
            return;
        };
        let Some(doc) = self.read_again::<RevisionDoc>(key, &body) else { return };
        let advertiser = self.advertisers.get(&doc.creative.advertiser).map(Arc::as_ref);
        let (rules, known) = (&self.rules, &mut self.templates);
        match Creative::published(Source { id: id.clone(), doc: &doc, advertiser, rules, public_url, known }) {
            Ok((creative, held)) => {
                self.creatives.insert(id, Arc::new(creative));
                if !held.is_empty() {
                    self.held.insert(key.clone(), held);
                }
            }
            Err(faults) => self.fault(key, faults),
        }
    }

    fn compile_campaign(&mut self, key: &DocumentKey) {
        let Ok(id) = key.id.parse::<CampaignId>() else { return };
        self.campaigns.remove(&id);
        self.faults.remove(key);
        let Some(body) = self.sources.get(key).cloned() else { return };
        let Some(doc) = self.read_again::<CampaignDoc>(key, &body) else { return };
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
        for (at, line) in lines.iter().enumerate() {
            if let Some(group) = &line.campaign.exclusive_group {
                self.groups.entry(group.clone()).or_default().push(at);
            }
            for creative in &line.campaign.creatives {
                let listing = self.listing.entry(creative.clone()).or_default();
                if listing.last() != Some(&at) {
                    listing.push(at);
                }
            }
        }
        self.capped = lines.iter().any(|line| !line.campaign.caps.is_empty());
        let ticket = |line: &Line| {
            let Campaign { hash, weight, priority, .. } = *line.campaign;
            Ticket { hash, weight, priority }
        };
        self.tickets = lines.iter().map(ticket).collect();
        let pays = |line: &Line| line.campaign.budget.is_some() && line.campaign.status == CampaignStatus::Active;
        self.payers = lines.iter().enumerate().filter(|(_, line)| pays(line)).map(|(at, _)| at).collect();
        self.lines = lines;
        self.list();
        let (mut targeted, mut streams) = (Targeted::default(), self.rules.streams().clone());
        for condition in self.targeting() {
            targeted.segments.extend(condition.segments());
            targeted.traits.extend(condition.traits());
            targeted.streams.extend(condition.streams().iter().map(Stream::id));
            streams.extend(condition.streams().iter().cloned());
        }
        self.targeted = Arc::new(targeted);
        streams.extend(self.models.values().flat_map(|model| model.streams()));
        for picking in self.creatives.values().flat_map(|creative| creative.pickings()) {
            let segments = self.shown_feeds.entry(picking.feed.clone()).or_default();
            segments.extend(picking.segment.clone());
        }
        let shown = self.shown_feeds.keys().filter_map(|id| self.feeds.get(id));
        streams.extend(shown.flat_map(|feed| feed.streams.all()).cloned());
        self.streams = streams;
    }

    fn read<T: DeserializeOwned>(&mut self, key: &DocumentKey, body: &Value) -> Option<T> {
        let read = T::deserialize(body);
        self.sound(key, read)
    }

    fn read_again<T: DeserializeOwned>(&mut self, key: &DocumentKey, source: &str) -> Option<T> {
        let read = serde_json::from_str(source);
        self.sound(key, read)
    }

    fn sound<T>(&mut self, key: &DocumentKey, read: Result<T, serde_json::Error>) -> Option<T> {
        match read {
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
