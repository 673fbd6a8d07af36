//! Every setting, its default and where it comes from: one file, then the environment.
//!
//! The file is TOML, named by `TESSERA_CONFIG`. An environment variable `TESSERA_SECTION__NAME`
//! overrides one setting of it; the short names in [`Config::load`] override those that scripts
//! rely on.

mod programmatic;

use std::{net::SocketAddr, path::PathBuf};

use figment::{
    Figment,
    providers::{Env, Format as _, Serialized, Toml},
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::programmatic::*;

/// Everything that can be set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The edge.
    pub http: Http,
    /// The database.
    pub store: Store,
    /// People and how current they are.
    pub users: Users,
    /// Decisions.
    pub decisions: Decisions,
    /// Consent.
    pub privacy: Privacy,
    /// Places.
    pub geo: Geo,
    /// OpenRTB.
    pub openrtb: OpenRtb,
    /// Webhooks.
    pub webhooks: Webhooks,
    /// Logs.
    pub log: Log,
}

/// The edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address to listen on.
    pub bind: SocketAddr,
    /// Where browsers reach this service, without a final slash; beacons and assets are addressed
    /// there. Default: `http://` and the bound address.
    pub public_url: Option<String>,
    /// Networks of the load balancers in front, whose `X-Forwarded-For` names the client. Default:
    /// none, the client is who connects.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether requests may say when they happen (`Tessera-Time`), to replay scenarios; refused
    /// unless `bind` is loopback. Also `--simulation`.
    pub simulation: bool,
    /// Connections at one time.
    pub connections: usize,
    /// How long a shutdown waits for requests under way, in ms.
    pub drain_ms: u64,
    /// Scales the lags of the runtime at which classes of requests are shed (75 ms for authoring, 250 ms
    /// for decisions): above 1 where the machine is shared and slow answers are better than none.
    pub lag_scale: f64,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// A PostgreSQL 15 or newer. None: a private cluster in the data folder.
    pub database_url: Option<String>,
    /// The data folder: the private cluster, the last catalogue and outcomes not yet stored.
    pub data: PathBuf,
    /// Folder of the PostgreSQL server binaries for the private cluster. None: searched for.
    pub postgres_bin: Option<PathBuf>,
    /// The first admin key of the account `default`. None: a random one is printed when there is
    /// no admin key yet and the service listens on loopback only.
    pub admin_key: Option<String>,
    /// A bundle to load when the catalogue is empty. Default: the demo, where it is found and no
    /// `database_url` is set.
    pub bundle: Option<PathBuf>,
    /// How long a start waits for the database before it serves the last catalogue, in ms.
    pub start_wait_ms: u64,
    /// How often the change feed is read, in ms.
    pub feed_interval_ms: u64,
    /// How long a beacon waits for the database before it is kept on the local disk, in ms.
    pub beacon_wait_ms: u64,
}

/// People and how current they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Users {
    /// Memory for cached people, in MiB.
    pub cache_mb: u64,
    /// Keys kept in memory as unknown to the store; 32 bytes each.
    pub cached_absent: u64,
    /// A profile counts as current for so long after the feed last proved it, in ms.
    pub lease_ms: u64,
    /// A profile older than that is not used at all, in ms.
    pub stale_limit_ms: u64,
    /// How long a read of people waits for the database before it counts as failed, in ms. It goes on for
    /// four times as long, and what it brings is used.
    pub load_wait_ms: u64,
    /// Accounts whose decisions use no profile that was not proven current within `strict_lease_ms`.
    pub strict: Vec<String>,
    /// For those accounts, in ms.
    pub strict_lease_ms: u64,
    /// People of each account in the sample that previews are made from; about 2 KiB each.
    pub sampled: u64,
}

/// Decisions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decisions {
    /// The longest a decision may take, in ms; a request may ask for less.
    pub budget_ms: u64,
    /// What of that is kept for writing the answer, in ms.
    pub reserve_ms: u64,
    /// Share of decisions whose full record is kept, 0 to 1.
    pub record_share: f64,
    /// How long records are kept, in days of their decision.
    pub record_days: u16,
}

/// Webhooks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// How far they may lead. Default: `loopback` when the service itself listens there only, else
    /// `public`.
    pub reach: Option<WebhookReach>,
    /// The first wait before a delivery that failed is tried again, in ms; then it grows.
    pub first_retry_ms: u64,
}

/// How far webhooks may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookReach {
    /// To public addresses, over TLS.
    Public,
    /// To this machine as well, with or without TLS.
    Loopback,
    /// Into private networks as well, with or without TLS.
    Private,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged, as `tracing` filters are written.
    pub filter: String,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            trusted_proxies: Vec::new(),
            simulation: false,
            connections: 8_192,
            drain_ms: 10_000,
            lag_scale: 1.0,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            database_url: None,
            data: PathBuf::from("data"),
            postgres_bin: None,
            admin_key: None,
            bundle: None,
            start_wait_ms: 5_000,
            feed_interval_ms: 20,
            beacon_wait_ms: 500,
        }
    }
}

