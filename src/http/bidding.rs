//! How bids are made, and how many of them.

use std::collections::BTreeMap;

use axum::http::HeaderValue;
use metrics::Counter;

use crate::{
    config,
    domain::openrtb::{Granularity, MappedSegment, NoBid, Refusal, Settings, Taxonomy},
    telemetry::{BID_REFUSALS, BIDS, Meters},
};

fn granularity(configured: config::Granularity) -> Granularity {
    match configured {
        config::Granularity::Creative => Granularity::Creative,
        config::Granularity::Combination => Granularity::Combination,
    }
}

/// How bids are made, and how many of them.
pub struct Bidding {
    settings: Settings,
    origins: Vec<String>,
    refused: [(Refusal, Counter); Refusal::ALL.len()],
    without: [(NoBid, Counter); NoBid::ALL.len()],
    bids: Counter,
}

impl Bidding {
    /// Bids by a configuration and the taxonomies that it names, counting in `meters`.
    #[must_use]
    pub fn new(config: config::OpenRtb, taxonomies: BTreeMap<i64, Taxonomy>, meters: &Meters) -> Self {
        let mapped = config.segments.into_iter().filter_map(|mapped| {
            let segment = mapped.segment.parse().ok()?;
            let contains = mapped.matching == config::Matching::Contains;
            Some(MappedSegment { segtax: mapped.segtax, data: mapped.data, id: mapped.id, segment, contains })
        });
        let settings = Settings {
            seat: config.seat,
            network_ms: config.network_ms,
            expires_s: config.expires_s,
            crid: granularity(config.crid),
            crids: config.crids.iter().filter_map(|(id, of)| Some((id.parse().ok()?, granularity(*of)))).collect(),
            audited: config.audited.iter().filter_map(|id| id.parse().ok()).collect(),
            contextual_without_consent: config.contextual_without_consent,
            eid_sources: config.eid_sources,
            segments: mapped.collect(),
            taxonomies,
        };
        Self {
            settings,
            origins: config.origins,
            refused: Refusal::ALL.map(|(refusal, name)| (refusal, meters.reason(BID_REFUSALS, name))),
            without: NoBid::ALL.map(|(reason, name)| (reason, meters.reason(BIDS, name))),
            bids: meters.reason(BIDS, "bid"),
        }
    }

    /// How bids are made.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether scripts of pages of an origin may ask for bids.
    pub(super) fn allows(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }

    pub(super) fn count_bid(&self) {
        self.bids.increment(1);
    }

    pub(super) fn count_refusal(&self, refusal: Refusal) {
        self.refused.iter().filter(|(of, _)| *of == refusal).for_each(|(_, counter)| counter.increment(1));
    }

    pub(super) fn count_no_bid(&self, reason: NoBid) {
        self.without.iter().filter(|(of, _)| *of == reason).for_each(|(_, counter)| counter.increment(1));
    }
}
