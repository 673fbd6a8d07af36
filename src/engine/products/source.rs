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
