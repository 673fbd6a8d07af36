//! What a client's network and user agent tell of it, where a request does not.
//!
//! Nothing is looked up elsewhere and nothing is kept of anybody: the database of networks is a file that
//! whoever runs the service has, read into memory whenever it is another one, and of an address only its network
//! is looked at.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use maxminddb::{MaxMindDbError, Reader};
use moka::sync::Cache;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use woothee::{parser::Parser, woothee::VALUE_UNKNOWN};

use crate::domain::{
    audience::{
        hints::{Client, Hints, system},
        value::{Folded, zone},
    },
    consent::mask::network,
    measurement::traffic::is_program,
};

/// Longer user agents are not read.
const LONGEST: usize = 2_048;
/// What televisions and the boxes beside them call themselves.
const TELEVISIONS: [&str; 6] = ["SMART-TV", "SmartTV", "Smart TV", "AppleTV", "Google TV", "HbbTV"];

/// Bytes of user agents whose readings are remembered. Few are in use at a time, and reading one costs
/// as much as choosing a creative.
const REMEMBERED: u64 = 4 << 20;

/// Finds out what requests do not say.
pub struct Enrichment {
    agents: Parser,
    read: Cache<Arc<str>, Arc<Client>>,
    places: Option<Places>,
}

/// A database in memory, and the file that it was read from.
struct Places {
    path: PathBuf,
    reader: ArcSwap<Reader<Vec<u8>>>,
    /// The file that was looked at last; none: there was none.
    seen: Mutex<Option<Stamp>>,
}

/// By what a file is known to be another one: when it was changed, and how long it is.
type Stamp = (SystemTime, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((file.modified().ok()?, file.len()))
}

impl Places {
    fn open(path: &Path) -> Result<Self, MaxMindDbError> {
        // what is written while it is read is looked at again
        let seen = Mutex::new(stamp(path));
        let reader = ArcSwap::from_pointee(Reader::open_readfile(path)?);
        Ok(Self { path: path.to_owned(), reader, seen })
    }

    /// Reads the file where it is another one. One that is gone or is no database changes nothing.
    fn renew(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&self.path);
        if now.is_none() || now == *seen {
            return;
        }
        *seen = now;
        match Reader::open_readfile(&self.path) {
            Ok(reader) => {
                self.reader.store(Arc::new(reader));
                tracing::info!(path = %self.path.display(), "the database of places is another one now");
            }
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "the database of places stays as it was"),
        }
    }
}

/// What is read of a record of a city or country database.
#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow, default)]
    country: Coded<'a>,
    #[serde(borrow, default)]
    subdivisions: Vec<Coded<'a>>,
    #[serde(borrow, default)]
    city: Named<'a>,
    #[serde(borrow, default)]
    location: Location<'a>,
}

#[derive(Default, Deserialize)]
struct Coded<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Default, Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    names: English<'a>,
}

#[derive(Default, Deserialize)]
struct English<'a> {
    en: Option<&'a str>,
}

#[derive(Default, Deserialize)]
struct Location<'a> {
    time_zone: Option<&'a str>,
}

impl Default for Enrichment {
    fn default() -> Self {
        let weigh = |agent: &Arc<str>, _: &Arc<Client>| agent.len() as u32 + 128;
        let read = Cache::builder().weigher(weigh).max_capacity(REMEMBERED).build();
        Self { agents: Parser::default(), read, places: None }
    }
}

impl Enrichment {
    /// One that knows places by the MaxMind database in a file; without one, by nothing.
    ///
    /// # Errors
    /// The file cannot be read or is no such database.
    pub fn open(database: Option<&Path>) -> Result<Self, MaxMindDbError> {
        let places = database.map(Places::open).transpose()?;
        Ok(Self { places, ..Self::default() })
    }

    /// Follows the file, until `stop`: one that was put into its place is used within seconds, and as long as there
    /// is none that can be read, the one before.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        const PAUSE: Duration = Duration::from_secs(5);
        while self.places.is_some() && stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
            let own = Arc::clone(&self);
            let renewed = tokio::task::spawn_blocking(move || own.places.as_ref().map(Places::renew));
            if let Err(error) = renewed.await {
                tracing::error!(%error, "the database of places was not looked at");
            }
        }
        stop.cancelled().await;
    }

    /// What is known of a client.
    #[must_use]
    pub fn find(&self, user_agent: Option<&str>, address: Option<IpAddr>) -> Hints {
        let agent = user_agent.filter(|agent| agent.len() <= LONGEST);
        let mut hints = Hints { client: agent.map(|agent| self.client(agent)), ..Hints::default() };
        if let (Some(places), Some(address)) = (&self.places, address) {
            locate(&places.reader.load(), address, &mut hints);
        }
        hints
    }

    fn client(&self, agent: &str) -> Arc<Client> {
        self.read.get(agent).unwrap_or_else(|| {
            let client = Arc::new(self.parse(agent));
            self.read.insert(agent.into(), Arc::clone(&client));
            client
        })
    }

    fn parse(&self, agent: &str) -> Client {
        let nothing = Client { program: is_program(agent), ..Client::default() };
        let Some(found) = self.agents.parse(agent).filter(|found| found.category != "crawler") else { return nothing };
        let tablet = found.os == "iPad" || found.os == "Android" && !agent.contains("Mobile");
        let device = match found.category {
            _ if TELEVISIONS.iter().any(|name| agent.contains(name)) => Some("tv"),
            "pc" => Some("desktop"),
            "smartphone" | "mobilephone" => Some(if tablet { "tablet" } else { "mobile" }),
            "appliance" => Some("tv"),
            _ => None,
        };
        let os = match found.os {
            VALUE_UNKNOWN | "" => None,
            os => Some(system(os)),
        };
        let browser = Some(found.name).filter(|name| !matches!(*name, VALUE_UNKNOWN | ""));
        Client {
            device: device.map(Folded::new),
            os: os.map(Folded::new),
            browser: browser.map(Folded::new),
            ..nothing
        }
    }
}

