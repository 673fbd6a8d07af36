//! One event as it travels, and what it becomes.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    domain::{
        audience::activity::{AmountError, Event},
        ids::{EventId, EventName, UserKey},
        measurement::moment::happened,
        values::Millis,
        violation::{Violation, token},
    },
    engine::{
        EventRow,
        ingest::{Ingest, Streamed},
        world::Account,
    },
    schema::{ReadError, Schemas},
};

/// The largest event, in bytes.
pub(super) const LARGEST: usize = 64 << 10;
/// The most properties of an event.
const PROPERTIES: usize = 128;

/// Something a person did.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Event, example = json!({
    "id": "order-1001", "user": "u-1", "type": "purchase", "at": "2026-11-22T08:30:00Z",
    "properties": {"value": 59.90, "category": "shoes"}
}))]
pub(super) struct EventItem {
    /// Your id of the event, 1 to 128 bytes: it counts once, whatever else a repeat says. Left out,
    /// the same item counts once.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    id: Option<String>,
    /// Who did it: your own name of the person.
    user: UserKey,
    /// What they did.
    #[serde(rename = "type")]
    kind: EventName,
    /// When; left out: when it is received. At most 5 minutes ahead of the server's clock. An event
    /// of more than 30 days ago is kept and not applied.
    #[serde(default)]
    at: Option<Millis>,
    /// When you sent it, by the clock that `at` was read from: the error of that clock is taken out.
    #[serde(default)]
    sent_at: Option<Millis>,
    /// What is known of it, at most 128 properties. What rules add up must be numbers with at most
    /// 6 digits after the point (15 in all with them), between -9e11 and 9e11.
    #[serde(default)]
    properties: Map<String, Value>,
}

/// Whom events are read for, and when.
pub(super) struct Reader<'a> {
    pub(super) schemas: &'a Schemas,
    pub(super) account: &'a Account,
    pub(super) streamed: &'a Streamed,
    pub(super) received: Millis,
}

impl Reader<'_> {
    /// Reads one item, as it was received.
    ///
    /// # Errors
    /// Every fault, with its pointer within the item.
    pub(super) fn read(&self, text: &[u8]) -> Result<EventRow, Vec<Violation>> {
        let fault = |pointer: &str, code, detail: String| Err(vec![Violation::new(pointer, code, detail)]);
        if text.len() > LARGEST {
            return fault("", "too_large", format!("must have at most {LARGEST} bytes, not {}", text.len()));
        }
        let item: EventItem = match self.schemas.read(text) {
            Ok(item) => item,
            Err(ReadError::Invalid(faults)) => return Err(faults),
            Err(ReadError::Malformed { detail, .. }) => return fault("", "malformed", detail),
        };
        if item.properties.len() > PROPERTIES {
            return fault("/properties", "max_items", format!("must be at most {PROPERTIES} properties"));
        }
        let account = self.account.number();
        let id = match &item.id {
            Some(id) if (1..=EventId::LONGEST).contains(&id.len()) => EventId::given(account, id),
            Some(_) => return fault("/id", "length", format!("must be 1 to {} bytes", EventId::LONGEST)),
            None => EventId::of_item(account, text),
        };
        let (at, late) = match happened(self.received, item.at, item.sent_at) {
            Ok(happened) => happened,
            Err(error) => return fault("/at", "future", error.to_string()),
        };
        let event = Event { name: item.kind, at, properties: item.properties };
        let amount = |(property, error): (&str, AmountError)| {
            Violation::new(format!("/properties/{}", token(property)), "amount", error.to_string())
        };
        let amounts: Vec<Violation> = Ingest::check_amounts(self.streamed, &event).into_iter().map(amount).collect();
        if !amounts.is_empty() {
            return Err(amounts);
        }
        let uid = self.account.uid(&item.user);
        Ok(EventRow { id, uid, key: item.user, event, received_at: self.received, late })
    }
}
