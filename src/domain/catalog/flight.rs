//! When something serves: first and last instant, and hours of the week in a time zone.

use std::ops::Range;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::domain::{
    catalog::document::{Day, DaypartDoc, FlightDoc},
    values::Millis,
    violation::{Violation, Violations},
};

/// When a campaign serves, ready to be asked.
#[derive(Clone, Debug)]
pub struct Flight {
    start: Option<Millis>,
    end: Option<Millis>,
    zone: TimeZone,
    dayparts: Vec<Daypart>,
}

/// Why a flight does not serve at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounded {
    /// It begins later.
    NotStarted {
        /// When.
        start: Millis,
    },
    /// It is over.
    Ended {
        /// Since when.
        end: Millis,
    },
    /// It runs, but not at this hour.
    OutsideDayparts,
}

/// A day in a flight's time zone, and how much of its serving hours is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Today {
    /// Days since 1970-01-01.
    pub number: i32,
    /// When it is that day, in ms since 1970-01-01T00:00Z.
    pub hours: Range<i64>,
    /// Serving ms that are gone, and that there are.
    gone: i64,
    whole: i64,
}

impl Today {
    /// What of an amount for the day is due by now, spread evenly over the serving hours.
    #[must_use]
    pub fn share_of(&self, amount: i64) -> i64 {
        // a part of the amount is no more than it
        (i128::from(amount) * i128::from(self.gone) / i128::from(self.whole.max(1))) as i64
    }
}

/// Minutes of some days; `to` may lie past midnight, in the following day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Daypart {
    /// Bit 0 is Monday.
    days: u8,
    from: u16,
    to: u16,
}

const DAY: u16 = 24 * 60;

impl Default for Flight {
    fn default() -> Self {
        Self { start: None, end: None, zone: TimeZone::UTC, dayparts: Vec::new() }
    }
}

impl Flight {
    /// Reads a flight.
    ///
    /// # Errors
    /// An end not after the start, an unknown time zone, or an hour that is none.
    pub fn parse(doc: &FlightDoc) -> Result<Self, Vec<Violation>> {
        let mut faults = Violations::new();
        if let (Some(start), Some(end)) = (doc.start, doc.end)
            && end <= start
        {
            faults.push("/end", "empty_flight", "must be later than start");
        }
        let zone = match &doc.time_zone {
            None => Some(TimeZone::UTC),
            Some(name) => jiff::tz::TimeZoneDatabase::bundled().get(name).ok(),
        };
        if zone.is_none() {
            faults.push("/time_zone", "unknown_time_zone", "must be an IANA time zone such as America/New_York");
        }
        let dayparts = doc
            .dayparts
            .iter()
            .enumerate()
            .filter_map(|(at, part)| faults.keep(&format!("/dayparts/{at}"), Daypart::parse(part)));
        let dayparts = dayparts.collect();
        faults.into_result()?;
        Ok(Self { start: doc.start, end: doc.end, zone: zone.unwrap_or(TimeZone::UTC), dayparts })
    }

    /// Whether it serves at `now`, and if not, why.
    #[must_use]
    pub fn grounded(&self, now: Millis) -> Option<Grounded> {
        match (self.start, self.end) {
            (Some(start), _) if now < start => return Some(Grounded::NotStarted { start }),
            (_, Some(end)) if now >= end => return Some(Grounded::Ended { end }),
            _ => {}
        }
        (!self.dayparts.is_empty() && !self.in_dayparts(now)).then_some(Grounded::OutsideDayparts)
    }

