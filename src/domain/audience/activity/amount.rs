//! How much of something there was, and how long ago: at once for deciding, to the millisecond
//! for telling.

use std::ops::{Bound, RangeInclusive};

use super::{
    exact::Timeline,
    packed::{Atom, StreamView, TrackView},
    stream::Stream,
    window::Reach,
};
use crate::domain::{
    audience::{node::Age, verdict::Verdict},
    values::{Millis, Span},
};

/// A [`Timeline`] that can also be answered quickly.
pub(super) trait Question: Timeline {
    /// When the newest event happened.
    fn newest(&self) -> Option<i64>;

    /// The answer at `now`, at or after the newest event; sound at both ends.
    fn quick(&self, now: i64) -> Verdict;
}

/// The answer at `now`, exact at both ends when `thorough`.
#[inline]
pub(super) fn answer(question: &impl Question, now: i64, thorough: bool) -> Verdict {
    // An event that lies ahead, by a clock that is, comes into force when its time comes.
    let ahead = question.newest().is_some_and(|newest| newest > now);
    if thorough || ahead { question.exact(now) } else { question.quick(now) }
}

/// What is added up, and what it must be; amounts are in millionths.
#[derive(Clone, Debug)]
pub(crate) enum Bounds {
    /// How many events.
    Count(RangeInclusive<i64>),
    /// The sum of their values.
    Sum(RangeInclusive<i64>),
    /// The mean of their values.
    Avg(Bound<i64>, Bound<i64>),
}

/// How many events there were, what their values add up to, or their mean.
pub(super) struct Total<'a> {
    pub(super) bounds: &'a Bounds,
    pub(super) reach: Reach,
    pub(super) track: Option<TrackView<'a>>,
}

impl Total<'_> {
    fn atoms(&self) -> impl Iterator<Item = Atom> {
        let fixed = matches!(self.reach, Reach::Fixed { .. });
        let older = self.track.filter(|_| fixed).and_then(TrackView::older);
        self.track.into_iter().flat_map(TrackView::atoms).chain(older)
    }

    /// How many events count at `at`, and what their values add up to.
    pub(super) fn total(&self, at: i64) -> (i64, i128) {
        let counting = self.atoms().filter(|atom| self.reach.covers(atom.at, at));
        counting.fold((0, 0), |(count, sum), atom| (count + i64::from(atom.count), sum + i128::from(atom.sum)))
    }

    fn meets(&self, count: i64, sum: i128) -> bool {
        match self.bounds {
            Bounds::Count(wanted) => wanted.contains(&count),
            // Beyond 64 bits, a sum is beyond whatever it is compared with.
            Bounds::Sum(wanted) => wanted.contains(&(sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64)),
            Bounds::Avg(least, most) => {
                // Multiplied out, so that nothing is rounded.
                let times = |bound: &i64| i128::from(*bound) * i128::from(count);
                let above = match least {
                    Bound::Included(least) => sum >= times(least),
                    Bound::Excluded(least) => sum > times(least),
                    Bound::Unbounded => true,
                };
                let below = match most {
                    Bound::Included(most) => sum <= times(most),
                    Bound::Excluded(most) => sum < times(most),
                    Bound::Unbounded => true,
                };
                count > 0 && above && below
            }
        }
    }

    /// Whether so many events, newest first, lie within the last stretch of time.
    fn at_least(&self, count: i64, now: i64) -> Verdict {
        let Some(track) = self.track.filter(|_| count > 0) else { return Verdict::constant(count <= 0) };
        let completing = if count <= track.times() as i64 {
            Some(track.time(count as usize - 1))
        } else {
            let mut seen = 0;
            track
                .atoms()
                .find(|atom| {
                    seen += i64::from(atom.count);
                    seen >= count
                })
                .map(|atom| atom.at)
        };
        self.standing(completing, track, now)
    }

    /// Whether the values, none of them negative, add up to so much within the last stretch of
    /// time; `None` when there are negative ones.
    fn adds_up(&self, wanted: i64, now: i64) -> Option<Verdict> {
        let (mut sum, mut completing, mut left) = (0, None, None);
        for atom in self.track.into_iter().flat_map(TrackView::atoms) {
            let (_, to) = self.reach.stretch(atom.at);
            if to <= now {
                left = Some(Millis(to));
                break;
            }
            if atom.sum < 0 {
                return None;
            }
            sum += i128::from(atom.sum);
            if completing.is_none() && sum >= i128::from(wanted) {
                completing = Some(atom.at);
            }
        }
        Some(match (self.track, completing) {
            _ if wanted <= 0 => Verdict::ALWAYS.starting(left),
            (Some(track), Some(at)) => self.standing(Some(at), track, now),
            _ => Verdict::NEVER.starting(left),
        })
    }

    /// The answer of a condition that the newest events down to one at `completing` meet.
    #[inline]
    fn standing(&self, completing: Option<i64>, track: TrackView<'_>, now: i64) -> Verdict {
        let Some(at) = completing else { return Verdict::NEVER };
        let (_, to) = self.reach.stretch(at);
        if now < to {
            // Since the newest event, events only left.
            Verdict::new(true, Some(Millis(track.time(0))), Some(Millis(to)))
        } else {
            Verdict::new(false, Some(Millis(to)), None)
        }
    }

    /// The answer until the next event comes or goes, whatever is asked.
    fn sweep(&self, now: i64) -> Verdict {
        let (mut count, mut sum, mut since, mut until) = (0, 0, None, i64::MAX);
        for atom in self.atoms() {
            let (from, to) = self.reach.stretch(atom.at);
            if now < from {
                until = until.min(from);
            } else if now < to {
                count += i64::from(atom.count);
                sum += i128::from(atom.sum);
                (since, until) = (since.max(Some(Millis(from))), until.min(to));
            } else {
                since = since.max(Some(Millis(to)));
                if matches!(self.reach, Reach::Sliding { .. }) {
                    // Older ones left even earlier.
                    break;
                }
            }
        }
        let valid_until = (until < i64::MAX).then_some(Millis(until));
        Verdict::new(self.meets(count, sum), since, valid_until)
    }
}

