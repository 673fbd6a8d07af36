use std::{io, path::PathBuf, process::ExitStatus};

use thiserror::Error;

/// Why the private cluster could not be started or stopped; every message names what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No usable PostgreSQL server binaries on this machine.
    #[error(
        "no PostgreSQL server (version {oldest} or newer) was found in {searched}{too_old}: scripts/start installs one, \
         TESSERA_POSTGRES_BIN names a folder that holds one, or set DATABASE_URL to use a server elsewhere"
    )]
    NoBinaries {
        /// The oldest major version that Tessera runs on.
        oldest: u32,
        /// The folders looked into, as a list to read.
        searched: String,
        /// What was found but is of no use, or nothing.
        too_old: String,
    },
    /// The cluster was written by a major version that is not installed; PostgreSQL cannot read across majors.
    #[error(
        "the data in {pgdata} belongs to PostgreSQL {data}, but only PostgreSQL {installed} is installed: install \
         PostgreSQL {data} beside it, or convert the data with pg_upgrade, or move {pgdata} away to begin empty"
    )]
    OtherMajor {
        /// The cluster's folder.
        pgdata: PathBuf,
        /// The major version that wrote the data, as its `PG_VERSION` file says.
        data: String,
        /// The major versions found, as a list to read.
        installed: String,
    },
    /// Another process holds this data folder and its cluster cannot be joined.
    #[error(
        "{data_dir} is in use by {owner} and its database cannot be reached from here: stop it, or set TESSERA_DATA to \
         another folder"
    )]
    InUse {
        /// The contested data folder.
        data_dir: PathBuf,
        /// The owner, as it wrote itself into the lock.
        owner: String,
    },
    /// PostgreSQL refuses to run as root, and no account to run it as exists.
    #[error(
        "PostgreSQL refuses to run as root and this machine has neither the account 'postgres' nor 'nobody': start \
         Tessera as another user, or set DATABASE_URL"
    )]
    NoAccount,
    /// The user who would make the cluster is a bare number, which PostgreSQL does not accept.
    #[error(
        "PostgreSQL needs a user with a name, and uid {uid} has none: add it to /etc/passwd, or start Tessera as \
         another user (as root: chown the data folder to one), or set DATABASE_URL"
    )]
    Nameless {
        /// The user.
        uid: u32,
    },
    /// The cluster belongs to a user that this process cannot act as.
    #[error("{pgdata} belongs to uid {owner}, not to uid {uid}: start Tessera as that user or as root, or chown it")]
    ForeignOwner {
        /// The cluster's folder.
        pgdata: PathBuf,
        /// The uid that owns it.
        owner: u32,
        /// The uid that would have to run it.
        uid: u32,
    },
    /// A folder above the cluster is closed to the unprivileged user who runs PostgreSQL for root.
    #[error(
        "uid {uid}, who runs PostgreSQL because it refuses root, cannot enter {folder}: set TESSERA_DATA to a folder \
         outside it, or start Tessera as the folder's owner, or chmod o+x {folder}"
    )]
    Unreachable {
        /// The closed folder.
        folder: PathBuf,
        /// The uid that cannot enter it.
        uid: u32,
    },
    /// The folder for the socket exists and is not safely ours.
    #[error("{folder} is not a folder of uid {uid} closed to all others: remove it and start again")]
    RuntimeFolder {
        /// The folder for the socket.
        folder: PathBuf,
        /// Who must own it.
        uid: u32,
    },
    /// Nobody wants the cluster any more.
    #[error("the start of the private database was given up")]
    GivenUp,
    /// The new cluster could not be made.
    #[error("{program} failed ({status}) while making a new database: {output}")]
    Create {
        /// What ran.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        output: String,
    },
    /// The server ended while it started.
    #[error("PostgreSQL ended while starting ({status}); the end of {log}:\n{tail}")]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// The whole log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The server runs but takes no connections.
    #[error("PostgreSQL was not ready after {seconds} s; the end of {log}:\n{tail}")]
    NotReady {
        /// How long it was given.
        seconds: u64,
        /// The whole log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// A server left over from an earlier run does not end.
    #[error(
        "a PostgreSQL server of an earlier run (process {pid}) still works in {pgdata} and does not stop: kill {pid}"
    )]
    Survivor {
        /// The cluster's folder.
        pgdata: PathBuf,
        /// A process that still works in it.
        pid: i32,
    },
    /// The server had to be killed; committed data is safe and the next start recovers it.
    #[error("PostgreSQL did not stop within {seconds} s and was killed; its next start recovers every commit")]
    Killed {
        /// How long it was given.
        seconds: u64,
    },
    /// The operating system refused something.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Adds to an I/O error what was tried and on what.
pub(super) trait Doing<T> {
    fn doing(self, doing: &'static str, path: impl Into<PathBuf>) -> Result<T, EmbeddedError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: &'static str, path: impl Into<PathBuf>) -> Result<T, EmbeddedError> {
        self.map_err(|source| EmbeddedError::Io { doing, path: path.into(), source: source.into() })
    }
}
