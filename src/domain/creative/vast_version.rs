//! The versions of VAST, which differ in what they know and in what order they want it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A version of VAST.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub enum VastVersion {
    /// 2.0.
    #[serde(rename = "2.0")]
    V2,
    /// 3.0.
    #[serde(rename = "3.0")]
    V3,
    /// 4.0.
    #[serde(rename = "4.0")]
    V4,
    /// 4.1.
    #[serde(rename = "4.1")]
    V41,
    /// 4.2.
    #[default]
    #[serde(rename = "4.2")]
    V42,
}

impl VastVersion {
    /// Every version, the oldest first, with its name and its number among OpenRTB's protocols
    /// (AdCOM's list "Creative Subtypes - Audio/Video").
    pub const ALL: [(Self, &'static str, i64); 5] = [
        (Self::V2, "2.0", 2),
        (Self::V3, "3.0", 3),
        (Self::V4, "4.0", 7),
        (Self::V41, "4.1", 11),
        (Self::V42, "4.2", 13),
    ];

    /// The version's name, such as `4.2`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Its number among OpenRTB's protocols.
    #[must_use]
    pub fn protocol(self) -> i64 {
        Self::ALL[self as usize].2
    }

    /// Whether it is one of VAST 4.
    #[must_use]
    pub fn is_four(self) -> bool {
        self >= Self::V4
    }

    /// The newest of some of OpenRTB's protocols.
    #[must_use]
    pub fn newest(protocols: impl Fn(i64) -> bool) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|(.., protocol)| protocols(*protocol)).map(|(version, ..)| version)
    }
}

/// The text names no version that we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 2.0, 3.0, 4.0, 4.1 or 4.2")]
pub struct UnknownVersion;

impl FromStr for VastVersion {
    type Err = UnknownVersion;

    /// `3` stands for `3.0`.
    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let same = |name: &str| name == text || name.strip_suffix(".0") == Some(text);
        Self::ALL.into_iter().find(|(_, name, _)| same(name)).map(|(version, ..)| version).ok_or(UnknownVersion)
    }
}

impl fmt::Display for VastVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_the_standards() {
        for (version, name, protocol) in VastVersion::ALL {
            assert_eq!((version.as_str(), version.protocol()), (name, protocol));
            assert_eq!(name.parse(), Ok(version));
            assert_eq!(serde_json::to_value(version).expect("a text"), name);
        }
        assert_eq!(("3".parse(), "4".parse()), (Ok(VastVersion::V3), Ok(VastVersion::V4)));
        assert!(["", "1.0", "4.3", "4.", ".0"].iter().all(|odd| odd.parse::<VastVersion>().is_err()));
        let newest = |all: &[i64]| VastVersion::newest(|protocol| all.contains(&protocol));
        assert_eq!(newest(&[2, 5, 3, 6]), Some(VastVersion::V3));
        assert_eq!(newest(&[8, 7, 2]), Some(VastVersion::V4));
        assert_eq!(newest(&[1, 5, 6]), None);
    }
}
