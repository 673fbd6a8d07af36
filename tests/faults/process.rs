//! The service as a process of its own, as operators run it; and processes to send signals to.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    family::family,
    harness::{KEY, PATIENCE, Remote},
};

/// A service in a process of its own. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) remote: Remote,
    /// Kept open: what is printed later must go somewhere.
    _stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts the service on a data folder, with a private cluster where no database is named, and
    /// waits until it listens. It gives the database so long to answer.
    pub(crate) fn start(data: &Path, database: Option<&str>, wait: Duration) -> Self {
        Self::start_on(data, database, wait, None)
    }

    /// The same with the programs of PostgreSQL in a folder.
    pub(crate) fn start_on(data: &Path, database: Option<&str>, wait: Duration, programs: Option<&Path>) -> Self {
        let log = fs::File::options().create(true).append(true).open(data.join("service.log")).expect("a log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_tessera"))
            .env("TESSERA_BIND", "127.0.0.1:0")
            .env("TESSERA_DATA", data)
            .env("TESSERA_ADMIN_KEY", KEY)
            .env("TESSERA_LOG", "info")
            .env("TESSERA_STORE__BUNDLE", data.join("none"))
            // what a machine that compiles beside it is late is not what is tested
            .env("TESSERA_HTTP__LAG_SCALE", "100")
            .env("TESSERA_STORE__START_WAIT_MS", wait.as_millis().to_string())
            .env("DATABASE_URL", database.unwrap_or_default())
            .envs(programs.map(|programs| ("TESSERA_POSTGRES_BIN", programs)))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the service");
        let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            let read = stdout.read_line(&mut line).expect("a line");
            assert!(read > 0, "the service ended: {}", fs::read_to_string(data.join("service.log")).expect("its log"));
        }
        let address = line[line.find("http://").expect("an address")..].split(' ').next().expect("an address");
        Self { child, remote: Remote::at(address.trim().to_owned()), _stdout: stdout }
    }

    /// It and all that it started.
    pub(crate) fn family(&self) -> Vec<Pid> {
        family(self.child.id().cast_signed()).into_iter().map(Pid::from_raw).collect()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Sends a signal and waits for its end.
    pub(crate) fn end(mut self, signal: Signal) -> ExitStatus {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("a signal");
        self.child.wait().expect("its end")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// The lines of what the database server of a data folder says of itself; the first is its process,
/// the fifth the folder of its socket.
pub(crate) fn postmaster(data: &Path) -> Vec<String> {
    let text = fs::read_to_string(data.join("pg/postmaster.pid")).expect("a running server");
    text.lines().map(str::to_owned).collect()
}

/// The process of the database server of a data folder.
pub(crate) fn server_of(data: &Path) -> Pid {
    Pid::from_raw(postmaster(data)[0].parse().expect("a number"))
}

/// Sends a signal to a process and all that it started.
pub(crate) fn signal_all(root: Pid, signal: Signal) {
    for pid in family(root.as_raw()) {
        // one may end before its turn comes
        let _ended = kill(Pid::from_raw(pid), signal);
    }
}

/// Waits until a process is gone.
pub(crate) fn gone(pid: Pid) {
    let began = Instant::now();
    while kill(pid, None).is_ok() && !is_zombie(pid) {
        assert!(began.elapsed() < PATIENCE, "{pid} still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_zombie(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}
