//! Everybody, as a table or a line each.

use std::{io, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{
        app::App,
        auth::Caller,
        extract::ApiQuery,
        pipe::{Piece, pipe},
        problem::Problem,
    },
    cell,
};
use crate::{
    domain::{access::Scope, ids::UserKey},
    engine::{ProfileRow, people::People, world::Account},
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export))
}

problems!(ExportProblems = [BadRequest, Unauthorized, Forbidden, Invalid, Overloaded, StoreUnavailable]);

/// How people are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ExportFormat {
    /// `text/csv`: a column for each trait.
    #[default]
    Csv,
    /// `application/x-ndjson`: a person on each line.
    Ndjson,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// How people are written.
    #[serde(default)]
    #[param(inline, required = false, default = "csv")]
    format: ExportFormat,
}

/// Export people
///
/// Everybody with a key, in an order that does not change, written as it is read from the store: traits
/// and static segments that hold, in the form that `POST /v1/profiles/import` takes. A CSV has a column for
/// each trait that anybody has when the export begins. Texts that a spreadsheet would compute, or that
/// would be read as something else, are written as JSON. Events, other keys of the same person and those
/// who were erased are not in it. An export that fails on the way breaks off.
/// Needs a key with the scope `report`.
#[utoipa::path(
    get, path = "/v1/profiles/export", tag = "profiles", operation_id = "export_profiles", params(ExportQuery),
    security(("key" = [])),
    responses(
        (status = 200, description = "The people.", content(
            (String = "text/csv", example = "user,lists,traits.age,traits.city\r\nu-1,crm;vip,31,Berlin\r\n"),
            (String = "application/x-ndjson", example = "{\"user\":\"u-1\",\"traits\":{\"age\":31},\"lists\":{\"crm\":true}}\n"),
        )),
        ExportProblems
    )
)]
async fn export(
    State(app): State<App>,
    caller: Caller,
    ApiQuery(ExportQuery { format }): ApiQuery<ExportQuery>,
) -> Result<Response, Problem> {
    caller.must(Scope::Report)?;
    let (table, kind) = match format {
        ExportFormat::Csv => (Some(app.engine.insight.trait_names(&caller.account).await?), "text/csv; charset=utf-8"),
        ExportFormat::Ndjson => (None, "application/x-ndjson"),
    };
    let (reader, body) = pipe(2);
    tokio::spawn(tell(app.engine.people.clone(), Arc::clone(&caller.account), table, reader));
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response())
}

/// Writes page after page, as fast as they are read.
async fn tell(people: People, account: Arc<Account>, table: Option<Vec<String>>, reader: mpsc::Sender<Piece>) {
    let mut text = String::new();
    if let Some(traits) = &table {
        let head = ["user".to_owned(), "lists".to_owned()].into_iter();
        let head: Vec<String> = head.chain(traits.iter().map(|name| format!("traits.{name}"))).collect();
        cell::write_row(&head, &mut text);
    }
    let mut after = None;
    loop {
        let page = match people.export(&account, after).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "an export broke off");
                // Nobody may be there to read it any more.
                let _gone = reader.send(Err(io::Error::other("the people could not be read"))).await;
                return;
            }
        };
        for (_, person) in &page {
            write(person, table.as_deref(), &mut text);
        }
        let ended = page.len() < People::BATCH;
        after = page.last().map(|(uid, _)| *uid);
        if reader.send(Ok(std::mem::take(&mut text).into())).await.is_err() || ended {
            return;
        }
    }
}

/// Appends a person.
fn write(person: &ProfileRow, table: Option<&[String]>, out: &mut String) {
    let Some(user) = &person.key else { return };
    let held = |name: &str| person.traits.get(name).and_then(|held| held.get("value"));
    let Some(traits) = table else {
        let names = person.traits.as_object().into_iter().flat_map(Map::keys);
        let traits: Map<String, Value> =
            names.filter_map(|name| Some((name.clone(), cell::plain(held(name)?)))).collect();
        out.push_str(&json!({"user": user, "traits": traits, "lists": lists(person)}).to_string());
        out.push('\n');
        return;
    };
    let mut cells = vec![cell::write_name(UserKey::as_str(user))];
    let forever = person.lists.values().all(Option::is_none);
    let names = || person.lists.keys().map(ToString::to_string).collect::<Vec<_>>().join(";");
    cells.push(if forever { names() } else { lists(person).to_string() });
    cells.extend(traits.iter().map(|name| held(name).map(cell::write).unwrap_or_default()));
    cell::write_row(&cells, out);
}

fn lists(person: &ProfileRow) -> Value {
    let list =
        |(name, until): (&_, &Option<_>)| (ToString::to_string(name), until.map_or(json!(true), |until| json!(until)));
    Value::Object(person.lists.iter().map(list).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::values::Millis;

    #[test]
    fn a_person_is_a_row_or_a_line() {
        let value = |value: Value| json!({"value": value, "set_at": Millis(0)});
        let person = ProfileRow {
            key: Some("=cmd".parse().expect("a key")),
            version: 1,
            traits: json!({"age": value(json!(31)), "note": value(json!("=1+1")), "code": value(json!("007"))}),
            lists: [("crm".parse().expect("a key"), None), ("vip".parse().expect("a key"), None)].into(),
            created_at: Millis(0),
            updated_at: Millis(0),
        };
        let names = ["age", "city", "code", "note"].map(str::to_owned);
        let mut out = String::new();
        write(&person, Some(&names), &mut out);
        assert_eq!(out, "\"\"\"=cmd\"\"\",crm;vip,31,,007,\"\"\"=1+1\"\"\"\r\n");
        out.clear();
        let ends = ProfileRow { lists: [("crm".parse().expect("a key"), Some(Millis(0)))].into(), ..person };
        write(&ends, Some(&names[..1]), &mut out);
        assert_eq!(out, "\"\"\"=cmd\"\"\",\"{\"\"crm\"\":\"\"1970-01-01T00:00:00.000Z\"\"}\",31\r\n");
        out.clear();
        write(&ends, None, &mut out);
        let line: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(
            line,
            json!({"user": "=cmd", "lists": {"crm": "1970-01-01T00:00:00.000Z"},
            "traits": {"age": 31, "note": "=1+1", "code": "007"}})
        );
    }
}
