//! What segments are made of, as far as a sample of people tells: how many are in each and in any
//! two, and how their traits differ from everybody's.

use std::{borrow::Borrow, collections::BTreeMap};

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    compile::{RuleSet, SegmentIx},
    context::Context,
    evaluate::{Evaluator, UserView},
    profile::TraitValue,
    user::UserState,
};
use crate::domain::{
    ids::{NameHash, Uid},
    values::Millis,
};

/// Who is in which segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// For each person a bit for each segment.
    masks: Vec<u64>,
    /// Of each segment, people of whom a trait is of another type than its rule asks for.
    mistyped: Vec<u64>,
    segments: usize,
}

impl Matrix {
    /// The most segments.
    pub const MOST: usize = 64;

    /// Asks everybody about up to [`Matrix::MOST`] segments.
    pub fn ask<S: Borrow<UserState>>(
        people: &[(Uid, S)],
        rules: &RuleSet,
        segments: &[SegmentIx],
        now: Millis,
    ) -> Self {
        let context = Context::default();
        let segments = &segments[..segments.len().min(Self::MOST)];
        let mistyped = |ix: &SegmentIx| {
            people.iter().filter(|(_, state)| rules.mistypes(*ix, &state.borrow().traits)).count() as u64
        };
        let mistyped = segments.iter().map(mistyped).collect();
        let mask = |(uid, state): &(Uid, S)| {
            let view = UserView { uid: Some(*uid), state: Some(state.borrow()), ..UserView::default() };
            let mut evaluator = Evaluator::new(rules, view, &context, now);
            let bits = segments.iter().enumerate();
            bits.fold(0, |mask, (at, ix)| mask | u64::from(evaluator.segment(*ix).holds()) << at)
        };
        Self { masks: people.iter().map(mask).collect(), mistyped, segments: segments.len() }
    }

    /// People asked.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.masks.len() as u64
    }

    /// People in a segment.
    #[must_use]
    pub fn size(&self, segment: usize) -> u64 {
        self.both(segment, segment)
    }

    /// People of whom a trait that the segment's rule asks about is of another type than it asks for.
    #[must_use]
    pub fn mistyped(&self, segment: usize) -> u64 {
        self.mistyped[segment]
    }

    /// People in both of two segments.
    #[must_use]
    pub fn both(&self, one: usize, other: usize) -> u64 {
        let wanted = 1_u64 << one | 1_u64 << other;
        self.masks.iter().filter(|mask| *mask & wanted == wanted).count() as u64
    }
}

/// A trait of everybody, and within each segment.
#[derive(Debug, Clone, PartialEq)]
pub struct TraitSurvey {
    /// Its name.
    pub name: String,
    /// People who have it.
    pub known: u64,
    /// Of each segment, people who have it.
    pub known_in: Vec<u64>,
    /// Its values, as many as there are.
    pub values: Vec<ValueSurvey>,
}

/// A value of a trait.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueSurvey {
    /// The value.
    pub value: Shown,
    /// People who have it.
    pub people: u64,
    /// Of each segment, people who have it.
    pub people_in: Vec<u64>,
}

/// A value of a trait as a report shows it: numbers of many values in bands of about a fifth of
/// everybody, each element of a set by itself. Points and times are known or not, and not told apart.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ReportedValue)]
pub enum Shown {
    /// Yes or no.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text, or an element of a set.
    Text(String),
    /// Numbers from one up to, and without, another.
    Band {
        /// The smallest; left out: there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<f64>,
        /// The first that is too large; left out: there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        below: Option<f64>,
    },
}

/// Numbers of no more values than this are told one by one.
const SINGLE: usize = 12;

/// What people have of each trait of `names`, in their order.
pub fn survey<S: Borrow<UserState>>(people: &[(Uid, S)], matrix: &Matrix, names: &[String]) -> Vec<TraitSurvey> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|a, b| names[*a].cmp(&names[*b]));
    order.into_iter().map(|at| one(people, matrix, &names[at])).collect()
}

