//! Bits written as base64url text, read where they stand.
//!
//! Consent strings write six bits per character and pad to whole characters, not to whole bytes.
//! Reading straight from the text needs no memory and costs only what is asked for.

/// The longest text that is looked at, in bytes: longer ones are taken for no text at all.
pub(super) const LONGEST: usize = 8 << 10;

/// The value of each byte as a base64url character; 64 for bytes that are none.
const VALUES: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut values = [64; 256];
    let mut at = 0;
    while at < alphabet.len() {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values
};

/// A text of base64url characters as bits, and how far it was read.
#[derive(Clone, Debug)]
pub(super) struct Bits<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// The bits of a text; none when it holds anything else or too much. Padding is cut off.
    pub(super) fn new(text: &'a str) -> Option<Self> {
        let text = text.trim_end_matches('=').as_bytes();
        let sound = text.len() <= LONGEST && text.iter().fold(0, |seen, byte| seen | VALUES[*byte as usize]) < 64;
        sound.then_some(Self { text, at: 0 })
    }

    /// The next `count` bits, at most 36, as a number.
    pub(super) fn take(&mut self, count: usize) -> Option<u64> {
        let end = self.at + count;
        let last = end.div_ceil(6);
        let chars = self.text.get(self.at / 6..last)?;
        let whole = chars.iter().fold(0, |bits, byte| bits << 6 | u64::from(VALUES[*byte as usize]));
        self.at = end;
        Some(whole >> (last * 6 - end) & ((1 << count) - 1))
    }

    /// The next bit.
    pub(super) fn flag(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    /// Passes over `count` bits, which must be there.
    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        let end = self.at + count;
        (end <= self.text.len() * 6).then(|| self.at = end)
    }

    /// The next number in Fibonacci coding, as GPP headers write theirs: the bits say which of
    /// 1, 2, 3, 5, 8... make the sum, least first, and a second one in a row ends it.
    pub(super) fn fibonacci(&mut self) -> Option<u32> {
        let (mut sum, mut this, mut next, mut before) = (0_u64, 1_u64, 2_u64, false);
        loop {
            let bit = self.flag()?;
            if bit && before {
                return u32::try_from(sum).ok();
            }
            if bit {
                sum = sum.checked_add(this)?;
            }
            (this, next, before) = (next, this.checked_add(next)?, bit);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_every_width_come_out_as_they_went_in() {
        let mut bits = Bits::new("DBABLA").expect("base64url");
        assert_eq!((bits.take(6), bits.take(6), bits.take(12)), (Some(3), Some(1), Some(1)));
        assert_eq!((bits.flag(), bits.fibonacci()), (Some(false), Some(7)));
        assert_eq!(bits.take(36), None, "there is no more");
        assert_eq!(Bits::new("____").expect("base64url").take(24), Some(0xff_ffff));
        assert!(Bits::new("AB CD").is_none() && Bits::new("AB+/").is_none() && Bits::new("\u{e4}").is_none());
        assert!(Bits::new(&"A".repeat(LONGEST)).is_some() && Bits::new(&"A".repeat(LONGEST + 1)).is_none());
        assert!(Bits::new("").expect("nothing").take(1).is_none());
    }

    proptest! {
        #[test]
        fn reading_in_pieces_is_reading_at_once(text in "[A-Za-z0-9_-]{6}", cut in 0..36_usize) {
            let mut whole = Bits::new(&text).expect("base64url");
            let mut parts = whole.clone();
            let (high, low) = (parts.take(cut).expect("bits"), parts.take(36 - cut).expect("bits"));
            prop_assert_eq!(whole.take(36), Some(high << (36 - cut) | low));
            prop_assert_eq!(parts.skip(1), None);
        }
    }
}
