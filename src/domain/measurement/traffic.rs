//! Invalid traffic: beacons that no person caused. They are counted apart and never dropped.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::domain::{
    measurement::outcome::{Invalid, OutcomeKind},
    values::Millis,
};

/// Parts of the user agents of programs that visit pages and say so, in lower case. Not HTTP
/// libraries: ad servers and apps report with these for their users.
const PROGRAMS: [&str; 20] = [
    "bot",
    "crawler",
    "crawling",
    "spider",
    "slurp",
    "headless",
    "phantomjs",
    "puppeteer",
    "playwright",
    "selenium",
    "webdriver",
    "scrapy",
    "facebookexternalhit",
    "embedly",
    "bingpreview",
    "google web preview",
    "lighthouse",
    "pingdom",
    "uptime",
    "archiver",
];
/// Names of devices in which a program's stands by accident.
const DEVICES: [&str; 1] = ["cubot"];

/// Whether a user agent names a program that visits pages.
#[must_use]
pub fn is_program(user_agent: &str) -> bool {
    let mut agent = user_agent.trim().to_ascii_lowercase();
    DEVICES.iter().for_each(|device| agent = agent.replace(device, ""));
    PROGRAMS.iter().any(|program| agent.contains(program))
}

/// A network: the first 24 bits of an IPv4 address or the first 48 of an IPv6 one, which a single
/// sender may have the whole of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(u64);

impl Prefix {
    /// The network of an address; IPv4 within IPv6 is IPv4.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u64::from(address.to_bits() >> 8)),
            // marked, so that it meets no IPv4 one
            IpAddr::V6(address) => Self(1 << 63 | (address.to_bits() >> 80) as u64),
        }
    }
}

/// The most beacons per minute from one network that people may send. Whole towns share the network
/// of a mobile carrier: the defaults are far above what was ever theirs in one campaign's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Limits {
    /// Impressions, and as many viewables and of each event of videos.
    pub impressions: u32,
    /// Clicks.
    pub clicks: u32,
    /// Conversions.
    pub conversions: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { impressions: 6_000, clicks: 300, conversions: 120 }
    }
}

impl Limits {
    fn of(&self, kind: OutcomeKind) -> u32 {
        match kind {
            OutcomeKind::Impression
            | OutcomeKind::Viewable
            | OutcomeKind::Start
            | OutcomeKind::FirstQuartile
            | OutcomeKind::Midpoint
            | OutcomeKind::ThirdQuartile
            | OutcomeKind::Complete
            | OutcomeKind::Error => self.impressions,
            OutcomeKind::Click => self.clicks,
            OutcomeKind::Conversion => self.conversions,
            // exchanges report for everybody
            OutcomeKind::Win | OutcomeKind::Billing | OutcomeKind::Loss => u32::MAX,
        }
    }
}

/// The window of a rate.
const WINDOW_MS: i64 = 60_000;
/// The most networks that are counted at once; others are believed until there is room.
const MOST_NETWORKS: usize = 100_000;

/// Beacons per network and kind over the last minute, estimated from this minute's count and the
/// part of the last one's that the window still reaches.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    limits: Limits,
    networks: BTreeMap<(Prefix, u8), Counter>,
    swept: i64,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    minute: i64,
    count: u32,
    before: u32,
}

impl Pace {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Counts a beacon and says whether its network sends more than people can. Where the
    /// clock goes back, only the current minute's count matters.
    pub fn seen(&mut self, from: Prefix, kind: OutcomeKind, now: Millis) -> bool {
        let minute = now.0.div_euclid(WINDOW_MS);
        if minute > self.swept {
            self.swept = minute;
            self.networks.retain(|_, counter| counter.minute >= minute - 1);
        }
        let key = (from, kind.number());
        if !self.networks.contains_key(&key) && self.networks.len() >= MOST_NETWORKS {
            return false;
        }
        let counter = self.networks.entry(key).or_insert(Counter { minute, count: 0, before: 0 });
        let mut passed = now.0.rem_euclid(WINDOW_MS);
        if minute > counter.minute {
            let before = if minute == counter.minute + 1 { counter.count } else { 0 };
            *counter = Counter { minute, count: 0, before };
        } else if minute < counter.minute {
            passed = WINDOW_MS;
        }
        counter.count = counter.count.saturating_add(1);
        let reached = f64::from(counter.before) * (WINDOW_MS - passed) as f64 / WINDOW_MS as f64;
        f64::from(counter.count) + reached > f64::from(self.limits.of(kind))
    }
}

/// Why a beacon is invalid, if it is: what is known of it, the plainest reason first. `user_agent` is
/// none where a server sent it; `too_fast` is what [`Pace::seen`] said.
#[must_use]
pub fn judged(user_agent: Option<&str>, too_fast: bool, replayed: bool) -> Option<Invalid> {
    if replayed {
        Some(Invalid::Replay)
    } else if user_agent.is_some_and(is_program) {
        Some(Invalid::KnownProgram)
    } else {
        too_fast.then_some(Invalid::ImpossibleRate)
    }
}

