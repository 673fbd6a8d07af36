//! What is kept of one stream, taken apart to be changed.

use super::{
    packed::{DAY, KEYED, LAST, StreamView, TAIL, TrackView, VALUED, put_directory, width_of},
    stream::{Keep, Stream},
};
use crate::domain::ids::NameHash;

/// What is kept of one stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    keep: Keep,
    valued: bool,
    keyed: bool,
    /// Events up to then, of keys that are not kept, are forgotten.
    floor: i64,
    /// Sorted by key.
    tracks: Vec<(NameHash, Track)>,
}

/// Events of one key.
#[derive(Clone, Debug, Default, PartialEq)]
struct Track {
    /// The newest times and values, newest first.
    told: Vec<(i64, i64)>,
    tail: Option<Tail>,
}

/// The events beyond those that are told apart.
#[derive(Clone, Debug, PartialEq)]
struct Tail {
    first: i64,
    newest: i64,
    /// Of the events before retention: how many, and their sum.
    older: (u32, i64),
    days: Vec<Day>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Day {
    day: u16,
    count: u32,
    sum: i64,
}

impl Kept {
    pub(super) fn new(stream: &Stream) -> Self {
        let (keyed, valued) = (stream.key().is_some(), stream.value().is_some());
        Self { keep: stream.keep(), valued, keyed, floor: 0, tracks: Vec::new() }
    }

    pub(super) fn decode(body: &[u8]) -> Self {
        let view = StreamView::new(body);
        let tracks = if view.keyed() {
            view.tracks().map(|(key, track)| (key, Track::decode(track))).collect()
        } else {
            vec![(Stream::UNKEYED, Track::decode(view.whole()))]
        };
        Self { keep: view.keep(), valued: view.valued(), keyed: view.keyed(), floor: view.floor(), tracks }
    }

    /// Adds one event, unless it is of a key that was forgotten.
    pub(super) fn add(&mut self, key: NameHash, at: i64, value: i64) {
        let at = at.clamp(0, LAST);
        let place = match self.tracks.binary_search_by_key(&key, |(have, _)| *have) {
            Ok(place) => place,
            Err(_) if self.floor > 0 && at <= self.floor => return,
            Err(place) => {
                self.tracks.insert(place, (key, Track::default()));
                place
            }
        };
        self.tracks[place].1.add(at, value, self.keep);
        self.forget();
    }

    /// Adds everything that `other` keeps.
    pub(super) fn merge(&mut self, other: Self) {
        self.floor = self.floor.max(other.floor);
        for (key, track) in other.tracks {
            match self.tracks.binary_search_by_key(&key, |(have, _)| *have) {
                Ok(place) => self.tracks[place].1.merge(track, self.keep),
                Err(place) => self.tracks.insert(place, (key, track)),
            }
        }
        self.forget();
    }

    /// Drops the keys seen least recently beyond those that are kept.
    fn forget(&mut self) {
        while self.tracks.len() > Stream::KEYS {
            let seen = |(key, track): &(NameHash, Track)| (track.told.first().map_or(0, |told| told.0), *key);
            let Some((at, (newest, _))) = self.tracks.iter().map(seen).enumerate().min_by_key(|(_, seen)| *seen) else {
                return;
            };
            self.floor = self.floor.max(newest);
            self.tracks.remove(at);
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let flags = [(self.valued, VALUED), (self.keyed, KEYED)].map(|(is, flag)| if is { flag } else { 0 });
        let mut out = vec![self.keep.class() | flags[0] | flags[1]];
        let tracks = self.tracks.iter().map(|(key, track)| (key.0, track.encode(self.valued)));
        if self.keyed {
            out.push(self.tracks.len() as u8);
            put_time(&mut out, self.floor);
            put_directory(&mut out, &tracks.collect::<Vec<_>>());
        } else {
            tracks.for_each(|(_, track)| out.extend_from_slice(&track));
        }
        out
    }
}

impl Track {
    fn decode(view: TrackView<'_>) -> Self {
        let tail = view.tail().map(|tail| Tail {
            first: tail.first(),
            newest: tail.newest(),
            older: tail.older(),
            days: tail.buckets().map(|(day, count, sum)| Day { day, count, sum }).collect(),
        });
        let mut told = Vec::with_capacity(view.times() + 1);
        told.extend((0..view.times()).map(|at| (view.time(at), view.value(at))));
        Self { told, tail }
    }

