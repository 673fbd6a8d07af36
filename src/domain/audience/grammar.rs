//! Conditions: the nodes of a rule and the operators of traits and of the request.

use serde_json::{Map, Value};

use super::{
    context::ContextPath,
    nearest::hint,
    node::{ContextCondition, Node, Sample, TraitCondition},
    parser::{Parser, Path, Read},
    predicate::{Choices, Order, Test},
    value::{Position, Scalar},
};
use crate::domain::values::{Millis, Span};

/// The fields that say which kind of condition an object is.
const KINDS: [&str; 14] = [
    "all",
    "any",
    "not",
    "trait",
    "context",
    "segment",
    "list",
    "sample",
    "event",
    "sequence",
    "cluster",
    "rfm",
    "lookalike",
    "score",
];

/// What every operator needs of the value it tests.
const OPERATORS: [(&str, Needs); 22] = [
    ("exists", Needs::Nothing),
    ("eq", Needs::Scalar),
    ("ne", Needs::Scalar),
    ("in", Needs::Scalar),
    ("not_in", Needs::Scalar),
    ("gt", Needs::Number),
    ("gte", Needs::Number),
    ("lt", Needs::Number),
    ("lte", Needs::Number),
    ("has_any", Needs::Texts),
    ("has_all", Needs::Texts),
    ("has_none", Needs::Texts),
    ("starts_with", Needs::Text),
    ("contains", Needs::Text),
    ("near", Needs::Place),
    ("within_last", Needs::Instant),
    ("older_than", Needs::Instant),
    ("within_next", Needs::Instant),
    ("anniversary_within", Needs::Instant),
    ("before", Needs::Instant),
    ("after", Needs::Instant),
    ("max_age", Needs::Age),
];

#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    Scalar,
    Number,
    Text,
    Texts,
    Place,
    Instant,
    Age,
}

/// Whose operators are read.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    /// A trait: all of them.
    Trait,
    /// A value of the request: those that suit it.
    Context(&'a ContextPath),
    /// A property of an event: comparisons only.
    Property,
}

impl Subject<'_> {
    fn allows(self, operator: &str, needs: Needs) -> bool {
        match self {
            Self::Trait => true,
            Self::Property => matches!(operator, "eq" | "in" | "gt" | "gte" | "lt" | "lte"),
            Self::Context(path) => match needs {
                Needs::Nothing => true,
                Needs::Scalar => *path != ContextPath::Geo,
                Needs::Number => matches!(path, ContextPath::Hour | ContextPath::Data(_)),
                Needs::Text => matches!(
                    path,
                    ContextPath::Region
                        | ContextPath::City
                        | ContextPath::Os
                        | ContextPath::Browser
                        | ContextPath::Domain
                        | ContextPath::Keywords
                        | ContextPath::Data(_)
                ),
                Needs::Texts => *path == ContextPath::Keywords,
                Needs::Place => *path == ContextPath::Geo,
                Needs::Instant | Needs::Age => false,
            },
        }
    }
}

impl Parser {
    /// The deepest nesting of conditions.
    const DEPTH: usize = 8;
    /// The most conditions of one rule.
    const CONDITIONS: usize = 64;
    /// The most children of one condition.
    const CHILDREN: usize = 32;

    pub(super) fn node(&mut self, json: &Value, at: &Path<'_>, depth: usize) -> Read<Node> {
        if depth > Self::DEPTH {
            return self.fault(at, "too_deep", "conditions may be nested at most 8 deep");
        }
        let map = self.object(json, at)?;
        let kinds = || KINDS.into_iter().filter(|kind| self.targeting || *kind != "context");
        let mut named = KINDS.into_iter().filter(|kind| map.contains_key(*kind));
        let kind = match (named.next(), named.next()) {
            (Some(kind), None) => kind,
            (Some(one), Some(other)) => {
                let detail = format!("is both \"{one}\" and \"{other}\": put each into its own object under \"all\"");
                return self.fault(at, "ambiguous_condition", detail);
            }
            (None, _) => {
                let near = map.keys().next().map(|key| hint(key, kinds())).unwrap_or_default();
                let detail = format!("must be a condition: one of {}{near}", kinds().collect::<Vec<_>>().join(", "));
                return self.fault(at, "unknown_condition", detail);
            }
        };
        if !matches!(kind, "all" | "any" | "not") {
            self.conditions += 1;
            match self.conditions {
                ..=Self::CONDITIONS => {}
                n if n == Self::CONDITIONS + 1 => {
                    return self.fault(at, "too_many_conditions", "a rule can have at most 64 conditions");
                }
                _ => return None,
            }
        }
        if !matches!(kind, "trait" | "context" | "event") {
            self.only(map, at, &[kind]);
        }
        let (inner, below) = (&map[kind], at.key(kind));
        let children = |this: &mut Self| {
            this.list(inner, &below, Self::CHILDREN, |this, child, at| this.node(child, at, depth + 1))
        };
        match kind {
            "all" => children(self).map(Node::All),
            "any" => children(self).map(Node::Any),
            "not" => self.node(inner, &below, depth + 1).map(|node| Node::Not(node.into())),
            "trait" => self.trait_condition(map, at).map(Node::Trait),
            "context" => self.context_condition(map, at).map(Node::Context),
            "segment" => self.parsed(inner, &below).map(Node::Segment),
            "list" => self.parsed(inner, &below).map(Node::List),
            "sample" => self.sample(inner, &below).map(Node::Sample),
            "event" => self.event_condition(map, at).map(Node::Event),
            "sequence" => self.sequence(inner, &below).map(Node::Sequence),
            "cluster" => self.cluster(inner, &below),
            "rfm" => self.rfm(inner, &below).map(Node::Rfm),
            "lookalike" => self.lookalike(inner, &below),
            _ => self.score(inner, &below),
        }
    }

