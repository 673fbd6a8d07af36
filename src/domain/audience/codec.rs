//! Bytes of the packed forms: little-endian words and shortest variable-length numbers, so that
//! equal values have equal bytes.

/// Why bytes are no packed value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end too early.
    #[error("packed bytes end too early")]
    Truncated,
    /// Written by a version of the program that this one does not understand.
    #[error("packed with format {0}, which this version does not read")]
    Version(u8),
    /// The bytes break a rule of the format.
    #[error("packed bytes are malformed: {0}")]
    Malformed(&'static str),
}

/// Appends `number`, seven bits a byte, lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends the length and the bytes of `text`.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Takes values from the front of packed bytes.
pub(super) struct Unpack<'a>(pub(super) &'a [u8]);

impl<'a> Unpack<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(CodecError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn byte(&mut self) -> Result<u8, CodecError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn word(&mut self) -> Result<u64, CodecError> {
        let mut word = [0; 8];
        word.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(word))
    }

    pub(super) fn float(&mut self) -> Result<f64, CodecError> {
        let number = f64::from_bits(self.word()?);
        let canonical = number.is_finite() && (number + 0.0).to_bits() == number.to_bits();
        if canonical { Ok(number) } else { Err(CodecError::Malformed("a number is not finite or a negative zero")) }
    }

    pub(super) fn varint(&mut self) -> Result<u64, CodecError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                let shortest = byte != 0 || shift == 0;
                return if shortest {
                    Ok(number)
                } else {
                    Err(CodecError::Malformed("a number is longer than needed"))
                };
            }
        }
        Err(CodecError::Malformed("a number does not fit into 64 bits"))
    }

    /// A count of things that take at least `each` bytes: never more than the bytes can hold, so
    /// that a forged count reserves no memory.
    pub(super) fn count(&mut self, each: usize) -> Result<usize, CodecError> {
        let count = usize::try_from(self.varint()?).map_err(|_| CodecError::Truncated)?;
        if count > self.0.len() / each { Err(CodecError::Truncated) } else { Ok(count) }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, CodecError> {
        let len = self.count(1)?;
        std::str::from_utf8(self.take(len)?).map_err(|_| CodecError::Malformed("a text is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            let mut from = Unpack(&out);
            assert_eq!((from.varint(), from.is_empty()), (Ok(number), true));
        }
        for bytes in [&[0x80, 0][..], &[0xff; 10][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2][..]] {
            assert!(matches!(Unpack(bytes).varint(), Err(CodecError::Malformed(_))), "{bytes:?}");
        }
        assert_eq!(Unpack(&[0x80]).varint(), Err(CodecError::Truncated));
        assert_eq!(Unpack(&[0xff, 0x7f]).count(1), Err(CodecError::Truncated));
    }
}
