//! Traits: what is known of a person, packed small.

use std::{cmp::Reverse, collections::BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use serde_json::Value;

use super::{
    codec::{CodecError, Unpack, put_text, put_varint},
    value::{Moment, Position, View},
};
use crate::domain::{
    ids::{NameHash, TraitName},
    values::Millis,
    violation::{Violation, Violations, token},
};

/// The value of a trait.
#[derive(Clone, Debug, PartialEq)]
pub enum TraitValue {
    /// Yes or no.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A text of at most [`TraitValue::TEXT`] bytes that names no instant.
    Text(Box<str>),
    /// A text that names an instant or a day.
    Moment(Box<Moment>),
    /// At most [`TraitValue::SET`] texts, sorted, without repeats.
    Set(Box<[Box<str>]>),
    /// A point, written `{"lat": 52.5, "lon": 13.4}`.
    Place(Position),
}

impl TraitValue {
    /// The longest text, in bytes.
    pub const TEXT: usize = 1_024;
    /// The most elements of a set.
    pub const SET: usize = 64;

    /// The value written as `json`.
    ///
    /// # Errors
    /// Every fault, with its pointer within `json`.
    pub fn parse(json: &Value) -> Result<Self, Vec<Violation>> {
        let fault = |code, detail: &str| Err(vec![Violation::new("", code, detail)]);
        match json {
            Value::Bool(yes) => Ok(Self::Bool(*yes)),
            Value::Number(number) => match number.as_f64().filter(|number| number.is_finite()) {
                Some(number) => Ok(Self::Number(number + 0.0)),
                None => fault("wrong_type", "must be a number that a double can hold"),
            },
            Value::String(text) if text.len() > Self::TEXT => fault("too_long", "must be at most 1,024 bytes long"),
            Value::String(text) => Ok(Self::text(text)),
            Value::Array(items) if items.len() > Self::SET => fault("too_many", "must have at most 64 elements"),
            Value::Array(items) => {
                let (mut texts, mut faults) = (Vec::with_capacity(items.len()), Violations::new());
                for (at, item) in items.iter().enumerate() {
                    match item.as_str() {
                        Some(text) if text.len() <= Self::TEXT => texts.push(Box::from(text)),
                        Some(_) => faults.push(format!("/{at}"), "too_long", "must be at most 1,024 bytes long"),
                        None => faults.push(format!("/{at}"), "wrong_type", "must be a text, as all elements of a set"),
                    }
                }
                faults.into_result()?;
                texts.sort_unstable();
                texts.dedup();
                Ok(Self::Set(texts.into()))
            }
            Value::Object(fields) => {
                let degrees = |name| fields.get(name).and_then(Value::as_f64);
                let place = degrees("lat").zip(degrees("lon")).and_then(|(lat, lon)| Position::new(lat, lon));
                match place.filter(|_| fields.len() == 2) {
                    Some(place) => Ok(Self::Place(place)),
                    None => fault("wrong_type", "must be {\"lat\": -90..90, \"lon\": -180..180} when it is an object"),
                }
            }
            Value::Null => fault("wrong_type", "must be a value: null removes a trait and is none"),
        }
    }

    fn text(text: &str) -> Self {
        match Moment::parse(text) {
            Some(moment) => Self::Moment(Box::new(moment)),
            None => Self::Text(text.into()),
        }
    }

    pub(super) fn view(&self) -> View<'_> {
        match self {
            Self::Bool(yes) => View::Bool(*yes),
            Self::Number(number) => View::Number(*number),
            Self::Text(text) => View::Text(text),
            Self::Moment(moment) => View::Moment(moment),
            Self::Set(texts) => View::Set(texts),
            Self::Place(at) => View::Place(*at),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Bool(_) | Self::Number(_) | Self::Place(_) => 0,
            Self::Text(text) => text.len(),
            Self::Moment(moment) => size_of::<Moment>() + moment.text.len(),
            Self::Set(texts) => texts.iter().map(|text| size_of::<Box<str>>() + text.len()).sum(),
        }
    }

    fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(yes) => out.push(u8::from(*yes)),
            Self::Number(number) => {
                out.push(2);
                out.extend_from_slice(&number.to_bits().to_le_bytes());
            }
            Self::Text(text) => {
                out.push(3);
                put_text(out, text);
            }
            Self::Moment(moment) => {
                out.push(3);
                put_text(out, &moment.text);
            }
            Self::Set(texts) => {
                out.push(4);
                put_varint(out, texts.len() as u64);
                texts.iter().for_each(|text| put_text(out, text));
            }
            Self::Place(at) => {
                out.push(5);
                out.extend_from_slice(&at.lat.to_bits().to_le_bytes());
                out.extend_from_slice(&at.lon.to_bits().to_le_bytes());
            }
        }
    }

    fn unpack(from: &mut Unpack<'_>) -> Result<Self, CodecError> {
        Ok(match from.byte()? {
            yes @ (0 | 1) => Self::Bool(yes == 1),
            2 => Self::Number(from.float()?),
            3 => Self::text(from.text()?),
            4 => {
                let count = from.count(1)?;
                let texts = (0..count).map(|_| from.text().map(Box::from)).collect::<Result<Box<[Box<str>]>, _>>()?;
                if !texts.is_sorted_by(|a, b| a < b) {
                    return Err(CodecError::Malformed("a set is out of order"));
                }
                Self::Set(texts)
            }
            5 => {
                let place = Position::new(from.float()?, from.float()?);
                Self::Place(place.ok_or(CodecError::Malformed("a point is off the Earth"))?)
            }
            _ => return Err(CodecError::Malformed("a trait has an unknown type")),
        })
    }
}

