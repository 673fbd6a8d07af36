//! What was rendered late: whoever loads it again sees the same.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use crate::domain::{decision::late::LIFE_MS, ids::DecisionId};

/// Markup by its decision, for as long as it may be loaded.
pub struct Rendered(Cache<DecisionId, Arc<str>>);

impl Rendered {
    /// Most bytes of markup: what is let go of is chosen again by the same seed, and so differs only
    /// where the person or what was learned has changed.
    const BYTES: u64 = 32 << 20;

    /// What a decision showed.
    #[must_use]
    pub fn get(&self, decision: DecisionId) -> Option<Arc<str>> {
        self.0.get(&decision)
    }

    /// Keeps what a decision shows, unless something is kept already: that is what it shows.
    #[must_use]
    pub fn keep(&self, decision: DecisionId, markup: String) -> Arc<str> {
        self.0.get_with(decision, || markup.into())
    }
}

impl Default for Rendered {
    fn default() -> Self {
        let weight = |_: &DecisionId, markup: &Arc<str>| u32::try_from(markup.len() + 128).unwrap_or(u32::MAX);
        let life = Duration::from_millis(LIFE_MS.unsigned_abs());
        Self(Cache::builder().max_capacity(Self::BYTES).weigher(weight).time_to_live(life).build())
    }
}
