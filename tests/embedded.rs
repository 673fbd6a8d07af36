//! The private PostgreSQL cluster, with real servers, real kills and real users.
#![expect(clippy::disallowed_methods, reason = "tests have settings and clocks of their own")]

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Lines, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid, User},
};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tessera::store::embedded::{EmbeddedError, Options, PrivateCluster, search_folders};

const GUARD: &str = env!("CARGO_BIN_EXE_tessera");

/// A user that no machine knows.
const NAMELESS: u32 = 41_873;

/// A folder that everybody may enter, as a data folder's parent usually is.
fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a mode");
    folder
}

fn options(data_dir: &Path) -> Options {
    let (path, home) = (std::env::var_os("PATH"), std::env::var_os("HOME").map(PathBuf::from));
    let search = search_folders(path.as_deref(), home.as_deref());
    Options { data_dir: data_dir.into(), guard: GUARD.into(), binaries: None, search }
}

fn start(data_dir: &Path) -> PrivateCluster {
    PrivateCluster::start(options(data_dir)).expect("the cluster starts")
}

/// Runs one statement that answers with one text, the way the product connects.
fn ask(url: &str, sql: &'static str) -> Result<String, sqlx::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::query_scalar(sql).fetch_one(&mut connection).await
    })
}

fn remember(url: &str) {
    ask(url, "create table kept as select 'here' as what").err();
    assert_eq!(ask(url, "select what from kept").expect("the row"), "here");
}

fn remembers(url: &str) {
    assert_eq!(ask(url, "select what from kept").expect("the row"), "here");
}

fn postmaster(data_dir: &Path) -> Pid {
    starting(data_dir).expect("a running server")
}

/// The same of one that may only just be writing what it is.
fn starting(data_dir: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data_dir.join("pg/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok().map(Pid::from_raw)
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn gone(pid: Pid) -> bool {
    // A zombie is gone: it waits for a parent that may never look.
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')),
        Err(_) => kill(pid, None).is_err(),
    }
}

/// Another process with a cluster: this test program again, running [`as_a_process`] alone.
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Kept open: the process still has to report its test's result.
    _stdout: Lines<BufReader<ChildStdout>>,
    url: String,
    joined: bool,
}

impl Process {
    fn spawn(data_dir: &Path) -> Child {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        Process::run(command.env("TESSERA_TEST_GUARD", GUARD), data_dir)
    }

    fn run(command: &mut Command, data_dir: &Path) -> Child {
        command
            .args(["--exact", "as_a_process", "--ignored", "--nocapture"])
            .env("TESSERA_TEST_DATA", data_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process")
    }

    fn ready(mut child: Child) -> Process {
        let stdin = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("cluster ")).expect("its report");
        let words: Vec<&str> = line.split(' ').collect();
        Process { child, stdin, joined: words[1] == "joined", url: words[2].into(), _stdout: lines }
    }

    fn stop(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().expect("it ends").success());
    }
}

#[test]
#[ignore = "the other tests run it as a process of its own"]
fn as_a_process() {
    let data_dir = PathBuf::from(std::env::var_os("TESSERA_TEST_DATA").expect("set by the other tests"));
    let guard = PathBuf::from(std::env::var_os("TESSERA_TEST_GUARD").expect("set by the other tests"));
    let cluster = PrivateCluster::start(Options { guard, ..options(&data_dir) }).expect("the cluster starts");
    println!("\ncluster {} {}", if cluster.is_joined() { "joined" } else { "runs" }, cluster.url());
    std::io::stdout().flush().expect("told");
    std::io::stdin().read_line(&mut String::new()).expect("the end of the input");
    cluster.stop().expect("the cluster stops");
}

#[test]
fn a_cluster_starts_stops_and_keeps_what_was_committed() {
    let folder = open_folder();
    let data = folder.path().join("data");
    // What a start that was killed while making the cluster leaves.
    fs::create_dir_all(data.join("pg.new/base")).expect("a half-made cluster");
    let cluster = start(&data);
    remember(&cluster.url());
    for (setting, value) in [("synchronous_commit", "on"), ("listen_addresses", ""), ("max_connections", "60")] {
        let sql: &'static str = Box::leak(format!("select current_setting('{setting}')").into_boxed_str());
        assert_eq!(ask(&cluster.url(), sql).expect("a setting"), value);
    }
    let server = postmaster(&data);
    cluster.stop().expect("it stops");
    assert!(gone(server));
    assert!(!data.join("pg.new").exists());

    let cluster = start(&data);
    remembers(&cluster.url());
    let server = postmaster(&data);
    drop(cluster);
    assert!(gone(server), "a dropped cluster stops too");
    assert!(fs::metadata(data.join("postgres.log")).expect("the log").len() > 0);
}

