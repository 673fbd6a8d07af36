//! The body of `POST /v1/decisions` as it travels.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    domain::{
        creative::VastVersion,
        decision::request::{Explain, SegmentsMode},
        ids::{CampaignId, CreativeId, PlacementId, SegmentKey, UserKey},
        values::{Country, Format, Locale, Millis, Money, Size},
    },
    schema::object,
};

/// A request for decisions: the slots to fill and what is known of the person and the moment.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "placements": [{"id": "top", "placement": "home-rectangle", "sizes": ["300x250"]}],
    "user": {"key": "demo-young-buyer"},
    "context": {"language": "en-US", "geo": {"country": "US"}, "device": {"type": "mobile"}}
}))]
pub struct DecisionRequest {
    /// The slots to fill, 1 to 50.
    #[serde(deserialize_with = "object::each")]
    #[schema(min_items = 1, max_items = 50)]
    pub placements: Vec<PlacementWire>,
    /// Who is looking.
    #[serde(default, deserialize_with = "object::one")]
    pub user: Option<UserWire>,
    /// Where, on what, about what and when.
    #[serde(default, deserialize_with = "object::one")]
    pub context: Option<ContextWire>,
    /// The privacy signals.
    #[serde(default, deserialize_with = "object::one")]
    pub consent: Option<ConsentWire>,
    /// The longest the answer may take, in ms; the server's budget (20 by default) is the most.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 60_000)]
    pub deadline_ms: Option<u32>,
    /// From events or a change to the person: the decision reflects it or says `token_not_reached`.
    #[serde(default)]
    #[schema(max_length = 64, pattern = "^[vx][0-9]{1,20}$")]
    pub consistency_token: Option<String>,
    /// A profile older than so many ms is not used.
    #[serde(default)]
    #[schema(maximum = 86_400_000)]
    pub max_staleness_ms: Option<u32>,
    /// Which of the person's segments the answer lists.
    #[serde(default)]
    pub segments: SegmentsListed,
    /// How much the answer explains. Refused where it would list more than 200,000 campaigns in all: the account's,
    /// for each item.
    #[serde(default)]
    pub explain: Explain,
    /// Pretends: another time, seed or membership. Never counted.
    #[serde(default, deserialize_with = "object::one")]
    pub preview: Option<PreviewWire>,
}

/// Which of the person's segments an answer lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SegmentsListed {
    /// Those that the decision looked at: of campaigns that could not win any more, none.
    #[default]
    InPlay,
    /// All of them.
    All,
}

/// One slot to fill.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlacementWire {
    /// Your name for the slot, unique in the request; the answer is keyed by it.
    #[schema(min_length = 1, max_length = 64)]
    pub id: String,
    /// The registered placement; without one, `sizes` say what fits.
    #[serde(default)]
    pub placement: Option<PlacementId>,
    /// Sizes the slot shows; those of the registered placement when left out.
    #[serde(default)]
    #[schema(max_items = 32)]
    pub sizes: Vec<Size>,
    /// Formats the slot shows; those of the registered placement, else `html`, when left out.
    #[serde(default)]
    #[schema(max_items = 3)]
    pub formats: Vec<Format>,
    /// How many items, 1 to 10.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 10)]
    pub count: Option<u8>,
    /// What its surroundings are about.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub keywords: Vec<String>,
    /// The embedding ad server's click macro (`%%CLICK_URL_UNESC%%`, `%%CLICK_URL_ESC%%`,
    /// `%%CLICK_URL_ESC_ESC%%`, `${CLICK_URL}`, `${CLICK_URL_ENC}`), or a URL that ends where the
    /// next one begins. Our own click URL follows percent-encoded; once more for each encoding that
    /// the macro's name tells.
    #[serde(default)]
    #[schema(max_length = 1_000, example = "%%CLICK_URL_UNESC%%")]
    pub click_macro: Option<String>,
    /// The line item that is already chosen, priced and paced; only its variant is decided.
    #[serde(default, deserialize_with = "object::one")]
    pub candidates: Option<CandidatesWire>,
    /// Creatives not to show.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub blocked_creatives: Vec<CreativeId>,
    /// The least a campaign must pay per thousand impressions.
    #[serde(default, deserialize_with = "object::one")]
    pub floor: Option<FloorWire>,
    /// What the player takes, where `vast` is among the formats; left out: every video, in VAST 4.2.
    #[serde(default, deserialize_with = "object::one")]
    pub video: Option<VideoWire>,
}