/// Fills in what a database says of an address's network; what it does not know stays unknown.
fn locate(places: &Reader<Vec<u8>>, address: IpAddr, hints: &mut Hints) {
    let Ok(found) = places.lookup(network(address)) else { return };
    let Ok(Some(place)) = found.decode::<Place<'_>>() else { return };
    let folded = |text: Option<&str>| text.filter(|text| (1..=128).contains(&text.len())).map(Folded::new);
    hints.country = place.country.iso_code.and_then(|code| code.parse().ok());
    hints.region = folded(place.subdivisions.first().and_then(|region| region.iso_code));
    hints.city = folded(place.city.names.en);
    hints.zone = place.location.time_zone.and_then(zone);
}

#[cfg(test)]
#[path = "../../tests/support/places.rs"]
pub(crate) mod places;

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(agent: &str) -> [String; 3] {
        let enrichment = Enrichment::default();
        let hints = enrichment.find(Some(agent), None);
        assert_eq!(enrichment.find(Some(agent), None), hints, "the second time, from memory");
        let Client { device, os, browser, .. } = hints.client.as_deref().cloned().unwrap_or_default();
        [device, os, browser].map(|text| text.map_or(String::new(), |text| text.as_str().to_owned()))
    }

    #[test]
    fn user_agents_tell_the_device() {
        for (text, expected) in [
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/18.1 Mobile/15E148 Safari/604.1",
                ["mobile", "ios", "safari"],
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/16.6 Mobile/15E148 Safari/604.1",
                ["tablet", "ios", "safari"],
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/131.0.0.0 Mobile Safari/537.36",
                ["mobile", "android", "chrome"],
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-X910) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/131.0.0.0 Safari/537.36",
                ["tablet", "android", "chrome"],
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0",
                ["desktop", "windows", "firefox"],
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
                ["desktop", "macos", "edge"],
            ),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", ["", "", ""]),
            ("", ["", "", ""]),
            ("nothing that anybody knows", ["", "", ""]),
        ] {
            assert_eq!(agent(text), expected, "{text}");
        }
        assert_eq!(agent(&"x".repeat(LONGEST + 1)), ["", "", ""]);
    }

    #[test]
    fn networks_tell_the_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("city.mmdb");
        std::fs::write(&path, places::database([203, 0, 113])).expect("a file");
        let enrichment = Enrichment::open(Some(&path)).expect("a database");
        let find = |address: &str| enrichment.find(None, Some(address.parse().expect("an address")));
        for address in ["203.0.113.7", "203.0.113.255", "::ffff:203.0.113.7"] {
            let found = find(address);
            let text = |text: &Option<Folded>| text.as_ref().map(|text| text.as_str().to_owned());
            assert_eq!(found.country.map(|country| country.to_string()).as_deref(), Some("DE"), "{address}");
            assert_eq!((text(&found.region).as_deref(), text(&found.city).as_deref()), (Some("be"), Some("berlin")));
            assert_eq!(found.zone, zone("Europe/Berlin"));
        }
        for unknown in ["203.0.114.7", "10.0.0.1", "2001:db8::1"] {
            assert_eq!(find(unknown), Hints::default(), "{unknown}");
        }
        std::fs::write(&path, b"no database").expect("a file");
        assert!(Enrichment::open(Some(&path)).is_err());
        assert!(Enrichment::open(Some(&folder.path().join("missing"))).is_err());
    }

    #[test]
    fn a_newer_database_takes_the_place_of_the_one_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("city.mmdb");
        let put = |bytes: &[u8], second: u64| {
            fs::write(&path, bytes).expect("a file");
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second);
            fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(at)).expect("a time");
        };
        put(&places::database([203, 0, 113]), 0);
        let enrichment = Enrichment::open(Some(&path)).expect("a database");
        let knows = |address: &str| {
            enrichment.places.as_ref().expect("places").renew();
            enrichment.find(None, Some(address.parse().expect("an address"))).country.is_some()
        };
        assert!(knows("203.0.113.7") && !knows("198.51.100.7"));
        put(&places::database([198, 51, 100]), 1);
        assert!(knows("198.51.100.7") && !knows("203.0.113.7"));
        put(b"half of a dat", 2);
        assert!(knows("198.51.100.7"));
        fs::remove_file(&path).expect("no file");
        assert!(knows("198.51.100.7"));
        put(&places::database([203, 0, 113]), 3);
        assert!(knows("203.0.113.7"));
    }
}