#[test]
fn a_killed_process_leaves_no_server_and_loses_no_commit() {
    let folder = open_folder();
    for _ in 0..3 {
        let mut process = Process::ready(Process::spawn(folder.path()));
        remember(&process.url);
        let server = postmaster(folder.path());
        process.child.kill().expect("killed");
        // Start at once: the old server is still on its way out.
        let cluster = start(folder.path());
        assert!(!cluster.is_joined() && gone(server), "a dying process is not joined");
        remembers(&cluster.url());
        cluster.stop().expect("it stops");
    }
    let mut process = Process::ready(Process::spawn(folder.path()));
    let server = postmaster(folder.path());
    process.child.kill().expect("killed");
    process.child.wait().expect("dead");
    if cfg!(target_os = "linux") {
        eventually("the server ends with the process that ran it", || gone(server));
    }
    // Leaves the socket's folder as clean as an orderly stop does.
    start(folder.path()).stop().expect("it stops");
}

#[test]
fn a_server_that_outlived_its_parent_is_replaced() {
    let folder = open_folder();
    let cluster = start(folder.path());
    remember(&cluster.url());
    let socket = cluster.url().split_once("host=").expect("a host").1.to_owned();
    let program = fs::read_to_string(folder.path().join("pg/postmaster.opts")).expect("how it was started");
    cluster.stop().expect("it stops");

    let owner = fs::metadata(folder.path().join("pg")).expect("the cluster");
    fs::create_dir(&socket).expect("its folder");
    fs::set_permissions(&socket, Permissions::from_mode(0o700)).expect("closed");
    chown(&socket, Some(owner.uid()), Some(owner.gid())).expect("an owner");
    let mut survivor = Command::new(program.split(' ').next().expect("a program"));
    survivor.arg("-D").arg(folder.path().join("pg")).args(["-k", &socket, "-c", "listen_addresses="]).current_dir("/");
    if Uid::effective().is_root() {
        survivor.uid(owner.uid()).gid(owner.gid());
    }
    let mut survivor = survivor.stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("a server");
    eventually("the survivor takes connections", || ask(&cluster_url(&socket), "select 'up'").is_ok());
    let reaper = std::thread::spawn(move || survivor.wait());

    let old = postmaster(folder.path());
    let cluster = start(folder.path());
    assert!(gone(old) && postmaster(folder.path()) != old);
    remembers(&cluster.url());
    assert!(reaper.join().expect("no panic").expect("it ended").success(), "the survivor was shut down in order");
}

fn cluster_url(socket: &str) -> String {
    format!("postgres://tessera@localhost/tessera?host={socket}")
}

#[test]
fn processes_on_one_folder_share_one_server() {
    let folder = open_folder();
    let children: Vec<Child> = (0..3).map(|_| Process::spawn(folder.path())).collect();
    let (joined, owner): (Vec<Process>, Vec<Process>) =
        children.into_iter().map(Process::ready).partition(|p| p.joined);
    assert_eq!((joined.len(), owner.len()), (2, 1), "one runs it, the others join");
    remember(&owner[0].url);
    for process in joined {
        remembers(&process.url);
        process.stop();
    }
    remembers(&owner[0].url);
    owner.into_iter().for_each(Process::stop);
}

#[test]
fn a_server_that_dies_is_started_again() {
    let folder = open_folder();
    let cluster = start(folder.path());
    remember(&cluster.url());
    let server = postmaster(folder.path());
    kill(server, Signal::SIGKILL).expect("killed");
    eventually("another server", || {
        starting(folder.path()).is_some_and(|another| another != server)
            && ask(&cluster.url(), "select what from kept").is_ok_and(|what| what == "here")
    });
    cluster.stop().expect("it stops");
}

#[test]
fn a_frozen_server_is_stopped_all_the_same() {
    let folder = open_folder();
    let cluster = start(folder.path());
    let server = postmaster(folder.path());
    kill(server, Signal::SIGSTOP).expect("frozen");
    cluster.stop().expect("it stops");
    assert!(gone(server));
}

#[test]
fn the_lock_of_a_dead_server_does_not_block_when_its_number_is_in_use_again() {
    let folder = open_folder();
    start(folder.path()).stop().expect("it stops");
    let owner = fs::metadata(folder.path().join("pg")).expect("the cluster");
    let mut sleeper = Command::new("sleep");
    if Uid::effective().is_root() {
        sleeper.uid(owner.uid()).gid(owner.gid());
    }
    let mut sleeper = sleeper.arg("60").spawn().expect("a process");
    let lock = folder.path().join("pg/postmaster.pid");
    fs::write(&lock, format!("{}\n/elsewhere\n1700000000\n5432\n/tmp\n\n0 0\nready   \n", sleeper.id()))
        .expect("a lock");
    chown(&lock, Some(owner.uid()), Some(owner.gid())).expect("an owner");
    let started = PrivateCluster::start(options(folder.path()));
    sleeper.kill().expect("the stranger was left alone");
    sleeper.wait().expect("dead");
    started.expect("the cluster starts").stop().expect("it stops");
}

