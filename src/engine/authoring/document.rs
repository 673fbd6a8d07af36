//! Documents of every kind: read strictly, written canonically, and what each one names.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    domain::{
        audience::{
            model_document::ModelDoc,
            models::Models,
            node::Node,
            rule::{SegmentRule, Targeting},
        },
        catalog::{
            audit::AuditDoc,
            document::{
                AdvertiserDoc, CampaignDoc, PlacementDoc, PublicationDoc, PublicationStatus, RevisionDoc, SegmentDoc,
                WriteKeyDoc,
            },
            key::{DocumentKey, Kind},
        },
        creative::{ComponentDoc, CreativeDoc, Picking, TemplateDoc},
        ids::{
            AdvertiserId, CampaignId, ComponentId, CreativeId, ExchangeId, FeedId, IdError, ModelKey, PlacementId,
            SegmentKey, TemplateId, WriteKeyId,
        },
        products::FeedDoc,
    },
    ports::DocumentWrite,
    schema::{ReadError, Schemas},
};

/// Reads a document that an author wrote and writes it in its one canonical form: defaults
/// filled in, members in order.
///
/// # Errors
/// Every fault of its structure.
pub fn canonical(kind: Kind, schemas: &Schemas, bytes: &[u8]) -> Result<Value, ReadError> {
    fn via<T: DeserializeOwned + ToSchema + Serialize>(schemas: &Schemas, bytes: &[u8]) -> Result<Value, ReadError> {
        let doc: T = schemas.read_strict(bytes)?;
        // what was just read can be written
        Ok(serde_json::to_value(doc).unwrap_or_default())
    }
    match kind {
        Kind::Advertiser => via::<AdvertiserDoc>(schemas, bytes),
        Kind::Model => via::<ModelDoc>(schemas, bytes),
        Kind::Segment => via::<SegmentDoc>(schemas, bytes),
        Kind::Feed => via::<FeedDoc>(schemas, bytes),
        Kind::Template => via::<TemplateDoc>(schemas, bytes),
        Kind::Creative => via::<CreativeDoc>(schemas, bytes),
        Kind::Component => via::<ComponentDoc>(schemas, bytes),
        Kind::Audit => via::<AuditDoc>(schemas, bytes),
        Kind::Placement => via::<PlacementDoc>(schemas, bytes),
        Kind::Campaign => via::<CampaignDoc>(schemas, bytes),
        Kind::WriteKey => via::<WriteKeyDoc>(schemas, bytes),
        // made by publishing, never sent
        Kind::Revision | Kind::Publication => Ok(serde_json::from_slice(bytes).unwrap_or_default()),
    }
}

/// Whether a text may name a document of a kind.
///
/// # Errors
/// What is wrong with it.
pub fn check_id(kind: Kind, id: &str) -> Result<(), IdError> {
    match kind {
        Kind::Advertiser => id.parse::<AdvertiserId>().map(drop),
        Kind::Model => id.parse::<ModelKey>().map(drop),
        Kind::Segment => id.parse::<SegmentKey>().map(drop),
        Kind::Feed => id.parse::<FeedId>().map(drop),
        Kind::Template => id.parse::<TemplateId>().map(drop),
        Kind::Creative | Kind::Publication | Kind::Revision => id.parse::<CreativeId>().map(drop),
        Kind::Component => {
            let (creative, component) = id.split_once('/').unwrap_or((id, ""));
            creative.parse::<CreativeId>()?;
            component.parse::<ComponentId>().map(drop)
        }
        Kind::Audit => {
            let (creative, exchange) = id.split_once('/').unwrap_or((id, ""));
            creative.parse::<CreativeId>()?;
            exchange.parse::<ExchangeId>().map(drop)
        }
        Kind::Placement => id.parse::<PlacementId>().map(drop),
        Kind::Campaign => id.parse::<CampaignId>().map(drop),
        Kind::WriteKey => id.parse::<WriteKeyId>().map(drop),
    }
}

