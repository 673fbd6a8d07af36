//! When a person did something last.

use super::{Activity, StreamId};
use crate::domain::{ids::NameHash, values::Millis};

impl Activity {
    /// The keys of a stream, each with its newest event, the last first. Of events at the same time
    /// the one comes first whose key hashes lower.
    #[must_use]
    pub fn latest_by_key(&self, stream: StreamId) -> Vec<(NameHash, Millis)> {
        let Some(kept) = self.view().stream(stream).filter(|kept| kept.keyed()) else { return Vec::new() };
        let mut latest: Vec<_> = kept.tracks().map(|(key, track)| (key, Millis(track.time(0)))).collect();
        latest.sort_unstable_by_key(|(key, at)| (std::cmp::Reverse(*at), key.0));
        latest
    }

    /// When the events of a stream happened, as far as they are told apart.
    #[must_use]
    pub fn times(&self, stream: StreamId) -> Vec<Millis> {
        let Some(kept) = self.view().stream(stream) else { return Vec::new() };
        let tracks: Vec<_> =
            if kept.keyed() { kept.tracks().map(|(_, track)| track).collect() } else { vec![kept.whole()] };
        tracks.iter().flat_map(|track| (0..track.times()).map(|at| Millis(track.time(at)))).collect()
    }
}
