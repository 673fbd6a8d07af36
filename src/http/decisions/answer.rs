//! The answer of `POST /v1/decisions`, written once from what was decided.

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    domain::{
        audience::compile::SegmentKind,
        consent::Purposes,
        decision::{
            answer::ItemAnswer,
            explanation::ItemExplanation,
            request::{AdRequest, Explain},
        },
        ids::{DecisionId, SegmentKey, UserKey},
        values::Millis,
        violation::Violation,
    },
    engine::decider::{Decided, Timing},
};

/// The whole answer.
#[derive(Serialize)]
pub(super) struct DecisionAnswer<'a> {
    request_decision_id: DecisionId,
    catalog_version: i64,
    decided_at: Millis,
    user: UserAnswer<'a>,
    purposes_used: Vec<&'static str>,
    placements: Placements<'a>,
    errors: Vec<Violation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<ExplanationAnswer<'a>>,
    timing_us: Timing,
}

#[derive(Serialize)]
struct UserAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a UserKey>,
    known: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    staleness_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<Vec<SegmentAnswer<'a>>>,
}

#[derive(Serialize)]
struct SegmentAnswer<'a> {
    key: &'a SegmentKey,
    kind: SegmentKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<Millis>,
}

#[derive(Serialize)]
struct ExplanationAnswer<'a> {
    items: &'a [ItemExplanation],
}

/// What of the request the answer repeats.
pub(super) struct Asked<'a> {
    /// The person's key, where the purposes allow naming it.
    pub(super) key: Option<&'a UserKey>,
    /// What the request was used for.
    pub(super) purposes: Purposes,
    /// The ids of the placements.
    pub(super) placements: &'a [String],
    /// How much to explain.
    pub(super) explain: Explain,
    /// Segments that the request names and the account does not have.
    pub(super) unknown_segments: &'a [Violation],
}

impl<'a> DecisionAnswer<'a> {
    pub(super) fn new(decided: &'a Decided, asked: &Asked<'a>) -> Self {
        let decision = &decided.decision;
        let rules = &decided.account.snapshot.rules;
        let segments = decision.segments.iter().map(|(ix, verdict)| SegmentAnswer {
            key: rules.key(*ix),
            kind: rules.kind(*ix),
            since: verdict.since,
            valid_until: verdict.valid_until,
        });
        let user = UserAnswer {
            key: asked.key,
            known: decided.user.known && asked.key.is_some(),
            as_of: asked.key.and_then(|_| decided.user.as_of(decision.at)),
            staleness_ms: asked.key.map(|_| decided.user.staleness_ms),
            segments: asked.key.map(|_| segments.collect()),
        };
        Self {
            request_decision_id: decision.id,
            catalog_version: decision.catalog_version,
            decided_at: decision.at,
            user,
            purposes_used: asked.purposes.names().collect(),
            placements: Placements { decided, ids: asked.placements },
            errors: asked.unknown_segments.to_vec(),
            explanation: (asked.explain > Explain::None).then(|| ExplanationAnswer { items: &decision.explanation }),
            timing_us: decided.timing,
        }
    }
}

/// The items of every placement, keyed by the caller's name for it.
struct Placements<'a> {
    decided: &'a Decided,
    ids: &'a [String],
}

impl Serialize for Placements<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let (decision, rules) = (&self.decided.decision, &self.decided.account.snapshot.rules);
        let mut map = out.serialize_map(Some(self.ids.len()))?;
        for ((id, items), assembled) in self.ids.iter().zip(&decision.placements).zip(&self.decided.assembled) {
            let items = items.iter().zip(assembled);
            let items: Vec<_> = items.map(|(item, made)| ItemAnswer::new(item, made.as_ref(), rules)).collect();
            map.serialize_entry(id, &items)?;
        }
        map.end()
    }
}

/// Segments that a request names and the account does not have: they match nobody, which the
/// caller should know.
pub(super) fn unknown_segments(request: &AdRequest, known: impl Fn(&SegmentKey) -> bool) -> Vec<Violation> {
    let preview = request.preview.as_ref();
    let forced = preview.map_or(&[][..], |preview| &preview.force_segments);
    let denied = preview.map_or(&[][..], |preview| &preview.deny_segments);
    let places = [
        ("/user/segments", &request.segments[..]),
        ("/preview/force_segments", forced),
        ("/preview/deny_segments", denied),
    ];
    let named =
        places.into_iter().flat_map(|(place, keys)| keys.iter().enumerate().map(move |(at, key)| (place, at, key)));
    let unknown = named.filter(|(.., key)| !known(key));
    unknown
        .map(|(place, at, key)| {
            Violation::new(format!("{place}/{at}"), "unknown_segment", format!("there is no segment {key}"))
        })
        .collect()
}
