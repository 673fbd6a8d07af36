//! From the privacy signals of a request to what they allow.

use crate::domain::values::Country;

use super::{
    gpp::{Gpp, TCF_EU, US_PRIVACY},
    purposes::{Allowed, Purposes},
    tcf, us,
};

/// The privacy signals of a request, wherever they stood in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signals<'a> {
    /// Whether the caller says that the GDPR applies.
    pub gdpr: Option<bool>,
    /// An IAB TCF string.
    pub tcf: Option<&'a str>,
    /// The IAB US privacy string.
    pub us_privacy: Option<&'a str>,
    /// A string of the Global Privacy Platform.
    pub gpp: Option<&'a str>,
    /// Its sections that apply: -1 for none of them, 0 for not known. Without any, all it has; more than 32 are a no.
    pub gpp_sid: &'a [i32],
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

/// More sections than that are nobody's: the registry has about twenty.
const MOST_SECTIONS: usize = 32;

/// How this service reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Our number on IAB Europe's Global Vendor List; without one no TCF string consents to us.
    pub vendor_id: Option<u16>,
    /// Whether the GDPR applies to requests that say nothing of it and of no country.
    pub gdpr_by_default: bool,
}

/// What the signals of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading<'a> {
    /// What they allow.
    pub allowed: Allowed,
    /// Whether the GDPR applies.
    pub gdpr: bool,
    /// The TCF string that counts.
    pub tcf: Option<&'a str>,
}

impl Default for Reading<'_> {
    /// Without signals.
    fn default() -> Self {
        Self { allowed: Allowed::EVERYTHING, gdpr: false, tcf: None }
    }
}

/// Reads the signals of a request.
///
/// Children's data is never used. A trusted controller's assertion is believed next. Otherwise
/// every signal must allow it: under the GDPR the TCF string, in the United States the privacy
/// string and the sections that apply, and no opt-out of the browser. The GDPR applies where
/// `gpp_sid` names its section; without `gpp_sid`, where the caller says so; unsaid, where there
/// is a TCF string, which only callers under the GDPR send, or the country is one of
/// [`Country::gdpr_applies`].
#[must_use]
pub fn read<'a>(signals: &Signals<'a>, rules: Rules) -> Reading<'a> {
    let gpp = signals.gpp.map(Gpp::new);
    let section = |id| gpp.as_ref().and_then(Option::as_ref).and_then(|gpp| gpp.section(id));
    let said = signals.gpp_sid.iter().any(|id| *id != 0);
    let gdpr = match signals.gdpr {
        _ if said => signals.gpp_sid.contains(&(TCF_EU as i32)),
        Some(gdpr) => gdpr,
        None if signals.tcf.is_some() || section(TCF_EU).is_some() => true,
        None => signals.country.map_or(rules.gdpr_by_default, Country::gdpr_applies),
    };
    let tcf = section(TCF_EU).or(signals.tcf);
    let mut allowed = match (gdpr, tcf, rules.vendor_id) {
        (false, ..) => Allowed::EVERYTHING,
        (true, Some(tcf), Some(vendor)) => tcf::allowed(tcf, vendor),
        (true, ..) => Allowed::NOTHING,
    };
    let opted_out = || {
        signals.opted_out
            || signals.us_privacy.is_some_and(us::us_privacy_denies)
            || if said {
                let all = signals.gpp_sid;
                let first = |(at, id): (usize, &i32)| !all[..at].contains(id);
                let mut each = all.iter().enumerate().filter(|of| first(*of));
                all.len() > MOST_SECTIONS
                    || each.any(|(_, id)| *id > 0 && denies(u32::try_from(*id).unwrap_or(0), section))
            } else {
                gpp.as_ref().is_some_and(|gpp| gpp.as_ref().is_none_or(|gpp| any_denies(gpp, section)))
            }
    };
    if signals.coppa {
        allowed = Allowed { selection: allowed.selection, ..Allowed::CONTEXT };
    } else if let Some(asserted) = signals.asserted {
        allowed = Allowed { purposes: asserted, selection: true, precise_geo: asserted.profile_read };
    } else if opted_out() {
        allowed = Allowed { selection: allowed.selection, ..Allowed::CONTEXT };
    }
    Reading { allowed, gdpr, tcf }
}

