//! A compiled condition.

use super::{
    activity::{Chain, Gauge},
    cluster::ClusterCheck,
    node::{ContextCondition, Rfm},
    predicate::Test,
    profile::Traits,
};
use crate::domain::{
    ids::{NameHash, TraitName},
    values::Span,
};

/// A segment within its [`super::compile::RuleSet`]: its position among the rules that the set was built from, so
/// that a set built from the same rules and more numbers the old ones as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentIx(pub u32);

/// How a segment gets its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SegmentKind {
    /// By name.
    Static,
    /// By a rule.
    Dynamic,
}

/// A compiled condition.
#[derive(Clone, Debug)]
pub(super) enum Check {
    All(Group),
    Any(Group),
    Not(Box<Check>),
    Trait(TraitCheck),
    Context(ContextCondition),
    Segment(SegmentIx),
    Sample(Share),
    Event(Box<Gauge>),
    Sequence(Box<Chain>),
    Cluster(Box<ClusterCheck>),
    /// Fifths, and the conditions on events that they come to.
    Rfm(Box<(Rfm, Check)>),
}

impl Check {
    /// Whether it asks for the hour or the day of a request.
    pub(super) fn moves(&self) -> bool {
        match self {
            Self::All(group) | Self::Any(group) => group.children.iter().any(Self::moves),
            Self::Not(inner) => inner.moves(),
            Self::Context(condition) => condition.path.moves(),
            _ => false,
        }
    }
}

/// Children as written, and the order in which to ask them: cheap and timeless ones first.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) children: Box<[Check]>,
    pub(super) order: Box<[u8]>,
}

#[derive(Clone, Debug)]
pub(super) struct TraitCheck {
    pub(super) name: TraitName,
    pub(super) hash: NameHash,
    pub(super) tests: Box<[Test]>,
    pub(super) max_age: Option<Span>,
}

#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) name: Box<str>,
    pub(super) salt: NameHash,
    pub(super) from: u16,
    pub(super) to: u16,
}

impl Check {
    /// Whether a condition on a trait, of its own, asks for another type than that of the value held.
    pub(super) fn mistypes(&self, traits: &Traits) -> bool {
        match self {
            Self::All(group) | Self::Any(group) => group.children.iter().any(|check| check.mistypes(traits)),
            Self::Not(check) => check.mistypes(traits),
            Self::Trait(check) => {
                let held = traits.get(check.hash);
                held.is_some_and(|held| !check.tests.iter().all(|test| test.suits(held.value.view())))
            }
            _ => false,
        }
    }

    /// Rough cost in nanoseconds, with a surcharge for answers that time moves: asking the others
    /// first keeps `valid_until` far.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::All(group) | Self::Any(group) => group.children.iter().map(Self::cost).fold(2, u32::saturating_add),
            Self::Not(check) => check.cost(),
            Self::Trait(check) => {
                let aging = if check.max_age.is_some() { 60 } else { 0 };
                check.tests.iter().map(Test::cost).fold(10 + aging, u32::saturating_add)
            }
            Self::Context(context) => {
                let moving = if context.path.moves() { 60 } else { 0 };
                context.tests.iter().map(Test::cost).fold(5 + moving, u32::saturating_add)
            }
            Self::Sample(_) => 5,
            // Often answered before by another rule, and seldom dearer than a few traits.
            Self::Segment(_) => 50,
            Self::Event(gauge) => gauge.cost(),
            Self::Sequence(chain) => chain.cost(),
            Self::Rfm(rfm) => rfm.1.cost(),
            Self::Cluster(_) => 1_000,
        }
    }
}
