//! Components as the rows of a table.

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        creative::SlotType,
        ids::{ComponentId, SlotName},
        violation::{Violation, Violations},
    },
    engine::authoring::{
        Authoring,
        upload::{ComponentRow, Slots},
    },
    http::{problem::Problem, rows::fields},
    schema::ReadError,
};

/// The columns that there may be: the members of a component, with a dot for what is inside.
const KNOWN: [&str; 17] = [
    "id",
    "version",
    "slot",
    "value",
    "value.src",
    "value.alt",
    "value.width",
    "value.height",
    "value.amount",
    "value.currency",
    "name",
    "targeting",
    "flight.start",
    "flight.end",
    "locale",
    "weight",
    "status",
];

/// The columns of a table.
pub(super) struct Columns(Vec<String>);

impl Columns {
    /// Reads the first row.
    ///
    /// # Errors
    /// There is none, it names a column twice or one that is unknown, or `id`, `slot` and a value are
    /// not among them.
    pub(super) fn of(first: Option<(u64, Vec<u8>)>) -> Result<Self, Problem> {
        let mut faults = Violations::new();
        let row = first.map(|(_, row)| row).unwrap_or_default();
        let names =
            fields(&row).map_err(|(code, detail)| Problem::invalid(vec![Violation::new("/1", code, detail)]))?;
        for (at, name) in names.iter().enumerate() {
            if !KNOWN.contains(&name.as_str()) {
                let detail = format!("there is no column {name}; there are {}", KNOWN.join(", "));
                faults.push("/1", "unknown_column", detail);
            } else if names[..at].contains(name) {
                faults.push("/1", "duplicate_column", format!("the column {name} is there twice"));
            }
        }
        for needed in ["id", "slot"] {
            if !names.iter().any(|name| name == needed) {
                faults.push("/1", "missing_column", format!("the column {needed} is missing"));
            }
        }
        faults.into_result().map_err(Problem::invalid)?;
        Ok(Self(names))
    }

    /// Reads a row as the object that a line of NDJSON would be.
    ///
    /// # Errors
    /// What is wrong with it, by pointers that are the names of columns.
    pub(super) fn read(&self, row: &[u8], slots: &Slots) -> Result<Map<String, Value>, Vec<Violation>> {
        let cells = fields(row).map_err(|(code, detail)| vec![Violation::new("", code, detail)])?;
        if cells.len() != self.0.len() {
            let detail = format!("must have {} cells, as the first row has, not {}", self.0.len(), cells.len());
            return Err(vec![Violation::new("", "cells", detail)]);
        }
        let cell = |wanted: &str| self.0.iter().zip(&cells).find(|(name, _)| *name == wanted).map(|(_, cell)| cell);
        let kind =
            cell("slot").and_then(|slot| slots.get(&slot.parse::<SlotName>().ok()?)?.first()).map(|spec| spec.kind);
        let mut faults = Violations::new();
        let mut whole = Map::new();
        for (name, cell) in self.0.iter().zip(&cells).filter(|(_, cell)| !cell.is_empty()) {
            let value = match name.as_str() {
                "version" | "weight" | "value.width" | "value.height" => number(cell),
                "targeting" => json(cell),
                "value" => match kind {
                    Some(SlotType::Number) => number(cell),
                    Some(SlotType::Image | SlotType::Price | SlotType::Product) => json(cell),
                    _ if cell == "null" => Ok(Value::Null),
                    _ => Ok(json!(cell)),
                },
                _ => Ok(json!(cell)),
            };
            match value {
                Err(detail) => faults.push(format!("/{}", name.replace('.', "/")), "invalid_cell", detail),
                Ok(value) => match name.split_once('.') {
                    None => drop(whole.insert(name.clone(), value)),
                    Some((outer, inner)) => {
                        let outer = whole.entry(outer).or_insert_with(|| json!({}));
                        match outer.as_object_mut() {
                            Some(members) => drop(members.insert(inner.to_owned(), value)),
                            None => faults.push(
                                format!("/{}", name.replace('.', "/")),
                                "two_values",
                                "the cell `value` says it already",
                            ),
                        }
                    }
                },
            }
        }
        faults.into_result().map(|()| whole)
    }
}

/// The column that a pointer into a row means.
pub(super) fn column(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

fn number(cell: &str) -> Result<Value, &'static str> {
    serde_json::from_str::<serde_json::Number>(cell.trim()).map(Value::Number).map_err(|_| "must be a number")
}