impl Timeline for Total<'_> {
    fn holds(&self, at: i64) -> bool {
        let (count, sum) = self.total(at);
        self.meets(count, sum)
    }

    fn edges(&self, edge: &mut dyn FnMut(i64)) {
        self.atoms().for_each(|atom| stretch_edges(self.reach, atom.at, edge));
    }
}

impl Question for Total<'_> {
    #[inline]
    fn newest(&self) -> Option<i64> {
        self.track.map(|track| track.time(0))
    }

    #[inline]
    fn quick(&self, now: i64) -> Verdict {
        let within = |wanted: &RangeInclusive<i64>, at_least: &dyn Fn(i64) -> Option<Verdict>| {
            let (least, most) = (*wanted.start(), *wanted.end());
            let enough = if least == i64::MIN { Verdict::ALWAYS } else { at_least(least)? };
            Some(if most == i64::MAX { enough } else { enough.and(!at_least(most + 1)?) })
        };
        let quick = match (self.bounds, self.reach) {
            (Bounds::Count(wanted), Reach::Sliding { to: 0, .. }) => {
                within(wanted, &|count| Some(self.at_least(count, now)))
            }
            (Bounds::Sum(wanted), Reach::Sliding { to: 0, .. }) => within(wanted, &|sum| self.adds_up(sum, now)),
            _ => None,
        };
        quick.unwrap_or_else(|| self.sweep(now))
    }
}

/// How many different values there were.
pub(super) struct Distinct<'a> {
    pub(super) wanted: &'a RangeInclusive<i64>,
    pub(super) reach: Reach,
    pub(super) stream: Option<StreamView<'a>>,
}

impl<'a> Distinct<'a> {
    fn tracks(&self) -> impl Iterator<Item = TrackView<'a>> + use<'a> {
        self.stream.into_iter().flat_map(StreamView::tracks).map(|(_, track)| track)
    }

    /// How many values count at `at`.
    pub(super) fn count(&self, at: i64) -> i64 {
        let counts = |track: &TrackView<'_>| track.atoms().any(|atom| self.reach.covers(atom.at, at));
        self.tracks().filter(counts).count() as i64
    }

    /// Whether so many values lie within the last stretch of time, given when each was last seen,
    /// newest first.
    fn at_least(&self, count: i64, seen: &[i64], now: i64) -> Verdict {
        let Ok(count) = usize::try_from(count.max(0)) else { return Verdict::NEVER };
        match count.checked_sub(1).map(|place| seen.get(place)) {
            None => Verdict::ALWAYS,
            Some(None) => Verdict::NEVER,
            Some(Some(&at)) => {
                let (_, to) = self.reach.stretch(at);
                let holds = now < to;
                let since = if holds { seen[0] } else { to };
                Verdict::new(holds, Some(Millis(since)), holds.then_some(Millis(to)))
            }
        }
    }
}

