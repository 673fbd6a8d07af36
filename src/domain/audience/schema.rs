//! The grammar as JSON Schema, for the OpenAPI document. The parser is stricter: limits that
//! span a document (depth, number of conditions) and references are its alone.

use serde_json::{Value, json};
use utoipa::openapi::{RefOr, schema::Schema};

const NAME: &str = "^[a-z][a-z0-9_.:-]{0,63}$";
const DURATION: &str = "^P(?=.)([0-9]+D)?(T(?=.)([0-9]+H)?([0-9]+M)?([0-9]+S)?)?$|^P[0-9]+W$";

/// `schema` as the OpenAPI document holds it.
pub(super) fn open_api(schema: Value) -> RefOr<Schema> {
    // The literals below are schemas that the type can hold, which a test makes sure of.
    serde_json::from_value(schema).unwrap_or_default()
}

/// A segment's rule.
pub(super) fn rule() -> Value {
    let mut schema = object(
        &["v", "kind"],
        json!({
            "v": {"type": "integer", "enum": [1], "description": "Version of the grammar."},
            "kind": {"type": "string", "enum": ["dynamic", "static"],
                "description": "dynamic: whoever meets `match`; static: a list, without `match`."},
            "tz": {"type": "string", "description":
                "IANA zone whose days count, or `profile` for the zone in the person's trait `tz`. Default UTC."},
            "match": {"$ref": "#/components/schemas/Condition"},
            "enter_hold": duration("Entering is announced after so long; decisions do not wait."),
            "exit_hold": duration("Leaving is announced after so long; decisions do not wait."),
        }),
    );
    schema["description"] = json!("The rule of a segment.");
    schema["examples"] = json!([{"v": 1, "kind": "dynamic", "match": {"all": [
        {"trait": "age", "gte": 18, "lt": 26}, {"trait": "last_purchase", "within_last": "P30D"}]}}]);
    schema
}

/// A targeting rule.
pub(super) fn targeting() -> Value {
    json!({
        "description": "Whom and when: a condition over the person, their segments and the request.",
        "allOf": [{"$ref": "#/components/schemas/TargetingCondition"}],
        "examples": [{"all": [{"segment": "young-buyers"}, {"context": "geo.country", "in": ["DE", "AT"]}]}],
    })
}