impl Default for Users {
    fn default() -> Self {
        Self {
            cache_mb: 256,
            cached_absent: 1_048_576,
            lease_ms: 1_000,
            stale_limit_ms: 600_000,
            load_wait_ms: 250,
            strict: Vec::new(),
            strict_lease_ms: 250,
            sampled: 20_000,
        }
    }
}

impl Default for Decisions {
    fn default() -> Self {
        Self { budget_ms: 20, reserve_ms: 2, record_share: 0.01, record_days: 7 }
    }
}

impl Default for Webhooks {
    fn default() -> Self {
        Self { reach: None, first_retry_ms: 5_000 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into() }
    }
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file or a variable cannot be read.
    #[error("the configuration cannot be read: {0}")]
    Unreadable(#[from] Box<figment::Error>),
    /// A value is out of range.
    #[error("{setting} {rule}")]
    Range {
        /// The setting.
        setting: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

impl Config {
    /// Reads the file that `TESSERA_CONFIG` names, then the environment: `DATABASE_URL`,
    /// `TESSERA_BIND`, `TESSERA_DATA`, `TESSERA_ADMIN_KEY`, `TESSERA_PUBLIC_URL`,
    /// `TESSERA_POSTGRES_BIN`, `TESSERA_LOG`, and `TESSERA_SECTION__NAME` for everything else.
    ///
    /// # Errors
    /// The file or a variable cannot be read, names an unknown setting or a value out of range.
    pub fn load() -> Result<Self, ConfigError> {
        const SHORT: [(&str, &str); 7] = [
            ("DATABASE_URL", "store.database_url"),
            ("TESSERA_BIND", "http.bind"),
            ("TESSERA_DATA", "store.data"),
            ("TESSERA_ADMIN_KEY", "store.admin_key"),
            ("TESSERA_PUBLIC_URL", "http.public_url"),
            ("TESSERA_POSTGRES_BIN", "store.postgres_bin"),
            ("TESSERA_LOG", "log.filter"),
        ];
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(path) = Env::var("TESSERA_CONFIG") {
            figment = figment.merge(Toml::file_exact(path));
        }
        figment = figment.merge(Env::prefixed("TESSERA_").filter(|key| key.as_str().contains("__")).split("__"));
        for (variable, setting) in SHORT {
            // an empty variable is an unset one
            if let Some(value) = Env::var(variable).filter(|value| !value.is_empty()) {
                figment = figment.merge(Serialized::default(setting, value));
            }
        }
        let config: Self = figment.extract().map_err(Box::new)?;
        config.checked()
    }

    fn checked(self) -> Result<Self, ConfigError> {
        let range = |fits: bool, setting, rule| if fits { Ok(()) } else { Err(ConfigError::Range { setting, rule }) };
        range(self.decisions.budget_ms >= 1, "decisions.budget_ms", "must be at least 1")?;
        range(
            self.decisions.reserve_ms < self.decisions.budget_ms,
            "decisions.reserve_ms",
            "must be less than decisions.budget_ms",
        )?;
        range((0.1..=1_000.0).contains(&self.http.lag_scale), "http.lag_scale", "must be 0.1 to 1000")?;
        range((0.0..=1.0).contains(&self.decisions.record_share), "decisions.record_share", "must be 0 to 1")?;
        range((1..=400).contains(&self.decisions.record_days), "decisions.record_days", "must be 1 to 400")?;
        range(self.users.lease_ms >= 100, "users.lease_ms", "must be at least 100")?;
        range(self.users.strict_lease_ms >= 100, "users.strict_lease_ms", "must be at least 100")?;
        range((10..=60_000).contains(&self.users.load_wait_ms), "users.load_wait_ms", "must be 10 to 60000")?;
        range((1..=1_000_000).contains(&self.users.sampled), "users.sampled", "must be 1 to 1000000")?;
        range((10..=60_000).contains(&self.store.beacon_wait_ms), "store.beacon_wait_ms", "must be 10 to 60000")?;
        range((1..=1_000).contains(&self.store.feed_interval_ms), "store.feed_interval_ms", "must be 1 to 1000")?;
        range(self.privacy.vendor_id != Some(0), "privacy.vendor_id", "must be 1 to 65535")?;
        range(self.http.connections >= 16, "http.connections", "must be at least 16")?;
        range(
            (1..=3_600_000).contains(&self.webhooks.first_retry_ms),
            "webhooks.first_retry_ms",
            "must be 1 to 3600000",
        )?;
        range((1..=64).contains(&self.openrtb.seat.len()), "openrtb.seat", "must be 1 to 64 bytes")?;
        let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let id = |id: &str| (1..=64).contains(&id.len()) && id.bytes().all(sound) && !id.starts_with(['.', '_', '-']);
        range(self.openrtb.audited.iter().all(|of| id(of)), "openrtb.audited", "must name exchanges by ids")?;
        range(self.openrtb.crids.keys().all(|of| id(of)), "openrtb.crids", "must name exchanges by ids")?;
        range(
            self.openrtb.origins.iter().all(|of| is_origin(of)),
            "openrtb.origins",
            "must be origins as browsers write them, such as https://news.example",
        )?;
        range((1..=500).contains(&self.openrtb.max_combinations), "openrtb.max_combinations", "must be 1 to 500")?;
        range(
            self.openrtb.segments.iter().all(|of| id(&of.segment)),
            "openrtb.segments",
            "must name segments by their keys",
        )?;
        let is_number = |id: &String| id.parse::<i64>().is_ok();
        range(self.openrtb.taxonomies.keys().all(is_number), "openrtb.taxonomies", "must name taxonomies by numbers")?;
        let known = |of: &MappedSegment| {
            of.matching == Matching::Exact
                || of.segtax.is_some_and(|of| self.openrtb.taxonomies.contains_key(&of.to_string()))
        };
        range(
            self.openrtb.segments.iter().all(known),
            "openrtb.segments",
            "must have a file in openrtb.taxonomies for the segtax of what contains others",
        )?;
        if let Some(key) = &self.store.admin_key {
            range(key.len() >= 16 && key.is_ascii(), "store.admin_key", "must be at least 16 ASCII characters")?;
        }
        if let Some(url) = &self.http.public_url {
            let sound = (url.starts_with("http://") || url.starts_with("https://"))
                && !url.ends_with('/')
                && url.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\".contains(&b));
            range(sound, "http.public_url", "must be an http(s) URL without a final slash")?;
        }
        Ok(self)
    }
}

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the error type belongs to the test jail")]
mod tests {
    use super::*;

    #[test]
    fn the_environment_goes_before_the_file_before_the_defaults() {
        figment::Jail::expect_with(|jail| {
            jail.create_file("t.toml", "[http]\nconnections = 100\n[users]\nlease_ms = 250\n")?;
            jail.set_env("TESSERA_CONFIG", "t.toml");
            jail.set_env("TESSERA_BIND", "127.0.0.1:9000");
            jail.set_env("TESSERA_HTTP__CONNECTIONS", "200");
            jail.set_env("DATABASE_URL", "");
            let config = Config::load().map_err(|error| figment::Error::from(error.to_string()))?;
            assert_eq!((config.http.bind.port(), config.http.connections, config.users.lease_ms), (9000, 200, 250));
            assert_eq!(config.store.database_url, None);
            assert_eq!(config.decisions, Decisions::default());
            Ok(())
        });
    }

    #[test]
    fn the_sample_file_names_every_setting_at_its_default() {
        let sample = include_str!("../docs/tessera.toml");
        let read: Config = Figment::from(Toml::string(sample)).extract().expect("settings");
        assert_eq!(read, Config::default());
        // those without a default stand there as comments
        let whole = sample.replace("\n# ", "\n").replace("\"...\"", "\"0123456789abcdef\"");
        let (_, whole) = whole.split_once("\n\n").expect("an introduction");
        let whole: serde_json::Value = Figment::from(Toml::string(whole)).extract().expect("settings");
        let all = serde_json::to_value(Config::default()).expect("JSON");
        for (section, settings) in all.as_object().expect("sections") {
            for name in settings.as_object().expect("settings").keys() {
                assert!(!whole[section][name].is_null(), "{section}.{name} is not in docs/tessera.toml");
            }
        }
    }

    #[test]
    fn what_is_not_known_or_out_of_range_is_refused() {
        let contains = "[{segtax=4,id=\"1\",segment=\"a\",match=\"contains\"}]";
        for (name, value) in [
            ("TESSERA_HTTP__PORTS", "1"),
            ("TESSERA_BIND", "nowhere"),
            ("TESSERA_USERS__LEASE_MS", "1"),
            ("TESSERA_OPENRTB__SEGMENTS", contains),
            ("TESSERA_OPENRTB__TAXONOMIES", "{audience=\"table.tsv\"}"),
            ("TESSERA_OPENRTB__ORIGINS", "[\"*\"]"),
            ("TESSERA_OPENRTB__ORIGINS", "[\"https://news.example/\"]"),
        ] {
            figment::Jail::expect_with(|jail| {
                jail.set_env(name, value);
                assert!(Config::load().is_err(), "{name}={value}");
                Ok(())
            });
        }
    }
}
