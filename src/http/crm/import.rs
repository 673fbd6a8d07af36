//! People brought as a table or a line each.

use axum::{Json, extract::Request, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{
        app::App,
        auth::Caller,
        extract::ApiQuery,
        problem::{Problem, ProblemKind},
        rows::{ImportMode, ImportQuery, RowFault, RowFaults, RowFormat, Rows, fields},
    },
    cell,
};
use crate::{
    domain::{
        access::Scope,
        audience::{compile::SegmentKind, profile::TraitPatch},
        ids::{SegmentKey, TraitName},
        values::Millis,
        violation::{Violation, Violations, token},
    },
    engine::{
        Membership,
        imports::ImportRow,
        people::{People, PeopleError},
        world::Account,
    },
    problems,
};

/// The most rows of an import that is all or nothing.
const HELD: usize = 100_000;

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(import))
}

problems!(
    ImportProblems = [
        BadRequest,
        Unauthorized,
        Forbidden,
        RequestTimeout,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        Overloaded,
        StoreUnavailable
    ]
);

/// What became of an import.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"rows": 1000, "imported": 999, "rejected": 1,
    "errors": [{"line": 17, "pointer": "/traits/home", "code": "wrong_type", "detail": "must be {\"lat\": -90..90, \"lon\": -180..180} when it is an object"}]}))]
struct Imported {
    /// Rows read.
    rows: u64,
    /// Rows that are durable, or would be in a dry run.
    imported: u64,
    /// Rows refused.
    rejected: u64,
    /// What is wrong with the first 100 rows refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<RowFault>,
}

/// Import people
///
/// From a CRM or a table: `text/csv`, or `application/x-ndjson` with `{"user", "traits", "lists"}` on each
/// line, both also with `Content-Encoding: gzip`, up to 1 GiB and read as they arrive. The first row of a
/// CSV names the columns: `user`, `lists` and traits, each by its name or as `traits.<name>`.
///
/// A cell is a number, `true`, `false`, or else a text; a date is a text such as `2026-11-22`. A cell that
/// begins with a quote or a bracket is JSON: `["a","b"]` is a set, `{"lat":52.5,"lon":13.4}` a place, and
/// `"007"` the text 007 whatever it looks like. An empty cell leaves a trait as it is, `null` removes it.
/// `lists` names the static segments that a person enters, `crm;vip`, or says more in JSON:
/// `{"crm": true, "trial": "2026-12-31T00:00:00Z", "old": null}`, where `null` leaves. NDJSON takes the same
/// values. People not yet known are created.
///
/// A row with a fault is left out and named by its line, every fault with its pointer; the others are
/// durable when the answer comes, 1,000 in a transaction. Repeating an import is safe. With
/// `mode=all_or_nothing` nothing changes unless every row can be taken: 422 with the faults. A user whose
/// key is `import` or `export` is reached as `%69mport` and `%65xport`. Needs a key with the scope `events`.
#[utoipa::path(
    post, path = "/v1/profiles/import", tag = "profiles", operation_id = "import_profiles", params(ImportQuery),
    request_body(content(
        (String = "text/csv", example = "user,traits.age,traits.city,lists\nu-1,31,Berlin,crm;vip\nu-2,,null,\n"),
        (String = "application/x-ndjson", example = "{\"user\": \"u-1\", \"traits\": {\"age\": 31, \"likes\": [\"tea\"]}, \"lists\": {\"crm\": true}}\n"),
    )),
    security(("key" = [])),
    responses((status = 200, description = "What became of the rows.", body = Imported), ImportProblems)
)]
async fn import(
    State(app): State<App>,
    caller: Caller,
    ApiQuery(ImportQuery { mode, dry_run }): ApiQuery<ImportQuery>,
    request: Request,
) -> Result<Json<Imported>, Problem> {
    caller.must(Scope::Events)?;
    let format = RowFormat::of(request.headers()).ok_or_else(|| {
        Problem::new(ProblemKind::UnsupportedMediaType, "The body must be text/csv or application/x-ndjson.")
    })?;
    let mut body = Rows::of(request, format)?;
    let columns = match format {
        RowFormat::NdJson => None,
        RowFormat::Csv => Some(Columns::of(body.next().await?)?),
    };
    let whole = mode == ImportMode::AllOrNothing;
    let mut taking =
        Taking { people: &app.engine.people, account: &caller.account, rows: 0, faults: RowFaults::default() };
    let mut held = Vec::new();
    while let Some((line, row)) = body.next().await? {
        taking.rows += 1;
        let read = match &columns {
            Some(columns) => columns.read(&row),
            None => read_line(&row),
        };
        match read.and_then(|row| row.parse(line, &caller.account)) {
            Ok(row) => held.push(row),
            Err(faults) => taking.faults.push_all(line, faults),
        }
        if whole && held.len() > HELD {
            let detail = format!("All or nothing is for at most {HELD} rows.");
            return Err(Problem::new(ProblemKind::PayloadTooLarge, detail));
        }
        if !whole && held.len() == People::BATCH {
            taking.take(&std::mem::take(&mut held), dry_run).await?;
        }
    }
    if whole {
        taking.take(&held, true).await?;
        if taking.faults.count > 0 {
            return Err(taking.faults.into_problem("nothing was imported"));
        }
    }
    if !(whole && dry_run) {
        taking.take(&held, dry_run).await?;
    }
    let Taking { rows, faults, .. } = taking;
    Ok(Json(Imported { rows, imported: rows - faults.count, rejected: faults.count, errors: faults.first }))
}

