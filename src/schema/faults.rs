//! Faults found by a JSON Schema validator, in words for the author of a document.

use jsonschema::{
    JsonType, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

use super::MAX_FAULTS;
use crate::domain::violation::{Violation, token};

/// Every fault of a document, in the order of the schema, at most [`MAX_FAULTS`].
pub(super) fn collect(validator: &Validator, document: &Value) -> Vec<Violation> {
    let mut faults = Vec::new();
    for error in validator.iter_errors(document) {
        tell(&error, &mut faults);
        if faults.len() >= MAX_FAULTS {
            faults.truncate(MAX_FAULTS);
            break;
        }
    }
    faults
}

/// Turns one error into faults: one for each unknown field, and those of the likeliest branch of a union.
fn tell(error: &ValidationError<'_>, faults: &mut Vec<Violation>) {
    let at = error.instance_path().as_str();
    let mut fault = |code, detail: String| faults.push(Violation::new(at, code, detail));
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let unknown = |name: &String| {
                Violation::new(format!("{at}/{}", token(name)), "unknown_field", "there is no such field here")
            };
            faults.extend(unexpected.iter().map(unknown));
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            faults.push(Violation::new(format!("{at}/{}", token(name)), "required", "this field is required"));
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => tell_union(at, error.instance(), context, faults),
        Kind::Type { kind } => fault("type", wrong_type(&types(kind), error.instance())),
        Kind::Enum { options } => fault("enum", one_of(options.as_array().into_iter().flatten())),
        Kind::Constant { expected_value } => fault("enum", format!("must be {expected_value}")),
        Kind::Pattern { pattern } => fault("pattern", format!("must match {pattern}")),
        Kind::Format { format } => fault("format", format!("must be a valid {format}")),
        Kind::Minimum { limit } => fault("minimum", format!("must be at least {limit}")),
        Kind::Maximum { limit } => fault("maximum", format!("must be at most {limit}")),
        Kind::ExclusiveMinimum { limit } => fault("minimum", format!("must be more than {limit}")),
        Kind::ExclusiveMaximum { limit } => fault("maximum", format!("must be less than {limit}")),
        Kind::MultipleOf { multiple_of } => fault("multiple_of", format!("must be a multiple of {multiple_of}")),
        Kind::MinLength { limit: 1 } => fault("min_length", "must not be empty".to_owned()),
        Kind::MinLength { limit } => fault("min_length", format!("must have at least {limit} characters")),
        Kind::MaxLength { limit } => fault("max_length", format!("must have at most {limit} characters")),
        Kind::MinItems { limit } => fault("min_items", format!("must have at least {limit} items")),
        Kind::MaxItems { limit } => fault("max_items", format!("must have at most {limit} items")),
        Kind::AdditionalItems { limit } => fault("max_items", format!("must have at most {limit} items")),
        Kind::MinProperties { limit } => fault("min_properties", format!("must have at least {limit} members")),
        Kind::MaxProperties { limit } => fault("max_properties", format!("must have at most {limit} members")),
        Kind::UniqueItems => fault("unique_items", "must not hold the same item twice".to_owned()),
        Kind::PropertyNames { error } => {
            let mut inner = Vec::new();
            tell(error, &mut inner);
            let name =
                |found: Violation| Violation::new(at, "property_name", format!("a member's name {}", found.detail));
            faults.extend(inner.into_iter().map(name));
        }
        Kind::OneOfMultipleValid { .. } => fault("one_of", "fits more than one of the forms allowed here".to_owned()),
        _ => fault("schema", masked(error)),
    }
}

/// No branch of a union fits: tells what is wrong with the branch that was most likely meant.
fn tell_union(at: &str, value: &Value, branches: &[Vec<ValidationError<'static>>], faults: &mut Vec<Violation>) {
    // All branches are of another type: name all the types.
    let alone: Option<Vec<JsonType>> = branches
        .iter()
        .map(|branch| match branch.as_slice() {
            [error] if error.instance_path().as_str() == at => match error.kind() {
                Kind::Type { kind } => Some(types(kind)),
                _ => None,
            },
            _ => None,
        })
        .collect::<Option<Vec<_>>>()
        .map(|lists| lists.concat());
    if let Some(types) = alone {
        return faults.push(Violation::new(at, "type", wrong_type(&types, value)));
    }
    // A wrong tag rules a branch out; where it rules out all of them, the tag itself is the fault.
    let tags: Vec<_> =
        branches.iter().filter_map(|branch| branch.iter().find_map(|error| wrong_tag(at, error))).collect();
    if let (true, Some((place, _))) = (tags.len() == branches.len(), tags.first()) {
        let options = tags.iter().flat_map(|(_, options)| options);
        return faults.push(Violation::new(*place, "enum", one_of(options)));
    }
    let rank = |branch: &&Vec<ValidationError<'static>>| {
        let whole = |error: &&ValidationError<'_>| error.instance_path().as_str() == at;
        let wrong_kind = branch.iter().any(|error| whole(&error) && matches!(error.kind(), Kind::Type { .. }));
        let wrong_tag = branch.iter().any(|error| wrong_tag(at, error).is_some());
        (wrong_kind, wrong_tag, branch.iter().filter(whole).count(), branch.len())
    };
    for error in branches.iter().min_by_key(rank).into_iter().flatten() {
        tell(error, faults);
    }
}

/// Place and allowed values, where the error is a value other than the few allowed ones at the
/// union itself or one step into it.
fn wrong_tag<'e>(at: &str, error: &'e ValidationError<'_>) -> Option<(&'e str, Vec<Value>)> {
    let place = error.instance_path().as_str();
    let inside = place.strip_prefix(at)?;
    if inside.matches('/').count() > 1 {
        return None;
    }
    match error.kind() {
        Kind::Enum { options } => Some((place, options.as_array().cloned().unwrap_or_default())),
        Kind::Constant { expected_value } => Some((place, vec![(**expected_value).clone()])),
        _ => None,
    }
}

fn types(kind: &TypeKind) -> Vec<JsonType> {
    match kind {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(several) => several.iter().collect(),
    }
}

fn wrong_type(allowed: &[JsonType], value: &Value) -> String {
    let words = |kind: &JsonType| match kind {
        JsonType::Null => "null",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "an integer",
        JsonType::Number => "a number",
        JsonType::String => "a string",
        JsonType::Array => "an array",
        JsonType::Object => "an object",
    };
    let mut names: Vec<_> = allowed.iter().map(words).collect();
    names.dedup();
    let have = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("must be {}, not {have}", names.join(" or "))
}

fn one_of<'v>(options: impl IntoIterator<Item = &'v Value>) -> String {
    let names: Vec<String> = options.into_iter().map(ToString::to_string).collect();
    format!("must be one of {}", names.join(", "))
}

/// The validator's own words without the value, which may be large.
fn masked(error: &ValidationError<'_>) -> String {
    error.masked().to_string()
}
