//! How bidders and exchanges are answered, and how privacy signals are read.

use std::{collections::BTreeMap, net::Ipv6Addr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Consent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    /// The number of whoever runs this service on IAB Europe's Global Vendor List. None: no TCF
    /// string consents to anything.
    pub vendor_id: Option<u16>,
    /// Whether the GDPR applies to requests that say nothing of it, of a TCF string or a country.
    pub gdpr_by_default: bool,
}

/// Places.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Geo {
    /// A MaxMind database (`.mmdb`) of cities or countries, read once at the start, for requests that do
    /// not say where they come from. None: they come from nowhere.
    pub database: Option<PathBuf>,
}

/// OpenRTB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenRtb {
    /// Our seat, as `seatbid.seat` names it.
    pub seat: String,
    /// What of a request's `tmax` the network takes, in ms.
    pub network_ms: u64,
    /// For how long a bid holds, in seconds.
    pub expires_s: u32,
    /// What a `crid` stands for.
    pub crid: Granularity,
    /// What it stands for to exchanges that want another, as `exchange` in the address names them.
    pub crids: BTreeMap<String, Granularity>,
    /// How many combinations of a template are chosen for exchanges that review them one by one, 1 to 500.
    pub max_combinations: u32,
    /// Exchanges that take only what they have approved, as `exchange` in the address names them:
    /// to these nothing else is bid.
    pub audited: Vec<String>,
    /// Whether an ad is chosen from the page alone where the TCF does not allow choosing one
    /// (purpose 2); if not, there is no bid.
    pub contextual_without_consent: bool,
    /// Sources of `eids` by which people are known, the best first. The person of an id is `eid:`,
    /// the source, `:` and the id.
    pub eid_sources: Vec<String>,
    /// Origins of pages whose scripts may ask for bids themselves, as browsers write them: `https://news.example`.
    pub origins: Vec<String>,
    /// What segments of data providers stand for.
    pub segments: Vec<MappedSegment>,
    /// Files that say what is part of what in a taxonomy, by its number in AdCOM's list of category taxonomies, such
    /// as 4, IAB Audience Taxonomy 1.1, or 7, Content Taxonomy 3.0: tables as IAB Tech Lab publishes them, the id in
    /// the first column and the parent's in the second. Read once at the start.
    pub taxonomies: BTreeMap<String, PathBuf>,
}

/// What a `crid` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// A revision of a creative in one size.
    Creative,
    /// What is shown in it as well: one of the combinations that were chosen when it was published.
    Combination,
}

impl OpenRtb {
    /// How many combinations of a template are chosen; none where no exchange reviews them.
    #[must_use]
    pub fn combinations(&self) -> Option<u32> {
        let all = self.crids.values().chain([&self.crid]);
        all.into_iter().any(|of| *of == Granularity::Combination).then_some(self.max_combinations)
    }
}

/// A segment of a data provider, and the segment that its people are in here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappedSegment {
    /// The taxonomy of `id` (`segtax`): 4 is IAB Audience Taxonomy 1.1. None: the provider's own.
    #[serde(default)]
    pub segtax: Option<i64>,
    /// The provider, by its id or name. None: all of them.
    #[serde(default)]
    pub data: Option<String>,
    /// The provider's segment.
    pub id: String,
    /// Ours.
    pub segment: String,
    /// Whether it is this segment alone, or those within it too.
    #[serde(default, rename = "match")]
    pub matching: Matching,
}

/// Which segments of a provider are meant by one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// That one.
    #[default]
    Exact,
    /// Also those that are part of it, by the file of its taxonomy in `taxonomies`.
    Contains,
}

impl Default for OpenRtb {
    fn default() -> Self {
        Self {
            seat: "tessera".into(),
            network_ms: 30,
            expires_s: 300,
            crid: Granularity::Creative,
            crids: BTreeMap::new(),
            max_combinations: 50,
            audited: Vec::new(),
            contextual_without_consent: false,
            eid_sources: Vec::new(),
            origins: Vec::new(),
            segments: Vec::new(),
            taxonomies: BTreeMap::new(),
        }
    }
}

/// Whether a text is an origin as browsers write it.
pub(super) fn is_origin(text: &str) -> bool {
    let host = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:".contains(&b);
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let number = |port: &str| port.starts_with(|c: char| c.is_ascii_digit()) && port.parse::<u16>().is_ok();
            let sound = port.strip_prefix(':').map_or(port.is_empty(), number);
            sound && address.parse().is_ok_and(|parsed| written(parsed) == address)
        }
        None => !rest.is_empty() && rest.bytes().all(host),
    }
}

/// An address as browsers write it (<https://url.spec.whatwg.org/#concept-ipv6-serializer>): never with dots.
fn written(address: Ipv6Addr) -> String {
    match (address.to_ipv4_mapped(), address.segments()) {
        (Some(_), [.., high, low]) => format!("::ffff:{high:x}:{low:x}"),
        (None, _) => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_may_be_of_any_host() {
        for good in [
            "https://news.example",
            "http://localhost:3000",
            "http://[::1]:3000",
            "https://[2001:db8::1]",
            "https://[::ffff:102:304]",
            "https://[::ffff:0:0]:8080",
            "https://[::102:304]",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "https://[::1]abc",
            "https://[::1]:",
            "https://[::1]:+80",
            "https://[::ffff:1.2.3.4]",
            "https://[::1.2.3.4]",
            "https://[2001:DB8::1]",
            "https://[0:0:0:0:0:0:0:1]",
            "https://",
            "ftp://a",
            "https://a/",
            "https://[a.example]",
            "https://[::1",
            "https://[::1]/",
            "http://[]",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
