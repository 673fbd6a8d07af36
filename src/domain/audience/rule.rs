//! Rule documents and their one parser. The grammar is described by the schemas of [`RuleDoc`]
//! and [`TargetingDoc`].

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    node::Node,
    parser::{Parser, Path, Read},
    schema, value,
};
use crate::domain::{values::Span, violation::Violation};

/// The rule of a segment as its author sent it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleDoc(pub Value);

/// A targeting rule as its author sent it: a condition that may also look at the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetingDoc(pub Value);

/// The rule of a segment.
#[derive(Clone, Debug, PartialEq)]
pub enum SegmentRule {
    /// A list: people are put in and taken out by name.
    Static,
    /// Whoever meets a condition.
    Dynamic(Dynamic),
}

/// The rule of a dynamic segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Dynamic {
    /// Whose days count; UTC when the author names no zone.
    pub zone: Zone,
    /// Who is in.
    pub node: Node,
    /// How long the condition must have held before entering is announced. Decisions do not wait.
    pub enter_hold: Option<Span>,
    /// How long it must not have held before leaving is announced.
    pub exit_hold: Option<Span>,
}

/// Whose days count.
#[derive(Clone, Debug, PartialEq)]
pub enum Zone {
    /// Those of the zone that the person's trait `tz` names, else UTC.
    Profile,
    /// Those of a zone.
    Named(TimeZone),
}

impl SegmentRule {
    /// The rule that `json` describes.
    ///
    /// # Errors
    /// Every fault, with its pointer within the rule.
    pub fn parse(json: &Value) -> Result<Self, Vec<Violation>> {
        let mut parser = Parser::new(false);
        let rule = parser.rule(json, &Path::ROOT);
        parser.finish(rule)
    }

    /// The condition of a dynamic segment.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        match self {
            Self::Static => None,
            Self::Dynamic(rule) => Some(&rule.node),
        }
    }
}

/// The parser of targeting rules.
#[derive(Debug)]
pub enum Targeting {}

impl Targeting {
    /// The condition that `json` describes.
    ///
    /// # Errors
    /// Every fault, with its pointer within the condition.
    pub fn parse(json: &Value) -> Result<Node, Vec<Violation>> {
        let mut parser = Parser::new(true);
        let node = parser.node(json, &Path::ROOT, 1);
        parser.finish(node)
    }
}

impl Parser {
    fn rule(&mut self, json: &Value, at: &Path<'_>) -> Read<SegmentRule> {
        let map = self.object(json, at)?;
        self.only(map, at, &["v", "kind", "tz", "match", "enter_hold", "exit_hold"]);
        self.required(map, at, "v", |this, json, at| match json.as_f64() {
            Some(1.0) => Some(()),
            _ => this.fault(at, "invalid", "must be 1, the version of the grammar"),
        });
        let dynamic = self
            .required(map, at, "kind", |this, json, at| this.choice(json, at, &[("dynamic", true), ("static", false)]));
        let zone = self.optional(map, at, "tz", Self::zone).unwrap_or(Zone::Named(TimeZone::UTC));
        let enter_hold = self.optional(map, at, "enter_hold", Self::parsed);
        let exit_hold = self.optional(map, at, "exit_hold", Self::parsed);
        if dynamic? {
            let node = self.required(map, at, "match", |this, json, at| this.node(json, at, 1))?;
            Some(SegmentRule::Dynamic(Dynamic { zone, node, enter_hold, exit_hold }))
        } else if map.contains_key("match") {
            self.fault(&at.key("match"), "static_with_rule", "a static segment has members, not a rule")
        } else {
            Some(SegmentRule::Static)
        }
    }

    fn zone(&mut self, json: &Value, at: &Path<'_>) -> Read<Zone> {
        match self.text(json, at)? {
            "profile" => Some(Zone::Profile),
            name => value::zone(name)
                .map(Zone::Named)
                .or_else(|| self.fault(at, "invalid", "must be \"profile\" or an IANA zone such as Europe/Berlin")),
        }
    }
}

/// Publishes a document's schema under its own name, with the conditions it is made of.
macro_rules! documented {
    ($name:ident, $schema:expr, $condition:literal, $targeting:literal) => {
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                schema::open_api($schema)
            }
        }

        impl utoipa::ToSchema for $name {
            fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>) {
                if !schemas.iter().any(|(name, _)| name == $condition) {
                    schemas.push(($condition.to_owned(), schema::open_api(schema::condition($condition, $targeting))));
                }
            }
        }
    };
}

documented!(RuleDoc, schema::rule(), "Condition", false);
documented!(TargetingDoc, schema::targeting(), "TargetingCondition", true);
