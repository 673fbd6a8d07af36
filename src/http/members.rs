//! The members of static segments.

use std::collections::HashSet;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    extract::{ApiJson, ApiPath, ApiQuery},
    page::{Limit, Page},
    problem::Problem,
};
use crate::{
    domain::{
        access::Scope,
        ids::{SegmentKey, Uid, UserKey},
        values::Millis,
        violation::{Violation, Violations},
    },
    engine::Membership,
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, change))
}

/// The most changes in one request.
const MOST: usize = 10_000;
/// The largest request, in bytes.
const LARGEST: usize = 4 << 20;

type Members = Page<Member>;

problems!(
    ListProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Invalid, Overloaded, StoreUnavailable]
);
problems!(
    ChangeProblems = [
        BadRequest,
        MalformedJson,
        Unauthorized,
        Forbidden,
        NotFound,
        RequestTimeout,
        Conflict,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        Overloaded,
        StoreUnavailable
    ]
);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Segment {
    /// The segment.
    key: SegmentKey,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MembersQuery {
    /// How many items at most.
    #[serde(default)]
    #[param(inline, required = false)]
    limit: Limit,
    /// Where to read on: `next` of the page before.
    #[param(value_type = String, required = false, pattern = "^[0-9a-f]{32}$")]
    after: Option<Uid>,
}

/// Who enters and who leaves.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"add": ["u-1", {"user": "u-2", "expires_at": "2026-12-31T00:00:00Z"}], "remove": ["u-3"]}))]
struct MembersChange {
    /// Who enters; at most 10,000 changes in all.
    #[serde(default)]
    #[schema(max_items = 10_000)]
    add: Vec<NewMember>,
    /// Who leaves.
    #[serde(default)]
    #[schema(max_items = 10_000)]
    remove: Vec<UserKey>,
}

/// Somebody who enters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum NewMember {
    /// For good.
    Forever(UserKey),
    /// Until a time, if one is given.
    Until(MemberUntil),
}

/// Somebody who enters, for a time.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MemberUntil {
    /// Who.
    user: UserKey,
    /// First instant at which the membership no longer holds; left out: it stays.
    #[serde(default)]
    expires_at: Option<Millis>,
}

/// How many memberships changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"changed": 3}))]
struct MembersChanged {
    /// People whose membership is another one now; those who already were where they should be
    /// are not counted.
    changed: u64,
}

/// A member of a static segment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"user": "u-2", "expires_at": "2026-12-31T00:00:00.000Z"}))]
struct Member {
    /// Who.
    user: UserKey,
    /// First instant at which the membership no longer holds; none: it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Millis>,
}

impl MembersChange {
    /// The changes, each about another person.
    fn parse(self) -> Result<Vec<(UserKey, Membership)>, Vec<Violation>> {
        let count = self.add.len() + self.remove.len();
        if count > MOST {
            let detail = format!("at most {MOST} people may enter and leave in one request, not {count}");
            return Err(vec![Violation::new("", "max_items", detail)]);
        }
        let enter = self.add.into_iter().map(|member| match member {
            NewMember::Forever(user) => (user, Membership::In { expires_at: None }),
            NewMember::Until(member) => (member.user, Membership::In { expires_at: member.expires_at }),
        });
        let enter = enter.enumerate().map(|(at, change)| (format!("/add/{at}"), change));
        let leave = self.remove.into_iter().map(|user| (user, Membership::Out));
        let leave = leave.enumerate().map(|(at, change)| (format!("/remove/{at}"), change));
        let (mut seen, mut faults, mut changes) = (HashSet::new(), Violations::new(), Vec::with_capacity(count));
        for (pointer, (user, membership)) in enter.chain(leave) {
            if !seen.insert(user.clone()) {
                faults.push(pointer, "duplicate", "this person is in the request already");
            }
            changes.push((user, membership));
        }
        faults.into_result().map(|()| changes)
    }
}

/// List the members of a static segment
///
/// In an order that does not change, expired members included until they are cleared away. Needs a
/// key with the scope `report` or `author`.
#[utoipa::path(
    get, path = "/v1/segments/{key}/members", tag = "segments", operation_id = "list_members",
    params(Segment, MembersQuery), security(("key" = [])),
    responses((status = 200, description = "A page.", body = Members), ListProblems)
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Segment { key }): ApiPath<Segment>,
    ApiQuery(MembersQuery { limit, after }): ApiQuery<MembersQuery>,
) -> Result<Json<Page<Member>>, Problem> {
    caller.must_one(&[Scope::Report, Scope::Author])?;
    let rows = app.engine.people.members(&caller.account, &key, after, limit.and_one()).await?;
    let cursor = |(uid, ..): &(Uid, UserKey, Option<Millis>)| uid.as_uuid().simple().to_string();
    Ok(Json(Page::of(rows, limit, cursor, |(_, user, expires_at)| Member { user, expires_at })))
}

/// Change the members of a static segment
///
/// Up to 10,000 people enter or leave; people not yet known are created, erased ones stay away.
/// Changes are committed in parts of 1,000, and repeating the request is safe. Needs a key with the
/// scope `events` or `author`.
#[utoipa::path(
    post, path = "/v1/segments/{key}/members", tag = "segments", operation_id = "change_members",
    params(Segment), request_body = MembersChange, security(("key" = [])),
    responses((status = 200, description = "The changes are durable.", body = MembersChanged), ChangeProblems)
)]
async fn change(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Segment { key }): ApiPath<Segment>,
    ApiJson(change): ApiJson<MembersChange, LARGEST>,
) -> Result<Json<MembersChanged>, Problem> {
    caller.must_one(&[Scope::Events, Scope::Author])?;
    let changes = change.parse().map_err(Problem::invalid)?;
    let changed = app.engine.people.change_members(&caller.account, &key, changes).await?;
    Ok(Json(MembersChanged { changed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Vec<(UserKey, Membership)>, Vec<Violation>> {
        serde_json::from_str::<MembersChange>(json).expect("a change").parse()
    }

    #[test]
    fn members_come_and_go() {
        let changes = parse(r#"{"add": ["a", {"user": "b", "expires_at": "1970-01-01T00:00:01Z"}], "remove": ["c"]}"#);
        let changes = changes.expect("changes");
        assert_eq!(changes[0].1, Membership::In { expires_at: None });
        assert_eq!(changes[1].1, Membership::In { expires_at: Some(Millis(1_000)) });
        assert_eq!((changes[2].0.as_str(), changes[2].1), ("c", Membership::Out));
    }

    #[test]
    fn nobody_comes_and_goes_at_once() {
        let faults = parse(r#"{"add": ["a", "a"], "remove": ["a"]}"#).expect_err("faults");
        assert_eq!(faults.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(), ["/add/1", "/remove/0"]);
    }

    #[test]
    fn crowds_come_in_parts() {
        let crowd: Vec<String> = (0..=MOST).map(|n| format!("\"u-{n}\"")).collect();
        assert_eq!(parse(&format!("{{\"add\": [{}]}}", crowd.join(","))).expect_err("too many")[0].code, "max_items");
    }
}
