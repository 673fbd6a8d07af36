//! What is delivered.

use std::ops::Not;

use serde::Serialize;
use utoipa::ToSchema;

use super::document::{Chosen, MoveKind, WebhookDoc};
use crate::domain::{
    ids::{SegmentKey, Uid, UserKey, WebhookId},
    values::Millis,
};

/// Somebody who entered or left a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Transition, example = json!({
    "id": "812-44", "segment": "vip", "person": "9f2c6a0e8d1b4a5180000000000002aa", "user": "u-1", "event": "entered",
    "at": "2026-11-22T08:30:00.000Z"
}))]
pub struct Telling {
    /// Its place among all.
    pub id: String,
    /// The segment.
    pub segment: SegmentKey,
    /// Who, by a name that outlives theirs and tells nothing of them: 32 hex digits.
    #[schema(value_type = String)]
    pub person: Uid,
    /// Who, as the account calls them; left out of somebody who was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserKey>,
    /// In, or out.
    pub event: MoveKind,
    /// When.
    pub at: Millis,
    /// Whether they left because they were erased: forget what `person` names.
    #[serde(skip_serializing_if = "Not::not")]
    #[schema(required = false)]
    pub erased: bool,
}

/// The body of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WebhookMessage, example = json!({
    "type": "segment.transitions", "timestamp": "2026-11-22T08:30:00.000Z", "webhook": "crm",
    "data": {"transitions": [{
        "id": "812-44", "segment": "vip", "person": "9f2c6a0e8d1b4a5180000000000002aa", "user": "u-1",
        "event": "entered", "at": "2026-11-22T08:30:00.000Z"
    }]}
}))]
pub struct Message {
    /// `segment.transitions`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// When the last of what it tells happened.
    timestamp: Millis,
    /// The webhook.
    webhook: WebhookId,
    /// What it tells.
    data: Data,
}

/// What a delivery tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WebhookData)]
struct Data {
    /// Up to 100 transitions, in the order in which they were recorded.
    transitions: Vec<Telling>,
}

impl Message {
    /// The most transitions of one delivery.
    pub const MOST: u32 = 100;

    /// A message of transitions. The same ones make the same message.
    #[must_use]
    pub fn new(webhook: WebhookId, transitions: Vec<Telling>) -> Self {
        let timestamp = transitions.iter().map(|one| one.at).max().unwrap_or_default();
        Self { kind: "segment.transitions", timestamp, webhook, data: Data { transitions } }
    }

    /// The bytes of it.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and times always serialise")
    }

    /// The id of the message that tells what a webhook of an account chose between two places: the
    /// same however often it is sent.
    #[must_use]
    pub fn id(account: u32, webhook: &WebhookId, chosen: &WebhookDoc, from: (u64, i64), upto: (u64, i64)) -> String {
        let mut hash = blake3::Hasher::new();
        for number in [u64::from(account), from.0, from.1.cast_unsigned(), upto.0, upto.1.cast_unsigned()] {
            hash.update(&number.to_le_bytes());
        }
        hash.update(webhook.as_str().as_bytes());
        hash.update(&[0, chosen.tells(MoveKind::Entered).into(), chosen.tells(MoveKind::Left).into()]);
        if let Chosen::These(keys) = &chosen.segments {
            for key in keys {
                hash.update(key.as_str().as_bytes()).update(&[0]);
            }
        }
        format!("msg_{}", &hash.finalize().to_hex()[..32])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_message_tells_what_happened() {
        let one = |at: i64, user: Option<&str>| Telling {
            id: format!("7-{at}"),
            segment: "vip".parse().expect("a key"),
            person: Uid(0xabc),
            user: user.map(|user| user.parse().expect("a key")),
            event: MoveKind::Left,
            at: Millis(at),
            erased: user.is_none(),
        };
        let message = Message::new("crm".parse().expect("an id"), vec![one(2_000, Some("u-1")), one(1_000, None)]);
        let read: Value = serde_json::from_slice(&message.body()).expect("JSON");
        let person = "00000000000000000000000000000abc";
        let expected = json!({
            "type": "segment.transitions", "timestamp": "1970-01-01T00:00:02.000Z", "webhook": "crm",
            "data": {"transitions": [
                {"id": "7-2000", "segment": "vip", "person": person, "user": "u-1", "event": "left",
                    "at": "1970-01-01T00:00:02.000Z"},
                {"id": "7-1000", "segment": "vip", "person": person, "event": "left",
                    "at": "1970-01-01T00:00:01.000Z", "erased": true}
            ]}
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn ids_follow_what_is_told_and_not_where_to() {
        let doc = |value: Value| serde_json::from_value::<WebhookDoc>(value).expect("a webhook");
        let id = |value: Value, upto| Message::id(1, &"crm".parse().expect("an id"), &doc(value), (1, 1), upto);
        let base = id(json!({"url": "https://a.example"}), (2, 5));
        assert!(base.starts_with("msg_") && base.len() == 36, "{base}");
        assert_eq!(id(json!({"url": "https://b.example"}), (2, 5)), base);
        assert_ne!(id(json!({"url": "https://a.example"}), (2, 6)), base);
        assert_ne!(id(json!({"url": "https://a.example", "kinds": ["left"]}), (2, 5)), base);
        assert_ne!(id(json!({"url": "https://a.example", "segments": ["a"]}), (2, 5)), base);
    }
}
