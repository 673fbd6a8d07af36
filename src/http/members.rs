//! The members of static segments.

use std::collections::HashSet;

use axum::{
    Json,
    extract::{FromRequest, Request, State},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    extract::{ApiJson, ApiPath, ApiQuery},
    page::{Limit, Page},
    problem::Problem,
    rows::{RowFault, RowFaults, RowFormat, Rows, fields},
};
use crate::{
    domain::{
        access::Scope,
        audience::compile::SegmentKind,
        ids::{SegmentKey, Uid, UserKey},
        values::Millis,
        violation::{Violation, Violations},
    },
    engine::{Membership, UploadMode, members::RuleMember},
    problems,
    schema::object,
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

/// The segment that a path names.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Segment {
    /// The segment.
    pub(super) key: SegmentKey,
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
    #[serde(deserialize_with = "object::plain")]
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
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(example = json!({"changed": 999, "rows": 1000, "rejected": 1,
    "errors": [{"line": 17, "code": "invalid_user", "detail": "a user key must be 1 to 256 bytes long, not 0"}]}))]
struct MembersChanged {
    /// People whose membership is another one now, or would be in a dry run; those who already were
    /// where they should be are not counted.
    changed: u64,
    /// Rows read, of an upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    /// Rows refused, of an upload; the others count.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<u64>,
    /// The first 100 rows refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<RowFault>,
}

/// How members are changed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ChangeQuery {
    /// What the rows of an upload do. A JSON body says that itself.
    #[param(inline, value_type = UploadMode, required = false, default = "add")]
    mode: Option<UploadMode>,
    /// Check everything and change nothing; the answer shows what would be.
    #[serde(default)]
    #[param(required = false, default = false)]
    dry_run: bool,
}

/// A member of a segment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"user": "u-2", "expires_at": "2026-12-31T00:00:00.000Z"}))]
struct Member {
    /// Who.
    user: UserKey,
    /// First instant at which the membership no longer holds; none: it stays. Of static segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Millis>,
    /// Since when, if that is known. Of dynamic segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Millis>,
    /// When time alone may end it. Of dynamic segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<Millis>,
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

/// List the members of a segment
///
/// In an order that does not change. Of a static segment expired members are included until they
/// are cleared away. Of a dynamic one everybody is asked anew, 20,000 people for a page at most, so
/// a page may be short or empty and have a `next` all the same; people known from impressions alone
/// have no name and are left out. Names people: needs a key with the scope `report`.
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
    caller.must(Scope::Report)?;
    let rules = &caller.account.snapshot.rules;
    if let Some(ix) = rules.ix(&key).filter(|ix| rules.kind(*ix) == SegmentKind::Dynamic) {
        let now = app.engine.clock.now();
        let page = app.engine.members.of_rule(&caller.account, ix, after, limit.0, now).await?;
        let item = |RuleMember { key: user, since, valid_until }| Member { user, expires_at: None, since, valid_until };
        let next = page.next.map(|uid| uid.as_uuid().simple().to_string());
        return Ok(Json(Page { items: page.people.into_iter().map(item).collect(), next }));
    }
    let rows = app.engine.people.members(&caller.account, &key, after, limit.and_one()).await?;
    let cursor = |(uid, ..): &(Uid, UserKey, Option<Millis>)| uid.as_uuid().simple().to_string();
    Ok(Json(Page::of(rows, limit, cursor, |(_, user, expires_at)| Member {
        user,
        expires_at,
        since: None,
        valid_until: None,
    })))
}

