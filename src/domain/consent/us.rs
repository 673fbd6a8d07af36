//! Opt-outs of the United States: the `us_privacy` string, and the national and state sections of
//! the Global Privacy Platform.

use super::bits::Bits;

/// The columns of a section, between its version and the three of the Multi-State Privacy
/// Agreement; two bits each. All sections write them in this order.
struct Layout {
    /// Number of the section, and its version.
    id: (u32, u64),
    /// Whether notice was given: 2 is no.
    notices: usize,
    /// Opt-outs of sale, sharing and targeted advertising: 1 is opted out.
    opt_outs: usize,
    /// Consent for sensitive data, of which no decision makes use.
    sensitive: usize,
    /// Known children: anything but 0 says that it is one.
    children: usize,
    /// Consent beyond what was disclosed.
    further: usize,
}

const fn layout(id: u32, version: u64, columns: [usize; 5]) -> Layout {
    let [notices, opt_outs, sensitive, children, further] = columns;
    Layout { id: (id, version), notices, opt_outs, sensitive, children, further }
}

/// The sections by their numbers: IAB Tech Lab's Global Privacy Platform, Section Information.
/// Those from 24 on are drafts of another encoding.
const LAYOUTS: [Layout; 18] = [
    layout(7, 1, [6, 3, 12, 2, 1]),  // national
    layout(7, 2, [6, 3, 16, 3, 1]),  // national
    layout(8, 1, [3, 2, 9, 2, 1]),   // California
    layout(9, 1, [3, 2, 8, 1, 0]),   // Virginia
    layout(10, 1, [3, 2, 7, 1, 0]),  // Colorado
    layout(11, 1, [4, 2, 8, 1, 0]),  // Utah
    layout(12, 1, [3, 2, 8, 3, 0]),  // Connecticut
    layout(13, 1, [3, 2, 8, 3, 1]),  // Florida
    layout(14, 1, [3, 2, 8, 3, 1]),  // Montana
    layout(15, 1, [3, 2, 11, 3, 1]), // Oregon
    layout(16, 1, [3, 2, 8, 1, 1]),  // Texas
    layout(17, 1, [3, 2, 9, 5, 1]),  // Delaware
    layout(18, 1, [4, 2, 8, 1, 0]),  // Iowa
    layout(19, 1, [3, 2, 8, 1, 1]),  // Nebraska
    layout(20, 1, [3, 2, 8, 3, 1]),  // New Hampshire
    layout(21, 1, [3, 2, 10, 5, 1]), // New Jersey
    layout(22, 1, [3, 2, 8, 1, 1]),  // Tennessee
    layout(23, 1, [3, 2, 8, 1, 1]),  // Minnesota
];

/// Whether a US privacy string (`1`, then three of `Y`, `N`, `-`: notice, opt-out of sale, LSPA)
/// forbids use: it says so, or it is no such string. IAB CCPA Compliance Framework 1.0.
pub(super) fn us_privacy_denies(text: &str) -> bool {
    match text.as_bytes() {
        [b'1', rest @ ..] if rest.len() == 3 && rest.iter().all(|b| matches!(b, b'Y' | b'N' | b'-')) => rest[1] == b'Y',
        _ => true,
    }
}

/// Whether a national or state section forbids use: it says so, or it cannot be read.
pub(super) fn section_denies(id: u32, text: &str) -> bool {
    let mut segments = text.split('.');
    let core = segments.next().and_then(Bits::new).and_then(|bits| core_denies(id, bits));
    core.unwrap_or(true) || segments.any(|segment| Bits::new(segment).and_then(gpc).unwrap_or(true))
}

fn core_denies(id: u32, mut bits: Bits<'_>) -> Option<bool> {
    let version = bits.take(6)?;
    let layout = LAYOUTS.iter().find(|layout| layout.id == (id, version))?;
    let mut any = |columns: usize, denies: fn(u64) -> bool| {
        let mut found = false;
        for _ in 0..columns {
            found |= denies(bits.take(2)?);
        }
        Some(found)
    };
    let unnoticed = any(layout.notices, |notice| notice == 2)?;
    let opted_out = any(layout.opt_outs, |opt_out| opt_out == 1)?;
    any(layout.sensitive, |_| false)?;
    let child = any(layout.children, |child| child != 0)?;
    // further consent, whether the agreement covers it and its opt-out option
    any(layout.further + 2, |_| false)?;
    let service_provider = any(1, |mode| mode == 1)?;
    Some(unnoticed || opted_out || child || service_provider)
}

/// Whether a later segment says that Global Privacy Control is set.
fn gpc(mut bits: Bits<'_>) -> Option<bool> {
    const GPC: u64 = 1;
    Some(bits.take(2)? == GPC && bits.flag()?)
}

#[cfg(test)]
mod tests {
    use super::{super::testing::Writer, *};

    /// A section with this in its columns, without notice of anything else.
    fn section(layout: &Layout, columns: &[(usize, u64)]) -> String {
        let mut writer = Writer::default();
        writer.push(layout.id.1, 6);
        let count = layout.notices + layout.opt_outs + layout.sensitive + layout.children + layout.further + 3;
        for at in 0..count {
            let notice = u64::from(at < layout.notices);
            writer.push(columns.iter().find(|(column, _)| *column == at).map_or(notice, |(_, value)| *value), 2);
        }
        writer.text()
    }

    #[test]
    fn every_section_is_read_column_by_column() {
        for layout in &LAYOUTS {
            let (id, denies) =
                (layout.id.0, |columns: &[(usize, u64)]| section_denies(layout.id.0, &section(layout, columns)));
            assert!(!denies(&[]), "{id}");
            for notice in 0..layout.notices {
                assert!(denies(&[(notice, 2)]) && !denies(&[(notice, 0)]), "{id}: notice {notice}");
            }
            for opt_out in layout.notices..layout.notices + layout.opt_outs {
                assert!(denies(&[(opt_out, 1)]) && !denies(&[(opt_out, 2)]), "{id}: opt-out {opt_out}");
            }
            let children = layout.notices + layout.opt_outs + layout.sensitive;
            assert!(!denies(&[(children - 1, 1)]), "{id}: sensitive data");
            for child in children..children + layout.children {
                assert!(denies(&[(child, 1)]) && denies(&[(child, 2)]), "{id}: child {child}");
            }
            let last = children + layout.children + layout.further + 2;
            assert!(denies(&[(last, 1)]) && !denies(&[(last, 2), (last - 1, 1), (last - 2, 1)]), "{id}: provider");
        }
    }

    #[test]
    fn what_cannot_be_read_denies() {
        let sound = section(&LAYOUTS[0], &[]);
        assert!(!section_denies(7, &sound) && !section_denies(7, &format!("{sound}.QA")));
        for (id, text) in [
            (7, ""),
            (7, "!"),
            (7, &sound[..8]),
            (7, &format!("{sound}.YA")[..]),
            (7, &format!("{sound}.")),
            (24, &sound),
            (8, "CAAAAAAAAAAAAAA"),
        ] {
            assert!(section_denies(id, text), "{id} {text}");
        }
    }
}
