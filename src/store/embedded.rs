//! The embedded default: a private PostgreSQL cluster in the data folder, from the machine's own binaries.
//!
//! The server listens on a Unix socket only, in a folder closed to other users. One process at a time,
//! the holder of the data folder's lock, *runs* it; others on the same folder *join* it. The server
//! ends with the process that runs it, however that ends (on Linux; elsewhere a killed process leaves
//! its server, which the next start replaces), and nothing committed is lost either way.
#![expect(clippy::disallowed_methods, reason = "it runs on a thread that may block")]

mod binaries;
mod error;
pub mod guard;
mod leftovers;
mod place;
mod postmaster;

use std::{
    fs,
    io::{Read, Seek, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use tokio_util::sync::CancellationToken;

pub use self::{binaries::search_folders, error::EmbeddedError};
use self::{error::Doing, leftovers::Status, place::Place, postmaster::Postmaster};

/// How long a server may take to start or recover: replaying all the write-ahead log that the settings
/// allow takes well under a minute on a slow disk.
const START_LIMIT: Duration = Duration::from_secs(300);
/// How long a process waits for another that holds the data folder to have its server ready.
const JOIN_LIMIT: Duration = Duration::from_secs(30);
/// How long an owner and its server must be seen alive before they are joined.
const JOIN_PROOF: Duration = Duration::from_millis(250);

/// What [`PrivateCluster::start`] needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tessera's data folder; made where it is missing. The cluster goes to `pg` in it, the server's
    /// log to `postgres.log`.
    pub data_dir: PathBuf,
    /// The binary that calls [`guard::run`] under [`guard::SUBCOMMAND`]: Tessera's own.
    pub guard: PathBuf,
    /// The folder of the PostgreSQL programs to use, and no other.
    pub binaries: Option<PathBuf>,
    /// Where else to look for them, before the usual folders of the system; see [`search_folders`].
    pub search: Vec<PathBuf>,
}

/// A running private cluster; the server ends when this is dropped, unless it was only joined.
#[derive(Debug)]
pub struct PrivateCluster {
    place: Place,
    /// Declared before the lock: the server stops first, then the lock is given back.
    postmaster: Option<Postmaster>,
    _lock: Option<Flock<fs::File>>,
}

impl PrivateCluster {
    /// Starts the cluster of `options.data_dir`, making it first where there is none, or joins the one
    /// that another process runs there. Returns when it takes connections. Blocks: a first start takes
    /// about a second, a later one a tenth.
    ///
    /// # Errors
    /// [`EmbeddedError`], whose message names the remedy.
    pub fn start(options: Options) -> Result<PrivateCluster, EmbeddedError> {
        Self::start_until(options, CancellationToken::new())
    }

    /// The same, given up when `stop` is cancelled: a server that was on its way is then stopped before
    /// this returns.
    ///
    /// # Errors
    /// As [`PrivateCluster::start`], or [`EmbeddedError::GivenUp`].
    pub fn start_until(options: Options, stop: CancellationToken) -> Result<PrivateCluster, EmbeddedError> {
        let mut place = Place::of(&options.data_dir)?;
        let Some(lock) = own_or_join(&place, &stop)? else {
            return Ok(PrivateCluster { place, postmaster: None, _lock: None });
        };
        let existing = place.major()?;
        let wanted = existing.as_deref().map(|major| (place.pgdata.as_path(), major));
        let binaries = binaries::find(options.binaries.as_deref(), &options.search, place.account, wanted)?;
        let programs = postmaster::Programs { guard: options.guard, binaries, stop };
        match existing {
            Some(_) => place.check_existing()?,
            None => programs.create(&mut place)?,
        }
        place.make_runtime()?;
        let postmaster = Postmaster::start(programs, place.clone())?;
        Ok(PrivateCluster { place, postmaster: Some(postmaster), _lock: Some(lock) })
    }

    /// The address for sqlx: the database `tessera`, through the private socket.
    pub fn url(&self) -> String {
        self.place.url()
    }

    /// The address that the cluster of a data folder has once it runs.
    ///
    /// # Errors
    /// The cluster has no place: the folder cannot be made, or no user could run the server.
    pub fn url_in(data_dir: &Path) -> Result<String, EmbeddedError> {
        Ok(Place::of(data_dir)?.url())
    }

    /// Whether another process runs the server, so that it ends with that one and not with this.
    pub fn is_joined(&self) -> bool {
        self.postmaster.is_none()
    }

    /// Stops the server and waits until it has ended: open transactions are rolled back, committed ones
    /// are on disk. A joined server is left alone. Blocks for at most 30 s.
    ///
    /// # Errors
    /// [`EmbeddedError::Killed`] when it did not end in time and was killed.
    pub fn stop(mut self) -> Result<(), EmbeddedError> {
        self.postmaster.take().map_or(Ok(()), Postmaster::stop)
    }
}

/// The lock that says who runs the cluster, or nothing when another process has it and its server is ready.
fn own_or_join(place: &Place, stop: &CancellationToken) -> Result<Option<Flock<fs::File>>, EmbeddedError> {
    let began = Instant::now();
    let mut ready_since = None;
    loop {
        let lock = try_lock(place)?;
        // A killed owner holds the lock, and its server runs, until the kernel has cleared it away.
        let ready = is_ready(place, None).then(|| *ready_since.get_or_insert_with(Instant::now));
        if lock.is_some() || ready.is_some_and(|since| since.elapsed() > JOIN_PROOF) {
            return Ok(lock);
        }
        ready_since = ready;
        if stop.is_cancelled() {
            return Err(EmbeddedError::GivenUp);
        }
        if began.elapsed() > JOIN_LIMIT {
            let owner = fs::read_to_string(place.lock()).unwrap_or_default();
            return Err(EmbeddedError::InUse { data_dir: place.data_dir.clone(), owner });
        }
        // The owner is starting its server, or stopping it and about to give the lock back.
        sleep(Duration::from_millis(20));
    }
}

/// Takes the lock unless another process has it. The kernel gives it back when its holder ends, however it ends.
fn try_lock(place: &Place) -> Result<Option<Flock<fs::File>>, EmbeddedError> {
    let path = place.lock();
    let file = fs::File::options().create(true).truncate(false).write(true).open(&path).doing("open", &path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0).doing("write", &path)?;
            write!(lock, "process {}", std::process::id()).doing("write", &path)?;
            Ok(Some(lock))
        }
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno).doing("lock", path),
    }
}

/// Whether the server (the one of process `pid`, where given) says that it is ready and listens: one that
/// starts or recovers already has its socket but turns clients away.
fn is_ready(place: &Place, pid: Option<u32>) -> bool {
    Status::read(&place.pgdata)
        .is_some_and(|status| status.ready && pid.is_none_or(|pid| status.pid.as_raw() as u32 == pid))
        && UnixStream::connect(place.socket()).is_ok()
}

/// The last lines of the server's log.
fn log_tail(place: &Place) -> String {
    const BYTES: u64 = 2_000;
    let read = || -> std::io::Result<String> {
        let mut file = fs::File::open(place.log())?;
        let from = file.metadata()?.len().saturating_sub(BYTES);
        file.seek(std::io::SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let whole = if from == 0 { &text } else { text.split_once('\n').map_or("", |(_, rest)| rest) };
        Ok(whole.trim_end().to_owned())
    };
    read().unwrap_or_else(|error| format!("(unreadable: {error})"))
}
