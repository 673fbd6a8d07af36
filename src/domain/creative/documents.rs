//! The documents that authors write: templates, creatives and components. Their texts here are
//! also the texts of the API's description.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::{
    ids::{AdvertiserId, ComponentId, SlotName, TemplateId},
    values::{Format, Locale, Millis, Size},
};

/// Markup with typed slots.
///
/// In `markup`, `{{headline}}` places a slot, `{{hero.src}}` and `{{hero.alt}}` an image,
/// `{{price}}`, `{{price.amount}}` and `{{price.currency}}` a price. `{{#if badge}}..{{else}}..{{/if}}`
/// asks whether an optional slot has a value; `{{#each products}}..{{/each}}` repeats its body with
/// `{{id}}`, `{{title}}`, `{{link}}`, `{{image.src}}`, `{{image.alt}}`, `{{price}}`, `{{sale_price}}`,
/// `{{brand}}` and `{{description}}` of each product (the last four inside `{{#if price}}` and the like).
/// Every decision fills in `{{click_url}}` and `{{landing_url}}` (in an `href`), `{{impression_url}}`
/// (in an `img src`; added before `</body>` when it is not placed), `{{view_url}}` (in a `data-`
/// attribute or JSON), `{{decision_id}}` and `{{cachebuster}}`. A product's `{{link}}` goes straight
/// to the product: only `{{click_url}}` counts a click.
///
/// Values are escaped for the place they stand in: text, a quoted attribute, a URL, a CSS value in
/// a `style` attribute or a `<script type="application/json">`. Anywhere else a slot is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Hero banner 300x250", "format": "html", "size": "300x250",
    "slots": {
        "headline": {"type": "text", "default": "New this week", "max_length": 40},
        "hero": {"type": "image", "default": {"src": "https://cdn.example.com/hero.png", "alt": "A running shoe"}}
    },
    "markup": "<body><a href=\"{{click_url}}\"><img src=\"{{hero.src}}\" alt=\"{{hero.alt}}\">{{headline}}</a></body>"
}))]
pub struct TemplateDoc {
    /// What people call it, 1 to 200 characters.
    #[schema(example = "Hero banner 300x250", min_length = 1, max_length = 200)]
    pub name: String,
    /// What kind of markup it makes.
    pub format: Format,
    /// The one size of an `html` template; left out when the template adapts to any size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The slots by name, at most 64: letters, digits, `_` and `-`.
    #[serde(default)]
    pub slots: BTreeMap<SlotName, SlotDoc>,
    /// The markup of an `html` template, at most 256 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        max_length = 262_144,
        example = "<body><a href=\"{{click_url}}\"><img src=\"{{hero.src}}\" alt=\"{{hero.alt}}\">{{headline}}</a></body>"
    )]
    pub markup: Option<String>,
    /// The assets of a `native` template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeDoc>,
    /// The video of a `vast` template and what goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vast: Option<VastDoc>,
}

/// What a slot accepts and what it shows when no component is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SlotDoc {
    /// The type of its values.
    #[serde(rename = "type")]
    pub kind: SlotType,
    /// The value shown when no component is chosen. Written as in a component's `value`; `null`
    /// only where the slot is `optional`.
    #[schema(example = "New this week")]
    pub default: Value,
    /// Whether `null` is a value, meaning "show nothing". The markup must then ask with
    /// `{{#if slot}}`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// `text` and `legal`: the longest value, in characters (default 500 and 2000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub max_length: Option<u32>,
    /// `image`: the width it must have, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub width: Option<u32>,
    /// `image`: the height it must have, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub height: Option<u32>,
    /// `image`: the largest file, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000_000)]
    pub max_bytes: Option<u32>,
    /// `product`: the most products in one value (default 10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10)]
    pub max_items: Option<u32>,
}

