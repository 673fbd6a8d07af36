//! IAB Tech Lab's Global Privacy Platform: a header that names sections, and the sections.

use super::bits::Bits;

/// The section of IAB Europe's TCF.
pub(super) const TCF_EU: u32 = 2;
/// The section of the US privacy string.
pub(super) const US_PRIVACY: u32 = 6;

/// A GPP string whose header was read.
#[derive(Clone, Debug)]
pub(super) struct Gpp<'a> {
    /// Behind the header's version.
    ids: Bits<'a>,
    /// The sections, joined by `~`.
    sections: &'a str,
}

/// The longest header that is read, in characters: those in use have less than 20.
const LONGEST_HEADER: usize = 64;

impl<'a> Gpp<'a> {
    /// Reads a string; none where it is no GPP string of version 1.
    pub(super) fn new(text: &'a str) -> Option<Self> {
        if text.len() > super::bits::LONGEST {
            return None;
        }
        let (header, sections) = text.split_once('~').unwrap_or((text, ""));
        let mut ids = Bits::new(header).filter(|_| header.len() <= LONGEST_HEADER)?;
        (ids.take(6)? == 3 && ids.take(6)? == 1).then_some(Self { ids, sections })
    }

    /// The text of a section; none where the string does not have it.
    pub(super) fn section(&self, id: u32) -> Option<&'a str> {
        let mut before = 0_usize;
        for range in self.ranges() {
            let (start, end) = range?;
            if (start..=end).contains(&id) {
                return self.sections.split('~').nth(before + (id - start) as usize);
            }
            before += (end - start) as usize + 1;
        }
        None
    }

    /// The sections that the string has, as ranges in ascending order; none for what cannot be read.
    /// They are never written out: a header may name billions.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Option<(u32, u32)>> {
        let mut bits = self.ids.clone();
        // a count that cannot be read is one range that cannot be read
        let (mut left, mut last) = (bits.take(12).unwrap_or(1), 0_u32);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let mut next = || {
                let is_range = bits.flag()?;
                let start = last.checked_add(bits.fibonacci()?)?;
                last = if is_range { start.checked_add(bits.fibonacci()?)? } else { start };
                Some((start, last))
            };
            let range = next();
            if range.is_none() {
                left = 0;
            }
            Some(range)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::testing::Writer, *};

    fn header(ranges: &[(u32, u32)]) -> String {
        let mut writer = Writer::default();
        writer.push(3, 6);
        writer.push(1, 6);
        writer.push(ranges.len() as u64, 12);
        let mut last = 0;
        for (start, end) in ranges {
            writer.push((start != end).into(), 1);
            writer.fibonacci(start - last);
            if start != end {
                writer.fibonacci(end - start);
            }
            last = *end;
        }
        writer.text()
    }

    #[test]
    fn sections_are_found_by_their_number() {
        let text = format!("{}~two~six~seven~eight~nine~twenty", header(&[(2, 2), (6, 9), (20, 20)]));
        let gpp = Gpp::new(&text).expect("a GPP string");
        let found = [2, 6, 7, 8, 9, 20].map(|id| gpp.section(id).expect("a section"));
        assert_eq!(found, ["two", "six", "seven", "eight", "nine", "twenty"]);
        assert_eq!([1, 3, 10, 21].map(|id| gpp.section(id)), [None; 4]);
    }

    #[test]
    fn headers_that_lie_cost_nothing() {
        let text = format!("{}~only", header(&[(1, 3_000_000_000)]));
        let gpp = Gpp::new(&text).expect("a GPP string");
        assert_eq!((gpp.section(1), gpp.section(2), gpp.section(2_000_000_000)), (Some("only"), None, None));
        for bad in ["", "~", "CAAA~a", "DCAA~a", "D", &"DBAB".repeat(20), &format!("DBAB~{}", "A".repeat(9_000))] {
            assert!(Gpp::new(bad).is_none(), "{bad}");
        }
        let cut = Gpp::new("DBABI~a").expect("a header");
        assert_eq!(cut.ranges().collect::<Vec<_>>(), [None], "said once");
        assert_eq!(cut.section(7), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "DB[A-Za-z0-9_-]{0,40}(~[A-Za-z0-9_.-]{0,20}){0,4}", id: u32) {
            if let Some(gpp) = Gpp::new(&text) {
                gpp.section(id);
                prop_assert!(gpp.ranges().count() <= 4_096);
            }
        }
    }
}
