//! Many conversions, a row each.

use axum::extract::Request;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{
    super::{
        app::App,
        auth::Caller,
        beacons::OutcomeAnswer,
        problem::{Problem, ProblemKind},
        rows::{RowFault, RowFaults, RowFormat, Rows, fields},
    },
    ConversionRequest,
    join::{Named, take as take_some},
};
use crate::{
    domain::{
        measurement::attribution::Credit,
        violation::{Violation, Violations},
    },
    schema::ReadError,
};

/// Rows that are kept at a time.
const BATCH: usize = 1_000;
/// Rows that count for nothing and are told.
const TOLD: usize = 100;

/// What became of many conversions. A row is counted under one of the numbers.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ConversionsImported, example = json!({
    "rows": 1000, "recorded": 950, "accepted": 0, "duplicates": 40, "expired": 2, "unknown": 7, "rejected": 1,
    "not_counted": [{"line": 3, "outcome": "unknown", "credit": "untouched"}],
    "errors": [{"line": 17, "pointer": "/value/amount", "code": "range", "detail": "must be 0 to 1000000000"}]
}))]
pub(super) struct Imported {
    /// Rows read.
    rows: u64,
    /// Committed for the first time.
    recorded: u64,
    /// Safe on this server's disk while the database is away.
    accepted: u64,
    /// Counted before.
    duplicates: u64,
    /// After the campaign's windows.
    expired: u64,
    /// Of people who were shown nothing of the campaign within them, or of previews.
    unknown: u64,
    /// Refused.
    rejected: u64,
    /// The first 100 rows, neither refused nor repeats, that are not the campaign's own, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_counted: Vec<NotCounted>,
    /// What is wrong with the first 100 rows refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<RowFault>,
}

/// A conversion that counts for nothing.
#[derive(Debug, Serialize, ToSchema)]
struct NotCounted {
    /// The line that the row begins on; the first is 1.
    line: u64,
    /// What became of it.
    outcome: OutcomeAnswer,
    /// What it is to the campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    credit: Option<Credit>,
}

/// Takes the rows of a body as they arrive.
pub(super) async fn take(
    app: &App,
    caller: &Caller,
    request: Request,
    format: RowFormat,
    dry_run: bool,
) -> Result<Imported, Problem> {
    let mut body = Rows::of(request, format)?;
    let columns = match format {
        RowFormat::NdJson => None,
        RowFormat::Csv => Some(columns(body.next().await?)?),
    };
    let (mut imported, mut faults, mut held) = (Imported::default(), RowFaults::default(), Vec::new());
    while let Some((line, row)) = body.next().await? {
        imported.rows += 1;
        let document = match &columns {
            Some(columns) => document(columns, &row),
            None => Ok(row),
        };
        match document.and_then(|document| read(app, caller, &document)) {
            Ok(named) => held.push((line, named)),
            Err(found) => faults.push_all(line, found),
        }
        if held.len() == BATCH {
            imported.keep(app, std::mem::take(&mut held), dry_run).await?;
        }
    }
    imported.keep(app, held, dry_run).await?;
    (imported.rejected, imported.errors) = (faults.count, faults.first);
    Ok(imported)
}

fn read(app: &App, caller: &Caller, document: &[u8]) -> Result<Named, Vec<Violation>> {
    let asked: ConversionRequest = app.schemas.read(document).map_err(|error| match error {
        ReadError::Invalid(faults) => faults,
        ReadError::Malformed { detail, .. } => vec![Violation::new("", "malformed_json", detail)],
    })?;
    asked.read(app, Some(caller))
}

