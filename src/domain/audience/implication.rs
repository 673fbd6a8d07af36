//! What follows from a condition whatever is known of the person: sound, never complete. "Yes" is
//! certain, "no" means that nothing was found.

use std::{cell::Cell, ops::Bound};

use super::{
    node::{EventCondition, Measure, Node, TraitCondition, Window},
    predicate::{Order, Test},
    value::Scalar,
};

/// Reasons about conditions within a bounded number of steps.
pub(super) struct Logic {
    fuel: Cell<u32>,
}

/// The numbers that some tests leave.
#[derive(Clone, Copy)]
struct Interval {
    low: (f64, bool),
    high: (f64, bool),
}

impl Default for Logic {
    fn default() -> Self {
        Self { fuel: Cell::new(200_000) }
    }
}

impl Logic {
    fn tired(&self) -> bool {
        let left = self.fuel.get();
        self.fuel.set(left.saturating_sub(1));
        left == 0
    }

    /// Whether `b` holds whenever `a` does.
    pub(super) fn implies(&self, a: &Node, b: &Node) -> bool {
        if self.tired() {
            return false;
        }
        if a == b {
            return true;
        }
        match (a, b) {
            (Node::Any(nodes), b) => nodes.iter().all(|node| self.implies(node, b)),
            (a, Node::All(nodes)) => nodes.iter().all(|node| self.implies(a, node)),
            (Node::Not(a), Node::Not(b)) => self.implies(b, a),
            (Node::All(nodes), b) if nodes.iter().any(|node| self.implies(node, b)) => true,
            (a, Node::Any(nodes)) => nodes.iter().any(|node| self.implies(a, node)),
            (a, Node::Not(b)) => self.exclude(a, b),
            (Node::Trait(a), Node::Trait(b)) if a.name == b.name => trait_implies(a, b),
            (Node::Event(a), Node::Event(b)) if same_stream(a, b) => count_implies(&a.measure, &b.measure),
            (Node::List(a) | Node::Segment(a), Node::List(b) | Node::Segment(b)) => a == b,
            (Node::Sample(a), Node::Sample(b)) => a.salt == b.salt && b.from <= a.from && a.to <= b.to,
            _ => false,
        }
    }

    /// Whether `a` and `b` never hold together.
    pub(super) fn exclude(&self, a: &Node, b: &Node) -> bool {
        if self.tired() {
            return false;
        }
        match (a, b) {
            (Node::Not(a), b) | (b, Node::Not(a)) if self.implies(b, a) => true,
            (Node::All(nodes), other) | (other, Node::All(nodes))
                if nodes.iter().any(|node| self.exclude(node, other)) =>
            {
                true
            }
            (Node::Any(nodes), other) | (other, Node::Any(nodes)) => nodes.iter().all(|node| self.exclude(node, other)),
            (Node::Trait(a), Node::Trait(b)) if a.name == b.name => {
                contradictory(&a.tests.iter().chain(&b.tests).collect::<Vec<_>>())
            }
            (Node::Event(a), Node::Event(b)) if same_stream(a, b) => counts_exclude(&a.measure, &b.measure),
            (Node::Sample(a), Node::Sample(b)) => a.salt == b.salt && (a.to <= b.from || b.to <= a.from),
            _ => false,
        }
    }

    /// Whether nobody ever meets the condition.
    pub(super) fn never(&self, node: &Node) -> bool {
        if self.tired() {
            return false;
        }
        match node {
            Node::All(nodes) => {
                nodes.iter().any(|node| self.never(node)) || pairs(nodes).any(|(a, b)| self.exclude(a, b))
            }
            Node::Any(nodes) => nodes.iter().all(|node| self.never(node)),
            Node::Not(node) => self.always(node),
            Node::Trait(condition) => contradictory(&condition.tests.iter().collect::<Vec<_>>()),
            Node::Event(condition) => count(&condition.measure).is_some_and(|((low, high), _)| low > high),
            // it can be told that something did not happen only when the start is forgotten already
            Node::Sequence(sequence) => {
                sequence.then.iter().any(|next| !next.happens && next.within >= sequence.lookback)
            }
            _ => false,
        }
    }

    /// Whether everybody always meets the condition.
    pub(super) fn always(&self, node: &Node) -> bool {
        if self.tired() {
            return false;
        }
        match node {
            Node::All(nodes) => nodes.iter().all(|node| self.always(node)),
            Node::Any(nodes) => {
                let covers = |a: &Node, b: &Node| matches!(a, Node::Not(not) if self.implies(not, b));
                nodes.iter().any(|node| self.always(node)) || pairs(nodes).any(|(a, b)| covers(a, b) || covers(b, a))
            }
            Node::Not(node) => self.never(node),
            Node::Event(condition) => {
                count(&condition.measure).is_some_and(|((low, high), _)| low <= 0 && high == i64::MAX)
            }
            Node::Sample(sample) => sample.from == 0 && sample.to == 10_000,
            _ => false,
        }
    }
}

