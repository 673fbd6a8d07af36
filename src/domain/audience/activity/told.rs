//! What is remembered of a person's events, for people to read.

use serde::Serialize;
use serde_json::Value;

use super::{Activity, Stream, Streams, gauge::MILLION, packed::StreamView};
use crate::domain::{ids::EventName, values::Millis};

/// What is remembered of one kind of event.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Told {
    /// The type of event.
    #[schema(value_type = String)]
    pub event: EventName,
    /// Which of them: conditions on their properties.
    #[schema(value_type = std::collections::BTreeMap<String, std::collections::BTreeMap<String, Value>>)]
    pub r#where: Value,
    /// Further conditions, where one property is asked for two reasons.
    #[schema(value_type = Option<Vec<std::collections::BTreeMap<String, std::collections::BTreeMap<String, Value>>>>)]
    #[serde(skip_serializing_if = "Value::is_null")]
    pub and: Value,
    /// The property that keeps them apart, and how many of its values are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Keys>,
    /// The property that is added up, and its sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Total>,
    /// How many events are kept.
    pub count: u64,
    /// The oldest of them.
    pub first: Millis,
    /// The newest of them.
    pub last: Millis,
}

/// See [`Told::key`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Keys {
    /// The property.
    pub of: String,
    /// How many different values of it are kept, at most 16.
    pub kept: u64,
}

/// See [`Told::value`].
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Total {
    /// The property.
    pub of: String,
    /// Its sum, in the sender's unit.
    pub sum: f64,
}

impl Activity {
    /// What is kept of each of `streams`, by type of event. Streams that no rule needs any more are
    /// kept, but nothing says what they are of.
    #[must_use]
    pub fn told(&self, streams: &Streams) -> Vec<Told> {
        let view = self.view();
        streams.iter().filter_map(|stream| told(stream, view.stream(stream.id())?)).collect()
    }
}

fn told(stream: &Stream, kept: StreamView<'_>) -> Option<Told> {
    let tracks: Vec<_> =
        if kept.keyed() { kept.tracks().map(|(_, track)| track).collect() } else { vec![kept.whole()] };
    let (mut count, mut sum, mut first, mut last) = (0_u64, 0_i64, i64::MAX, i64::MIN);
    for track in &tracks {
        for at in 0..track.times() {
            count += 1;
            sum = sum.saturating_add(track.value(at));
            (first, last) = (first.min(track.time(at)), last.max(track.time(at)));
        }
        if let Some(tail) = track.tail() {
            let (older, of_older) = tail.older();
            let days = tail.buckets().map(|(_, count, sum)| (count, sum)).chain([(older, of_older)]);
            days.for_each(|(of, value)| (count, sum) = (count + u64::from(of), sum.saturating_add(value)));
            (first, last) = (first.min(tail.first()), last.max(tail.newest()));
        }
    }
    let mut definition = stream.definition();
    (count > 0).then(|| Told {
        event: stream.event().clone(),
        r#where: definition["where"].take(),
        and: definition.get_mut("and").map(Value::take).unwrap_or_default(),
        key: stream.key().map(|of| Keys { of: of.to_owned(), kept: tracks.len() as u64 }),
        value: stream.value().map(|of| Total { of: of.to_owned(), sum: sum as f64 / MILLION }),
        count,
        first: Millis(first),
        last: Millis(last),
    })
}