/// Change the members of a static segment
///
/// A JSON body moves up to 10,000 people in and out. An upload moves any number, up to 1 GiB of
/// rows: `text/csv` whose first row names the columns `user` and, if wanted, `expires_at`, or
/// `application/x-ndjson` with a user key or `{"user", "expires_at"}` on each line; both also with
/// `Content-Encoding: gzip`. `mode` says whether they enter, leave or are the whole list from now
/// on. Nothing changes before the last row has arrived. Rows that cannot be read are told and left
/// out, but no list is replaced by an upload with such rows. Each person changes at once; a large
/// upload is committed in parts of 1,000 people, so for some seconds the list as a whole is between
/// old and new. People not yet known are created, erased ones stay away, and repeating the request
/// is safe. Needs a key with the scope `events` or `author`.
#[utoipa::path(
    post, path = "/v1/segments/{key}/members", tag = "segments", operation_id = "change_members",
    params(Segment, ChangeQuery), security(("key" = [])),
    request_body(content(
        (MembersChange = "application/json"),
        (String = "text/csv", example = "user,expires_at\nu-1,2026-12-31T00:00:00Z\nu-2,\n"),
        (String = "application/x-ndjson", example = "\"u-1\"\n{\"user\": \"u-2\"}\n"),
    )),
    responses((status = 200, description = "The changes are durable.", body = MembersChanged), ChangeProblems)
)]
async fn change(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Segment { key }): ApiPath<Segment>,
    ApiQuery(query): ApiQuery<ChangeQuery>,
    request: Request,
) -> Result<Json<MembersChanged>, Problem> {
    caller.must_one(&[Scope::Events, Scope::Author])?;
    if let Some(format) = RowFormat::of(request.headers()) {
        return upload(&app, &caller, &key, &query, Rows::of(request, format)?, format).await.map(Json);
    }
    let ApiJson(change): ApiJson<MembersChange, LARGEST> = ApiJson::from_request(request, &app).await?;
    if query.mode.is_some() {
        let detail = "a JSON body says itself who enters and who leaves";
        return Err(Problem::invalid(vec![Violation::new("", "mode", detail)]));
    }
    let changes = change.parse().map_err(Problem::invalid)?;
    let changed = match query.dry_run {
        false => app.engine.people.change_members(&caller.account, &key, changes).await?,
        true => foresee(&app, &caller, &key, changes).await?,
    };
    Ok(Json(MembersChanged { changed, ..MembersChanged::default() }))
}

/// How many memberships these changes would change.
async fn foresee(
    app: &App,
    caller: &Caller,
    key: &SegmentKey,
    changes: Vec<(UserKey, Membership)>,
) -> Result<u64, Problem> {
    let mut changed = 0;
    for mode in [UploadMode::Add, UploadMode::Remove] {
        let mut upload = app.engine.members.begin(&caller.account, key, mode).await?;
        for (user, membership) in &changes {
            match (mode, membership) {
                (UploadMode::Add, Membership::In { expires_at }) => upload.push(user.clone(), *expires_at).await?,
                (UploadMode::Remove, Membership::Out) => upload.push(user.clone(), None).await?,
                _ => {}
            }
        }
        changed += upload.survey().await?;
    }
    Ok(changed)
}

async fn upload(
    app: &App,
    caller: &Caller,
    key: &SegmentKey,
    query: &ChangeQuery,
    mut body: Rows,
    format: RowFormat,
) -> Result<MembersChanged, Problem> {
    let mode = query.mode.unwrap_or_default();
    let mut upload = app.engine.members.begin(&caller.account, key, mode).await?;
    let columns = match format {
        RowFormat::NdJson => None,
        RowFormat::Csv => Some(Columns::of(body.next().await?)?),
    };
    let (mut rows, mut faults) = (0, RowFaults::default());
    while let Some((line, row)) = body.next().await? {
        rows += 1;
        let member = match &columns {
            Some(columns) => columns.read(&row),
            None => read_line(&row),
        };
        match member {
            Ok(MemberUntil { user, expires_at }) => upload.push(user, expires_at).await?,
            Err(fault) => faults.push(line, fault),
        }
    }
    if mode == UploadMode::Replace && faults.count > 0 {
        return Err(faults.into_problem("the list was left as it is"));
    }
    let changed = if query.dry_run { upload.survey().await? } else { upload.apply().await? };
    Ok(MembersChanged { changed, rows: Some(rows), rejected: Some(faults.count), errors: faults.first })
}

