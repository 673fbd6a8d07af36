//! The stretches of time in which events count.

use jiff::{
    Timestamp, ToSpan,
    civil::Date,
    tz::{AmbiguousOffset, TimeZone},
};

use super::fault::{Fault, planted};
use crate::domain::{
    audience::{node::Calendar, verdict::Verdict},
    values::Millis,
};

/// When an event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One of `e` from `e + to` until just before `e + from`.
    Sliding {
        /// The longer ago.
        from: i64,
        /// The less long ago.
        to: i64,
    },
    /// One within `[from, to)`, from when it happened on.
    Fixed {
        /// Included.
        from: i64,
        /// Excluded.
        to: i64,
    },
}

impl Reach {
    /// From when on, and until when, an event of `at` counts.
    #[inline]
    pub(crate) fn stretch(self, at: i64) -> (i64, i64) {
        match self {
            Self::Sliding { from, to } => (at + to, at + from + i64::from(planted(Fault::WindowEdge))),
            Self::Fixed { from, to } if from <= at && at < to => (at, i64::MAX),
            Self::Fixed { .. } => (i64::MAX, i64::MAX),
        }
    }

    /// Whether an event of `at` counts at `now`.
    #[inline]
    pub(crate) fn covers(self, at: i64, now: i64) -> bool {
        let (from, to) = self.stretch(at);
        from <= now && now < to
    }
}

/// The stretch that a calendar window is at some instant, and how long it stays that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// When events count.
    pub(crate) reach: Reach,
    since: i64,
    until: i64,
}

impl Page {
    /// The page of `calendar` that is open at `now` in `zone`; `None` beyond the years that a
    /// calendar tells.
    pub(crate) fn at(now: Millis, calendar: Calendar, zone: &TimeZone) -> Option<Self> {
        let today = zone.to_datetime(Timestamp::from_millisecond(now.0).ok()?).date();
        let begin = |day: Date| begin(day, zone);
        let days = |day: Date, ahead: i64| day.checked_add(ahead.days()).ok();
        let month = today.first_of_month();
        let monday = days(today, -i64::from(today.weekday().to_monday_zero_offset()))?;
        let (open, close) = match calendar {
            Calendar::Today | Calendar::Yesterday | Calendar::Days(_) => (today, days(today, 1)?),
            Calendar::ThisWeek | Calendar::LastWeek => (monday, days(monday, 7)?),
            Calendar::ThisMonth | Calendar::LastMonth => (month, month.checked_add(1.month()).ok()?),
        };
        let (from, to) = match calendar {
            Calendar::Today | Calendar::ThisWeek | Calendar::ThisMonth => (open, close),
            Calendar::Yesterday => (days(today, -1)?, open),
            Calendar::LastWeek => (days(monday, -7)?, open),
            Calendar::LastMonth => (month.checked_sub(1.month()).ok()?, open),
            Calendar::Days(count) => (days(today, 1 - i64::from(count))?, close),
        };
        let (since, until) = (begin(open)?, begin(close)?);
        if planted(Fault::DstDay) {
            // What is wrong twice a year: days of 24 hours each.
            let day = 86_400_000;
            let reach = Reach::Fixed { from: since + day * i64::from((from - open).get_days()), to: until };
            return Some(Self { reach, since, until });
        }
        Some(Self { reach: Reach::Fixed { from: begin(from)?, to: begin(to)? }, since, until })
    }

    /// What was found for this page, no longer than the page is open.
    pub(crate) fn clip(self, verdict: Verdict) -> Verdict {
        let until = verdict.valid_until().map_or(self.until, |until| until.0.min(self.until));
        verdict.not_before(Millis(self.since)).until(Some(Millis(until)))
    }
}

/// The first instant of `day` in `zone`.
fn begin(day: Date, zone: &TimeZone) -> Option<i64> {
    let midnight = zone.to_ambiguous_timestamp(day.at(0, 0, 0, 0));
    let skipped = matches!(midnight.offset(), AmbiguousOffset::Gap { .. });
    let at = midnight.compatible().ok()?;
    if skipped {
        // Midnight does not exist: the day begins where the clock was put forward.
        let change = zone.preceding(at.checked_add(1.nanosecond()).ok()?).next();
        return change.map(|change| change.timestamp().as_millisecond());
    }
    Some(at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audience::value::zone;

    fn at(text: &str) -> i64 {
        text.parse::<Millis>().expect("an instant").0
    }

    #[track_caller]
    fn page(calendar: Calendar, name: &str, now: &str, window: [&str; 2], open: [&str; 2]) {
        let page = Page::at(Millis(at(now)), calendar, &zone(name).expect("a zone")).expect("a page");
        assert_eq!(page.reach, Reach::Fixed { from: at(window[0]), to: at(window[1]) }, "{calendar:?} at {now}");
        assert_eq!((page.since, page.until), (at(open[0]), at(open[1])), "{calendar:?} at {now}");
    }

    #[test]
    fn days_weeks_and_months_are_those_of_the_zone() {
        // British summer time ended on Sunday, 25 October 2026: that day had 25 hours.
        let (sunday, monday) = ("2026-10-24T23:00:00Z", "2026-10-26T00:00:00Z");
        page(Calendar::Today, "Europe/London", "2026-10-25T12:00:00Z", [sunday, monday], [sunday, monday]);
        let tuesday = "2026-10-27T00:00:00Z";
        page(Calendar::Yesterday, "Europe/London", "2026-10-26T00:00:00Z", [sunday, monday], [monday, tuesday]);
        page(Calendar::Days(2), "Europe/London", "2026-10-26T00:00:00Z", [sunday, tuesday], [monday, tuesday]);
        let (week, next) = ("2026-10-18T23:00:00Z", "2026-11-02T00:00:00Z");
        page(Calendar::ThisWeek, "Europe/London", "2026-10-25T23:59:59.999Z", [week, monday], [week, monday]);
        page(Calendar::LastWeek, "Europe/London", monday, [week, monday], [monday, next]);
        let (september, october, november) = ("2026-08-31T23:00:00Z", "2026-09-30T23:00:00Z", "2026-11-01T00:00:00Z");
        page(Calendar::ThisMonth, "Europe/London", sunday, [october, november], [october, november]);
        page(Calendar::LastMonth, "Europe/London", sunday, [september, october], [october, november]);
    }

    #[test]
    fn a_day_begins_with_its_first_instant_that_exists() {
        let begins = |day: &str, name: &str| begin(day.parse().expect("a day"), &zone(name).expect("a zone"));
        // São Paulo put its clocks forward at midnight, Toronto once at half past eleven.
        assert_eq!(begins("2015-10-18", "America/Sao_Paulo"), Some(at("2015-10-18T03:00:00Z")));
        assert_eq!(begins("1919-03-31", "America/Toronto"), Some(at("1919-03-31T04:30:00Z")));
        // Havana put them back at one o'clock: of two midnights the first counts.
        assert_eq!(begins("2026-11-01", "America/Havana"), Some(at("2026-11-01T04:00:00Z")));
    }
}
