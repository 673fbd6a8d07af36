//! The answer of `POST /v1/decisions`, written once from what was decided.

use crate::{
    domain::{
        audience::{
            compile::{RuleSet, SegmentIx, SegmentKind},
            verdict::Verdict,
        },
        catalog::snapshot::Snapshot,
        consent::Purposes,
        decision::{
            answer::write_item,
            request::{AdRequest, Candidate, Explain},
        },
        ids::{SegmentKey, UserKey},
        values::Json,
        violation::Violation,
    },
    engine::decider::Decided,
};

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
    /// What the request names and the account does not have.
    pub(super) unknown: &'a [Violation],
}

/// The whole answer, in the shape of [`DecisionAnswerDoc`](super::doc::DecisionAnswerDoc).
pub(super) fn answer(decided: &Decided, asked: &Asked<'_>) -> Vec<u8> {
    let (decision, rules) = (&decided.decision, &decided.account.snapshot.rules);
    let markup = decided.assembled.iter().flatten().flatten().map(|made| made.markup.len() * 2);
    let segments = decision.segments(rules);
    let mut json = Json::with_capacity(2_048 + segments.len() * 128 + markup.sum::<usize>());
    json.raw("{\"request_decision_id\":\"").plain(decision.id);
    json.raw("\",\"catalog_version\":").plain(decision.catalog_version);
    json.raw(",\"decided_at\":").instant(decision.at).raw(",\"user\":{");
    if let Some(key) = asked.key {
        json.raw("\"key\":").text(key.as_str()).raw(if decided.user.known {
            ",\"known\":true"
        } else {
            ",\"known\":false"
        });
        if let Some(as_of) = decided.as_of {
            json.raw(",\"as_of\":").instant(as_of);
            json.raw(",\"staleness_ms\":").plain(decided.user.staleness_ms);
        }
        json.raw(",\"segments\":[");
        json.each(&segments, |json, (ix, verdict)| segment(json, rules, *ix, verdict)).raw("]}");
    } else {
        json.raw("\"known\":false}");
    }
    json.raw(",\"purposes_used\":[").each(asked.purposes.names(), |json, name| {
        json.text(name);
    });
    json.raw("],\"placements\":{");
    let placements = asked.placements.iter().zip(&decision.placements).zip(&decided.assembled);
    json.each(placements, |json, ((id, items), assembled)| {
        json.text(id).raw(":[");
        let items = items.iter().zip(assembled);
        json.each(items, |json, (item, made)| write_item(json, item, made.as_ref(), rules)).raw("]");
    });
    json.raw("},\"errors\":").value(&asked.unknown);
    if asked.explain > Explain::None {
        json.raw(",\"explanation\":{\"items\":").value(&decision.explanation).raw("}");
    }
    json.raw(",\"timing_us\":").value(&decided.timing).raw("}");
    json.into_bytes()
}

fn segment(json: &mut Json, rules: &RuleSet, ix: SegmentIx, verdict: &Verdict) {
    json.raw("{\"key\":\"").raw(rules.key(ix).as_str()).raw(match rules.kind(ix) {
        SegmentKind::Static => "\",\"kind\":\"static\"",
        SegmentKind::Dynamic => "\",\"kind\":\"dynamic\"",
    });
    if let Some(since) = verdict.since() {
        json.raw(",\"since\":").instant(since);
    }
    if let Some(valid_until) = verdict.valid_until() {
        json.raw(",\"valid_until\":").instant(valid_until);
    }
    json.raw("}");
}

/// What a request names and the account does not have, which the caller should know: segments,
/// which match nobody, and pinned campaigns and creatives, in whose place a default is shown.
pub(super) fn unknown(request: &AdRequest, snapshot: &Snapshot) -> Vec<Violation> {
    let pinned = request.placements.iter().enumerate().filter_map(|(at, placement)| {
        let (place, code, detail) = match placement.candidate.as_ref()? {
            Candidate::Campaign(id) if snapshot.line(id).is_none() => {
                ("campaign", "unknown_campaign", format!("there is no campaign {id}"))
            }
            Candidate::Creative(id) if !snapshot.creatives.contains_key(id) => {
                ("creative", "unknown_creative", format!("there is no published creative {id}"))
            }
            _ => return None,
        };
        Some(Violation::new(format!("/placements/{at}/candidates/{place}"), code, detail))
    });
    unknown_segments(request, |key| snapshot.rules.ix(key).is_some()).into_iter().chain(pinned).collect()
}

fn unknown_segments(request: &AdRequest, known: impl Fn(&SegmentKey) -> bool) -> Vec<Violation> {
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
