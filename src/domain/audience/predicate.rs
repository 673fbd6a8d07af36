//! What each operator means, to the millisecond. Times are instants in UTC; stretches include
//! their start and exclude their end.
//!
//! A missing value makes every operator false except `exists: false`, and so does a value of
//! another type. A value of several texts is `eq`/`in` when any element matches, and
//! `ne`/`not_in`/`has_none` when none does.

use std::fmt;

use jiff::tz::TimeZone;

use super::{
    value::{Moment, Position, Scalar, View},
    verdict::Verdict,
};
use crate::domain::values::{Millis, Span};

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Greater than.
    Gt,
    /// At least.
    Gte,
    /// Less than.
    Lt,
    /// At most.
    Lte,
}

/// One operator with its operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The value is known (`true`) or not (`false`).
    Exists(bool),
    /// `eq`, `in`, `has_any`: the value, or any element of it, is among these.
    OneOf(Choices),
    /// `ne`, `not_in`, `has_none`: the value is known, and neither it nor any element is among these.
    NoneOf(Choices),
    /// `has_all`: every one of these is an element.
    AllOf(Box<[Box<str>]>),
    /// `gt`, `gte`, `lt`, `lte`.
    Number(Order, f64),
    /// The text, or any element, starts so; case counts.
    StartsWith(Box<str>),
    /// The text, or any element, has this part; case counts.
    Contains(Box<str>),
    /// `t <= now` and `now - t < span`.
    WithinLast(Span),
    /// `now - t >= span`.
    OlderThan(Span),
    /// `now < t` and `t - now <= span`.
    WithinNext(Span),
    /// A yearly return of the day is at most so far ahead, or today; see [`Moment::anniversary`].
    AnniversaryWithin(Span),
    /// `t < instant`.
    Before(Millis),
    /// `t > instant`.
    After(Millis),
    /// At most `km` from the centre.
    Near {
        /// The centre.
        center: Position,
        /// Great-circle kilometres.
        km: f64,
    },
}

impl Test {
    /// The answer for `value` at `now`, where `zone` says when days begin.
    pub(super) fn verdict(&self, value: Option<View<'_>>, now: Millis, zone: &TimeZone) -> Verdict {
        let Some(value) = value else { return Verdict::constant(*self == Self::Exists(false)) };
        match (self, value) {
            (Self::WithinLast(span), View::Moment(Moment { at, .. })) => {
                Verdict::within(*at, at.plus(span.millis()), now)
            }
            (Self::OlderThan(span), View::Moment(Moment { at, .. })) => Verdict::from(at.plus(span.millis()), now),
            (Self::WithinNext(span), View::Moment(Moment { at, .. })) => {
                Verdict::within(at.plus(-span.millis()), *at, now)
            }
            (Self::AnniversaryWithin(span), View::Moment(moment)) => moment.anniversary(*span, now, zone),
            _ => Verdict::constant(self.holds(value)),
        }
    }

    /// The answer of the operators that time does not move.
    fn holds(&self, value: View<'_>) -> bool {
        match (self, value) {
            (Self::Exists(wanted), _) => *wanted,
            (Self::OneOf(choices), value) => choices.matches(value) == Some(true),
            (Self::NoneOf(choices), value) => choices.matches(value) == Some(false),
            (Self::AllOf(texts), value) => {
                texts.iter().all(|text| value.any_text(|have| *have == **text) == Some(true))
            }
            (Self::Number(order, bound), View::Number(number)) => match order {
                Order::Gt => number > *bound,
                Order::Gte => number >= *bound,
                Order::Lt => number < *bound,
                Order::Lte => number <= *bound,
            },
            (Self::StartsWith(start), value) => value.any_text(|text| text.starts_with(&**start)) == Some(true),
            (Self::Contains(part), value) => value.any_text(|text| text.contains(&**part)) == Some(true),
            (Self::Before(instant), View::Moment(moment)) => moment.at < *instant,
            (Self::After(instant), View::Moment(moment)) => moment.at > *instant,
            (Self::Near { center, km }, View::Place(at)) => at.km_to(*center) <= *km,
            _ => false,
        }
    }

    /// Whether a value of this kind can satisfy the operator at all; the other way to be false.
    pub(super) fn suits(&self, value: View<'_>) -> bool {
        match self {
            Self::Exists(_) => true,
            Self::OneOf(choices) | Self::NoneOf(choices) => choices.matches(value).is_some(),
            Self::AllOf(_) | Self::StartsWith(_) | Self::Contains(_) => value.any_text(|_| true).is_some(),
            Self::Number(..) => matches!(value, View::Number(_)),
            Self::Near { .. } => matches!(value, View::Place(_)),
            Self::WithinLast(_)
            | Self::OlderThan(_)
            | Self::WithinNext(_)
            | Self::AnniversaryWithin(_)
            | Self::Before(_)
            | Self::After(_) => matches!(value, View::Moment(_)),
        }
    }

