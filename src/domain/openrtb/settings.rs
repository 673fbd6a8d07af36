//! How this service bids.

use std::collections::BTreeMap;

use crate::domain::ids::{ExchangeId, SegmentKey};

/// How this service bids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Our seat, as `seatbid.seat` names it.
    pub seat: String,
    /// What of a request's `tmax` the network takes, in ms.
    pub network_ms: u64,
    /// For how long a bid holds, in seconds.
    pub expires_s: u32,
    /// What a `crid` stands for.
    pub crid: Granularity,
    /// For exchanges that want another.
    pub crids: BTreeMap<ExchangeId, Granularity>,
    /// Exchanges to which only what they have approved is bid.
    pub audited: Vec<ExchangeId>,
    /// Whether an ad is chosen from the page alone where the TCF does not allow choosing one
    /// (purpose 2); if not, there is no bid.
    pub contextual_without_consent: bool,
    /// Sources of `eids` by which people are known, the best first; the person of an id is `eid:`,
    /// the source, `:` and the id.
    pub eid_sources: Vec<String>,
    /// What segments of data providers stand for.
    pub segments: Vec<MappedSegment>,
}

impl Settings {
    /// What a `crid` stands for to whoever asks.
    #[must_use]
    pub fn granularity(&self, exchange: Option<&ExchangeId>) -> Granularity {
        exchange.and_then(|exchange| self.crids.get(exchange)).copied().unwrap_or(self.crid)
    }
}

/// What a `crid` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// A revision of a creative in one size.
    Creative,
    /// What is shown in it as well.
    Combination,
}

/// A segment of a data provider, and the segment that its people are in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedSegment {
    /// The taxonomy of `id`: 4 is IAB Audience Taxonomy 1.1. None: the provider's own.
    pub segtax: Option<i64>,
    /// The provider, by its id or name. None: all of them.
    pub data: Option<String>,
    /// The provider's segment.
    pub id: String,
    /// Ours.
    pub segment: SegmentKey,
}
