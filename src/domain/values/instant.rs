//! Instants.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant: milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 UTC with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub i64);

impl Millis {
    /// Later than every instant a document can name.
    pub const NEVER: Self = Self(i64::MAX);

    /// This instant moved by `ms` milliseconds, stopping at the ends of the range.
    #[must_use]
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The numbers from 0 to 99 in two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

impl Millis {
    /// The written form, for years of four digits. By hand because every answer writes many of
    /// them: a tenth of the time of a general formatter. The calendar is that of "chrono-Compatible
    /// Low-Level Date Algorithms" (Hinnant), `civil_from_days`.
    pub(super) fn written(self) -> Option<[u8; 24]> {
        const DAY: u64 = 86_400_000;
        const YEARS: std::ops::Range<i64> = -62_167_219_200_000..253_402_207_201_000;
        /// Days from 1 March of 400 years before the year 0, so that no number is negative.
        const SHIFT: u64 = 719_468 + 146_097;
        if !YEARS.contains(&self.0) {
            return None;
        }
        let shifted = self.0.wrapping_add((SHIFT * DAY) as i64) as u64;
        // they fit: the years above are four million days
        let (days, ms) = ((shifted / DAY) as u32, (shifted % DAY) as u32);
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + u32::from(month <= 2) - 400;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: usize, pair: u32| text[at..at + 2].copy_from_slice(&PAIRS[pair as usize]);
        put(0, year / 100);
        put(2, year % 100);
        put(5, month);
        put(8, day);
        let (seconds, ms) = (ms / 1_000, ms % 1_000);
        put(11, seconds / 3_600);
        put(14, seconds / 60 % 60);
        put(17, seconds % 60);
        put(21, ms % 100);
        text[20] = b'0' + (ms / 100) as u8;
        Some(text)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.written() {
            return f.write_str(std::str::from_utf8(&text).unwrap_or_default());
        }
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => f.write_str(if self.0 < 0 { "-009999-01-02T01:59:59.000Z" } else { "9999-12-30T22:00:00.999Z" }),
        }
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Millis({self})")
    }
}

/// The text is no RFC 3339 instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 instant such as 2026-11-22T08:30:00Z")]
pub struct NoInstant;

impl FromStr for Millis {
    type Err = NoInstant;

    fn from_str(text: &str) -> Result<Self, NoInstant> {
        let at = text.parse::<jiff::Timestamp>().ok().filter(|_| shaped(text.as_bytes()));
        at.map(|at| Self(at.as_millisecond())).ok_or(NoInstant)
    }
}

/// Whether a text has the shape of RFC 3339, section 5.6: a date-time is also read in other shapes of
/// ISO 8601, which senders would come to rely on.
fn shaped(text: &[u8]) -> bool {
    let digits = |at: std::ops::Range<usize>| text.get(at).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let is = |at: usize, any: &[u8]| text.get(at).is_some_and(|byte| any.contains(byte));
    let seconds = digits(0..4)
        && is(4, b"-")
        && digits(5..7)
        && is(7, b"-")
        && digits(8..10)
        && is(10, b"Tt ")
        && digits(11..13)
        && is(13, b":")
        && digits(14..16)
        && is(16, b":")
        && digits(17..19);
    if !seconds {
        return false;
    }
    let fraction = text[19..].iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
    let zone = match text.get(19) {
        Some(b'.') if fraction > 0 => 20 + fraction,
        Some(b'.') => return false,
        _ => 19,
    };
    match text.len() - zone {
        1 => is(zone, b"Zz"),
        6 => {
            is(zone, b"+-")
                && digits(zone + 1..zone + 3)
                && is(zone + 3, b":")
                && digits(zone + 4..zone + 6)
                && text[zone + 1..zone + 3] <= b"23"[..]
        }
        _ => false,
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.written() {
            Some(text) => out.serialize_str(std::str::from_utf8(&text).unwrap_or_default()),
            None => out.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(|_| de::Error::custom("must be an RFC 3339 instant such as 2026-11-22T08:30:00Z"))
    }
}

impl utoipa::PartialSchema for Millis {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples([serde_json::json!("2026-11-22T08:30:00.000Z")])
            .build()
            .into()
    }
}

impl utoipa::ToSchema for Millis {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_instant_is_written_as_the_calendar_says(at in -62_167_219_200_000_i64..253_402_207_201_000) {
            let text = jiff::Timestamp::from_millisecond(at).map(|at| format!("{at:.3}"));
            prop_assert_eq!(Millis(at).to_string(), text.expect("in range"));
        }
    }

    #[test]
    fn only_the_shape_of_rfc_3339_is_read() {
        for good in [
            "2026-11-22T08:30:00Z",
            "2026-11-22t08:30:00.5z",
            "2026-11-22 08:30:00.123456789+01:00",
            "2016-12-31T23:59:60Z",
        ] {
            assert!(good.parse::<Millis>().is_ok(), "{good}");
        }
        for bad in [
            "2026-11-22T08:30Z",
            "20261122T083000Z",
            "2026-11-22T08:30:00+0200",
            "2026-11-22T08:30:00+25:00",
            "2026-11-22T08:30:00",
            "2026-11-22T08:30:00+01:00[Europe/Berlin]",
            "2026-11-22T08:30:00,5Z",
            "2026-11-22T08:30:00.Z",
            "2026-11-22T08:30:00-0",
            "",
        ] {
            assert_eq!(bad.parse::<Millis>(), Err(NoInstant), "{bad}");
        }
    }

    #[test]
    fn the_ends_of_the_range_are_written_too() {
        for at in ["0000-01-01T00:00:00.000Z", "2000-02-29T23:59:59.999Z", "9999-12-30T21:59:59.999Z"] {
            assert_eq!(at.parse::<Millis>().expect("an instant").to_string(), at);
        }
        assert_eq!(Millis::NEVER.to_string(), "9999-12-30T22:00:00.999Z");
    }
}
