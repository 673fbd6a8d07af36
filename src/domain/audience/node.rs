//! A parsed rule as a tree: what its author wrote, with every value checked.

use std::ops::Bound;

use super::{context::ContextPath, predicate::Test};
use crate::domain::{
    ids::{EventName, ModelKey, SegmentKey, TraitName},
    values::{Millis, Span},
};

/// A condition about a person or a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Every one of these holds; 1 to 32 of them.
    All(Vec<Node>),
    /// At least one of these holds; 1 to 32 of them.
    Any(Vec<Node>),
    /// This does not hold.
    Not(Box<Node>),
    /// A trait of the person passes every test.
    Trait(TraitCondition),
    /// A value of the request passes every test; in targeting only.
    Context(ContextCondition),
    /// The person is in a segment.
    Segment(SegmentKey),
    /// The person is in a static segment.
    List(SegmentKey),
    /// The person falls into a share of everyone.
    Sample(Sample),
    /// What the person did, measured.
    Event(EventCondition),
    /// What the person did, in order.
    Sequence(Sequence),
    /// A model puts the person into one of these clusters.
    Cluster {
        /// The model.
        model: ModelKey,
        /// Cluster numbers.
        among: Vec<u32>,
        /// How far from the cluster's centre, if that matters.
        max_distance: Option<f64>,
    },
    /// Recency, frequency and money fall into these fifths.
    Rfm(Rfm),
    /// A model ranks the person among the most alike.
    Lookalike {
        /// The model.
        model: ModelKey,
        /// Percent of everyone, above 0 and at most 50.
        top_pct: f64,
    },
    /// A model scores the person at least so high.
    Score {
        /// The model.
        model: ModelKey,
        /// The least score.
        at_least: f64,
    },
}

/// A trait and what it must pass.
#[derive(Clone, Debug, PartialEq)]
pub struct TraitCondition {
    /// The trait.
    pub name: TraitName,
    /// Every one must pass. May be empty when `max_age` is given: then the trait must be known.
    pub tests: Vec<Test>,
    /// The condition is false once the value was set this long ago.
    pub max_age: Option<Span>,
}

/// A value of the request and what it must pass.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextCondition {
    /// Where in the request.
    pub path: ContextPath,
    /// Every one must pass.
    pub tests: Vec<Test>,
}

/// A stable share of all people, in hundredths of a percent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Different salts draw independent shares.
    pub salt: Box<str>,
    /// 0 to 9,999, included.
    pub from: u16,
    /// 1 to 10,000, excluded.
    pub to: u16,
}

/// A lower and an upper bound.
pub type Range = (Bound<f64>, Bound<f64>);

/// A property of an event and what it must pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Where {
    /// The property.
    pub property: Box<str>,
    /// Every one must pass.
    pub tests: Vec<Test>,
}

/// What a person did, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct EventCondition {
    /// The type of event.
    pub event: EventName,
    /// Only events whose properties pass these.
    pub filter: Vec<Where>,
    /// Only the events whose property has this value, kept apart as a stream of their own.
    pub key: Option<(Box<str>, Box<str>)>,
    /// What is measured, and the bounds it must be in.
    pub measure: Measure,
}

/// What of the events is measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// How many there were.
    Count(Range, Window),
    /// The sum of a property.
    Sum(TraitName, Range, Window),
    /// The mean of a property.
    Avg(TraitName, Range, Window),
    /// How many different values a property had.
    Distinct(TraitName, Range, Window),
    /// How long ago the newest was.
    LastSeen(Age),
    /// How long ago the oldest was.
    FirstSeen(Age),
}

/// How long ago: at least one bound is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// At least so long.
    pub older_than: Option<Span>,
    /// Less than so long.
    pub within: Option<Span>,
}

/// The stretch of time in which events count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// `(now - span, now]`.
    Last(Span),
    /// `(now - from, now - to]`.
    Ago {
        /// The longer ago.
        from: Span,
        /// The less long ago.
        to: Span,
    },
    /// From an instant on, perhaps up to another.
    Since {
        /// Included.
        since: Millis,
        /// Excluded.
        until: Option<Millis>,
    },
    /// Days, weeks or months of the rule's zone.
    Calendar(Calendar),
    /// Everything that is kept.
    Ever,
}

/// A stretch of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calendar {
    /// The current day.
    Today,
    /// The day before.
    Yesterday,
    /// The current week, from Monday.
    ThisWeek,
    /// The week before.
    LastWeek,
    /// The current month.
    ThisMonth,
    /// The month before.
    LastMonth,
    /// So many days, the current one included; 1 to 366.
    Days(u16),
}

/// What a person did, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// What it starts with.
    pub start: Step,
    /// What follows, or does not; 1 to 4 steps.
    pub then: Vec<NextStep>,
    /// The property by which events belong together.
    pub same: Option<TraitName>,
    /// Which start counts.
    pub anchor: Anchor,
    /// How long ago the start may lie.
    pub lookback: Span,
    /// Whether a forbidden event that comes too late still ends the sequence.
    pub late_clears: bool,
}

/// An event of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The type of event.
    pub event: EventName,
    /// What its properties must pass.
    pub filter: Vec<Where>,
}

/// A later step of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct NextStep {
    /// The event.
    pub step: Step,
    /// Whether it must happen, or must not.
    pub happens: bool,
    /// In how much time.
    pub within: Span,
}

/// Which start of a sequence counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The newest.
    Last,
    /// Any.
    Any,
}

/// Fifths of recency, frequency and money, 1 to 5; an empty list allows all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rfm {
    /// The event that counts as a purchase, if not the account's.
    pub event: Option<EventName>,
    /// Recency.
    pub recency: Vec<u8>,
    /// Frequency.
    pub frequency: Vec<u8>,
    /// Money.
    pub money: Vec<u8>,
}

impl Node {
    /// Calls `visit` with this node and everything below it.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().for_each(|node| node.walk(visit)),
            Self::Not(node) => node.walk(visit),
            _ => {}
        }
    }

    /// The segments it names, lists included, sorted.
    #[must_use]
    pub fn referenced_segments(&self) -> Vec<&SegmentKey> {
        self.names(|node| match node {
            Self::Segment(key) | Self::List(key) => Some(key),
            _ => None,
        })
    }

    /// The traits it names, sorted.
    #[must_use]
    pub fn referenced_traits(&self) -> Vec<&TraitName> {
        self.names(|node| if let Self::Trait(condition) = node { Some(&condition.name) } else { None })
    }

    fn names<'a, T: Ord>(&'a self, name: impl Fn(&'a Self) -> Option<&'a T>) -> Vec<&'a T> {
        let mut names = Vec::new();
        self.walk(&mut |node| names.extend(name(node)));
        names.sort_unstable();
        names.dedup();
        names
    }
}
