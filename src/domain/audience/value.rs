//! The values that conditions compare: plain scalars, places and instants written as text.

use jiff::{
    Timestamp,
    civil::Date,
    tz::{TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Serialize, Serializer};

use super::verdict::Verdict;
use crate::domain::values::{Millis, Span};

/// A point on the Earth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Degrees north, -90 to 90.
    pub lat: f64,
    /// Degrees east, -180 to 180.
    pub lon: f64,
}

impl Position {
    /// The point, when both degrees are in range.
    #[must_use]
    pub fn new(lat: f64, lon: f64) -> Option<Self> {
        // Adding zero turns a negative zero into a positive one, so equal points have equal bytes.
        let sound = (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon);
        sound.then_some(Self { lat: lat + 0.0, lon: lon + 0.0 })
    }

    /// The point to two decimals of a degree, about a kilometre.
    #[must_use]
    pub fn coarse(self) -> Self {
        let cut = |degrees: f64| (degrees * 100.0).round() / 100.0 + 0.0;
        Self { lat: cut(self.lat), lon: cut(self.lon) }
    }

    /// Great-circle distance in kilometres on a sphere of 6,371 km (haversine formula).
    #[must_use]
    pub fn km_to(self, other: Self) -> f64 {
        let (from, to) = (self.lat.to_radians(), other.lat.to_radians());
        let half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let a = half(other.lat - self.lat) + from.cos() * to.cos() * half(other.lon - self.lon);
        2.0 * 6_371.0 * a.sqrt().min(1.0).asin()
    }
}

/// A yes or no, a number or a text.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// Yes or no.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A text.
    Text(Box<str>),
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(yes) => out.serialize_bool(*yes),
            Self::Number(number) => out.serialize_f64(*number),
            Self::Text(text) => out.serialize_str(text),
        }
    }
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// A text in lower case, for names whose case means nothing (cities, device types, keywords).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Folded(Box<str>);

impl Folded {
    /// `text` without surrounding spaces, in lower case.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        Self(if text.is_ascii() { text.to_ascii_lowercase() } else { text.to_lowercase() }.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn view(&self) -> View<'_> {
        View::Text(&self.0)
    }
}

/// A text that names an instant: an RFC 3339 instant or a date (its midnight in UTC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// As it was written.
    pub text: Box<str>,
    /// The instant named.
    pub at: Millis,
    /// The day named, as written, in whatever offset it was written.
    pub day: Date,
}

impl Moment {
    /// The moment that `text` names, if it names one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let dashed = matches!(text.as_bytes(), [y, _, _, _, b'-', _, _, b'-', ..] if y.is_ascii_digit());
        let day: Date = text.get(..10).filter(|_| dashed && text.len() <= 35)?.parse().ok()?;
        let at = match &text[10..] {
            "" => TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()?,
            time if time.starts_with(['T', 't']) && !time.contains('[') => text.parse::<Timestamp>().ok()?,
            _ => return None,
        };
        Some(Self { text: text.into(), at: Millis(at.as_millisecond()), day })
    }

    /// Whether a yearly return of this day lies at most `span` ahead of `now`, or is today: true
    /// from `span` before the first instant of the day in `zone` until its end. 29 February
    /// returns on the 28th in common years; the first return is the day itself.
    #[must_use]
    pub fn anniversary(&self, span: Span, now: Millis, zone: &TimeZone) -> Verdict {
        const YEAR_AND_MORE: i64 = 367 * 86_400_000;
        /// The longest row of touching stretches that a leap day ends.
        const YEARS: i16 = 10;
        let begin = |day: Date| -> Option<Millis> {
            Some(Millis(day.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond()))
        };
        let stretch = |year: i16| -> Option<(Millis, Millis)> {
            let day = Date::new(year, self.day.month(), self.day.day()).or_else(|_| Date::new(year, 2, 28)).ok()?;
            Some((begin(day)?.plus(-span.millis()), begin(day.tomorrow().ok()?)?))
        };
        let Ok(this_year) = Timestamp::from_millisecond(now.0).map(|at| at.to_zoned(zone.clone()).year()) else {
            return Verdict::NEVER;
        };
        if span.millis() >= YEAR_AND_MORE {
            return stretch(self.day.year()).map_or(Verdict::NEVER, |(from, _)| Verdict::from(from, now));
        }
        let first = self.day.year().max(this_year - 1);
        let Some((mut from, mut to)) = stretch(first) else { return Verdict::NEVER };
        let mut ended = None;
        for (next_from, next_to) in (first + 1..first + YEARS).map_while(stretch) {
            if next_from <= to {
                to = next_to;
            } else if now < to {
                break;
            } else {
                ended = Some(to);
                (from, to) = (next_from, next_to);
            }
        }
        let verdict = Verdict::within(from, to, now);
        verdict.starting(verdict.since().or(ended))
    }
}

/// The zone of an IANA name, from the data built into the program.
#[must_use]
pub fn zone(name: &str) -> Option<TimeZone> {
    static BUNDLED: std::sync::LazyLock<TimeZoneDatabase> = std::sync::LazyLock::new(TimeZoneDatabase::bundled);
    BUNDLED.get(name).ok()
}