/// How many beacons were invalid, by reason. Counts add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InvalidTally {
    /// From known programs.
    pub known_program: u64,
    /// From networks at an impossible rate.
    pub impossible_rate: u64,
    /// Repeated: told of a campaign as a whole and of its days, and nowhere else. Repeats of what was told while the
    /// database was away are left out: its own replay looks like them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<u64>,
}

impl InvalidTally {
    /// Counts one.
    pub fn count(&mut self, reason: Invalid) {
        let counter = match reason {
            Invalid::KnownProgram => &mut self.known_program,
            Invalid::ImpossibleRate => &mut self.impossible_rate,
            Invalid::Replay => self.replay.get_or_insert_default(),
        };
        *counter = counter.saturating_add(1);
    }
}

impl std::ops::AddAssign for InvalidTally {
    fn add_assign(&mut self, other: Self) {
        self.known_program = self.known_program.saturating_add(other.known_program);
        self.impossible_rate = self.impossible_rate.saturating_add(other.impossible_rate);
        self.replay = self
            .replay
            .zip(other.replay)
            .map(|(one, other)| one.saturating_add(other))
            .or(self.replay)
            .or(other.replay);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Prefix {
        Prefix::of(text.parse().expect("an address"))
    }

    #[test]
    fn programs_are_known_and_people_are_not() {
        for agent in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0 Safari/537.36",
            "Baiduspider",
        ] {
            assert!(is_program(agent), "{agent}");
        }
        for agent in [
            "",
            "okhttp/4.12.0",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
            "Mozilla/5.0 (Linux; Android 12; CUBOT NOTE 20) AppleWebKit/537.36 Chrome/119.0 Mobile Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile Safari/604.1",
        ] {
            assert!(!is_program(agent), "{agent}");
        }
    }

    #[test]
    fn networks_are_neighbours() {
        assert_eq!(network("192.0.2.1"), network("192.0.2.254"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.7"));
        assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
        assert_eq!(network("2001:db8:1::1"), network("2001:db8:1:ffff::2"));
        assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
        assert_ne!(network("::"), network("0.0.0.0"));
    }

    #[test]
    fn a_flood_is_impossible_until_it_is_over() {
        let mut pace = Pace::new(Limits { clicks: 10, ..Limits::default() });
        let (here, there) = (network("192.0.2.1"), network("198.51.100.1"));
        let at = |second: i64| Millis(1_000_000 * WINDOW_MS + 1_000 * second);
        let click = |pace: &mut Pace, from, second| pace.seen(from, OutcomeKind::Click, at(second));
        assert!((0..10).all(|second| !click(&mut pace, here, second)));
        assert!(click(&mut pace, here, 11));
        assert!(!click(&mut pace, there, 11) && !pace.seen(here, OutcomeKind::Impression, at(11)));
        assert!(click(&mut pace, here, 60), "a new minute does not forgive");
        assert!(!click(&mut pace, here, 119));
        assert!(!click(&mut pace, here, 50), "a clock that goes back");
        assert!(!click(&mut pace, here, 1_000));
        assert_eq!(pace.networks.len(), 1, "what is past is forgotten");
    }

    #[test]
    fn reasons_have_an_order_and_are_counted() {
        assert_eq!(judged(Some("a bot"), true, true), Some(Invalid::Replay));
        assert_eq!(judged(Some("a bot"), true, false), Some(Invalid::KnownProgram));
        assert_eq!(judged(Some("Mozilla/5.0"), true, false), Some(Invalid::ImpossibleRate));
        assert_eq!(judged(None, false, false), None);
        let mut tally = InvalidTally::default();
        [Invalid::Replay, Invalid::Replay, Invalid::KnownProgram].into_iter().for_each(|reason| tally.count(reason));
        assert_eq!(tally, InvalidTally { known_program: 1, impossible_rate: 0, replay: Some(2) });
    }

    proptest! {
        #[test]
        fn no_clock_breaks_the_pace(times in prop::collection::vec(any::<i64>(), 0..60)) {
            let mut pace = Pace::default();
            for time in times {
                prop_assert!(!pace.seen(network("192.0.2.1"), OutcomeKind::Click, Millis(time)));
            }
        }

        #[test]
        fn no_minute_has_more_valid_beacons_than_twice_the_limit(steps in prop::collection::vec(0_i64..5_000, 1..300)) {
            let (mut pace, mut now) = (Pace::new(Limits { clicks: 20, ..Limits::default() }), 0);
            let mut valid = Vec::new();
            for step in steps {
                now += step;
                if !pace.seen(network("192.0.2.1"), OutcomeKind::Click, Millis(now)) {
                    valid.push(now);
                }
            }
            for &start in &valid {
                let within = valid.iter().filter(|at| (start..start + WINDOW_MS).contains(at)).count();
                prop_assert!(within <= 40, "{}", within);
            }
        }
    }
}
