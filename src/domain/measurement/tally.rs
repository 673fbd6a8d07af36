//! Outcomes, counted.

use serde::Serialize;

use super::outcome::OutcomeKind;

/// How many outcomes of each kind there were. Adds up in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Tally {
    /// Impressions.
    pub impressions: i64,
    /// Of them viewable.
    pub viewables: i64,
    /// Clicks.
    pub clicks: i64,
    /// Conversions, of whichever goal.
    pub conversions: i64,
    /// What the conversions were worth, in millionths of the sender's currency unit.
    pub value_micros: i64,
}

impl Tally {
    /// One outcome, and its value where it has one.
    #[must_use]
    pub fn of(kind: OutcomeKind, value_micros: Option<i64>) -> Self {
        let one = |is| i64::from(kind == is);
        Self {
            impressions: one(OutcomeKind::Impression),
            viewables: one(OutcomeKind::Viewable),
            clicks: one(OutcomeKind::Click),
            conversions: one(OutcomeKind::Conversion),
            value_micros: value_micros.unwrap_or_default(),
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.impressions = self.impressions.saturating_add(other.impressions);
        self.viewables = self.viewables.saturating_add(other.viewables);
        self.clicks = self.clicks.saturating_add(other.clicks);
        self.conversions = self.conversions.saturating_add(other.conversions);
        self.value_micros = self.value_micros.saturating_add(other.value_micros);
    }
}
