//! What the answer looks like, for the OpenAPI document. A test reads real answers as these types,
//! so that the description stays true.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::{
    audience::compile::SegmentKind,
    decision::{
        answer::ItemStatus,
        explanation::{ItemExplanation, Reason},
        standing::{Degraded, FallbackLevel},
    },
    ids::{CampaignId, ComponentId, CreativeId, DecisionId, SegmentKey, UserKey},
    values::{Format, Millis},
};

/// What was decided.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DecisionAnswer, example = json!({
    "request_decision_id": "01a20656-f488-73c9-86e2-5052a82a2480",
    "catalog_version": 12,
    "decided_at": "2026-11-23T02:58:11.720Z",
    "user": {
        "key": "u-1", "known": true, "as_of": "2026-11-23T02:58:11.719Z", "staleness_ms": 1,
        "segments": [{
            "key": "young-buyers", "kind": "dynamic",
            "since": "2026-11-11T02:58:07.199Z", "valid_until": "2026-12-11T02:58:07.199Z"
        }]
    },
    "purposes_used": ["basic", "profile_read", "profile_write", "measure"],
    "placements": {"top": [{
        "decision_id": "01a20656-f488-7bee-b3c7-03e2d069d67d",
        "status": "filled",
        "campaign": "spring", "creative": "spring-hero", "revision": 3,
        "combination_id": "799b2c4fc02ec324", "crid": "3746a67766ec96c55dd3b453aafede93",
        "format": "html", "width": 300, "height": 250,
        "markup": "<!doctype html><a href=\"https://ads.example/v1/c/AQETAQ\">Run further</a>",
        "components": {"headline": "headline-young"},
        "content": {"headline": "Run further"},
        "impression_url": "https://ads.example/v1/i/AQETAQ", "view_url": "https://ads.example/v1/v/AQETAQ",
        "click_url": "https://ads.example/v1/c/AQETAQ", "conversion_token": "AQETAQ",
        "reason": "optimized", "segments_matched": ["young-buyers"],
        "fallback_level": "personalised", "degraded": []
    }]},
    "errors": [],
    "timing_us": {"user": 6, "decide": 18, "assemble": 7, "total": 64}
}))]
pub struct DecisionAnswerDoc {
    /// Names the whole request; each item has a `decision_id` of its own.
    pub request_decision_id: DecisionId,
    /// The catalogue version it was decided with.
    pub catalog_version: i64,
    /// When.
    pub decided_at: Millis,
    /// The person, as far as they are known and may be used.
    pub user: UserDoc,
    /// What the request was used for, as consent and the law of the place allow.
    pub purposes_used: Vec<super::wire::PurposeName>,
    /// By the ids of the request's placements, the items for each.
    pub placements: BTreeMap<String, Vec<ItemDoc>>,
    /// What in the request was of no use: segments, pinned campaigns and pinned creatives that do
    /// not exist.
    pub errors: Vec<crate::domain::violation::ViolationDoc>,
    /// Why, where the request asked.
    pub explanation: Option<ExplanationDoc>,
    /// How long each step took, in microseconds.
    pub timing_us: crate::engine::decider::Timing,
}

/// The person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DecisionUser)]
pub struct UserDoc {
    /// The key of the request.
    pub key: Option<UserKey>,
    /// Whether anybody is known under it.
    pub known: bool,
    /// When the profile was last proven current; absent where none could be read in time.
    pub as_of: Option<Millis>,
    /// How long before the answer that was, in ms; absent with `as_of`.
    pub staleness_ms: Option<i64>,
    /// Segments the person is in.
    pub segments: Option<Vec<SegmentHeldDoc>>,
}

/// A segment the person is in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SegmentHeld)]
pub struct SegmentHeldDoc {
    /// The segment.
    pub key: SegmentKey,
    /// How it gets its members.
    pub kind: SegmentKind,
    /// Since when at the latest, if that is known: of rules over events perhaps the newest that counts.
    /// `GET /v1/profiles/{user}/segments` works out the first.
    pub since: Option<Millis>,
    /// When time alone may end it.
    pub valid_until: Option<Millis>,
}

/// One item of a placement.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DecisionItem)]
pub struct ItemDoc {
    /// Names the item in records, tokens and outcomes.
    pub decision_id: DecisionId,
    /// Whether there is something to show.
    pub status: ItemStatus,
    /// Why there is nothing.
    pub no_fill_reason: Option<String>,
    /// The campaign; none for a house creative.
    pub campaign: Option<CampaignId>,
    /// The creative.
    pub creative: Option<CreativeId>,
    /// Its revision.
    pub revision: Option<u32>,
    /// Names the combination of components: the same for the same revision and choice.
    pub combination_id: Option<String>,
    /// Names the content: the same for the same values in the same template.
    pub crid: Option<String>,
    /// What kind of markup.
    pub format: Option<Format>,
    /// Width in CSS pixels.
    pub width: Option<u16>,
    /// Height in CSS pixels.
    pub height: Option<u16>,
    /// The markup: a document for an iframe, native JSON or VAST as a text.
    pub markup: Option<String>,
    /// Per slot the component shown; `null` for the slot's default.
    #[schema(value_type = Option<Object>)]
    pub components: Option<BTreeMap<String, Option<ComponentId>>>,
    /// Per slot the value shown.
    pub content: Option<BTreeMap<String, Value>>,
    /// Fetch it when the creative is rendered; the html markup does so itself.
    pub impression_url: Option<String>,
    /// Fetch it when the creative is in view.
    pub view_url: Option<String>,
    /// Where a click goes; it counts and redirects to the landing page.
    pub click_url: Option<String>,
    /// Send it with conversions.
    pub conversion_token: Option<String>,
    /// Why this combination.
    pub reason: Option<Reason>,
    /// Segments that the targeting of what is shown names and the person is in.
    pub segments_matched: Option<Vec<SegmentKey>>,
    /// The probability with which the combination was chosen, where what was learned chose and
    /// `explain` is `full`.
    pub propensity: Option<f64>,
    /// How far down the fallback ladder.
    pub fallback_level: FallbackLevel,
    /// What was given up.
    pub degraded: Vec<Degraded>,
}

/// Why each item is what it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DecisionExplanation)]
pub struct ExplanationDoc {
    /// Per item, in the order of the placements.
    pub items: Vec<ItemExplanation>,
}
