//! What a decision that is made again takes from its record.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{
    catalog::{campaign::Campaign, creative::Creative},
    decision::{belief::Reasoning, eligibility::Ask, explanation::Reason, goods::RecordedGoods},
    ids::{CampaignId, CreativeId, DecisionId, SegmentKey},
    measurement::exposure::Exposure,
};

/// What a decision that is made again takes from its record.
#[derive(Clone, Copy, Debug)]
pub struct Replay<'a> {
    /// The products that components picked; none: they are picked now.
    pub goods: Option<&'a [RecordedGoods]>,
    /// Per placement and item how it came to be shown; what is not here is chosen now.
    pub chosen: &'a [Vec<Option<How>>],
    /// Whether items gave up what others could be filled with; none: this is decided now.
    pub shared: Option<bool>,
    /// The item that is wanted: the only one that is explained.
    pub wanted: DecisionId,
}

/// How a combination came to be shown, with what was learned at the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct How {
    /// What was shown; none in records of before this was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Of>,
    /// Why that combination.
    pub reason: Reason,
    /// Segments that what is shown names and the person is in.
    pub matched: Vec<SegmentKey>,
    /// What its tokens say of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
    /// What was believed, where what was learned chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Reasoning>,
}

/// What was shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Of {
    /// Of which campaign; none for a creative that none shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignId>,
    /// Which creative.
    pub creative: CreativeId,
    /// Whether only because nothing else could be shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
}

/// What is known of an item that is made again: what won, or that nothing did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again<'a>(Option<&'a Of>);

impl Again<'_> {
    /// Whether this is what won.
    pub(super) fn is_of(self, campaign: Option<&Arc<Campaign>>, creative: &Creative) -> bool {
        self.0.is_some_and(|of| {
            of.campaign.as_ref() == campaign.map(|campaign| &campaign.id) && of.creative == creative.id
        })
    }
}

impl<'a> Replay<'a> {
    /// Nothing is taken but the person's memberships.
    pub(super) const NOTHING: Self =
        Self { goods: None, chosen: &[], shared: None, wanted: DecisionId(uuid::Uuid::nil()) };

    /// What is known of an item; none where its record does not tell.
    pub(super) fn of(&self, ask: &Ask<'_>) -> Option<Again<'a>> {
        match self.chosen.get(ask.placement)?.get(usize::from(ask.position))? {
            None => Some(Again(None)),
            Some(how) => how.of.as_ref().map(|of| Again(Some(of).filter(|of| !of.fallback))),
        }
    }
}