/// An import under way.
struct Taking<'a> {
    people: &'a People,
    account: &'a Account,
    rows: u64,
    faults: RowFaults,
}

impl Taking<'_> {
    async fn take(&mut self, rows: &[ImportRow], dry_run: bool) -> Result<(), PeopleError> {
        for rows in rows.chunks(People::BATCH) {
            for (line, fault) in self.people.import(self.account, rows, dry_run).await? {
                self.faults.push_all(line, vec![fault]);
            }
        }
        Ok(())
    }
}

/// A row as it was written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    user: String,
    #[serde(default)]
    traits: Map<String, Value>,
    #[serde(default)]
    lists: Value,
    /// What is wrong with cells.
    #[serde(skip)]
    faults: Violations,
}

impl Row {
    fn parse(self, line: u64, account: &Account) -> Result<ImportRow, Vec<Violation>> {
        let mut faults = self.faults;
        let user = self.user.parse().map_err(|error| faults.push("/user", "invalid_user", format!("{error}"))).ok();
        let traits = TraitPatch::parse(&Value::Object(self.traits)).map_err(|found| {
            found
                .into_iter()
                .map(|fault| fault.under("/traits"))
                .for_each(|fault| faults.push(fault.pointer, fault.code, fault.detail));
        });
        let lists = lists(&self.lists, account, &mut faults);
        faults.into_result()?;
        let (Some(user), Ok(traits)) = (user, traits) else { return Err(Vec::new()) };
        Ok(ImportRow { line, user, traits, lists })
    }
}

