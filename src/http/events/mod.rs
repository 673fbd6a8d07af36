//! What people did, sent by servers.

mod history;
mod item;
mod lines;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, header},
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    item::{EventItem, Reader},
    lines::Lines,
};
use super::{
    app::App,
    auth::Caller,
    body,
    problem::{Problem, ProblemKind},
};
use crate::{
    domain::{access::Scope, violation::Violation},
    engine::{
        EventRow, Ingested,
        consistency::Reached,
        ingest::{Ingest, IngestError},
    },
    problems,
};

/// The largest body that is one JSON document, in bytes.
const LARGEST: usize = 2 << 20;
/// The most faults that an answer lists.
const LISTED: usize = 1_000;
/// Characters of lines that are read before they are kept.
const GATHERED: usize = 1 << 20;

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(take)).merge(history::routes())
}

/// One event, or several.
#[derive(ToSchema)]
#[schema(as = Events, example = json!([
    {"id": "order-1001", "user": "u-1", "type": "purchase", "properties": {"value": 59.90}},
    {"user": "u-2", "type": "product_viewed", "at": "2026-11-22T08:30:00.000Z"}
]))]
#[serde(untagged)]
#[expect(dead_code, reason = "described here, read item by item")]
enum EventsBody {
    /// One.
    One(EventItem),
    /// Several.
    Several(Vec<EventItem>),
}

/// What became of the events.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(example = json!({
    "accepted": 2, "duplicates": 0, "late": 0, "rejected": [], "rejected_count": 0, "consistency_token": "v17"
}))]
pub(super) struct EventsAnswer {
    /// Kept and applied.
    accepted: u64,
    /// Kept before: nothing changed.
    duplicates: u64,
    /// Kept, but too old to be applied.
    late: u64,
    /// Not kept, and why; at most 1,000 are listed.
    rejected: Vec<Rejected>,
    /// Events that were not kept.
    rejected_count: u64,
    /// Send it with a decision to have these events reflected there; none where nothing was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    consistency_token: Option<String>,
}

/// A fault of an event that was not kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"index": 3, "pointer": "/type", "detail": "must not be missing"}))]
struct Rejected {
    /// The event's place in the request, from 0; blank lines do not count.
    index: u64,
    /// Where in the event, as a JSON pointer.
    pointer: String,
    /// What is wrong there.
    detail: String,
}

/// Takes events in batches and adds up what becomes of them.
struct Taking<'a> {
    app: &'a App,
    caller: &'a Caller,
    answer: EventsAnswer,
    reached: Option<Reached>,
    /// Place of the next item.
    index: u64,
}

impl<'a> Taking<'a> {
    fn new(app: &'a App, caller: &'a Caller) -> Self {
        Self { app, caller, answer: EventsAnswer::default(), reached: None, index: 0 }
    }

    /// Keeps some items, at most [`Ingest::BATCH`].
    async fn keep(&mut self, items: &[&[u8]]) -> Result<(), Problem> {
        let engine = &self.app.engine;
        let streamed = engine.ingest.streamed(self.caller.account.number()).await?;
        let reader = Reader {
            schemas: &self.app.schemas,
            account: &self.caller.account,
            streamed: &streamed,
            received: engine.clock.now(),
        };
        let (mut rows, mut places): (Vec<EventRow>, Vec<u64>) = Default::default();
        for item in items {
            match reader.read(item) {
                Ok(row) => {
                    rows.push(row);
                    places.push(self.index);
                }
                Err(faults) => {
                    engine.ingest.count_refused(1);
                    self.reject(self.index, faults);
                }
            }
            self.index += 1;
        }
        if rows.is_empty() {
            return Ok(());
        }
        let report = engine.ingest.ingest(self.caller.account.number(), rows).await.map_err(Problem::from)?;
        for (became, place) in report.became.into_iter().zip(places) {
            match became {
                Ingested::Accepted => self.answer.accepted += 1,
                Ingested::Late => self.answer.late += 1,
                Ingested::Duplicate => self.answer.duplicates += 1,
                Ingested::Erased => {
                    self.reject(place, vec![Violation::new("/user", "erased", "was erased and stays so")]);
                }
            }
        }
        if let Some(reached) = report.reached {
            self.reached = Some(self.reached.map_or(reached, |before| before.and(reached)));
        }
        Ok(())
    }

