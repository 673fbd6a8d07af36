//! Logs: one JSON object a line.

use std::panic;

use tracing_subscriber::EnvFilter;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("log filter {filter:?} is not understood: {source}")]
    Filter {
        /// The filter given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else in the process has set up logging already.
    #[error("logging is already set up in this process")]
    AlreadySet,
}

/// Sends logs to standard error as one JSON object a line, kept by `filter` (such as
/// `info,tessera::http=debug`), and makes panics log their place only: their message may quote data.
///
/// # Errors
/// When the filter does not parse or the process logs already.
pub fn init_logs(filter: &str) -> Result<(), LogError> {
    let env = EnvFilter::try_new(filter).map_err(|source| LogError::Filter { filter: filter.to_owned(), source })?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(env)
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|_| LogError::AlreadySet)?;
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        // A literal was written by us; a formatted message may quote what a person sent.
        let message = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(message withheld)");
        tracing::error!(place, message, "panic");
    }));
    Ok(())
}
