//! The database behind the service: one that is configured, or the private cluster.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::{
    config::Config,
    store::{
        self,
        embedded::{self, EmbeddedError, PrivateCluster},
    },
};

/// How long after a failed start of the private cluster it is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// The database, there or not.
pub(super) struct Database {
    /// Where it is, or will be.
    pub(super) url: String,
    /// Why the private cluster does not run.
    pub(super) failure: Option<EmbeddedError>,
    /// The private cluster, unless another database is configured.
    pub(super) cluster: Option<Cluster>,
}

/// The private cluster of this process, once it runs. Clones are the same.
#[derive(Clone)]
pub(super) struct Cluster {
    options: embedded::Options,
    running: Arc<Mutex<Option<PrivateCluster>>>,
}

impl Database {
    /// How it is used.
    pub(super) fn options(&self, config: &Config) -> store::Options {
        store::Options { record_days: config.decisions.record_days, ..store::Options::new(self.url.clone()) }
    }

    /// The configured database, or the private cluster, started. A cluster that does not start is
    /// no error yet: there may be a catalogue on disk to serve without it.
    ///
    /// # Errors
    /// The cluster has no place on this machine.
    pub(super) async fn find(config: &Config, guard: PathBuf) -> Result<Self, StartError> {
        if let Some(url) = &config.store.database_url {
            return Ok(Self { url: url.clone(), failure: None, cluster: None });
        }
        let options = embedded::Options {
            data_dir: config.store.data.clone(),
            guard,
            binaries: config.store.postgres_bin.clone(),
            search: search_folders(),
        };
        let cluster = Cluster { options, running: Arc::default() };
        match cluster.start().await {
            Ok(url) => Ok(Self { url, failure: None, cluster: Some(cluster) }),
            Err(failure) => {
                let url = PrivateCluster::url_in(&config.store.data)?;
                Ok(Self { url, failure: Some(failure), cluster: Some(cluster) })
            }
        }
    }
}

impl Cluster {
    /// Starts the cluster; its address.
    async fn start(&self) -> Result<String, EmbeddedError> {
        let options = self.options.clone();
        let started = tokio::task::spawn_blocking(move || PrivateCluster::start(options)).await;
        let cluster = started.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))?;
        if cluster.is_joined() {
            tracing::warn!("the private database belongs to another process of this folder and ends with that one");
        }
        let url = cluster.url();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
        Ok(url)
    }

    /// Starts the cluster that did not start, as soon as it can be.
    pub(super) async fn start_later(self, stop: CancellationToken) {
        while stop.run_until_cancelled(time::sleep(AGAIN)).await.is_some() {
            match self.start().await {
                Ok(_) => return tracing::info!("the private database runs"),
                Err(error) => tracing::warn!(%error, "the private database did not start"),
            }
        }
    }

    /// Stops the cluster, if it runs.
    pub(super) async fn stop(self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(cluster) = running else { return };
        match tokio::task::spawn_blocking(move || cluster.stop()).await {
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