    /// The day that it is at `now` in its time zone.
    #[must_use]
    pub fn day(&self, now: Millis) -> Today {
        let instant = Timestamp::from_millisecond(now.0).unwrap_or(Timestamp::UNIX_EPOCH);
        let date = self.zone.to_datetime(instant).date();
        let midnight = |date: Date| date.to_zoned(self.zone.clone()).map(|at| at.timestamp().as_millisecond());
        let start = midnight(date).unwrap_or(now.0);
        let end = date.tomorrow().and_then(midnight).unwrap_or(start + 86_400_000);
        let edges = self.changes(Millis(start), Millis(end));
        let edges: Vec<i64> = [start].into_iter().chain(edges.into_iter().map(|at| at.0)).chain([end]).collect();
        let (mut gone, mut whole) = (0, 0);
        for part in edges.windows(2).filter(|part| self.grounded(Millis(part[0])).is_none()) {
            whole += part[1] - part[0];
            gone += (now.0.min(part[1]) - part[0]).max(0);
        }
        let days = date.since(Date::constant(1970, 1, 1)).map_or(0, |span| span.get_days());
        Today { number: days, hours: start..end, gone, whole }
    }

    /// The first instant after the flight, if it ends.
    #[must_use]
    pub fn end(&self) -> Option<Millis> {
        self.end
    }

    /// Instants from `from` on and before `to` at which it may begin or stop to serve: its ends, the
    /// edges of its dayparts on every day, and changes of the clock.
    #[must_use]
    pub fn changes(&self, from: Millis, to: Millis) -> Vec<Millis> {
        let mut changes: Vec<Millis> = [self.start, self.end].into_iter().flatten().collect();
        if !self.dayparts.is_empty()
            && let (Ok(first), Ok(last)) = (Timestamp::from_millisecond(from.0), Timestamp::from_millisecond(to.0))
        {
            let clock = self.zone.following(first).take_while(|change| change.timestamp() < last);
            changes.extend(clock.map(|change| Millis(change.timestamp().as_millisecond())));
            let mut day = self.zone.to_datetime(first).date();
            let end = self.zone.to_datetime(last).date();
            while day <= end {
                let minutes = self.dayparts.iter().flat_map(|part| [part.from % DAY, part.to % DAY]);
                for minute in minutes {
                    let (hour, minute) = ((minute / 60) as i8, (minute % 60) as i8);
                    // an hour that a change of the clock repeats has each edge twice
                    let local = self.zone.to_ambiguous_timestamp(day.at(hour, minute, 0, 0));
                    let instants = [local.earlier(), local.later()].into_iter().flatten();
                    changes.extend(instants.map(|at| Millis(at.as_millisecond())));
                }
                let Ok(next) = day.tomorrow() else { break };
                day = next;
            }
        }
        changes.retain(|at| (from..to).contains(at));
        changes.sort_unstable();
        changes.dedup();
        changes
    }

    fn in_dayparts(&self, now: Millis) -> bool {
        let Ok(at) = Timestamp::from_millisecond(now.0) else { return false };
        let local = self.zone.to_datetime(at);
        let day = local.weekday().to_monday_zero_offset();
        let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        self.dayparts.iter().any(|part| part.covers(day.unsigned_abs(), minute))
    }
}

impl Daypart {
    fn parse(doc: &DaypartDoc) -> Result<Self, Vec<Violation>> {
        let mut faults = Violations::new();
        let mut minute = |pointer: &str, text: &str, last: u16| {
            let parsed = minute_of_day(text).filter(|&minute| minute <= last);
            if parsed.is_none() {
                faults.push(pointer, "invalid_time", "must be HH:MM");
            }
            parsed.unwrap_or_default()
        };
        let (from, to) = (minute("/from", &doc.from, DAY - 1), minute("/to", &doc.to, DAY));
        if faults.is_empty() && from == to {
            faults.push("/to", "empty_daypart", "must differ from from; a whole day is 00:00 to 24:00");
        }
        faults.into_result()?;
        let days = doc.days.iter().fold(0, |days, day| days | 1 << weekday(*day));
        let to = if to < from { to + DAY } else { to };
        Ok(Self { days: if days == 0 { 0x7f } else { days }, from, to })
    }

    /// Whether it covers a minute of a weekday (0 is Monday).
    fn covers(self, day: u8, minute: u16) -> bool {
        let on = |day: u8| self.days & (1 << day) != 0;
        let since_yesterday = minute + DAY;
        (on(day) && (self.from..self.to).contains(&minute))
            || (on((day + 6) % 7) && (self.from..self.to).contains(&since_yesterday))
    }
}

