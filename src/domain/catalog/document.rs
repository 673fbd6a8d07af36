//! The documents of the catalogue that belong to no other wing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::domain::catalog::goal::{AttributionDoc, GoalDoc, ValueDoc};
use crate::domain::{
    ids::{AdvertiserId, CreativeId, EventName, PlacementId, TemplateId},
    values::{Format, Millis, Money, Origin, Size, Span},
};

/// A brand within an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Northwind Outfitters", "domain": "northwind.example", "landing_hosts": ["shop.northwind.example"]}))]
pub struct AdvertiserDoc {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// The root domain that exchanges know the advertiser by (`adomain`), such as `example.com`.
    #[schema(min_length = 1, max_length = 253)]
    pub domain: String,
    /// Hosts that landing URLs may lead to, each with its subdomains. Empty: the domain's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub landing_hosts: Vec<String>,
    /// What it advertises, as exchanges ask (`cat`), such as `IAB17` or `IAB17-18`: none of them is
    /// shown where a bid request blocks it or what it is part of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub categories: Vec<String>,
    /// The taxonomy of `categories`, by its number in AdCOM: 1 is IAB Content Categories 1.0.
    #[serde(default = "default_cattax", skip_serializing_if = "is_default_cattax")]
    #[schema(minimum = 1)]
    pub cattax: u16,
}

fn default_cattax() -> u16 {
    1
}

fn is_default_cattax(cattax: &u16) -> bool {
    *cattax == 1
}

/// A slot on a page or in an app that asks for creatives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Home page, top", "sizes": ["300x250"], "formats": ["html"], "house_creative": "house"}))]
pub struct PlacementDoc {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// Sizes it shows. Native ads and videos need none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 32)]
    pub sizes: Vec<Size>,
    /// Formats it shows.
    #[schema(min_items = 1, max_items = 3)]
    pub formats: Vec<Format>,
    /// Shown when no campaign may be: the last step of the fallback ladder before no fill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub house_creative: Option<CreativeId>,
}

/// What web pages carry to send events. Anybody can read it there, so it opens nothing but what it
/// says: some types of events, from pages of some origins, at some rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Web shop", "origins": ["https://shop.northwind.example"], "events": ["product_viewed"]}))]
pub struct WriteKeyDoc {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// Origins of the pages.
    #[schema(min_items = 1, max_items = 64)]
    pub origins: Vec<Origin>,
    /// Types of events that it may send.
    #[schema(min_items = 1, max_items = 64)]
    pub events: Vec<EventName>,
    /// Events a minute from one network (an IPv4 /24, an IPv6 /56) and replica.
    #[serde(default = "WriteKeyDoc::per_minute")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub per_minute: u32,
}

impl WriteKeyDoc {
    fn per_minute() -> u32 {
        600
    }
}

/// Whether a campaign serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CampaignStatus {
    /// Being prepared: never serves.
    Draft,
    /// Serves within its flight.
    Active,
    /// Held back by hand.
    Paused,
    /// Kept for its reports only.
    Archived,
}

/// A day of the week in a campaign's own time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the seven days need no explanation")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Hours of some days in which a campaign serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"days": ["mon", "tue"], "from": "08:00", "to": "20:00"}))]
pub struct DaypartDoc {
    /// On which days. Empty: on all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 7)]
    pub days: Vec<Day>,
    /// First minute, `HH:MM` local time.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    pub from: String,
    /// The minute after the last, `HH:MM` up to `24:00`; earlier than `from` wraps past midnight
    /// into the following day.
    #[schema(pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
    pub to: String,
}

/// When a campaign serves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"start": "2026-03-01T00:00:00Z", "time_zone": "America/New_York", "dayparts": [{"from": "06:00", "to": "23:00"}]}))]
pub struct FlightDoc {
    /// First instant; none: already running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Millis>,
    /// The instant after the last; none: open-ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Millis>,
    /// IANA time zone of the dayparts; none: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub time_zone: Option<String>,
    /// Hours in which it serves. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 32)]
    pub dayparts: Vec<DaypartDoc>,
}

/// At most so many impressions to one person within a rolling window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"impressions": 3, "per": "P1D"}))]
pub struct FrequencyCapDoc {
    /// How many impressions, 1 to 64.
    #[schema(minimum = 1, maximum = 64)]
    pub impressions: u8,
    /// The window, 1 second to 90 days.
    pub per: Span,
}

/// What a capped campaign does for a person whose impressions may not be counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UncappedUsers {
    /// Serves without a cap.
    Serve,
    /// Does not serve.
    #[default]
    Skip,
}

/// How a campaign chooses among its components.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// Learned from outcomes.
    Optimized,
    /// By the components' weights, sticky per person.
    #[default]
    Weighted,
    /// Evenly, sticky per person.
    Even,
}

