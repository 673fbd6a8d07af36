//! The packed form of an [`super::Activity`], read where it lies.
//!
//! ```text
//! activity  format 1 | u8 merged | u16 streams | merged x u64 | streams x (u64 id, u32 end) | bodies
//! body      flags: keep class, valued, keyed | one track
//!           or, keyed: u8 keys | u48 floor | keys x (u64 key, u32 end) | tracks
//! track     u8 times | u8 width of values, and whether a tail follows | times x u48, newest first
//!           | times x value | tail
//! tail      u48 first | u48 newest | u32 older | i64 their sum | u16 days | days x (u16, u32, i64 sum)
//! ```
//!
//! Little-endian. Ends are counted from the first body or track. Sums are there for valued streams
//! only. Everything is checked once, by [`check`], and then read without further doubt.

use super::{
    StreamId,
    stream::{Keep, Stream},
};
use crate::domain::{audience::codec::CodecError, ids::NameHash};

const FORMAT: u8 = 1;
pub(super) const DAY: i64 = 86_400_000;
/// The end of the last day that 16 bits can tell, in the year 2149.
pub(super) const LAST: i64 = (1 << 16) * DAY - 1;
/// Bytes of a directory entry: 64 bits that name it, and where it ends.
const ENTRY: usize = 12;
pub(super) const VALUED: u8 = 4;
pub(super) const KEYED: u8 = 8;
pub(super) const TAIL: u8 = 0x80;
const HEAD: usize = 4;
const KEYED_HEAD: usize = 8;

fn word<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut word = [0; N];
    word.copy_from_slice(&bytes[at..at + N]);
    word
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(word(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(word(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(word(bytes, at))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(word(bytes, at))
}

fn time_at(bytes: &[u8], at: usize) -> i64 {
    i64::from(u32_at(bytes, at)) | i64::from(u16_at(bytes, at + 4)) << 32
}

/// A sorted table of 64-bit names, each with the stretch of bytes that it ends.
#[derive(Clone, Copy)]
struct Directory<'a> {
    entries: &'a [u8],
    bodies: &'a [u8],
}

impl<'a> Directory<'a> {
    fn new(bytes: &'a [u8], count: usize) -> Self {
        let (entries, bodies) = bytes.split_at(count * ENTRY);
        Self { entries, bodies }
    }

    fn len(self) -> usize {
        self.entries.len() / ENTRY
    }

    #[inline]
    fn name(self, at: usize) -> u64 {
        u64_at(self.entries, at * ENTRY)
    }

    #[inline]
    fn end(self, at: usize) -> usize {
        u32_at(self.entries, at * ENTRY + 8) as usize
    }

    #[inline]
    fn body(self, at: usize) -> &'a [u8] {
        let start = if at == 0 { 0 } else { self.end(at - 1) };
        &self.bodies[start..self.end(at)]
    }

    /// Names are hashes, evenly spread, so a name's value tells about where it lies.
    #[inline]
    fn find(self, name: u64) -> Option<&'a [u8]> {
        let len = self.len();
        let mut at = ((u128::from(name) * len as u128) >> 64) as usize;
        while at < len && self.name(at) < name {
            at += 1;
        }
        while at > 0 && self.name(at - 1) >= name {
            at -= 1;
        }
        (at < len && self.name(at) == name).then(|| self.body(at))
    }
}

/// The whole of an activity.
#[derive(Clone, Copy)]
pub(crate) struct ActivityView<'a> {
    merged: &'a [u8],
    streams: Directory<'a>,
}