#[test]
fn data_of_another_major_version_is_refused_and_left_alone() {
    let folder = open_folder();
    start(folder.path()).stop().expect("it stops");
    let version = folder.path().join("pg/PG_VERSION");
    let installed = fs::read_to_string(&version).expect("a version").trim().to_owned();
    fs::write(&version, "12\n").expect("written");
    let error = PrivateCluster::start(options(folder.path())).expect_err("data of another major");
    assert!(matches!(error, EmbeddedError::OtherMajor { .. }), "{error}");
    for part in ["PostgreSQL 12", &installed, "pg_upgrade"] {
        assert!(error.to_string().contains(part), "{part} is missing: {error}");
    }
    fs::write(&version, format!("{installed}\n")).expect("written");
    start(folder.path()).stop().expect("untouched data still works");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let folder = open_folder();
    start(folder.path()).stop().expect("it stops");
    fs::write(folder.path().join("pg/global/pg_control"), "rubbish").expect("written");
    let error = PrivateCluster::start(options(folder.path())).expect_err("a broken cluster");
    assert!(matches!(error, EmbeddedError::Exited { .. }), "{error}");
    assert!(error.to_string().contains("pg_control"), "the log is quoted: {error}");
}

#[test]
fn a_long_path_is_no_obstacle() {
    let folder = open_folder();
    let data = folder.path().join("a folder with a long name/".repeat(12));
    let cluster = start(&data);
    remember(&cluster.url());
    cluster.stop().expect("it stops");
}

#[test]
fn an_ordinary_user_runs_it() {
    let folder = open_folder();
    let data = folder.path().join("data");
    if !Uid::effective().is_root() {
        let cluster = start(&data);
        remember(&cluster.url());
        return cluster.stop().expect("it stops");
    }
    // The build's folder may be closed to that user: it gets copies.
    let (program, guard) = (folder.path().join("program"), folder.path().join("guard"));
    fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy");
    fs::copy(GUARD, &guard).expect("a copy");
    fs::create_dir(&data).expect("a folder");
    // Not the user that root would choose.
    let user = User::from_name("nobody").expect("a list of users").expect("an ordinary user");
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    chown(&data, Some(uid), Some(gid)).expect("an owner");
    let mut command = Command::new(&program);
    let child = Process::run(command.uid(uid).gid(gid).current_dir("/").env("TESSERA_TEST_GUARD", &guard), &data);
    let process = Process::ready(child);
    assert_eq!(fs::metadata(data.join("pg")).expect("the cluster").uid(), uid);
    remember(&process.url);
    process.stop();
    // Root on the same folder keeps to its owner, so that the owner can go on afterwards.
    let cluster = start(&data);
    remembers(&cluster.url());
    cluster.stop().expect("it stops");
    assert_eq!(fs::metadata(data.join("pg/postgresql.conf")).expect("a file").uid(), uid);
}

#[test]
fn a_user_without_a_name_is_told_so() {
    if !Uid::effective().is_root() {
        eprintln!("NOT RUN: only root can act as another user");
        return;
    }
    let folder = open_folder();
    chown(folder.path(), Some(NAMELESS), Some(NAMELESS)).expect("an owner");
    let error = PrivateCluster::start(options(folder.path())).expect_err("initdb needs a name");
    assert!(matches!(error, EmbeddedError::Nameless { uid: NAMELESS }), "{error}");
}

#[test]
fn root_with_a_closed_home_gets_a_cluster_elsewhere() {
    if !Uid::effective().is_root() {
        eprintln!("NOT RUN: only root gives up root");
        return;
    }
    let home = open_folder();
    fs::set_permissions(home.path(), Permissions::from_mode(0o700)).expect("closed");
    let data = home.path().join("data");
    let cluster = start(&data);
    remember(&cluster.url());
    cluster.stop().expect("it stops");
    let real = data.join("pg").canonicalize().expect("a link");
    assert!(!real.starts_with(home.path()), "{}", real.display());
    let cluster = start(&data);
    remembers(&cluster.url());
    cluster.stop().expect("it stops");

    // A cluster that is itself behind the closed door is refused with the remedy.
    fs::remove_file(data.join("pg")).expect("the link");
    let moved = Command::new("mv").arg(&real).arg(data.join("pg")).status().expect("mv");
    assert!(moved.success());
    fs::remove_dir(real.parent().expect("its folder")).expect("empty");
    let error = PrivateCluster::start(options(&data)).expect_err("behind a closed door");
    assert!(matches!(error, EmbeddedError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("TESSERA_DATA"), "{error}");
}

#[test]
fn a_cluster_of_another_user_is_not_touched() {
    if !Uid::effective().is_root() {
        eprintln!("NOT RUN: only root can make another user's files");
        return;
    }
    let folder = open_folder();
    let pg = folder.path().join("pg");
    fs::create_dir(&pg).expect("a folder");
    fs::write(pg.join("PG_VERSION"), "15\n").expect("a version");
    let error = PrivateCluster::start(options(folder.path())).expect_err("root's own files");
    assert!(matches!(error, EmbeddedError::ForeignOwner { owner: 0, .. }), "{error}");
}
