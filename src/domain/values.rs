//! Small values that several wings share: instants, sizes, money, places, languages.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is none of the values here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(&'static str);

/// Writes a value as the text it parses from, in JSON and in the schema.
macro_rules! textual {
    ($name:ident, $pattern:literal, $example:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::domain::values::parsed(from)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some($pattern))
                    .examples([serde_json::json!($example)])
                    .build()
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

/// Width and height in CSS pixels, 1 to 9,999 each; written `300x250`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    /// Width in CSS pixels.
    pub width: u16,
    /// Height in CSS pixels.
    pub height: u16,
}

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const ERROR: ValueError = ValueError("must be a size such as 300x250, each side 1 to 9999");
        let side = |part: &str| {
            let digits = !part.is_empty() && part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit());
            part.parse().ok().filter(|&side: &u16| digits && !part.starts_with('0') && side > 0).ok_or(ERROR)
        };
        let (width, height) = text.split_once('x').ok_or(ERROR)?;
        Ok(Self { width: side(width)?, height: side(height)? })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

mod instant;
mod json;
mod money;
mod parsed;
pub use instant::Millis;
pub use json::{Json, read_json};
pub use money::{Amount, Currency, Money};
pub use parsed::parsed;

textual!(Size, "^[1-9][0-9]{0,3}x[1-9][0-9]{0,3}$", "300x250");

/// Where a page comes from, as browsers write it: scheme, host, and the port if it is not the
/// scheme's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Box<str>);

impl Origin {
    /// The text, to compare with the header `Origin`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const ERROR: ValueError = ValueError("must be an origin such as https://shop.example or http://localhost:3000");
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(ERROR)?;
        let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
        let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        let host = (1..=253).contains(&host.len()) && host.bytes().all(sound);
        let port = port.is_none_or(|port| {
            port.parse::<u16>().is_ok() && port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0')
        });
        if host && port { Ok(Self(text.into())) } else { Err(ERROR) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

textual!(Origin, "^https?://[a-z0-9.-]{1,253}(:[1-9][0-9]{0,4})?$", "https://shop.northwind.example");

/// What kind of markup an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A document for an iframe.
    Html,
    /// IAB Native 1.2 JSON.
    Native,
    /// A video: IAB VAST.
    Vast,
}

/// Two upper-case letters in the manner of ISO 3166-1. `UK`, which ISO 3166-1 reserves for the
/// United Kingdom, is read as `GB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("ZZ")
    }

    /// Whether ISO 3166-1 assigns the code to a country or territory; `XK` too, by which everybody
    /// means Kosovo. Geolocation writes others (`XX`, `ZZ`, `EU`) where it does not know.
    #[must_use]
    pub fn exists(self) -> bool {
        /// Second letters of the assigned codes, by their first.
        const ASSIGNED: [(u8, &[u8]); 26] = [
            (b'A', b"DEFGILMOQRSTUWXZ"),
            (b'B', b"ABDEFGHIJLMNOQRSTVWYZ"),
            (b'C', b"ACDFGHIKLMNORUVWXYZ"),
            (b'D', b"EJKMOZ"),
            (b'E', b"CEGHRST"),
            (b'F', b"IJKMOR"),
            (b'G', b"ABDEFGHILMNPQRSTUWY"),
            (b'H', b"KMNRTU"),
            (b'I', b"DELMNOQRST"),
            (b'J', b"EMOP"),
            (b'K', b"EGHIMNPRWYZ"),
            (b'L', b"ABCIKRSTUVY"),
            (b'M', b"ACDEFGHKLMNOPQRSTUVWXYZ"),
            (b'N', b"ACEFGILOPRUZ"),
            (b'O', b"M"),
            (b'P', b"AEFGHKLMNRSTWY"),
            (b'Q', b"A"),
            (b'R', b"EOSUW"),
            (b'S', b"ABCDEGHIJKLMNORSTVXYZ"),
            (b'T', b"CDFGHJKLMNORTVWZ"),
            (b'U', b"AGMSYZ"),
            (b'V', b"ACEGINU"),
            (b'W', b"FS"),
            (b'X', b"K"),
            (b'Y', b"ET"),
            (b'Z', b"AMW"),
        ];
        let [first, second] = self.0;
        ASSIGNED.iter().any(|(letter, seconds)| *letter == first && seconds.contains(&second))
    }

    /// Whether the GDPR or a law equal to it applies there:
    ///
    /// - the 27 member states, and their parts with codes of their own: the outermost regions of
    ///   France (GF, GP, MF, MQ, RE, YT; article 355(1) TFEU) and Åland (AX; article 355(4));
    /// - Iceland, Liechtenstein and Norway (EEA Joint Committee decision 154/2018);
    /// - the United Kingdom (UK GDPR, Data Protection Act 2018), Guernsey (Data Protection (Bailiwick
    ///   of Guernsey) Law 2017), Jersey (Data Protection (Jersey) Law 2018) and the Isle of Man (GDPR
    ///   and LED Implementing Regulations 2018).
    #[must_use]
    pub fn gdpr_applies(self) -> bool {
        const GDPR: [&[u8; 2]; 41] = [
            b"AT", b"AX", b"BE", b"BG", b"CY", b"CZ", b"DE", b"DK", b"EE", b"ES", b"FI", b"FR", b"GB", b"GF", b"GG",
            b"GP", b"GR", b"HR", b"HU", b"IE", b"IM", b"IS", b"IT", b"JE", b"LI", b"LT", b"LU", b"LV", b"MF", b"MQ",
            b"MT", b"NL", b"NO", b"PL", b"PT", b"RE", b"RO", b"SE", b"SI", b"SK", b"YT",
        ];
        GDPR.contains(&&self.0)
    }
}

