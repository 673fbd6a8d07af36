//! What creatives pick from feeds.

use super::creative::{Component, Creative};
use crate::domain::creative::{Choose, Picking};

impl Creative {
    /// What its components pick from feeds.
    pub fn pickings(&self) -> impl Iterator<Item = &Picking> {
        self.components.iter().filter_map(|component| component.picking.as_deref())
    }
}

impl Component {
    /// Whether the products that it shows depend on what the person did.
    #[must_use]
    pub fn is_personal(&self) -> bool {
        self.picking.as_ref().is_some_and(|picking| picking.choose != Choose::Popular)
    }
}
