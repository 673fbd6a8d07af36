//! A creative in one size and format.

use std::sync::Arc;

use crate::domain::{
    catalog::{
        creative::{Place, Variant},
        index::Shape,
    },
    creative::Template,
    ids::TemplateId,
};

impl Variant {
    /// A template with what may stand in it.
    pub(super) fn new((id, shape, template): (TemplateId, Shape, Arc<Template>), places: Vec<Place>) -> Self {
        let may_be =
            |place: &Place| place.default.is_insecure() || place.prepared.iter().any(|value| value.is_insecure());
        let insecure = template.is_insecure() || places.iter().any(may_be);
        Self { id, shape, template, insecure, places }
    }
}
