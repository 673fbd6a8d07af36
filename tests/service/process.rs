//! The service as a process of its own, to be killed without a word.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use tempfile::TempDir;

use crate::harness::{KEY, Remote, folder};

/// A service that lets requests say when they happen. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) remote: Remote,
    _data: TempDir,
    /// Kept open: what is printed later must go somewhere.
    _stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts one on a database and waits until it listens; it has all the time it wants.
    pub(crate) fn simulating(database: &str) -> Self {
        let data = folder();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tessera"))
            .arg("--simulation")
            .env("DATABASE_URL", database)
            .env("TESSERA_BIND", "127.0.0.1:0")
            .env("TESSERA_DATA", data.path())
            .env("TESSERA_ADMIN_KEY", KEY)
            .env("TESSERA_STORE__BUNDLE", data.path().join("none"))
            .env("TESSERA_STORE__BEACON_WAIT_MS", "20000")
            .env("TESSERA_HTTP__LAG_SCALE", "100")
            .env("TESSERA_DECISIONS__BUDGET_MS", "5000")
            .env("TESSERA_USERS__LOAD_WAIT_MS", "5000")
            .env("TESSERA_DECISIONS__RECORD_SHARE", "0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the service");
        let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            assert!(stdout.read_line(&mut line).expect("a line") > 0, "the service ended");
        }
        let address = line[line.find("http://").expect("an address")..].split(' ').next().expect("an address");
        let remote = Remote::at(address.trim().to_owned());
        Self { child, remote, _data: data, _stdout: stdout }
    }

    /// Ends it in the middle of whatever it does (SIGKILL).
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
