//! What an earlier run may have left: a living server, or the locks of a dead one.

use std::{
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio_util::sync::CancellationToken;

use super::{EmbeddedError, error::Doing, place::Place};

const POLITE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(40);

/// What the server last wrote about itself into `postmaster.pid`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) pid: Pid,
    pub(super) ready: bool,
}

impl Status {
    pub(super) fn read(pgdata: &Path) -> Option<Status> {
        Status::parse(&fs::read_to_string(pgdata.join("postmaster.pid")).ok()?)
    }

    /// The first line is the process, the eighth its state.
    fn parse(text: &str) -> Option<Status> {
        let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 0)?);
        Some(Status { pid, ready: text.lines().nth(7).is_some_and(|state| state.trim() == "ready") })
    }
}

/// Stops a server that outlived its parent and removes the locks of a dead one. The caller holds the
/// data folder's lock, so nobody else is starting one.
///
/// A survivor is not kept: nothing would tie it to this process, so that it could outlive this one too.
pub(super) fn clear(place: &Place, stop: &CancellationToken) -> Result<(), EmbeddedError> {
    let began = Instant::now();
    loop {
        let found = servers(&place.pgdata);
        let Some(first) = found.ours.first() else {
            // Only sure when every server process could be looked at; otherwise PostgreSQL decides.
            return if found.all_seen { remove_locks(place) } else { Ok(()) };
        };
        if stop.is_cancelled() {
            return Err(EmbeddedError::GivenUp);
        }
        if began.elapsed() > PATIENCE {
            return Err(EmbeddedError::Survivor { pgdata: place.pgdata.clone(), pid: first.as_raw() });
        }
        // Only the postmaster is told: its children follow it, and end by themselves when it is gone.
        if let Some(status) = Status::read(&place.pgdata).filter(|status| found.ours.contains(&status.pid)) {
            let signal = if began.elapsed() > POLITE { Signal::SIGQUIT } else { Signal::SIGINT };
            let _ = kill(status.pid, signal);
            let _ = kill(status.pid, Signal::SIGCONT);
        }
        sleep(Duration::from_millis(20));
    }
}

/// Removes the locks that a dead server left. PostgreSQL does so itself unless another process got the
/// dead one's number, which in a container, where numbers begin anew, is likely.
fn remove_locks(place: &Place) -> Result<(), EmbeddedError> {
    let socket_lock = place.runtime.join(".s.PGSQL.5432.lock");
    for lock in [place.pgdata.join("postmaster.pid"), socket_lock, place.socket()] {
        match fs::remove_file(&lock) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).doing("remove", lock),
            _ => {}
        }
    }
    Ok(())
}

struct Servers {
    ours: Vec<Pid>,
    all_seen: bool,
}

/// The PostgreSQL processes that work in `pgdata`: all of them have it as their working folder.
#[cfg(target_os = "linux")]
fn servers(pgdata: &Path) -> Servers {
    let mut servers = Servers { ours: Vec::new(), all_seen: true };
    let named = Status::read(pgdata).map(|status| status.pid);
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw) else {
            continue;
        };
        if fs::read_to_string(process.path().join("comm")).is_ok_and(|name| name.trim_end() == "postgres") {
            match fs::read_link(process.path().join("cwd")) {
                Ok(folder) if folder == pgdata => servers.ours.push(pid),
                // Root without CAP_SYS_PTRACE, as in a container, may not look: then the lock's word counts.
                Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                    servers.all_seen = false;
                    if named == Some(pid) {
                        servers.ours.push(pid);
                    }
                }
                _ => {}
            }
        }
    }
    servers
}

#[cfg(not(target_os = "linux"))]
fn servers(pgdata: &Path) -> Servers {
    let alive = Status::read(pgdata).map(|status| status.pid).filter(|pid| kill(*pid, None).is_ok());
    Servers { ours: alive.into_iter().collect(), all_seen: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_recovers_is_not_ready() {
        let file = |state: &str| format!("42\n/data/pg\n1700000000\n5432\n/tmp/x\n\n  12345  7\n{state}\n");
        let pid = Pid::from_raw(42);
        assert_eq!(Status::parse(&file("ready   ")), Some(Status { pid, ready: true }));
        assert_eq!(Status::parse(&file("starting")), Some(Status { pid, ready: false }));
        assert_eq!(Status::parse("42\n/data/pg\n"), Some(Status { pid, ready: false }));
        assert_eq!(Status::parse("-42\n"), None);
        assert_eq!(Status::parse(""), None);
    }
}
