//! What is known of a request: where, on what, in which language, about what and when.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::value::{Folded, Position, Scalar, View};
use crate::domain::values::{Country, Locale, Millis};

/// The circumstances of one request, for targeting rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    /// `geo.country`.
    pub country: Option<Country>,
    /// `geo.region`: the part after the country of ISO 3166-2, or the caller's own name.
    pub region: Option<Folded>,
    /// `geo.city`.
    pub city: Option<Folded>,
    /// `geo`.
    pub position: Option<Position>,
    /// `device.type`: `mobile`, `desktop`, `tablet`, `tv` or the caller's own name.
    pub device: Option<Folded>,
    /// `device.os`.
    pub os: Option<Folded>,
    /// `device.browser`.
    pub browser: Option<Folded>,
    /// `language`: a rule for `de` also holds for `de-CH`.
    pub language: Option<Locale>,
    /// `url.domain`: the host of the page; a rule for `example.org` also holds for
    /// `news.example.org`.
    pub domain: Option<Folded>,
    /// `keywords` of the placement and the page.
    pub keywords: Vec<Folded>,
    /// `data.*`: the caller's own values.
    pub data: BTreeMap<Box<str>, Scalar>,
    /// `hour`, `weekday` and `daypart`, where the person is.
    pub local: Option<LocalTime>,
}

/// The hour and the day of a place, and the stretch of time in which they stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalTime {
    /// 0 to 23.
    pub hour: u8,
    /// 0 for Monday to 6 for Sunday.
    pub weekday: u8,
    /// When the hour began.
    pub since: Millis,
    /// When the hour ends.
    pub until: Millis,
    /// Nobody knows where the person is: the time is UTC. Rules go by it, learning does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assumed: bool,
}

/// The days of the week as rules name them, Monday first.
pub const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The parts of a day as rules name them: six hours each, from midnight.
pub const DAYPARTS: [&str; 4] = ["night", "morning", "afternoon", "evening"];

impl LocalTime {
    /// The local time of `zone` at `now`; `None` outside the years -9999 to 9999.
    #[must_use]
    pub fn of(now: Millis, zone: &TimeZone) -> Option<Self> {
        const HOUR: i64 = 3_600_000;
        let at = Timestamp::from_millisecond(now.0).ok()?;
        let info = zone.to_offset_info(at);
        let offset = info.offset();
        let local = offset.to_datetime(at);
        let past = now.0.checked_add(i64::from(offset.seconds()) * 1_000)?.rem_euclid(HOUR);
        // A clock change within the hour ends it early or began it late.
        let change =
            |at: Option<jiff::tz::TimeZoneTransition<'_>>| at.map(|at| Millis(at.timestamp().as_millisecond()));
        let began = change(zone.preceding(at.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?).next());
        let ends = change(zone.following(at).next());
        let (since, until) = (now.plus(-past), now.plus(HOUR - past));
        Some(Self {
            hour: local.hour() as u8,
            weekday: local.weekday().to_monday_zero_offset() as u8,
            since: began.map_or(since, |began| since.max(began)),
            until: ends.map_or(until, |ends| until.min(ends)),
            assumed: false,
        })
    }

    /// The local time of a person in `zone`, or of UTC where nobody knows the zone.
    #[must_use]
    pub fn of_person(now: Millis, zone: Option<&TimeZone>) -> Option<Self> {
        let local = Self::of(now, zone.unwrap_or(&TimeZone::UTC))?;
        Some(Self { assumed: zone.is_none(), ..local })
    }

    fn weekday(self) -> &'static str {
        WEEKDAYS[usize::from(self.weekday) % WEEKDAYS.len()]
    }

    /// The part of the day, as rules name it.
    #[must_use]
    pub fn daypart(self) -> &'static str {
        DAYPARTS[usize::from(self.hour / 6) % DAYPARTS.len()]
    }
}

/// The host of a page's address, as far as it looks like one.
#[must_use]
pub fn host(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split(':').next()?;
    (!host.is_empty()).then_some(host)
}

/// A place in the context that a rule can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextPath {
    /// `geo.country`.
    Country,
    /// `geo.region`.
    Region,
    /// `geo.city`.
    City,
    /// `geo`.
    Geo,
    /// `device.type`.
    Device,
    /// `device.os`.
    Os,
    /// `device.browser`.
    Browser,
    /// `language`.
    Language,
    /// `url.domain`.
    Domain,
    /// `keywords`.
    Keywords,
    /// `daypart`.
    Daypart,
    /// `hour`.
    Hour,
    /// `weekday`.
    Weekday,
    /// `data.<name>`.
    Data(Box<str>),
}

impl ContextPath {
    /// The paths with a fixed name.
    pub const NAMED: [(&str, Self); 13] = [
        ("geo.country", Self::Country),
        ("geo.region", Self::Region),
        ("geo.city", Self::City),
        ("geo", Self::Geo),
        ("device.type", Self::Device),
        ("device.os", Self::Os),
        ("device.browser", Self::Browser),
        ("language", Self::Language),
        ("url.domain", Self::Domain),
        ("keywords", Self::Keywords),
        ("daypart", Self::Daypart),
        ("hour", Self::Hour),
        ("weekday", Self::Weekday),
    ];

