//! What is found out for requests that do not say it themselves.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{
    context::Context,
    value::{Folded, Position},
};
use crate::domain::values::Country;

/// Where a client's network and what its user agent is, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    /// The country.
    pub country: Option<Country>,
    /// The part after the country of ISO 3166-2.
    pub region: Option<Folded>,
    /// The city, in English.
    pub city: Option<Folded>,
    /// The time zone there.
    pub zone: Option<TimeZone>,
    /// What its user agent says, where that was read.
    pub client: Option<Arc<Client>>,
}

/// What a user agent says of a client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Client {
    /// `mobile`, `desktop`, `tablet` or `tv`.
    pub device: Option<Folded>,
    /// The operating system, such as `android`, `ios`, `windows` or `macos`.
    pub os: Option<Folded>,
    /// The browser, such as `chrome`, `safari` or `firefox`.
    pub browser: Option<Folded>,
    /// Whether it names a program that visits pages.
    pub program: bool,
}

/// The operating system, as targeting names it, of what user agents and exchanges call it; other names stay.
#[must_use]
pub fn system(name: &str) -> &str {
    let begins = |head: &str| name.get(..head.len()).is_some_and(|own| own.eq_ignore_ascii_case(head));
    let any = |heads: &[&str]| heads.iter().any(|head| begins(head));
    match name {
        _ if any(&["iphone", "ipad", "ipod"]) => "ios",
        _ if begins("windows phone") => "windows phone",
        _ if begins("windows") => "windows",
        _ if any(&["mac os", "macos", "os x"]) => "macos",
        _ => name,
    }
}

impl Context {
    /// Fills in what the request did not say. A place that it names goes before that of the network:
    /// only a country alone, and the same, is made more precise. What is left is the time zone of the network, unless
    /// that is in another country.
    pub fn fill(&mut self, hints: Hints) -> Option<TimeZone> {
        let Hints { country, region, city, zone, client } = hints;
        let silent = self.region.is_none() && self.city.is_none() && self.position.is_none();
        let same = self.country.is_none_or(|own| Some(own) == country);
        if silent && same {
            (self.country, self.region, self.city) = (country, region, city);
        }
        if let Some(client) = client {
            let fill = |own: &mut Option<Folded>, hint: &Option<Folded>| {
                if own.is_none() {
                    own.clone_from(hint);
                }
            };
            fill(&mut self.device, &client.device);
            fill(&mut self.os, &client.os);
            fill(&mut self.browser, &client.browser);
        }
        zone.filter(|_| same)
    }

    /// Leaves out what would be too near to a person of whom nothing may be known, whoever said it: the city where
    /// their profile may not be read (`personal`), and where they are to the metre unless that is allowed (`precise`).
    pub fn blur(&mut self, personal: bool, precise: bool) {
        self.city = self.city.take().filter(|_| personal);
        self.position = if precise { self.position } else { self.position.map(Position::coarse) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audience::value::zone;

    fn berlin() -> Hints {
        let text = |text| Some(Folded::new(text));
        Hints {
            country: "DE".parse().ok(),
            region: text("BE"),
            city: text("Berlin"),
            zone: zone("Europe/Berlin"),
            client: Some(Arc::new(Client { device: text("mobile"), os: text("ios"), ..Client::default() })),
        }
    }

    fn filled(mut context: Context) -> [Option<String>; 5] {
        let zone = context.fill(berlin()).and_then(|zone| zone.iana_name().map(str::to_owned));
        let text = |text: Option<Folded>| text.map(|text| text.as_str().to_owned());
        let country = context.country.map(|country| country.to_string());
        [country, text(context.region), text(context.city), text(context.os), zone]
    }

    #[test]
    fn what_the_request_says_stays() {
        let some = |text: &str| Some(text.to_owned());
        let at = some("Europe/Berlin");
        let found = [some("DE"), some("be"), some("berlin"), some("ios"), at.clone()];
        assert_eq!(filled(Context::default()), found);
        assert_eq!(filled(Context { country: "DE".parse().ok(), ..Context::default() }), found);
        let france = Context { country: "FR".parse().ok(), os: Some(Folded::new("Linux")), ..Context::default() };
        assert_eq!(filled(france), [some("FR"), None, None, some("linux"), None]);
        let city = Context { city: Some(Folded::new("Hamburg")), ..Context::default() };
        assert_eq!(filled(city), [None, None, some("hamburg"), some("ios"), at]);
    }

    #[test]
    fn systems_have_one_name() {
        for (name, known) in [
            ("Mac OS X", "macos"),
            ("OS X", "macos"),
            ("macOS 15", "macos"),
            ("iPhone OS", "ios"),
            ("iPadOS", "ios"),
            ("Windows NT 10.0", "windows"),
            ("WINDOWS PHONE 8", "windows phone"),
            ("Android", "Android"),
            ("\u{e4}", "\u{e4}"),
            ("", ""),
        ] {
            assert_eq!(system(name), known);
        }
    }

    #[test]
    fn nobody_is_found_who_is_not_to_be_known() {
        let near = || {
            let mut context = Context { position: Position::new(52.520_008, 13.404_954), ..Context::default() };
            context.city = Some(Folded::new("Berlin"));
            context
        };
        let blurred = |personal, precise| {
            let mut context = near();
            context.blur(personal, precise);
            (context.city, context.position)
        };
        let (city, position) = (near().city, near().position);
        let coarse = position.map(Position::coarse);
        assert_ne!(coarse, position);
        assert_eq!(blurred(true, true), (city.clone(), position));
        assert_eq!(blurred(true, false), (city, coarse));
        assert_eq!(blurred(false, false), (None, coarse));
    }
}
