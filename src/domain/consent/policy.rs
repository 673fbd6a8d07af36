//! From the privacy signals of a request to the set of purposes it may be used for.
//!
//! The policy fails closed: consent strings are not read yet, so wherever a law asks for consent
//! that only such a string could give, nothing about the person is used.

use serde::{Deserialize, Serialize};

use crate::domain::values::Country;

/// What data about a person may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Purposes {
    /// Keep choices stable for the person and count impressions towards frequency caps.
    pub basic: bool,
    /// Read the person's profile, and believe what the request says of them.
    pub profile_read: bool,
    /// Keep what the person does in their profile.
    pub profile_write: bool,
    /// Count outcomes per person.
    pub measure: bool,
}

impl Purposes {
    /// Nothing about the person may be used.
    pub const NONE: Self = Self { basic: false, profile_read: false, profile_write: false, measure: false };
    /// Everything may be used.
    pub const ALL: Self = Self { basic: true, profile_read: true, profile_write: true, measure: true };

    /// The names of the purposes that are allowed, as `consent.asserted` writes them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.basic, "basic"),
            (self.profile_read, "profile_read"),
            (self.profile_write, "profile_write"),
            (self.measure, "measure"),
        ]
        .into_iter()
        .filter_map(|(allowed, name)| allowed.then_some(name))
    }
}

/// The privacy signals of a request, wherever they stood in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signals<'a> {
    /// Whether the caller says that the GDPR applies.
    pub gdpr: Option<bool>,
    /// Whether the caller sends an IAB TCF string.
    pub tcf: bool,
    /// The IAB US privacy string.
    pub us_privacy: Option<&'a str>,
    /// Whether the caller names any section of the Global Privacy Platform, or sends its string.
    pub gpp: bool,
    /// Whether the children's privacy rule (COPPA) applies.
    pub coppa: bool,
    /// Whether the person opted out by the browser: Global Privacy Control, do not track or
    /// limited ad tracking.
    pub opted_out: bool,
    /// Where the person is.
    pub country: Option<Country>,
    /// What a first-party controller asserts, taken only from keys trusted to do so.
    pub asserted: Option<Purposes>,
}

/// What the request may be used for.
///
/// Children's data is never used. A trusted controller's assertion is believed next. Otherwise
/// nothing is allowed where the GDPR applies (said so; or unsaid, and there is a TCF string, which
/// only callers under the GDPR send, or the country is one of [`Country::gdpr_applies`]), where any
/// opt-out stands, or where a signal cannot be read.
#[must_use]
pub fn purposes(signals: &Signals<'_>) -> Purposes {
    if signals.coppa {
        return Purposes::NONE;
    }
    if let Some(asserted) = signals.asserted {
        return asserted;
    }
    let gdpr = signals.gdpr.unwrap_or_else(|| signals.tcf || signals.country.is_some_and(Country::gdpr_applies));
    let sold = signals.us_privacy.is_some_and(us_privacy_denies);
    if gdpr || sold || signals.gpp || signals.opted_out { Purposes::NONE } else { Purposes::ALL }
}

/// Whether a US privacy string (`1`, then three of `Y`, `N`, `-`: notice, opt-out of sale, LSPA)
/// forbids use: it says so, or it is no such string. IAB CCPA Compliance Framework 1.0.
fn us_privacy_denies(text: &str) -> bool {
    match text.as_bytes() {
        [b'1', rest @ ..] if rest.len() == 3 && rest.iter().all(|b| matches!(b, b'Y' | b'N' | b'-')) => rest[1] == b'Y',
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn country(code: &str) -> Option<Country> {
        Some(code.parse().expect("a country"))
    }

    #[test]
    fn nothing_said_outside_the_eea_allows() {
        assert_eq!(purposes(&Signals { country: country("US"), ..Signals::default() }), Purposes::ALL);
        assert_eq!(purposes(&Signals::default()), Purposes::ALL);
    }

    #[test]
    fn every_signal_closes() {
        let us = Signals { country: country("US"), ..Signals::default() };
        for closed in [
            Signals { gdpr: Some(true), ..us.clone() },
            Signals { country: country("DE"), ..us.clone() },
            Signals { country: country("GB"), ..us.clone() },
            Signals { country: country("GP"), ..us.clone() },
            Signals { tcf: true, ..us.clone() },
            Signals { tcf: true, country: None, ..us.clone() },
            Signals { us_privacy: Some("1YYN"), ..us.clone() },
            Signals { us_privacy: Some("1YY"), ..us.clone() },
            Signals { us_privacy: Some(""), ..us.clone() },
            Signals { us_privacy: Some("1yyn"), ..us.clone() },
            Signals { us_privacy: Some("2YNN"), ..us.clone() },
            Signals { gpp: true, ..us.clone() },
            Signals { coppa: true, ..us.clone() },
            Signals { opted_out: true, ..us.clone() },
            Signals { coppa: true, asserted: Some(Purposes::ALL), ..us.clone() },
        ] {
            assert_eq!(purposes(&closed), Purposes::NONE, "{closed:?}");
        }
        for open in [
            Signals { us_privacy: Some("1YNN"), ..us.clone() },
            Signals { us_privacy: Some("1---"), ..us.clone() },
            Signals { gdpr: Some(false), country: country("DE"), ..us.clone() },
            Signals { gdpr: Some(false), tcf: true, ..us.clone() },
            Signals { gdpr: Some(true), asserted: Some(Purposes::ALL), ..us },
        ] {
            assert_eq!(purposes(&open), Purposes::ALL, "{open:?}");
        }
    }

    #[test]
    fn an_assertion_is_taken_as_it_is() {
        let some = Purposes { basic: true, ..Purposes::NONE };
        assert_eq!(purposes(&Signals { asserted: Some(some), ..Signals::default() }), some);
        assert_eq!(some.names().collect::<Vec<_>>(), ["basic"]);
    }
}
