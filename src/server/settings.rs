//! Settings as the rooms take them.

use std::{collections::BTreeMap, fs, io, path::PathBuf, time::Duration};

use super::StartError;
use crate::{
    config::{Config, WebhookReach},
    domain::{ids::AccountId, openrtb::Taxonomy, webhook::Reach},
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
        load_wait: Duration::from_millis(config.users.load_wait_ms),
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

/// What is part of what in the taxonomies of exchanges and data providers.
pub(super) fn taxonomies(config: &Config) -> Result<BTreeMap<i64, Taxonomy>, StartError> {
    let read = |(number, path): (&String, &PathBuf)| {
        let failed =
            |error| StartError::Io { what: format!("reading the taxonomy {number} in {}", path.display()), error };
        let table = fs::read_to_string(path).map_err(failed)?;
        let taxonomy = Taxonomy::read(&table).map_err(|error| failed(io::Error::other(error)))?;
        Ok((number.parse().unwrap_or_default(), taxonomy))
    };
    config.openrtb.taxonomies.iter().map(read).collect()
}
