//! What a person did in order: a start, then steps that follow it in time or stay away.
//!
//! A start at `a` counts while `a > now - lookback`. Each step leads from a point, at first the
//! start, to another:
//!
//! * an event step to any such event at or after the point, at most `within` later;
//! * a step that must stay away to the end of its grace, `within` after the point, unless such an
//!   event comes at or after the point: by then, or at any time when `late_clears`.
//!
//! The condition holds once the last point has come. Anchored to `last`, only the newest point
//! that the leading event steps reach counts, so a newer start begins the wait anew; anchored to
//! `any`, each may. With `same`, events belong together by the value of a property, and one value
//! for which it all holds is enough.

use super::{
    ActivityView, StreamId,
    amount::Question,
    exact::Timeline,
    fault::{Fault, planted},
    packed::TrackView,
};
use crate::domain::{
    audience::{
        node::{Anchor, Sequence},
        verdict::Verdict,
    },
    values::Millis,
};

/// The most steps, the start included.
const STEPS: usize = 5;
/// The most events of a step that are looked at.
const EVENTS: usize = 16;

/// A compiled [`Sequence`].
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// As it was written.
    pub(crate) sequence: Sequence,
    /// Of the start and of each step.
    streams: Box<[StreamId]>,
}

/// An instant that a sequence has come to, and when it started.
#[derive(Clone, Copy, Default)]
struct Point {
    at: i64,
    start: i64,
}

/// Points, the newest first; as many as events are looked at.
#[derive(Clone, Copy, Default)]
struct Points {
    points: [Point; EVENTS],
    len: usize,
}

impl Points {
    fn push(&mut self, point: Point) {
        if let Some(place) = self.points.get_mut(self.len) {
            *place = point;
            self.len += 1;
        }
    }

    fn as_slice(&self) -> &[Point] {
        &self.points[..self.len]
    }
}

/// The tracks of the start and of each step, for one value of `same`.
type Tracks<'a> = [Option<TrackView<'a>>; STEPS];

/// A sequence and the events that it is about.
pub(super) struct Told<'a> {
    sequence: &'a Sequence,
    streams: &'a [StreamId],
    activity: ActivityView<'a>,
}

impl Chain {
    pub(crate) fn new(sequence: &Sequence) -> Self {
        let streams = sequence.streams().iter().map(|stream| stream.id()).collect();
        Self { sequence: sequence.clone(), streams }
    }

    /// Rough cost in nanoseconds, with a surcharge for answers that time moves.
    pub(crate) fn cost(&self) -> u32 {
        if self.sequence.same.is_some() { 400 } else { 150 }
    }

    pub(super) fn told<'a>(&'a self, activity: ActivityView<'a>) -> Told<'a> {
        Told { sequence: &self.sequence, streams: &self.streams, activity }
    }

    /// The answer at `now`, exact at both ends when `thorough`.
    pub(crate) fn verdict(&self, activity: ActivityView<'_>, now: Millis, thorough: bool) -> Verdict {
        super::amount::answer(&self.told(activity), now.0, thorough)
    }

    /// When the newest start that counts at `now` was.
    pub(crate) fn started(&self, activity: ActivityView<'_>, now: Millis) -> Option<Millis> {
        let told = self.told(activity);
        let mut newest = None;
        told.each(&mut |tracks| newest = newest.max(told.starts(&tracks, now.0).as_slice().first().map(|p| p.start)));
        newest.map(Millis)
    }
}

