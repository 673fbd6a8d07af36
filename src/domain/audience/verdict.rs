//! The answer of a condition, and how answers combine.

use std::fmt;

use crate::domain::values::Millis;

/// Whether a condition holds, and the stretch of time around `now` in which that cannot change
/// unless an event, a trait or a list changes first.
///
/// Both ends are sound rather than exact: `since` is never earlier than the real start of the
/// stretch and `valid_until` never later than its real end. For a single condition they are exact
/// when asked thoroughly, save that those over the calendar also end with its page.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Twice the instant since when, and one more if it holds: a verdict fits two registers, and
    /// thousands of them are combined per request.
    start: i64,
    until: i64,
}

/// Before everything that is known.
const ALWAYS_BEEN: i64 = i64::MIN / 2;
/// Never, by time alone.
const NEVER: i64 = i64::MAX;

impl Verdict {
    /// Held for as long as is known, and for good.
    pub const ALWAYS: Self = Self::constant(true);
    /// Not held for as long as is known, and for good.
    pub const NEVER: Self = Self::constant(false);

    /// An answer for the stretch from `since` (`None`: before everything that is known) to
    /// `valid_until` (`None`: time alone never changes it).
    #[inline]
    #[must_use]
    pub fn new(holds: bool, since: Option<Millis>, valid_until: Option<Millis>) -> Self {
        let since = since.map_or(ALWAYS_BEEN, |at| at.0.clamp(ALWAYS_BEEN + 1, i64::MAX / 2));
        Self { start: since * 2 + i64::from(holds), until: valid_until.map_or(NEVER, |at| at.0) }
    }

    /// An answer that time does not change.
    #[must_use]
    pub const fn constant(holds: bool) -> Self {
        Self { start: ALWAYS_BEEN * 2 + holds as i64, until: NEVER }
    }

    /// Whether the condition holds now.
    #[inline]
    #[must_use]
    pub const fn holds(self) -> bool {
        self.start & 1 == 1
    }

    /// The instant from which on it has been so, given what is known now; `None` when that lies
    /// before everything that is known.
    #[inline]
    #[must_use]
    pub fn since(self) -> Option<Millis> {
        let since = self.start >> 1;
        (since != ALWAYS_BEEN).then_some(Millis(since))
    }

    /// The first instant at which it may be otherwise; `None` when time alone never changes it.
    #[inline]
    #[must_use]
    pub fn valid_until(self) -> Option<Millis> {
        (self.until != NEVER).then_some(Millis(self.until))
    }

    /// Whether `now` lies in the half-open stretch `[from, to)`.
    #[must_use]
    pub fn within(from: Millis, to: Millis, now: Millis) -> Self {
        if now < from {
            // An empty stretch never comes.
            Self::new(false, None, (from < to).then_some(from))
        } else if now < to {
            Self::new(true, Some(from), Some(to))
        } else {
            Self::new(false, (from < to).then_some(to), None)
        }
    }

    /// Whether `now` is at or after `from`.
    #[must_use]
    pub fn from(from: Millis, now: Millis) -> Self {
        let holds = now >= from;
        Self::new(holds, holds.then_some(from), (!holds).then_some(from))
    }

    /// Both hold. While both hold, the earlier end counts; while both fail, either one alone
    /// keeps the whole false, so the later end counts.
    #[inline]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.holds(), other.holds()) {
            (true, true) => self.narrower(other),
            (false, false) => self.wider(other),
            (false, true) => self,
            (true, false) => other,
        }
    }

    /// Either holds: the mirror image of [`Self::and`].
    #[inline]
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self.holds(), other.holds()) {
            (true, true) => self.wider(other),
            (false, false) => self.narrower(other),
            (true, false) => self,
            (false, true) => other,
        }
    }

    /// The same answer, true only since `at`: before that the value it rests on was another.
    #[inline]
    #[must_use]
    pub fn not_before(self, at: Millis) -> Self {
        Self { start: self.start.max(Self::new(self.holds(), Some(at), None).start), ..self }
    }

    /// The same answer, until `at`.
    #[inline]
    #[must_use]
    pub fn until(self, at: Option<Millis>) -> Self {
        Self { until: at.map_or(NEVER, |at| at.0), ..self }
    }

    /// The same answer, since `at`.
    #[inline]
    #[must_use]
    pub fn starting(self, at: Option<Millis>) -> Self {
        Self { start: Self::new(self.holds(), at, None).start, ..self }
    }

    /// Of two with the same answer: the stretch in which both give it.
    #[inline]
    fn narrower(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), until: self.until.min(other.until) }
    }

    /// Of two with the same answer: the stretch in which either gives it.
    #[inline]
    fn wider(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), until: self.until.max(other.until) }
    }
}

/// A verdict as documents have it.
#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[schema(as = Verdict)]
struct VerdictDocument {
    holds: bool,
    since: Option<Millis>,
    valid_until: Option<Millis>,
}

impl serde::Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        VerdictDocument { holds: self.holds(), since: self.since(), valid_until: self.valid_until() }.serialize(out)
    }
}

impl<'de> serde::Deserialize<'de> for Verdict {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let VerdictDocument { holds, since, valid_until } = VerdictDocument::deserialize(from)?;
        Ok(Self::new(holds, since, valid_until))
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdict")
            .field("holds", &self.holds())
            .field("since", &self.since())
            .field("valid_until", &self.valid_until())
            .finish()
    }
}

impl std::ops::Not for Verdict {
    type Output = Self;

    fn not(self) -> Self {
        Self { start: self.start ^ 1, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(holds: bool, since: i64, until: i64) -> Verdict {
        Verdict::new(holds, Some(Millis(since)), Some(Millis(until)))
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
        assert_eq!(at(9), Verdict::new(false, None, Some(Millis(10))));
        assert_eq!(at(10), verdict(true, 10, 20));
        assert_eq!(at(19), verdict(true, 10, 20));
        assert_eq!(at(20), Verdict::new(false, Some(Millis(20)), None));
        assert_eq!(Verdict::within(Millis(5), Millis(5), Millis(1)), Verdict::NEVER);
    }
}