fn one<S: Borrow<UserState>>(people: &[(Uid, S)], matrix: &Matrix, name: &str) -> TraitSurvey {
    let hash = NameHash::of(name);
    let held = || {
        let people = people.iter().zip(&matrix.masks);
        people.filter_map(|((_, state), mask)| Some((&state.borrow().traits.get(hash)?.value, *mask)))
    };
    let mut numbers: Vec<f64> = held()
        .filter_map(|(value, _)| if let TraitValue::Number(number) = value { Some(*number) } else { None })
        .collect();
    let cuts = cuts(&mut numbers);
    let (mut all, mut counts) = (Count::new(matrix.segments), BTreeMap::new());
    for (value, mask) in held() {
        all.add(mask);
        let mut tell = |key: Key| counts.entry(key).or_insert_with(|| Count::new(matrix.segments)).add(mask);
        match value {
            TraitValue::Bool(yes) => tell(Key::Bool(*yes)),
            TraitValue::Number(number) => match &cuts {
                Some(cuts) => tell(Key::Band(cuts.partition_point(|cut| cut <= number))),
                None => tell(Key::Number(ordered(*number))),
            },
            TraitValue::Text(text) => tell(Key::Text(text.to_string())),
            TraitValue::Set(texts) => texts.iter().for_each(|text| tell(Key::Text(text.to_string()))),
            TraitValue::Moment(_) | TraitValue::Place(_) => {}
        }
    }
    let values = counts.into_iter().map(|(key, count)| ValueSurvey {
        value: key.shown(cuts.as_deref().unwrap_or_default()),
        people: count.people,
        people_in: count.people_in,
    });
    TraitSurvey { name: name.to_owned(), known: all.people, known_in: all.people_in, values: values.collect() }
}

/// Where bands begin, from the second on; `None` where there are few values.
fn cuts(numbers: &mut Vec<f64>) -> Option<Vec<f64>> {
    numbers.sort_by(f64::total_cmp);
    let fifths: Vec<f64> = (1..5).filter_map(|fifth| numbers.get(numbers.len() * fifth / 5).copied()).collect();
    numbers.dedup();
    if numbers.len() <= SINGLE {
        return None;
    }
    let mut cuts = fifths;
    cuts.dedup();
    // a band below the smallest of all would be empty
    cuts.retain(|cut| numbers.first().is_none_or(|first| cut > first));
    Some(cuts)
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Bool(bool),
    Number(u64),
    Text(String),
    Band(usize),
}

impl Key {
    fn shown(self, cuts: &[f64]) -> Shown {
        match self {
            Self::Bool(yes) => Shown::Bool(yes),
            Self::Number(bits) => Shown::Number(unordered(bits)),
            Self::Text(text) => Shown::Text(text),
            Self::Band(at) => {
                let from = at.checked_sub(1).and_then(|before| cuts.get(before).copied());
                Shown::Band { from, below: cuts.get(at).copied() }
            }
        }
    }
}

