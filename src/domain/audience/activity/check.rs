//! Whether packed bytes keep every rule of their form.

use super::{
    Activity, Keep, Stream,
    packed::{
        DAY, Directory, ENTRY, FORMAT, HEAD, KEYED, KEYED_HEAD, LAST, TAIL, TailView, TrackView, VALUED, u16_at,
        width_of,
    },
};
use crate::domain::audience::codec::CodecError;

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
    sound(merged <= Activity::MERGED && streams > 0, "an activity has too much merged or no stream")?;
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
    sound(counted && track.times() == keep.count(), "a tail of nothing")?;
    let first_day = names().next().is_none_or(|day| i64::from(day) == newest / DAY);
    sound(first_day && tail.first() <= newest && newest <= track.time(track.times() - 1), "a tail is out of order")
}
