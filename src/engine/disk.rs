//! The last catalogue on disk, so that a start without the store still decides.
//!
//! One file per account: its documents on the first line, what changed since on one line each, and
//! all of it on one line again once more has changed than there was.
//! The files are a cache of the store: a torn last line is left out, and a write that fails is
//! logged, because serving goes on without it.

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

/// The folder of the files.
#[derive(Debug, Clone)]
pub struct Disk {
    folder: PathBuf,
    /// Per account how many documents its first line holds, and how many changed since.
    lengths: Arc<Mutex<HashMap<u32, (usize, usize)>>>,
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

    /// Files in `folder`, which is made when the first one is written.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, lengths: Arc::default() }
    }

    /// Writes an account's documents anew.
    pub async fn replace(&self, account: u32, version: i64, documents: &[Changed]) {
        self.grown(account, |lengths| *lengths = (documents.len(), 0));
        self.write(format!("account-{account}.jsonl"), &Entry { version, documents }, false).await;
    }

    /// Adds what changed to an account's file.
    pub async fn append(&self, account: u32, version: i64, documents: &[Changed]) {
        self.write(format!("account-{account}.jsonl"), &Entry { version, documents }, true).await;
        let (held, since) = self.grown(account, |(_, since)| *since += documents.len());
        if since > held + Self::SLACK {
            let mut all = BTreeMap::new();
            for (key, body) in self.read(account).await.into_iter().flat_map(|(_, documents)| documents) {
                all.insert(key, body);
            }
            let documents: Vec<Changed> = all.into_iter().filter(|(_, body)| body.is_some()).collect();
            self.replace(account, version, &documents).await;
        }
    }

    fn grown(&self, account: u32, change: impl FnOnce(&mut (usize, usize))) -> (usize, usize) {
        let mut lengths = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        let of_account = lengths.entry(account).or_default();
        change(of_account);
        *of_account
    }

    /// Writes accounts, keys and secrets.
    pub async fn access(&self, accounts: &[AccountRow], keys: &[ApiKeyRow], secrets: &[SigningKeyRow]) {
        self.write("access.json".into(), &(accounts, keys, secrets), false).await;
    }

    /// Accounts, keys and secrets as last written.
    pub async fn read_access(&self) -> Option<Access> {
        let bytes = tokio::fs::read(self.folder.join("access.json")).await.ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// An account's documents and what changed since, oldest first.
    pub async fn read(&self, account: u32) -> Vec<(i64, Vec<Changed>)> {
        let bytes = tokio::fs::read(self.folder.join(format!("account-{account}.jsonl"))).await.unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let entries = lines.map_while(|line| serde_json::from_slice::<Entry<Vec<Changed>>>(line).ok());
        entries.map(|entry| (entry.version, entry.documents)).collect()
    }

    async fn write<T: Serialize>(&self, name: String, content: &T, append: bool) {
        let path = self.folder.join(&name);
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
        if let Err(error) = result {
            tracing::warn!(%error, file = name, "the catalogue could not be written to disk");
        }
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
        let disk = Disk::new(folder.path().to_owned());
        let key = |n: i64| DocumentKey::new(Kind::Campaign, format!("c-{n}"));
        disk.replace(1, 0, &[(key(0), Some(json!(0))), (key(1), Some(json!(0)))]).await;
        for version in 1..=1_010 {
            disk.append(1, version, &[(key(0), (version != 1_005).then(|| json!(version)))]).await;
        }
        let kept = disk.read(1).await;
        assert!(kept.len() < 20, "{} lines", kept.len());
        let mut now: BTreeMap<_, _> = kept.into_iter().flat_map(|(_, documents)| documents).collect();
        assert_eq!((now.remove(&key(0)), now.remove(&key(1))), (Some(Some(json!(1_010))), Some(Some(json!(0)))));
    }

    #[tokio::test]
    async fn a_torn_last_line_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::new(folder.path().join("catalogue"));
        let key = DocumentKey::new(Kind::Campaign, "c");
        disk.replace(3, 1, &[(key.clone(), Some(json!({"a": 1})))]).await;
        disk.append(3, 2, &[(key.clone(), None)]).await;
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
