//! The parts of a BidRequest that we read, borrowed from its bytes.
//!
//! OpenRTB 2.6-202606 with the places of 2.5. Unknown fields are passed over and unknown numbers
//! of a list are kept; a field that we do read must have its JSON type. What stands in `ext` is
//! everybody's own, so whatever of it has another type than we know is as if it were absent; so are
//! ids and addresses. Strings of consent of another type are no consent.

use std::{borrow::Cow, fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

/// A text, borrowed where it holds no escapes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A JSON object: lists are not taken for one, as a plain structure would.
#[derive(Clone, Debug, Default)]
pub struct Object<T>(T);

impl<T> Object<T> {
    pub(super) fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }
        from.deserialize_map(Members(std::marker::PhantomData)).map(Self)
    }
}

/// A whole number; `300.0` is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Int(pub i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = i64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<i64, E> {
                Ok(number)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<i64, E> {
                Ok(i64::try_from(number).unwrap_or(i64::MAX))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<i64, E> {
                if number.fract() == 0.0 && number.abs() < 9e15 {
                    Ok(number as i64)
                } else {
                    Err(E::invalid_type(de::Unexpected::Float(number), &self))
                }
            }
        }
        from.deserialize_i64(Whole).map(Self)
    }
}

/// Objects in a list.
pub type Objects<T> = Vec<Object<T>>;

/// Declares objects whose members may all be absent or null.
macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, Deserialize)]
            #[expect(missing_docs, reason = "the specification's own names")]
            pub struct $name<'a> {
                $($(#[$attr])* pub $field: Option<$kind>,)*
                #[serde(skip)]
                pub(super) of: std::marker::PhantomData<&'a ()>,
            }
        )*
    };
}

objects! {
    /// 3.2.1
    BidRequest {
        #[serde(borrow)] id: Text<'a>,
        #[serde(borrow)] imp: Objects<Imp<'a>>,
        #[serde(borrow)] site: Object<Site<'a>>,
        #[serde(borrow)] app: Object<AppObject<'a>>,
        #[serde(borrow)] dooh: Object<Site<'a>>,
        #[serde(borrow)] device: Object<Device<'a>>,
        #[serde(borrow)] user: Object<User<'a>>,
        #[serde(borrow)] regs: Object<Regs<'a>>,
        test: Int,
        tmax: Int,
        #[serde(borrow)] cur: Vec<Text<'a>>,
        #[serde(borrow)] wseat: Vec<Text<'a>>,
        #[serde(borrow)] bseat: Vec<Text<'a>>,
        #[serde(borrow)] bcat: Vec<Text<'a>>,
        #[serde(borrow)] acat: Vec<Text<'a>>,
        cattax: Int,
        #[serde(borrow)] badv: Vec<Text<'a>>,
        #[serde(borrow)] wlang: Vec<Text<'a>>,
        #[serde(borrow)] wlangb: Vec<Text<'a>>,
    }
    /// 3.2.4
    Imp {
        #[serde(borrow)] id: Text<'a>,
        #[serde(borrow)] banner: Object<Banner<'a>>,
        #[serde(borrow)] video: Object<Player<'a>>,
        #[serde(borrow)] audio: Object<Player<'a>>,
        #[serde(borrow)] native: Object<Native<'a>>,
        #[serde(borrow)] pmp: Object<Pmp<'a>>,
        #[serde(borrow)] metric: Objects<Metric<'a>>,
        instl: Int,
        bidfloor: f64,
        #[serde(borrow)] bidfloorcur: Text<'a>,
        secure: Int,
        exp: Int,
        #[serde(borrow)] ext: &'a RawValue,
    }
    /// 3.2.5
    Metric {
        #[serde(borrow, rename = "type")] kind: Text<'a>,
        value: f64,
    }
    /// 3.2.6
    Banner {
        w: Int,
        h: Int,
        format: Objects<FormatObject<'a>>,
        btype: Vec<Int>,
        battr: Vec<Int>,
        #[serde(borrow)] mimes: Vec<Text<'a>>,
    }
    /// 3.2.10
    FormatObject {
        w: Int,
        h: Int,
        wratio: Int,
        hratio: Int,
        wmin: Int,
    }
    /// 3.2.7 and 3.2.8
    Player {
        #[serde(borrow)] mimes: Vec<Text<'a>>,
        w: Int,
        h: Int,
        minduration: Int,
        maxduration: Int,
        minbitrate: Int,
        maxbitrate: Int,
        protocols: Vec<Int>,
        protocol: Int,
        maxextended: Int,
        rqddurs: Vec<Int>,
        linearity: Int,
        skip: Int,
        companiontype: Vec<Int>,
        battr: Vec<Int>,
        durfloors: Objects<DurFloor<'a>>,
        mincpmpersec: f64,
    }
    /// 3.2.35
    DurFloor {
        mindur: Int,
        maxdur: Int,
        bidfloor: f64,
    }
    /// 3.2.9
    Native {
        #[serde(borrow)] request: &'a RawValue,
        battr: Vec<Int>,
    }
    /// 3.2.11
    Pmp {
        private_auction: Int,
        #[serde(borrow)] deals: Objects<Deal<'a>>,
    }
    /// 3.2.12
    Deal {
        #[serde(borrow)] id: Text<'a>,
        bidfloor: f64,
        #[serde(borrow)] bidfloorcur: Text<'a>,
        durfloors: Objects<DurFloor<'a>>,
        mincpmpersec: f64,
        #[serde(borrow)] wseat: Vec<Text<'a>>,
        #[serde(borrow)] wadomain: Vec<Text<'a>>,
    }
    /// 3.2.13, and 3.2.15 as far as it is the same
    Site {
        #[serde(borrow)] id: Text<'a>,
        #[serde(borrow)] domain: Text<'a>,
        #[serde(borrow)] page: Text<'a>,
        #[serde(borrow)] keywords: Text<'a>,
        #[serde(borrow)] kwarray: Vec<Text<'a>>,
    }
    /// 3.2.14
    AppObject {
        #[serde(borrow)] bundle: Text<'a>,
        #[serde(borrow)] domain: Text<'a>,
        #[serde(borrow)] keywords: Text<'a>,
        #[serde(borrow)] kwarray: Vec<Text<'a>>,
    }
    /// 3.2.18
    Device {
        #[serde(borrow)] ua: Text<'a>,
        #[serde(borrow)] ip: &'a RawValue,
        #[serde(borrow)] ipv6: &'a RawValue,
        #[serde(borrow)] geo: Object<Geo<'a>>,
        dnt: Int,
        lmt: Int,
        devicetype: Int,
        #[serde(borrow)] os: Text<'a>,
        #[serde(borrow)] language: Text<'a>,
        #[serde(borrow)] langb: Text<'a>,
        w: Int,
        h: Int,
    }
    /// 3.2.19
    Geo {
        lat: f64,
        lon: f64,
        #[serde(borrow)] country: Text<'a>,
        #[serde(borrow)] region: Text<'a>,
        #[serde(borrow)] city: Text<'a>,
        utcoffset: Int,
    }
    /// 3.2.20
    User {
        #[serde(borrow)] buyeruid: Text<'a>,
        #[serde(borrow)] consent: &'a RawValue,
        #[serde(borrow)] data: Objects<Data<'a>>,
        #[serde(borrow)] eids: &'a RawValue,
        #[serde(borrow)] geo: Object<Geo<'a>>,
        #[serde(borrow)] ext: &'a RawValue,
    }
    /// 3.2.21
    Data {
        #[serde(borrow)] id: Text<'a>,
        #[serde(borrow)] name: Text<'a>,
        #[serde(borrow)] segment: Objects<SegmentObject<'a>>,
        #[serde(borrow)] ext: &'a RawValue,
    }
    /// 3.2.22
    SegmentObject {
        #[serde(borrow)] id: Text<'a>,
    }
    /// 3.2.3
    Regs {
        coppa: Int,
        gdpr: Int,
        #[serde(borrow)] us_privacy: &'a RawValue,
        #[serde(borrow)] gpp: &'a RawValue,
        #[serde(borrow)] gpp_sid: &'a RawValue,
        #[serde(borrow)] ext: &'a RawValue,
    }
}

