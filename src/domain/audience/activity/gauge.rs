//! Conditions on how much a person did of something, and when.

use std::ops::{Bound, RangeInclusive};

use super::{
    ActivityView, StreamId,
    amount::{Bounds, Distinct, Seen, Total, answer},
    packed::TrackView,
    window::{Page, Reach},
};
use crate::domain::{
    audience::{
        node::{Age, Calendar, EventCondition, Measure, Window},
        verdict::Verdict,
    },
    ids::NameHash,
    values::Millis,
};

/// A compiled [`EventCondition`].
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    stream: StreamId,
    key: Option<NameHash>,
    asks: Asks,
    /// As it was written; apart, since only words need it.
    pub(crate) condition: Box<EventCondition>,
}

/// What is asked of the events.
#[derive(Clone, Debug)]
enum Asks {
    /// How much there was in a window.
    Total(Bounds, When),
    /// How many different values there were in a window.
    Distinct(RangeInclusive<i64>, When),
    /// How long ago the newest or the oldest was.
    Seen { age: Age, first: bool },
}

/// Which events are asked about.
#[derive(Clone, Copy, Debug)]
enum When {
    Reach(Reach),
    Calendar(Calendar),
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Measured {
    /// So many.
    Count(i64),
    /// So much.
    Amount(f64),
    /// Then.
    At(Option<Millis>),
    /// There was nothing to take the mean of.
    Nothing,
}

pub(super) const MILLION: f64 = 1e6;

impl Gauge {
    pub(crate) fn new(condition: &EventCondition) -> Self {
        let micros = |bound: Bound<f64>| bound.map(|bound| (bound * MILLION).round() as i64);
        let asks = match &condition.measure {
            Measure::Count(range, window) => Asks::Total(
                Bounds::Count(whole(range.0.map(|n| n as i64), range.1.map(|n| n as i64))),
                When::of(*window),
            ),
            Measure::Sum(_, range, window) => {
                Asks::Total(Bounds::Sum(whole(micros(range.0), micros(range.1))), When::of(*window))
            }
            Measure::Avg(_, range, window) => {
                Asks::Total(Bounds::Avg(micros(range.0), micros(range.1)), When::of(*window))
            }
            Measure::Distinct(_, range, window) => {
                Asks::Distinct(whole(range.0.map(|n| n as i64), range.1.map(|n| n as i64)), When::of(*window))
            }
            Measure::LastSeen(age) => Asks::Seen { age: *age, first: false },
            Measure::FirstSeen(age) => Asks::Seen { age: *age, first: true },
        };
        // Of values that are told apart, a key is part of the filter.
        let key = condition.key.as_ref().filter(|_| !matches!(asks, Asks::Distinct(..)));
        let key = key.map(|(_, text)| NameHash::of(text));
        Self { stream: condition.stream().id(), key, asks, condition: Box::new(condition.clone()) }
    }

    /// Rough cost in nanoseconds, with a surcharge for answers that time moves.
    pub(crate) fn cost(&self) -> u32 {
        match &self.asks {
            Asks::Total(Bounds::Count(_), When::Reach(Reach::Fixed { .. })) => 30,
            Asks::Seen { .. } => 80,
            Asks::Total(Bounds::Count(_), When::Reach(_)) => 85,
            Asks::Total(_, When::Reach(_)) => 120,
            Asks::Total(_, When::Calendar(_)) => 150,
            Asks::Distinct(..) => 200,
        }
    }

    /// The calendar whose page it needs.
    pub(crate) fn calendar(&self) -> Option<Calendar> {
        match self.asks {
            Asks::Total(_, When::Calendar(calendar)) | Asks::Distinct(_, When::Calendar(calendar)) => Some(calendar),
            _ => None,
        }
    }

    /// The answer at `now`, exact at both ends when `thorough`. `page` is that of
    /// [`Gauge::calendar`].
    pub(crate) fn verdict(
        &self,
        activity: ActivityView<'_>,
        now: Millis,
        page: Option<Page>,
        thorough: bool,
    ) -> Verdict {
        let verdict = match &self.asks {
            Asks::Total(bounds, when) => {
                answer(&Total { bounds, reach: when.reach(page), track: self.track(activity) }, now.0, thorough)
            }
            Asks::Distinct(wanted, when) => {
                let stream = activity.stream(self.stream);
                answer(&Distinct { wanted, reach: when.reach(page), stream }, now.0, thorough)
            }
            Asks::Seen { age, first } => {
                answer(&Seen { age: *age, first: *first, track: self.track(activity) }, now.0, thorough)
            }
        };
        page.map_or(verdict, |page| page.clip(verdict))
    }

    /// What the answer at `now` rests on.
    pub(crate) fn measured(&self, activity: ActivityView<'_>, now: Millis, page: Option<Page>) -> Measured {
        match &self.asks {
            Asks::Total(bounds, when) => {
                let (count, sum) = Total { bounds, reach: when.reach(page), track: self.track(activity) }.total(now.0);
                match bounds {
                    Bounds::Count(_) => Measured::Count(count),
                    Bounds::Sum(_) => Measured::Amount(sum as f64 / MILLION),
                    Bounds::Avg(..) if count == 0 => Measured::Nothing,
                    Bounds::Avg(..) => Measured::Amount(sum as f64 / count as f64 / MILLION),
                }
            }
            Asks::Distinct(wanted, when) => {
                let stream = activity.stream(self.stream);
                Measured::Count(Distinct { wanted, reach: when.reach(page), stream }.count(now.0))
            }
            Asks::Seen { age, first } => {
                let seen = Seen { age: *age, first: *first, track: self.track(activity) }.seen(now.0);
                Measured::At(seen.map(Millis))
            }
        }
    }

    #[inline]
    fn track<'a>(&self, activity: ActivityView<'a>) -> Option<TrackView<'a>> {
        let stream = activity.stream(self.stream)?;
        match self.key {
            None => Some(stream.whole()),
            Some(key) => stream.of_key(key),
        }
    }
}

impl When {
    fn of(window: Window) -> Self {
        match window {
            Window::Last(span) => Self::Reach(Reach::Sliding { from: span.millis(), to: 0 }),
            Window::Ago { from, to } => Self::Reach(Reach::Sliding { from: from.millis(), to: to.millis() }),
            Window::Since { since, until } => {
                Self::Reach(Reach::Fixed { from: since.0, to: until.unwrap_or(Millis::NEVER).0 })
            }
            Window::Ever => Self::Reach(Reach::Fixed { from: i64::MIN, to: i64::MAX }),
            Window::Calendar(calendar) => Self::Calendar(calendar),
        }
    }

    #[inline]
    fn reach(self, page: Option<Page>) -> Reach {
        match (self, page) {
            (Self::Reach(reach), _) => reach,
            (Self::Calendar(_), Some(page)) => page.reach,
            // Beyond the years that a calendar tells nothing counts.
            (Self::Calendar(_), None) => Reach::Fixed { from: i64::MAX, to: i64::MAX },
        }
    }
}

/// The whole numbers within the bounds.
fn whole(least: Bound<i64>, most: Bound<i64>) -> RangeInclusive<i64> {
    let least = match least {
        Bound::Included(least) => least,
        Bound::Excluded(least) => least.saturating_add(1),
        Bound::Unbounded => i64::MIN,
    };
    let most = match most {
        Bound::Included(most) => most,
        Bound::Excluded(most) => most.saturating_sub(1),
        Bound::Unbounded => i64::MAX,
    };
    least..=most
}
