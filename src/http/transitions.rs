//! Who enters and leaves segments, page by page or as it happens.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use tokio::{sync::mpsc, time};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app::App,
    auth::Caller,
    extract::{ApiPath, ApiQuery},
    members::Segment,
    page::{Limit, Page},
    pipe::{Piece, pipe},
    problem::{Problem, ProblemKind},
};
use crate::{
    domain::{
        access::Scope,
        ids::SegmentKey,
        violation::Violation,
        webhook::{MoveKind, Telling},
    },
    engine::{TransitionCursor, transitions::Transitions},
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(follow))
}

problems!(
    FollowProblems =
        [BadRequest, Unauthorized, Forbidden, NotFound, Invalid, TooManyRequests, Overloaded, StoreUnavailable]
);

type Moves = Page<Telling>;

/// Time between two looks for a follower.
const LOOK: Duration = Duration::from_millis(500);
/// Time after which a silent stream says that it is alive.
const ALIVE: Duration = Duration::from_secs(15);
/// Time after which a stream ends, to be taken up again from its last event.
const LONGEST: Duration = Duration::from_secs(300);

/// A place among transitions, as callers send it back.
struct Place(TransitionCursor);

impl std::str::FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('-').and_then(|(xid, seq)| Some((xid.parse().ok()?, seq.parse().ok()?)));
        let (xid, seq) = parts.ok_or("must be the id of a transition, such as `next` of the page before")?;
        Ok(Self(TransitionCursor { xid, seq }))
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FollowQuery {
    /// How many items at most.
    #[serde(default)]
    #[param(inline, required = false)]
    limit: Limit,
    /// Where to read on: `next` of the page before, or the id of a transition.
    #[param(value_type = String, required = false, pattern = "^[0-9]+-[0-9]+$")]
    after: Option<Place>,
}

/// Follow who enters and leaves a segment
///
/// The oldest first, of the last 30 days; a page at a time, or, with `Accept: text/event-stream`, as
/// server-sent events from now on or from `Last-Event-ID` on; at most 64 such streams of an account are
/// open at a time on a replica. Told are changes by events, traits,
/// members added, removed or uploaded, and erasure, soon after they are made; and what time alone
/// does, within a second, as of the millisecond at which it did. A rule's `enter_hold` and `exit_hold`
/// keep back what has not lasted so long. A new segment, or a change of its rule, is told of those alone
/// whom time may move in some segment already, when something next happens to them or time next moves
/// them. Whoever else is in by it counts as told: they may be told to have left and never to have
/// entered, and what time alone does to them is told from the next time on that something happens to
/// them. Of whom an upload makes known, only segments that rest on the list
/// are told. Of somebody who was erased all is gone but that they left, which names them by `person`
/// alone. What an upload does to its own list is recorded with it; what a replica has not told yet
/// when it crashes is told at the person's next move, if time alone may move them, and else never.
/// Somebody who is moved in two lists within a moment may be told of twice, or not, in segments that rest on both.
/// Needs a key with the scope `report`.
#[utoipa::path(
    get, path = "/v1/segments/{key}/transitions", tag = "segments", operation_id = "follow_segment",
    params(Segment, FollowQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event received, of a stream.")),
    security(("key" = [])),
    responses(
        (status = 200, description = "A page, or a stream of events named `entered` and `left`.", content(
            (Moves = "application/json"), (String = "text/event-stream"))),
        FollowProblems
    )
)]
async fn follow(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Segment { key }): ApiPath<Segment>,
    ApiQuery(FollowQuery { limit, after }): ApiQuery<FollowQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must(Scope::Report)?;
    let account = caller.account.number();
    if caller.account.snapshot.rules.ix(&key).is_none() {
        return Err(Problem::new(ProblemKind::NotFound, format!("There is no segment {key}.")));
    }
    let transitions = app.engine.transitions.clone();
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if !accepts.contains("text/event-stream") {
        let after = after.map(|Place(cursor)| cursor).unwrap_or_default();
        let rows = transitions.read(account, key, after, limit.and_one()).await?;
        return Ok(Json(Page::of(rows, limit, |row| row.cursor.id(), Telling::from)).into_response());
    }
    let last = headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default().parse::<Place>());
    let last =
        last.transpose().map_err(|detail| Problem::invalid(vec![Violation::new("", "last_event_id", detail)]))?;
    let Some(place) = transitions.follower(account) else {
        let detail = "Too many follow this account's segments already; read page by page, or have a webhook told.";
        return Err(Problem::new(ProblemKind::TooManyRequests, detail));
    };
    let from = match last.or(after) {
        Some(Place(cursor)) => cursor,
        None => transitions.end().await?,
    };
    let (sender, body) = pipe(16);
    tokio::spawn(async move {
        tell(transitions, account, key, from, sender).await;
        drop(place);
    });
    let kind = HeaderValue::from_static("text/event-stream");
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

/// Tells a follower what happens, until they leave or it has been long enough.
async fn tell(
    transitions: Transitions,
    account: u32,
    key: SegmentKey,
    mut after: TransitionCursor,
    follower: mpsc::Sender<Piece>,
) {
    let (began, mut said) = (time::Instant::now(), time::Instant::now());
    // With a place from the start, who was told nothing comes back to where they were.
    let hello = format!("retry: 1000\nid: {}\n\n", after.id());
    if follower.send(Ok(hello.into())).await.is_err() {
        return;
    }
    while began.elapsed() < LONGEST {
        let mut text = String::new();
        if let Ok(rows) = transitions.read(account, key.clone(), after, 500).await {
            for row in rows {
                after = row.cursor;
                let told = Telling::from(row);
                let data = serde_json::to_string(&told).unwrap_or_default();
                let event = if told.event == MoveKind::Entered { "entered" } else { "left" };
                text.push_str(&format!("id: {}\nevent: {event}\ndata: {data}\n\n", told.id));
            }
        }
        if text.is_empty() && said.elapsed() > ALIVE {
            text.push_str(": alive\n\n");
        }
        if !text.is_empty() {
            said = time::Instant::now();
            if follower.send(Ok(text.into())).await.is_err() {
                return;
            }
        }
        if time::timeout(LOOK, follower.closed()).await.is_ok() {
            return;
        }
    }
}
