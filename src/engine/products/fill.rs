//! From a file to what a feed holds: read on a thread of its own, kept piece by piece, shown as a whole.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use tokio::sync::mpsc;

use super::{
    Products,
    source::{Arriving, open},
};
use crate::{
    domain::{
        catalog::{document::AdvertiserDoc, landing},
        ids::{FeedId, NameHash},
        products::{Feed, Packer, Settings, Unreadable, read},
        violation::Violation,
    },
    ports::{Filled, ProductStore, StoreError},
};

/// What becomes of a file with rows that are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Nothing changes where a row is refused; else the other rows are taken.
    pub whole: bool,
    /// Everything is checked and nothing changes.
    pub dry_run: bool,
    /// It was fetched, not uploaded.
    pub fetched: bool,
}

/// Why a file did not fill a feed.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// There is no such feed.
    #[error("there is no feed {0}")]
    NotFound(FeedId),
    /// Its document cannot be used.
    #[error("the feed's advertiser is not known")]
    NoAdvertiser,
    /// It cannot be read on.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Some rows are refused, and so is all of it.
    #[error("{} of {} rows are refused", .0.rejected, .0.rows)]
    Refused(Filled),
    /// There is no product in it.
    #[error("there is no product in it")]
    Empty(Filled),
    /// It has more rows than a feed may.
    #[error("it has more than {} rows", Products::MOST)]
    TooMany,
    /// A file that began to arrive later is shown already.
    #[error("a later file is shown already")]
    Overtaken,
    /// Others fill feeds already.
    #[error("other feeds are being filled")]
    Busy,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is read, and as whose.
pub(super) struct Job {
    pub(super) account: u32,
    pub(super) feed: FeedId,
    pub(super) read_as: Arc<Feed>,
    pub(super) advertiser: Arc<AdvertiserDoc>,
    pub(super) manner: Manner,
}

/// Reads a file and shows what it holds. A file that cannot be taken leaves nothing.
pub(super) async fn fill(
    store: Arc<dyn ProductStore>,
    job: Job,
    arriving: mpsc::Receiver<Arriving>,
) -> Result<Filled, FillError> {
    let (account, feed, manner) = (job.account, job.feed.clone(), job.manner);
    let generation = if manner.dry_run { 0 } else { store.generation().await? };
    let (sender, mut pieces) = mpsc::channel::<Vec<u8>>(4);
    let reading = tokio::task::spawn_blocking(move || take(&job, arriving, &sender));
    let mut staged = Ok(());
    let mut number = 0;
    while let Some(piece) = pieces.recv().await {
        if !manner.dry_run {
            staged = store.stage(account, feed.clone(), generation, number, piece).await;
            number += 1;
        }
        if staged.is_err() {
            // the reader ends as soon as it has another piece
            break;
        }
    }
    drop(pieces);
    let read = reading.await.map_err(|_| StoreError::Unavailable("the reading of a feed ended early".into()))?;
    let filled = match (staged, read) {
        (Err(error), _) => Err(error.into()),
        (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(filled)) if manner.whole && filled.rejected > 0 => Err(FillError::Refused(filled)),
        (Ok(()), Ok(filled)) if filled.items == 0 => Err(FillError::Empty(filled)),
        (Ok(()), Ok(filled)) if manner.dry_run => Ok(filled),
        (Ok(()), Ok(filled)) => {
            let shown = store.publish(account, feed.clone(), generation, filled.clone(), manner.fetched).await;
            match shown {
                Ok(true) => Ok(filled),
                Ok(false) => Err(FillError::Overtaken),
                Err(error) => Err(error.into()),
            }
        }
    };
    if filled.is_err()
        && !manner.dry_run
        && let Err(error) = store.discard(account, feed.clone(), generation).await
    {
        tracing::warn!(%error, account, %feed, "what is left of a file that was refused is dropped later");
    }
    filled
}

/// Reads all rows and gives packed pieces away as they fill.
fn take(job: &Job, arriving: mpsc::Receiver<Arriving>, pieces: &mpsc::Sender<Vec<u8>>) -> Result<Filled, FillError> {
    let source = open(arriving).map_err(|error| Unreadable::BrokenOff { line: 1, error })?;
    let link = |url: &str| {
        let host = landing::parse(url).map_err(str::to_owned)?;
        match landing::allowed(&job.advertiser, &host) {
            true => Ok(()),
            false => Err(landing::refusal(&job.advertiser, &host)),
        }
    };
    let settings = Settings { currency: job.read_as.document.currency, link: &link };
    let (mut filled, mut packer, mut seen) = (Filled::default(), Packer::default(), HashSet::new());
    let (mut gone, mut told) = (false, 0);
    read(job.read_as.document.format, &settings, source, &mut |line, row| {
        filled.rows += 1;
        let row = row.and_then(|item| match seen.insert(NameHash::of(&item.product.id).0) {
            true => Ok(item),
            false => Err(vec![Violation::new("/id", "duplicate_id", "this id stands in an earlier row")]),
        });
        match row {
            Ok(item) => {
                filled.items += 1;
                filled.available += u64::from(item.available);
                // what is refused as a whole is only checked
                let kept = !(job.manner.whole && filled.rejected > 0);
                if let Some(piece) = packer.push(&item).filter(|_| kept) {
                    gone = pieces.blocking_send(piece).is_err();
                }
            }
            Err(faults) => {
                filled.rejected += 1;
                if told < Products::TOLD {
                    told += 1;
                    filled.refused.extend(faults.into_iter().map(|fault| (line, fault)));
                }
            }
        }
        if gone || filled.rows > Products::MOST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if filled.rows > Products::MOST {
        return Err(FillError::TooMany);
    }
    if let Some(piece) = packer.finish() {
        // whoever staged the pieces knows what went wrong
        let _gone = pieces.blocking_send(piece);
    }
    Ok(filled)
}
