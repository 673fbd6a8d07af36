//! Writes consent strings for tests.

/// Bits being written as base64url text.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<bool>);

impl Writer {
    pub(super) fn push(&mut self, number: u64, bits: usize) {
        (0..bits).rev().for_each(|bit| self.0.push(number >> bit & 1 == 1));
    }

    pub(super) fn fibonacci(&mut self, number: u32) {
        let number = u64::from(number);
        let mut row = vec![1, 2];
        while row[row.len() - 1] <= number {
            row.push(row[row.len() - 1] + row[row.len() - 2]);
        }
        row.retain(|part| *part <= number);
        let (mut rest, mut code) = (number, vec![true]);
        for part in row.into_iter().rev() {
            code.push(part <= rest);
            rest -= if part <= rest { part } else { 0 };
        }
        self.0.extend(code.into_iter().rev());
    }

    pub(super) fn text(&self) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let six = |bits: &[bool]| (0..6).fold(0, |sum, at| sum << 1 | usize::from(bits.get(at) == Some(&true)));
        self.0.chunks(6).map(|bits| char::from(alphabet[six(bits)])).collect()
    }
}

/// Vendors from the first to the last.
type Ranges = Vec<(u16, u16)>;

/// A TC string to be.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) version: u64,
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) policy: u64,
    pub(super) service_specific: bool,
    pub(super) special: u64,
    pub(super) purposes: Vec<u8>,
    pub(super) in_ranges: bool,
    pub(super) vendors: Ranges,
    pub(super) restrictions: Vec<(u8, u8, Ranges)>,
    pub(super) disclosed: Option<Ranges>,
}

impl Made {
    /// Everything consented for a vendor, in June 2026.
    pub(super) fn consenting(vendor: u16) -> Self {
        Self {
            version: 2,
            created: 17_803_000_000,
            updated: 17_803_000_000,
            policy: 5,
            service_specific: true,
            special: 0xfff,
            purposes: (1..=11).collect(),
            in_ranges: false,
            vendors: vec![(2, 2), (vendor, vendor)],
            restrictions: vec![],
            disclosed: Some(vec![(1, vendor)]),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut core = Writer::default();
        core.push(self.version, 6);
        core.push(self.created, 36);
        core.push(self.updated, 36);
        core.push(300 << 12 | 1, 24);
        core.push(1, 6);
        core.push(0x0c4, 12);
        core.push(150, 12);
        core.push(self.policy, 6);
        core.push(self.service_specific.into(), 1);
        core.push(0, 1);
        core.push(self.special, 12);
        (1..=24).for_each(|purpose| core.push(self.purposes.contains(&purpose).into(), 1));
        core.push(0, 24 + 1 + 12);
        vendors(&mut core, &self.vendors, self.in_ranges);
        vendors(&mut core, &[], false);
        core.push(self.restrictions.len() as u64, 12);
        for (purpose, kind, held) in &self.restrictions {
            core.push((*purpose).into(), 6);
            core.push((*kind).into(), 2);
            ranges(&mut core, held);
        }
        let Some(disclosed) = &self.disclosed else { return core.text() };
        let mut segment = Writer::default();
        segment.push(1, 3);
        vendors(&mut segment, disclosed, self.in_ranges);
        format!("{}.{}", core.text(), segment.text())
    }
}

fn vendors(writer: &mut Writer, held: &[(u16, u16)], in_ranges: bool) {
    let most = held.iter().map(|(_, end)| *end).max().unwrap_or(0);
    writer.push(most.into(), 16);
    // a field cannot say what ends before it begins
    let in_ranges = in_ranges || held.iter().any(|(start, end)| end < start);
    writer.push(in_ranges.into(), 1);
    if in_ranges {
        return ranges(writer, held);
    }
    (1..=most).for_each(|id| writer.push(held.iter().any(|(start, end)| (*start..=*end).contains(&id)).into(), 1));
}

fn ranges(writer: &mut Writer, held: &[(u16, u16)]) {
    writer.push(held.len() as u64, 12);
    for (start, end) in held {
        writer.push((start != end).into(), 1);
        writer.push((*start).into(), 16);
        if start != end {
            writer.push((*end).into(), 16);
        }
    }
}
