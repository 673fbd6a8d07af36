//! IAB Europe's Transparency and Consent Framework 2.3: what a TC string allows one vendor.
//!
//! Ranges of vendors are asked whether they hold the one vendor and never written out, so that the
//! time is linear in the length of the text, which is capped.

use super::{
    bits::{Bits, LONGEST},
    purposes::{Allowed, Purposes},
};

/// 1 March 2026 UTC in deciseconds since 1970: strings made or changed since then say which vendors
/// were disclosed, or are invalid (TCF 2.3).
const DISCLOSURE_SINCE: u64 = 17_723_232_000;

/// Purpose 1: store or read information on a device.
const STORE: u32 = 1 << 1;
/// Purpose 2: choose advertising with limited data, and cap how often it is seen.
const SELECT: u32 = 1 << 2;
/// Purpose 3: create profiles.
const PROFILE: u32 = 1 << 3;
/// Purpose 4: use profiles to choose advertising.
const PERSONALISE: u32 = 1 << 4;
/// Purpose 7: measure how advertising performs.
const MEASURE: u32 = 1 << 7;

/// What a TC string allows `vendor` under the GDPR; nothing when it cannot be read, is out of date
/// or lacks the vendor.
pub(super) fn allowed(text: &str, vendor: u16) -> Allowed {
    // the core and, in any order, vendors disclosed, vendors allowed and the publisher's own purposes
    let mut segments = text.split('.').take(4);
    if text.len() > LONGEST {
        return Allowed::NOTHING;
    }
    let core = segments.next().and_then(Bits::new).and_then(|bits| Core::read(bits, vendor));
    let Some(core) = core.filter(|core| core.sound && core.vendor) else { return Allowed::NOTHING };
    let disclosed = segments.find_map(|segment| disclosed(segment, vendor));
    if !disclosed.unwrap_or(core.touched < DISCLOSURE_SINCE) {
        return Allowed::NOTHING;
    }
    let all = |wanted: u32| core.purposes & wanted == wanted;
    Allowed {
        purposes: Purposes {
            // what is kept for one person needs the right to recognise them as well
            basic: all(STORE | SELECT),
            profile_read: all(STORE | SELECT | PERSONALISE),
            profile_write: all(STORE | PROFILE),
            measure: all(MEASURE),
        },
        selection: all(SELECT),
        precise_geo: core.precise_geo,
    }
}

/// Whether the vendor was disclosed; none when the segment is another one. One that cannot be read
/// discloses nobody.
fn disclosed(segment: &str, vendor: u16) -> Option<bool> {
    const DISCLOSED_VENDORS: u64 = 1;
    let mut bits = Bits::new(segment)?;
    (bits.take(3)? == DISCLOSED_VENDORS).then(|| vendors(&mut bits, vendor).unwrap_or(false))
}

/// What the core segment says of the vendor.
struct Core {
    /// Whether its version, policy and scope are those of today.
    sound: bool,
    /// When it was made or changed last, in deciseconds since 1970.
    touched: u64,
    /// Special feature 1.
    precise_geo: bool,
    /// Purposes with consent that no publisher takes back from the vendor, as bits by number.
    purposes: u32,
    /// Whether the vendor has consent.
    vendor: bool,
}

impl Core {
    fn read(mut bits: Bits<'_>, vendor: u16) -> Option<Self> {
        let version = bits.take(6)?;
        let touched = bits.take(36)?.max(bits.take(36)?);
        // the platform's id, version and screen, the language, the version of the vendor list
        bits.skip(12 + 12 + 6 + 12 + 12)?;
        let policy = bits.take(6)?;
        let service_specific = bits.flag()?;
        bits.skip(1)?;
        let special = bits.take(12)?;
        // the first purpose is the highest bit
        let consents = (bits.take(24)? as u32).reverse_bits() >> 7;
        // legitimate interest, purpose one treatment, the publisher's country
        bits.skip(24 + 1 + 12)?;
        let consented = vendors(&mut bits, vendor)?;
        vendors(&mut bits, vendor)?;
        let barred = restricted(&mut bits, vendor)?;
        Some(Self {
            sound: version == 2 && policy >= 4 && service_specific,
            touched,
            precise_geo: special >> 11 == 1,
            purposes: consents & !barred,
            vendor: consented,
        })
    }
}

