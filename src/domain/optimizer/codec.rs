//! Statistics as bytes: a version, the layout, what was counted and what was learned, without what
//! is zero.
//!
//! Numbers that were learned keep single precision. What replicas share are these bytes, so the
//! sums that they make of them agree.

use crate::domain::optimizer::{
    layout::Layout,
    shape::Shape,
    statistics::{Count, Statistics},
};

/// Without credit for rewards on their way, as is written where there is none.
const SETTLED: u8 = 2;
/// Also without what was shown of late, and without gaps.
const OLDEST: u8 = 1;

/// The bytes cannot be read as statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStatistics {
    /// A newer version may have written them.
    #[error("a newer version wrote these statistics")]
    Newer,
    /// They are none of this version, nor of one before it.
    #[error("these bytes are no statistics that this version wrote")]
    Broken,
}

impl Statistics {
    /// The newest version of their bytes, by which these begin.
    pub const VERSION: u8 = 3;

    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let pending = self.pending.iter().map(|pending| *pending as f32);
        let settled = pending.clone().all(|pending| pending == 0.0);
        let mut out = vec![if settled { SETTLED } else { Self::VERSION }];
        put(&mut out, self.layout.slots() as u64);
        for slot in 0..self.layout.slots() {
            put(&mut out, self.layout.slot(slot).len() as u64);
            // those of a slot that lacks some, each after how many are lacking before it
            out.push(u8::from(self.layout.is_sparse(slot)));
            if self.layout.is_sparse(slot) {
                let mut next = 0;
                for number in self.layout.numbers(slot) {
                    put(&mut out, u64::from(number - next));
                    next = number + 1;
                }
            }
        }
        put(&mut out, self.layout.features() as u64);
        put_count(&mut out, &self.total);
        put(&mut out, self.active);
        let full = |count: &&Count| **count != Count::default();
        sparse(&mut out, self.counts.iter(), full, put_count);
        let weights =
            self.precision.iter().zip(&self.shift).map(|(precision, shift)| (*precision as f32, *shift as f32));
        sparse(
            &mut out,
            weights,
            |weight| *weight != (0.0, 0.0),
            |out, (precision, shift)| {
                out.extend_from_slice(&precision.to_le_bytes());
                out.extend_from_slice(&shift.to_le_bytes());
            },
        );
        out.extend_from_slice(&(self.recent as f32).to_le_bytes());
        let recently = self.recently.iter().map(|recently| *recently as f32);
        sparse(&mut out, recently, |one| *one != 0.0, put_float);
        if !settled {
            sparse(&mut out, pending, |one| *one != 0.0, put_float);
        }
        out
    }

    /// Reads [`Self::encode`]'s bytes.
    ///
    /// # Errors
    /// Bytes of a newer version; of a layout larger than a [`Shape`] may be, that end early or go
    /// on, or numbers that are not finite or are negative where they cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotStatistics> {
        if bytes.first().is_some_and(|version| *version > Self::VERSION) {
            return Err(NotStatistics::Newer);
        }
        let mut reader = Reader(bytes);
        let read = reader.statistics().filter(|read| reader.0.is_empty() && read.is_sound());
        read.ok_or(NotStatistics::Broken)
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_float(out: &mut Vec<u8>, number: f32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, count: &Count) {
    put(out, count.shown);
    put(out, count.rewarded);
    // where every reward is worth 1, as clicks are, the count says it all
    let plain = count.value == count.rewarded as f64;
    out.push(u8::from(!plain));
    if !plain {
        out.extend_from_slice(&count.value.to_le_bytes());
    }
}

/// Those of the items that `keep` wants, each after the number of items left out before it.
fn sparse<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T> + Clone,
    keep: impl Fn(&T) -> bool,
    write: impl Fn(&mut Vec<u8>, T),
) {
    put(out, items.clone().filter(&keep).count() as u64);
    let mut next = 0;
    for (at, item) in items.enumerate().filter(|(_, item)| keep(item)) {
        put(out, (at - next) as u64);
        next = at + 1;
        write(out, item);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn statistics(&mut self) -> Option<Statistics> {
        let [version] = self.take()?;
        (OLDEST..=Statistics::VERSION).contains(&version).then_some(())?;
        let slots = self.number(Shape::MOST_SLOTS)?;
        let numbers = (0..slots).map(|_| self.numbers(version)).collect::<Option<Vec<_>>>()?;
        let layout = Layout::of(numbers, self.number(Shape::MOST_FEATURES)? as u16);
        // room is made for what the bytes claim to hold, which must not be more than any shape has
        (layout.weights() <= MOST_WEIGHTS).then_some(())?;
        let mut read = Statistics::new(layout);
        read.total = self.count()?;
        read.active = self.varint()?;
        self.sparse(read.counts.len(), |reader, at| {
            read.counts[at] = reader.count()?;
            Some(())
        })?;
        self.sparse(read.precision.len(), |reader, at| {
            read.precision[at] = f32::from_le_bytes(reader.take()?).into();
            read.shift[at] = f32::from_le_bytes(reader.take()?).into();
            Some(())
        })?;
        if version == OLDEST {
            return Some(read);
        }
        read.recent = f32::from_le_bytes(self.take()?).into();
        self.sparse(read.recently.len(), |reader, at| {
            read.recently[at] = f32::from_le_bytes(reader.take()?).into();
            Some(())
        })?;
        if version == SETTLED {
            return Some(read);
        }
        self.sparse(read.pending.len(), |reader, at| {
            read.pending[at] = f32::from_le_bytes(reader.take()?).into();
            Some(())
        })?;
        Some(read)
    }

    /// The numbers of a slot's components.
    fn numbers(&mut self, version: u8) -> Option<Vec<u16>> {
        let size = self.number(Shape::MOST_COMPONENTS)?;
        if version == OLDEST || self.take::<1>()? == [0] {
            return Some((0..size as u16).collect());
        }
        let mut next = 0;
        let mut number = || {
            let number = next + self.number(Shape::MOST_NUMBERS)?;
            next = number + 1;
            (number < Shape::MOST_NUMBERS).then_some(number as u16)
        };
        (0..size).map(|_| number()).collect()
    }

    fn sparse(&mut self, length: usize, mut read: impl FnMut(&mut Self, usize) -> Option<()>) -> Option<()> {
        let mut at = 0_usize;
        for _ in 0..self.number(length)? {
            at += self.number(length)?;
            (at < length).then(|| read(self, at))??;
            at += 1;
        }
        Some(())
    }

    fn count(&mut self) -> Option<Count> {
        let (shown, rewarded) = (self.varint()?, self.varint()?);
        let value = match self.take::<1>()? {
            [0] => rewarded as f64,
            [1] => f64::from_le_bytes(self.take()?),
            _ => return None,
        };
        Some(Count { shown, rewarded, value })
    }

    fn number(&mut self, most: usize) -> Option<usize> {
        usize::try_from(self.varint()?).ok().filter(|number| *number <= most)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take()?;
            let part = u64::from(byte & 0x7f);
            (part << shift >> shift == part).then_some(())?;
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }
}

/// More weights than this are not read: 4,096 components with 256 features.
const MOST_WEIGHTS: usize = 1 << 20;