    /// Rough cost in nanoseconds, with a surcharge for answers that time moves: asking the
    /// others first keeps `valid_until` far.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::Exists(_) | Self::Number(..) | Self::Before(_) | Self::After(_) => 3,
            Self::OneOf(_) | Self::NoneOf(_) => 8,
            Self::AllOf(texts) => 8 * u32::try_from(texts.len()).unwrap_or(u32::MAX / 8),
            Self::StartsWith(_) | Self::Contains(_) => 15,
            Self::Near { .. } => 40,
            Self::WithinLast(_) | Self::OlderThan(_) | Self::WithinNext(_) => 60,
            Self::AnniversaryWithin(_) => 700,
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(true) => f.write_str("known"),
            Self::Exists(false) => f.write_str("unknown"),
            Self::OneOf(choices) => write!(f, "{choices}"),
            Self::NoneOf(choices) => write!(f, "other than {choices}"),
            Self::AllOf(texts) => write!(f, "all of {texts:?}"),
            Self::Number(order, bound) => {
                let sign = match order {
                    Order::Gt => ">",
                    Order::Gte => ">=",
                    Order::Lt => "<",
                    Order::Lte => "<=",
                };
                write!(f, "{sign} {bound}")
            }
            Self::StartsWith(start) => write!(f, "a text that starts with {start:?}"),
            Self::Contains(part) => write!(f, "a text that contains {part:?}"),
            Self::WithinLast(span) => write!(f, "within the last {span}"),
            Self::OlderThan(span) => write!(f, "older than {span}"),
            Self::WithinNext(span) => write!(f, "within the next {span}"),
            Self::AnniversaryWithin(span) => write!(f, "a day that returns within {span}"),
            Self::Before(instant) => write!(f, "before {instant}"),
            Self::After(instant) => write!(f, "after {instant}"),
            Self::Near { center, km } => write!(f, "within {km} km of ({}, {})", center.lat, center.lon),
        }
    }
}

/// Scalars to look a value up in: sorted, without repeats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices {
    texts: Box<[Box<str>]>,
    numbers: Box<[f64]>,
    bools: [bool; 2],
}

impl Choices {
    /// The set of `scalars`.
    #[must_use]
    pub fn new(scalars: impl IntoIterator<Item = Scalar>) -> Self {
        let (mut texts, mut numbers, mut bools) = (Vec::new(), Vec::new(), [false; 2]);
        for scalar in scalars {
            match scalar {
                Scalar::Text(text) => texts.push(text),
                Scalar::Number(number) => numbers.push(number + 0.0),
                Scalar::Bool(yes) => bools[usize::from(yes)] = true,
            }
        }
        texts.sort_unstable();
        texts.dedup();
        numbers.sort_unstable_by(f64::total_cmp);
        numbers.dedup();
        Self { texts: texts.into(), numbers: numbers.into(), bools }
    }

    /// The texts among them, in order.
    #[must_use]
    pub fn texts(&self) -> &[Box<str>] {
        &self.texts
    }

    /// Whether these are texts only.
    #[must_use]
    pub fn only_texts(&self) -> bool {
        self.numbers.is_empty() && self.bools == [false; 2]
    }

    /// Whether `value`, or any element of it, is among these; `None` when none has its type.
    fn matches(&self, value: View<'_>) -> Option<bool> {
        match value {
            View::Number(number) => (!self.numbers.is_empty())
                .then(|| self.numbers.binary_search_by(|n| n.total_cmp(&(number + 0.0))).is_ok()),
            View::Bool(yes) => (self.bools != [false; 2]).then_some(self.bools[usize::from(yes)]),
            _ if self.texts.is_empty() => None,
            text => text.any_text(|text| self.has_text(text)),
        }
    }

    fn has_text(&self, text: &str) -> bool {
        // Lengths differ more often than not, so a short list is quicker to walk than to halve.
        match self.texts.len() {
            0..=8 => self.texts.iter().any(|have| **have == *text),
            _ => self.texts.binary_search_by(|have| (**have).cmp(text)).is_ok(),
        }
    }

    fn scalars(&self) -> impl Iterator<Item = Scalar> + '_ {
        let bools = [false, true].into_iter().filter(|&yes| self.bools[usize::from(yes)]).map(Scalar::Bool);
        let texts = self.texts.iter().cloned().map(Scalar::Text);
        texts.chain(self.numbers.iter().copied().map(Scalar::Number)).chain(bools)
    }
}

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let count = self.scalars().count();
        if count != 1 {
            f.write_str("one of ")?;
        }
        for (at, scalar) in self.scalars().take(SHOWN).enumerate() {
            write!(f, "{}{scalar}", if at > 0 { ", " } else { "" })?;
        }
        if count > SHOWN { write!(f, " and {} more", count - SHOWN) } else { Ok(()) }
    }
}