    /// The path called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.strip_prefix("data.") {
            Some(own) => ((1..=64).contains(&own.len())).then(|| Self::Data(own.into())),
            None => Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, path)| path.clone()),
        }
    }

    /// Whether the value depends on the time of day.
    pub(super) fn moves(&self) -> bool {
        matches!(self, Self::Hour | Self::Weekday | Self::Daypart)
    }

    /// `text` as the values at this path are kept, or what it must be.
    pub(super) fn operand(&self, text: &str) -> Result<String, &'static str> {
        let folded = || Folded::new(text).as_str().to_owned();
        match self {
            Self::Country => text
                .parse::<Country>()
                .map(|c| c.to_string())
                .map_err(|_| "must be a country of two letters, such as DE"),
            Self::Language => {
                text.parse::<Locale>().map(|l| l.to_string()).map_err(|_| "must be a language tag, such as de or de-CH")
            }
            Self::Weekday if !WEEKDAYS.contains(&&*folded()) => Err("must be a day of the week: monday to sunday"),
            Self::Daypart if !DAYPARTS.contains(&&*folded()) => Err("must be night, morning, afternoon or evening"),
            Self::Data(_) => Ok(text.to_owned()),
            _ => Ok(folded()),
        }
    }
}

impl std::fmt::Display for ContextPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(own) => write!(f, "data.{own}"),
            named => f.write_str(Self::NAMED.iter().find(|(_, path)| path == named).map_or("", |(name, _)| name)),
        }
    }
}

impl Context {
    /// The local time of the person; none where nobody knows where that is.
    #[must_use]
    pub fn known_local(&self) -> Option<LocalTime> {
        self.local.filter(|local| !local.assumed)
    }

    /// The part of the day where the person is, if that is known.
    #[must_use]
    pub fn daypart(&self) -> Option<&'static str> {
        self.known_local().map(LocalTime::daypart)
    }

    pub(super) fn view(&self, path: &ContextPath) -> Option<View<'_>> {
        match path {
            ContextPath::Country => self.country.as_ref().map(|country| View::Text(country.as_str())),
            ContextPath::Region => self.region.as_ref().map(Folded::view),
            ContextPath::City => self.city.as_ref().map(Folded::view),
            ContextPath::Geo => self.position.map(View::Place),
            ContextPath::Device => self.device.as_ref().map(Folded::view),
            ContextPath::Os => self.os.as_ref().map(Folded::view),
            ContextPath::Browser => self.browser.as_ref().map(Folded::view),
            ContextPath::Language => self.language.as_ref().map(|tag| View::Tag(tag.as_str())),
            ContextPath::Domain => self.domain.as_ref().map(|host| View::Host(host.as_str())),
            ContextPath::Keywords => (!self.keywords.is_empty()).then_some(View::Words(&self.keywords)),
            ContextPath::Daypart => self.local.map(|local| View::Text(local.daypart())),
            ContextPath::Hour => self.local.map(|local| View::Number(f64::from(local.hour))),
            ContextPath::Weekday => self.local.map(|local| View::Text(local.weekday())),
            ContextPath::Data(own) => self.data.get(own).map(|scalar| match scalar {
                Scalar::Bool(yes) => View::Bool(*yes),
                Scalar::Number(number) => View::Number(*number),
                Scalar::Text(text) => View::Text(text),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audience::value::zone;

    #[test]
    fn an_hour_ends_with_the_clock_or_with_its_change() {
        let at = |text: &str| text.parse::<Millis>().expect("an instant");
        let local = |now, name| LocalTime::of(at(now), &zone(name).expect("a zone")).expect("a local time");
        // Kolkata is half an hour off.
        let kolkata = local("2026-11-22T18:29:59.999Z", "Asia/Kolkata");
        assert_eq!((kolkata.hour, kolkata.weekday(), kolkata.daypart()), (23, "sunday", "evening"));
        assert_eq!((kolkata.since, kolkata.until), (at("2026-11-22T17:30:00Z"), at("2026-11-22T18:30:00Z")));
        // Lord Howe goes back half an hour at 02:00 local time on 5 April 2026.
        let howe = local("2026-04-04T14:59:00Z", "Australia/Lord_Howe");
        assert_eq!((howe.hour, howe.until), (1, at("2026-04-04T15:00:00Z")));
        let again = local("2026-04-04T15:00:00Z", "Australia/Lord_Howe");
        assert_eq!((again.hour, again.since, again.until), (1, at("2026-04-04T15:00:00Z"), at("2026-04-04T15:30:00Z")));
    }

    #[test]
    fn paths_are_written_as_they_are_read() {
        for name in ContextPath::NAMED.map(|(name, _)| name).into_iter().chain(["data.weather"]) {
            assert_eq!(ContextPath::parse(name).expect(name).to_string(), name);
        }
        for bad in ["data.", "geo.planet", "", "device"] {
            assert_eq!(ContextPath::parse(bad), None, "{bad}");
        }
    }
}