fn pairs(nodes: &[Node]) -> impl Iterator<Item = (&Node, &Node)> {
    nodes.iter().enumerate().flat_map(|(at, a)| nodes[at + 1..].iter().map(move |b| (a, b)))
}

fn trait_implies(a: &TraitCondition, b: &TraitCondition) -> bool {
    let fresh = match (a.max_age, b.max_age) {
        (_, None) => true,
        (Some(a), Some(b)) => a <= b,
        (None, Some(_)) => false,
    };
    let known = a.max_age.is_some() || a.tests.iter().any(|test| *test != Test::Exists(false));
    let given: Vec<&Test> = a.tests.iter().collect();
    fresh && b.tests.iter().all(|test| (*test == Test::Exists(true) && known) || test_implied(&given, test))
}

/// Whether `wanted` passes whenever all of `given` do.
fn test_implied(given: &[&Test], wanted: &Test) -> bool {
    let subset = |a: &[Box<str>], b: &[Box<str>]| a.iter().all(|text| b.contains(text));
    let one = |test: &&Test| match (*test, wanted) {
        (a, b) if a == b => true,
        (Test::OneOf(a), Test::OneOf(b)) => {
            let of: Vec<Scalar> = b.scalars().collect();
            a.scalars().all(|scalar| of.contains(&scalar))
        }
        (Test::NoneOf(a), Test::NoneOf(b)) => {
            a.only_texts() && b.only_texts() && !b.texts().is_empty() && subset(b.texts(), a.texts())
        }
        (Test::AllOf(a), Test::AllOf(b)) => subset(b, a),
        (Test::AllOf(a), Test::OneOf(b)) => a.iter().any(|text| b.texts().contains(text)),
        (Test::StartsWith(a), Test::StartsWith(b)) => a.starts_with(&**b),
        (Test::Contains(a) | Test::StartsWith(a), Test::Contains(b)) => a.contains(&**b),
        (Test::WithinLast(a), Test::WithinLast(b)) | (Test::WithinNext(a), Test::WithinNext(b)) => a <= b,
        (Test::OlderThan(a), Test::OlderThan(b)) => a >= b,
        (Test::Before(a), Test::Before(b)) => a <= b,
        (Test::After(a), Test::After(b)) => a >= b,
        _ => false,
    };
    given.iter().any(one) || Interval::of(given).is_some_and(|interval| interval.within(wanted))
}

/// Whether no value passes all of `tests`.
fn contradictory(tests: &[&Test]) -> bool {
    let unknown = tests.iter().any(|test| **test == Test::Exists(false));
    if unknown && tests.iter().any(|test| **test != Test::Exists(false)) {
        return true;
    }
    if Interval::of(tests).is_some_and(|interval| interval.is_empty(tests)) {
        return true;
    }
    let clash = |a: &Test, b: &Test| match (a, b) {
        (a, b) if kind(a).zip(kind(b)).is_some_and(|(a, b)| a != b) => true,
        (Test::OneOf(some), Test::NoneOf(none)) => {
            some.only_texts() && some.texts().iter().all(|text| none.texts().contains(text))
        }
        (Test::AllOf(all), Test::NoneOf(none)) => all.iter().any(|text| none.texts().contains(text)),
        // strictly between two instants of a clock that ticks in milliseconds
        (Test::Before(before), Test::After(after)) => after.0.saturating_add(1) >= before.0,
        (Test::WithinLast(within), Test::OlderThan(older)) => older >= within,
        (Test::WithinNext(_), Test::WithinLast(_) | Test::OlderThan(_)) => true,
        _ => false,
    };
    tests.iter().any(|a| tests.iter().any(|b| clash(a, b)))
}

/// Kinds of values that have nothing in common.
#[derive(PartialEq, Eq)]
enum Kind {
    Number,
    /// Texts, and the instants that are written as such.
    Text,
    Place,
}

/// What a value must be to pass; `None` where several kinds may.
fn kind(test: &Test) -> Option<Kind> {
    match test {
        Test::Exists(_) => None,
        Test::Number(..) => Some(Kind::Number),
        Test::OneOf(choices) | Test::NoneOf(choices) if choices.only_texts() => Some(Kind::Text),
        Test::OneOf(choices) | Test::NoneOf(choices) => {
            choices.scalars().all(|scalar| matches!(scalar, Scalar::Number(_))).then_some(Kind::Number)
        }
        Test::Near { .. } => Some(Kind::Place),
        _ => Some(Kind::Text),
    }
}