/// A value as a condition sees it.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'a> {
    /// Yes or no.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A text.
    Text(&'a str),
    /// Several texts.
    Set(&'a [Box<str>]),
    /// Several folded texts.
    Words(&'a [Folded]),
    /// A text that names an instant.
    Moment(&'a Moment),
    /// A point.
    Place(Position),
    /// A language tag: it and every tag it narrows (`de-CH`, `de`).
    Tag(&'a str),
    /// A host: it and every domain above it that has a dot (`news.example.org`, `example.org`).
    Host(&'a str),
}

impl View<'_> {
    /// Whether any of the texts that this value is satisfies `test`; `None` when it is no text.
    pub(super) fn any_text(self, mut test: impl FnMut(&str) -> bool) -> Option<bool> {
        Some(match self {
            Self::Text(text) => test(text),
            Self::Moment(moment) => test(&moment.text),
            Self::Set(texts) => texts.iter().any(|text| test(text)),
            Self::Words(words) => words.iter().any(|word| test(word.as_str())),
            Self::Tag(tag) => test(tag) || tag.rmatch_indices('-').any(|(at, _)| test(&tag[..at])),
            Self::Host(host) => {
                test(host)
                    || host.match_indices('.').any(|(at, _)| host[at + 1..].contains('.') && test(&host[at + 1..]))
            }
            Self::Bool(_) | Self::Number(_) | Self::Place(_) => return None,
        })
    }
}

impl std::fmt::Display for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) | Self::Tag(text) | Self::Host(text) => write!(f, "{text:?}"),
            Self::Moment(moment) => f.write_str(&moment.text),
            Self::Set(texts) => write!(f, "{texts:?}"),
            Self::Words(words) => f.debug_list().entries(words.iter().map(Folded::as_str)).finish(),
            Self::Place(at) => write!(f, "({}, {})", at.lat, at.lon),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Millis {
        text.parse().expect("an instant")
    }

    #[test]
    fn texts_that_name_instants_are_recognised() {
        assert_eq!(Moment::parse("2001-05-17").expect("a date").at, at("2001-05-17T00:00:00Z"));
        let offset = Moment::parse("2026-11-22T23:30:00-05:00").expect("an instant");
        assert_eq!((offset.at, offset.day.day()), (at("2026-11-23T04:30:00Z"), 22));
        for plain in ["", "2001-05", "2001-13-17", "2001-05-17 x", "20010517", "é001-05-17", "2001-05-17T10:00:00"] {
            assert_eq!(Moment::parse(plain), None, "{plain}");
        }
    }

    #[test]
    fn distances_agree_with_known_ones() {
        let london = Position::new(51.5074, -0.1278).expect("a point");
        let paris = Position::new(48.8566, 2.3522).expect("a point");
        assert!((london.km_to(paris) - 343.6).abs() < 0.5);
        assert_eq!(Position::new(90.1, 0.0), None);
        assert_eq!(Position::new(f64::NAN, 0.0), None);
    }

    #[test]
    fn a_birthday_counts_from_days_before_until_its_local_end() {
        let birthday = Moment::parse("2001-05-17").expect("a date");
        let week: Span = "P7D".parse().expect("a span");
        let london = zone("Europe/London").expect("a zone");
        // British summer time: the day runs from 23:00 to 23:00 UTC.
        let (from, to) = (at("2026-05-09T23:00:00Z"), at("2026-05-17T23:00:00Z"));
        let verdict = |now| birthday.anniversary(week, now, &london);
        assert!(!verdict(from.plus(-1)).holds());
        assert_eq!(verdict(from.plus(-1)).valid_until(), Some(from));
        assert_eq!(verdict(from), Verdict::new(true, Some(from), Some(to)));
        assert!(verdict(to.plus(-1)).holds());
        let after = verdict(to);
        assert_eq!(
            (after.holds(), after.since(), after.valid_until()),
            (false, Some(to), Some(at("2027-05-09T23:00:00Z")))
        );
    }

    #[test]
    fn a_leap_day_returns_every_year_and_not_before_it_was() {
        let leap = Moment::parse("2024-02-29").expect("a date");
        let today = Span::from_millis(0);
        let verdict = |now: &str| leap.anniversary(today, at(now), &TimeZone::UTC);
        assert!(verdict("2026-02-28T12:00:00Z").holds());
        assert!(!verdict("2028-02-28T12:00:00Z").holds());
        assert!(verdict("2028-02-29T12:00:00Z").holds());
        assert!(!verdict("2023-02-28T12:00:00Z").holds());
        assert_eq!(verdict("2020-01-01T00:00:00Z").valid_until(), Some(at("2024-02-29T00:00:00Z")));
    }

    #[test]
    fn a_span_of_a_year_never_ends() {
        let day = Moment::parse("2001-05-17").expect("a date");
        let verdict = day.anniversary("P400D".parse().expect("a span"), at("2026-11-22T00:00:00Z"), &TimeZone::UTC);
        assert_eq!((verdict.holds(), verdict.valid_until()), (true, None));
        let nearly = day.anniversary("P364D".parse().expect("a span"), at("2026-11-22T00:00:00Z"), &TimeZone::UTC);
        // 366 days lie between the days of 2027 and 2028, so a gap of one day opens then.
        assert_eq!((nearly.holds(), nearly.valid_until()), (true, Some(at("2027-05-18T00:00:00Z"))));
    }

    #[test]
    fn tags_and_hosts_are_all_that_they_narrow() {
        let all = |view: View<'_>| {
            let mut seen = Vec::new();
            view.any_text(|text| {
                seen.push(text.to_owned());
                false
            });
            seen
        };
        assert_eq!(all(View::Tag("zh-hant-TW")), ["zh-hant-TW", "zh-hant", "zh"]);
        assert_eq!(all(View::Host("a.news.example.org")), ["a.news.example.org", "news.example.org", "example.org"]);
        assert_eq!(all(View::Host("localhost")), ["localhost"]);
        assert_eq!(View::Number(1.0).any_text(|_| true), None);
    }
}
