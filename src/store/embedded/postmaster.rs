//! Making, starting, watching and stopping the server.

use std::{
    fs,
    io::Write,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User},
};
use tokio_util::sync::CancellationToken;

use super::{
    EmbeddedError, START_LIMIT, binaries::Binaries, error::Doing, guard, is_ready, leftovers, log_tail, place::Place,
};

/// What the server is told on its command line, so that no edited file can weaken what Tessera promises.
const SETTINGS: [&str; 17] = [
    // Reached through the socket only.
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    "max_connections=60",
    "shared_buffers=64MB",
    // Containers have little /dev/shm, and logind removes shared memory of users who log out.
    "dynamic_shared_memory_type=mmap",
    // What is said to be recorded survives a power failure.
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "max_wal_size=512MB",
    "checkpoint_timeout=15min",
    // Statements are small and frequent: compiling them costs more than it saves.
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    // No statement and no row in the log: they hold personal data.
    "log_min_error_statement=panic",
    "log_error_verbosity=terse",
    "log_statement=none",
];

/// How often a server that ends while starting is tried.
const ATTEMPTS: u32 = 3;
/// The log is set aside at a start past this size; one older log is kept.
const LOG_LIMIT: u64 = 16 << 20;
/// Between looks whether the server still lives.
const WATCH: Duration = Duration::from_secs(1);
const FAST: Duration = Duration::from_secs(20);
const IMMEDIATE: Duration = Duration::from_secs(10);

/// The programs that run the cluster.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) guard: PathBuf,
    pub(super) binaries: Binaries,
    /// Cancelled when a start is to be given up.
    pub(super) stop: CancellationToken,
}

impl Programs {
    /// Makes a cluster with the database `tessera`: whole, or not at all.
    pub(super) fn create(&self, place: &mut Place) -> Result<(), EmbeddedError> {
        let uid = place.account.uid;
        if User::from_uid(uid).ok().flatten().is_none() {
            return Err(EmbeddedError::Nameless { uid: uid.as_raw() });
        }
        let nursery = place.nursery()?;
        let mut initdb = self.command(place, "initdb");
        initdb.args(["--username=tessera", "--auth=trust", "--encoding=UTF8", "--locale=C", "--data-checksums", "-D"]);
        run("initdb", initdb.arg(&nursery), "")?;
        // The server's single-user mode needs no socket, no waiting and no connection.
        let mut single = self.command(place, "postgres");
        single.args(["--single", "-c", "exit_on_error=on", "-D"]).arg(&nursery).arg("postgres");
        run("postgres", &mut single, "create database tessera\n")?;
        place.settle(&nursery)
    }

    fn command(&self, place: &Place, program: &str) -> Command {
        guard::command(&self.guard, place.account, &self.binaries.program(program))
    }

