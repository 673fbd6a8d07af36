//! Combinations of a revision that exchanges review one by one, as they are kept and as they are read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    catalog::content::Content,
    creative::SlotValue,
    ids::{ComponentId, NameHash, SlotName, TemplateId},
};

/// One combination of a revision in one of its templates, as it was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CombinationDoc {
    /// Names its content, as bids do.
    pub crid: String,
    /// The template.
    pub template: TemplateId,
    /// Per slot of the template the component; a slot that is left out shows its default.
    #[schema(value_type = BTreeMap<String, String>)]
    pub components: BTreeMap<SlotName, ComponentId>,
    /// Per slot that a component fills from a feed the products that it shows, whatever the feed holds later.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Value>)]
    pub values: BTreeMap<SlotName, Value>,
}

/// A combination, read for its revision.
#[derive(Debug, Clone)]
pub struct Combination {
    /// Names its content.
    pub crid: Box<str>,
    /// Position of the template among the creative's variants.
    pub variant: usize,
    /// Per slot of the creative the component by its position, or [`crate::domain::creative::Pairing::DEFAULT`], also where the template
    /// has no such slot.
    pub options: Box<[u32]>,
    /// What its components show of feeds.
    pub frozen: Vec<Frozen>,
}

/// Products that a component shows, whatever its feed holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Frozen {
    /// Stands for the component.
    pub component: NameHash,
    /// The products.
    pub value: SlotValue,
    /// The same as JSON.
    pub content: Content,
}

impl Frozen {
    /// Products that a component shows.
    #[must_use]
    pub fn new(component: NameHash, value: SlotValue) -> Self {
        Self { component, content: Content::new(&value.content()), value }
    }
}