    fn add(&mut self, at: i64, value: i64, keep: Keep) {
        let place = self.told.partition_point(|&told| told > (at, value));
        self.told.insert(place, (at, value));
        self.settle(keep);
    }

    fn merge(&mut self, other: Self, keep: Keep) {
        self.told.extend(other.told);
        self.told.sort_unstable_by(|a, b| b.cmp(a));
        match (&mut self.tail, other.tail) {
            (Some(tail), Some(other)) => tail.merge(&other),
            (tail @ None, other) => *tail = other,
            (Some(_), None) => {}
        }
        self.settle(keep);
    }

    /// Moves what is no longer told apart into its day, and days before retention into one sum.
    fn settle(&mut self, keep: Keep) {
        while self.told.len() > keep.count() {
            let Some((at, value)) = self.told.pop() else { return };
            let day = Day { day: (at / DAY) as u16, count: 1, sum: value };
            let alone = Tail { first: at, newest: at, older: (0, 0), days: vec![day] };
            match &mut self.tail {
                Some(tail) => tail.merge(&alone),
                None => self.tail = Some(alone),
            }
        }
        if let (Some(tail), Some((newest, _))) = (&mut self.tail, self.told.first()) {
            tail.retire(newest / DAY - Stream::RETENTION_DAYS);
        }
    }

    fn encode(&self, valued: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + 14 * self.told.len());
        let width = if valued { self.told.iter().map(|told| width_of(told.1)).max().unwrap_or(1) } else { 0 };
        out.push(self.told.len() as u8);
        out.push(width as u8 | if self.tail.is_some() { TAIL } else { 0 });
        self.told.iter().for_each(|told| put_time(&mut out, told.0));
        self.told.iter().for_each(|told| out.extend_from_slice(&told.1.to_le_bytes()[..width]));
        let Some(tail) = &self.tail else { return out };
        let put_sum = |out: &mut Vec<u8>, sum: i64| {
            if valued {
                out.extend_from_slice(&sum.to_le_bytes());
            }
        };
        put_time(&mut out, tail.first);
        put_time(&mut out, tail.newest);
        out.extend_from_slice(&tail.older.0.to_le_bytes());
        put_sum(&mut out, tail.older.1);
        out.extend_from_slice(&(tail.days.len() as u16).to_le_bytes());
        for day in &tail.days {
            out.extend_from_slice(&day.day.to_le_bytes());
            out.extend_from_slice(&day.count.to_le_bytes());
            put_sum(&mut out, day.sum);
        }
        out
    }
}

impl Tail {
    fn merge(&mut self, other: &Self) {
        (self.first, self.newest) = (self.first.min(other.first), self.newest.max(other.newest));
        self.older = (self.older.0.saturating_add(other.older.0), self.older.1.saturating_add(other.older.1));
        for &day in &other.days {
            let place = self.days.partition_point(|have| have.day > day.day);
            match self.days.get_mut(place).filter(|have| have.day == day.day) {
                Some(have) => {
                    have.count = have.count.saturating_add(day.count);
                    have.sum = have.sum.saturating_add(day.sum);
                }
                None => self.days.insert(place, day),
            }
        }
    }

    fn retire(&mut self, before: i64) {
        while let Some(day) = self.days.pop_if(|day| i64::from(day.day) < before) {
            self.older = (self.older.0.saturating_add(day.count), self.older.1.saturating_add(day.sum));
        }
    }
}

fn put_time(out: &mut Vec<u8>, at: i64) {
    out.extend_from_slice(&at.to_le_bytes()[..6]);
}