impl FromStr for Country {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                let code = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
                Ok(Self(if code == *b"UK" { *b"GB" } else { code }))
            }
            _ => Err(ValueError("must be a country of two letters (ISO 3166-1), such as US")),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Country({self})")
    }
}

textual!(Country, "^[A-Za-z]{2}$", "US");

/// A language tag (BCP 47): a language of 2 or 3 letters with optional script, region and
/// variant subtags, kept as `de-CH`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locale(Box<str>);

impl Locale {
    /// The tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How well a component of this locale serves a reader of `wanted`: the number of leading
    /// subtags that agree when this tag is a prefix of the wanted one (`de` serves `de-CH` with
    /// 1, `de-CH` with 2), else `None`.
    #[must_use]
    pub fn serves(&self, wanted: &Locale) -> Option<usize> {
        let rest = wanted.0.get(self.0.len()..)?;
        let prefix = wanted.0[..self.0.len()].eq_ignore_ascii_case(&self.0);
        (prefix && (rest.is_empty() || rest.starts_with('-'))).then(|| 1 + self.0.matches('-').count())
    }
}

impl FromStr for Locale {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const ERROR: ValueError = ValueError("must be a language tag (BCP 47) such as de or de-CH");
        if text.len() > 35 {
            return Err(ERROR);
        }
        let mut tag = String::with_capacity(text.len());
        for (at, part) in text.split('-').enumerate() {
            let fits = match at {
                0 => (2..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphabetic()),
                _ => (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()),
            };
            if !fits {
                return Err(ERROR);
            }
            if at == 0 {
                tag.push_str(&part.to_ascii_lowercase());
            } else {
                tag.push('-');
                tag.push_str(&if part.len() == 2 { part.to_ascii_uppercase() } else { part.to_ascii_lowercase() });
            }
        }
        Ok(Self(tag.into()))
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

textual!(Locale, "^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$", "de-CH");

/// A length of time as ISO 8601 weeks, days, hours, minutes and seconds, kept in milliseconds.
/// Months and years are refused because their length varies. `P1D` is always 24 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

impl Span {
    /// A length of `ms` milliseconds, at least zero.
    #[must_use]
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.max(0))
    }

    /// The length in milliseconds.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }
}

