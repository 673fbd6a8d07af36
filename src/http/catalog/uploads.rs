//! Components by POST: one, many, a table of them, or one with its image.

use axum::{
    Json,
    extract::{Request, State},
    http::header,
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, Desk, LARGEST, Place, Resource, WriteProblems, author, form::Form, table};
use crate::{
    domain::{
        access::Scope,
        catalog::key::Kind,
        creative::ComponentDoc,
        ids::{CreativeId, SlotName},
        violation::Violation,
    },
    engine::authoring::{
        Authoring, Expect,
        upload::{ComponentRow, Taken},
    },
    http::{
        app::App,
        auth::Caller,
        body,
        etag::{MaybeMatch, Precondition},
        extract::{ApiPath, ApiQuery},
        page::DryRun,
        problem::{Problem, ProblemKind},
        rows::{ImportMode, RowFormat, Rows},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create))
}

/// The most rows of an upload that is all or nothing.
const HELD: usize = 100_000;

type Stored = Resource<ComponentDoc>;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Of {
    /// What it belongs to.
    creative: CreativeId,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UploadQuery {
    /// What becomes of many components of which some are refused: the others are taken, or nothing
    /// is. `all_or_nothing` takes at most 100,000.
    #[serde(default)]
    #[param(inline, required = false, default = "valid_only")]
    mode: ImportMode,
    /// Check everything and change nothing; the answer shows what would be.
    #[serde(default)]
    #[param(required = false, default = false)]
    dry_run: bool,
}

/// What became of many components; or what one would be, of a dry run.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes answers that are written elsewhere")]
enum ComponentsAnswer {
    /// Of many.
    Many(ComponentsTaken),
    /// Of one.
    One(Stored),
}

/// What became of many components.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(example = json!({"rows": 40, "created": 38, "replaced": 1, "unchanged": 0, "rejected": 1, "version": 57, "errors": [
    {"line": 17, "column": "value.alt", "pointer": "/value/alt", "code": "empty", "detail": "must not be empty"}]}))]
struct ComponentsTaken {
    /// Components sent.
    rows: u64,
    /// Those that did not exist before.
    created: u64,
    /// Those that were others before.
    replaced: u64,
    /// Those that were just so already.
    unchanged: u64,
    /// Those refused.
    rejected: u64,
    /// The catalogue version that has them; left out when nothing changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    /// What is wrong with the first 100 refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ComponentFault>,
}

/// What is wrong with one of many components.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"line": 17, "column": "value.alt", "pointer": "/value/alt", "code": "empty", "detail": "must not be empty"}))]
struct ComponentFault {
    /// The line that it begins on; of a JSON array its number. The first is 1.
    line: u64,
    /// The column of a table; left out: the row as a whole, or no table.
    #[serde(skip_serializing_if = "String::is_empty")]
    column: String,
    /// Where in the component; left out: the component as a whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pointer: String,
    /// Stable, machine-readable name of the rule that was broken.
    code: &'static str,
    /// What to change.
    detail: String,
}

/// A component with its image, as a form.
#[derive(ToSchema)]
#[schema(example = json!({"slot": "hero", "image": "(the file)", "alt": "A running shoe", "focus": "0.5,0.3"}))]
#[expect(dead_code, reason = "described here, read part by part")]
struct ComponentForm {
    /// The slot it fills: an image slot.
    slot: String,
    /// The image: PNG, JPEG, WebP or GIF, at most 8 MiB. Where the slot has a size, it is cut and
    /// scaled to it.
    #[schema(value_type = String, format = Binary)]
    image: Vec<u8>,
    /// What it shows, in words.
    alt: String,
    /// What matters most in it, as shares of its width and height: `0.5,0.3`.
    focus: Option<String>,
    /// Its id; left out: one is made.
    id: Option<String>,
    /// What people call it.
    name: Option<String>,
    /// The language it is written in.
    locale: Option<String>,
    /// Its share among the components of its slot.
    weight: Option<u32>,
    /// `active` or `paused`.
    status: Option<String>,
    /// A targeting rule, in JSON.
    targeting: Option<String>,
    /// When it may be shown, in JSON.
    flight: Option<String>,
}

