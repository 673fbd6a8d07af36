//! Tokens that make a decision reflect what was committed before.

use std::{fmt, str::FromStr};

use crate::domain::ids::Uid;

/// What a decision has to reflect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// A version of the person: one person was changed.
    Version(u64),
    /// A transaction: several people were.
    Transaction(u64),
}

/// What one caller changed so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The only person, and their version; none: several, or repeats, of which no version is known.
    pub person: Option<(Uid, u64)>,
    /// The last transaction.
    pub xid: u64,
}

impl Reached {
    /// Both of two changes.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let person = match (self.person, other.person) {
            (Some((uid, a)), Some((same, b))) if uid == same => Some((uid, a.max(b))),
            _ => None,
        };
        Self { person, xid: self.xid.max(other.xid) }
    }

    /// What a decision has to reflect to reflect it.
    #[must_use]
    pub fn token(self) -> Consistency {
        self.person.map_or(Consistency::Transaction(self.xid), |(_, version)| Consistency::Version(version))
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
    fn a_version_stands_for_one_person_alone() {
        let of = |uid, version, xid| Reached { person: Some((Uid(uid), version)), xid };
        assert_eq!(of(1, 3, 10).and(of(1, 2, 11)).token(), Consistency::Version(3));
        assert_eq!(of(1, 3, 10).and(of(2, 1, 11)).token(), Consistency::Transaction(11));
        let repeats = Reached { person: None, xid: 9 };
        assert_eq!(of(1, 3, 10).and(repeats).and(of(1, 4, 8)).token(), Consistency::Transaction(10));
    }

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
