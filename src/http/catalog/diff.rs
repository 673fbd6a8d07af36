//! What differs between two revisions of a creative.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::ReadProblems;
use crate::{
    domain::{access::Scope, ids::CreativeId, violation::token},
    http::{
        app::App,
        auth::Caller,
        extract::{ApiPath, ApiQuery},
        problem::Problem,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(diff))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct One {
    /// The creative.
    id: CreativeId,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DiffQuery {
    /// The revision before; left out: the one that serves.
    #[param(required = false, minimum = 1)]
    from: Option<u32>,
    /// The revision after; left out: the draft, as it would be published now.
    #[param(required = false, minimum = 1)]
    to: Option<u32>,
}

/// What differs between two revisions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"from": 2, "to": 3, "changes": [
    {"pointer": "/components/h-1/value", "change": "changed", "before": "New in", "after": "New this week"}]}))]
struct DiffAnswer {
    /// The revision before.
    from: u32,
    /// The revision after; of a draft the one that it would become.
    to: u32,
    /// Every value that differs, in the order of the pointers.
    changes: Vec<Change>,
}

/// How a value differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Manner {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another one.
    Changed,
}

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Change {
    /// Where in the revision.
    pointer: String,
    /// How.
    change: Manner,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
}

/// Compare two revisions of a creative
///
/// Or a revision with the draft. Needs a key with the scope `author` or `report`.
#[utoipa::path(
    get, path = "/v1/creatives/{id}/diff", tag = "creatives", operation_id = "diff_revisions",
    params(One, DiffQuery), security(("key" = [])),
    responses((status = 200, description = "What differs.", body = DiffAnswer), ReadProblems)
)]
async fn diff(
    State(app): State<App>,
    caller: Caller,
    ApiPath(One { id }): ApiPath<One>,
    ApiQuery(query): ApiQuery<DiffQuery>,
) -> Result<Json<DiffAnswer>, Problem> {
    caller.must_one(&[Scope::Author, Scope::Report])?;
    let (authoring, account) = (&app.engine.authoring, caller.account.number());
    let from = match query.from {
        Some(from) => from,
        // its revisions may be many; which of them serves comes with any of them
        None => authoring.revisions(account, &id, 0, 1).await?.1.unwrap_or(1),
    };
    let before = authoring.proof(account, &id, Some(from)).await?.doc;
    let after = authoring.proof(account, &id, query.to).await?.doc;
    let (from, to) = (before.revision, after.revision);
    let [mut before, mut after] = [json!(before), json!(after)];
    for doc in [&mut before, &mut after] {
        // these always differ
        let members = doc.as_object_mut();
        members
            .into_iter()
            .for_each(|members| ["revision", "published_at"].iter().for_each(|name| drop(members.remove(*name))));
    }
    let mut changes = Vec::new();
    compare(&before, &after, &mut String::new(), &mut changes);
    Ok(Json(DiffAnswer { from, to, changes }))
}

/// Notes what differs: members one by one, lists and values as a whole.
fn compare(before: &Value, after: &Value, pointer: &mut String, changes: &mut Vec<Change>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            let (before, after) = (Some(before.clone()), Some(after.clone()));
            changes.push(Change { pointer: pointer.clone(), change: Manner::Changed, before, after });
        }
        return;
    };
    let length = pointer.len();
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for name in names {
        pointer.push('/');
        pointer.push_str(&token(name));
        match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => compare(old, new, pointer, changes),
            (before, after) => changes.push(Change {
                pointer: pointer.clone(),
                change: if before.is_none() { Manner::Added } else { Manner::Removed },
                before: before.cloned(),
                after: after.cloned(),
            }),
        }
        pointer.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named_once() {
        let before = json!({"a": {"x": 1, "y": [1, 2]}, "b": 1, "same": {"deep": [1]}});
        let after = json!({"a": {"x": 2, "y": [2, 1]}, "c/d": null, "same": {"deep": [1]}});
        let mut changes = Vec::new();
        compare(&before, &after, &mut String::new(), &mut changes);
        let seen: Vec<_> = changes.iter().map(|change| (change.pointer.as_str(), change.change)).collect();
        assert_eq!(
            seen,
            [("/a/x", Manner::Changed), ("/a/y", Manner::Changed), ("/b", Manner::Removed), ("/c~1d", Manner::Added)]
        );
    }
}
