use std::collections::HashMap;

use proptest::prelude::*;
use serde::Deserialize;
use utoipa::OpenApi;

use super::*;

#[derive(Debug, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Order {
    #[schema(min_length = 1, max_length = 8, pattern = "^[a-z]+$")]
    name: String,
    #[schema(minimum = 0, maximum = 100)]
    age: Option<u8>,
    #[serde(default)]
    items: Vec<Item>,
    shape: Option<Shape>,
    #[serde(default)]
    traits: HashMap<String, Value>,
    #[schema(value_type = Option<Rule>)]
    rule: Option<Value>,
}

#[derive(Debug, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Item {
    count: u32,
    #[serde(default)]
    color: Color,
}

#[derive(Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Color {
    #[default]
    Red,
    Blue,
}

#[derive(Debug, PartialEq, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Shape {
    Circle { radius: f64 },
    Square { side: f64 },
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema matters")]
struct Rule {
    all: String,
}

#[derive(OpenApi)]
#[openapi(components(schemas(Order, Item, Color, Shape, Rule)))]
struct Api;

fn schemas() -> Schemas {
    let document = serde_json::to_value(Api::openapi()).unwrap();
    Schemas::new(&document, &["Rule"]).unwrap()
}

/// The faults of an order as `pointer code` lines.
fn faults(text: &str) -> Vec<String> {
    match schemas().read_strict::<Order>(text.as_bytes()) {
        Err(ReadError::Invalid(faults)) => faults.iter().map(|f| format!("{} {}", f.pointer, f.code)).collect(),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_good_document_is_read() {
    let text = r#"{"name":"anna","age":9,"items":[{"count":1,"color":"blue"}],
                   "shape":{"kind":"circle","radius":1},"traits":{"x":[1]},"rule":{"any":"thing"}}"#;
    let order: Order = schemas().read(text.as_bytes()).unwrap();
    assert_eq!(order.items, [Item { count: 1, color: Color::Blue }]);
    assert_eq!(schemas().read_strict::<Order>(text.as_bytes()).unwrap(), order);
}

#[test]
fn all_faults_come_at_once_with_their_places() {
    let text = r#"{"name":"Anna Bannana","age":"x","items":[{"count":-1},{"color":"green"},7],"a/b":1,"b~":2}"#;
    let mut found = faults(text);
    found.sort();
    assert_eq!(
        found,
        [
            "/age type",
            "/a~1b unknown_field",
            "/b~0 unknown_field",
            "/items/0/count minimum",
            "/items/1/color enum",
            "/items/1/count required",
            "/items/2 type",
            "/name max_length",
            "/name pattern",
        ]
    );
    // The typed read ends in the same list.
    let Err(ReadError::Invalid(typed)) = schemas().read::<Order>(text.as_bytes()) else { panic!("it was read") };
    assert_eq!(typed.len(), found.len());
}

#[test]
fn a_union_tells_what_is_wrong_with_the_branch_meant() {
    assert_eq!(faults(r#"{"name":"a","shape":{"kind":"square","side":"x"}}"#), ["/shape/side type"]);
    assert_eq!(faults(r#"{"name":"a","shape":{"kind":"circle"}}"#), ["/shape/radius required"]);
    assert_eq!(faults(r#"{"name":"a","shape":{"kind":"line"}}"#), ["/shape/kind enum"]);
    assert_eq!(faults(r#"{"name":"a","shape":7}"#), ["/shape type"]);
    let Err(ReadError::Invalid(found)) = schemas().read::<Order>(br#"{"name":"a","shape":7}"#) else { panic!() };
    assert_eq!(found[0].detail, "must be an object, not a number");
    let Err(ReadError::Invalid(found)) = schemas().read::<Order>(br#"{"name":"a","shape":{"kind":"line"}}"#) else {
        panic!()
    };
    assert_eq!(found[0].detail, r#"must be one of "circle", "square""#);
}

#[test]
fn what_only_the_types_know_is_told_with_its_place() {
    // A byte holds no 300, which a schema bound of 100 hides; without one the type speaks.
    let found = schemas().read::<Order>(br#"{"name":"a","items":[{"count":4294967296}]}"#).unwrap_err();
    let ReadError::Invalid(found) = found else { panic!("{found:?}") };
    assert_eq!((found[0].pointer.as_str(), found[0].code), ("/items/0/count", "value"), "{found:?}");
}

#[test]
fn ranges_are_held_for_authored_documents() {
    let text = br#"{"name":"anna","age":101}"#;
    assert!(schemas().read::<Order>(text).is_ok());
    assert_eq!(faults(std::str::from_utf8(text).unwrap()), ["/age maximum"]);
}

#[test]
fn what_is_no_json_is_malformed_with_its_place() {
    let deep = format!(r#"{{"name":"a","traits":{{"x":{}{}}}}}"#, "[".repeat(200), "]".repeat(200));
    let cases: &[&[u8]] = &[
        b"",
        b" ",
        b"{",
        b"{\"name\":",
        b"{\"name\":\"a\",}",
        b"{\"name\":\"a\"} x",
        b"{\"name\":\"a\"}{\"name\":\"a\"}",
        b"\xef\xbb\xbf{\"name\":\"a\"}",
        b"{\"name\":\"\xff\"}",
        b"{\"name\":\"\\ud800\"}",
        b"{\"name\":\"a\nb\"}",
        b"{name:\"a\"}",
        b"{'name':'a'}",
        b"{\"name\":\"a\",\"age\":NaN}",
        b"{\"name\":\"a\",\"age\":01}",
        b"{\"name\":\"a\",\"age\":1e999}",
        b"{\"name\":\"a\",\"age\":-}",
        b"{\"name\":\"a\" /* b */}",
        b"{\"name\":\"a\",\"name\":\"b\"}",
        b"nul",
        b"\0",
        deep.as_bytes(),
    ];
    for &case in cases {
        for result in [schemas().read::<Order>(case), schemas().read_strict::<Order>(case)] {
            let shown = String::from_utf8_lossy(case);
            assert!(matches!(result, Err(ReadError::Malformed { .. })), "{shown}: {result:?}");
        }
    }
    let place = schemas().read::<Order>(b"{\n  \"name\": ?}").unwrap_err();
    let expected = ReadError::Malformed { line: 2, column: 11, detail: "expected value".to_owned() };
    assert_eq!(place, expected);
}

#[test]
fn a_member_given_twice_in_a_map_is_refused_in_authored_documents() {
    let text = br#"{"name":"a","traits":{"x":1,"x":2}}"#;
    let error = schemas().read_strict::<Order>(text).unwrap_err();
    assert!(matches!(&error, ReadError::Malformed { detail, .. } if detail.contains("\"x\"")), "{error:?}");
}

#[test]
fn the_wrong_kind_of_document_is_one_fault() {
    for text in ["[]", "null", "7", "\"x\"", "true"] {
        assert_eq!(faults(text), [" type"], "{text}");
    }
}

#[test]
fn faults_are_bounded() {
    let items = vec!["0"; 5_000].join(",");
    assert_eq!(faults(&format!(r#"{{"name":"a","items":[{items}]}}"#)).len(), MAX_FAULTS);
}

#[test]
fn a_document_without_components_is_refused() {
    assert!(matches!(Schemas::new(&json!({}), &[]), Err(SchemaError::NoSchemas)));
    let broken = json!({"components": {"schemas": {"A": {"$ref": "#/components/schemas/B"}}}});
    assert!(matches!(Schemas::new(&broken, &[]), Err(SchemaError::Component { name, .. }) if name == "A"));
}

const NAMES: &[&str] =
    &["name", "age", "items", "shape", "traits", "rule", "count", "color", "kind", "radius", "a/b~c", ""];

/// Documents that are nearly orders: known and unknown members with values of every kind.
fn nearly_an_order() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z~/\u{e4}]{0,9}".prop_map(Value::from),
        Just(json!("circle")),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(prop::sample::select(NAMES), inner, 0..6).prop_map(|members| json!(members)),
        ]
    })
}

proptest! {
    #[test]
    fn every_fault_has_a_place_in_its_document(document in nearly_an_order()) {
        thread_local!(static SCHEMAS: Schemas = schemas());
        let bytes = document.to_string().into_bytes();
        let (typed, strict) = SCHEMAS.with(|all| (all.read::<Order>(&bytes), all.read_strict::<Order>(&bytes)));
        prop_assert!(typed.is_ok() || strict.is_err(), "the strict read takes less, not more");
        for result in [typed, strict] {
            if let Err(error) = result {
                let ReadError::Invalid(faults) = error else { panic!("it is JSON: {error}") };
                prop_assert!(!faults.is_empty());
                for fault in faults {
                    // A missing member has no place of its own, but its owner has.
                    let owner = fault.pointer.rsplit_once('/').map_or("", |(owner, _)| owner);
                    prop_assert!(document.pointer(owner).is_some(), "{fault} in {document}");
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in Just(br#"{"name":"anna","items":[{"count":1}]}"#.to_vec()),
                                     flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        thread_local!(static SCHEMAS: Schemas = schemas());
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (typed, strict) = SCHEMAS.with(|all| (all.read::<Order>(&bytes), all.read_strict::<Order>(&bytes)));
        let plain = serde_json::from_slice::<Order>(&bytes);
        prop_assert_eq!(typed.is_ok(), plain.is_ok());
        prop_assert!(typed.is_ok() || strict.is_err());
    }
}
