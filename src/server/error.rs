//! What keeps the service from starting.

use crate::{engine::catalogue::NoCatalogue, ports::StoreError, store::embedded::EmbeddedError};

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The private cluster did not start.
    #[error(transparent)]
    Cluster(#[from] EmbeddedError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no catalogue to serve.
    #[error(transparent)]
    Catalogue(#[from] NoCatalogue),
    /// The address cannot be listened on, or the data folder cannot be written.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
    /// Whoever reaches the service would set its clock.
    #[error("--simulation is for loopback only: the address to listen on must be one")]
    Simulation,
    /// A setting that cannot be meant.
    #[error("{0}")]
    Setting(String),
    /// A fault of this program.
    #[error("{0}")]
    Internal(String),
}
