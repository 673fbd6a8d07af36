//! The last catalogue on disk, so that a start without the store still decides.
//!
//! One file per account: its documents on the first line, what changed since on one line each, and
//! all of it on one line again once more has changed than there was.
//! The files are a cache of the store: a torn last line is left out, and a write that fails is
//! logged, because serving goes on without it. What it should have written is missing from then on, so
//! nothing more is added to the file until all of it is written anew.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write as _},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::{
    domain::catalog::snapshot::Changed,
    ports::{AccountRow, ApiKeyRow, SigningKeyRow},
};

/// Accounts, API keys and secrets.
pub type Access = (Vec<AccountRow>, Vec<ApiKeyRow>, Vec<SigningKeyRow>);

/// The folder of the files, for one process to write in.
#[derive(Debug, Clone)]
pub struct Disk {
    folder: Option<PathBuf>,
    files: Arc<Mutex<HashMap<u32, File>>>,
}

/// What is known of an account's file.
#[derive(Debug, Clone, Copy, Default)]
struct File {
    /// How many documents its first line holds.
    held: usize,
    /// How many changed since.
    since: usize,
    /// Whether something is missing from it.
    broken: bool,
}

/// One line of an account's file.
#[derive(Debug, Serialize, Deserialize)]
struct Entry<D> {
    version: i64,
    documents: D,
}

impl Disk {
    /// Changes that may stand beside a small catalogue.
    const SLACK: usize = 1_000;

    /// Files in `folder`, which is made when the first one is written. Without one nothing is kept and
    /// nothing is there.
    #[must_use]
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, files: Arc::default() }
    }

    /// Writes an account's documents anew.
    pub async fn replace(&self, account: u32, version: i64, documents: &[Changed]) {
        let written = self.write(format!("account-{account}.jsonl"), &Entry { version, documents }, false).await;
        let held = documents.len();
        self.note(account, |file| *file = if written { File { held, ..File::default() } } else { file.broken() });
    }

    /// Adds what changed to an account's file. False where the file lacks something older, and so is to be
    /// written anew.
    #[must_use]
    pub async fn append(&self, account: u32, version: i64, documents: &[Changed]) -> bool {
        if self.note(account, |_| ()).broken {
            return false;
        }
        let written = self.write(format!("account-{account}.jsonl"), &Entry { version, documents }, true).await;
        let file = self.note(account, |file| {
            file.since += documents.len();
            file.broken = !written;
        });
        if written && file.since > file.held + Self::SLACK {
            let (entries, whole) = self.entries(account).await;
            if !whole {
                self.note(account, |file| file.broken = true);
                return false;
            }
            let mut all = BTreeMap::new();
            for (key, body) in entries.into_iter().flat_map(|(_, documents)| documents) {
                all.insert(key, body);
            }
            let documents: Vec<Changed> = all.into_iter().filter(|(_, body)| body.is_some()).collect();
            self.replace(account, version, &documents).await;
        }
        true
    }

    fn note(&self, account: u32, change: impl FnOnce(&mut File)) -> File {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let of_account = files.entry(account).or_default();
        change(of_account);
        *of_account
    }

    /// Writes accounts, keys and secrets.
    pub async fn access(&self, accounts: &[AccountRow], keys: &[ApiKeyRow], secrets: &[SigningKeyRow]) {
        self.write("access.json".into(), &(accounts, keys, secrets), false).await;
    }

    /// Accounts, keys and secrets as last written.
    pub async fn read_access(&self) -> Option<Access> {
        let bytes = tokio::fs::read(self.folder.as_ref()?.join("access.json")).await.ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// An account's documents and what changed since, oldest first.
    pub async fn read(&self, account: u32) -> Vec<(i64, Vec<Changed>)> {
        self.entries(account).await.0
    }

    /// The same, and whether that is all of the file.
    async fn entries(&self, account: u32) -> (Vec<(i64, Vec<Changed>)>, bool) {
        let Some(folder) = &self.folder else { return (Vec::new(), true) };
        let bytes = tokio::fs::read(folder.join(format!("account-{account}.jsonl"))).await.unwrap_or_default();
        let mut entries = Vec::new();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Ok(Entry { version, documents }) = serde_json::from_slice(line) else { return (entries, false) };
            entries.push((version, documents));
        }
        (entries, true)
    }

    /// Whether it was written.
    async fn write<T: Serialize>(&self, name: String, content: &T, append: bool) -> bool {
        let Some(folder) = &self.folder else { return true };
        let path = folder.join(&name);
        let line = serde_json::to_vec(content);
        let work = move || -> io::Result<()> {
            let mut line = line?;
            line.push(b'\n');
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            if append {
                return private(&path, true)?.write_all(&line);
            }
            let fresh = path.with_extension("new");
            private(&fresh, false)?.write_all(&line)?;
            std::fs::rename(fresh, path)
        };
        let result = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = &result {
            tracing::warn!(%error, file = name, "the catalogue could not be written to disk");
        }
        result.is_ok()
    }
}