/// What a player takes of a video.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"version": "3.0", "max_duration_ms": 30000, "mimes": ["video/mp4"]}))]
pub struct VideoWire {
    /// The version of VAST that it reads.
    #[serde(default)]
    pub version: VastVersion,
    /// The shortest video, in ms.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3_600_000)]
    pub min_duration_ms: Option<u32>,
    /// The longest video, in ms.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3_600_000)]
    pub max_duration_ms: Option<u32>,
    /// The MIME types that it plays; left out: all.
    #[serde(default)]
    #[schema(max_items = 32)]
    pub mimes: Vec<String>,
}

/// What the caller has already chosen: a campaign or a creative.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"campaign": "spring"}))]
pub struct CandidatesWire {
    /// A campaign.
    #[serde(default)]
    pub campaign: Option<CampaignId>,
    /// A creative, whichever campaign shows it.
    #[serde(default)]
    pub creative: Option<CreativeId>,
}

/// The least that a campaign must pay.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"cpm": "0.50", "currency": "USD"}))]
pub struct FloorWire {
    /// Per thousand impressions, in major units.
    pub cpm: crate::domain::values::Amount,
    /// ISO 4217 code.
    pub currency: crate::domain::values::Currency,
}

impl From<FloorWire> for Money {
    fn from(floor: FloorWire) -> Self {
        Self { amount: floor.cpm, currency: floor.currency }
    }
}

/// Who is looking.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"key": "u-1", "traits": {"age": 24}, "segments": ["crm-gold"]}))]
pub struct UserWire {
    /// Your own name of the person.
    #[serde(default)]
    pub key: Option<UserKey>,
    /// Traits that go before those of the profile.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Value>>)]
    pub traits: Option<Value>,
    /// Segments the person is in.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub segments: Vec<SegmentKey>,
    /// How they meet those of the profile.
    #[serde(default)]
    pub segments_mode: SegmentsMode,
}

/// Where, on what, about what and when.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextWire {
    /// The page.
    #[serde(default)]
    #[schema(max_length = 4_096, example = "https://news.example/sport")]
    pub url: Option<String>,
    /// The page before.
    #[serde(default)]
    #[schema(max_length = 4_096)]
    pub referrer: Option<String>,
    /// The person's address.
    #[serde(default)]
    #[schema(max_length = 64, example = "203.0.113.7")]
    pub ip: Option<String>,
    /// The browser.
    #[serde(default)]
    #[schema(max_length = 2_048)]
    pub user_agent: Option<String>,
    /// The reader's language.
    #[serde(default)]
    pub language: Option<Locale>,
    /// Where.
    #[serde(default, deserialize_with = "object::one")]
    pub geo: Option<GeoWire>,
    /// On what.
    #[serde(default, deserialize_with = "object::one")]
    pub device: Option<DeviceWire>,
    /// IANA time zone of the person, for `hour`, `weekday` and `daypart`; when left out that of `ip`,
    /// where a database of places knows one in the same country, else UTC for rules, and nothing is learned by `daypart`.
    #[serde(default)]
    #[schema(max_length = 64, example = "America/New_York")]
    pub time_zone: Option<String>,
    /// Anything else that targeting asks for as `data.<name>`: texts, numbers, yes or no; at most
    /// 32 of them.
    #[serde(default)]
    #[schema(example = json!({"weather": "rain"}))]
    pub data: BTreeMap<String, Value>,
}

