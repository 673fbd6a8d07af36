//! A local log of outcomes for as long as the store is away: beacons cannot be sent again.
//!
//! Two files in one directory. `outcomes.log` is appended to; `outcomes.replay` is a former
//! `outcomes.log` that is being replayed, and is deleted when all of it is in the store. A crash
//! between the two replays from the start, and the store counts nothing twice.
//!
//! A record is its length and its checksum (the first 8 bytes of BLAKE3), then JSON. What a crash
//! left half written at the end is cut off when the file is opened again: it was never
//! acknowledged.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::domain::measurement::outcome::Outcome;

const LOG: &str = "outcomes.log";
const REPLAY: &str = "outcomes.replay";
/// Length and checksum.
const HEAD: usize = 4 + 8;
/// Longer records are damage.
const LONGEST: u32 = 1 << 20;

/// The log, open for appending.
pub struct Spool {
    dir: PathBuf,
    log: File,
    /// Bytes of whole records in the log.
    len: u64,
    /// Most bytes that the log may hold.
    most: u64,
    /// Whether something unfinished may stand behind `len`.
    dirty: bool,
}

impl Spool {
    /// Opens the log in `dir`, which is made if need be, for at most `most` bytes, and cuts off
    /// what was not finished.
    ///
    /// # Errors
    /// When the directory or the log cannot be made, read or cut.
    pub fn open(dir: &Path, most: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let (log, len) = Self::open_log(dir)?;
        Ok(Self { dir: dir.to_owned(), log, len, most, dirty: false })
    }

    fn open_log(dir: &Path) -> io::Result<(File, u64)> {
        let mut log = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(LOG))?;
        let mut records = Records::new(&log);
        while records.next()?.is_some() {}
        let len = records.at;
        log.set_len(len)?;
        log.seek(io::SeekFrom::Start(len))?;
        log.sync_data()?;
        File::open(dir)?.sync_all()?;
        Ok((log, len))
    }

    /// Appends outcomes; they are on the disk when this returns.
    ///
    /// # Errors
    /// When the log is full or the disk fails; then none of them is in the log.
    pub fn append(&mut self, outcomes: &[Outcome]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(outcomes.len() * 384);
        for outcome in outcomes {
            let body = serde_json::to_vec(outcome)?;
            bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(&checksum(&body));
            bytes.extend_from_slice(&body);
        }
        let len = self.len + bytes.len() as u64;
        if len > self.most {
            return Err(ErrorKind::StorageFull.into());
        }
        if self.dirty {
            self.cut()?;
        }
        self.dirty = true;
        let written = self.log.write_all(&bytes).and_then(|()| self.log.sync_data());
        if let Err(error) = written {
            // Otherwise whatever follows would stand behind damage. If it fails too, the next
            // append tries again first.
            let _tried = self.cut();
            return Err(error);
        }
        (self.len, self.dirty) = (len, false);
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.log.set_len(self.len)?;
        self.log.seek(io::SeekFrom::Start(self.len))?;
        self.dirty = false;
        Ok(())
    }

    /// Whether nothing waits to be replayed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0 && !self.dir.join(REPLAY).exists()
    }

    /// What to replay next: what is left of an earlier replay, or all of the log, which starts
    /// anew. None if there is nothing.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn take(&mut self) -> io::Result<Option<Replay>> {
        let path = self.dir.join(REPLAY);
        if !path.exists() {
            if self.len == 0 {
                return Ok(None);
            }
            if self.dirty {
                self.cut()?;
            }
            fs::rename(self.dir.join(LOG), &path)?;
            (self.log, self.len) = Self::open_log(&self.dir)?;
        }
        let records = Records::new(BufReader::new(File::open(&path)?));
        Ok(Some(Replay { path, records }))
    }
}

/// A former log, read in the order in which it was written.
pub struct Replay {
    path: PathBuf,
    records: Records<BufReader<File>>,
}