impl Interval {
    /// What the numeric tests among `tests` leave, if there are any.
    fn of(tests: &[&Test]) -> Option<Self> {
        let mut interval = Self { low: (f64::NEG_INFINITY, true), high: (f64::INFINITY, true) };
        let mut numeric = false;
        for test in tests {
            let mut low = |bound: f64, open: bool| {
                if (bound, open) > interval.low {
                    interval.low = (bound, open);
                }
            };
            match test {
                Test::Number(Order::Gt, bound) => low(*bound, true),
                Test::Number(Order::Gte, bound) => low(*bound, false),
                Test::Number(Order::Lt, bound) => interval.lower_high(*bound, true),
                Test::Number(Order::Lte, bound) => interval.lower_high(*bound, false),
                Test::OneOf(choices) => {
                    let Some(numbers) = numbers(choices.scalars()) else { continue };
                    low(numbers.iter().copied().fold(f64::INFINITY, f64::min), false);
                    interval.lower_high(numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max), false);
                }
                _ => continue,
            }
            numeric = true;
        }
        numeric.then_some(interval)
    }

    fn lower_high(&mut self, bound: f64, open: bool) {
        if bound < self.high.0 || bound == self.high.0 && open {
            self.high = (bound, open);
        }
    }

    fn has(&self, number: f64) -> bool {
        let above = number > self.low.0 || number == self.low.0 && !self.low.1;
        let below = number < self.high.0 || number == self.high.0 && !self.high.1;
        above && below
    }

    /// Whether nothing is left, also of the numbers that `tests` list.
    fn is_empty(&self, tests: &[&Test]) -> bool {
        let (low, high) = (self.low.0, self.high.0);
        let listed = tests.iter().filter_map(|test| match test {
            Test::OneOf(choices) => numbers(choices.scalars()),
            _ => None,
        });
        low > high
            || low == high && (self.low.1 || self.high.1)
            || listed.into_iter().any(|numbers| !numbers.iter().any(|number| self.has(*number)))
    }

    /// Whether every number of it passes `test`.
    fn within(&self, test: &Test) -> bool {
        match test {
            Test::Number(Order::Gt, bound) => self.low.0 > *bound || self.low == (*bound, true),
            Test::Number(Order::Gte, bound) => self.low.0 >= *bound,
            Test::Number(Order::Lt, bound) => self.high.0 < *bound || self.high == (*bound, true),
            Test::Number(Order::Lte, bound) => self.high.0 <= *bound,
            _ => false,
        }
    }
}

/// The scalars, if all of them are numbers and there are any.
fn numbers(scalars: impl Iterator<Item = Scalar>) -> Option<Vec<f64>> {
    let numbers = scalars.map(|scalar| if let Scalar::Number(number) = scalar { Some(number) } else { None });
    numbers.collect::<Option<Vec<_>>>().filter(|numbers| !numbers.is_empty())
}

fn same_stream(a: &EventCondition, b: &EventCondition) -> bool {
    a.event == b.event && a.filter == b.filter && a.key == b.key
}

/// The counts that a measure allows, both ends included, and where it counts.
fn count(measure: &Measure) -> Option<((i64, i64), &Window)> {
    let Measure::Count((low, high), window) = measure else { return None };
    Some((whole(low, high), window))
}

fn whole(low: &Bound<f64>, high: &Bound<f64>) -> (i64, i64) {
    let low = match low {
        Bound::Included(bound) => bound.ceil() as i64,
        Bound::Excluded(bound) => bound.floor() as i64 + 1,
        Bound::Unbounded => 0,
    };
    let high = match high {
        Bound::Included(bound) => bound.floor() as i64,
        Bound::Excluded(bound) => bound.ceil() as i64 - 1,
        Bound::Unbounded => i64::MAX,
    };
    (low.max(0), high)
}

/// Whether every event that counts in `inner` counts in `outer`.
fn covers(outer: &Window, inner: &Window) -> bool {
    match (outer, inner) {
        (outer, inner) if outer == inner => true,
        (Window::Ever, _) => true,
        (Window::Last(outer), Window::Last(inner)) => outer >= inner,
        (Window::Last(outer), Window::Ago { from, .. }) => outer >= from,
        _ => false,
    }
}

fn count_implies(a: &Measure, b: &Measure) -> bool {
    let (Some(((low_a, high_a), in_a)), Some(((low_b, high_b), in_b))) = (count(a), count(b)) else { return a == b };
    (low_b <= 0 || low_a >= low_b && covers(in_b, in_a))
        && (high_b == i64::MAX || high_a <= high_b && covers(in_a, in_b))
}

fn counts_exclude(a: &Measure, b: &Measure) -> bool {
    let (Some(((low_a, high_a), in_a)), Some(((low_b, high_b), in_b))) = (count(a), count(b)) else { return false };
    low_a > high_b && covers(in_b, in_a) || low_b > high_a && covers(in_a, in_b)
}