    fn trait_condition(&mut self, map: &Map<String, Value>, at: &Path<'_>) -> Read<TraitCondition> {
        let name = self.required(map, at, "trait", Self::parsed);
        let max_age = self.optional(map, at, "max_age", Self::lasting);
        let tests = self.tests(map, at, Some("trait"), Subject::Trait);
        Some(TraitCondition { name: name?, tests: tests?, max_age })
    }

    fn context_condition(&mut self, map: &Map<String, Value>, at: &Path<'_>) -> Read<ContextCondition> {
        if !self.targeting {
            let detail = "the rule of a segment cannot depend on a request: put this into the targeting of a campaign";
            return self.fault(&at.key("context"), "context_in_segment", detail);
        }
        let path = self.required(map, at, "context", |this, json, at| {
            let name = this.text(json, at)?;
            let names = || ContextPath::NAMED.map(|(name, _)| name).into_iter();
            ContextPath::parse(name).or_else(|| {
                let all = names().collect::<Vec<_>>().join(", ");
                let detail = format!("must be one of {all} or data.<name>{}", hint(name, names()));
                this.fault(at, "unknown_context", detail)
            })
        })?;
        let tests = self.tests(map, at, Some("context"), Subject::Context(&path))?;
        Some(ContextCondition { path, tests })
    }

    /// The operators of an object, whose field `own` is none of them but names the value they test.
    pub(super) fn tests(
        &mut self,
        map: &Map<String, Value>,
        at: &Path<'_>,
        own: Option<&str>,
        subject: Subject<'_>,
    ) -> Read<Vec<Test>> {
        let operators = || OPERATORS.into_iter().filter(|&(name, needs)| subject.allows(name, needs));
        let (mut tests, mut sound, mut any) = (Vec::new(), true, false);
        for (name, operand) in map.iter().filter(|(name, _)| own != Some(name.as_str())) {
            let below = at.key(name);
            if !operators().any(|(known, _)| known == name) {
                let near = hint(name, operators().map(|(known, _)| known));
                let all = operators().map(|(known, _)| known).collect::<Vec<_>>().join(", ");
                self.fault::<()>(&below, "unknown_operator", format!("no operator here: use {all}{near}"));
                sound = false;
            } else if name != "max_age" {
                let test = self.test(name, operand, &below, subject);
                sound &= test.is_some();
                tests.extend(test);
            }
            any = true;
        }
        if !any {
            return self.fault(at, "no_operator", "needs at least one operator, such as \"eq\" or \"exists\"");
        }
        sound.then_some(tests)
    }

    fn test(&mut self, operator: &str, json: &Value, at: &Path<'_>, subject: Subject<'_>) -> Read<Test> {
        let number = |this: &mut Self, order| Some(Test::Number(order, this.number(json, at)?));
        Some(match operator {
            "exists" => Test::Exists(self.boolean(json, at)?),
            "eq" => Test::OneOf(Choices::new([self.scalar(json, at, subject)?])),
            "ne" => Test::NoneOf(Choices::new([self.scalar(json, at, subject)?])),
            "in" => Test::OneOf(self.scalars(json, at, subject)?),
            "not_in" => Test::NoneOf(self.scalars(json, at, subject)?),
            "gt" => number(self, Order::Gt)?,
            "gte" => number(self, Order::Gte)?,
            "lt" => number(self, Order::Lt)?,
            "lte" => number(self, Order::Lte)?,
            "has_any" => Test::OneOf(Choices::new(self.texts(json, at, 200, subject)?.map(Scalar::Text))),
            "has_none" => Test::NoneOf(Choices::new(self.texts(json, at, 200, subject)?.map(Scalar::Text))),
            "has_all" => Test::AllOf(self.texts(json, at, 32, subject)?.collect()),
            "starts_with" => Test::StartsWith(self.part(json, at, subject)?),
            "contains" => Test::Contains(self.part(json, at, subject)?),
            "within_last" => Test::WithinLast(self.lasting(json, at)?),
            "older_than" => Test::OlderThan(self.parsed(json, at)?),
            "within_next" => Test::WithinNext(self.lasting(json, at)?),
            "anniversary_within" => Test::AnniversaryWithin(self.parsed(json, at)?),
            "before" => Test::Before(self.instant(json, at)?),
            "after" => Test::After(self.instant(json, at)?),
            _ => self.near(json, at)?,
        })
    }

