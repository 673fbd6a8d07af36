//! One person as the caches hold them and the store keeps them.

use super::{
    activity::{Activity, Event, Streams},
    caps::CapRing,
    codec::{Unpack, put_varint},
    profile::Traits,
};
use crate::domain::{
    ids::{NameHash, Uid},
    values::Millis,
};

pub use super::codec::CodecError;

/// A static segment that a person is listed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The hash of the segment's key.
    pub list: NameHash,
    /// The first instant at which it no longer holds; [`Millis::NEVER`] when it has no end.
    pub until: Millis,
    /// When they were put in, if that is known.
    pub since: Option<Millis>,
}

/// A membership with its end, if it has one.
impl From<(NameHash, Option<Millis>)> for Listed {
    fn from((list, until): (NameHash, Option<Millis>)) -> Self {
        Self { list, until: until.unwrap_or(Millis::NEVER), since: None }
    }
}

/// The static segments a person is listed in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists(Box<[Listed]>);

impl Lists {
    /// The lists. Of several entries of one list the latest end counts.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item: Into<Listed>>) -> Self {
        let mut lists: Vec<Listed> = entries.into_iter().map(Into::into).collect();
        lists.sort_unstable_by(|a, b| b.cmp(a));
        lists.dedup_by_key(|listed| listed.list);
        lists.reverse();
        Self(lists.into())
    }

    /// Those that the person was in by a time that is past, as far as it is known when they were put in.
    #[must_use]
    pub fn as_of(&self, at: Millis) -> Self {
        Self(self.0.iter().filter(|listed| listed.since.is_none_or(|since| since <= at)).copied().collect())
    }

    /// The membership of `list`, be it over or not.
    #[must_use]
    pub fn get(&self, list: NameHash) -> Option<Listed> {
        self.0.binary_search_by_key(&list, |listed| listed.list).ok().map(|place| self.0[place])
    }

    /// Every list, sorted by hash.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Listed> {
        self.0.iter().copied()
    }
}

/// What is known of one person, small enough to keep a million in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserState {
    /// The version of the stored row; higher is newer.
    pub version: u64,
    /// Traits.
    pub traits: Traits,
    /// Static segments.
    pub lists: Lists,
    /// Impressions for frequency caps.
    pub caps: CapRing,
    /// Events, summed up.
    pub activity: Activity,
    /// Sections that this version of the program does not know, kept as they are so that an older
    /// replica which rewrites a person loses nothing that a newer one wrote.
    others: Box<[u8]>,
}

impl UserState {
    /// The first byte of the packed form.
    const FORMAT: u8 = 1;
    /// The section that holds the traits. Tags grow from section to section.
    const TRAITS: u64 = 1;
    /// The section that holds the activity.
    const ACTIVITY: u64 = 2;

    /// A person with these parts, of whom no event is known.
    #[must_use]
    pub fn new(version: u64, traits: Traits, lists: Lists, caps: CapRing) -> Self {
        Self { version, traits, lists, caps, ..Self::default() }
    }

    /// Whether nothing is known but what was shown.
    #[must_use]
    pub fn is_counted_only(&self) -> bool {
        self.traits.iter().len() == 0
            && self.activity.is_empty()
            && self.others.is_empty()
            && self.lists == Lists::default()
    }

