//! What a condition needs before it can hold, for an index to skip those that cannot.

use super::{
    check::{Check, SegmentIx},
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
            Check::Rfm(rfm) => Self::of(&rfm.1),
            Check::Not(_)
            | Check::Trait(_)
            | Check::Sample(_)
            | Check::Event(_)
            | Check::Sequence(_)
            | Check::Cluster(_) => Self::default(),
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::audience::{
        compile::RuleSet,
        rule::{SegmentRule, Targeting},
    };

    fn required(node: Value) -> Requirements {
        let segments = ["a", "b", "c"].map(|key| (key.parse().expect("a key"), SegmentRule::Static));
        let (rules, _) = RuleSet::build(&segments);
        rules.bind(&Targeting::parse(&node).expect("a rule")).expect("a condition").required().clone()
    }

    fn countries(names: &[&str]) -> Option<Vec<Country>> {
        Some(names.iter().map(|name| name.parse().expect("a country")).collect())
    }

    #[test]
    fn conjuncts_narrow_and_alternatives_widen() {
        let [a, b, c] = [SegmentIx(0), SegmentIx(1), SegmentIx(2)];
        let all = required(json!({"all": [{"context": "geo.country", "in": ["de", "AT", "FR"]},
            {"all": [{"context": "geo.country", "in": ["FR", "DE"]}, {"segment": "c"}]},
            {"any": [{"segment": "b"}, {"list": "a"}]}, {"context": "device.type", "eq": "Mobile"},
            {"context": "language", "in": ["de-ch", "fr"]}]}));
        assert_eq!(all.countries, countries(&["DE", "FR"]));
        assert_eq!(all.segments, [vec![c], vec![a, b]]);
        assert_eq!(all.devices, Some(vec![Folded::new("mobile")]));
        assert_eq!(
            all.languages.map(|tags| tags.iter().map(Locale::to_string).collect::<Vec<_>>()),
            Some(vec!["de-CH".to_owned(), "fr".to_owned()])
        );
        let any = required(json!({"any": [
            {"all": [{"segment": "a"}, {"context": "geo.country", "eq": "DE"}]},
            {"all": [{"segment": "b"}, {"context": "geo.country", "eq": "AT"}, {"trait": "x", "eq": 1}]}]}));
        assert_eq!((any.countries, any.segments), (countries(&["AT", "DE"]), vec![vec![a, b]]));
    }

    #[test]
    fn nothing_is_needed_where_another_way_is_open() {
        for node in [
            json!({"trait": "x", "eq": 1}),
            json!({"not": {"segment": "a"}}),
            json!({"any": [{"segment": "a"}, {"trait": "x", "eq": 1}]}),
            json!({"context": "geo.country", "ne": "DE"}),
            json!({"context": "hour", "eq": 3}),
        ] {
            assert_eq!(required(node.clone()), Requirements::default(), "{node}");
        }
        let never =
            required(json!({"all": [{"context": "geo.country", "eq": "DE"}, {"context": "geo.country", "eq": "FR"}]}));
        assert_eq!(never.countries, Some(Vec::new()));
    }
}