impl<'a> ActivityView<'a> {
    /// A view of checked bytes.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        match bytes {
            [] => Self { merged: &[], streams: Directory { entries: &[], bodies: &[] } },
            bytes => {
                let (merged, rest) = bytes[HEAD..].split_at(8 * usize::from(bytes[1]));
                Self { merged, streams: Directory::new(rest, usize::from(u16_at(bytes, 2))) }
            }
        }
    }

    pub(super) fn merged(self) -> impl Iterator<Item = u64> {
        self.merged.chunks_exact(8).map(|print| u64_at(print, 0))
    }

    pub(super) fn bodies(self) -> impl ExactSizeIterator<Item = (StreamId, &'a [u8])> {
        (0..self.streams.len()).map(move |at| (StreamId(self.streams.name(at)), self.streams.body(at)))
    }

    /// What is kept of a stream.
    #[inline]
    pub(crate) fn stream(self, id: StreamId) -> Option<StreamView<'a>> {
        self.streams.find(id.0).map(StreamView)
    }
}

/// What is kept of one stream.
#[derive(Clone, Copy)]
pub(crate) struct StreamView<'a>(&'a [u8]);

impl<'a> StreamView<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    pub(super) fn body(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn keep(self) -> Keep {
        Keep::of_class(self.0[0] & 3).unwrap_or_default()
    }

    pub(super) fn valued(self) -> bool {
        self.0[0] & VALUED != 0
    }

    pub(super) fn keyed(self) -> bool {
        self.0[0] & KEYED != 0
    }

    pub(super) fn floor(self) -> i64 {
        if self.keyed() { time_at(self.0, 2) } else { 0 }
    }

    fn keys(self) -> Directory<'a> {
        Directory::new(&self.0[KEYED_HEAD..], usize::from(self.0[1]))
    }

    /// The only track of a stream without keys.
    #[inline]
    pub(crate) fn whole(self) -> TrackView<'a> {
        TrackView::new(&self.0[1..], self.valued())
    }

    /// The track of a key.
    #[inline]
    pub(crate) fn of_key(self, key: NameHash) -> Option<TrackView<'a>> {
        self.keys().find(key.0).map(|bytes| TrackView::new(bytes, self.valued()))
    }

    /// The tracks of every key.
    #[inline]
    pub(crate) fn tracks(self) -> impl ExactSizeIterator<Item = (NameHash, TrackView<'a>)> {
        let keys = self.keys();
        (0..keys.len()).map(move |at| (NameHash(keys.name(at)), TrackView::new(keys.body(at), self.valued())))
    }
}

/// Events of one stream and key.
#[derive(Clone, Copy)]
pub(crate) struct TrackView<'a> {
    bytes: &'a [u8],
    /// Events kept one by one; at least one.
    times: usize,
    width: usize,
    valued: bool,
}

/// One event, or those of one UTC day that are no longer told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Atom {
    /// When: of a day, its end, but never later than the newest such event.
    pub(crate) at: i64,
    pub(crate) count: u32,
    /// Of the values, in millionths.
    pub(crate) sum: i64,
}

impl<'a> TrackView<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8], valued: bool) -> Self {
        Self { bytes, times: usize::from(bytes[0]), width: usize::from(bytes[1] & 0xf), valued }
    }

    /// How many events are told apart.
    #[inline]
    pub(crate) fn times(self) -> usize {
        self.times
    }

    /// When the newest but `at` happened, for `at` below [`TrackView::times`].
    #[inline]
    pub(crate) fn time(self, at: usize) -> i64 {
        time_at(self.bytes, 2 + 6 * at)
    }

    /// The value of that event, in millionths.
    #[inline]
    pub(crate) fn value(self, at: usize) -> i64 {
        match self.width {
            0 => 0,
            width => {
                let start = 2 + 6 * self.times + width * at;
                let mut value = [0; 8];
                value[8 - width..].copy_from_slice(&self.bytes[start..start + width]);
                i64::from_le_bytes(value) >> (64 - 8 * width)
            }
        }
    }

    #[inline]
    pub(crate) fn tail(self) -> Option<TailView<'a>> {
        let bytes =
            if self.bytes[1] & TAIL == 0 { return None } else { &self.bytes[2 + self.times * (6 + self.width)..] };
        Some(TailView { bytes, valued: self.valued })
    }

    /// When the first event of all happened.
    #[inline]
    pub(crate) fn first(self) -> i64 {
        self.tail().map_or_else(|| self.time(self.times - 1), TailView::first)
    }

    /// Everything that is kept, newest first; what is older than retention is not among it.
    #[inline]
    pub(crate) fn atoms(self) -> impl Iterator<Item = Atom> {
        let told = (0..self.times).map(move |at| Atom { at: self.time(at), count: 1, sum: self.value(at) });
        told.chain(self.tail().into_iter().flat_map(TailView::days))
    }
}