impl File {
    fn broken(self) -> Self {
        Self { broken: true, ..self }
    }
}

/// Opens a file that only its owner may read: it holds secrets.
fn private(path: &std::path::Path, append: bool) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().create(true).write(true).append(append).truncate(!append).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::catalog::key::{DocumentKey, Kind};

    #[tokio::test]
    async fn a_file_grows_no_further_than_its_catalogue() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::new(Some(folder.path().to_owned()));
        let key = |n: i64| DocumentKey::new(Kind::Campaign, format!("c-{n}"));
        disk.replace(1, 0, &[(key(0), Some(json!(0))), (key(1), Some(json!(0)))]).await;
        for version in 1..=1_010 {
            assert!(disk.append(1, version, &[(key(0), (version != 1_005).then(|| json!(version)))]).await);
        }
        let kept = disk.read(1).await;
        assert!(kept.len() < 20, "{} lines", kept.len());
        let mut now: BTreeMap<_, _> = kept.into_iter().flat_map(|(_, documents)| documents).collect();
        assert_eq!((now.remove(&key(0)), now.remove(&key(1))), (Some(Some(json!(1_010))), Some(Some(json!(0)))));
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_missing_until_all_is_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::new(Some(folder.path().to_owned()));
        let key = |n: i64| DocumentKey::new(Kind::Campaign, format!("c-{n}"));
        let change = |n: i64| [(key(n), Some(json!(n)))];
        disk.replace(1, 1, &change(1)).await;
        // no disk to write on
        let (file, aside) = (folder.path().join("account-1.jsonl"), folder.path().join("aside"));
        std::fs::rename(&file, &aside).expect("aside");
        std::fs::create_dir(&file).expect("a folder in its place");
        assert!(disk.append(1, 2, &change(2)).await, "it was whole until now");
        assert!(!disk.append(1, 3, &change(3)).await);
        disk.replace(1, 3, &change(3)).await;
        assert!(!disk.append(1, 4, &change(4)).await, "nor could that be written");
        std::fs::remove_dir(&file).expect("gone");
        std::fs::rename(&aside, &file).expect("back");
        assert!(!disk.append(1, 4, &change(4)).await);
        assert_eq!(disk.read(1).await, [(1, change(1).to_vec())], "old, and nothing is left out of it");
        disk.replace(1, 4, &change(4)).await;
        assert!(disk.append(1, 5, &change(5)).await);
        assert_eq!(disk.read(1).await, [(4, change(4).to_vec()), (5, change(5).to_vec())]);
    }

    #[tokio::test]
    async fn a_spoilt_file_is_never_made_one_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::new(Some(folder.path().to_owned()));
        let key = |n: i64| DocumentKey::new(Kind::Campaign, format!("c-{n}"));
        disk.replace(1, 0, &[(key(0), Some(json!(0)))]).await;
        let file = folder.path().join("account-1.jsonl");
        let spoilt = [std::fs::read(&file).expect("the file"), b"{\"version\":1,\"docu".to_vec()].concat();
        std::fs::write(&file, spoilt).expect("half a line");
        let mut whole = true;
        for version in 2..=1_010 {
            whole = disk.append(1, version, &[(key(version), Some(json!(version)))]).await;
        }
        assert!(!whole, "somebody must write it anew");
        assert_eq!(disk.read(1).await, [(0, vec![(key(0), Some(json!(0)))])], "and not what is left of it");
    }

    #[tokio::test]
    async fn a_torn_last_line_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::new(Some(folder.path().join("catalogue")));
        let key = DocumentKey::new(Kind::Campaign, "c");
        disk.replace(3, 1, &[(key.clone(), Some(json!({"a": 1})))]).await;
        assert!(disk.append(3, 2, &[(key.clone(), None)]).await);
        let file = folder.path().join("catalogue/account-3.jsonl");
        let whole = std::fs::read(&file).expect("the file");
        let both = disk.read(3).await;
        assert_eq!(both, [(1, vec![(key.clone(), Some(json!({"a": 1})))]), (2, vec![(key, None)])]);
        let first = whole.iter().position(|byte| *byte == b'\n').expect("two lines") + 1;
        for cut in first..whole.len() - 1 {
            std::fs::write(&file, &whole[..cut]).expect("a torn file");
            assert_eq!(disk.read(3).await, both[..1], "cut at {cut}");
        }
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
    }
}
