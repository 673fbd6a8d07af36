//! People over HTTP: traits, memberships, erasure.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    extract::{ApiJson, ApiPath, ApiQuery},
    page::DryRun,
    problem::Problem,
};
use crate::{
    domain::{access::Scope, creative::percent_encode, ids::UserKey, values::Millis, violation::Violation},
    engine::{
        identity::MergeView,
        people::{Changed, Found, MembershipView, OtherView, PeopleError, ProfileView},
    },
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read, patch, erase)).routes(routes!(segments)).routes(routes!(merge))
}

/// How far back memberships are told, in milliseconds.
const REMEMBERED: i64 = 30 * 86_400_000;

problems!(ReadProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Gone, Invalid, Overloaded, StoreUnavailable]);
problems!(MergeProblems = [BadRequest, Unauthorized, Forbidden, Conflict, Gone, Invalid, Overloaded, StoreUnavailable]);
problems!(
    MembershipProblems = [BadRequest, Unauthorized, Forbidden, NotFound, Gone, Invalid, Overloaded, StoreUnavailable]
);
problems!(
    PatchProblems = [
        BadRequest,
        MalformedJson,
        Unauthorized,
        Forbidden,
        RequestTimeout,
        Gone,
        PayloadTooLarge,
        UnsupportedMediaType,
        Invalid,
        Overloaded,
        StoreUnavailable
    ]
);
problems!(EraseProblems = [BadRequest, Unauthorized, Forbidden, Invalid, Overloaded, StoreUnavailable]);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Person {
    /// The account's own name of the person, percent-encoded: 1 to 256 bytes of UTF-8 without
    /// control characters.
    #[param(example = "u-1")]
    user: UserKey,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Instant {
    /// The time to look at, at most 30 days ago, with what is known today; left out: now.
    #[param(inline, value_type = Millis, required = false)]
    at: Option<Millis>,
    /// Whether to tell also of the segments the person is not in, and why not.
    #[serde(default)]
    #[param(inline, required = false)]
    others: bool,
}

/// What to change about a person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"traits": {"age": 24, "city": "Berlin", "likes": ["running", "tea"], "old_trait": null}}))]
struct ProfilePatch {
    /// A merge patch (RFC 7396): a value sets a trait, `null` removes it, all others stay. Values
    /// are booleans, numbers, texts, arrays of texts and points `{"lat", "lon"}`; at most 128 traits.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    traits: Map<String, Value>,
}

/// A key that was merged into another.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"user": "web:9f2c", "merged_into": "u-1"}))]
struct MergedKey {
    /// The key.
    #[schema(value_type = String)]
    user: UserKey,
    /// The key that the person is kept under.
    #[schema(value_type = String)]
    merged_into: UserKey,
}

/// The two keys that are one person.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct TwoKeys {
    /// The key that becomes another key of the person, such as that of a browser, percent-encoded.
    #[param(example = "web:9f2c")]
    user: UserKey,
    /// The account's own name of the person, percent-encoded; they need not be known yet.
    #[param(example = "u-1")]
    into: UserKey,
}

/// The memberships of a person.
#[derive(Debug, Serialize, ToSchema)]
struct Memberships {
    /// The time they are of.
    at: Millis,
    /// Whether they are what a decision at that time finds, if nothing happens until then. Past
    /// memberships are told from what is known today, and so are not.
    exact: bool,
    /// Every segment the person is in at that time.
    segments: Vec<MembershipView>,
    /// With `others`: every other segment, as in "2 of 3 basket_emptied in 30 days".
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<Vec<OtherView>>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ErasureQuery {
    /// When what is kept of the person's events is deleted: `now` waits for it, which takes a look
    /// at all events; `later`, the default, leaves it to a pass within the day.
    #[serde(default)]
    #[param(inline, required = false)]
    events: EventsErased,
}

/// When the events of somebody erased are deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum EventsErased {
    /// Within the day. Nothing uses them until then.
    #[default]
    Later,
    /// They are.
    Now,
}

/// The receipt of an erasure.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"erased": true, "user_known": true, "events": "later", "at": "2026-11-22T08:30:00.000Z"}))]
struct Erasure {
    /// Always true: whatever there was is gone, and nothing new is kept under this key.
    erased: bool,
    /// Whether there was anything.
    user_known: bool,
    /// When what is kept of their events is deleted.
    events: EventsErased,
    /// When.
    at: Millis,
}

/// Read a person
///
/// Their traits, the lists they are on, what is remembered of their events and every segment they
/// are in now, with why. A key that was
/// merged leads to the person it belongs to: 308. Somebody who was erased stays so: 410. Needs a key
/// with the scope `report`.
#[utoipa::path(
    get, path = "/v1/profiles/{user}", tag = "profiles", operation_id = "get_profile", params(Person),
    security(("key" = [])),
    responses(
        (status = 200, description = "The person.", body = ProfileView),
        (status = 308, description = "The key is another key of the person whom `Location` names.", body = MergedKey,
         headers(("location" = String, description = "Where the person is."))),
        ReadProblems
    )
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Person { user }): ApiPath<Person>,
) -> Result<Response, Problem> {
    caller.must(Scope::Report)?;
    Ok(match app.engine.people.get(&caller.account, &user).await? {
        Found::Person(person) => Json(person).into_response(),
        Found::Merged(merged_into) => {
            let location = [(header::LOCATION, address(&merged_into))];
            (StatusCode::PERMANENT_REDIRECT, location, Json(MergedKey { user, merged_into })).into_response()
        }
    })
}