/// What is kept of the events that are no longer told apart.
#[derive(Clone, Copy)]
pub(crate) struct TailView<'a> {
    bytes: &'a [u8],
    valued: bool,
}

impl<'a> TailView<'a> {
    fn sum(self, at: usize) -> i64 {
        if self.valued { i64_at(self.bytes, at) } else { 0 }
    }

    const fn wide(self, bytes: usize) -> usize {
        if self.valued { bytes + 8 } else { bytes }
    }

    pub(crate) fn first(self) -> i64 {
        time_at(self.bytes, 0)
    }

    pub(super) fn newest(self) -> i64 {
        time_at(self.bytes, 6)
    }

    /// How many events are older than retention, and their sum.
    pub(crate) fn older(self) -> (u32, i64) {
        (u32_at(self.bytes, 12), self.sum(16))
    }

    /// Day, count and sum, newest first.
    pub(super) fn buckets(self) -> impl ExactSizeIterator<Item = (u16, u32, i64)> + use<'a> {
        let (head, each) = (self.wide(16), self.wide(6));
        (0..usize::from(u16_at(self.bytes, head))).map(move |at| {
            let at = head + 2 + each * at;
            (u16_at(self.bytes, at), u32_at(self.bytes, at + 2), self.sum(at + 6))
        })
    }

    fn days(self) -> impl Iterator<Item = Atom> {
        let newest = self.newest();
        self.buckets().map(move |(day, count, sum)| Atom { at: newest.min((i64::from(day) + 1) * DAY - 1), count, sum })
    }
}

/// Appends a directory of sorted names and their bodies.
pub(super) fn put_directory<B: AsRef<[u8]>>(out: &mut Vec<u8>, bodies: &[(u64, B)]) {
    let mut end = 0;
    for (name, body) in bodies {
        end += body.as_ref().len() as u32;
        out.extend_from_slice(&name.to_le_bytes());
        out.extend_from_slice(&end.to_le_bytes());
    }
    bodies.iter().for_each(|(_, body)| out.extend_from_slice(body.as_ref()));
}

/// The packed form of these bodies, sorted by id, and merges. No stream is no bytes.
pub(super) fn write(bodies: &[(u64, &[u8])], merged: &[u64]) -> Box<[u8]> {
    if bodies.is_empty() {
        return Box::default();
    }
    let size: usize = bodies.iter().map(|(_, body)| ENTRY + body.len()).sum();
    let mut out = Vec::with_capacity(HEAD + 8 * merged.len() + size);
    out.extend_from_slice(&[FORMAT, merged.len() as u8]);
    out.extend_from_slice(&(bodies.len() as u16).to_le_bytes());
    merged.iter().for_each(|print| out.extend_from_slice(&print.to_le_bytes()));
    put_directory(&mut out, bodies);
    out.into()
}

type Checked = Result<(), CodecError>;

fn sound(holds: bool, rule: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(CodecError::Malformed(rule)) }
}

/// Whether `bytes` keep every rule of the form, so that views of them never fail and no other
/// bytes mean the same.
pub(super) fn check(bytes: &[u8]) -> Checked {
    if bytes.is_empty() {
        return Ok(());
    }
    let head = bytes.get(..HEAD).ok_or(CodecError::Truncated)?;
    if head[0] != FORMAT {
        return Err(CodecError::Version(head[0]));
    }
    let (merged, streams) = (usize::from(head[1]), usize::from(u16_at(bytes, 2)));
    sound(merged <= super::Activity::MERGED && streams > 0, "an activity has too much merged or no stream")?;
    let rest = bytes.get(HEAD + 8 * merged..).ok_or(CodecError::Truncated)?;
    check_directory(rest, streams, check_body)
}

