//! The API's description: pinned, complete, and true to itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tessera::http::openapi;

const PINNED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

fn document() -> Value {
    serde_json::to_value(openapi::document()).expect("JSON")
}

/// Every operation with a name for messages.
fn operations(document: &Value) -> Vec<(String, &Map<String, Value>)> {
    let paths = document["paths"].as_object().expect("paths");
    let all = paths.iter().flat_map(|(path, item)| METHODS.map(|method| (format!("{method} {path}"), &item[method])));
    all.filter_map(|(name, operation)| Some((name, operation.as_object()?))).collect()
}

/// Every value of a document with its JSON pointer.
fn walk<'v>(value: &'v Value, at: &str, see: &mut impl FnMut(&str, &'v Value)) {
    see(at, value);
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| walk(value, &format!("{at}/{name}"), see)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, value)| walk(value, &format!("{at}/{n}"), see)),
        _ => {}
    }
}

#[test]
fn the_description_is_the_pinned_one() {
    let pinned = std::fs::read_to_string(PINNED).unwrap_or_default();
    let pinned: Value = serde_json::from_str(&pinned).unwrap_or_default();
    assert!(
        pinned == document(),
        "The API differs from its pinned description. Where that is meant, run\n\n    \
         cargo run -- openapi > openapi/openapi.json\n\nand commit the difference."
    );
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut lost = BTreeSet::new();
    walk(&document, "", &mut |at, value| {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').unwrap_or_default();
            if document.pointer(pointer).is_none() {
                lost.insert(format!("{at} -> {target}"));
            }
        }
    });
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn every_operation_says_what_it_is() {
    let document = document();
    let tags: BTreeSet<&str> =
        document["tags"].as_array().expect("tags").iter().filter_map(|tag| tag["name"].as_str()).collect();
    let (mut ids, mut lacking) = (BTreeMap::new(), Vec::new());
    for (name, operation) in operations(&document) {
        let text = |field: &str| operation.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("summary").is_empty() || text("description").is_empty() {
            lacking.push(format!("{name}: no summary or no description"));
        }
        if let Some(other) = ids.insert(text("operationId"), name.clone()) {
            lacking.push(format!("{name}: the operationId of {other}"));
        }
        let known = operation["tags"]
            .as_array()
            .is_some_and(|own| own.iter().all(|tag| tags.contains(tag.as_str().unwrap_or_default())));
        if !known {
            lacking.push(format!("{name}: a tag that is not described"));
        }
        for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
            if parameter["description"].as_str().unwrap_or_default().is_empty() || parameter["schema"].is_null() {
                lacking.push(format!("{name}: parameter {} without a description or a schema", parameter["name"]));
            }
        }
    }
    assert!(lacking.is_empty(), "{lacking:#?}");
}

#[test]
fn what_needs_a_key_says_so() {
    let document = document();
    let mut wrong = Vec::new();
    for (name, operation) in operations(&document) {
        let keyed = operation
            .get("security")
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|one| one.get("key").is_some()));
        let responses = operation["responses"].as_object().expect("responses");
        let scoped = operation["description"].as_str().is_some_and(|words| words.contains("scope `"));
        let refused = responses.contains_key("401") && responses.contains_key("403");
        if keyed != refused || keyed != scoped {
            wrong.push(format!("{name}: keyed {keyed}, names a scope {scoped}, may be refused {refused}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn errors_are_problems() {
    let document = document();
    let mut wrong = Vec::new();
    for (name, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let error = status.starts_with('4') || status.starts_with('5');
            let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
            // exchanges are refused without a body: OpenRTB 2.6 section 2.4; a frame shows what it is answered
            let bare = name == "get /readyz"
                || name == "post /openrtb2/bid" && status == "400"
                || name == "get /v1/late/{token}" && status == "410";
            if error && problem != "#/components/schemas/Problem" && !bare {
                wrong.push(format!("{name}: {status}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn examples_are_what_they_are_examples_of() {
    let document = document();
    let schemas = openapi::schemas().expect("schemas");
    let (mut wrong, mut bodies) = (Vec::new(), BTreeSet::new());
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        let one = schema.get("example");
        let several = schema.get("examples").and_then(Value::as_array).into_iter().flatten();
        for example in one.into_iter().chain(several) {
            bodies.insert(name.as_str());
            let faults = schemas.faults(name, example);
            if !faults.is_empty() {
                wrong.push(format!("{name}: {faults:?}"));
            }
        }
    }
    for (name, operation) in operations(&document) {
        let Some(content) = operation.get("requestBody").map(|body| &body["content"]) else { continue };
        for (media_type, body) in content.as_object().expect("content") {
            let schema = body["schema"]["$ref"].as_str().unwrap_or_default();
            let example = bodies.contains(schema.trim_start_matches("#/components/schemas/"));
            if !example && !media_type.starts_with("image/") && body.get("example").is_none() {
                wrong.push(format!("{name}: no example of {media_type} {schema}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
