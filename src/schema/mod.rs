//! JSON documents into typed values, with every fault they have.
//!
//! A typed read stops at its first fault, which is quick and right for the good case but poor news
//! for an author. So the OpenAPI document, which describes the same types, is compiled into
//! validators: when a typed read fails, or always for authored documents, they find all faults.

mod faults;
pub mod object;
mod strict;

use std::collections::HashMap;

use self::object::Object;
use jsonschema::{Draft, Validator};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use serde_path_to_error::Segment;
use utoipa::ToSchema;

use crate::domain::{
    values::read_json,
    violation::{Violation, token},
};

/// The most faults reported for one document, so that a hostile one does not get a large answer.
pub const MAX_FAULTS: usize = 100;

/// Why a document was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is no JSON: syntax, coding, nesting, range of a number, or a member given twice.
    #[error("line {line}, column {column}: {detail}")]
    Malformed {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault in bytes, from 1 (0 at the start of a line).
        column: usize,
        /// What is wrong there.
        detail: String,
    },
    /// It is JSON, but not such a document.
    #[error("{} faults, the first: {}", .0.len(), .0.first().map_or(String::new(), ToString::to_string))]
    Invalid(Vec<Violation>),
}

/// Why validators could not be made of an OpenAPI document: a fault of this program.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// `/components/schemas` is missing.
    #[error("the document has no /components/schemas")]
    NoSchemas,
    /// A component does not compile.
    #[error("component {name} is no valid schema: {detail}")]
    Component {
        /// Name of the component.
        name: String,
        /// What the compiler says.
        detail: String,
    },
}

/// A validator for each component of an OpenAPI document.
#[derive(Debug)]
pub struct Schemas(HashMap<String, Validator>);

impl Schemas {
    /// Compiles the components of `openapi`. Those named in `opaque` accept anything here, because
    /// their own parser reports their faults better (rules, targeting).
    ///
    /// # Errors
    /// When the document has no components or one of them is no schema.
    pub fn new(openapi: &Value, opaque: &[&str]) -> Result<Self, SchemaError> {
        let schemas =
            openapi.pointer("/components/schemas").and_then(Value::as_object).ok_or(SchemaError::NoSchemas)?;
        let mut schemas = schemas.clone();
        for &name in opaque {
            if let Some(schema) = schemas.get_mut(name) {
                *schema = json!({});
            }
        }
        let names: Vec<String> = schemas.keys().cloned().collect();
        let compile = |name: String| {
            let document = json!({
                "$ref": format!("{COMPONENTS}{}", token(&name)), "components": { "schemas": reachable(&schemas, &name) }
            });
            match jsonschema::options().with_draft(Draft::Draft202012).build(&document) {
                Ok(validator) => Ok((name, validator)),
                Err(error) => Err(SchemaError::Component { detail: error.to_string(), name }),
            }
        };
        names.into_iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// Reads a document whose types say all there is to check: one typed pass when it is good.
    /// A member given twice is refused in records; in free-form maps the last one counts.
    ///
    /// # Errors
    /// Every fault, or the place where it stops being JSON.
    pub fn read<T: DeserializeOwned + ToSchema>(&self, bytes: &[u8]) -> Result<T, ReadError> {
        let Object(read) = read_json(bytes).map_err(|error| self.explain::<T>(bytes, &error))?;
        Ok(read)
    }

    /// Reads an authored document: patterns, ranges and lengths of the schema hold as well, and no
    /// member may be given twice anywhere.
    ///
    /// # Errors
    /// Every fault, or the place where it stops being JSON.
    pub fn read_strict<T: DeserializeOwned + ToSchema>(&self, bytes: &[u8]) -> Result<T, ReadError> {
        let faults = self.faults(&T::name(), &strict::parse(bytes).map_err(|error| malformed(&error))?);
        if !faults.is_empty() {
            return Err(ReadError::Invalid(faults));
        }
        typed(bytes)
    }

    /// Every fault of `document` as a component named `name`, at most [`MAX_FAULTS`].
    #[must_use]
    pub fn faults(&self, name: &str, document: &Value) -> Vec<Violation> {
        let validator = self.0.get(name);
        debug_assert!(validator.is_some(), "the OpenAPI document has no component {name}");
        validator.map_or_else(Vec::new, |validator| faults::collect(validator, document))
    }

    /// Says what is wrong with a document that a typed read refused.
    #[cold]
    fn explain<T: DeserializeOwned + ToSchema>(&self, bytes: &[u8], error: &serde_json::Error) -> ReadError {
        if error.is_syntax() || error.is_eof() {
            return malformed(error);
        }
        let faults = match strict::parse(bytes) {
            Ok(document) => self.faults(&T::name(), &document),
            Err(error) => return malformed(&error),
        };
        if !faults.is_empty() {
            return ReadError::Invalid(faults);
        }
        // The types know a rule that the schema does not tell; one fault is better than none.
        match typed::<T>(bytes) {
            Err(invalid) => invalid,
            Ok(_) => malformed(error),
        }
    }
}

/// Where a component stands in the document.
const COMPONENTS: &str = "#/components/schemas/";

/// A component and all that it refers to: a validator keeps the whole document it is made of.
fn reachable(schemas: &Map<String, Value>, name: &str) -> Map<String, Value> {
    let (mut found, mut names) = (Map::new(), vec![name.to_owned()]);
    while let Some(name) = names.pop() {
        let Some(schema) = schemas.get(&name).filter(|_| !found.contains_key(&name)) else { continue };
        let mut parts = vec![schema];
        while let Some(part) = parts.pop() {
            match part {
                Value::Object(members) => {
                    let to = members.get("$ref").and_then(Value::as_str);
                    names.extend(to.and_then(|to| to.strip_prefix(COMPONENTS)).map(str::to_owned));
                    parts.extend(members.values());
                }
                Value::Array(items) => parts.extend(items),
                _ => {}
            }
        }
        found.insert(name, schema.clone());
    }
    found
}

/// A typed read that names the place of its fault.
fn typed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ReadError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let mut pointer = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
                Segment::Map { key } => pointer.push_str(&format!("/{}", token(key))),
                // A variant stands in the document only as a member, which is a segment of its own.
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        ReadError::Invalid(vec![Violation::new(pointer, "value", without_place(error.inner()))])
    })
}

fn malformed(error: &serde_json::Error) -> ReadError {
    let detail = without_place(error);
    ReadError::Malformed { line: error.line(), column: error.column(), detail }
}

/// The message of a JSON error without the " at line 1 column 2" that is told apart.
fn without_place(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if let Some(at) = text.rfind(" at line ") {
        text.truncate(at);
    }
    text
}

#[cfg(test)]
mod tests;
