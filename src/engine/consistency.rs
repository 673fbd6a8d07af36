//! Tokens that make a decision reflect what was committed before.

use std::{fmt, str::FromStr};

/// What a decision has to reflect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// A version of the person: one person was changed.
    Version(u64),
    /// A transaction: several people were.
    Transaction(u64),
}

impl Consistency {
    /// What reflects both, of two changes by one caller to the same people.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Version(a), Self::Version(b)) => Self::Version(a.max(b)),
            (Self::Transaction(a), Self::Transaction(b)) => Self::Transaction(a.max(b)),
            (all @ Self::Transaction(_), _) | (_, all) => all,
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "v{version}"),
            Self::Transaction(xid) => write!(f, "x{xid}"),
        }
    }
}

/// The text is no token of this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a token that this service gave")]
pub struct NoToken;

impl FromStr for Consistency {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let (kind, number) = text.split_at_checked(1).ok_or(NoToken)?;
        let number = Some(number).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let number = number.and_then(|digits| digits.parse().ok()).ok_or(NoToken)?;
        match kind {
            "v" => Ok(Self::Version(number)),
            "x" => Ok(Self::Transaction(number)),
            _ => Err(NoToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_by_the_letter() {
        for token in [Consistency::Version(0), Consistency::Version(u64::MAX), Consistency::Transaction(7)] {
            assert_eq!(token.to_string().parse(), Ok(token));
        }
        for bad in ["", "v", "x", "7", "v-1", "v+1", "y1", "x18446744073709551616", "\u{e4}1", "v1 "] {
            assert_eq!(bad.parse::<Consistency>(), Err(NoToken), "{bad}");
        }
    }
}
