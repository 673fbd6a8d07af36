//! The database behind the service: one that is configured, or the private cluster.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{self, Instant},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::StartError;
use crate::{
    config::Config,
    ports::StoreError,
    store::{
        self,
        embedded::{self, EmbeddedError, PrivateCluster},
    },
};

/// How long after a failed start of the private cluster it is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// What a server that runs gets at least to answer in.
const LEAST: Duration = Duration::from_secs(1);

/// A start of the private cluster, under way.
type Start = JoinHandle<Result<PrivateCluster, EmbeddedError>>;

/// The database, there or not.
pub(super) struct Database {
    /// Where it is, or will be.
    pub(super) url: String,
    /// Why the private cluster does not run, or not yet.
    pub(super) failure: Option<StartError>,
    /// How long it may still take to answer.
    pub(super) patience: Duration,
    /// The private cluster, unless another database is configured.
    pub(super) cluster: Option<Cluster>,
}

/// The private cluster of this process, once it runs. Clones are the same.
#[derive(Clone)]
pub(super) struct Cluster {
    options: embedded::Options,
    /// The start that is under way, so that there are never two.
    start: Arc<tokio::sync::Mutex<Option<Start>>>,
    running: Arc<Mutex<Option<PrivateCluster>>>,
    /// Cancelled when nobody wants the cluster any more.
    stop: CancellationToken,
    _last: Arc<DropGuard>,
}

impl Database {
    /// How it is used.
    pub(super) fn options(&self, config: &Config) -> store::Options {
        store::Options {
            // what was given up is used if it comes
            serving_limit: Duration::from_millis(config.users.load_wait_ms * 4),
            record_days: config.decisions.record_days,
            ..store::Options::new(self.url.clone())
        }
    }

    /// The configured database, or the private cluster, started. A cluster that does not start is
    /// no error yet: there may be a catalogue on disk to serve without it. Where it is known that there
    /// is (`dispensable`), a start that takes longer than `store.start_wait_ms` goes on behind.
    ///
    /// # Errors
    /// The cluster has no place on this machine.
    pub(super) async fn find(config: &Config, guard: PathBuf, dispensable: bool) -> Result<Self, StartError> {
        let patience = Duration::from_millis(config.store.start_wait_ms);
        if let Some(url) = &config.store.database_url {
            return Ok(Self { url: url.clone(), failure: None, patience, cluster: None });
        }
        let options = embedded::Options {
            data_dir: config.store.data.clone(),
            guard,
            binaries: config.store.postgres_bin.clone(),
            search: search_folders(),
        };
        let (stop, began) = (CancellationToken::new(), Instant::now());
        let last = Arc::new(stop.clone().drop_guard());
        let cluster = Cluster { options, start: Arc::default(), running: Arc::default(), stop, _last: last };
        let started = match dispensable {
            true => time::timeout(patience, cluster.start()).await,
            false => Ok(cluster.start().await),
        };
        let failure = match started {
            Ok(Ok(url)) => {
                let patience = if dispensable { patience.saturating_sub(began.elapsed()).max(LEAST) } else { patience };
                return Ok(Self { url, failure: None, patience, cluster: Some(cluster) });
            }
            Ok(Err(failure)) => failure.into(),
            Err(_) => StoreError::Timeout("the private database takes its time to start".into()).into(),
        };
        let url = PrivateCluster::url_in(&config.store.data)?;
        Ok(Self { url, failure: Some(failure), patience, cluster: Some(cluster) })
    }
}

impl Cluster {
    /// Starts the cluster; its address. Who stops waiting may call this again: the start goes on.
    async fn start(&self) -> Result<String, EmbeddedError> {
        let mut start = self.start.lock().await;
        let under_way = start.get_or_insert_with(|| {
            let (options, stop) = (self.options.clone(), self.stop.clone());
            spawn_blocking(move || PrivateCluster::start_until(options, stop))
        });
        let started = under_way.await;
        *start = None;
        let cluster = started.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))?;
        if cluster.is_joined() {
            tracing::warn!("the private database belongs to another process of this folder and ends with that one");
        }
        let url = cluster.url();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
        Ok(url)
    }

    /// Starts the cluster that did not start yet, as soon as it can be.
    pub(super) async fn start_later(self, stop: CancellationToken) {
        while let Some(started) = stop.run_until_cancelled(self.start()).await {
            match started {
                Ok(_) => return tracing::info!("the private database runs"),
                Err(error) => tracing::warn!(%error, "the private database did not start"),
            }
            if stop.run_until_cancelled(time::sleep(AGAIN)).await.is_none() {
                return;
            }
        }
    }

    /// Stops the cluster, if it runs; a start that is under way is given up.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        let under_way = self.start.lock().await.take();
        let late = match under_way {
            Some(start) => start.await.ok().and_then(Result::ok),
            None => None,
        };
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(cluster) = late.or(running) else { return };
        match spawn_blocking(move || cluster.stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "stopping the private cluster"),
            Err(error) => tracing::warn!(%error, "stopping the private cluster"),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "programs are looked for where a shell would")]
fn search_folders() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    embedded::search_folders(std::env::var_os("PATH").as_deref(), home.as_deref())
}