/// One condition, whose conditions below are the schema called `own`.
pub(super) fn condition(own: &str, targeting: bool) -> Value {
    let inner = json!({"$ref": format!("#/components/schemas/{own}")});
    let several = json!({"type": "array", "items": inner, "minItems": 1, "maxItems": 32});
    let mut kinds = vec![
        object(&["all"], json!({"all": several})),
        object(&["any"], json!({"any": several})),
        object(&["not"], json!({"not": inner})),
        operators("trait", name()),
    ];
    if targeting {
        let path = "^(geo(\\.(country|region|city))?|device\\.(type|os)|language|url\\.domain|keywords|daypart|hour|weekday|data\\..{1,64})$";
        kinds.push(operators("context", json!({"type": "string", "pattern": path})));
    }
    kinds.extend(["segment", "list"].map(|kind| object(&[kind], json!({kind: name()}))));
    kinds.extend(events());
    kinds.extend(models());
    json!({
        "description": "A condition: exactly one kind. `context` is for targeting only; `lookalike` and `score` \
            are checked and then refused with `unsupported_condition`.",
        "oneOf": kinds,
    })
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

fn name() -> Value {
    json!({"type": "string", "pattern": NAME})
}

fn duration(description: &str) -> Value {
    json!({"type": "string", "pattern": DURATION, "description": description})
}

fn array(items: &Value, max: usize) -> Value {
    json!({"type": "array", "items": items, "minItems": 1, "maxItems": max})
}

fn scalar() -> Value {
    json!({"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]})
}

fn operators(own: &str, subject: Value) -> Value {
    let (text, number, instant) =
        (json!({"type": "string"}), json!({"type": "number"}), json!({"type": "string", "format": "date-time"}));
    let degrees = |most: i32| json!({"type": "number", "minimum": -most, "maximum": most});
    let mut schema = object(
        &[own],
        json!({
            "exists": {"type": "boolean", "description": "Whether the value is known. All else is false when it is not."},
            "eq": scalar(), "ne": scalar(),
            "gt": number, "gte": number, "lt": number, "lte": number,
            "in": array(&scalar(), 1_000), "not_in": array(&scalar(), 1_000),
            "has_any": array(&text, 200), "has_all": array(&text, 32), "has_none": array(&text, 200),
            "starts_with": {"type": "string", "minLength": 1}, "contains": {"type": "string", "minLength": 1},
            "near": object(&["lat", "lon", "km"],
                json!({"lat": degrees(90), "lon": degrees(180), "km": {"type": "number", "exclusiveMinimum": 0, "maximum": 5_000}})),
        }),
    );
    if own == "trait" {
        let more = [
            ("within_last", duration("From the instant until just before so long after it.")),
            ("older_than", duration("From so long after the instant.")),
            ("within_next", duration("From so long before the instant until just before it.")),
            ("anniversary_within", duration("From so long before the yearly return of a day until its end.")),
            ("before", instant.clone()),
            ("after", instant),
            ("max_age", duration("The condition is false once the value was set so long ago.")),
        ];
        more.into_iter().for_each(|(operator, operand)| schema["properties"][operator] = operand);
    }
    schema["properties"][own] = subject;
    schema["minProperties"] = json!(2);
    schema
}

fn events() -> [Value; 2] {
    let comparisons = json!({"eq": scalar(), "in": array(&scalar(), 100), "gt": {"type": "number"}, "gte": {"type": "number"},
        "lt": {"type": "number"}, "lte": {"type": "number"}});
    let filter = json!({"type": "object", "minProperties": 1, "maxProperties": 6, "additionalProperties": {
        "type": "object", "minProperties": 1, "maxProperties": 2, "additionalProperties": false, "properties": comparisons}});
    let range = json!({"type": "object", "minProperties": 1, "maxProperties": 2, "additionalProperties": false, "properties": {
        "eq": {"type": "number"}, "gt": {"type": "number"}, "gte": {"type": "number"}, "lt": {"type": "number"}, "lte": {"type": "number"}}});
    let measured = object(&["of", "is"], json!({"of": name(), "is": range}));
    let age = json!({"type": "object", "minProperties": 1, "additionalProperties": false, "properties": {
        "older_than": duration("At least so long ago."), "within": duration("Less than so long ago.")}});
    let instant = json!({"type": "string", "format": "date-time"});
    let ago = object(&["from", "to"], json!({"from": duration("Longer ago."), "to": duration("Less long ago.")}));
    let window = json!({"oneOf": [
        object(&["last"], json!({"last": duration("The stretch before now.")})),
        object(&["ago"], json!({"ago": ago})),
        object(&["since"], json!({"since": instant, "until": instant})),
        object(&["calendar"], json!({"calendar": {"type": "string", "enum":
            ["today", "yesterday", "this_week", "last_week", "this_month", "last_month", "days"]},
            "n": {"type": "integer", "minimum": 1, "maximum": 366}})),
        object(&["ever"], json!({"ever": {"type": "boolean", "enum": [true]}})),
    ]});
    let event = object(
        &["event"],
        json!({"event": name(), "where": filter,
            "key": {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": {"type": "string"}},
            "count": range, "sum": measured, "avg": measured, "distinct": measured,
            "last_seen": age, "first_seen": age, "in": window}),
    );
    let within = duration("In how much time.");
    let sequence = object(
        &["start", "then", "lookback"],
        json!({
            "start": object(&["event"], json!({"event": name(), "where": filter})),
            "then": array(&object(&["within"], json!({"event": name(), "not": name(), "where": filter, "within": within})), 4),
            "same": name(), "anchor": {"type": "string", "enum": ["last", "any"]},
            "lookback": duration("How long ago the start may lie."), "late_clears": {"type": "boolean"},
        }),
    );
    [event, object(&["sequence"], json!({"sequence": sequence}))]
}

fn models() -> [Value; 5] {
    let fifths = array(&json!({"type": "integer", "minimum": 1, "maximum": 5}), 5);
    let share = json!({"type": "integer", "minimum": 0, "maximum": 10_000});
    let clusters = array(&json!({"type": "integer", "minimum": 0}), 1_000);
    let rfm = json!({"type": "object", "minProperties": 1, "additionalProperties": false,
        "properties": {"event": name(), "r": fifths, "f": fifths, "m": fifths}});
    let kinds = [
        ("sample", object(&["salt", "from", "to"], json!({"salt": {"type": "string"}, "from": share, "to": share}))),
        (
            "cluster",
            object(&["model", "in"], json!({"model": name(), "in": clusters, "max_distance": {"type": "number"}})),
        ),
        ("rfm", rfm),
        (
            "lookalike",
            object(
                &["model", "top_pct"],
                json!({"model": name(),
            "top_pct": {"type": "number", "exclusiveMinimum": 0, "maximum": 50}}),
            ),
        ),
        ("score", object(&["model", "gte"], json!({"model": name(), "gte": {"type": "number"}}))),
    ];
    kinds.map(|(kind, schema)| object(&[kind], json!({kind: schema})))
}