/// Where somebody is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"country": "US", "region": "NY", "city": "New York", "lat": 40.71, "lon": -74.0}))]
pub struct GeoWire {
    /// The country. `UK` is taken as `GB`; a code that stands for no country (`XX`) as if it were
    /// left out.
    #[serde(default)]
    pub country: Option<Country>,
    /// The region, as your targeting names it.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub region: Option<String>,
    /// The city.
    #[serde(default)]
    #[schema(max_length = 128)]
    pub city: Option<String>,
    /// Degrees north; goes with `lon`.
    #[serde(default)]
    #[schema(minimum = -90.0, maximum = 90.0)]
    pub lat: Option<f64>,
    /// Degrees east; goes with `lat`.
    #[serde(default)]
    #[schema(minimum = -180.0, maximum = 180.0)]
    pub lon: Option<f64>,
}

/// What somebody looks at.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"type": "mobile", "os": "ios"}))]
pub struct DeviceWire {
    /// The kind of device, as your targeting names it: `mobile`, `tablet`, `desktop`, `tv`.
    #[serde(default, rename = "type")]
    #[schema(max_length = 32)]
    pub kind: Option<String>,
    /// The operating system, such as `android`. Like the kind and the browser read from `user_agent`
    /// when left out.
    #[serde(default)]
    #[schema(max_length = 32)]
    pub os: Option<String>,
    /// The browser, such as `chrome`.
    #[serde(default)]
    #[schema(max_length = 32)]
    pub browser: Option<String>,
}

/// The privacy signals. Where they do not allow personalising, the answer is decided from the
/// context alone.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"us_privacy": "1YNN"}))]
pub struct ConsentWire {
    /// Whether the GDPR applies; left out, it does in the EEA and the United Kingdom with their
    /// territories that have the same law, and wherever `tcf` is sent.
    #[serde(default)]
    pub gdpr: Option<bool>,
    /// An IAB TCF string (2.2 or 2.3). It consents to this service if it names our vendor id.
    #[serde(default)]
    #[schema(max_length = 8_192)]
    pub tcf: Option<String>,
    /// An IAB GPP string. Its section of the TCF goes before `tcf`.
    #[serde(default)]
    #[schema(max_length = 8_192)]
    pub gpp: Option<String>,
    /// The GPP sections that apply: -1 for none of them. Left out, all that `gpp` has.
    #[serde(default)]
    #[schema(max_items = 32)]
    pub gpp_sid: Vec<i32>,
    /// An IAB US privacy string.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub us_privacy: Option<String>,
    /// Whether the person is known to be a child (COPPA).
    #[serde(default)]
    pub coppa: bool,
    /// Whether the browser says that the person opted out (Global Privacy Control).
    #[serde(default)]
    pub gpc: bool,
    /// What a first-party controller asserts that the person consented to; needs a key with the
    /// scope `consent`.
    #[serde(default)]
    #[schema(max_items = 4)]
    pub asserted: Option<Vec<PurposeName>>,
}

/// A purpose for which data about a person is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PurposeName {
    /// Stable choices and frequency caps.
    Basic,
    /// Reading the profile.
    ProfileRead,
    /// Keeping what the person does.
    ProfileWrite,
    /// Counting outcomes per person.
    Measure,
}

/// What a preview pretends.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewWire {
    /// Segments the person is taken to be in.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub force_segments: Vec<SegmentKey>,
    /// Segments the person is taken not to be in.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub deny_segments: Vec<SegmentKey>,
    /// The time it is taken to be.
    #[serde(default)]
    pub at: Option<Millis>,
    /// The seed, 32 hexadecimal digits: the same request with the same seed has the same answer.
    #[serde(default)]
    #[schema(pattern = "^[0-9a-fA-F]{32}$")]
    pub seed: Option<String>,
}
