//! What a condition needs before it can hold, for an index to skip those that cannot.

use super::{
    compile::{Check, SegmentIx},
    context::ContextPath,
    predicate::Test,
    value::Folded,
};
use crate::domain::values::{Country, Locale};

/// Necessary conditions: when any of them fails the whole condition fails, with no need to
/// evaluate it. `None` and an empty list of sets mean that nothing is needed; an empty set can
/// not be met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// `geo.country` must be one of these; sorted.
    pub countries: Option<Vec<Country>>,
    /// `device.type` must be one of these; sorted.
    pub devices: Option<Vec<Folded>>,
    /// The language must be one of these or narrow one of them; sorted.
    pub languages: Option<Vec<Locale>>,
    /// The person must be in at least one segment of each of these sets; each set is sorted.
    pub segments: Vec<Vec<SegmentIx>>,
}

impl Requirements {
    pub(super) fn of(check: &Check) -> Self {
        match check {
            Check::All(group) => group.children.iter().map(Self::of).fold(Self::default(), Self::both),
            Check::Any(group) => group.children.iter().map(Self::of).reduce(Self::either).unwrap_or_default(),
            Check::Segment(ix) => Self { segments: vec![vec![*ix]], ..Self::default() },
            Check::Context(context) => {
                let needed = context.tests.iter().map(|test| Self::of_test(&context.path, test));
                needed.fold(Self::default(), Self::both)
            }
            Check::Not(_) | Check::Trait(_) | Check::Sample(_) => Self::default(),
        }
    }

    fn of_test(path: &ContextPath, test: &Test) -> Self {
        let Test::OneOf(choices) = test else { return Self::default() };
        // Choices are sorted, and parsing here never fails: the grammar keeps them as parsed.
        let texts = || choices.texts().iter();
        let none = Self::default();
        match path {
            ContextPath::Country => {
                Self { countries: Some(texts().filter_map(|text| text.parse().ok()).collect()), ..none }
            }
            ContextPath::Device => Self { devices: Some(texts().map(|text| Folded::new(text)).collect()), ..none },
            ContextPath::Language => {
                Self { languages: Some(texts().filter_map(|text| text.parse().ok()).collect()), ..none }
            }
            _ => none,
        }
    }

    fn both(self, other: Self) -> Self {
        let mut segments = self.segments;
        segments.extend(other.segments);
        Self {
            countries: both(self.countries, other.countries),
            devices: both(self.devices, other.devices),
            // A language meets both `de` and `de-CH`, so intersecting the sets would lose it.
            languages: self.languages.or(other.languages),
            segments,
        }
    }

    fn either(self, other: Self) -> Self {
        let smallest = |sets: Vec<Vec<SegmentIx>>| sets.into_iter().min_by_key(Vec::len);
        let segments = either(smallest(self.segments), smallest(other.segments));
        Self {
            countries: either(self.countries, other.countries),
            devices: either(self.devices, other.devices),
            languages: either(self.languages, other.languages),
            segments: segments.into_iter().collect(),
        }
    }
}

fn both<T: Ord>(one: Option<Vec<T>>, other: Option<Vec<T>>) -> Option<Vec<T>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.into_iter().filter(|item| other.binary_search(item).is_ok()).collect()),
        (one, other) => one.or(other),
    }
}

fn either<T: Ord>(one: Option<Vec<T>>, other: Option<Vec<T>>) -> Option<Vec<T>> {
    let mut all = one?;
    all.extend(other?);
    all.sort_unstable();
    all.dedup();
    Some(all)
}