/// Whether a section that applies forbids use: it says so, it is not there, or it is one that we
/// cannot read. That of the TCF speaks for itself.
fn denies<'a>(id: u32, section: impl Fn(u32) -> Option<&'a str>) -> bool {
    if id == TCF_EU {
        return false;
    }
    section(id)
        .is_none_or(|text| if id == US_PRIVACY { us::us_privacy_denies(text) } else { us::section_denies(id, text) })
}

/// The same for every section of a string.
fn any_denies<'a>(gpp: &Gpp<'_>, section: impl Fn(u32) -> Option<&'a str>) -> bool {
    let mut ranges = gpp.ranges();
    ranges.any(|range| {
        let Some((start, end)) = range else { return true };
        // a range beyond what we read ends at its first section that we do not
        (start..=end).any(|id| denies(id, &section))
    })
}

#[cfg(test)]
mod tests {
    use super::{super::testing::Made, *};

    const RULES: Rules = Rules { vendor_id: Some(733), gdpr_by_default: false };

    fn purposes(signals: &Signals<'_>) -> Purposes {
        read(signals, RULES).allowed.purposes
    }

    fn country(code: &str) -> Option<Country> {
        Some(code.parse().expect("a country"))
    }

    #[test]
    fn nothing_said_outside_the_eea_allows() {
        assert_eq!(read(&Signals { country: country("US"), ..Signals::default() }, RULES), Reading::default());
        assert_eq!(read(&Signals::default(), RULES), Reading::default());
        let careful = Rules { gdpr_by_default: true, ..RULES };
        assert_eq!(read(&Signals::default(), careful).allowed, Allowed::NOTHING);
        assert_eq!(
            read(&Signals { country: country("US"), ..Signals::default() }, careful).allowed,
            Allowed::EVERYTHING
        );
    }

    #[test]
    fn every_signal_closes() {
        let us = Signals { country: country("US"), ..Signals::default() };
        for closed in [
            Signals { gdpr: Some(true), ..us.clone() },
            Signals { country: country("DE"), ..us.clone() },
            Signals { country: country("GB"), ..us.clone() },
            Signals { country: country("GP"), ..us.clone() },
            Signals { tcf: Some("junk"), ..us.clone() },
            Signals { tcf: Some(""), country: None, ..us.clone() },
            Signals { us_privacy: Some("1YYN"), ..us.clone() },
            Signals { us_privacy: Some("1YY"), ..us.clone() },
            Signals { us_privacy: Some(""), ..us.clone() },
            Signals { us_privacy: Some("1yyn"), ..us.clone() },
            Signals { us_privacy: Some("2YNN"), ..us.clone() },
            Signals { gpp: Some("junk"), ..us.clone() },
            Signals { gpp: Some("DBABTA~1YYN"), ..us.clone() },
            Signals { gpp: Some("DBABTA~1YYN"), gpp_sid: &[6], ..us.clone() },
            Signals { gpp_sid: &[7], ..us.clone() },
            Signals { gpp: Some("DBABTA~1YNN"), gpp_sid: &[6, 7], ..us.clone() },
            Signals { gpp: Some("DBABTA~1YNN"), gpp_sid: &[5], ..us.clone() },
            Signals { gpp: Some("DBABTA~1YNN"), gpp_sid: &[2], ..us.clone() },
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
            Signals { gdpr: Some(false), tcf: Some("junk"), ..us.clone() },
            Signals { gpp: Some("DBABTA~1YNN"), ..us.clone() },
            Signals { gpp: Some("DBABTA~1YNN"), gpp_sid: &[6], ..us.clone() },
            Signals { gpp: Some("DBABTA~1YYN"), gpp_sid: &[-1], ..us.clone() },
            Signals { gpp: Some("DBABTA~1YNN"), gpp_sid: &[0], ..us.clone() },
            Signals { gpp: Some("DBABTA~1YNN"), gpp_sid: &[6], gdpr: Some(true), ..us.clone() },
            Signals { gdpr: Some(true), asserted: Some(Purposes::ALL), ..us },
        ] {
            assert_eq!(purposes(&open), Purposes::ALL, "{open:?}");
        }
    }