    /// Starts the server; it may still be recovering when this returns.
    fn spawn(&self, place: &Place) -> Result<Child, EmbeddedError> {
        leftovers::clear(place, &self.stop)?;
        let path = place.log();
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_LIMIT) {
            fs::rename(&path, path.with_extension("log.1")).doing("rename", &path)?;
        }
        let log = fs::File::options().create(true).append(true).open(&path).doing("open", &path)?;
        let mut command = self.command(place, "postgres");
        command.arg("-D").arg(&place.pgdata).arg("-k").arg(&place.runtime);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().doing("run", &self.guard)
    }

    /// Starts the server until it is ready, again if it ends early: a lock or a socket of a server that was
    /// just ending may have been in its way.
    fn launch(&self, place: &Place) -> Result<Child, EmbeddedError> {
        let mut attempt = 1;
        loop {
            let mut child = self.spawn(place)?;
            match self.await_ready(&mut child, place) {
                Ok(()) => return Ok(child),
                Err(EmbeddedError::Exited { .. }) if attempt < ATTEMPTS => sleep(Duration::from_millis(200) * attempt),
                Err(error) => {
                    let _ = end(&mut child);
                    return Err(error);
                }
            }
            attempt += 1;
        }
    }

    fn await_ready(&self, child: &mut Child, place: &Place) -> Result<(), EmbeddedError> {
        let began = Instant::now();
        while !is_ready(place, Some(child.id())) {
            if self.stop.is_cancelled() {
                return Err(EmbeddedError::GivenUp);
            }
            if let Some(status) = child.try_wait().doing("watch", &place.pgdata)? {
                return Err(EmbeddedError::Exited { status, log: place.log(), tail: log_tail(place) });
            }
            if began.elapsed() > START_LIMIT {
                let seconds = START_LIMIT.as_secs();
                return Err(EmbeddedError::NotReady { seconds, log: place.log(), tail: log_tail(place) });
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Runs a program of the cluster to its end.
fn run(program: &'static str, command: &mut Command, input: &str) -> Result<(), EmbeddedError> {
    let done = (|| {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ended early tells why in its output.
            let _ = stdin.write_all(input.as_bytes());
        }
        child.wait_with_output()
    })()
    .doing("run", command.get_program())?;
    if done.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).trim().to_owned();
    Err(EmbeddedError::Create { program, status: done.status, output })
}

/// The running server, and the thread that started it: the kernel ends the server with that *thread*, so
/// it lives as long as the cluster. It also starts a server again that ends unasked.
#[derive(Debug)]
pub(super) struct Postmaster {
    /// Dropping this asks the thread to stop the server.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<(), EmbeddedError>>>,
}

impl Postmaster {
    pub(super) fn start(programs: Programs, place: Place) -> Result<Postmaster, EmbeddedError> {
        let (running, stop) = channel();
        let (report, started) = channel();
        let data_dir = place.data_dir.clone();
        let thread = thread::Builder::new()
            .name("postgres".into())
            .spawn(move || {
                let ended = programs.launch(&place).and_then(|child| {
                    let _ = report.send(());
                    keep(&programs, &place, child, &stop)
                });
                // Empty unless something else was put there.
                let _ = fs::remove_dir(&place.runtime);
                ended
            })
            .doing("start a thread for", data_dir)?;
        let mut postmaster = Postmaster { running: Some(running), thread: Some(thread) };
        match started.recv() {
            Ok(()) => Ok(postmaster),
            Err(_) => postmaster.join().map(|()| postmaster),
        }
    }

    pub(super) fn stop(mut self) -> Result<(), EmbeddedError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), EmbeddedError> {
        drop(self.running.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            tracing::error!(%error, "stopping the private database");
        }
    }
}

/// Watches the server until it shall stop, and stops it.
fn keep(programs: &Programs, place: &Place, mut child: Child, stop: &Receiver<()>) -> Result<(), EmbeddedError> {
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(WATCH) {
        if let Ok(Some(status)) = child.try_wait() {
            tracing::error!(%status, "the private database ended; starting it again");
            match programs.spawn(place) {
                Ok(again) => child = again,
                Err(error) => tracing::error!(%error, "starting the private database again"),
            }
        }
    }
    end(&mut child)
}

/// Ends the server: at first so that it closes its files in order, then at once, then by force.
fn end(child: &mut Child) -> Result<(), EmbeddedError> {
    let pid = Pid::from_raw(child.id() as i32);
    for (signal, limit) in [(Signal::SIGINT, FAST), (Signal::SIGQUIT, IMMEDIATE)] {
        if wait(child, Duration::ZERO).is_some() {
            return Ok(());
        }
        // Not reaped yet, so the number is still this child's. A stopped process hears only SIGCONT.
        let _ = kill(pid, signal);
        let _ = kill(pid, Signal::SIGCONT);
        if wait(child, limit).is_some() {
            return Ok(());
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(EmbeddedError::Killed { seconds: (FAST + IMMEDIATE).as_secs() })
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            // Someone else reaped it: it has ended, how is not known.
            Err(_) => return Some(ExitStatus::from_raw(0)),
            Ok(None) if began.elapsed() >= limit => return None,
            Ok(None) => sleep(Duration::from_millis(5)),
        }
    }
}