/// The documents that a document names, as far as it can be read. `models` tells which model
/// answers for the fifths of an event.
#[must_use]
pub fn references(key: &DocumentKey, body: &Value, models: &Models) -> Vec<DocumentKey> {
    let read = |refs: Option<Vec<DocumentKey>>| {
        let mut refs = refs.unwrap_or_default();
        refs.sort();
        refs.dedup();
        refs.retain(|other| other != key);
        refs
    };
    fn typed<T: DeserializeOwned>(body: &Value) -> Option<T> {
        serde_json::from_value(body.clone()).ok()
    }
    read(match key.kind {
        Kind::Advertiser | Kind::Model | Kind::Template | Kind::Revision | Kind::Publication | Kind::WriteKey => None,
        Kind::Segment => typed::<SegmentDoc>(body).map(|doc| segment_references(&doc, models)),
        Kind::Feed => {
            typed::<FeedDoc>(body).map(|doc| vec![DocumentKey::new(Kind::Advertiser, doc.advertiser.as_str())])
        }
        Kind::Creative => typed::<CreativeDoc>(body).map(|doc| {
            let templates = doc.templates.iter().map(|id| DocumentKey::new(Kind::Template, id.as_str()));
            templates.chain([DocumentKey::new(Kind::Advertiser, doc.advertiser.as_str())]).collect()
        }),
        Kind::Component => typed::<ComponentDoc>(body).map(|doc| {
            let creative = key.id.split('/').next().unwrap_or_default();
            let mut refs = targeting_references(doc.targeting.as_ref(), models);
            refs.push(DocumentKey::new(Kind::Creative, creative));
            refs.extend(picking_references(&doc));
            refs
        }),
        Kind::Audit => Some(vec![DocumentKey::new(Kind::Creative, key.id.split('/').next().unwrap_or_default())]),
        Kind::Placement => typed::<PlacementDoc>(body)
            .map(|doc| doc.house_creative.iter().map(|id| DocumentKey::new(Kind::Creative, id.as_str())).collect()),
        Kind::Campaign => typed::<CampaignDoc>(body).map(|doc| {
            let mut refs = targeting_references(doc.targeting.as_ref().map(|targeting| &targeting.0), models);
            refs.push(DocumentKey::new(Kind::Advertiser, doc.advertiser.as_str()));
            let creatives = doc.creatives.iter().chain(&doc.default_creative);
            refs.extend(creatives.map(|id| DocumentKey::new(Kind::Creative, id.as_str())));
            refs.extend(doc.placements.iter().map(|id| DocumentKey::new(Kind::Placement, id.as_str())));
            refs
        }),
    })
}

/// The documents that a publication of a revision needs for as long as it serves.
#[must_use]
pub fn revision_references(creative: &CreativeId, revision: &RevisionDoc, models: &Models) -> Vec<DocumentKey> {
    let targeting = revision.components.values().flat_map(|doc| targeting_references(doc.targeting.as_ref(), models));
    let mut refs: Vec<_> = targeting
        .chain(revision.components.values().flat_map(picking_references))
        .chain([
            DocumentKey::new(Kind::Creative, creative.as_str()),
            DocumentKey::new(Kind::Advertiser, revision.creative.advertiser.as_str()),
            DocumentKey::new(Kind::Revision, format!("{creative}/{}", revision.revision)),
        ])
        .collect();
    refs.sort();
    refs.dedup();
    refs
}

/// A creative that serves no more, and what its publication needs for as long as it may again.
#[must_use]
pub fn archived(creative: &str, publication: &PublicationDoc) -> DocumentWrite {
    let publication = PublicationDoc { status: PublicationStatus::Archived, ..publication.clone() };
    DocumentWrite {
        key: DocumentKey::new(Kind::Publication, creative),
        body: serde_json::to_value(&publication).ok(),
        refs: vec![
            DocumentKey::new(Kind::Creative, creative),
            DocumentKey::new(Kind::Revision, format!("{creative}/{}", publication.revision)),
        ],
    }
}

fn segment_references(doc: &SegmentDoc, models: &Models) -> Vec<DocumentKey> {
    let rule = SegmentRule::parse(&doc.rule.0).ok();
    rule.as_ref().and_then(SegmentRule::node).map(|node| named(node, models)).unwrap_or_default()
}

fn targeting_references(targeting: Option<&Value>, models: &Models) -> Vec<DocumentKey> {
    let node = targeting.and_then(|targeting| Targeting::parse(targeting).ok());
    node.map(|node| named(&node, models)).unwrap_or_default()
}

/// The feed that a component picks products from, and the segment whose favourites it picks.
fn picking_references(doc: &ComponentDoc) -> Vec<DocumentKey> {
    let Some(picking) = Picking::of(&doc.value) else { return Vec::new() };
    let feed = DocumentKey::new(Kind::Feed, picking.feed.as_str());
    let segment = picking.segment.map(|segment| DocumentKey::new(Kind::Segment, segment.as_str()));
    [feed].into_iter().chain(segment).collect()
}

/// The segments and models that a condition rests on.
fn named(node: &Node, models: &Models) -> Vec<DocumentKey> {
    let segments = node.referenced_segments().into_iter().map(|key| DocumentKey::new(Kind::Segment, key.as_str()));
    let models = models.named(node).into_iter().map(|key| DocumentKey::new(Kind::Model, key.as_str()));
    segments.chain(models).collect()
}
