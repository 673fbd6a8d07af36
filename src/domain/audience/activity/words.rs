//! Conditions on events, and what was found, in people's words.

use std::{fmt, ops::Bound};

use super::{Chain, Gauge, gauge::Measured};
use crate::domain::{
    audience::node::{Age, Calendar, Measure, Range, Where, Window},
    ids::EventName,
    values::{Millis, Span},
};

/// A length of time: "30 days", "1 hour 30 minutes".
pub(crate) struct Length(pub(crate) Span);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut rest, mut said) = (self.0.millis(), false);
        for (unit, ms) in [("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000)] {
            let count = rest / ms;
            rest %= ms;
            if count > 0 || (unit == "second" && !said) {
                write!(f, "{}{count} {unit}{}", if said { " " } else { "" }, if count == 1 { "" } else { "s" })?;
                said = true;
            }
        }
        Ok(())
    }
}

/// An event with its filter.
struct Named<'a>(&'a EventName, &'a [Where]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        for (at, Where { property, tests }) in self.1.iter().enumerate() {
            let tests: Vec<_> = tests.iter().map(ToString::to_string).collect();
            write!(f, " {} {property} {}", if at == 0 { "with" } else { "and" }, tests.join(" and "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last(span) => write!(f, "in {}", Length(*span)),
            Self::Ago { from, to } => write!(f, "from {} to {} ago", Length(*from), Length(*to)),
            Self::Since { since, until: None } => write!(f, "since {since}"),
            Self::Since { since, until: Some(until) } => write!(f, "from {since} to {until}"),
            Self::Calendar(Calendar::Days(count)) => write!(f, "in {count} calendar days"),
            Self::Calendar(calendar) => f.write_str(match calendar {
                Calendar::Today => "today",
                Calendar::Yesterday => "yesterday",
                Calendar::ThisWeek => "this week",
                Calendar::LastWeek => "last week",
                Calendar::ThisMonth => "this month",
                Calendar::LastMonth | Calendar::Days(_) => "last month",
            }),
            Self::Ever => f.write_str("ever"),
        }
    }
}

/// The bounds of a range: "at least 3", "2 to 5".
struct Bounds<'a>(&'a Range);

impl fmt::Display for Bounds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            (Bound::Included(least), Bound::Included(most)) if least == most => return write!(f, "exactly {least}"),
            (Bound::Included(least), _) => write!(f, "at least {least}")?,
            (Bound::Excluded(least), _) => write!(f, "more than {least}")?,
            (Bound::Unbounded, Bound::Unbounded) => f.write_str("any number")?,
            (Bound::Unbounded, _) => {}
        }
        let and = if matches!(self.0.0, Bound::Unbounded) { "" } else { " and " };
        match self.0.1 {
            Bound::Included(most) => write!(f, "{and}at most {most}"),
            Bound::Excluded(most) => write!(f, "{and}less than {most}"),
            Bound::Unbounded => Ok(()),
        }
    }
}

/// "2 of 3" towards a least number that is not passed, else "4" with the bounds.
struct Progress<'a>(f64, &'a Range, String);

impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(found, range, what) = self;
        match range {
            (Bound::Included(least), most) if found < least || found == least && matches!(most, Bound::Unbounded) => {
                write!(f, "{found} of {least} {what}")
            }
            range => write!(f, "{found} {what}, wanted {}", Bounds(range)),
        }
    }
}

impl Gauge {
    /// The condition.
    pub(crate) fn words(&self) -> String {
        let what = self.what();
        match &self.condition.measure {
            Measure::Count(range, window) => format!("{} {what} {window}", Bounds(range)),
            Measure::Sum(of, range, window) => format!("{of} of {what} adds up to {} {window}", Bounds(range)),
            Measure::Avg(of, range, window) => format!("{of} of {what} is on average {} {window}", Bounds(range)),
            Measure::Distinct(of, range, window) => format!("{} different {of} of {what} {window}", Bounds(range)),
            Measure::LastSeen(age) => format!("last {what} {}", aged(age)),
            Measure::FirstSeen(age) => format!("first {what} {}", aged(age)),
        }
    }

    /// What was found at `now`, beside what is wanted.
    pub(crate) fn found(&self, measured: Measured, now: Millis) -> String {
        let what = self.what();
        match (&self.condition.measure, measured) {
            (Measure::Count(range, window), Measured::Count(count)) => {
                Progress(count as f64, range, format!("{what} {window}")).to_string()
            }
            (Measure::Distinct(of, range, window), Measured::Count(count)) => {
                Progress(count as f64, range, format!("different {of} of {what} {window}")).to_string()
            }
            (Measure::Sum(of, range, window), Measured::Amount(sum)) => {
                Progress(sum, range, format!("{of} of {what} {window}")).to_string()
            }
            (Measure::Avg(of, range, window), Measured::Amount(mean)) => {
                format!("{of} of {what} is {mean} on average {window}, wanted {}", Bounds(range))
            }
            (Measure::Avg(of, _, window), _) => format!("no {what} with a number as {of} {window}"),
            (_, Measured::At(Some(at))) => {
                let which = if matches!(self.condition.measure, Measure::FirstSeen(_)) { "first" } else { "last" };
                let ago = Span::from_millis(now.since(at) / 1_000 * 1_000);
                format!("{which} {what} {} ago, at {at}", Length(ago))
            }
            (_, _) => format!("no {what} is known"),
        }
    }

    fn what(&self) -> String {
        let named = Named(&self.condition.event, &self.condition.filter);
        match &self.condition.key {
            Some((property, key)) => format!("{named} of {property} {key:?}"),
            None => named.to_string(),
        }
    }
}

fn aged(age: &Age) -> String {
    match (age.older_than, age.within) {
        (Some(older), Some(within)) => format!("from {} to {} ago", Length(older), Length(within)),
        (Some(older), None) => format!("at least {} ago", Length(older)),
        (None, Some(within)) => format!("less than {} ago", Length(within)),
        (None, None) => "at any time".to_owned(),
    }
}

impl Chain {
    /// The condition.
    pub(crate) fn words(&self) -> String {
        let sequence = &self.sequence;
        let mut words = Named(&sequence.start.event, &sequence.start.filter).to_string();
        for next in &sequence.then {
            let named = Named(&next.step.event, &next.step.filter);
            let no = if next.happens { "" } else { "no " };
            words += &format!(", then {no}{named} within {}", Length(next.within));
        }
        if let Some(same) = &sequence.same {
            words += &format!(", of the same {same}");
        }
        format!("{words}, in {}", Length(sequence.lookback))
    }

    /// What was found, when the newest start that counts was `started` and the answer may change
    /// at `until`.
    pub(crate) fn found(&self, holds: bool, started: Option<Millis>, until: Option<Millis>) -> String {
        let (start, back) = (&self.sequence.start, Length(self.sequence.lookback));
        let named = Named(&start.event, &start.filter);
        match (started, until) {
            (None, _) => format!("no {named} in {back}"),
            (Some(at), _) if holds => format!("{named} at {at}, and then as asked"),
            (Some(at), Some(until)) => format!("{named} at {at}; the wait ends at {until}"),
            (Some(at), None) => format!("{named} at {at}, but then not as asked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_said_in_whole_units() {
        let said = |span: &str| Length(span.parse().expect("a span")).to_string();
        assert_eq!(said("P30D"), "30 days");
        assert_eq!(said("P1DT1H30M"), "1 day 1 hour 30 minutes");
        assert_eq!((said("PT1S"), said("PT0S")), ("1 second".to_owned(), "0 seconds".to_owned()));
    }
}