/// Where the columns of a CSV upload are.
struct Columns {
    count: usize,
    user: usize,
    expires_at: Option<usize>,
}

impl Columns {
    fn of(first: Option<(u64, Vec<u8>)>) -> Result<Self, Problem> {
        let refuse = |code, detail: String| Problem::invalid(vec![Violation::new("/1", code, detail)]);
        let missing =
            || refuse("required", "the first row must name the columns: user and, if wanted, expires_at".into());
        let (_, row) = first.ok_or_else(missing)?;
        let names = fields(&row).map_err(|(code, detail)| refuse(code, detail))?;
        let at = |wanted: &str| names.iter().position(|name| name.trim() == wanted);
        if let Some(odd) = names.iter().find(|name| !["user", "expires_at"].contains(&name.trim())) {
            return Err(refuse(
                "unknown_column",
                format!("no column is called {odd:?}; there are user and expires_at"),
            ));
        }
        Ok(Self { count: names.len(), user: at("user").ok_or_else(missing)?, expires_at: at("expires_at") })
    }

    fn read(&self, row: &[u8]) -> Result<MemberUntil, (&'static str, String)> {
        let fields = fields(row)?;
        if fields.len() != self.count {
            let detail = format!("must have {} fields as the first row, not {}", self.count, fields.len());
            return Err(("columns", detail));
        }
        let user = fields[self.user].parse().map_err(|error| ("invalid_user", format!("{error}")))?;
        let expires_at = match self.expires_at.map(|at| fields[at].trim()) {
            None | Some("") => None,
            Some(text) => Some(text.parse().map_err(|_| ("invalid_time", "must be an RFC 3339 instant".to_owned()))?),
        };
        Ok(MemberUntil { user, expires_at })
    }
}

const NOT_A_MEMBER: &str = "must be a user key or {\"user\": \"...\", \"expires_at\": \"...\"}";

/// The person on a line of NDJSON.
fn read_line(row: &[u8]) -> Result<MemberUntil, (&'static str, String)> {
    match serde_json::from_slice(row) {
        Ok(NewMember::Until(member)) if row.trim_ascii_start().starts_with(b"{") => Ok(member),
        Ok(NewMember::Until(_)) => Err(("invalid", NOT_A_MEMBER.to_owned())),
        Ok(NewMember::Forever(user)) => Ok(MemberUntil { user, expires_at: None }),
        Err(error) if error.is_data() => Err(("invalid", NOT_A_MEMBER.to_owned())),
        Err(_) => Err(("malformed_json", "must be one JSON value on a line".to_owned())),
    }
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

    #[test]
    fn rows_of_a_file_are_read_or_refused_one_by_one() {
        let columns = |header: &str| Columns::of(Some((1, header.as_bytes().to_vec())));
        let both = columns("expires_at, user").expect("columns");
        let member = both.read(b"1970-01-01T00:00:01Z,u-1").expect("a member");
        assert_eq!((member.user.as_str(), member.expires_at), ("u-1", Some(Millis(1_000))));
        assert_eq!(both.read(b",\"a,b\"").expect("a member").user.as_str(), "a,b");
        for (row, code) in
            [("u-1", "columns"), ("soon,u", "invalid_time"), (",", "invalid_user"), (",\"u", "malformed_csv")]
        {
            assert_eq!(both.read(row.as_bytes()).expect_err("refused").0, code, "{row}");
        }
        assert!(columns("id").is_err() && columns("user,age").is_err() && Columns::of(None).is_err());
        assert_eq!(read_line(b"\"u-1\"").expect("a member").user.as_str(), "u-1");
        assert_eq!(read_line(b"{\"user\": 1}").expect_err("refused").0, "invalid");
        assert_eq!(read_line(b"u-1").expect_err("refused").0, "malformed_json");
    }
}