    fn reject(&mut self, index: u64, faults: Vec<Violation>) {
        self.answer.rejected_count += 1;
        let room = LISTED.saturating_sub(self.answer.rejected.len());
        let listed = faults.into_iter().take(room);
        self.answer.rejected.extend(listed.map(|Violation { pointer, detail, .. }| Rejected {
            index,
            pointer,
            detail,
        }));
    }

    fn answer(mut self) -> EventsAnswer {
        self.answer.consistency_token = self.reached.map(|reached| reached.token().to_string());
        self.answer
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match &error {
            IngestError::Busy => Self::new(ProblemKind::Overloaded, "Too many events wait. Send them again."),
            IngestError::Store(store) if store.is_passing() => {
                let detail = "The events could not all be kept. Send them again: those that were count once.";
                Self::new(ProblemKind::StoreUnavailable, detail).caused_by(error)
            }
            IngestError::Store(_) => Self::internal(error),
        }
    }
}

problems!(pub EventProblems = [
    BadRequest, MalformedJson, Unauthorized, Forbidden, PayloadTooLarge, UnsupportedMediaType, Invalid, RequestTimeout,
    Overloaded, StoreUnavailable
]);

/// Keep what people did
///
/// One event, an array of at most 2 MiB, or one a line (`application/x-ndjson`), read as it arrives and possibly gzipped,
/// up to 1 GiB unpacked. More is refused with 413 once that is reached, when most lines before it are kept: send it in
/// several requests. Answered once everything is durable. An event with a fault is left out and named in `rejected`;
/// the others are kept. Repeats are told by their `id` for 35 days, so that sending a request again is always safe.
/// People not yet known are created; those who were erased stay away. Needs a key with the scope `events`.
#[utoipa::path(
    post,
    path = "/v1/events",
    tag = "events",
    operation_id = "post_events",
    request_body(content(
        (EventsBody = "application/json"),
        (String = "application/x-ndjson", example = "{\"user\":\"u-1\",\"type\":\"product_viewed\"}\n{\"user\":\"u-2\",\"type\":\"purchase\"}\n"),
    )),
    responses((status = 200, description = "What became of them.", body = EventsAnswer), EventProblems),
    security(("key" = []))
)]
async fn take(State(app): State<App>, caller: Caller, request: Request) -> Result<Json<EventsAnswer>, Problem> {
    caller.must(Scope::Events)?;
    let mut taking = Taking::new(&app, &caller);
    if is_lines(request.headers()) {
        take_lines(&mut taking, Lines::of(request)?).await?;
    } else {
        let bytes = body::read_json(request, LARGEST).await?;
        for items in items(&bytes)?.chunks(Ingest::BATCH) {
            taking.keep(items).await?;
        }
    }
    Ok(Json(taking.answer()))
}

/// The caller waits while what was read before is kept.
async fn take_lines(taking: &mut Taking<'_>, mut lines: Lines) -> Result<(), Problem> {
    let (mut gathered, mut size) = (Vec::new(), 0);
    loop {
        let line = lines.next().await?;
        let ended = line.is_none();
        if let Some(line) = line {
            size += line.len();
            gathered.push(line);
        }
        if gathered.len() == Ingest::BATCH || size >= GATHERED || ended && !gathered.is_empty() {
            let items: Vec<&[u8]> = gathered.iter().map(Vec::as_slice).collect();
            taking.keep(&items).await?;
            (gathered, size) = (Vec::new(), 0);
        }
        if ended {
            return Ok(());
        }
    }
}

fn is_lines(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/x-ndjson", "application/ndjson", "application/jsonl"]
        .iter()
        .any(|lines| kind.eq_ignore_ascii_case(lines))
}

/// The items of a body, each as it was received.
fn items(bytes: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let malformed = |error: serde_json::Error| Problem::new(ProblemKind::MalformedJson, format!("{error}."));
    let several = bytes.trim_ascii_start().first() == Some(&b'[');
    if several {
        let items: Vec<&RawValue> = serde_json::from_slice(bytes).map_err(malformed)?;
        return Ok(items.into_iter().map(|item| item.get().as_bytes()).collect());
    }
    let item: &RawValue = serde_json::from_slice(bytes).map_err(malformed)?;
    Ok(vec![item.get().as_bytes()])
}
