//! The process that becomes PostgreSQL.
//!
//! Between `fork` and `exec` only unsafe code can act, so Tessera starts *itself* with a hidden
//! subcommand instead: a whole process in which safe code gives up root, asks the kernel to end the
//! server with its parent, and then turns into the server. Giving up root here rather than before
//! means that the unprivileged user need not be able to reach Tessera's own binary.

use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
};

use nix::{
    sys::stat::{Mode, umask},
    unistd::{Gid, Uid, getppid, setgid, setgroups, setuid},
};
use thiserror::Error;

use super::place::Account;

/// The name of the hidden subcommand under which the binary must call [`run`].
pub const SUBCOMMAND: &str = "__postgres-guard";

/// Why the guard did not become PostgreSQL.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GuardError {
    /// Not called by the launcher.
    #[error("usage: PARENT UID GID PROGRAM [ARGUMENT...]")]
    Usage,
    /// The parent was gone before the guard could tie itself to it.
    #[error("the parent process is gone")]
    Orphaned,
    /// The operating system refused.
    #[error("cannot {0}: {1}")]
    Refused(&'static str, #[source] io::Error),
}

/// A command that runs `program` as `account` through the guard binary, tied to the calling *thread*:
/// the kernel interrupts the program when that thread ends.
///
/// The environment is emptied: `PG*` and `LD_*` variables would change what runs, and secrets of
/// Tessera's environment have no business in the server's.
pub(super) fn command(guard: &Path, account: Account, program: &Path) -> Command {
    let mut command = Command::new(guard);
    command
        .args([SUBCOMMAND, &std::process::id().to_string()])
        .args([account.uid.to_string(), account.gid.to_string()])
        .arg(program)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        // A Ctrl-C in the terminal must reach Tessera alone, which drains before it stops the server.
        .process_group(0);
    command
}

/// Becomes the program named by `args`; returns only when that fails.
///
/// # Errors
/// [`GuardError`] when the arguments are not the launcher's, when the parent is gone already, or when
/// the operating system refuses a step.
pub fn run(args: &[OsString]) -> Result<Infallible, GuardError> {
    let [parent, uid, gid, program, rest @ ..] = args else { return Err(GuardError::Usage) };
    let (parent, uid, gid) = (number(parent)?, number(uid)?, number(gid)?);
    if Uid::effective().is_root() {
        drop_root(Uid::from_raw(uid), Gid::from_raw(gid)).map_err(|e| GuardError::Refused("give up root", e.into()))?;
    }
    // After giving up root: the kernel forgets the wish when the credentials change.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGINT)
        .map_err(|e| GuardError::Refused("ask to end with the parent", e.into()))?;
    // The parent may have ended before the wish was made.
    if getppid().as_raw() as u32 != parent {
        return Err(GuardError::Orphaned);
    }
    umask(Mode::from_bits_truncate(0o077));
    Err(GuardError::Refused("run PostgreSQL", Command::new(program).args(rest).exec()))
}

fn number(arg: &OsStr) -> Result<u32, GuardError> {
    arg.to_str().and_then(|text| text.parse().ok()).ok_or(GuardError::Usage)
}

fn drop_root(uid: Uid, gid: Gid) -> nix::Result<()> {
    #[cfg(not(target_vendor = "apple"))]
    setgroups(&[])?;
    setgid(gid)?;
    setuid(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(list: &[&str]) -> Vec<OsString> {
        list.iter().map(Into::into).collect()
    }

    #[test]
    fn arguments_of_anyone_else_are_refused() {
        for bad in [&[][..], &["1", "2", "3"], &["x", "2", "3", "postgres"], &["1", "-2", "3", "postgres"]] {
            assert!(matches!(run(&args(bad)), Err(GuardError::Usage)), "{bad:?}");
        }
    }
}
