//! How often a person has seen each campaign lately, for frequency caps.

use super::codec::{Unpack, put_varint};
use crate::domain::{
    ids::NameHash,
    values::{Millis, Span},
};

pub use super::codec::CodecError;

/// The committed impressions of one person, per campaign.
///
/// A function of the impressions absorbed, in whatever order they came (each campaign with one
/// longest window). An impression is dropped once the newest one of the person lies its
/// campaign's longest window after it, or when its campaign has [`CapRing::KEPT`] newer ones.
/// Absorbing the same impression twice counts it twice: the outcome table lets each through once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapRing(Vec<Ring>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Ring {
    campaign: NameHash,
    longest: Span,
    /// Newest first.
    seen: Vec<Millis>,
}

impl CapRing {
    /// The newest impressions kept per campaign, and so the largest cap that can be kept.
    pub const KEPT: usize = 64;

    /// How far clocks may lie apart, in ms. What was seen later than that after now was counted by a clock
    /// that was wrong.
    pub const SKEW_MS: i64 = 5 * 60_000;

    const FORMAT: u8 = 1;

    /// Adds an impression of `campaign`, whose longest cap window is `longest`.
    pub fn absorb(&mut self, campaign: NameHash, at: Millis, longest: Span) {
        self.insert(campaign, at, longest);
        self.drop_passed(Millis(i64::MAX));
    }

    /// The same at a time `now` by another clock: what one clock counted when it was ahead is forgotten once
    /// both say so, and takes no others with it.
    pub fn absorb_at(&mut self, now: Millis, campaign: NameHash, at: Millis, longest: Span) {
        self.forget_ahead(now.max(at));
        self.insert(campaign, at, longest);
        self.drop_passed(now.plus(Self::SKEW_MS));
    }

    /// Forgets what a clock counted that was ahead of `now`.
    pub fn forget_ahead(&mut self, now: Millis) {
        let latest = now.plus(Self::SKEW_MS);
        for ring in &mut self.0 {
            ring.seen.drain(..ring.seen.partition_point(|&seen| seen > latest));
        }
        self.0.retain(|ring| !ring.seen.is_empty());
    }

