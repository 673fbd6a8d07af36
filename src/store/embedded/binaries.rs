//! Where PostgreSQL's server programs are.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{EmbeddedError, place::Account};

/// The oldest major version whose SQL Tessera uses.
const OLDEST: u32 = 15;

/// Folders whose entries hold one version of PostgreSQL each: Debian's, Red Hat's and Homebrew's.
const FAMILIES: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql"),
    ("/usr/local/opt", "postgresql"),
];

/// The folders to look for PostgreSQL in: those of `path` (the value of `PATH`), then the one that
/// `scripts/start` installs into under `home`, where there is one.
pub fn search_folders(path: Option<&OsStr>, home: Option<&Path>) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    folders.extend(home.map(|home| home.join(".local/share/tessera/postgres/bin")));
    folders.push("/usr/local/lib/tessera/postgres/bin".into());
    folders
}

/// One folder of server programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    folder: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn of(folder: PathBuf) -> Option<Binaries> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
        Some(Binaries { major: major(str::from_utf8(&output.stdout).ok()?)?, folder })
    }
}

/// The binaries for a cluster of major version `wanted`, or the first good ones for a new cluster.
pub(super) fn find(
    named: Option<&Path>,
    search: &[PathBuf],
    account: Account,
    wanted: Option<(&Path, &str)>,
) -> Result<Binaries, EmbeddedError> {
    let folders = match named {
        Some(folder) => vec![folder.to_owned()],
        None => search.iter().cloned().chain(FAMILIES.iter().flat_map(|(root, name)| family(root, name))).collect(),
    };
    let reachable = |folder: &PathBuf| folder.canonicalize().is_ok_and(|real| account.shut_out_of(&real).is_none());
    let found: Vec<Binaries> = folders.iter().filter(|f| reachable(f)).cloned().filter_map(Binaries::of).collect();
    let list = |majors: Vec<u32>| majors.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let usable: Vec<&Binaries> = found.iter().filter(|binaries| binaries.major >= OLDEST).collect();
    let Some(first) = usable.first() else {
        let searched = folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ");
        let majors: Vec<u32> = found.iter().map(|binaries| binaries.major).collect();
        let too_old = if majors.is_empty() { String::new() } else { format!(" (only PostgreSQL {})", list(majors)) };
        return Err(EmbeddedError::NoBinaries { oldest: OLDEST, searched, too_old });
    };
    let Some((pgdata, wanted)) = wanted else { return Ok((*first).clone()) };
    usable.iter().find(|binaries| binaries.major.to_string() == wanted).map(|binaries| (*binaries).clone()).ok_or_else(
        || {
            let mut majors: Vec<u32> = usable.iter().map(|binaries| binaries.major).collect();
            majors.dedup();
            EmbeddedError::OtherMajor { pgdata: pgdata.into(), data: wanted.into(), installed: list(majors) }
        },
    )
}

/// The `bin` folders of one family, the newest version first.
fn family(root: &str, name: &str) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let file_name = entry.file_name();
            let version = file_name.to_str()?.strip_prefix(name)?;
            let digits: String = version.chars().filter(char::is_ascii_digit).collect();
            Some((digits.parse().unwrap_or(0), entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

/// The major version in what `postgres --version` prints.
fn major(version: &str) -> Option<u32> {
    let number = version.strip_prefix("postgres (PostgreSQL) ")?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_is_read_from_releases_and_betas_alike() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 19beta2\n"), Some(19));
        assert_eq!(major("mysqld 8\n"), None);
    }

    #[test]
    fn nothing_found_names_the_folder_and_the_remedy() {
        let empty = tempfile::tempdir().expect("a folder");
        let error = find(Some(empty.path()), &[], Account::current(), None).expect_err("nothing is there").to_string();
        for part in [empty.path().to_str().expect("text"), "scripts/start", "DATABASE_URL", "TESSERA_POSTGRES_BIN"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_version_too_old_to_use_is_named() {
        let folder = fake(13);
        let error = find(Some(folder.path()), &[], Account::current(), None).expect_err("13 is too old");
        assert!(error.to_string().contains("only PostgreSQL 13"), "{error}");
    }

    #[test]
    fn an_existing_cluster_gets_its_own_version_even_when_it_comes_later() {
        let (newer, older) = (fake(18), fake(17));
        let search = [newer.path().to_owned(), older.path().to_owned()];
        let wanted = Some((Path::new("/data/pg"), "17"));
        let found = find(None, &search, Account::current(), wanted).expect("17 is there");
        assert_eq!(found.major, 17);
        assert_eq!(find(None, &search, Account::current(), None).expect("the first").major, 18);
    }

    /// Written by another process: a program that this one still has open for writing, even for the
    /// moment of a fork in another test, cannot be run.
    fn fake(major: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {major}.1'\n");
        let write = r#"for name in postgres initdb; do printf %s "$1" > "$0/$name" && chmod 755 "$0/$name"; done"#;
        let made = Command::new("sh").args(["-c", write]).arg(folder.path()).arg(script).status().expect("a shell");
        assert!(made.success());
        folder
    }
}
