//! What campaigns are for, and which conversions are their own.

use serde::{Deserialize, Serialize};

use crate::domain::{ids::EventName, values::Money};

/// What a campaign is for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GoalDoc {
    /// A click.
    #[default]
    Click,
    /// A conversion of this event type.
    Conversion(
        /// The event type that counts.
        EventName,
    ),
    /// What conversions are worth.
    Value(
        /// Which, and in what unit.
        ValueDoc,
    ),
}

impl GoalDoc {
    /// The event type that counts; none: a click.
    #[must_use]
    pub fn event(&self) -> Option<&EventName> {
        match self {
            Self::Click => None,
            Self::Conversion(event) => Some(event),
            Self::Value(value) => Some(&value.conversion),
        }
    }
}

/// Conversions that count by their value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ValueGoal, example = json!({"conversion": "purchase", "usual": {"amount": "60.00", "currency": "EUR"}}))]
pub struct ValueDoc {
    /// The event type that counts.
    pub conversion: EventName,
    /// What one is usually worth, above zero: a conversion without a value is worth this, and in
    /// learning one counts as its value over this, at most 10. Values are in its currency.
    pub usual: Money,
}

/// For how long after a click or a view a conversion is the campaign's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Attribution, example = json!({"click_days": 7, "view_days": 1}))]
pub struct AttributionDoc {
    /// Days after a click, 1 to 90.
    #[serde(default = "default_click_days")]
    #[schema(minimum = 1, maximum = 90)]
    pub click_days: u8,
    /// Days after an impression without a click, 1 to 30. Left out: a view alone is no reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 30)]
    pub view_days: Option<u8>,
}

impl AttributionDoc {
    /// Whether it is what holds where nothing is said.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for AttributionDoc {
    fn default() -> Self {
        Self { click_days: default_click_days(), view_days: None }
    }
}

fn default_click_days() -> u8 {
    30
}
