//! Settings as the rooms take them.

use std::{io, time::Duration};

use super::StartError;
use crate::{
    config::{Config, WebhookReach},
    domain::{ids::AccountId, webhook::Reach},
    engine::{enrichment::Enrichment, users::UsersConfig},
};

/// How people are cached.
pub(super) fn users(config: &Config) -> Result<UsersConfig, StartError> {
    let strict = config.users.strict.iter().map(|id| {
        let named = id.parse::<AccountId>();
        named.map_err(|_| StartError::Setting(format!("users.strict: {id:?} is no name of an account")))
    });
    Ok(UsersConfig {
        cache_bytes: config.users.cache_mb << 20,
        absent_keys: usize::try_from(config.users.cached_absent).unwrap_or(usize::MAX),
        lease: Duration::from_millis(config.users.lease_ms),
        stale_limit: Duration::from_millis(config.users.stale_limit_ms),
        strict_lease: Duration::from_millis(config.users.strict_lease_ms),
        strict: strict.collect::<Result<_, _>>()?,
        ..UsersConfig::default()
    })
}

/// How far webhooks may lead.
pub(super) fn reach(config: &Config) -> Reach {
    match config.webhooks.reach {
        Some(WebhookReach::Public) => Reach::Public,
        Some(WebhookReach::Loopback) => Reach::Loopback,
        Some(WebhookReach::Private) => Reach::Private,
        None if config.http.bind.ip().is_loopback() => Reach::Loopback,
        None => Reach::Public,
    }
}

/// What is found out of clients.
pub(super) fn enrichment(config: &Config) -> Result<Enrichment, StartError> {
    Enrichment::open(config.geo.database.as_deref()).map_err(|error| {
        let what = config.geo.database.as_ref().map_or(String::new(), |path| path.display().to_string());
        StartError::Io { what: format!("reading the database of places {what}"), error: io::Error::other(error) }
    })
}