    fn scalars(&mut self, json: &Value, at: &Path<'_>, subject: Subject<'_>) -> Read<Choices> {
        let max = if matches!(subject, Subject::Property) { 100 } else { 1_000 };
        self.list(json, at, max, |this, item, at| this.scalar(item, at, subject)).map(Choices::new)
    }

    fn scalar(&mut self, json: &Value, at: &Path<'_>, subject: Subject<'_>) -> Read<Scalar> {
        let wanted = match subject {
            Subject::Context(ContextPath::Hour) => Some("must be a number"),
            Subject::Context(ContextPath::Data(_)) | Subject::Trait | Subject::Property => None,
            Subject::Context(_) => Some("must be a text"),
        };
        match (json, wanted) {
            (Value::Bool(yes), None) => Some(Scalar::Bool(*yes)),
            (Value::Number(_), None | Some("must be a number")) => self.number(json, at).map(Scalar::Number),
            (Value::String(_), None | Some("must be a text")) => self.operand(json, at, subject).map(Scalar::Text),
            (_, wanted) => self.fault(at, "wrong_type", wanted.unwrap_or("must be a text, a number, true or false")),
        }
    }

    fn texts(
        &mut self,
        json: &Value,
        at: &Path<'_>,
        max: usize,
        subject: Subject<'_>,
    ) -> Read<impl Iterator<Item = Box<str>> + use<>> {
        Some(self.list(json, at, max, |this, item, at| this.operand(item, at, subject))?.into_iter())
    }

    /// A text to compare whole, written as the values it is compared with are kept.
    fn operand(&mut self, json: &Value, at: &Path<'_>, subject: Subject<'_>) -> Read<Box<str>> {
        let text = self.text(json, at)?;
        match subject {
            Subject::Trait | Subject::Property => Some(text.into()),
            Subject::Context(path) => match path.operand(text) {
                Ok(text) => Some(text.into()),
                Err(detail) => self.fault(at, "invalid", detail),
            },
        }
    }

    /// A text to compare in part.
    fn part(&mut self, json: &Value, at: &Path<'_>, subject: Subject<'_>) -> Read<Box<str>> {
        let text = self.filled(json, at)?;
        Some(match subject {
            Subject::Context(ContextPath::Data(_)) | Subject::Trait | Subject::Property => text,
            Subject::Context(_) => text.to_lowercase().into(),
        })
    }

    /// A duration that is not zero: a stretch of no length never holds.
    pub(super) fn lasting(&mut self, json: &Value, at: &Path<'_>) -> Read<Span> {
        let span: Span = self.parsed(json, at)?;
        if span.millis() > 0 { Some(span) } else { self.fault(at, "out_of_range", "must be longer than nothing") }
    }

    pub(super) fn instant(&mut self, json: &Value, at: &Path<'_>) -> Read<Millis> {
        let text = self.text(json, at)?;
        text.parse().ok().or_else(|| self.fault(at, "invalid", "must be an instant such as 2026-11-22T08:30:00Z"))
    }

    fn near(&mut self, json: &Value, at: &Path<'_>) -> Read<Test> {
        let map = self.object(json, at)?;
        self.only(map, at, &["lat", "lon", "km"]);
        let lat = self.required(map, at, "lat", |this, json, at| this.number_in(json, at, -90.0..=90.0));
        let lon = self.required(map, at, "lon", |this, json, at| this.number_in(json, at, -180.0..=180.0));
        let km = self.required(map, at, "km", |this, json, at| match this.number_in(json, at, 0.0..=5_000.0)? {
            0.0 => this.fault(at, "out_of_range", "must be more than 0"),
            km => Some(km),
        });
        Some(Test::Near { center: Position::new(lat?, lon?)?, km: km? })
    }

    fn sample(&mut self, json: &Value, at: &Path<'_>) -> Read<Sample> {
        let map = self.object(json, at)?;
        self.only(map, at, &["salt", "from", "to"]);
        let share = |this: &mut Self, json: &Value, at: &Path<'_>| this.integer_in(json, at, 0..=10_000);
        let salt = self.required(map, at, "salt", |this, json, at| this.text(json, at).map(Box::from));
        let (from, to) = (self.required(map, at, "from", share), self.required(map, at, "to", share));
        let (salt, from, to) = (salt?, from? as u16, to? as u16);
        if from < to {
            Some(Sample { salt, from, to })
        } else {
            self.fault(&at.key("to"), "out_of_range", "must be more than \"from\", or nobody is in the sample")
        }
    }
}
