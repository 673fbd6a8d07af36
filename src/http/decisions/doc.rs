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
        decide::Reason,
        explanation::ItemExplanation,
        standing::{Degraded, FallbackLevel},
    },
    ids::{CampaignId, ComponentId, CreativeId, DecisionId, SegmentKey, UserKey},
    values::{Format, Millis},
};

/// What was decided.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DecisionAnswer)]
pub(super) struct DecisionAnswerDoc {
    /// Names the whole request; each item has a `decision_id` of its own.
    pub(super) request_decision_id: DecisionId,
    /// The catalogue version it was decided with.
    pub(super) catalog_version: i64,
    /// When.
    pub(super) decided_at: Millis,
    /// The person, as far as they are known and may be used.
    pub(super) user: UserDoc,
    /// What the request was used for, as consent and the law of the place allow: `basic`, `profile_read`,
    /// `profile_write`, `measure`.
    pub(super) purposes_used: Vec<super::wire::PurposeName>,
    /// By the ids of the request's placements, the items for each.
    pub(super) placements: BTreeMap<String, Vec<ItemDoc>>,
    /// What in the request was of no use, such as segments that do not exist.
    pub(super) errors: Vec<crate::domain::violation::ViolationDoc>,
    /// Why, where the request asked.
    pub(super) explanation: Option<ExplanationDoc>,
    /// How long each step took, in microseconds.
    pub(super) timing_us: crate::engine::decider::Timing,
}

/// The person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DecisionUser)]
pub(super) struct UserDoc {
    /// The key of the request.
    pub(super) key: Option<UserKey>,
    /// Whether anybody is known under it.
    pub(super) known: bool,
    /// When the profile was last proven current.
    pub(super) as_of: Option<Millis>,
    /// How long before the decision that was, in ms.
    pub(super) staleness_ms: Option<i64>,
    /// Segments the person is in.
    pub(super) segments: Option<Vec<SegmentHeldDoc>>,
}

/// A segment the person is in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SegmentHeld)]
pub(super) struct SegmentHeldDoc {
    /// The segment.
    pub(super) key: SegmentKey,
    /// How it gets its members.
    pub(super) kind: SegmentKind,
    /// Since when, if that is known.
    pub(super) since: Option<Millis>,
    /// When time alone may end it.
    pub(super) valid_until: Option<Millis>,
}

/// One item of a placement.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DecisionItem)]
pub(in crate::http) struct ItemDoc {
    /// Names the item in records, tokens and outcomes.
    pub(in crate::http) decision_id: DecisionId,
    /// Whether there is something to show.
    pub(in crate::http) status: ItemStatus,
    /// Why there is nothing.
    pub(in crate::http) no_fill_reason: Option<String>,
    /// The campaign; none for a house creative.
    pub(in crate::http) campaign: Option<CampaignId>,
    /// The creative.
    pub(in crate::http) creative: Option<CreativeId>,
    /// Its revision.
    pub(in crate::http) revision: Option<u32>,
    /// Names the combination of components: the same for the same revision and choice.
    pub(in crate::http) combination_id: Option<String>,
    /// Names the content: the same for the same values in the same template.
    pub(in crate::http) crid: Option<String>,
    /// What kind of markup.
    pub(in crate::http) format: Option<Format>,
    /// Width in CSS pixels.
    pub(in crate::http) width: Option<u16>,
    /// Height in CSS pixels.
    pub(in crate::http) height: Option<u16>,
    /// The markup: a document for an iframe, or native JSON as a text.
    pub(in crate::http) markup: Option<String>,
    /// Per slot the component shown; `null` for the slot's default.
    #[schema(value_type = Option<Object>)]
    pub(in crate::http) components: Option<BTreeMap<String, Option<ComponentId>>>,
    /// Per slot the value shown.
    pub(in crate::http) content: Option<BTreeMap<String, Value>>,
    /// Fetch it when the creative is rendered; the html markup does so itself.
    pub(in crate::http) impression_url: Option<String>,
    /// Fetch it when the creative is in view.
    pub(in crate::http) view_url: Option<String>,
    /// Where a click goes; it counts and redirects to the landing page.
    pub(in crate::http) click_url: Option<String>,
    /// Send it with conversions.
    pub(in crate::http) conversion_token: Option<String>,
    /// Why this combination.
    pub(in crate::http) reason: Option<Reason>,
    /// Segments that the targeting of what is shown names and the person is in.
    pub(in crate::http) segments_matched: Option<Vec<SegmentKey>>,
    /// How far down the fallback ladder.
    pub(in crate::http) fallback_level: FallbackLevel,
    /// What was given up.
    pub(in crate::http) degraded: Vec<Degraded>,
}

/// Why each item is what it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DecisionExplanation)]
pub(super) struct ExplanationDoc {
    /// Per item, in the order of the placements.
    pub(super) items: Vec<ItemExplanation>,
}