/// The bits of a number, turned so that they compare as numbers do.
fn ordered(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn unordered(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

struct Count {
    people: u64,
    people_in: Vec<u64>,
}

impl Count {
    fn new(segments: usize) -> Self {
        Self { people: 0, people_in: vec![0; segments] }
    }

    fn add(&mut self, mask: u64) {
        self.people += 1;
        for (at, count) in self.people_in.iter_mut().enumerate() {
            *count += mask >> at & 1;
        }
    }
}

/// How much more common something is among some than among all, where 100 is as common: 100 times
/// `found` of `among`, over `everywhere` of `all`.
#[must_use]
pub fn index(found: u64, among: u64, everywhere: u64, all: u64) -> Option<f64> {
    let share = found as f64 / among as f64;
    let baseline = everywhere as f64 / all as f64;
    let index = 100.0 * share / baseline;
    index.is_finite().then(|| (index * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::audience::{caps::CapRing, profile::Traits, rule::SegmentRule, user::Lists};

    fn people(traits: &[Value]) -> Vec<(Uid, UserState)> {
        let person = |(n, traits): (u128, &Value)| {
            let traits = Traits::parse(traits, Millis(0)).expect("traits");
            (Uid(n), UserState::new(1, traits, Lists::default(), CapRing::default()))
        };
        (1..).zip(traits).map(person).collect()
    }

    fn rules(of: &[(&str, Value)]) -> (RuleSet, Vec<SegmentIx>) {
        let rule = |(key, node): &(&str, Value)| {
            let rule = SegmentRule::parse(&json!({"v": 1, "kind": "dynamic", "match": node})).expect("a rule");
            (key.parse().expect("a key"), rule)
        };
        let (rules, refused) = RuleSet::build(&of.iter().map(rule).collect::<Vec<_>>());
        assert!(refused.is_empty());
        let ixs = of.iter().map(|(key, _)| rules.ix(&key.parse().expect("a key")).expect("known")).collect();
        (rules, ixs)
    }

    #[test]
    fn sizes_and_overlaps_are_counted() {
        let people = people(&[
            json!({"age": 20, "city": "Rome"}),
            json!({"age": 20, "city": "Oslo"}),
            json!({"age": 40, "city": "Rome"}),
            json!({}),
        ]);
        let (rules, ixs) =
            rules(&[("young", json!({"trait": "age", "lt": 30})), ("rome", json!({"trait": "city", "eq": "Rome"}))]);
        let matrix = Matrix::ask(&people, &rules, &ixs, Millis(0));
        assert_eq!((matrix.asked(), matrix.size(0), matrix.size(1), matrix.both(0, 1)), (4, 2, 2, 1));
        let found = survey(&people, &matrix, &["city".to_owned(), "age".to_owned()]);
        assert_eq!((found[0].name.as_str(), found[1].name.as_str()), ("age", "city"));
        let city = &found[1];
        assert_eq!((city.known, &city.known_in), (3, &vec![2, 2]));
        let value = |text: &str, people, people_in: [u64; 2]| ValueSurvey {
            value: Shown::Text(text.to_owned()),
            people,
            people_in: people_in.to_vec(),
        };
        assert_eq!(city.values, [value("Oslo", 1, [1, 0]), value("Rome", 2, [1, 2])]);
        assert_eq!(
            found[0].values.iter().map(|one| &one.value).collect::<Vec<_>>(),
            [&Shown::Number(20.0), &Shown::Number(40.0)]
        );
    }

    #[test]
    fn many_numbers_fall_into_fifths_and_sets_apart() {
        let all: Vec<Value> = (0..100)
            .map(|n| json!({"spend": n - 50, "likes": ["a", if n < 10 { "b" } else { "c" }], "at": "2026-01-01"}))
            .collect();
        let people = people(&all);
        let (rules, ixs) = rules(&[("rich", json!({"trait": "spend", "gte": 30}))]);
        let matrix = Matrix::ask(&people, &rules, &ixs, Millis(0));
        let found = survey(&people, &matrix, &["spend".to_owned(), "likes".to_owned(), "at".to_owned()]);
        assert_eq!((found[0].known, found[0].values.len()), (100, 0), "days are known, and not told apart");
        let likes: Vec<_> = found[1].values.iter().map(|one| (one.people, one.people_in[0])).collect();
        assert_eq!(likes, [(100, 20), (10, 0), (90, 20)]);
        let bands: Vec<_> = found[2]
            .values
            .iter()
            .map(|one| (serde_json::to_value(&one.value).expect("JSON"), one.people, one.people_in[0]))
            .collect();
        assert_eq!(
            bands,
            [
                (json!({"below": -30.0}), 20, 0),
                (json!({"from": -30.0, "below": -10.0}), 20, 0),
                (json!({"from": -10.0, "below": 10.0}), 20, 0),
                (json!({"from": 10.0, "below": 30.0}), 20, 0),
                (json!({"from": 30.0}), 20, 20),
            ]
        );
    }

    #[test]
    fn one_number_that_most_have_makes_fewer_bands() {
        let mut numbers: Vec<f64> = [vec![0.0; 80], (1..=20).map(f64::from).collect()].concat();
        assert_eq!(cuts(&mut numbers), Some(vec![1.0]), "zero stays by itself");
        for number in [f64::MIN, -1.5, -0.0, 0.0, 2.0, f64::MAX] {
            assert_eq!(unordered(ordered(number)).to_bits(), number.to_bits());
        }
        assert!(ordered(-2.0) < ordered(-1.0) && ordered(-1.0) < ordered(1.0) && ordered(1.0) < ordered(2.0));
    }

    #[test]
    fn an_index_of_a_hundred_is_average() {
        assert_eq!(index(50, 100, 200, 1_000), Some(250.0));
        assert_eq!(index(1, 3, 1, 3), Some(100.0));
        assert_eq!(index(0, 10, 5, 10), Some(0.0));
        assert_eq!(index(0, 0, 5, 10), None);
    }
}