/// What the held-out share of a campaign's people sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Every slot's default.
    #[default]
    Default,
    /// Untargeted components in even rotation.
    Even,
}

/// A campaign: what an advertiser wants shown, where, when, to whom and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Spring", "advertiser": "northwind", "status": "active", "creatives": ["spring-hero"],
    "landing_url": "https://shop.northwind.example/spring", "priority": 5, "weight": 100,
    "placements": ["home-top"], "frequency_caps": [{"impressions": 3, "per": "P1D"}], "holdout": 0.05
}))]
pub struct CampaignDoc {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// Whose it is.
    pub advertiser: AdvertiserId,
    /// Whether it serves.
    pub status: CampaignStatus,
    /// When it serves.
    #[serde(default)]
    pub flight: FlightDoc,
    /// 1 (first) to 16 (last): a lower tier serves only when no campaign of a higher one may.
    #[serde(default = "default_priority")]
    #[schema(minimum = 1, maximum = 16)]
    pub priority: u8,
    /// Share among the eligible campaigns of the same tier, 1 to 10,000.
    #[serde(default = "default_weight")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub weight: u32,
    /// Who and which requests: a rule over segments, profile and context. None: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targeting: Option<crate::domain::audience::TargetingDoc>,
    /// Registered placements it may serve on. Empty: all, and sizes brought inline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 1_000)]
    pub placements: Vec<PlacementId>,
    /// What it may show; among several that fit, one is chosen evenly and sticky per person.
    #[schema(min_items = 1, max_items = 64)]
    pub creatives: Vec<CreativeId>,
    /// Shown to callers that pinned this campaign while it may not serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_creative: Option<CreativeId>,
    /// Where a click leads: http or https, on one of the advertiser's landing hosts.
    #[schema(min_length = 1, max_length = 2_000)]
    pub landing_url: String,
    /// All of them hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 4)]
    pub frequency_caps: Vec<FrequencyCapDoc>,
    /// What the caps do where a person's impressions may not be counted.
    #[serde(default)]
    pub uncapped_users: UncappedUsers,
    /// What it is for.
    #[serde(default)]
    pub goal: GoalDoc,
    /// Which conversions are its own. Left out: those within 30 days of a click.
    #[serde(default, skip_serializing_if = "AttributionDoc::is_usual")]
    pub attribution: AttributionDoc,
    /// Share of people that gets the control, 0 to 0.9; sticky per person.
    #[serde(default)]
    #[schema(minimum = 0.0, maximum = 0.9)]
    pub holdout: f64,
    /// What the held-out share sees.
    #[serde(default)]
    pub control: Control,
    /// How components are chosen.
    #[serde(default)]
    pub rotation: Rotation,
    /// At most one campaign of a group is shown per request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub exclusive_group: Option<String>,
    /// Deals of exchanges by which it may be bought.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub deals: Vec<String>,
    /// What it pays per thousand impressions; needed where a request sets a floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpm: Option<Money>,
    /// What it may spend by bidding itself, at `cpm`, on OpenRTB requests that name no line. None: it
    /// bids only where a bidder names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<crate::domain::catalog::budget::BudgetDoc>,
}

fn default_priority() -> u8 {
    8
}

fn default_weight() -> u32 {
    100
}

/// What was published of a creative: its draft with everything it used, so that nothing that
/// changes later can change what this revision shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevisionDoc {
    /// Counts from 1 within the creative.
    pub revision: u32,
    /// When it was published.
    pub published_at: Millis,
    /// The creative's draft.
    pub creative: crate::domain::creative::CreativeDoc,
    /// The templates it names.
    #[schema(value_type = std::collections::BTreeMap<String, crate::domain::creative::TemplateDoc>)]
    pub templates: BTreeMap<TemplateId, crate::domain::creative::TemplateDoc>,
    /// Its components.
    #[schema(value_type = std::collections::BTreeMap<String, crate::domain::creative::ComponentDoc>)]
    pub components: BTreeMap<crate::domain::ids::ComponentId, crate::domain::creative::ComponentDoc>,
    /// Those of its combinations that exchanges review one by one; none where no exchange did when it was published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub combinations: Vec<crate::domain::catalog::reviewed::CombinationDoc>,
}

/// Which revision of a creative serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicationDoc {
    /// The revision in use.
    pub revision: u32,
    /// Whether it may be shown.
    pub status: PublicationStatus,
}

/// Whether a published creative may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PublicationStatus {
    /// It serves.
    Published,
    /// It no longer serves; its revisions are kept.
    Archived,
}

/// A segment: its name and its rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Young buyers", "rule": {"v": 1, "kind": "dynamic", "match": {"all": [
    {"trait": "age", "gte": 18, "lt": 26}, {"trait": "last_purchase", "within_last": "P30D"}
]}}}))]
pub struct SegmentDoc {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// Who is in it.
    pub rule: crate::domain::audience::RuleDoc,
}