/// Reads a list of vendors, as a field of bits or as ranges, and tells whether it holds one.
fn vendors(bits: &mut Bits<'_>, vendor: u16) -> Option<bool> {
    let most = bits.take(16)? as u16;
    if bits.flag()? {
        return ranges(bits, vendor);
    }
    if vendor == 0 || vendor > most {
        bits.skip(most.into())?;
        return Some(false);
    }
    bits.skip(usize::from(vendor) - 1)?;
    let held = bits.flag()?;
    bits.skip(usize::from(most - vendor))?;
    Some(held)
}

/// Reads ranges and tells whether one of them holds a vendor. A range that ends before it begins
/// makes the whole string invalid.
fn ranges(bits: &mut Bits<'_>, vendor: u16) -> Option<bool> {
    let vendor = u64::from(vendor);
    let mut held = false;
    for _ in 0..bits.take(12)? {
        let (is_range, start) = (bits.flag()?, bits.take(16)?);
        let end = if is_range { bits.take(16)? } else { start };
        if start == 0 || end < start {
            return None;
        }
        held |= (start..=end).contains(&vendor);
    }
    Some(held)
}

/// Purposes that publishers forbid the vendor (type 0) or allow it only by legitimate interest
/// (type 2), as bits by number.
fn restricted(bits: &mut Bits<'_>, vendor: u16) -> Option<u32> {
    let mut barred = 0;
    for _ in 0..bits.take(12)? {
        let (purpose, kind) = (bits.take(6)?, bits.take(2)?);
        let holds = ranges(bits, vendor)?;
        if holds && (kind == 0 || kind == 2) && purpose < 32 {
            barred |= 1 << purpose;
        }
    }
    Some(barred)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::testing::{Made, Writer},
        *,
    };

    const VENDOR: u16 = 733;

    fn made(change: impl FnOnce(&mut Made)) -> Allowed {
        let mut made = Made::consenting(VENDOR);
        change(&mut made);
        allowed(&made.text(), VENDOR)
    }

    #[test]
    fn everything_consented_allows_everything() {
        assert_eq!(made(|_| {}), Allowed { purposes: Purposes::ALL, selection: true, precise_geo: true });
    }

    #[test]
    fn each_purpose_opens_what_it_is_for() {
        let with = |numbers: &[u8]| made(|made| made.purposes = numbers.to_vec()).purposes;
        let none = Purposes::NONE;
        assert_eq!(with(&[1, 2, 4]), Purposes { basic: true, profile_read: true, ..none });
        assert_eq!(with(&[1, 2]), Purposes { basic: true, ..none });
        assert_eq!(with(&[1, 3]), Purposes { profile_write: true, ..none });
        assert_eq!(with(&[7]), Purposes { measure: true, ..none });
        for lacking in [&[2, 3, 4][..], &[1, 4], &[5, 6, 8, 9, 10, 11]] {
            assert_eq!(with(lacking), none, "{lacking:?}");
        }
        assert!(made(|made| made.purposes = vec![2]).selection && !made(|made| made.purposes = vec![1, 4]).selection);
        assert!(!made(|made| made.special = 0x7ff).precise_geo, "another special feature");
    }

    #[test]
    fn what_makes_a_string_worthless() {
        type Change = fn(&mut Made);
        let faults: [(&str, Change); 9] = [
            ("another version", |made| made.version = 1),
            ("an old policy", |made| made.policy = 3),
            ("not of one service", |made| made.service_specific = false),
            ("no consent for the vendor", |made| made.vendors = vec![(1, 732), (734, 900)]),
            ("not disclosed", |made| made.disclosed = Some(vec![(1, 732)])),
            ("nobody disclosed", |made| made.disclosed = Some(vec![])),
            ("no disclosure since March 2026", |made| made.disclosed = None),
            ("changed since March 2026", |made| {
                (made.created, made.disclosed) = (DISCLOSURE_SINCE - 1, None);
            }),
            ("a range backwards", |made| made.vendors = vec![(733, 733), (9, 8)]),
        ];
        for (what, change) in faults {
            assert_eq!(made(change), Allowed::NOTHING, "{what}");
        }
        let older = made(|made| {
            (made.created, made.updated, made.disclosed) = (DISCLOSURE_SINCE - 1, DISCLOSURE_SINCE - 1, None);
        });
        assert_eq!(older.purposes, Purposes::ALL, "before March 2026 nobody had to be disclosed");
    }

    #[test]
    fn publishers_take_purposes_back() {
        let restricted = |purpose, kind, ranges: &[(u16, u16)]| {
            made(|made| made.restrictions = vec![(purpose, kind, ranges.to_vec())])
        };
        for kind in [0, 2] {
            assert!(!restricted(4, kind, &[(700, 800)]).purposes.profile_read, "{kind}");
            assert!(!restricted(2, kind, &[(733, 733)]).selection, "{kind}");
        }
        assert_eq!(restricted(4, 1, &[(700, 800)]).purposes, Purposes::ALL, "consent, which there is");
        assert_eq!(restricted(4, 0, &[(1, 732), (734, 800)]).purposes, Purposes::ALL, "other vendors");
        assert_eq!(restricted(63, 0, &[(1, 800)]).purposes, Purposes::ALL, "no purpose of ours");
    }

    #[test]
    fn vendors_stand_in_ranges_or_in_a_field() {
        for in_ranges in [false, true] {
            assert_eq!(made(|made| made.in_ranges = in_ranges).purposes, Purposes::ALL);
            assert_eq!(made(|made| (made.in_ranges, made.vendors) = (in_ranges, vec![])), Allowed::NOTHING);
        }
    }

    #[test]
    fn every_cut_closes() {
        let text = Made::consenting(VENDOR).text();
        let core = text.find('.').expect("segments");
        for end in 0..core {
            assert_eq!(allowed(&text[..end], VENDOR), Allowed::NOTHING, "{end}");
        }
        for junk in ["", ".", "..", "~", "\u{1f30d}", "1YNN", &"A".repeat(9_000), &format!("{text}!")[..core + 1]] {
            assert_eq!(allowed(junk, VENDOR), Allowed::NOTHING, "{junk}");
        }
    }

    /// The most ranges that fit: each of them asked, none of them written out.
    #[test]
    fn hostile_ranges_cost_no_more_than_reading_them() {
        let mut made = Made::consenting(VENDOR);
        made.restrictions = (0..500_u16).map(|at| ((at % 24) as u8, 0, vec![(1, u16::MAX); 2])).collect();
        let text = made.text();
        assert!((7_000..8_192).contains(&text.len()), "{}", text.len());
        assert_eq!(allowed(&text, VENDOR).purposes, Purposes::NONE);
        let mut writer = Writer::default();
        (0..60_000).for_each(|at| writer.push(at % 2, 1));
        assert_eq!(allowed(&writer.text(), VENDOR), Allowed::NOTHING);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[A-Za-z0-9_.=-]{0,400}", vendor: u16) {
            allowed(&format!("CQ{text}"), vendor);
        }

        #[test]
        fn a_changed_character_never_reaches_past_the_text(at in 0..90_usize, to in "[A-Za-z0-9_-]") {
            let mut text = Made::consenting(VENDOR).text();
            let at = at % text.len();
            text.replace_range(at..=at, &to);
            allowed(&text, VENDOR);
        }
    }
}