impl Serialize for TraitValue {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(yes) => out.serialize_bool(*yes),
            Self::Number(number) => out.serialize_f64(*number),
            Self::Text(text) => out.serialize_str(text),
            Self::Moment(moment) => out.serialize_str(&moment.text),
            Self::Set(texts) => out.collect_seq(texts.iter()),
            Self::Place(at) => {
                let mut map = out.serialize_map(Some(2))?;
                map.serialize_entry("lat", &at.lat)?;
                map.serialize_entry("lon", &at.lon)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for TraitValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&Value::deserialize(from)?)
            .map_err(|faults| de::Error::custom(faults.first().map_or_else(String::new, ToString::to_string)))
    }
}

/// One trait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trait {
    /// Which one.
    pub name: NameHash,
    /// When it was last set.
    pub set_at: Millis,
    /// What it was set to.
    pub value: TraitValue,
}

/// The traits of a person, sorted by [`NameHash`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Traits(Box<[Trait]>);

impl<'de> Deserialize<'de> for Traits {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut traits = Vec::<Trait>::deserialize(from)?;
        traits.sort_by_key(|held| held.name);
        traits.dedup_by_key(|held| held.name);
        Ok(Self(traits.into()))
    }
}

/// A checked merge patch (RFC 7396) over traits: a value sets, `null` removes. Sets and points
/// are replaced whole.
#[derive(Clone, Debug, PartialEq)]
pub struct TraitPatch(Vec<(TraitName, Option<TraitValue>)>);

impl Traits {
    /// The most traits of a person.
    pub const COUNT: usize = 128;
    /// The most bytes that all traits together may take when packed.
    pub const BYTES: usize = 32_768;

    /// The trait called `name`.
    #[must_use]
    pub fn get(&self, name: NameHash) -> Option<&Trait> {
        self.0.binary_search_by_key(&name, |held| held.name).ok().map(|place| &self.0[place])
    }

