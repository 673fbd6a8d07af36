//! The answer of a condition, and how answers combine.

use crate::domain::values::Millis;

/// Whether a condition holds, and the stretch of time around `now` in which that cannot change
/// unless an event, a trait or a list changes first.
///
/// Both ends are sound rather than exact: `since` is never earlier than the real start of the
/// stretch and `valid_until` never later than its real end. For a single condition they are exact
/// when asked thoroughly, save that those over the calendar also end with its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Verdict {
    /// Whether the condition holds now.
    pub holds: bool,
    /// The instant from which on it has been so, given what is known now; `None` when that lies
    /// before everything that is known.
    pub since: Option<Millis>,
    /// The first instant at which it may be otherwise; `None` when time alone never changes it.
    pub valid_until: Option<Millis>,
}

impl Verdict {
    /// Held for as long as is known, and for good.
    pub const ALWAYS: Self = Self::constant(true);
    /// Not held for as long as is known, and for good.
    pub const NEVER: Self = Self::constant(false);

    /// An answer that time does not change.
    #[must_use]
    pub const fn constant(holds: bool) -> Self {
        Self { holds, since: None, valid_until: None }
    }

    /// Whether `now` lies in the half-open stretch `[from, to)`.
    #[must_use]
    pub fn within(from: Millis, to: Millis, now: Millis) -> Self {
        if now < from {
            // An empty stretch never comes.
            Self { holds: false, since: None, valid_until: (from < to).then_some(from) }
        } else if now < to {
            Self { holds: true, since: Some(from), valid_until: Some(to) }
        } else {
            Self { holds: false, since: (from < to).then_some(to), valid_until: None }
        }
    }

    /// Whether `now` is at or after `from`.
    #[must_use]
    pub fn from(from: Millis, now: Millis) -> Self {
        let holds = now >= from;
        Self { holds, since: holds.then_some(from), valid_until: (!holds).then_some(from) }
    }

    /// Both hold. While both hold, the earlier end counts; while both fail, either one alone
    /// keeps the whole false, so the later end counts.
    #[inline]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.holds, other.holds) {
            (true, true) => self.narrower(other, true),
            (false, false) => self.wider(other, false),
            (false, true) => self,
            (true, false) => other,
        }
    }

    /// Either holds: the mirror image of [`Self::and`].
    #[inline]
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        !(!self).and(!other)
    }

    /// The same answer, true only since `at`: before that the value it rests on was another.
    #[inline]
    #[must_use]
    pub fn not_before(self, at: Millis) -> Self {
        Self { since: self.since.max(Some(at)), ..self }
    }

    #[inline]
    fn narrower(self, other: Self, holds: bool) -> Self {
        let valid_until = match (self.valid_until, other.valid_until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, None) | (None, one) => one,
        };
        Self { holds, since: self.since.max(other.since), valid_until }
    }

    #[inline]
    fn wider(self, other: Self, holds: bool) -> Self {
        let valid_until = match (self.valid_until, other.valid_until) {
            (Some(a), Some(b)) => Some(a.max(b)),
            _ => None,
        };
        Self { holds, since: self.since.min(other.since), valid_until }
    }
}

impl std::ops::Not for Verdict {
    type Output = Self;

    fn not(self) -> Self {
        Self { holds: !self.holds, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn verdict(holds: bool, since: i64, until: i64) -> Verdict {
        Verdict { holds, since: Some(Millis(since)), valid_until: Some(Millis(until)) }
    }

    #[test]
    fn a_conjunction_ends_with_its_first_member_and_stays_false_until_its_last() {
        assert_eq!(verdict(true, 1, 9).and(verdict(true, 3, 7)), verdict(true, 3, 7));
        assert_eq!(verdict(false, 1, 9).and(verdict(false, 3, 7)), verdict(false, 1, 9));
        assert_eq!(verdict(false, 1, 9).and(verdict(true, 3, 7)), verdict(false, 1, 9));
        assert_eq!(verdict(true, 1, 9).and(Verdict::ALWAYS), verdict(true, 1, 9));
        assert_eq!(verdict(false, 1, 9).and(Verdict::NEVER), Verdict::NEVER);
    }

    #[test]
    fn a_disjunction_is_the_mirror_image() {
        assert_eq!(verdict(true, 1, 9).or(verdict(true, 3, 7)), verdict(true, 1, 9));
        assert_eq!(verdict(false, 1, 9).or(verdict(false, 3, 7)), verdict(false, 3, 7));
        assert_eq!(verdict(false, 1, 9).or(verdict(true, 3, 7)), verdict(true, 3, 7));
        assert_eq!(verdict(true, 1, 9).or(Verdict::ALWAYS), Verdict::ALWAYS);
    }

    #[test]
    fn a_stretch_is_half_open() {
        let at = |now| Verdict::within(Millis(10), Millis(20), Millis(now));
        assert_eq!(at(9), Verdict { holds: false, since: None, valid_until: Some(Millis(10)) });
        assert_eq!(at(10), verdict(true, 10, 20));
        assert_eq!(at(19), verdict(true, 10, 20));
        assert_eq!(at(20), Verdict { holds: false, since: Some(Millis(20)), valid_until: None });
        assert_eq!(Verdict::within(Millis(5), Millis(5), Millis(1)), Verdict::NEVER);
    }
}