    /// The packed profile: a format byte, then sections of tag, length and bytes. Lists and caps
    /// are no part of it; the store keeps them apart.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![Self::FORMAT];
        if self.traits.iter().len() > 0 {
            let mut section = Vec::new();
            self.traits.pack(&mut section);
            put_varint(&mut out, Self::TRAITS);
            put_varint(&mut out, section.len() as u64);
            out.extend_from_slice(&section);
        }
        if !self.activity.is_empty() {
            put_varint(&mut out, Self::ACTIVITY);
            put_varint(&mut out, self.activity.as_bytes().len() as u64);
            out.extend_from_slice(self.activity.as_bytes());
        }
        out.extend_from_slice(&self.others);
        out
    }

    /// The person whose row holds `packed`, with what the store keeps beside it. No bytes at all
    /// are a person without traits.
    ///
    /// # Errors
    /// When the bytes are of another format or break its rules.
    pub fn decode(packed: &[u8], version: u64, lists: Lists, caps: CapRing) -> Result<Self, CodecError> {
        let mut from = Unpack(packed);
        if !from.is_empty() {
            match from.byte()? {
                Self::FORMAT => {}
                other => return Err(CodecError::Version(other)),
            }
        }
        let (mut traits, mut activity, mut others, mut last) = (Traits::default(), Activity::default(), &[][..], 0);
        while !from.is_empty() {
            let whole = from.0;
            let tag = from.varint()?;
            if tag <= last {
                return Err(CodecError::Malformed("sections are out of order"));
            }
            last = tag;
            let len = from.count(1)?;
            let mut section = Unpack(from.take(len)?);
            if tag == Self::TRAITS {
                traits = Traits::unpack(&mut section)?;
                if !section.is_empty() || traits.iter().len() == 0 {
                    return Err(CodecError::Malformed("the section of traits is empty or too long"));
                }
            } else if tag == Self::ACTIVITY {
                activity = Activity::decode(section.0)?;
                if activity.is_empty() {
                    return Err(CodecError::Malformed("the section of events is empty"));
                }
            } else if others.is_empty() {
                // Known tags come first, so everything from here on is unknown.
                others = whole;
            }
        }
        Ok(Self { version, traits, lists, caps, activity, others: others.into() })
    }

    /// Adds an event to every one of `streams` that it belongs to: of live rules, or only new ones
    /// that past events are folded into.
    pub fn absorb(&mut self, streams: &Streams, event: &Event) {
        self.activity.absorb(streams, event);
    }

    /// Adds what is known of another person, `of`, who turned out to be the same: own traits stay, a
    /// list is held until the later end, events and impressions are those of both.
    pub fn merge(&mut self, other: &Self, of: Uid) {
        self.traits.merge(&other.traits);
        self.lists = Lists::new(self.lists.iter().chain(other.lists.iter()));
        self.caps.merge(&other.caps);
        self.activity.merge(&other.activity, of);
    }

    /// Bytes on the heap, without the allocator's own.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let parts = self.traits.heap_bytes() + size_of_val(&*self.lists.0) + self.caps.heap_bytes();
        parts + self.activity.as_bytes().len() + self.others.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{audience::profile::TraitPatch, values::Span};

    fn decode(packed: &[u8]) -> Result<UserState, CodecError> {
        UserState::decode(packed, 7, Lists::default(), CapRing::default())
    }

    fn person(traits: &Value) -> UserState {
        let traits = Traits::parse(traits, Millis(1_700_000_000_000)).expect("traits");
        UserState::new(7, traits, Lists::default(), CapRing::default())
    }

    #[test]
    fn a_list_is_held_until_its_latest_end() {
        let (a, b) = (NameHash(1), NameHash(2));
        let lists = Lists::new([(b, Some(Millis(5))), (a, None), (b, Some(Millis(9))), (a, Some(Millis(1)))]);
        let until = |list| lists.get(list).map(|listed| listed.until);
        assert_eq!(until(a), Some(Millis::NEVER));
        assert_eq!(until(b), Some(Millis(9)));
        assert_eq!(until(NameHash(3)), None);
        assert_eq!(lists.iter().collect::<Vec<_>>(), [(a, None).into(), (b, Some(Millis(9))).into()]);
    }

    #[test]
    fn sections_of_a_newer_version_survive_a_rewrite() {
        let mut packed = person(&json!({"age": 31})).encode();
        packed.extend_from_slice(&[9, 3, 1, 2, 3]);
        let mut state = decode(&packed).expect("a person");
        let patch = TraitPatch::parse(&json!({"age": null})).expect("a patch");
        state.traits = state.traits.patched(&patch, Millis(0)).expect("few traits");
        assert_eq!(state.encode(), [1, 9, 3, 1, 2, 3]);
    }

    #[test]
    fn those_who_turn_out_to_be_one_bring_what_they_have() {
        let listed = |lists: &[(u64, Option<i64>)]| {
            Lists::new(lists.iter().map(|(list, ends)| (NameHash(*list), ends.map(Millis))))
        };
        let mut one = person(&json!({"age": 31}));
        one.lists = listed(&[(1, Some(5)), (2, None)]);
        let mut other = person(&json!({"age": 40, "city": "Berlin"}));
        other.lists = listed(&[(1, Some(9)), (2, Some(1)), (3, None)]);
        other.caps.absorb(NameHash(7), Millis(3), Span::from_millis(1_000));
        one.merge(&other, Uid(2));
        assert_eq!(one.lists, listed(&[(1, Some(9)), (2, None), (3, None)]));
        assert_eq!((one.traits.iter().len(), one.caps.count_since(NameHash(7), Millis(0))), (2, 1));
        assert_eq!(one.version, 7, "the store counts versions");
    }

    #[test]
    fn malformed_bytes_are_refused() {
        assert_eq!(decode(&[]).expect("nobody").traits, Traits::default());
        assert_eq!(decode(&[2]), Err(CodecError::Version(2)));
        assert_eq!(decode(&[1, 1, 9, 0]), Err(CodecError::Truncated));
        assert_eq!(decode(&[1, 9, 0, 3, 0]), Err(CodecError::Malformed("sections are out of order")));
        assert!(matches!(decode(&[1, 1, 1, 0]), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn a_typical_person_is_small() {
        let mut state = person(&json!({"age": 31, "country": "GB", "city": "London", "income_band": "c1", "vip": true,
            "home": {"lat": 51.5, "lon": -0.12}, "birthday": "1995-05-17", "last_purchase": "2026-11-02T10:00:00Z",
            "interests": ["running", "cycling", "travel"], "gender": "f", "orders": 12, "spend": 840.5}));
        state.lists = Lists::new((0..5).map(|list| (NameHash(list), None)));
        for campaign in 0..3 {
            for at in 0..3 {
                state.caps.absorb(NameHash(campaign), Millis(at), Span::from_millis(1_000));
            }
        }
        assert!(state.heap_bytes() <= 1_229, "{} bytes", state.heap_bytes());
    }

    fn any_traits() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            (-1e9..1e9_f64).prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(json!("2001-05-17")),
            Just(json!("2026-11-22T10:00:00+01:00")),
            prop::collection::vec("[a-z]{0,3}", 0..6).prop_map(Value::from),
            (-90.0..=90.0, -180.0..=180.0).prop_map(|(lat, lon)| json!({"lat": lat, "lon": lon})),
        ];
        prop::collection::hash_map("[a-z]{1,6}", leaf, 0..20).prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn traits_round_trip_into_the_same_bytes(traits in any_traits()) {
            let state = person(&traits);
            let back = decode(&state.encode()).expect("own bytes");
            prop_assert_eq!(&back, &state);
            prop_assert_eq!(back.encode(), state.encode());
        }

        #[test]
        fn other_bytes_never_panic_and_have_one_form(
            traits in any_traits(), cut in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let mut packed = person(&traits).encode();
            let at = cut.index(packed.len());
            packed[at] = byte;
            if let Ok(state) = decode(&packed) {
                prop_assert_eq!(state.encode(), packed);
            }
            let mut packed = person(&traits).encode();
            packed.truncate(at);
            if let Ok(state) = decode(&packed) {
                prop_assert!(packed.is_empty() || state.encode() == packed);
            }
        }
    }
}
