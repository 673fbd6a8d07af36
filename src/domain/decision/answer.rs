//! An item as callers read it: the document in the answer of a decision, and in its record.

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};

use crate::domain::{
    audience::compile::RuleSet,
    decision::{
        assemble::{Assembled, contents},
        decided::{Item, Showing},
        explanation::Reason,
        standing::{Degraded, FallbackLevel},
    },
    ids::{CampaignId, CreativeId, DecisionId, SegmentKey},
    values::Format,
};

/// Whether an item is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// There is something to show.
    Filled,
    /// There is nothing to show: not even a house creative fits.
    NoFill,
}

/// One item of a placement.
#[derive(Debug, Serialize)]
pub struct ItemAnswer<'a> {
    decision_id: DecisionId,
    status: ItemStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_fill_reason: Option<&'static str>,
    #[serde(flatten)]
    filled: Option<FilledAnswer<'a>>,
    fallback_level: FallbackLevel,
    degraded: &'a [Degraded],
}

#[derive(Debug, Serialize)]
struct FilledAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<&'a CampaignId>,
    creative: &'a CreativeId,
    revision: u32,
    combination_id: Hex,
    crid: &'a str,
    format: Format,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u16>,
    markup: &'a str,
    components: Components<'a>,
    content: Contents<'a>,
    impression_url: &'a str,
    view_url: &'a str,
    click_url: &'a str,
    conversion_token: &'a str,
    reason: Reason,
    segments_matched: Vec<&'a SegmentKey>,
}

impl<'a> ItemAnswer<'a> {
    /// An item, with what was assembled for it if it is filled.
    #[must_use]
    pub fn new(item: &'a Item, assembled: Option<&'a Assembled>, rules: &'a RuleSet) -> Self {
        let filled = item.shown.as_ref().zip(assembled).map(|(showing, assembled)| {
            let shape = showing.creative.variants[showing.variant].shape;
            FilledAnswer {
                campaign: showing.campaign.as_ref().map(|campaign| &campaign.id),
                creative: &showing.creative.id,
                revision: showing.creative.revision,
                combination_id: Hex(assembled.combination),
                crid: &assembled.crid,
                format: shape.0,
                width: showing.size.map(|size| size.width),
                height: showing.size.map(|size| size.height),
                markup: &assembled.markup,
                components: Components(showing),
                content: Contents(showing),
                impression_url: &assembled.impression_url,
                view_url: &assembled.view_url,
                click_url: &assembled.click_url,
                conversion_token: &assembled.conversion_token,
                reason: showing.reason,
                segments_matched: showing.matched.iter().map(|ix| rules.key(*ix)).collect(),
            }
        });
        Self {
            decision_id: item.id,
            status: if filled.is_some() { ItemStatus::Filled } else { ItemStatus::NoFill },
            no_fill_reason: filled.is_none().then_some("no_eligible_campaign_or_house_creative"),
            filled,
            fallback_level: item.fallback,
            degraded: &item.degraded,
        }
    }
}

/// A hash as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy)]
struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&format_args!("{:016x}", self.0))
    }
}

/// Which component stands in each slot; `null` for the slot's default.
#[derive(Debug)]
struct Components<'a>(&'a Showing);

impl Serialize for Components<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        for (slot, component, _) in contents(self.0) {
            map.serialize_entry(slot, &component)?;
        }
        map.end()
    }
}

/// The value that stands in each slot.
#[derive(Debug)]
struct Contents<'a>(&'a Showing);

impl Serialize for Contents<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        for (slot, _, value) in contents(self.0) {
            map.serialize_entry(slot, value)?;
        }
        map.end()
    }
}