    /// Every trait, sorted by name hash.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Trait> {
        self.0.iter()
    }

    /// Only the traits among `names`.
    #[must_use]
    pub fn among(&self, names: &BTreeSet<NameHash>) -> Self {
        Self(self.0.iter().filter(|held| names.contains(&held.name)).cloned().collect())
    }

    /// Traits written as a JSON object, as set at `now`.
    ///
    /// # Errors
    /// Every fault, with its pointer.
    pub fn parse(json: &Value, now: Millis) -> Result<Self, Vec<Violation>> {
        Self::default().patched(&TraitPatch::parse(json)?, now).map_err(|fault| vec![fault])
    }

    /// These traits after `patch`, whose values count as set at `now`.
    ///
    /// # Errors
    /// When there would be too many of them.
    pub fn patched(&self, patch: &TraitPatch, now: Millis) -> Result<Self, Violation> {
        let mut traits = self.0.to_vec();
        for (name, value) in &patch.0 {
            let name = NameHash::of(name.as_str());
            let place = traits.binary_search_by_key(&name, |held| held.name);
            match (place, value.clone().map(|value| Trait { name, set_at: now, value })) {
                (Ok(place), Some(held)) => traits[place] = held,
                (Ok(place), None) => drop(traits.remove(place)),
                (Err(place), Some(held)) => traits.insert(place, held),
                (Err(_), None) => {}
            }
        }
        let traits = Self(traits.into());
        if traits.0.len() > Self::COUNT {
            Err(Violation::new("", "too_many", "a person can have at most 128 traits"))
        } else if traits.encode().len() > Self::BYTES {
            Err(Violation::new("", "too_large", "the traits of a person can take at most 32 KiB together"))
        } else {
            Ok(traits)
        }
    }

    /// Adds the traits of another person, who turned out to be the same: of each the one that was set
    /// last, the own one where both were set at once, the newest first as long as there is room.
    pub fn merge(&mut self, other: &Self) {
        let newer = |held: &&Trait| self.get(held.name).is_none_or(|own| own.set_at < held.set_at);
        let mut others: Vec<&Trait> = other.iter().filter(newer).collect();
        others.sort_by_key(|held| (Reverse(held.set_at), held.name));
        for held in others {
            let mut traits = self.0.to_vec();
            match traits.binary_search_by_key(&held.name, |own| own.name) {
                Ok(place) => traits[place] = held.clone(),
                Err(place) => traits.insert(place, held.clone()),
            }
            let traits = Self(traits.into());
            if traits.0.len() <= Self::COUNT && traits.encode().len() <= Self::BYTES {
                *self = traits;
            }
        }
    }

    /// Those of the given names: the ones a decision rests on, for its record.
    #[must_use]
    pub fn only(&self, names: &[NameHash]) -> Self {
        Self(self.0.iter().filter(|held| names.contains(&held.name)).cloned().collect())
    }

    /// The packed form, which keeps when each was set.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.pack(&mut out);
        out
    }

    /// What was packed.
    ///
    /// # Errors
    /// When the bytes break a rule of the format.
    pub fn decode(packed: &[u8]) -> Result<Self, CodecError> {
        let mut from = Unpack(packed);
        let traits = Self::unpack(&mut from)?;
        if from.is_empty() { Ok(traits) } else { Err(CodecError::Malformed("bytes follow the traits")) }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.iter().map(|held| size_of::<Trait>() + held.value.heap_bytes()).sum()
    }

    pub(super) fn pack(&self, out: &mut Vec<u8>) {
        put_varint(out, self.0.len() as u64);
        for held in &self.0 {
            out.extend_from_slice(&held.name.0.to_le_bytes());
            out.extend_from_slice(&held.set_at.0.to_le_bytes());
            held.value.pack(out);
        }
    }

    pub(super) fn unpack(from: &mut Unpack<'_>) -> Result<Self, CodecError> {
        let count = from.count(17)?;
        let mut traits: Vec<Trait> = Vec::with_capacity(count);
        for _ in 0..count {
            let (name, set_at) = (NameHash(from.word()?), Millis(from.word()? as i64));
            if traits.last().is_some_and(|last| last.name >= name) {
                return Err(CodecError::Malformed("traits are out of order"));
            }
            traits.push(Trait { name, set_at, value: TraitValue::unpack(from)? });
        }
        Ok(Self(traits.into()))
    }
}

impl TraitPatch {
    /// The patch written as a JSON object of trait names.
    ///
    /// # Errors
    /// Every fault, with its pointer.
    pub fn parse(json: &Value) -> Result<Self, Vec<Violation>> {
        let Some(fields) = json.as_object() else {
            return Err(vec![Violation::new("", "wrong_type", "must be an object of trait names and their values")]);
        };
        if fields.len() > Traits::COUNT {
            return Err(vec![Violation::new("", "too_many", "must name at most 128 traits")]);
        }
        let (mut patch, mut faults) = (Vec::with_capacity(fields.len()), Violations::new());
        for (name, value) in fields {
            let pointer = format!("/{}", token(name));
            let value = match value {
                Value::Null => Some(None),
                value => faults.keep(&pointer, TraitValue::parse(value)).map(Some),
            };
            match (name.parse(), value) {
                (Ok(name), Some(value)) => patch.push((name, value)),
                (Err(error), _) => faults.push(pointer, "invalid_name", format!("{error}")),
                (Ok(_), None) => {}
            }
        }
        faults.into_result().map(|()| Self(patch))
    }

