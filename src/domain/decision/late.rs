//! Late rendering: what a bid leaves open until it has won. Its markup is a frame, whose address says
//! in a sealed token for whom and where to choose when it is loaded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{
    audience::{
        context::Context,
        value::{Folded, Position, Scalar},
    },
    consent::{Purposes, Relayed},
    decision::{
        decided::{Item, Showing},
        explanation::Reason,
        request::{AdRequest, PlacementRequest},
    },
    ids::{CampaignId, CreativeId, DecisionId, SegmentKey, Uid},
    measurement::beacon::{TokenKeys, decided_at},
    values::{Country, Locale, Millis, Size},
};

/// What the tokens are sealed for.
const USE: &str = "late";
/// How long after its bid an ad may be loaded: longer than any exchange holds a bid.
pub const LIFE_MS: i64 = 3_600_000;
/// The longest text of a token, in bytes, so that its address fits everywhere.
const LONGEST: usize = 2_200;

/// What a bid left open, and for whom and where.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Late {
    /// Number of the account.
    #[serde(rename = "a")]
    pub account: u32,
    /// The decision of the bid, which goes on.
    #[serde(rename = "d")]
    pub decision: DecisionId,
    /// The version of the catalogue that was bid from.
    #[serde(rename = "v")]
    pub catalog_version: i64,
    /// The campaign; none for a creative that none shows.
    #[serde(rename = "c", default)]
    pub campaign: Option<CampaignId>,
    /// The creative.
    #[serde(rename = "r")]
    pub creative: CreativeId,
    /// Its revision.
    #[serde(rename = "n")]
    pub revision: u32,
    /// The size.
    #[serde(rename = "s", default)]
    pub size: Option<Size>,
    /// Who is looking, where the purposes allow knowing it.
    #[serde(rename = "p", default)]
    pub person: Option<Uid>,
    /// What may be used of them.
    #[serde(rename = "u")]
    pub purposes: Purposes,
    /// Segments that the bid request brought.
    #[serde(rename = "g", default)]
    pub segments: Vec<SegmentKey>,
    /// What third parties in the markup are told of consent.
    #[serde(rename = "l", default)]
    pub relayed: Option<Relayed>,
    /// Where, on what, about what.
    #[serde(rename = "x", default)]
    pub context: Context,
    /// The person's offset from UTC, in minutes, where it is known.
    #[serde(rename = "z", default)]
    pub offset: Option<i32>,
    /// Whether it is a preview, which is never counted.
    #[serde(rename = "t", default)]
    pub preview: bool,
}

/// The same as it is written: what is absent takes no room.
#[derive(Serialize)]
struct Written<'a> {
    a: u32,
    d: DecisionId,
    v: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    c: Option<&'a CampaignId>,
    r: &'a CreativeId,
    n: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<Uid>,
    u: Purposes,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    g: &'a [SegmentKey],
    #[serde(skip_serializing_if = "Option::is_none")]
    l: Option<&'a Relayed>,
    x: Surroundings<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    z: Option<i32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    t: bool,
}

/// What of a [`Context`] is known.
#[derive(Default, Serialize)]
struct Surroundings<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<Country>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a Folded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<&'a Folded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a Folded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<&'a Folded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    browser: Option<&'a Folded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a Locale>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a Folded>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    keywords: &'a [Folded],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a BTreeMap<Box<str>, Scalar>>,
}

impl Late {
    /// Reads a token of ours; none where it is not one, or was changed.
    #[must_use]
    pub fn open(keys: &TokenKeys, token: &str) -> Option<Self> {
        serde_json::from_slice(&keys.unseal(USE, token)?).ok()
    }

    /// Whether it is too late to load it, or too early to be true.
    #[must_use]
    pub fn expired(&self, now: Millis) -> bool {
        let age = now.since(decided_at(self.decision));
        !(-crate::domain::measurement::beacon::SKEW_MS..LIFE_MS).contains(&age)
    }
}

/// The frame that stands for an item whose components are chosen when it is loaded.
pub(super) fn frame(
    (item, showing): (&Item, &Showing),
    request: &AdRequest,
    placement: &PlacementRequest,
    purposes: Purposes,
    (account, keys, public_url): (u32, &TokenKeys, &str),
) -> String {
    let context = &request.context;
    let mut written = Written {
        a: account,
        d: item.id,
        v: showing.deferred.unwrap_or_default(),
        c: showing.campaign.as_ref().map(|campaign| &campaign.id),
        r: &showing.creative.id,
        n: showing.creative.revision,
        s: showing.size,
        p: request.person,
        u: purposes,
        g: &request.segments,
        l: request.relayed.as_ref(),
        x: Surroundings {
            country: context.country,
            region: context.region.as_ref(),
            city: context.city.as_ref(),
            position: context.position,
            device: context.device.as_ref(),
            os: context.os.as_ref(),
            browser: context.browser.as_ref(),
            language: context.language.as_ref(),
            domain: context.domain.as_ref(),
            keywords: &context.keywords,
            data: Some(&context.data).filter(|data| !data.is_empty()),
        },
        z: offset(context),
        t: showing.reason == Reason::Preview,
    };
    let text = |written: &Written<'_>| serde_json::to_vec(written).unwrap_or_default();
    let mut sealed = text(&written);
    if sealed.len() > LONGEST {
        (written.x.keywords, written.x.data, written.g) = (&[], None, &[]);
        sealed = text(&written);
    }
    if sealed.len() > LONGEST {
        // what the string allows is in the purposes; others are told nothing of it
        let untold = request.relayed.as_ref().map(|relayed| Relayed { gdpr: relayed.gdpr, tcf: "".into() });
        written.l = untold.as_ref();
        sealed = text(&written);
    }
    let token = keys.seal(USE, &sealed);
    let click = placement.click_macro.as_ref().map_or_else(String::new, |click| format!("?click={}", click.encoded()));
    let size =
        showing.size.map_or_else(String::new, |size| format!(" width=\"{}\" height=\"{}\"", size.width, size.height));
    format!(
        "<iframe src=\"{}/v1/late/{token}{click}\"{size} title=\"Advertisement\" frameborder=\"0\" scrolling=\"no\" \
         style=\"border:0;display:block\"></iframe>",
        public_url
    )
}

/// The offset from UTC of a local time, in minutes, where it is known.
fn offset(context: &Context) -> Option<i32> {
    let local = context.known_local()?;
    const WEEK: i64 = 7 * 1_440;
    // 1970-01-01 was a Thursday
    let utc = local.since.0.div_euclid(60_000) + 3 * 1_440;
    let here = i64::from(local.weekday) * 1_440 + i64::from(local.hour) * 60;
    let minutes = (here - utc).rem_euclid(WEEK);
    i32::try_from(if minutes > WEEK / 2 { minutes - WEEK } else { minutes }).ok()
}

#[cfg(test)]
mod tests {
    use jiff::tz::{Offset, TimeZone};

    use super::*;
    use crate::domain::audience::context::LocalTime;

    #[test]
    fn local_times_tell_their_offsets() {
        for minutes in [-600, -210, 0, 60, 330, 345, 840] {
            let zone = TimeZone::fixed(Offset::from_seconds(minutes * 60).expect("an offset"));
            let local = LocalTime::of(Millis(1_772_000_123_456), &zone);
            assert_eq!(offset(&Context { local, ..Context::default() }), Some(minutes));
        }
        assert_eq!(offset(&Context::default()), None);
    }
}
