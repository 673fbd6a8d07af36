//! The people of a bundle, and what they did.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    domain::{
        audience::activity::Event,
        ids::{EventId, EventName, SegmentKey, Uid, UserKey},
        values::{Millis, Span},
        violation::Violation,
    },
    ports::EventRow,
};

/// A person of a bundle.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledPerson {
    /// The account's own name of the person.
    pub user: UserKey,
    /// Traits to set.
    #[serde(default)]
    pub traits: Map<String, Value>,
    /// Static segments to be put into.
    #[serde(default)]
    pub lists: Vec<SegmentKey>,
}

/// What a person of a bundle did. Its time is told from the import on, so that a demo stays fresh.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledEvent {
    /// Names the event, so that importing it again counts it once.
    pub id: String,
    /// Who did it.
    pub user: UserKey,
    /// What.
    #[serde(rename = "type")]
    pub kind: EventName,
    /// How long before the import, as in rules: `PT45M`, `P12D`; at most 30 days.
    pub ago: Span,
    /// What is known of it.
    #[serde(default)]
    pub properties: Map<String, Value>,
}

impl BundledEvent {
    /// The longest ago that an event can be and still count.
    const OLDEST: i64 = 30 * 86_400_000;

    /// What of it cannot be.
    pub(super) fn fault(&self) -> Option<Violation> {
        if !(1..=EventId::LONGEST).contains(&self.id.len()) {
            return Some(Violation::new("/id", "length", "must be 1 to 128 bytes long"));
        }
        let old = self.ago.millis() > Self::OLDEST;
        old.then(|| Violation::new("/ago", "out_of_range", "must be at most 30 days: older events do not count"))
    }

    /// The event as it is kept, imported at `now`.
    #[must_use]
    pub fn into_row(self, account: u32, uid: Uid, now: Millis) -> EventRow {
        let event = Event { name: self.kind, at: now.plus(-self.ago.millis()), properties: self.properties };
        EventRow { id: EventId::given(account, &self.id), uid, key: self.user, event, received_at: now, late: false }
    }
}