/// The lists to enter and to leave.
fn lists(json: &Value, account: &Account, faults: &mut Violations) -> Vec<(SegmentKey, Membership)> {
    let named: Vec<(String, &str, Option<&Value>)> = match json {
        Value::Null => Vec::new(),
        Value::Array(names) => {
            let name =
                |(at, name): (usize, &'_ Value)| (format!("/lists/{at}"), name.as_str().unwrap_or_default().to_owned());
            let names: Vec<_> = names.iter().enumerate().map(name).collect();
            return names
                .into_iter()
                .filter_map(|(at, name)| {
                    Some((list(&name, &at, account, faults)?, Membership::In { expires_at: None }))
                })
                .collect();
        }
        Value::Object(lists) => {
            lists.iter().map(|(name, until)| (format!("/lists/{}", token(name)), name.as_str(), Some(until))).collect()
        }
        _ => {
            faults.push("/lists", "wrong_type", "must be an array of names, or an object of names and until when");
            Vec::new()
        }
    };
    let mut lists = Vec::with_capacity(named.len());
    for (at, name, until) in named {
        let membership = match until {
            Some(Value::Bool(true)) => Membership::In { expires_at: None },
            Some(Value::Bool(false) | Value::Null) => Membership::Out,
            Some(Value::String(until)) if until.parse::<Millis>().is_ok() => {
                Membership::In { expires_at: until.parse().ok() }
            }
            _ => {
                faults.push(
                    at,
                    "wrong_type",
                    "must be true, an RFC 3339 instant until which it holds, or null to leave",
                );
                continue;
            }
        };
        lists.extend(list(name, &at, account, faults).map(|list| (list, membership)));
    }
    lists
}

/// A static segment by its name.
fn list(name: &str, at: &str, account: &Account, faults: &mut Violations) -> Option<SegmentKey> {
    let rules = &account.snapshot.rules;
    let key: Option<SegmentKey> = name.parse().ok();
    match key.as_ref().and_then(|key| rules.ix(key)).map(|ix| rules.kind(ix)) {
        Some(SegmentKind::Static) => return key,
        Some(SegmentKind::Dynamic) => faults.push(at, "not_static", "has a rule; nobody enters it by name"),
        None => faults.push(at, "unknown_segment", "must be the key of a static segment"),
    }
    None
}

/// What the columns of a CSV hold.
#[derive(Debug)]
struct Columns(Vec<Column>);

#[derive(Debug, PartialEq)]
enum Column {
    User,
    Lists,
    Trait(TraitName),
}

impl Columns {
    fn of(first: Option<(u64, Vec<u8>)>) -> Result<Self, Problem> {
        let refuse = |code, detail: String| Problem::invalid(vec![Violation::new("/1", code, detail)]);
        let (_, row) = first.ok_or_else(|| refuse("required", "the first row must name the columns".into()))?;
        let names = fields(&row).map_err(|(code, detail)| refuse(code, detail))?;
        let (mut columns, mut faults) = (Vec::with_capacity(names.len()), Violations::new());
        for name in &names {
            let name = name.trim();
            let column = match name {
                "user" => Ok(Column::User),
                "lists" => Ok(Column::Lists),
                name => name.strip_prefix("traits.").unwrap_or(name).parse().map(Column::Trait),
            };
            match column {
                Ok(column) if columns.contains(&column) => {
                    faults.push("/1", "duplicate", format!("two columns are called {name:?}"));
                }
                Ok(column) => columns.push(column),
                Err(error) => faults.push("/1", "unknown_column", format!("{name:?} is no trait: {error}")),
            }
        }
        faults.into_result().map_err(Problem::invalid)?;
        if !columns.contains(&Column::User) {
            return Err(refuse("required", "the first row must name the column user".into()));
        }
        Ok(Self(columns))
    }

    fn read(&self, row: &[u8]) -> Result<Row, Vec<Violation>> {
        let fault = |pointer: &str, code, detail: String| vec![Violation::new(pointer, code, detail)];
        let cells = fields(row).map_err(|(code, detail)| fault("", code, detail))?;
        if cells.len() != self.0.len() {
            let detail = format!("must have {} fields as the first row, not {}", self.0.len(), cells.len());
            return Err(fault("", "columns", detail));
        }
        let mut read = Row { user: String::new(), traits: Map::new(), lists: Value::Null, faults: Violations::new() };
        for (column, text) in self.0.iter().zip(&cells) {
            match column {
                Column::User => match cell::read_name(text) {
                    Ok(user) => read.user = user,
                    Err(detail) => read.faults.push("/user", "malformed_json", detail),
                },
                Column::Lists if text.starts_with(['[', '{']) => match cell::read(text) {
                    Ok(lists) => read.lists = lists.unwrap_or_default(),
                    Err(detail) => read.faults.push("/lists", "malformed_json", detail),
                },
                Column::Lists => {
                    let names = text.split(';').map(str::trim).filter(|name| !name.is_empty());
                    read.lists = names.map(Value::from).collect();
                }
                Column::Trait(name) => match cell::read(text) {
                    Ok(Some(value)) => drop(read.traits.insert(name.to_string(), value)),
                    Ok(None) => {}
                    Err(detail) => {
                        read.faults.push(format!("/traits/{}", token(name.as_str())), "malformed_json", detail)
                    }
                },
            }
        }
        Ok(read)
    }
}

/// A line of NDJSON.
fn read_line(line: &[u8]) -> Result<Row, Vec<Violation>> {
    if !line.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok() {
        return Err(vec![Violation::new("", "invalid", "must be an object")]);
    }
    let read: Result<Row, _> = serde_json::from_slice(line);
    read.map_err(|error| {
        let (code, detail) = if error.is_data() {
            ("invalid", format!("must be {{\"user\": \"...\", \"traits\": {{}}, \"lists\": []}}: {error}"))
        } else {
            ("malformed_json", "must be one JSON value on a line".to_owned())
        };
        vec![Violation::new("", code, detail)]
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns(header: &str) -> Result<Columns, Problem> {
        Columns::of(Some((1, header.as_bytes().to_vec())))
    }

    #[test]
    fn columns_are_traits_by_name_or_in_full() {
        let both = columns("traits.age, user ,lists,city,traits.user").expect("columns");
        let row = both.read(b"31,u-1,crm; vip,,\"\"\"007\"\"\"").expect("a row");
        assert_eq!((row.user.as_str(), row.lists), ("u-1", json!(["crm", "vip"])));
        assert_eq!(Value::Object(row.traits), json!({"age": 31, "user": "007"}), "an empty cell says nothing");
        let row = both.read(b"null,u-1,\"{\"\"crm\"\":null}\",Berlin,x").expect("a row");
        assert_eq!(
            (row.lists, Value::Object(row.traits)),
            (json!({"crm": null}), json!({"age": null, "city": "Berlin", "user": "x"}))
        );
        let faults = both.read(b"[,\"\"\"u\",{,x,y").expect("a row").faults.into_result().expect_err("faults");
        assert_eq!(
            faults.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(),
            ["/traits/age", "/user", "/lists"]
        );
        assert_eq!(both.read(b"31,u-1").expect_err("too few")[0].code, "columns");
    }

    #[test]
    fn every_column_that_cannot_be_is_named() {
        let problem = columns("user,Age,age,traits.age,a b").expect_err("refused");
        assert_eq!(
            problem.errors.iter().map(|fault| fault.code).collect::<Vec<_>>(),
            ["unknown_column", "duplicate", "unknown_column"]
        );
        assert!(columns("age").is_err() && Columns::of(None).is_err());
    }

    #[test]
    fn a_line_is_one_person() {
        let row = read_line(b"{\"user\": \"u\", \"traits\": {\"age\": null}}").expect("a row");
        assert_eq!((row.lists, Value::Object(row.traits)), (Value::Null, json!({"age": null})));
        assert_eq!(read_line(b"{\"user\": 1}").expect_err("refused")[0].code, "invalid");
        assert_eq!(read_line(b"{\"user\": \"u\", \"age\": 1}").expect_err("refused")[0].code, "invalid");
        assert_eq!(read_line(b"u").expect_err("refused")[0].code, "malformed_json");
    }
}