fn json(cell: &str) -> Result<Value, &'static str> {
    serde_json::from_str(cell).map_err(|_| "must be JSON here")
}

/// A line of NDJSON.
pub(super) fn object(row: &[u8]) -> Result<Map<String, Value>, Vec<Violation>> {
    serde_json::from_slice(row).map_err(|error| vec![Violation::new("", "malformed", error.to_string())])
}

/// A component of many: its id, the version its author saw, and the document.
pub(super) fn component(
    authoring: &Authoring,
    line: u64,
    mut object: Map<String, Value>,
) -> Result<ComponentRow, Vec<Violation>> {
    let mut faults = Violations::new();
    let id = match object.remove("id") {
        Some(Value::String(id)) => match id.parse::<ComponentId>() {
            Ok(id) => Some(id),
            Err(error) => {
                faults.push("/id", "invalid_id", error.to_string());
                None
            }
        },
        _ => {
            faults.push("/id", "required", "must be an id");
            None
        }
    };
    let seen = match object.remove("version") {
        None | Some(Value::Null) => None,
        Some(version) => {
            let seen = version.as_i64();
            if seen.is_none() {
                faults.push("/version", "type", "must be a version of the component, as its `version` or ETag says");
            }
            seen
        }
    };
    let bytes = serde_json::to_vec(&object).unwrap_or_default();
    let body = match authoring.read_component(&bytes) {
        Ok(body) => Some(body),
        Err(ReadError::Invalid(found)) => {
            faults.extend_under("", found);
            None
        }
        Err(error) => {
            faults.push("", "malformed", error.to_string());
            None
        }
    };
    faults.into_result()?;
    let (Some(id), Some(body)) = (id, body) else { return Err(Vec::new()) };
    Ok(ComponentRow { line, id, seen, body })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::creative::SlotSpec;

    fn slots() -> Slots {
        let docs = json!({"headline": {"type": "text", "default": ""}, "stars": {"type": "number", "default": 1},
                          "hero": {"type": "image", "default": null}});
        let docs: BTreeMap<SlotName, crate::domain::creative::SlotDoc> = serde_json::from_value(docs).expect("slots");
        docs.into_iter().map(|(name, doc)| (name, vec![SlotSpec::parse(&doc).expect("limits")])).collect()
    }

    fn columns(first: &str) -> Result<Columns, Problem> {
        Columns::of(Some((1, first.as_bytes().to_vec())))
    }

    #[test]
    fn cells_are_what_their_slot_takes() {
        let columns = columns("id,slot,value,value.src,value.alt,weight,flight.end").expect("columns");
        let read = |row: &str| columns.read(row.as_bytes(), &slots()).map(Value::Object);
        assert_eq!(
            read("h-1,headline,50,,,70,2026-12-24T00:00:00Z"),
            Ok(
                json!({"id": "h-1", "slot": "headline", "value": "50", "weight": 70, "flight": {"end": "2026-12-24T00:00:00Z"}})
            )
        );
        assert_eq!(read("s,stars,4.5,,,,"), Ok(json!({"id": "s", "slot": "stars", "value": 4.5})));
        assert_eq!(
            read("i,hero,,https://x.example/a.png,A shoe,,"),
            Ok(json!({"id": "i", "slot": "hero", "value": {"src": "https://x.example/a.png", "alt": "A shoe"}}))
        );
        let codes = |row: &str| {
            read(row).expect_err("faults").into_iter().map(|fault| (fault.pointer, fault.code)).collect::<Vec<_>>()
        };
        assert_eq!(
            codes("s,stars,many,,,few,"),
            [("/value".into(), "invalid_cell"), ("/weight".into(), "invalid_cell")]
        );
        assert_eq!(codes("s,stars"), [(String::new(), "cells")]);
        assert_eq!(codes("h,headline,Hello,,A shoe,,"), [("/value/alt".into(), "two_values")]);
    }

    #[test]
    fn columns_are_known_and_enough() {
        let codes = |first: &str| {
            columns(first).map(drop).expect_err("faults").errors.into_iter().map(|fault| fault.code).collect::<Vec<_>>()
        };
        assert_eq!(codes("id,colour,id"), ["unknown_column", "duplicate_column", "missing_column"]);
        assert_eq!(codes(""), ["unknown_column", "missing_column", "missing_column"]);
        assert_eq!(column("/value/alt"), "value.alt");
    }
}
