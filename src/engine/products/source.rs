//! Bytes that arrive on the runtime, for a reader that waits for them on a thread of its own.

use std::{
    io::{self, BufRead, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;
use tokio::sync::mpsc;

/// A piece of a file; none is its end. What ends without its end has broken off.
pub type Arriving = Option<Vec<u8>>;

/// The most bytes of a file, after decompression.
pub const LARGEST: u64 = 1 << 30;
/// Beyond so many bytes a zipped file may not be so many times as large as it was sent.
const SUSPECT: (u64, u64) = (64 << 20, 200);

/// The bytes of a file, unzipped where it is zipped.
///
/// # Errors
/// It broke off before its first byte.
pub(super) fn open(arriving: mpsc::Receiver<Arriving>) -> io::Result<impl BufRead> {
    let taken = Arc::new(AtomicU64::new(0));
    let sent = Sent { arriving, piece: Vec::new(), at: 0, ended: false, taken: Arc::clone(&taken) };
    let mut sent = BufReader::with_capacity(64 << 10, sent);
    let zipped = sent.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let plain: Box<dyn Read> = if zipped { Box::new(MultiGzDecoder::new(sent)) } else { Box::new(sent) };
    Ok(BufReader::with_capacity(64 << 10, Bounded { plain, given: 0, taken }))
}

struct Sent {
    arriving: mpsc::Receiver<Arriving>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
    taken: Arc<AtomicU64>,
}

impl Read for Sent {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.ended {
            match self.arriving.blocking_recv() {
                Some(Some(piece)) => (self.piece, self.at) = (piece, 0),
                Some(None) => self.ended = true,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "not all of it arrived")),
            }
        }
        let count = (&self.piece[self.at..]).read(into)?;
        self.at += count;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Holds what is read to what may be.
struct Bounded {
    plain: Box<dyn Read>,
    given: u64,
    taken: Arc<AtomicU64>,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(into)?;
        self.given += count as u64;
        let (from, times) = SUSPECT;
        if self.given > LARGEST {
            return Err(io::Error::other(format!("it has more than {LARGEST} bytes")));
        }
        if self.given > from && self.given / times > self.taken.load(Ordering::Relaxed) {
            return Err(io::Error::other(format!("it unpacks to more than {times} times its size")));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// What is read of pieces, with their end or without it.
    fn opened(pieces: Vec<Vec<u8>>, ended: bool) -> io::Result<usize> {
        let (sender, arriving) = mpsc::channel(pieces.len() + 1);
        let end = ended.then_some(None);
        for piece in pieces.into_iter().map(Some).chain(end) {
            sender.try_send(piece).expect("room");
        }
        drop(sender);
        let (mut source, mut into, mut count) = (open(arriving)?, vec![0; 64 << 10], 0);
        loop {
            match source.read(&mut into)? {
                0 => return Ok(count),
                more => count += more,
            }
        }
    }

    fn zipped(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn files_are_unzipped_and_those_that_break_off_are_noticed() {
        let text = b"id,title\n".repeat(1_000);
        let pieces = |bytes: &[u8]| bytes.chunks(100).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(opened(pieces(&text), true).expect("plain"), text.len());
        assert_eq!(opened(pieces(&zipped(&text)), true).expect("zipped"), text.len());
        assert_eq!(opened(vec![], true).expect("nothing"), 0);
        let error = opened(pieces(&text), false).expect_err("broken off");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let whole = zipped(&text);
        assert!(opened(pieces(&whole[..whole.len() / 2]), true).is_err(), "half of a zip");
    }

    #[test]
    fn what_unpacks_to_far_more_than_was_sent_is_refused() {
        let bomb = zipped(&vec![b' '; 80 << 20]);
        let error = opened(vec![bomb], true).expect_err("a bomb");
        assert!(error.to_string().contains("200 times"), "{error}");
    }
}