    fn insert(&mut self, campaign: NameHash, at: Millis, longest: Span) {
        let place = match self.0.binary_search_by_key(&campaign, |ring| ring.campaign) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, Ring { campaign, longest, seen: Vec::with_capacity(1) });
                place
            }
        };
        let ring = &mut self.0[place];
        // Not less than a moment, so that the newest impression itself always stays.
        ring.longest = longest.max(Span::from_millis(1));
        ring.seen.insert(ring.seen.partition_point(|&seen| seen >= at), at);
        ring.seen.truncate(Self::KEPT);
    }

    /// Adds the impressions of another person, who turned out to be the same.
    pub fn merge(&mut self, other: &Self) {
        for ring in &other.0 {
            for &seen in &ring.seen {
                self.absorb(ring.campaign, seen, ring.longest);
            }
        }
    }

    /// Impressions of `campaign` later than `since`: for a window of length W, `now - W`.
    #[must_use]
    pub fn count_since(&self, campaign: NameHash, since: Millis) -> u32 {
        self.count_between(campaign, since, Millis(i64::MAX))
    }

    /// Impressions of `campaign` later than `since`, and not later than `until`.
    #[must_use]
    pub fn count_between(&self, campaign: NameHash, since: Millis, until: Millis) -> u32 {
        let ring = self.0.binary_search_by_key(&campaign, |ring| ring.campaign).map(|place| &self.0[place]);
        ring.map_or(0, |ring| {
            let later_than = |instant| ring.seen.partition_point(|&seen| seen > instant);
            later_than(since).saturating_sub(later_than(until)) as u32
        })
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let rings = self.0.capacity() * size_of::<Ring>();
        rings + self.0.iter().map(|ring| ring.seen.capacity() * size_of::<Millis>()).sum::<usize>()
    }

    fn drop_passed(&mut self, latest: Millis) {
        let newest = self.0.iter().filter_map(|ring| ring.seen.first()).max().copied().unwrap_or_default();
        let newest = newest.min(latest);
        for ring in &mut self.0 {
            let passed = newest.plus(-ring.longest.millis());
            ring.seen.truncate(ring.seen.partition_point(|&seen| seen > passed));
        }
        self.0.retain(|ring| !ring.seen.is_empty());
    }

    /// The packed form: a format byte, then per campaign its hash, longest window in ms and its
    /// impressions as the newest instant and the steps back from it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![Self::FORMAT];
        for ring in &self.0 {
            out.extend_from_slice(&ring.campaign.0.to_le_bytes());
            put_varint(&mut out, ring.longest.millis() as u64);
            put_varint(&mut out, ring.seen.len() as u64);
            let mut newer = None;
            for &seen in &ring.seen {
                match newer {
                    None => out.extend_from_slice(&seen.0.to_le_bytes()),
                    Some(newer) => put_varint(&mut out, seen.0.abs_diff(newer)),
                }
                newer = Some(seen.0);
            }
        }
        out
    }

    /// What was packed. No bytes at all are an empty ring.
    ///
    /// # Errors
    /// When the bytes are of another format or break its rules.
    pub fn decode(packed: &[u8]) -> Result<Self, CodecError> {
        let mut from = Unpack(packed);
        if from.is_empty() {
            return Ok(Self::default());
        }
        match from.byte()? {
            Self::FORMAT => {}
            other => return Err(CodecError::Version(other)),
        }
        let mut rings: Vec<Ring> = Vec::new();
        while !from.is_empty() {
            let campaign = NameHash(from.word()?);
            if rings.last().is_some_and(|last| last.campaign >= campaign) {
                return Err(CodecError::Malformed("campaigns are out of order"));
            }
            let longest = i64::try_from(from.varint()?).map_err(|_| CodecError::Malformed("a window is too long"))?;
            let count = from.varint()? as usize;
            if !(1..=Self::KEPT).contains(&count) {
                return Err(CodecError::Malformed("too few or too many impressions"));
            }
            let mut seen = vec![Millis(from.word()? as i64)];
            for at in 1..count {
                let step = i64::try_from(from.varint()?).ok().and_then(|step| seen[at - 1].0.checked_sub(step));
                seen.push(Millis(step.ok_or(CodecError::Malformed("an instant is out of range"))?));
            }
            seen.shrink_to_fit();
            rings.push(Ring { campaign, longest: Span::from_millis(longest), seen });
        }
        rings.shrink_to_fit();
        Ok(Self(rings))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000;

    fn name(campaign: u8) -> NameHash {
        NameHash::of(&campaign.to_string())
    }

    fn longest(campaign: u8) -> Span {
        Span::from_millis(DAY * (1 + i64::from(campaign)))
    }

    fn absorbed(impressions: impl IntoIterator<Item = (u8, i64)>) -> CapRing {
        let mut ring = CapRing::default();
        for (campaign, at) in impressions {
            ring.absorb(name(campaign), Millis(at), longest(campaign));
        }
        ring
    }

    #[test]
    fn a_window_excludes_its_start_and_entries_leave_only_after_the_longest() {
        let ring = absorbed([(0, 100), (0, 200)]);
        assert_eq!(ring.count_since(name(0), Millis(99)), 2);
        assert_eq!(ring.count_since(name(0), Millis(100)), 1);
        assert_eq!(ring.count_since(name(1), Millis(0)), 0);
        let ring = absorbed([(0, 100), (1, 100 + DAY - 1)]);
        assert_eq!(ring.count_since(name(0), Millis(0)), 1);
        let ring = absorbed([(0, 100), (1, 100 + DAY)]);
        assert_eq!(ring.count_since(name(0), Millis(0)), 0);
    }

    #[test]
    fn the_newest_are_kept() {
        let ring = absorbed((0..100).map(|at| (0, at)));
        assert_eq!(ring.count_since(name(0), Millis(i64::MIN)), 64);
        assert_eq!(ring.count_since(name(0), Millis(97)), 2);
    }

    #[test]
    fn what_a_clock_ahead_counted_does_not_stick() {
        let (now, ahead) = (100 * DAY, 140 * DAY);
        let mut ring = absorbed([(0, now - 1), (1, now - 2)]);
        let count = |ring: &CapRing, campaign: u8, now: i64| {
            let since = Millis(now - longest(campaign).millis());
            ring.count_between(name(campaign), since, Millis(now + CapRing::SKEW_MS))
        };
        // by the store's clock it is still now
        ring.absorb_at(Millis(now), name(0), Millis(ahead), longest(0));
        assert_eq!((count(&ring, 0, now), count(&ring, 1, now)), (1, 1), "what comes is not counted, what was is kept");
        assert_eq!(count(&ring, 0, ahead), 1, "who counted it goes by it");
        ring.absorb_at(Millis(now + 5), name(1), Millis(now + 5), longest(1));
        assert_eq!((count(&ring, 0, now + 5), count(&ring, 1, now + 5)), (1, 2));
        assert_eq!(count(&ring, 0, ahead), 0, "it is forgotten");
        let (mut late, mut early) = (absorbed([(0, now)]), absorbed([(1, ahead)]));
        [&mut late, &mut early].into_iter().for_each(|ring| ring.forget_ahead(Millis(now)));
        late.merge(&early);
        assert_eq!((count(&late, 0, now), count(&late, 1, ahead)), (1, 0), "nor do people who turn out to be one");
        // a clock that goes before by less than clocks do is believed
        ring.absorb_at(Millis(now + 6), name(0), Millis(now + 6 + CapRing::SKEW_MS), longest(0));
        ring.absorb_at(Millis(now + 6), name(0), Millis(now + 6), longest(0));
        assert_eq!(count(&ring, 0, now + 6), 3);
        // a store whose clock is behind takes nothing away
        ring.absorb_at(Millis(0), name(0), Millis(now + 7), longest(0));
        assert_eq!((count(&ring, 0, now + 7), count(&ring, 1, now + 7)), (4, 2));
    }

    #[test]
    fn malformed_bytes_are_refused() {
        assert_eq!(CapRing::decode(&[]), Ok(CapRing::default()));
        assert_eq!(CapRing::decode(&[9]), Err(CodecError::Version(9)));
        assert_eq!(CapRing::decode(&[1, 0, 0]), Err(CodecError::Truncated));
        let mut twice = absorbed([(0, 1)]).encode();
        twice.extend_from_within(1..);
        assert_eq!(CapRing::decode(&twice), Err(CodecError::Malformed("campaigns are out of order")));
    }

    proptest! {
        #[test]
        fn any_order_gives_the_same_bytes_which_round_trip(
            impressions in prop::collection::vec((0_u8..4, 0_i64..6 * DAY), 0..200), seed in any::<u64>()
        ) {
            let ring = absorbed(impressions.iter().copied());
            let mut shuffled = impressions.clone();
            shuffled.sort_by_key(|&(campaign, at)| (at as u64 ^ u64::from(campaign)).wrapping_mul(seed | 1));
            prop_assert_eq!(absorbed(shuffled).encode(), ring.encode());
            prop_assert_eq!(CapRing::decode(&ring.encode()), Ok(ring.clone()));
            // No impression inside its window is ever missing, up to the number kept.
            let now = impressions.iter().map(|&(_, at)| at).max().unwrap_or_default();
            for campaign in 0..4 {
                let since = now - longest(campaign).millis();
                let real = impressions.iter().filter(|&&(of, at)| of == campaign && at > since).count();
                prop_assert_eq!(ring.count_since(name(campaign), Millis(since)) as usize, real.min(64));
            }
        }

        #[test]
        fn merging_is_the_union(
            one in prop::collection::vec((0_u8..4, 0_i64..6 * DAY), 0..80),
            other in prop::collection::vec((0_u8..4, 0_i64..6 * DAY), 0..80),
        ) {
            let mut merged = absorbed(one.iter().copied());
            merged.merge(&absorbed(other.iter().copied()));
            prop_assert_eq!(merged, absorbed(one.into_iter().chain(other)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(ring) = CapRing::decode(&bytes) {
                prop_assert!(bytes.is_empty() || ring.encode() == bytes);
            }
        }
    }
}