/// How many impressions of a request are bid on: far more than a page has, and few enough for each to be decided
/// beside all others.
pub const MOST_IMPS: usize = 64;

impl<'a> BidRequest<'a> {
    /// The impressions that may be bid on: the first [`MOST_IMPS`].
    pub(super) fn biddable(&self) -> &[Object<Imp<'a>>] {
        let all = self.imp.as_deref().unwrap_or_default();
        &all[..all.len().min(MOST_IMPS)]
    }
}

/// Whether no number is below zero.
pub(super) fn at_least_zero(numbers: &[Option<Int>]) -> bool {
    numbers.iter().flatten().all(|number| number.0 >= 0)
}

/// A member of an `ext`, if it is there and of this type.
pub(super) fn member<'a, T: Deserialize<'a>>(ext: Option<&'a RawValue>, name: &str) -> Option<T> {
    serde_json::from_str(inner(ext, name)?.get()).ok()
}

/// The same as it stands.
pub(super) fn inner<'a>(ext: Option<&'a RawValue>, name: &str) -> Option<&'a RawValue> {
    serde_json::from_str::<Members<'_>>(ext?.get()).ok()?.get(name)
}

/// The members of an object as they stand.
#[derive(Debug, Default)]
pub(super) struct Members<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The last of this name.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(of, _)| **of == *name).map(|(_, value)| *value)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Vec<(Text<'de>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                std::iter::from_fn(|| members.next_entry().transpose()).collect()
            }
        }
        from.deserialize_map(All).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_the_last_of_its_name_in_a_whole_object() {
        let of = |text: &str| {
            let ext: &RawValue = serde_json::from_str(text).expect("JSON");
            member::<i64>(Some(ext), "a")
        };
        assert_eq!(of(r#"{"a": 1, "b": 0, "\u0061": 2, "c": 3}"#), Some(2));
        for none in [r#"{"b": 1}"#, "[1]", "\"a\"", r#"{"a": "1"}"#, r#"{"a": 1, "\ud800": 2}"#] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