impl FromStr for Span {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const ERROR: ValueError = ValueError("must be a duration such as P7D, PT30M or P2W, without months or years");
        /// A century: more than any window needs, and far from overflow.
        const LONGEST: i64 = 36_525 * 86_400_000;
        let (mut rest, mut total, mut in_time, mut last) = (text.strip_prefix('P').ok_or(ERROR)?, 0_i64, false, 0_u8);
        if rest.is_empty() {
            return Err(ERROR);
        }
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('T') {
                if in_time || after.is_empty() || last == 1 {
                    return Err(ERROR);
                }
                (in_time, rest) = (true, after);
            }
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let count: i64 = rest[..digits].parse().map_err(|_| ERROR)?;
            let (rank, unit) = match (in_time, rest.as_bytes().get(digits)) {
                (false, Some(b'W')) => (1, 604_800_000),
                (false, Some(b'D')) => (2, 86_400_000),
                (true, Some(b'H')) => (3, 3_600_000),
                (true, Some(b'M')) => (4, 60_000),
                (true, Some(b'S')) => (5, 1_000),
                _ => return Err(ERROR),
            };
            if rank <= last || last == 1 {
                return Err(ERROR);
            }
            total =
                count.checked_mul(unit).and_then(|ms| total.checked_add(ms)).filter(|&t| t <= LONGEST).ok_or(ERROR)?;
            (last, rest) = (rank, &rest[digits + 1..]);
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000;
        let (days, hours, minutes, left) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        f.write_str("P")?;
        if days > 0 {
            write!(f, "{days}D")?;
        }
        if seconds % 86_400 > 0 || days == 0 {
            f.write_str("T")?;
            for (count, unit) in [(hours, 'H'), (minutes, 'M')] {
                if count > 0 {
                    write!(f, "{count}{unit}")?;
                }
            }
            if left > 0 || seconds == 0 {
                write!(f, "{left}S")?;
            }
        }
        Ok(())
    }
}

textual!(Span, "^P(?=.)([0-9]+D)?(T(?=.)([0-9]+H)?([0-9]+M)?([0-9]+S)?)?$|^P[0-9]+W$", "P7D");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_with_milliseconds() {
        assert_eq!(Millis(1_700_000_000_123).to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!("2023-11-14T22:13:20Z".parse::<Millis>().expect("an instant"), Millis(1_700_000_000_000));
        assert!("yesterday".parse::<Millis>().is_err());
        let _no_panic = Millis::NEVER.to_string();
    }

    #[test]
    fn sizes_round_trip() {
        assert_eq!("300x250".parse::<Size>().expect("a size").to_string(), "300x250");
        for bad in ["0x1", "300", "300x", "x250", "300X250", "10000x1", "+1x2", "01x2"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_do() {
        for good in ["https://shop.example", "http://localhost:3000", "http://127.0.0.1:8080"] {
            assert_eq!(good.parse::<Origin>().expect(good).to_string(), good);
        }
        for bad in [
            "",
            "null",
            "*",
            "https://",
            "https://a.example/",
            "https://A.example",
            "ftp://a",
            "https://a:0",
            "https://a:99999",
            "https://u@a",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_have_a_fixed_length() {
        for (text, ms) in
            [("PT30M", 1_800_000), ("P7D", 604_800_000), ("P2W", 1_209_600_000), ("P1DT1H1M1S", 90_061_000)]
        {
            assert_eq!(text.parse::<Span>().expect(text).millis(), ms);
        }
        for bad in ["P1M", "P1Y", "P", "PT", "P1DT", "1D", "PT1D", "P1W1D", "P1W1W", "PT1M1H", "P99999999999D", "P-1D"]
        {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        for text in ["P7D", "PT30M", "P1DT1H", "PT0S"] {
            assert_eq!(text.parse::<Span>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn the_closest_language_serves_best() {
        let locale = |tag: &str| tag.parse::<Locale>().expect("a tag");
        assert_eq!(locale("de").serves(&locale("de-CH")), Some(1));
        assert_eq!(locale("de-ch").serves(&locale("de-CH")), Some(2));
        assert_eq!(locale("de-AT").serves(&locale("de-CH")), None);
        assert_eq!(locale("de").serves(&locale("den")), None);
    }

    #[test]
    fn consent_countries() {
        assert!("de".parse::<Country>().expect("a country").gdpr_applies());
        assert!(!"US".parse::<Country>().expect("a country").gdpr_applies());
        assert!("USA".parse::<Country>().is_err());
        assert_eq!("uk".parse::<Country>().expect("a country").as_str(), "GB");
        for (code, exists) in [("US", true), ("XK", true), ("ax", true), ("XX", false), ("ZZ", false), ("EU", false)] {
            assert_eq!(code.parse::<Country>().expect("two letters").exists(), exists, "{code}");
        }
    }
}
