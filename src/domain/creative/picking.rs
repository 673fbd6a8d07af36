//! Products that are picked from a feed when a decision is made.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    ids::{FeedId, SegmentKey},
    violation::{Violation, Violations},
};

/// The value of a component that shows products of a feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picking {
    /// The feed.
    pub feed: FeedId,
    /// Which of its products.
    pub choose: Choose,
    /// With [`Choose::PopularInSegment`] the segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<SegmentKey>,
    /// What fills up where fewer are known than may be shown.
    #[serde(default)]
    pub fill: Fill,
    /// The most products shown, 1 to 10, as far as the slot takes so many; left out: as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<u32>,
}

/// Which products of a feed are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choose {
    /// Those that the person looked at and did not buy since, the last first.
    LastViewed,
    /// Those that the person put into the basket and did not buy since, the last first.
    Abandoned,
    /// Those that most people of a segment look at, for its members.
    PopularInSegment,
    /// Those that most people look at.
    Popular,
}

/// What fills up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// What most people look at, then the feed in its own order.
    #[default]
    Popular,
    /// Nothing: without a product the component is not shown.
    None,
}

impl Picking {
    /// What a component's value picks, where it picks at all.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        value.get("feed").and_then(|_| Self::deserialize(value).ok())
    }

    /// The most products that any slot takes.
    const MOST: u32 = 10;

    /// Reads the value of a component.
    ///
    /// # Errors
    /// Every fault, with its pointer into `value`.
    pub(super) fn parse(value: &Value) -> Result<Self, Vec<Violation>> {
        let picking = match Self::deserialize(value) {
            Ok(picking) => picking,
            Err(error) => {
                let form = "must be an array of products, or {\"feed\": \"...\", \"choose\": \"last_viewed\"} with \
                            segment, fill and items where they are wanted";
                return Err(vec![Violation::new("", "not_a_pick", format!("{form}: {error}"))]);
            }
        };
        let mut faults = Violations::new();
        match (picking.choose, &picking.segment) {
            (Choose::PopularInSegment, None) => {
                faults.push("/segment", "required", "must name the segment that the products are popular in");
            }
            (Choose::PopularInSegment, Some(_)) | (_, None) => {}
            (_, Some(_)) => faults.push("/segment", "unexpected", "belongs to popular_in_segment alone"),
        }
        if picking.items.is_some_and(|items| items == 0 || items > Self::MOST) {
            faults.push("/items", "out_of_range", format!("must be 1 to {}", Self::MOST));
        }
        faults.into_result().map(|()| picking)
    }

    pub(super) fn content(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