/// The path of a person.
fn address(user: &UserKey) -> String {
    let mut path = "/v1/profiles/".to_owned();
    percent_encode(user.as_str(), &mut path);
    path
}

/// Change a person's traits
///
/// A person not yet known is created. The answer's token makes a decision reflect the change.
/// Somebody who was erased stays so: 410. Needs a key with the scope `events`.
#[utoipa::path(
    patch, path = "/v1/profiles/{user}", tag = "profiles", operation_id = "patch_profile", params(Person, DryRun),
    request_body(content((ProfilePatch = "application/merge-patch+json"), (ProfilePatch = "application/json"))),
    security(("key" = [])),
    responses((status = 200, description = "The change is durable; or a dry run: it would be made.", body = Changed), PatchProblems)
)]
async fn patch(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Person { user }): ApiPath<Person>,
    ApiQuery(dry): ApiQuery<DryRun>,
    ApiJson(patch): ApiJson<ProfilePatch>,
) -> Result<Json<Changed>, Problem> {
    caller.must(Scope::Events)?;
    let changed = app.engine.people.patch(&caller.account, &user, &Value::Object(patch.traits), dry.dry_run).await;
    Ok(Json(changed.map_err(|error| match error {
        PeopleError::Invalid(faults) => {
            PeopleError::Invalid(faults.into_iter().map(|fault| fault.under("/traits")).collect())
        }
        other => other,
    })?))
}

/// Erase a person
///
/// Their profile, memberships and decision records at once, their events within the day or, on
/// demand, before the answer. For good: nothing is kept under this key again, nor under any other
/// that was merged with it. Asking twice is fine.
/// Needs a key with the scope `events`.
#[utoipa::path(
    delete, path = "/v1/profiles/{user}", tag = "profiles", operation_id = "erase_profile",
    params(Person, ErasureQuery),
    security(("key" = [])),
    responses((status = 200, description = "A receipt.", body = Erasure), EraseProblems)
)]
async fn erase(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Person { user }): ApiPath<Person>,
    ApiQuery(ErasureQuery { events }): ApiQuery<ErasureQuery>,
) -> Result<Json<Erasure>, Problem> {
    caller.must(Scope::Events)?;
    let erased = app.engine.people.erase(&caller.account, &user).await?;
    if events == EventsErased::Now {
        app.engine.ingest.erase_events(caller.account.number(), erased.uids).await?;
    }
    Ok(Json(Erasure { erased: true, user_known: erased.known, events, at: app.engine.clock.now() }))
}

/// Join a key to a person
///
/// For the login of somebody who was anonymous until then: what is known of `user` becomes known of
/// `into`, at once and for good. Of each trait the one that was set last counts; lists, events and
/// impressions are those of both. Whatever comes under `user` later, events, lists, traits or
/// decisions, is about `into`, and erasing either erases both. Neither need be known yet. Repeating
/// it changes nothing, and a person may have any number of keys; a key that was merged into somebody
/// else is not taken from them: 409. Where one of the two was erased: 410.
/// Needs a key with the scope `events`.
#[utoipa::path(
    post, path = "/v1/profiles/{user}/merge/{into}", tag = "profiles", operation_id = "merge_profile", params(TwoKeys),
    security(("key" = [])),
    responses((status = 200, description = "They are one person.", body = MergeView), MergeProblems)
)]
async fn merge(
    State(app): State<App>,
    caller: Caller,
    ApiPath(TwoKeys { user, into }): ApiPath<TwoKeys>,
) -> Result<Json<MergeView>, Problem> {
    caller.must(Scope::Events)?;
    Ok(Json(app.engine.people.merge(&caller.account, &user, &into).await?))
}

/// List the segments of a person
///
/// Every membership at a time, with since when, until when time alone cannot end it, what puts the
/// person in, and why. For now and the future `at` is answered exactly, if nothing else happens. For the
/// past, up to 30 days, it is not (`exact` is false): events count as they happened, and whoever was put into
/// a static segment later was not in it; but traits and rules are those of now, whoever was taken off a
/// segment since is told not to have been in it, and one that was entered before that was recorded holds
/// at any time.
/// Needs a key with the scope `report`.
#[utoipa::path(
    get, path = "/v1/profiles/{user}/segments", tag = "profiles", operation_id = "list_profile_segments",
    params(Person, Instant), security(("key" = [])),
    responses((status = 200, description = "The memberships.", body = Memberships), MembershipProblems)
)]
async fn segments(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Person { user }): ApiPath<Person>,
    ApiQuery(Instant { at, others }): ApiQuery<Instant>,
) -> Result<Json<Memberships>, Problem> {
    caller.must(Scope::Report)?;
    let now = app.engine.clock.now();
    let at = at.unwrap_or(now);
    if at < now.plus(-REMEMBERED) {
        let detail = "must be at most 30 days ago: what people did longer ago is not kept in full";
        return Err(Problem::invalid(vec![Violation::new("", "at", detail)]));
    }
    let (segments, rest) = app.engine.people.segments(&caller.account, &user, Some(at)).await?;
    Ok(Json(Memberships { at, exact: at >= now, segments, others: others.then_some(rest) }))
}