fn check_directory(bytes: &[u8], count: usize, check: impl Fn(&[u8]) -> Checked) -> Checked {
    if bytes.len() < count * ENTRY {
        return Err(CodecError::Truncated);
    }
    let directory = Directory::new(bytes, count);
    let mut start = 0;
    for at in 0..count {
        sound(at == 0 || directory.name(at - 1) < directory.name(at), "names are out of order")?;
        check(directory.bodies.get(start..directory.end(at)).ok_or(CodecError::Truncated)?)?;
        start = directory.end(at);
    }
    sound(start == directory.bodies.len(), "bytes follow the last body")
}

fn check_body(body: &[u8]) -> Checked {
    let flags = *body.first().ok_or(CodecError::Truncated)?;
    let keep = Keep::of_class(flags & 3).filter(|_| flags < 16);
    let keep = keep.ok_or(CodecError::Malformed("a stream has unknown flags"))?;
    let track = |bytes: &[u8]| check_track(bytes, keep, flags & VALUED != 0);
    if flags & KEYED == 0 {
        return track(&body[1..]);
    }
    let keys = usize::from(*body.get(1).ok_or(CodecError::Truncated)?);
    sound((1..=Stream::KEYS).contains(&keys), "a stream has too few or too many keys")?;
    check_directory(body.get(KEYED_HEAD..).ok_or(CodecError::Truncated)?, keys, track)
}

fn check_track(bytes: &[u8], keep: Keep, valued: bool) -> Checked {
    let [times, flags, ..] = *bytes else { return Err(CodecError::Truncated) };
    let (times, width) = (usize::from(times), usize::from(flags & 0xf));
    sound((1..=keep.count()).contains(&times), "a track has too few or too many events")?;
    sound(flags & !(TAIL | 0xf) == 0 && valued == (width > 0) && width <= 8, "a track has unknown flags")?;
    let tail = 2 + times * (6 + width);
    let rest = bytes.get(tail..).ok_or(CodecError::Truncated)?;
    let track = TrackView::new(bytes, valued);
    let event = |at: usize| (track.time(at), track.value(at));
    sound(track.time(0) <= LAST, "an event lies too far ahead")?;
    sound((1..times).all(|at| event(at - 1) >= event(at)), "events are out of order")?;
    if valued {
        let widest = (0..times).map(|at| width_of(track.value(at))).max();
        sound(widest == Some(width), "values are wider than needed")?;
    }
    if flags & TAIL == 0 { sound(rest.is_empty(), "bytes follow a track") } else { check_tail(track, keep, rest) }
}

fn check_tail(track: TrackView<'_>, keep: Keep, bytes: &[u8]) -> Checked {
    let tail = TailView { bytes, valued: track.valued };
    let (head, each) = (tail.wide(16), tail.wide(6));
    if bytes.len() < head + 2 {
        return Err(CodecError::Truncated);
    }
    let days = usize::from(u16_at(bytes, head));
    sound(bytes.len() == head + 2 + each * days, "bytes follow a track")?;
    let newest = tail.newest();
    let names = || tail.buckets().map(|(day, ..)| day);
    sound(names().zip(names().skip(1)).all(|(one, other)| one > other), "days are out of order")?;
    let counted = tail.buckets().all(|(_, count, _)| count > 0) && (days > 0 || tail.older().0 > 0);
    sound(counted && track.times == keep.count(), "a tail of nothing")?;
    let first_day = names().next().is_none_or(|day| i64::from(day) == newest / DAY);
    sound(first_day && tail.first() <= newest && newest <= track.time(track.times - 1), "a tail is out of order")
}

/// The fewest bytes that hold `value`, at least one.
pub(super) fn width_of(value: i64) -> usize {
    let bits = 65 - if value < 0 { !value } else { value }.leading_zeros() as usize;
    bits.div_ceil(8).max(1)
}
