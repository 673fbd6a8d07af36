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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use utoipa::{PartialSchema, ToSchema};

    use super::*;

    fn dynamic(node: &Value) -> Value {
        json!({"v": 1, "kind": "dynamic", "match": node})
    }

    /// Rules of every kind, as marketers would write them.
    fn good() -> Vec<Value> {
        let emptied = json!({"event": "basket_emptied", "count": {"gte": 3}, "in": {"last": "P30D"}});
        vec![
            json!({"v": 1, "kind": "static"}),
            json!({"v": 1, "kind": "static", "enter_hold": "PT5M"}),
            dynamic(&json!({"any": [
                {"sequence": {"start": {"event": "add_to_cart", "where": {"price": {"gte": 20}}}, "then": [
                    {"not": "purchase", "within": "PT30M"}], "same": "cart_id", "anchor": "any", "lookback": "P7D",
                    "late_clears": false}},
                {"all": [emptied, {"event": "purchase", "count": {"eq": 0}, "in": {"calendar": "days", "n": 30}}]}]})),
            dynamic(&json!({"all": [{"trait": "country", "in": ["GB", "IE"]}, {"trait": "age", "gte": 25, "lt": 45},
                {"trait": "interests", "has_any": ["running", "cycling"], "max_age": "P365D"}]})),
            dynamic(&json!({"all": [
                {"event": "purchase", "sum": {"of": "amount", "is": {"gte": 200}}, "in": {"ago": {"from": "P365D", "to": "P30D"}}},
                {"event": "session", "last_seen": {"older_than": "P14D", "within": "P90D"}},
                {"not": {"list": "suppressed"}}]})),
            json!({"v": 1, "kind": "dynamic", "tz": "Europe/London", "enter_hold": "PT10M", "exit_hold": "P1D", "match":
                {"event": "product_view", "distinct": {"of": "product_id", "is": {"gte": 3}}, "in": {"calendar": "this_week"}}}),
            dynamic(&json!({"all": [{"trait": "home", "near": {"lat": 51.5, "lon": -0.12, "km": 25}},
                {"trait": "birthday", "anniversary_within": "P7D"}, {"trait": "renewal", "within_next": "P30D"}]})),
            dynamic(&json!({"any": [{"rfm": {"event": "purchase", "r": [5], "f": [4, 5]}}, {"segment": "vip"},
                {"cluster": {"model": "behaviour-k8", "in": [2, 5], "max_distance": 1.5}},
                {"lookalike": {"model": "vip-seed", "top_pct": 5}}, {"score": {"model": "churn", "gte": 0.8}},
                {"sample": {"salt": "test-1", "from": 0, "to": 5_000}}]})),
            dynamic(&json!({"event": "visit", "first_seen": {"within": "P7D"}, "key": {"shop": "berlin"}})),
            dynamic(
                &json!({"event": "visit", "avg": {"of": "pages", "is": {"gt": 2, "lte": 9}}, "in": {"ever": true}}),
            ),
            dynamic(
                &json!({"event": "visit", "count": {"gte": 1}, "in": {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}}),
            ),
        ]
    }

    #[track_caller]
    fn refused(node: &Value, expected: &[(&str, &str)]) {
        let faults = SegmentRule::parse(&dynamic(node)).expect_err("a refusal");
        let mut found: Vec<_> =
            faults.iter().map(|f| (f.pointer.strip_prefix("/match").unwrap_or(&f.pointer), f.code)).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{faults:?}");
    }

    #[test]
    fn rules_of_every_kind_are_read() {
        for rule in good() {
            SegmentRule::parse(&rule).unwrap_or_else(|faults| panic!("{rule}: {faults:?}"));
        }
    }

    #[test]
    fn what_has_no_one_meaning_is_refused() {
        let count = json!({"gte": 1});
        refused(&json!({"event": "purchase", "count": count, "in": {"last": "P1M"}}), &[("/in/last", "invalid")]);
        refused(&json!({"event": "purchase", "count": count}), &[("/in", "required")]);
        refused(&json!({"trait": "age", "above": 3}), &[("/above", "unknown_operator")]);
        refused(&json!({"all": []}), &[("/all", "empty")]);
        let listed = json!({"v": 1, "kind": "static", "match": {"segment": "x"}});
        assert_eq!(SegmentRule::parse(&listed).expect_err("a refusal")[0].code, "static_with_rule");
        refused(&json!({"trait": "age"}), &[("", "no_operator")]);
        refused(&json!({"trait": "age", "gt": 1, "segment": "x"}), &[("", "ambiguous_condition")]);
        refused(&json!({}), &[("", "unknown_condition")]);
        refused(&json!({"context": "hour", "gt": 1}), &[("/context", "context_in_segment")]);
        refused(&json!({"trait": "t", "within_last": "PT0S"}), &[("/within_last", "out_of_range")]);
        refused(&json!({"sample": {"salt": "x", "from": 5, "to": 5}}), &[("/sample/to", "out_of_range")]);
        refused(&json!({"event": "a", "count": {"gte": 64}, "in": {"last": "P1D"}}), &[("/count", "out_of_range")]);
        let distinct = |is: Value| json!({"event": "a", "distinct": {"of": "x", "is": is}, "in": {"ever": true}});
        refused(&distinct(json!({"gte": 17})), &[("/distinct/is", "out_of_range")]);
        refused(&distinct(json!({"lte": 16})), &[("/distinct/is", "out_of_range")]);
        assert!(SegmentRule::parse(&dynamic(&distinct(json!({"gt": 15, "lt": 16})))).is_ok());
        let (long, count) = (json!("P401D"), json!({"gte": 1}));
        refused(&json!({"event": "a", "count": count, "in": {"last": long}}), &[("/in/last", "out_of_range")]);
        refused(
            &json!({"event": "a", "count": count, "in": {"ago": {"from": long, "to": "P1D"}}}),
            &[("/in/ago/from", "out_of_range")],
        );
        refused(
            &json!({"sequence": {"start": {"event": "a"}, "then": [{"not": "b", "within": "P1D"}], "lookback": long}}),
            &[("/sequence/lookback", "out_of_range")],
        );
        refused(
            &json!({"event": "a", "count": {"gt": 1, "gte": 2}, "in": {"last": "P1D"}}),
            &[("/count", "ambiguous_range")],
        );
        refused(
            &json!({"event": "a", "last_seen": {"within": "P1D"}, "in": {"last": "P1D"}}),
            &[("/in", "unknown_field")],
        );
        refused(
            &json!({"sequence": {"start": {"event": "a"}, "then": [{"within": "P1D"}], "lookback": "P1D"}}),
            &[("/sequence/then/0", "ambiguous_step")],
        );
        for rule in [
            json!(null),
            json!([]),
            json!({"v": 2, "kind": "static"}),
            json!({"v": 1, "kind": "model"}),
            json!({"v": 1, "kind": "dynamic"}),
        ] {
            assert!(SegmentRule::parse(&rule).is_err(), "{rule}");
        }
        let zone = json!({"v": 1, "kind": "static", "tz": "Mars/Olympus"});
        assert_eq!(SegmentRule::parse(&zone).expect_err("a refusal")[0].pointer, "/tz");
    }

    #[test]
    fn every_fault_is_reported_at_once_with_a_hint() {
        refused(
            &json!({"all": [{"trait": "Age", "gt": "x"}, {"any": [{"segmnt": "x"}, {"list": "a b"}]},
                {"trait": "home", "near": {"lat": 95, "lon": 0, "km": 0}}, {"trait": "a", "in": [[], 1, null]}]}),
            &[
                ("/all/0/gt", "wrong_type"),
                ("/all/0/trait", "invalid"),
                ("/all/1/any/0", "unknown_condition"),
                ("/all/1/any/1/list", "invalid"),
                ("/all/2/near/km", "out_of_range"),
                ("/all/2/near/lat", "out_of_range"),
                ("/all/3/in/0", "wrong_type"),
                ("/all/3/in/2", "wrong_type"),
            ],
        );
        let detail = |rule: Value| SegmentRule::parse(&rule).expect_err("a refusal").remove(0).detail;
        assert!(
            detail(dynamic(&json!({"trait": "age", "stats_with": "x"}))).ends_with("did you mean \"starts_with\"?")
        );
        assert!(detail(dynamic(&json!({"segmnt": "x"}))).ends_with("did you mean \"segment\"?"));
        assert!(detail(json!({"v": 1, "kind": "static", "enter_hlod": 1})).ends_with("did you mean \"enter_hold\"?"));
    }

    #[test]
    fn limits_on_size_and_depth() {
        let leaf = json!({"trait": "a", "eq": 1});
        let nested = |depth: usize| (1..depth).fold(leaf.clone(), |node, _| json!({"not": node}));
        assert!(SegmentRule::parse(&dynamic(&nested(8))).is_ok());
        refused(&nested(9), &[("/not/not/not/not/not/not/not/not", "too_deep")]);
        let wide = |count: usize| json!({"all": vec![leaf.clone(); count]});
        assert!(SegmentRule::parse(&dynamic(&wide(32))).is_ok());
        refused(&wide(33), &[("/all", "too_many")]);
        let mut many = json!({"any": [wide(32), wide(32)]});
        assert!(SegmentRule::parse(&dynamic(&many)).is_ok());
        many["any"][0]["all"][0] = wide(2);
        refused(&many, &[("/any/1/all/31", "too_many_conditions")]);
        let choices = |count: usize| json!({"trait": "a", "in": vec![1; count]});
        assert!(SegmentRule::parse(&dynamic(&choices(1_000))).is_ok());
        refused(&choices(1_001), &[("/in", "too_many")]);
        refused(&json!({"trait": "a", "eq": "x".repeat(1_025)}), &[("/eq", "too_long")]);
    }

    #[test]
    fn the_request_is_seen_by_targeting_alone() {
        let ok = |node: Value| Targeting::parse(&node).unwrap_or_else(|faults| panic!("{node}: {faults:?}"));
        ok(
            json!({"all": [{"context": "geo.country", "in": ["de", "AT"]}, {"context": "geo", "near": {"lat": 1, "lon": 1, "km": 5}},
            {"context": "device.type", "eq": "mobile"}, {"context": "hour", "gte": 9, "lt": 17}, {"context": "weekday", "not_in": ["Sunday"]},
            {"context": "keywords", "has_any": ["running"]}, {"context": "data.weather", "eq": "rain"}, {"context": "language", "eq": "de"},
            {"context": "url.domain", "contains": "news"}, {"context": "daypart", "eq": "morning"}, {"segment": "vip"}]}),
        );
        let faults = |node: Value| {
            let faults = Targeting::parse(&node).expect_err("a refusal");
            (faults[0].pointer.clone(), faults[0].code)
        };
        assert_eq!(faults(json!({"context": "geo.land", "eq": "x"})), ("/context".to_owned(), "unknown_context"));
        assert_eq!(faults(json!({"context": "geo.country", "eq": "Germany"})), ("/eq".to_owned(), "invalid"));
        assert_eq!(faults(json!({"context": "weekday", "in": ["sun"]})), ("/in/0".to_owned(), "invalid"));
        assert_eq!(faults(json!({"context": "hour", "eq": "nine"})), ("/eq".to_owned(), "wrong_type"));
        assert_eq!(faults(json!({"context": "geo.country", "gt": 1})), ("/gt".to_owned(), "unknown_operator"));
        assert_eq!(faults(json!({"context": "hour", "max_age": "P1D"})), ("/max_age".to_owned(), "unknown_operator"));
    }

    /// The published schema, with its conditions inlined where it looks for them.
    fn validator<T: ToSchema + PartialSchema>() -> jsonschema::Validator {
        let mut schemas = Vec::new();
        T::schemas(&mut schemas);
        let mut schema = serde_json::to_value(T::schema()).expect("JSON");
        let components: Value =
            schemas.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).expect("JSON"))).collect();
        schema["components"] = json!({"schemas": components});
        jsonschema::validator_for(&schema).expect("a schema")
    }

    #[test]
    fn the_published_schema_agrees_on_shape() {
        let schema = validator::<RuleDoc>();
        for rule in good() {
            assert!(
                schema.is_valid(&rule),
                "{rule}: {:?}",
                schema.iter_errors(&rule).map(|e| e.to_string()).collect::<Vec<_>>()
            );
        }
        for node in [
            json!({"trait": "age", "above": 3}),
            json!({"all": []}),
            json!({"trait": "age"}),
            json!({"event": "purchase", "count": {"gte": 1}, "in": {"last": "P1M"}}),
            json!({"context": "hour", "gt": 1}),
            json!({"not": {"sample": {"salt": "x", "from": 0, "to": 10_001}}}),
        ] {
            assert!(!schema.is_valid(&dynamic(&node)), "{node}");
        }
        let targeting = validator::<TargetingDoc>();
        assert!(targeting.is_valid(&json!({"any": [{"context": "geo.country", "in": ["DE"]}, {"segment": "vip"}]})));
        assert!(!targeting.is_valid(&json!({"context": "geo.planet", "eq": "x"})));
    }

    #[test]
    fn hostile_documents_are_refused_in_bounded_answers() {
        // Deeper than the JSON reader of any caller goes.
        let deep = (0..300).fold(json!(1), |node, _| json!({"not": node}));
        assert_eq!(SegmentRule::parse(&dynamic(&deep)).expect_err("a refusal").len(), 1);
        let huge = dynamic(&json!({"all": vec![json!({"x": 1}); 100_000]}));
        assert_eq!(SegmentRule::parse(&huge).expect_err("a refusal").len(), 1);
        let fields: Value = (0..10_000).map(|i| (format!("f{i}"), json!(1))).collect();
        assert!(SegmentRule::parse(&fields).expect_err("a refusal").len() <= 100);
        let wrong: Vec<_> = (0..1_000).map(|_| json!([])).collect();
        assert_eq!(
            SegmentRule::parse(&dynamic(&json!({"trait": "a", "in": wrong}))).expect_err("a refusal").len(),
            100
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let words = prop::sample::select(vec![
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
            "eq",
            "in",
            "near",
            "within_last",
            "count",
            "sum",
            "of",
            "is",
            "where",
            "start",
            "then",
            "last",
            "ago",
            "calendar",
            "days",
            "n",
            "P1D",
            "age",
            "gte",
            "salt",
            "from",
            "to",
            "model",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e300..1e300_f64).prop_map(Value::from),
            words.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(words.clone().prop_map(str::to_owned), inner, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    static SCHEMA: std::sync::LazyLock<jsonschema::Validator> = std::sync::LazyLock::new(validator::<RuleDoc>);

    proptest! {
        #[test]
        fn any_document_is_read_or_refused_and_what_is_read_fits_the_schema(node in any_json()) {
            let rule = dynamic(&node);
            match SegmentRule::parse(&rule) {
                Ok(_) => prop_assert!(SCHEMA.is_valid(&rule)),
                Err(faults) => prop_assert!(!faults.is_empty()),
            }
            let _no_panic = Targeting::parse(&node);
        }
    }
}