fn weekday(day: Day) -> u8 {
    match day {
        Day::Mon => 0,
        Day::Tue => 1,
        Day::Wed => 2,
        Day::Thu => 3,
        Day::Fri => 4,
        Day::Sat => 5,
        Day::Sun => 6,
    }
}

fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    let (hour, minute): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (two(hours) && two(minutes) && minute < 60 && hour <= 24).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flight(doc: serde_json::Value) -> Result<Flight, Vec<Violation>> {
        Flight::parse(&serde_json::from_value(doc).expect("a flight document"))
    }

    fn at(text: &str) -> Millis {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_flight_includes_its_start_and_excludes_its_end() {
        let flight = flight(json!({"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"})).expect("a flight");
        assert!(matches!(flight.grounded(at("2026-02-28T23:59:59.999Z")), Some(Grounded::NotStarted { .. })));
        assert_eq!(flight.grounded(at("2026-03-01T00:00:00Z")), None);
        assert_eq!(flight.grounded(at("2026-03-31T23:59:59.999Z")), None);
        assert!(matches!(flight.grounded(at("2026-04-01T00:00:00Z")), Some(Grounded::Ended { .. })));
    }

    #[test]
    fn hours_are_local_and_may_pass_midnight() {
        // 2026-03-02 is a Monday; New York is at UTC-5 until 8 March 2026, then at UTC-4.
        let flight = flight(json!({
            "time_zone": "America/New_York", "dayparts": [{"days": ["mon"], "from": "20:00", "to": "02:00"}]
        }))
        .expect("a flight");
        assert_eq!(flight.grounded(at("2026-03-03T00:59:00Z")), Some(Grounded::OutsideDayparts));
        assert_eq!(flight.grounded(at("2026-03-03T01:00:00Z")), None);
        assert_eq!(flight.grounded(at("2026-03-03T06:59:59Z")), None, "Tuesday 01:59 belongs to Monday's evening");
        assert_eq!(flight.grounded(at("2026-03-03T07:00:00Z")), Some(Grounded::OutsideDayparts));
        assert_eq!(flight.grounded(at("2026-03-10T00:00:00Z")), None, "20:00 in summer time");
    }

    #[test]
    fn a_day_is_that_of_its_zone_and_goes_by_in_serving_hours() {
        let plain = flight(json!({})).expect("a flight");
        let noon = plain.day(at("2026-03-01T12:00:00Z"));
        assert_eq!((noon.number, noon.share_of(1_000)), (20_513, 500));
        assert_eq!(noon.hours, at("2026-03-01T00:00:00Z").0..at("2026-03-02T00:00:00Z").0);
        // four hours in New York, on the day that has 23 of them
        let zoned = flight(json!({"time_zone": "America/New_York", "dayparts": [{"from": "20:00", "to": "24:00"}]}));
        let zoned = zoned.expect("a flight");
        let evening = zoned.day(at("2026-03-09T01:00:00Z"));
        assert_eq!((evening.number, evening.share_of(1_000)), (20_520, 250));
        assert_eq!(evening.hours.end - evening.hours.start, 23 * 3_600_000);
        assert_eq!(zoned.day(at("2026-03-08T23:59:00Z")).share_of(1_000), 0);
        // it ends at noon, so its last day is over by then; and a day without hours has nothing due
        let last = flight(json!({"end": "2026-03-01T12:00:00Z"})).expect("a flight");
        assert_eq!(last.day(at("2026-03-01T09:00:00Z")).share_of(1_000), 750);
        assert_eq!(last.day(at("2026-03-02T09:00:00Z")).share_of(1_000), 0);
    }

    #[test]
    fn every_fault_is_named() {
        let faults = flight(json!({
            "start": "2026-03-01T00:00:00Z", "end": "2026-03-01T00:00:00Z", "time_zone": "Mars/Olympus",
            "dayparts": [{"from": "8:00", "to": "25:00"}, {"from": "08:00", "to": "08:00"}]
        }))
        .expect_err("refused");
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/end", "/time_zone", "/dayparts/0/from", "/dayparts/0/to", "/dayparts/1/to"]);
    }
}