    /// The names it sets or removes, with the new values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&TraitName, Option<&TraitValue>)> {
        self.0.iter().map(|(name, value)| (name, value.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Millis = Millis(1_000);

    fn value(traits: &Traits, name: &str) -> Option<Value> {
        let held = traits.get(NameHash::of(name))?;
        Some(serde_json::to_value(&held.value).expect("JSON"))
    }

    #[test]
    fn every_kind_of_value_is_written_as_it_was_read() {
        let json = json!({"vip": true, "age": 31.0, "city": "Köln", "born": "2001-05-17", "likes": ["a", "b"],
            "home": {"lat": 52.5, "lon": 13.4}});
        let traits = Traits::parse(&json, NOW).expect("traits");
        for (name, written) in json.as_object().expect("an object") {
            assert_eq!(value(&traits, name).as_ref(), Some(written), "{name}");
        }
        assert!(matches!(traits.get(NameHash::of("born")).expect("born").value, TraitValue::Moment(_)));
    }

    #[test]
    fn a_patch_sets_and_removes_and_leaves_the_rest() {
        let traits = Traits::parse(&json!({"a": 1, "b": 2, "c": 3}), NOW).expect("traits");
        let patch = TraitPatch::parse(&json!({"a": null, "b": 5, "d": "x", "e": null})).expect("a patch");
        let after = traits.patched(&patch, Millis(2_000)).expect("few traits");
        assert_eq!(
            [value(&after, "a"), value(&after, "b"), value(&after, "d")],
            [None, Some(json!(5.0)), Some(json!("x"))]
        );
        let set_at = |name| after.get(NameHash::of(name)).expect("a trait").set_at;
        assert_eq!((set_at("b"), set_at("c")), (Millis(2_000), NOW));
    }

    #[test]
    fn all_faults_are_reported_with_their_places() {
        let long = "x".repeat(1_025);
        let faults = Traits::parse(
            &json!({"Bad": 1, "a/b": 1, "long": long, "set": ["x", 1, null], "home": {"lat": 91, "lon": 0},
                "part": {"lat": 1}, "many": vec!["x"; 65]}),
            NOW,
        )
        .expect_err("faults");
        let mut found: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), fault.code)).collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [
                ("/Bad", "invalid_name"),
                ("/a~1b", "invalid_name"),
                ("/home", "wrong_type"),
                ("/long", "too_long"),
                ("/many", "too_many"),
                ("/part", "wrong_type"),
                ("/set/1", "wrong_type"),
                ("/set/2", "wrong_type"),
            ]
        );
        assert!(Traits::parse(&json!([]), NOW).is_err());
    }

    #[test]
    fn those_in_play_are_recorded_with_their_times() {
        let traits = Traits::parse(&json!({"a": 1, "b": "x", "c": true}), NOW).expect("traits");
        let some = traits.only(&[NameHash::of("c"), NameHash::of("a"), NameHash::of("other")]);
        assert_eq!(
            [value(&some, "a"), value(&some, "b"), value(&some, "c")],
            [Some(json!(1.0)), None, Some(json!(true))]
        );
        let packed = some.encode();
        assert_eq!(Traits::decode(&packed).as_ref(), Ok(&some));
        assert_eq!(
            Traits::decode(&[&packed[..], &[0]].concat()),
            Err(CodecError::Malformed("bytes follow the traits"))
        );
    }

    #[test]
    fn merging_takes_what_was_set_last() {
        let parse = |json: Value, at: i64| Traits::parse(&json, Millis(at)).expect("traits");
        let mut own = parse(json!({"age": 30, "city": "Berlin"}), 5);
        own.merge(&parse(json!({"age": 31, "plan": "pro"}), 9));
        assert_eq!(
            [value(&own, "age"), value(&own, "city"), value(&own, "plan")],
            [Some(json!(31.0)), Some(json!("Berlin")), Some(json!("pro"))]
        );
        let before = own.clone();
        own.merge(&parse(json!({"age": 18, "city": "Bern"}), 4));
        own.merge(&parse(json!({"age": 32}), 9));
        assert_eq!(own, before, "older, or set at once");
        assert_eq!(own.get(NameHash::of("plan")).expect("taken").set_at, Millis(9));
        let many = |from: usize, to: usize| -> Value { (from..to).map(|i| (format!("t{i}"), json!(i))).collect() };
        let mut full = parse(many(0, 127), 1);
        let patch = TraitPatch::parse(&many(210, 211)).expect("a patch");
        full.merge(&parse(many(200, 220), 2).patched(&patch, Millis(3)).expect("traits"));
        assert_eq!(full.iter().len(), 128);
        assert_eq!(full.get(NameHash::of("t210")).expect("the newest").set_at, Millis(3));
        assert_eq!(Traits::decode(&full.encode()), Ok(full));
    }

    #[test]
    fn the_whole_is_bounded() {
        let many = |from: usize, to: usize| -> Value { (from..to).map(|i| (format!("t{i}"), json!(i))).collect() };
        let full = Traits::parse(&many(0, 128), NOW).expect("128 traits");
        let one_more = TraitPatch::parse(&many(128, 129)).expect("a patch");
        assert_eq!(full.patched(&one_more, NOW).expect_err("too many").code, "too_many");
        let large: Value = (0..40).map(|i| (format!("t{i}"), json!("x".repeat(1_000)))).collect();
        assert_eq!(Traits::parse(&large, NOW).expect_err("too large")[0].code, "too_large");
    }
}