impl Timeline for Distinct<'_> {
    fn holds(&self, at: i64) -> bool {
        self.wanted.contains(&self.count(at))
    }

    fn edges(&self, edge: &mut dyn FnMut(i64)) {
        self.tracks().flat_map(TrackView::atoms).for_each(|atom| stretch_edges(self.reach, atom.at, edge));
    }
}

impl Question for Distinct<'_> {
    fn newest(&self) -> Option<i64> {
        self.tracks().map(|track| track.time(0)).max()
    }

    fn quick(&self, now: i64) -> Verdict {
        if !matches!(self.reach, Reach::Sliding { to: 0, .. }) {
            let holds = self.holds(now);
            let mut until = i64::MAX;
            self.edges(&mut |edge| until = if edge > now { until.min(edge) } else { until });
            let valid_until = (until < i64::MAX).then_some(Millis(until));
            return Verdict::new(holds, self.latest_edge(now), valid_until);
        }
        let (mut seen, mut count) = ([i64::MIN; Stream::KEYS], 0);
        for (place, track) in seen.iter_mut().zip(self.tracks()) {
            *place = track.time(0);
            count += 1;
        }
        let seen = &mut seen[..count];
        seen.sort_unstable_by(|a, b| b.cmp(a));
        let (least, most) = (*self.wanted.start(), *self.wanted.end());
        let enough = self.at_least(least, seen, now);
        if most == i64::MAX { enough } else { enough.and(!self.at_least(most + 1, seen, now)) }
    }
}

/// How long ago the newest or the oldest event was.
pub(super) struct Seen<'a> {
    pub(super) age: Age,
    pub(super) first: bool,
    pub(super) track: Option<TrackView<'a>>,
}

impl Seen<'_> {
    /// When the event in question happened, as of `at`.
    pub(super) fn seen(&self, at: i64) -> Option<i64> {
        let track = self.track?;
        if self.first {
            Some(track.first()).filter(|&first| first <= at)
        } else {
            track.atoms().map(|atom| atom.at).find(|&seen| seen <= at)
        }
    }

    fn stretch(&self, seen: i64) -> (Millis, Millis) {
        let from = seen.saturating_add(self.age.older_than.map_or(0, |span| span.millis()));
        let to = self.age.within.map_or(i64::MAX, |span| seen.saturating_add(span.millis()));
        (Millis(from), Millis(to))
    }
}

impl Timeline for Seen<'_> {
    fn holds(&self, at: i64) -> bool {
        self.seen(at).is_some_and(|seen| {
            let (from, to) = self.stretch(seen);
            from.0 <= at && at < to.0
        })
    }

    fn edges(&self, edge: &mut dyn FnMut(i64)) {
        let Some(track) = self.track else { return };
        let mut of = |at: i64| {
            let (from, to) = self.stretch(at);
            [at, from.0, to.0].into_iter().filter(|&at| at < i64::MAX).for_each(&mut *edge);
        };
        if self.first {
            of(track.first());
        } else {
            track.atoms().for_each(|atom| of(atom.at));
        }
    }
}

impl Question for Seen<'_> {
    #[inline]
    fn newest(&self) -> Option<i64> {
        self.track.map(|track| track.time(0))
    }

    #[inline]
    fn quick(&self, now: i64) -> Verdict {
        let Some(track) = self.track else { return Verdict::NEVER };
        let seen = if self.first { track.first() } else { track.time(0) };
        let (from, to) = self.stretch(seen);
        let verdict = match to {
            Millis::NEVER => Verdict::from(from, Millis(now)),
            to => Verdict::within(from, to, Millis(now)),
        };
        verdict.not_before(Millis(seen))
    }
}

fn stretch_edges(reach: Reach, at: i64, edge: &mut dyn FnMut(i64)) {
    let (from, to) = reach.stretch(at);
    [from, to].into_iter().filter(|&at| at < i64::MAX).for_each(edge);
}

/// How many events of `track` there were within the last stretch of time, and their sum.
pub(crate) fn total_within(track: TrackView<'_>, last: Span, now: i64) -> (i64, i128) {
    let reach = Reach::Sliding { from: last.millis(), to: 0 };
    Total { bounds: &Bounds::Count(0..=0), reach, track: Some(track) }.total(now)
}

/// How many keys of `stream` had events within the last stretch of time.
pub(crate) fn count_distinct(stream: StreamView<'_>, last: Span, now: i64) -> i64 {
    let reach = Reach::Sliding { from: last.millis(), to: 0 };
    Distinct { wanted: &(0..=0), reach, stream: Some(stream) }.count(now)
}
