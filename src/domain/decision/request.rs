//! An ad request as the core understands it: parsed, within limits, and stripped of everything
//! that its purposes do not allow.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::{
    audience::{context::Context, profile::Traits},
    catalog::{creative::Creative, listed::Listing},
    consent::Relayed,
    creative::{ClickMacro, NativeRequest, VideoRequest},
    ids::{CampaignId, CreativeId, DecisionId, NameHash, PlacementId, SegmentKey, Uid},
    values::{Format, Locale, Millis, Money, Size},
};

/// What a page, an app or a bidder asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdRequest {
    /// The slots to fill.
    pub placements: Vec<PlacementRequest>,
    /// Who is looking; none without a key or without consent.
    pub person: Option<Uid>,
    /// Traits that the request brings; they win over the profile's.
    pub traits: Traits,
    /// Segments that the request brings.
    pub segments: Vec<SegmentKey>,
    /// How they meet the profile's.
    pub segments_mode: SegmentsMode,
    /// Where, on what, about what and when.
    pub context: Context,
    /// Whether the answer lists every membership instead of those in play.
    pub all_segments: bool,
    /// How much the answer explains.
    pub explain: Explain,
    /// What a preview pretends.
    pub preview: Option<Preview>,
    /// What third parties in the markup are told of consent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relayed: Option<Relayed>,
}

/// One slot to fill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlacementRequest {
    /// The caller's name for it, unique in the request.
    pub id: String,
    /// The registered placement.
    pub placement: Option<PlacementId>,
    /// Sizes it shows; those of the registered placement where the request names none.
    pub sizes: Vec<Size>,
    /// Formats it shows.
    pub formats: Vec<Format>,
    /// How many items, 1 to 10.
    pub count: u8,
    /// What its surroundings are about.
    pub keywords: Vec<String>,
    /// The embedding ad server's click macro.
    pub click_macro: Option<ClickMacro>,
    /// The caller's own choice of campaign or creative.
    pub candidate: Option<Candidate>,
    /// Creatives not to show.
    pub blocked_creatives: Vec<CreativeId>,
    /// Attributes (AdCOM's list) of creatives not to show, each format's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_attributes: Vec<(Format, Vec<u16>)>,
    /// The least a campaign must pay per thousand impressions.
    pub floor: Option<Money>,
    /// The assets that native markup must consist of; without them, all that a template has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeRequest>,
    /// What the player takes, for videos; without it, everything in the newest version of VAST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoRequest>,
    /// The only campaigns that may be shown, by their hashes in ascending order: those that bid their own price, and
    /// have the money where they have a budget, or those that a bid may be for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub among: Option<Vec<NameHash>>,
    /// For how many impressions each of these has the money; nothing where it is enough for the whole request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub funds: Vec<u32>,
    /// Whether these are bid at the bidder's price; where they are not, one with a budget is not shown by its default
    /// creative.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub priced: bool,
    /// Of the combinations that were chosen for review those that may be shown, where no others may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing: Option<Listing>,
    /// The languages of what may be shown, as far as it has one; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub languages: Option<Vec<Locale>>,
    /// Whether it stands in a page into which nothing is loaded that is not safe.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secure: bool,
    /// How much of it is decided now.
    #[serde(skip_serializing_if = "Stage::is_whole")]
    pub stage: Stage,
}

/// How much of an item is decided now: a bid may leave its components to the moment at which it has
/// won and is rendered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// All of it.
    #[default]
    Whole,
    /// What is bid: campaign, creative and size; of what is a document, nothing more.
    Offer,
    /// What that decision left open: whether the campaign may serve was asked then.
    Rest(DecisionId),
}

impl Stage {
    fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}

impl PlacementRequest {
    /// Those of some formats whose own blocked attributes a creative has none of.
    #[must_use]
    pub fn open_formats<'a>(&self, creative: &Creative, formats: &'a [Format]) -> Cow<'a, [Format]> {
        let blocked = |format: &Format| {
            let of_it = self.blocked_attributes.iter().filter(|(of, _)| of == format);
            of_it.flat_map(|(_, all)| all).any(|attribute| creative.attributes.contains(attribute))
        };
        if formats.iter().any(blocked) {
            Cow::Owned(formats.iter().copied().filter(|format| !blocked(format)).collect())
        } else {
            Cow::Borrowed(formats)
        }
    }
}

impl Default for PlacementRequest {
    fn default() -> Self {
        Self {
            id: String::new(),
            placement: None,
            sizes: Vec::new(),
            formats: Vec::new(),
            count: 1,
            keywords: Vec::new(),
            click_macro: None,
            candidate: None,
            blocked_creatives: Vec::new(),
            blocked_attributes: Vec::new(),
            floor: None,
            native: None,
            video: None,
            among: None,
            funds: Vec::new(),
            priced: false,
            listing: None,
            languages: None,
            secure: false,
            stage: Stage::Whole,
        }
    }
}

/// What the caller has already chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidate {
    /// A campaign.
    Campaign(CampaignId),
    /// A creative, whichever campaign shows it.
    Creative(CreativeId),
}

/// How segments in the request meet those of the profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SegmentsMode {
    /// They are added.
    #[default]
    Merge,
    /// They replace them.
    Override,
}

/// How much an answer explains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Explain {
    /// Nothing.
    #[default]
    None,
    /// For every candidate the first condition that failed.
    Summary,
    /// Also every component, every condition and every segment.
    Full,
}

/// What a preview pretends. Previews are neither counted nor learned from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preview {
    /// Segments the person is taken to be in.
    pub force_segments: Vec<SegmentKey>,
    /// Segments the person is taken not to be in.
    pub deny_segments: Vec<SegmentKey>,
    /// The time it is taken to be.
    pub at: Option<Millis>,
    /// The seed.
    pub seed: Option<Seed>,
}

/// The source of a decision's randomness: 128 bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 16]);

/// The text is no seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 32 hexadecimal digits")]
pub struct NotASeed;

impl Seed {
    /// The seed of what a decision left open: always the same.
    #[must_use]
    pub fn of_rest(decision: DecisionId) -> Self {
        let key = blake3::derive_key("tessera 2026 seed of the rest", decision.0.as_bytes());
        let mut bits = [0; 16];
        bits.copy_from_slice(&key[..16]);
        Self(bits)
    }
}

impl FromStr for Seed {
    type Err = NotASeed;

    fn from_str(text: &str) -> Result<Self, NotASeed> {
        let fits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = u128::from_str_radix(text, 16).ok().filter(|_| fits).ok_or(NotASeed)?;
        Ok(Self(bits.to_be_bytes()))
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed({self})")
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_32_digits() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(text.parse::<Seed>().expect("a seed").to_string(), text);
        for bad in ["", "0011", "+0112233445566778899aabbccddeeff", "zz112233445566778899aabbccddeeff"] {
            assert_eq!(bad.parse::<Seed>(), Err(NotASeed), "{bad}");
        }
    }
}