impl Replay {
    /// The next outcomes, at most `most`; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&mut self, most: usize) -> io::Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        while outcomes.len() < most
            && let Some(body) = self.records.next()?
        {
            match serde_json::from_slice(&body) {
                Ok(outcome) => outcomes.push(outcome),
                // Whole, but of another version of the program.
                Err(error) => tracing::error!(%error, "an outcome in the local log is not understood and is left out"),
            }
        }
        Ok(outcomes)
    }

    /// Deletes the file: all of it is in the store.
    ///
    /// # Errors
    /// When it cannot be deleted; it is then replayed again.
    pub fn done(self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }
}

fn checksum(body: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(body).as_bytes()[..8]);
    sum
}

/// Whole records up to the first damage.
struct Records<R> {
    from: R,
    /// Where the next record starts.
    at: u64,
}

impl<R: Read> Records<R> {
    fn new(from: R) -> Self {
        Self { from, at: 0 }
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.read() {
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => Ok(None),
            result => result.map(Some),
        }
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; HEAD];
        self.from.read_exact(&mut head)?;
        let [a, b, c, d, sum @ ..] = head;
        let len = u32::from_le_bytes([a, b, c, d]);
        if len > LONGEST {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; len as usize];
        self.from.read_exact(&mut body)?;
        if checksum(&body) != sum {
            return Err(ErrorKind::InvalidData.into());
        }
        self.at += HEAD as u64 + u64::from(len);
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fakes::outcome;

    const MOST: u64 = 1 << 20;

    /// Everything that waits, oldest first, as decision numbers.
    fn replayed(spool: &mut Spool) -> Vec<u128> {
        let mut all = Vec::new();
        while let Some(mut replay) = spool.take().expect("a replay") {
            loop {
                let some = replay.next(3).expect("outcomes");
                if some.is_empty() {
                    break;
                }
                all.extend(some.iter().map(|outcome| outcome.decision.0.as_u128()));
            }
            replay.done().expect("deleted");
        }
        all
    }

    #[test]
    fn what_was_appended_is_replayed_once_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::open(dir.path(), MOST).expect("a log");
        assert!(spool.is_empty() && replayed(&mut spool).is_empty());
        spool.append(&[outcome(1), outcome(2), outcome(3), outcome(4)]).expect("appended");
        assert!(!spool.is_empty());
        let mut interrupted = spool.take().expect("a replay").expect("something");
        assert_eq!(interrupted.next(10).expect("outcomes"), [outcome(1), outcome(2), outcome(3), outcome(4)]);
        drop(interrupted);
        spool.append(&[outcome(5)]).expect("appended");
        let mut spool = Spool::open(dir.path(), MOST).expect("opened again");
        assert_eq!(replayed(&mut spool), [1, 2, 3, 4, 5], "what was not finished is replayed again");
        assert!(spool.is_empty() && replayed(&mut spool).is_empty());
    }

    #[test]
    fn a_crash_at_any_byte_loses_nothing_acknowledged() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(LOG);
        let mut spool = Spool::open(dir.path(), MOST).expect("a log");
        let mut ends = Vec::new();
        for number in 1..=3 {
            spool.append(&[outcome(number)]).expect("appended");
            ends.push(fs::metadata(&path).expect("a file").len());
        }
        let whole = fs::read(&path).expect("bytes");
        for cut in 0..=whole.len() {
            for tail in [&b""[..], &[0; 40], &[0xff; 40]] {
                fs::write(&path, [&whole[..cut], tail].concat()).expect("written");
                let mut spool = Spool::open(dir.path(), MOST).expect("opened again");
                spool.append(&[outcome(9)]).expect("appended after damage");
                let kept = ends.iter().filter(|&&end| end <= cut as u64).count() as u128;
                let expected: Vec<u128> = (1..=kept).chain([9]).collect();
                assert_eq!(replayed(&mut spool), expected, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_full_log_takes_nothing_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::open(dir.path(), 1_000).expect("a log");
        let mut taken = Vec::new();
        for number in 1..=10 {
            if spool.append(&[outcome(number)]).is_ok() {
                taken.push(number);
            }
        }
        assert!((1..10).contains(&taken.len()), "{taken:?}");
        assert_eq!(replayed(&mut spool), taken);
        spool.append(&[outcome(11)]).expect("room again");
    }
}
