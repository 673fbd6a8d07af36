//! Bytes that come one after the other, with the lines counted and what one row may take bounded.

use std::io::{self, BufRead, Read};

/// The longest row, in bytes.
const LONGEST: usize = 256 << 10;

/// A reader that knows on which line it stands, and that reads no more than a row at a time.
pub(super) struct Lines<R> {
    inner: R,
    /// The line of the next byte, from 1.
    pub(super) line: u64,
    left: usize,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, line: 1, left: LONGEST }
    }

    /// Another row begins.
    pub(super) fn refill(&mut self) {
        self.left = LONGEST;
    }

    /// Whether the row that was begun last is longer than a row may be.
    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Takes a byte order mark away, if there is one at the beginning.
    pub(super) fn skip_mark(&mut self) -> io::Result<()> {
        if self.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            self.consume(3);
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Lines<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Lines<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other("a row is too long"));
        }
        let held = self.inner.fill_buf()?;
        Ok(&held[..held.len().min(self.left)])
    }

    fn consume(&mut self, count: usize) {
        // what is held is given again without reading
        let held = self.inner.fill_buf().unwrap_or_default();
        self.line += held[..count.min(held.len())].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.left -= count.min(self.left);
        self.inner.consume(count);
    }
}