/// The types of slots, with the JSON of their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SlotType {
    /// A line of text without control characters: `"Run further"`.
    Text,
    /// `{"src": "https://..." or "/v1/assets/...", "alt": "what it shows", "width"?: 300, "height"?: 250}`. With
    /// `"renditions": [{"src", "width": 728, "height": 90}]` the same picture in up to 16 other sizes: each template
    /// shows the file of its slot's size, and `src` where the slot has none. Of an asset of ours the sizes are looked
    /// up.
    Image,
    /// An `http` or `https` address: `"https://shop.example/shoes"`.
    Url,
    /// A CSS colour: `"#e63946"`, `"teal"`, `"rgb(230 57 70 / 50%)"`, `"hsl(355, 78%, 56%)"`.
    Color,
    /// `{"amount": "19.99", "currency": "EUR"}`, not negative.
    Price,
    /// A finite JSON number.
    Number,
    /// An array of 1 to `max_items`
    /// `{"id", "title", "link", "image": {"src", "alt"}, "price"?, "sale_price"?}`.
    Product,
    /// Text that the law requires beside an offer.
    Legal,
    /// `{"files": [{"src": "https://...", "type": "video/mp4", "width": 1280, "height": 720, "bitrate_kbps"?: 1500}],
    /// "duration_ms": 15000}`: 1 to 16 renditions of one video, of at most an hour. Only the `video` of a `vast`
    /// template shows it.
    Video,
}

/// The assets of an IAB Native 1.2 answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NativeDoc {
    /// 1 to 32 assets with different ids.
    pub assets: Vec<NativeAssetDoc>,
}

/// One native asset, filled by a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": 1, "required": true, "kind": "title", "slot": "headline"}))]
pub struct NativeAssetDoc {
    /// The asset's id within the answer.
    pub id: u32,
    /// Whether the answer is useless without it; its slot must then not be optional.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// What the asset is.
    pub kind: NativeKind,
    /// The slot that fills it.
    pub slot: SlotName,
}

/// What a native asset is (Native 1.2, sections 7.2, 7.4 and 7.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NativeKind {
    /// The title, from a text slot.
    Title,
    /// An image of type 1, from an image slot.
    Icon,
    /// An image of type 3, from an image slot.
    MainImage,
    /// Data of type 1: who pays.
    Sponsored,
    /// Data of type 2: the description.
    Desc,
    /// Data of type 3: a rating.
    Rating,
    /// Data of type 4.
    Likes,
    /// Data of type 5.
    Downloads,
    /// Data of type 6, from a price slot or as text.
    Price,
    /// Data of type 7, from a price slot or as text.
    SalePrice,
    /// Data of type 8.
    Phone,
    /// Data of type 9.
    Address,
    /// Data of type 10.
    Desc2,
    /// Data of type 11: the address shown.
    DisplayUrl,
    /// Data of type 12: the call to action.
    Cta,
}

/// A linear video ad (IAB VAST): a video, and HTML beside or behind it with slots like any other.
///
/// Players are told to count the impression, how far it was played, clicks, errors and, in VAST 4, whether it was
/// in view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"video": "film", "title": "headline", "skip_after_ms": 5000, "companions": [
    {"size": "300x250", "end_card": true, "markup": "<body><a href=\"{{click_url}}\">{{headline}}</a></body>"}
]}))]
pub struct VastDoc {
    /// The `video` slot that is played.
    pub video: SlotName,
    /// A `text` slot that names the ad; left out for the template's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<SlotName>,
    /// A `text` or `legal` slot that describes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<SlotName>,
    /// After how many ms people may skip it, where the player lets them (from VAST 3.0 on); left out for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 3_600_000)]
    pub skip_after_ms: Option<u32>,
    /// What is shown beside the video or behind it, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 8)]
    pub companions: Vec<CompanionDoc>,
}