impl Imported {
    async fn keep(&mut self, app: &App, held: Vec<(u64, Named)>, dry_run: bool) -> Result<(), Problem> {
        if held.is_empty() {
            return Ok(());
        }
        let (lines, named): (Vec<u64>, Vec<Named>) = held.into_iter().unzip();
        for (line, answer) in lines.into_iter().zip(take_some(app, named, dry_run).await?) {
            let counter = match answer.outcome {
                OutcomeAnswer::Recorded => &mut self.recorded,
                OutcomeAnswer::Accepted => &mut self.accepted,
                OutcomeAnswer::Duplicate => &mut self.duplicates,
                OutcomeAnswer::Expired => &mut self.expired,
                OutcomeAnswer::Unknown if answer.lost => {
                    let detail = "The conversions could not all be kept. Send them again: those that were count once.";
                    return Err(Problem::new(ProblemKind::StoreUnavailable, detail));
                }
                OutcomeAnswer::Unknown | OutcomeAnswer::Invalid => &mut self.unknown,
            };
            *counter += 1;
            let own = match answer.outcome {
                OutcomeAnswer::Duplicate | OutcomeAnswer::Accepted => true,
                _ => answer.credit.is_some_and(Credit::counts),
            };
            if !own && self.not_counted.len() < TOLD {
                self.not_counted.push(NotCounted { line, outcome: answer.outcome, credit: answer.credit });
            }
        }
        Ok(())
    }
}

/// Where a column's cells stand in a conversion.
const COLUMNS: [(&str, &str); 8] = [
    ("token", "/token"),
    ("user", "/user"),
    ("campaign", "/campaign"),
    ("goal", "/goal"),
    ("conversion_id", "/conversion_id"),
    ("value", "/value/amount"),
    ("currency", "/value/currency"),
    ("at", "/at"),
];

fn columns(first: Option<(u64, Vec<u8>)>) -> Result<Vec<&'static str>, Problem> {
    let refuse = |code, detail: String| Problem::invalid(vec![Violation::new("/1", code, detail)]);
    let (_, row) = first.ok_or_else(|| refuse("required", "the first row must name the columns".into()))?;
    let names = fields(&row).map_err(|(code, detail)| refuse(code, detail))?;
    let (mut columns, mut faults) = (Vec::with_capacity(names.len()), Violations::new());
    for name in names.iter().map(|name| name.trim()) {
        match COLUMNS.iter().find(|(known, _)| *known == name) {
            None => {
                let known = COLUMNS.map(|(known, _)| known).join(", ");
                faults.push("/1", "unknown_column", format!("{name:?} is none of {known}"));
            }
            Some((_, pointer)) if columns.contains(pointer) => {
                faults.push("/1", "duplicate", format!("two columns are called {name:?}"));
            }
            Some((_, pointer)) => columns.push(*pointer),
        }
    }
    faults.into_result().map_err(Problem::invalid)?;
    Ok(columns)
}

/// A row of a table as the conversion that it says; empty cells say nothing.
fn document(columns: &[&str], row: &[u8]) -> Result<Vec<u8>, Vec<Violation>> {
    let fault = |code, detail: String| vec![Violation::new("", code, detail)];
    let cells = fields(row).map_err(|(code, detail)| fault(code, detail))?;
    if cells.len() != columns.len() {
        let detail = format!("must have {} fields as the first row, not {}", columns.len(), cells.len());
        return Err(fault("columns", detail));
    }
    let mut conversion = Map::new();
    for (pointer, cell) in columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
        let cell = Value::String(cell);
        match pointer.strip_prefix("/value/") {
            None => drop(conversion.insert(pointer[1..].to_owned(), cell)),
            Some(part) => {
                let value = conversion.entry("value").or_insert_with(|| json!({}));
                value[part] = cell;
            }
        }
    }
    Ok(Value::Object(conversion).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_conversion() {
        let names = |text: &str| columns(Some((1, text.as_bytes().to_vec())));
        let both = names("value, currency,user,campaign,at").expect("columns");
        let read = |row: &str| {
            let document = document(&both, row.as_bytes()).expect("a row");
            serde_json::from_slice::<Value>(&document).expect("JSON")
        };
        assert_eq!(
            read("5.00,EUR,u-1,spring,"),
            json!({"value": {"amount": "5.00", "currency": "EUR"}, "user": "u-1", "campaign": "spring"})
        );
        assert_eq!(read(",,u-1,,"), json!({"user": "u-1"}));
        assert_eq!(document(&both, b"1").expect_err("too few")[0].code, "columns");
        let refused = names("value,value,price").expect_err("refused");
        assert_eq!(refused.errors.iter().map(|fault| fault.code).collect::<Vec<_>>(), ["duplicate", "unknown_column"]);
        assert!(columns(None).is_err());
    }
}
