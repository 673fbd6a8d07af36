//! The answer as the contract has it: everything named, nothing else.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    pub(crate) request_decision_id: Uuid,
    pub(crate) catalog_version: i64,
    pub(crate) decided_at: String,
    pub(crate) user: User,
    pub(crate) purposes_used: Vec<String>,
    pub(crate) placements: BTreeMap<String, Vec<Item>>,
    pub(crate) errors: Vec<Fault>,
    pub(crate) explanation: Option<Explanation>,
    pub(crate) timing_us: Timing,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) key: Option<String>,
    pub(crate) known: bool,
    pub(crate) as_of: Option<String>,
    pub(crate) staleness_ms: Option<i64>,
    pub(crate) segments: Option<Vec<Segment>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Segment {
    pub(crate) key: String,
    pub(crate) kind: String,
    pub(crate) since: Option<String>,
    pub(crate) valid_until: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    pub(crate) decision_id: Uuid,
    pub(crate) status: String,
    pub(crate) no_fill_reason: Option<String>,
    pub(crate) campaign: Option<String>,
    pub(crate) creative: Option<String>,
    pub(crate) revision: Option<u32>,
    pub(crate) combination_id: Option<String>,
    pub(crate) crid: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) width: Option<u16>,
    pub(crate) height: Option<u16>,
    pub(crate) markup: Option<String>,
    pub(crate) components: Option<BTreeMap<String, Option<String>>>,
    pub(crate) content: Option<BTreeMap<String, Value>>,
    pub(crate) impression_url: Option<String>,
    pub(crate) view_url: Option<String>,
    pub(crate) click_url: Option<String>,
    pub(crate) conversion_token: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) segments_matched: Option<Vec<String>>,
    pub(crate) fallback_level: String,
    pub(crate) degraded: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) pointer: String,
    pub(crate) code: String,
    pub(crate) detail: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Explanation {
    pub(crate) items: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timing {
    pub(crate) total: u64,
    pub(crate) user: u64,
    pub(crate) decide: u64,
    pub(crate) assemble: u64,
}

impl Answer {
    #[track_caller]
    pub(crate) fn of(answer: &Value) -> Self {
        serde_json::from_value(answer.clone()).unwrap_or_else(|error| panic!("{error}: {answer:#}"))
    }

    /// The one item of the placement called `top`.
    pub(crate) fn item(&self) -> &Item {
        &self.placements["top"][0]
    }
}

/// A problem document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProblemDoc {
    pub(crate) r#type: String,
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) detail: Option<String>,
    #[serde(default)]
    pub(crate) errors: Vec<Fault>,
    pub(crate) request_id: String,
}