    #[test]
    fn consent_opens_for_the_vendor_it_names() {
        let text = Made::consenting(733).text();
        let signals = Signals { gdpr: Some(true), tcf: Some(&text), ..Signals::default() };
        let of = |vendor_id| read(&signals, Rules { vendor_id, ..RULES });
        assert_eq!(of(Some(733)), Reading { allowed: Allowed::EVERYTHING, gdpr: true, tcf: Some(&text) });
        assert_eq!((of(Some(734)).allowed, of(None).allowed), (Allowed::NOTHING, Allowed::NOTHING));
        // a browser that objects is heard, and an ad may be chosen all the same
        let objecting = Signals { opted_out: true, ..signals.clone() };
        assert_eq!(read(&objecting, RULES).allowed, Allowed::CONTEXT);
        let silent = Signals { opted_out: true, tcf: Some("junk"), ..signals.clone() };
        assert_eq!(read(&silent, RULES).allowed, Allowed::NOTHING);
        // the platform's own section goes before the string beside it
        let gpp = format!("DBABMA~{text}");
        let both = Signals { gpp: Some(&gpp), gpp_sid: &[2], tcf: Some("junk"), ..signals.clone() };
        assert_eq!(read(&both, RULES).allowed, Allowed::EVERYTHING);
        assert_eq!(read(&Signals { gdpr: None, gpp_sid: &[], tcf: None, ..both }, RULES).tcf, Some(&text[..]));
    }

    #[test]
    fn an_assertion_is_taken_as_it_is() {
        let some = Purposes { basic: true, ..Purposes::NONE };
        assert_eq!(purposes(&Signals { asserted: Some(some), ..Signals::default() }), some);
        assert_eq!(some.names().collect::<Vec<_>>(), ["basic"]);
    }

    /// Every class of hostile string at the longest that is read: seconds would be noticed.
    #[test]
    fn hostile_strings_end() {
        for unit in ["A", "_", "gA", "CQ", "DBAB", "~", "."] {
            let long = unit.repeat(8_192 / unit.len());
            for signals in [
                Signals { tcf: Some(&long), ..Signals::default() },
                Signals { gpp: Some(&long), ..Signals::default() },
                Signals { us_privacy: Some(&long), ..Signals::default() },
            ] {
                assert_eq!(purposes(&signals), Purposes::NONE);
            }
        }
        // a section that lies behind 8 KiB and forbids nothing, named again and again
        let long = format!("DBACNYA~{}~1YNN", "A".repeat(8_000));
        let once = Signals { gpp: Some(&long), gpp_sid: &[6], ..Signals::default() };
        assert_eq!(purposes(&once), Purposes::ALL);
        for gpp_sid in [vec![6; 125_000], vec![2; 125_000], (0..125_000).collect()] {
            assert_eq!(purposes(&Signals { gpp_sid: &gpp_sid, ..once.clone() }), Purposes::NONE);
        }
    }

    #[test]
    fn more_sections_than_there_are_are_a_no() {
        let us = |gpp_sid: &[i32]| {
            let country = country("US");
            purposes(&Signals { gpp: Some("DBABTA~1YNN"), gpp_sid, country, ..Signals::default() })
        };
        assert_eq!(us(&[6; 32]), Purposes::ALL);
        assert_eq!((us(&[6; 33]), us(&[-1; 33])), (Purposes::NONE, Purposes::NONE));
    }
}