/// Add components to a creative's draft
///
/// One as `application/json`, under a generated id; many as a JSON array of components that each have an
/// `id` as well, as `application/x-ndjson` with one on each line, or as `text/csv` whose first row names
/// the columns: `id`, `slot`, `value` (or `value.src`, `value.alt`, `value.amount`, `value.currency`),
/// `name`, `locale`, `weight`, `status`, `flight.start`, `flight.end`, `targeting` (JSON) and `version`.
/// Tables may be gzipped and are read as they arrive, up to 1 GiB, 1,000 rows in a commit. One with its
/// image as `multipart/form-data`: the image is decoded, written anew and cut to the slot's size.
///
/// Of many, one that exists already and is another one is refused, so that nobody's edit is lost: send
/// the `version` that you saw with the row to replace it, or `If-Match: *` to replace whatever there is.
/// Refused rows are named by line and column; the others are durable when the answer comes. With
/// `mode=all_or_nothing` nothing changes unless every row can be taken: 422 with the faults. Sending the
/// same again is safe. Needs a key with the scope `author`.
#[utoipa::path(
    post, path = "/v1/creatives/{creative}/components", tag = "components", operation_id = "create_component",
    params(Of, UploadQuery, MaybeMatch), security(("key" = [])),
    request_body(content(
        (ComponentDoc = "application/json"), (ComponentForm = "multipart/form-data"),
        (String = "text/csv", example = "id,slot,value,locale,weight\nh-1,headline,Run further,en,60\nh-2,headline,Lauf weiter,de,\n"),
        (String = "application/x-ndjson", example = "{\"id\": \"h-1\", \"slot\": \"headline\", \"value\": \"Run further\"}\n"),
    )),
    responses(
        (status = 200, description = "What became of many; or of one, a dry run: it would be created.",
            content((ComponentsAnswer = "application/json"))),
        (status = 201, description = "The one is created.", body = Stored, headers(
            ("Location" = String, description = "Where it is."),
            ("ETag" = String, description = "Its version in double quotes."),
        )),
        WriteProblems
    )
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    ApiPath(Of { creative }): ApiPath<Of>,
    ApiQuery(query): ApiQuery<UploadQuery>,
    MaybeMatch(expect): MaybeMatch,
    request: Request,
) -> Answer {
    caller.must(Scope::Author)?;
    let dry = DryRun { dry_run: query.dry_run };
    let upload = Upload {
        app: &app,
        caller: &caller,
        creative,
        query,
        overwrite: expect == Expect::Present,
        taken: ComponentsTaken::default(),
    };
    if let Some(format) = RowFormat::of(request.headers()) {
        let rows = Rows::of(request, format)?;
        return upload.table(rows, format).await;
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data")) {
        return upload.form(request).await;
    }
    let bytes = body::read_json(request, 4 * LARGEST).await?;
    if bytes.trim_ascii_start().starts_with(b"[") {
        return upload.list(&bytes).await;
    }
    let place = Place::new(Kind::Component, Some(upload.creative));
    Desk::writing(&app, &caller, place)?.create(dry, &bytes).await
}

/// Components being taken.
struct Upload<'a> {
    app: &'a App,
    caller: &'a Caller,
    creative: CreativeId,
    query: UploadQuery,
    overwrite: bool,
    taken: ComponentsTaken,
}

