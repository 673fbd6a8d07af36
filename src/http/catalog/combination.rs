//! One combination in one template, as it travels.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    domain::{
        catalog::audit::{AuditDoc, AuditState, revision_crid},
        decision::assemble::crid,
        ids::ExchangeId,
        values::{Format, Size},
        violation::Violation,
    },
    engine::authoring::proof::{Proof, Rendered},
};

/// What exchanges say of the ads of a creative.
pub(super) type Audits = BTreeMap<ExchangeId, Arc<AuditDoc>>;

/// A combination in one template.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CombinationItem {
    /// Names the combination in decisions and reports: the same for the same revision and choice.
    pub(super) combination_id: String,
    /// Names the content: the same for the same values in the same template.
    crid: String,
    /// Names the revision in this size, as bids do unless the setting `openrtb.crid` is `combination`.
    revision_crid: String,
    /// What exchanges say of it, by either name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, AuditState>)]
    audit: BTreeMap<ExchangeId, AuditState>,
    /// What the markup is.
    pub(super) format: Format,
    /// The size, where the template or the query has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<Size>,
    /// Per slot the component; `null` for the default.
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    pub(super) components: BTreeMap<String, Option<String>>,
    /// Per slot its value.
    #[schema(value_type = BTreeMap<String, Value>)]
    content: Map<String, Value>,
    /// What would be sent. Its beacons are marked as a preview's and never counted.
    pub(super) markup: String,
    /// What to look at before publishing: estimated without a browser.
    pub(super) lint: Vec<Violation>,
}

impl CombinationItem {
    /// How it travels.
    pub(super) fn of(proof: &Proof, audits: &Audits, rendered: Rendered) -> Self {
        let (mut components, mut content) = (BTreeMap::new(), Map::new());
        for (slot, component, value) in rendered.contents() {
            components.insert(slot.to_owned(), component.map(str::to_owned));
            content.insert(slot.to_owned(), serde_json::from_str(value).unwrap_or_default());
        }
        let shown = rendered.item.shown.as_ref();
        let format = shown.map_or(Format::Html, |showing| proof.creative.variants[showing.variant].shape.0);
        let size = shown.and_then(|showing| showing.size);
        let revision_crid = revision_crid(&proof.creative, format, size);
        let crid = shown.map_or_else(String::new, crid);
        let said = |doc: &AuditDoc| doc.crids.get(&crid).or_else(|| doc.crids.get(&revision_crid)).cloned();
        let audit = audits.iter().filter_map(|(exchange, doc)| Some((exchange.clone(), said(doc)?))).collect();
        Self {
            combination_id: format!("{:016x}", rendered.assembled.combination),
            crid,
            revision_crid,
            audit,
            format,
            size,
            components,
            content,
            markup: rendered.assembled.markup,
            lint: rendered.lint,
        }
    }
}