/// HTML that a player shows with a video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "size": "300x250", "markup": "<body><a href=\"{{click_url}}\">{{headline}}</a></body>"
}))]
pub struct CompanionDoc {
    /// Its size.
    pub size: Size,
    /// Whether it is shown behind the video, in its place, and not beside it. Players before VAST 4.1 cannot be
    /// told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_card: bool,
    /// Its markup, as that of an `html` template; without `{{impression_url}}` and `{{view_url}}`, which are the
    /// video's.
    #[schema(max_length = 262_144, example = "<body><a href=\"{{click_url}}\">{{headline}}</a></body>")]
    pub markup: String,
}

/// A value for one slot (a variant), with when and to whom it may be shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"slot": "headline", "value": "Still thinking it over?", "weight": 50}))]
pub struct ComponentDoc {
    /// The slot it fills.
    pub slot: SlotName,
    /// The value, as the slot's type asks. Of a `product` slot an array of products, or what every
    /// decision picks from a feed: `{"feed": "shop", "choose": "last_viewed"}`, where `choose` is
    /// `last_viewed`, `abandoned` (in the basket and not bought), `popular` or `popular_in_segment`
    /// (with `segment`). Where fewer are known, `"fill": "popular"` fills up, and `"none"` does not;
    /// `items` shows fewer than the slot takes. Nothing that is out of stock is shown, and without a
    /// product the component is not.
    pub value: Value,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// A targeting rule; left out for everyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targeting: Option<Value>,
    /// When it may be shown; left out for always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flight: Option<ComponentFlight>,
    /// The language it is written in; left out for every language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
    /// Its share among the components of its slot where rotation is `weighted`.
    #[serde(default = "default_weight")]
    #[schema(minimum = 1, maximum = 10_000, default = 100)]
    pub weight: u32,
    /// Whether it may be chosen.
    #[serde(default)]
    pub status: ComponentStatus,
}

fn default_weight() -> u32 {
    100
}

/// From when until when a component may be shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ComponentFlight {
    /// The first instant; left out for no beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Millis>,
    /// The first instant after the flight; left out for no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Millis>,
}

/// Whether a component may be chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComponentStatus {
    /// It may.
    #[default]
    Active,
    /// It may not, for now.
    Paused,
}

/// Which components go together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PairingRule {
    /// With this component, only some components in other slots.
    #[schema(example = json!({"if": "offer-summer", "then": ["legal-summer"]}))]
    Require(RequireRule),
    /// 2 to 8 components of different slots that are never shown all together.
    Forbid(Vec<ComponentId>),
    /// 2 to 8 components of different slots that are shown all together or not at all, such as an
    /// offer and its legal text.
    Group(Vec<ComponentId>),
}

/// With the component `if`, every slot that a component of `then` fills takes one of `then`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequireRule {
    /// The component that asks for others.
    #[serde(rename = "if")]
    pub when: ComponentId,
    /// 1 to 64 components of other slots.
    pub then: Vec<ComponentId>,
}

/// What is shown: templates of several sizes and formats, filled from the same components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Spring shoes", "advertiser": "northwind", "templates": ["hero-300x250"],
    "pairing": [{"require": {"if": "offer-summer", "then": ["legal-summer"]}}]
}))]
pub struct CreativeDoc {
    /// What people call it.
    #[schema(example = "Spring shoes", min_length = 1, max_length = 200)]
    pub name: String,
    /// Whose it is.
    pub advertiser: AdvertiserId,
    /// 1 to 16 templates, one for each size and format.
    #[schema(min_items = 1, max_items = 16)]
    pub templates: Vec<TemplateId>,
    /// A `url` slot whose chosen component takes the place of the campaign's landing URL, or a `product`
    /// slot: the link of the first product shown does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landing_slot: Option<SlotName>,
    /// Which components go together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairing: Vec<PairingRule>,
    /// What exchanges have to know of it, by AdCOM's numbers of creative attributes: 6 plays video
    /// by itself, 13 can be played with. It is not shown where a bid request blocks one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 32)]
    pub attributes: Vec<u16>,
}
