//! What a person did, summed up so that every condition on events can be answered from it.
//!
//! An [`Activity`] is a function of the set of events that were absorbed, in whatever order they
//! came, while no keyed stream had more than [`Stream::KEYS`] keys; beyond, the keys seen least
//! recently are forgotten, and which these were may depend on the order. Absorbing an event twice
//! counts it twice: whoever keeps events lets each through once.
//!
//! Per stream and key the [`Keep`] newest events are told apart. Older ones are kept as one count
//! and sum per UTC day, and count as if they had happened at the end of that day, or with the
//! newest of them if that was earlier: so up to a day too long, never too short. Days more than
//! [`Stream::RETENTION_DAYS`] before the newest event become one count and sum. Such a sum stops at
//! 9.2e12 to either side of zero, which takes more than ten of the largest amounts in a day.

mod amount;
mod chain;
mod check;
mod event;
mod exact;
pub(super) mod fault;
mod gauge;
mod need;
mod packed;
mod recent;
mod stream;
#[cfg(test)]
mod tests;
mod told;
mod track;
mod window;
mod words;

pub(super) use amount::{count_distinct, total_within};
pub(super) use chain::Chain;
pub use event::{AmountError, Event};
pub(super) use exact::Timeline;
pub(super) use gauge::Gauge;
pub(super) use packed::ActivityView;
pub use stream::{Keep, Stream, StreamId, Streams};
pub use told::Told;
pub(super) use window::Page;

use self::track::Kept;
use super::codec::CodecError;
use crate::domain::ids::Uid;

/// What a person did: packed bytes that are read where they lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity(Box<[u8]>);

impl Activity {
    /// The most merges of other activities that are remembered.
    pub const MERGED: usize = 64;
    /// The most streams of one person; events of more are not kept.
    pub const STREAMS: usize = u16::MAX as usize;

    /// Adds an event to every one of `streams` that it belongs to.
    pub fn absorb(&mut self, streams: &Streams, event: &Event) {
        let view = self.view();
        let changed = streams.of_event(&event.name).iter().filter_map(|stream| {
            let (key, value) = stream.takes(event)?;
            let kept = view.stream(stream.id()).map(|kept| Kept::decode(kept.body()));
            let mut kept = kept.unwrap_or_else(|| Kept::new(stream));
            kept.add(key, event.at.0, value);
            Some((stream.id(), kept.encode()))
        });
        let changed: Vec<_> = changed.collect();
        if !changed.is_empty() {
            self.replace(&changed, &self.merged());
        }
    }

    /// Adds everything that `other`, the activity of another person `of`, keeps: the events of both
    /// are then those of one. Merging the same activity again changes nothing, as long as no more
    /// than [`Activity::MERGED`] others were merged since; the same of somebody else counts.
    pub fn merge(&mut self, other: &Self, of: Uid) {
        let hash = blake3::Hasher::new().update(&of.0.to_le_bytes()).update(&other.0).finalize();
        let mut print = [0; 8];
        print.copy_from_slice(&hash.as_bytes()[..8]);
        let print = u64::from_le_bytes(print);
        let mut merged = self.merged();
        if other.0.is_empty() || merged.contains(&print) {
            return;
        }
        let others: Vec<_> =
            other.merged().into_iter().chain([print]).filter(|print| !merged.contains(print)).collect();
        merged.extend(others);
        merged.drain(..merged.len().saturating_sub(Self::MERGED));
        let view = self.view();
        let changed = other.view().bodies().map(|(id, body)| {
            let mut kept = Kept::decode(body);
            if let Some(own) = view.stream(id) {
                kept.merge(Kept::decode(own.body()));
            }
            (id, kept.encode())
        });
        let changed: Vec<_> = changed.collect();
        self.replace(&changed, &merged);
    }

    /// Keeps only the streams that `wanted` names: those that a decision rests on, for its record,
    /// or those that rules still need.
    #[must_use]
    pub fn among(&self, wanted: impl Fn(StreamId) -> bool) -> Self {
        let kept: Vec<_> = self.view().bodies().filter(|(id, _)| wanted(*id)).map(|(id, body)| (id.0, body)).collect();
        Self(packed::write(&kept, &self.merged()))
    }

    /// The streams it has events of, sorted.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> {
        self.view().bodies().map(|(id, _)| id)
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The packed form. No events are no bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What was packed.
    ///
    /// # Errors
    /// When the bytes are of another format or break its rules.
    pub fn decode(packed: &[u8]) -> Result<Self, CodecError> {
        check::check(packed).map(|()| Self(packed.into()))
    }

    #[inline]
    pub(super) fn view(&self) -> ActivityView<'_> {
        ActivityView::new(&self.0)
    }

    fn merged(&self) -> Vec<u64> {
        self.view().merged().collect()
    }

    /// Puts these bodies in place of those they replace.
    fn replace(&mut self, changed: &[(StreamId, Vec<u8>)], merged: &[u64]) {
        let mut bodies: Vec<(u64, &[u8])> = self.view().bodies().map(|(id, body)| (id.0, body)).collect();
        for (id, body) in changed {
            match bodies.binary_search_by_key(&id.0, |(id, _)| *id) {
                Ok(place) => bodies[place].1 = body,
                Err(place) if bodies.len() < Self::STREAMS => bodies.insert(place, (id.0, body)),
                Err(_) => {}
            }
        }
        self.0 = packed::write(&bodies, merged);
    }
}