impl<'a> Told<'a> {
    /// Calls with the tracks of every value of `same`, or with the only ones.
    fn each(&self, call: &mut dyn FnMut(Tracks<'a>)) {
        let mut streams = [None; STEPS];
        for (place, &id) in streams.iter_mut().zip(self.streams) {
            *place = self.activity.stream(id);
        }
        let Some(start) = streams[0] else { return };
        if self.sequence.same.is_none() {
            return call(streams.map(|stream| stream.map(|stream| stream.whole())));
        }
        for (key, track) in start.tracks() {
            let mut tracks = streams.map(|stream| stream.and_then(|stream| stream.of_key(key)));
            tracks[0] = Some(track);
            call(tracks);
        }
    }

    fn starts(&self, tracks: &Tracks<'_>, now: i64) -> Points {
        let lookback = self.sequence.lookback.millis();
        let mut points = Points::default();
        for at in events(tracks[0]).skip_while(|&at| at > now).take_while(|&at| at > now - lookback) {
            points.push(Point { at, start: at });
        }
        points
    }

    /// The last points that can be reached by what happened up to `now`; some may lie ahead.
    fn ends(&self, tracks: &Tracks<'_>, now: i64) -> Points {
        let mut points = self.starts(tracks, now);
        let newest_only = self.sequence.anchor == Anchor::Last;
        let mut leading = true;
        for (step, track) in self.sequence.then.iter().zip(&tracks[1..]) {
            let within = step.within.millis();
            let happened = || events(*track).skip_while(|&at| at > now);
            let mut next = Points::default();
            if step.happens {
                for at in happened() {
                    // Of the points before it the newest has the newest start.
                    let from = points.as_slice().iter().find(|point| point.at <= at);
                    if let Some(from) = from.filter(|from| at - from.at <= within) {
                        next.push(Point { at, start: from.start });
                    }
                }
            } else {
                if newest_only && leading {
                    points.len = points.len.min(1);
                }
                leading = false;
                let late = self.sequence.late_clears;
                for point in points.as_slice() {
                    let clears = |at: i64| at >= point.at && (late || at <= point.at + within);
                    if !happened().any(clears) {
                        next.push(Point { at: point.at + within, start: point.start });
                    }
                }
            }
            points = next;
        }
        points
    }

    /// The answer for one value of `same`, without its beginning.
    fn one(&self, tracks: &Tracks<'_>, now: i64) -> Verdict {
        let lookback = self.sequence.lookback.millis();
        let mut verdict = Verdict::NEVER;
        for point in self.ends(tracks, now).as_slice() {
            let end = point.start + lookback;
            if point.at <= now {
                verdict = verdict.or(Verdict::new(true, None, Some(Millis(end))));
            } else if point.at < end && !planted(Fault::SequenceGrace) {
                verdict = verdict.or(Verdict::new(false, None, Some(Millis(point.at))));
            }
        }
        verdict
    }
}

impl Timeline for Told<'_> {
    fn holds(&self, at: i64) -> bool {
        let mut holds = false;
        self.each(&mut |tracks| holds = holds || self.ends(&tracks, at).as_slice().iter().any(|point| point.at <= at));
        holds
    }

    fn edges(&self, edge: &mut dyn FnMut(i64)) {
        let (then, lookback) = (&self.sequence.then, self.sequence.lookback.millis());
        self.each(&mut |tracks| {
            events(tracks[0]).for_each(|at| edge(at + lookback));
            for (step, track) in tracks.iter().enumerate() {
                for at in events(*track) {
                    edge(at);
                    // Each grace that begins with it, one after the other.
                    let graces = then.iter().skip(step).take_while(|next| !next.happens);
                    let mut end = at;
                    for grace in graces.filter(|_| !planted(Fault::SequenceGrace)) {
                        end += grace.within.millis();
                        edge(end);
                    }
                }
            }
        });
    }
}

impl Question for Told<'_> {
    fn newest(&self) -> Option<i64> {
        let mut newest = None;
        self.each(&mut |tracks| newest = tracks.iter().flatten().map(|track| track.time(0)).max().max(newest));
        newest
    }

    fn quick(&self, now: i64) -> Verdict {
        let mut verdict = Verdict::NEVER;
        self.each(&mut |tracks| verdict = verdict.or(self.one(&tracks, now)));
        verdict.starting(self.latest_edge(now))
    }
}

fn events(track: Option<TrackView<'_>>) -> impl Iterator<Item = i64> {
    track.into_iter().flat_map(|track| (0..track.times()).map(move |at| track.time(at)))
}