impl Upload<'_> {
    /// Faults that are told.
    const TOLD: usize = 100;

    fn account(&self) -> u32 {
        self.caller.account.number()
    }

    fn whole(&self) -> bool {
        self.query.mode == ImportMode::AllOrNothing
    }

    async fn table(mut self, mut body: Rows, format: RowFormat) -> Answer {
        let slots = self.app.engine.authoring.slots(self.account(), &self.creative).await?;
        let columns = match format {
            RowFormat::NdJson => None,
            RowFormat::Csv => Some(table::Columns::of(body.next().await?)?),
        };
        let is_table = columns.is_some();
        let mut held = Vec::new();
        while let Some((line, row)) = body.next().await? {
            let read = match &columns {
                Some(columns) => columns.read(&row, &slots),
                None => table::object(&row),
            };
            self.hold(line, read, &mut held, is_table).await?;
        }
        self.finish(held, is_table).await
    }

    async fn list(mut self, bytes: &[u8]) -> Answer {
        let items: Vec<Value> = serde_json::from_slice(bytes).map_err(|error| {
            let detail = format!("line {}, column {}: {error}", error.line(), error.column());
            Problem::new(ProblemKind::MalformedJson, detail)
        })?;
        let mut held = Vec::new();
        for (at, item) in items.into_iter().enumerate() {
            let object = match item {
                Value::Object(object) => Ok(object),
                _ => Err(vec![Violation::new("", "type", "must be an object")]),
            };
            self.hold(at as u64 + 1, object, &mut held, false).await?;
        }
        self.finish(held, false).await
    }

    /// Keeps a row until there are enough of them.
    async fn hold(
        &mut self,
        line: u64,
        read: Result<Map<String, Value>, Vec<Violation>>,
        held: &mut Vec<ComponentRow>,
        is_table: bool,
    ) -> Result<(), Problem> {
        self.taken.rows += 1;
        match read.and_then(|object| table::component(&self.app.engine.authoring, line, object)) {
            Ok(row) => held.push(row),
            Err(faults) => self.refuse(line, faults, is_table),
        }
        if self.whole() && held.len() > HELD {
            let detail = format!("All or nothing is for at most {HELD} components.");
            return Err(Problem::new(ProblemKind::PayloadTooLarge, detail));
        }
        if !self.whole() && held.len() == Authoring::BATCH {
            self.take(&std::mem::take(held), is_table).await?;
        }
        Ok(())
    }

    async fn take(&mut self, rows: &[ComponentRow], is_table: bool) -> Result<(), Problem> {
        let mut author = author(self.caller, DryRun { dry_run: self.query.dry_run });
        // with a fault known already nothing will be written; what else is wrong is told all the same
        author.dry_run |= self.whole() && self.taken.rejected > 0;
        let authoring = &self.app.engine.authoring;
        let made = authoring.put_components(&author, &self.creative, rows, self.overwrite, self.whole()).await?;
        let Taken { created, replaced, unchanged, refused, version } = made;
        self.taken.created += created;
        self.taken.replaced += replaced;
        self.taken.unchanged += unchanged;
        self.taken.version = version.or(self.taken.version);
        refused.into_iter().for_each(|(line, faults)| self.refuse(line, faults, is_table));
        Ok(())
    }

    fn refuse(&mut self, line: u64, faults: Vec<Violation>, is_table: bool) {
        self.taken.rejected += 1;
        if self.taken.errors.len() < Self::TOLD {
            let column = |pointer: &str| if is_table { table::column(pointer) } else { String::new() };
            let fault = |Violation { pointer, code, detail }| ComponentFault {
                line,
                column: column(&pointer),
                pointer,
                code,
                detail,
            };
            self.taken.errors.extend(faults.into_iter().map(fault));
        }
    }

    async fn finish(mut self, held: Vec<ComponentRow>, is_table: bool) -> Answer {
        self.take(&held, is_table).await?;
        self.taken.errors.sort_by_key(|fault| fault.line);
        if self.whole() && self.taken.rejected > 0 {
            let fault = |fault: ComponentFault| {
                let detail =
                    if fault.column.is_empty() { fault.detail } else { format!("{}: {}", fault.column, fault.detail) };
                Violation::new(format!("/{}{}", fault.line, fault.pointer), fault.code, detail)
            };
            let detail =
                format!("{} of {} rows cannot be taken, so nothing changed.", self.taken.rejected, self.taken.rows);
            let problem = Problem::invalid(self.taken.errors.into_iter().map(fault).collect());
            return Err(Problem { detail, ..problem });
        }
        Ok(Json(self.taken).into_response())
    }

    /// One component with its image.
    async fn form(self, request: Request) -> Answer {
        let form = Form::read(request).await?;
        let slots = self.app.engine.authoring.slots(self.account(), &self.creative).await?;
        let (id, mut document, fit) = form.document(&slots)?;
        let picture = self.app.engine.assets.read(form.image, fit).await?;
        let slot = document.get("slot").and_then(|slot| slot.as_str());
        let largest = slot.and_then(|slot| slots.get(&slot.parse::<SlotName>().ok()?)?.max_bytes);
        if let Some(largest) = largest.filter(|largest| picture.bytes.len() > *largest as usize) {
            let detail = format!(
                "the slot takes at most {largest} bytes; the picture has {} as it would be served",
                picture.bytes.len()
            );
            return Err(Problem::invalid(vec![Violation::new("/image", "too_large", detail)]));
        }
        let value = json!({"src": format!("/v1/assets/{}", picture.name), "alt": form.fields.get("alt"), "width": picture.width, "height": picture.height});
        document.insert("value".into(), value);
        let dry = DryRun { dry_run: self.query.dry_run };
        let place = Place::new(Kind::Component, Some(self.creative.clone()));
        let desk = Desk::writing(self.app, self.caller, place)?;
        let bytes = serde_json::to_vec(&document).map_err(Problem::internal)?;
        // checked before the image is kept, and written after
        let expect = if self.overwrite { Expect::Any } else { Expect::Absent };
        let id = id.unwrap_or_else(|| super::naming::generate(Kind::Component, &bytes));
        let would = desk.write(&id, Precondition(expect), DryRun { dry_run: true }, &bytes).await?;
        if dry.dry_run {
            return Ok(would);
        }
        self.app.engine.assets.keep(self.account(), picture).await?;
        desk.write(&id, Precondition(expect), dry, &bytes).await
    }
}
