//! What was learned, on disk, so that a start without the store still chooses by it.

use std::{io, path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    domain::ids::{CampaignId, CreativeId},
    ports::{LearnedBody, LearnedRow, Subject},
};

/// The file.
#[derive(Debug, Clone)]
pub(super) struct Kept(PathBuf);

#[derive(Serialize, Deserialize)]
struct Line {
    account: u32,
    campaign: CampaignId,
    creative: CreativeId,
    version: i64,
    shape: Value,
    statistics: String,
    epoch: i64,
    watch: Value,
    #[serde(default)]
    goal: Value,
    #[serde(default)]
    since: i64,
}

impl Kept {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(folder.join("learned.jsonl"))
    }

    /// Writes everything anew; whether it did. A write that fails is logged: the store has it all.
    pub(super) async fn write(&self, rows: Vec<(Subject, Arc<LearnedRow>)>) -> bool {
        let path = self.0.clone();
        let work = move || -> io::Result<()> {
            let mut bytes = Vec::new();
            for (Subject { account, campaign, creative }, row) in rows {
                let LearnedRow { version, body } = LearnedRow::clone(&row);
                let LearnedBody { shape, statistics, epoch, watch, goal, since } = body;
                let statistics = STANDARD.encode(statistics);
                let line = Line { account, campaign, creative, version, shape, statistics, epoch, watch, goal, since };
                serde_json::to_writer(&mut bytes, &line)?;
                bytes.push(b'\n');
            }
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let fresh = path.with_extension("new");
            std::fs::write(&fresh, bytes)?;
            std::fs::rename(fresh, path)
        };
        let result = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = &result {
            tracing::warn!(%error, "what was learned could not be written to disk");
        }
        result.is_ok()
    }

    /// What was last written; what cannot be read is left out.
    pub(super) async fn read(&self) -> Vec<(Subject, Arc<LearnedRow>)> {
        let bytes = tokio::fs::read(&self.0).await.unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let read = lines.filter_map(|line| {
            let Line { account, campaign, creative, version, shape, statistics, epoch, watch, goal, since } =
                serde_json::from_slice(line).ok()?;
            let statistics = STANDARD.decode(statistics).ok()?;
            let body = LearnedBody { shape, statistics, epoch, watch, goal, since };
            Some((Subject { account, campaign, creative }, Arc::new(LearnedRow { version, body })))
        });
        read.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_and_a_torn_line_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::new(folder.path().join("catalogue"));
        assert!(kept.read().await.is_empty());
        let row = |n: u32| {
            let (shape, watch, goal) = (json!({}), json!({}), json!("click"));
            let body = LearnedBody { shape, statistics: vec![1, 2, n as u8], epoch: 4, watch, goal, since: 5 };
            let subject = Subject {
                account: n,
                campaign: "spring".parse().expect("an id"),
                creative: "hero".parse().expect("an id"),
            };
            (subject, Arc::new(LearnedRow { version: 7, body }))
        };
        assert!(kept.write(vec![row(1), row(2)]).await);
        assert_eq!(kept.read().await, [row(1), row(2)]);
        let whole = std::fs::read(&kept.0).expect("the file");
        std::fs::write(&kept.0, &whole[..whole.len() - 9]).expect("a torn file");
        assert_eq!(kept.read().await, [row(1)]);
    }
}
