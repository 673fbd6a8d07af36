//! How much one network may send with a write key.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::domain::consent::mask::network;

/// Counts events by write key and network, minute by minute.
#[derive(Debug)]
pub struct Limit(Mutex<(Instant, HashMap<u64, u32>)>);

impl Default for Limit {
    fn default() -> Self {
        Self(Mutex::new((Instant::now(), HashMap::new())))
    }
}

impl Limit {
    /// Networks told apart in a minute; in a minute with more, counting starts anew.
    const MOST: usize = 1 << 18;

    /// Takes `events` out of what is left in this minute; whether there was enough.
    #[must_use]
    pub fn take(&self, account: u32, key: &str, from: Option<IpAddr>, events: u32, per_minute: u32) -> bool {
        let mut hasher = DefaultHasher::new();
        (account, key, from.map(network)).hash(&mut hasher);
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, counts) = &mut *minute;
        if began.elapsed() >= Duration::from_secs(60) || counts.len() >= Self::MOST {
            (*began, *counts) = (Instant::now(), HashMap::new());
        }
        let count = counts.entry(hasher.finish()).or_default();
        let enough = events <= per_minute.saturating_sub(*count);
        if enough {
            *count += events;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_share_of_its_own() {
        let limit = Limit::default();
        let from = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        assert!(limit.take(1, "web", from("203.0.113.7"), 2, 3));
        assert!(!limit.take(1, "web", from("203.0.113.200"), 2, 3), "the same network");
        assert!(limit.take(1, "web", from("203.0.113.200"), 1, 3), "what is left");
        assert!(limit.take(1, "web", from("203.0.114.7"), 3, 3));
        assert!(limit.take(1, "app", from("203.0.113.7"), 3, 3));
        assert!(limit.take(2, "web", from("203.0.113.7"), 3, 3));
        assert!(limit.take(1, "web", from("2001:db8:0:100::1"), 3, 3));
        assert!(!limit.take(1, "web", from("2001:db8:0:1ff::1"), 1, 3));
        assert!(limit.take(1, "web", None, 3, 3));
    }
}
