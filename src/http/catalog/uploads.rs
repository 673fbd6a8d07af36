//! Components by POST: one, many, a table of them, or one with its image.

use axum::{
    Json,
    extract::{Request, State},
    http::header,
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Answer, Desk, LARGEST, Place, Resource, WriteProblems, author,
    form::{ComponentForm, Form},
    naming, table,
};
use crate::{
    domain::{access::Scope, catalog::key::Kind, creative::ComponentDoc, ids::CreativeId, violation::Violation},
    engine::{
        authoring::{
            Along, Authoring, Expect,
            upload::{ComponentRow, Slots, Taken, Upload as Rest},
        },
        images::Picture,
    },
    http::{
        app::App,
        auth::Caller,
        body,
        etag::{MaybeMatch, Precondition},
        extract::{ApiPath, ApiQuery},
        page::DryRun,
        problem::{Problem, ProblemKind},
        rows::{ImportMode, ImportQuery, RowFormat, Rows},
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
pub(super) struct ComponentsTaken {
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
    pub(super) version: Option<i64>,
    /// What is wrong with those refused, of the first 10,000 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<ComponentFault>,
}

/// What is wrong with one of many components.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"line": 17, "column": "value.alt", "pointer": "/value/alt", "code": "empty", "detail": "must not be empty"}))]
pub(super) struct ComponentFault {
    /// The line that it begins on; of a JSON array its number. The first is 1.
    pub(super) line: u64,
    /// The column of a table; left out: the row as a whole, or no table.
    #[serde(skip_serializing_if = "String::is_empty")]
    column: String,
    /// Where in the component; left out: the component as a whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) pointer: String,
    /// Stable, machine-readable name of the rule that was broken.
    code: &'static str,
    /// What to change.
    detail: String,
}

/// Add components to a creative's draft
///
/// One as `application/json`, under a generated id; many as a JSON array of components that each have an
/// `id` as well, as `application/x-ndjson` with one on each line, or as `text/csv` whose first row names
/// the columns: `id`, `slot`, `value` (or `value.src`, `value.alt`, `value.amount`, `value.currency`),
/// `name`, `locale`, `weight`, `status`, `flight.start`, `flight.end`, `targeting` (JSON) and `version`.
/// Tables may be gzipped and are read as they arrive, up to 1 GiB, 1,000 rows in a commit; with an
/// `Idempotency-Key` up to 32 MiB. One with its image as `multipart/form-data`: the image is decoded, written
/// anew and cut to the slot's size in each template that has the slot.
///
/// An image of ours (`/v1/assets/...`) must be there, and the slot's limits hold for what it is really like;
/// its width and height may be left out. A creative has at most 100,000 components, of a slot at most 65,000, as
/// publishing takes no more.
///
/// Of many, one that exists already and is another one is refused, so that nobody's edit is lost: send
/// the `version` that you saw with the row to replace it, or `If-Match: *` to replace whatever there is.
/// `If-Match` with the ETag of the creative has nothing changed where its draft is another one by now.
/// Refused rows are named by line and column; the others are durable when the answer comes. With
/// `mode=all_or_nothing` nothing changes unless every row can be taken: 422 with the faults. Sending the
/// same again is safe. Needs a key with the scope `author`.
#[utoipa::path(
    post, path = "/v1/creatives/{creative}/components", tag = "components", operation_id = "create_component",
    params(Of, ImportQuery, MaybeMatch), security(("key" = [])),
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
    ApiQuery(query): ApiQuery<ImportQuery>,
    MaybeMatch(expect): MaybeMatch,
    request: Request,
) -> Answer {
    caller.must(Scope::Author)?;
    let dry = DryRun { dry_run: query.dry_run };
    let upload = Upload::of(&app, &caller, creative, query, expect);
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
    let place = Place::new(Kind::Component, Some(upload.creative.clone()));
    let id = naming::generate(Kind::Component, &bytes);
    let along = upload.along(&[]);
    Desk::writing(&app, &caller, place)?.write_along(&id, Precondition(Expect::Absent), dry, &bytes, along).await
}

/// Components being taken.
pub(super) struct Upload<'a> {
    app: &'a App,
    caller: &'a Caller,
    creative: CreativeId,
    query: ImportQuery,
    /// What the sender believes of the creative; or that whatever there is may be replaced.
    expect: Expect,
    pub(super) taken: ComponentsTaken,
    /// Refused components that are told.
    told: usize,
}

/// Rows on their way.
pub(super) struct Way {
    pub(super) upload: Rest,
    held: Vec<ComponentRow>,
    is_table: bool,
}

impl<'a> Upload<'a> {
    /// Refused components that are told at most.
    pub(super) const TOLD: usize = 10_000;

    pub(super) fn of(
        app: &'a App,
        caller: &'a Caller,
        creative: CreativeId,
        query: ImportQuery,
        expect: Expect,
    ) -> Self {
        Self { app, caller, creative, query, expect, taken: ComponentsTaken::default(), told: 0 }
    }

    fn account(&self) -> u32 {
        self.caller.account.number()
    }

    fn whole(&self) -> bool {
        self.query.mode == ImportMode::AllOrNothing
    }

    fn along<'p>(&self, pictures: &'p [Picture]) -> Along<'p> {
        let creative = if let Expect::Version(seen) = self.expect { Some(seen) } else { None };
        Along { pictures, creative }
    }

    pub(super) async fn begin(&self, is_table: bool) -> Result<(Slots, Way), Problem> {
        let begun = self.app.engine.authoring.upload(self.account(), &self.creative, self.expect).await?;
        let (slots, mut upload) = begun;
        upload.whole = self.whole();
        Ok((slots, Way { upload, held: Vec::new(), is_table }))
    }

    async fn table(mut self, mut body: Rows, format: RowFormat) -> Answer {
        let (slots, mut way) = self.begin(format == RowFormat::Csv).await?;
        let columns = match format {
            RowFormat::NdJson => None,
            RowFormat::Csv => Some(table::Columns::of(body.next().await?)?),
        };
        while let Some((line, row)) = body.next().await? {
            let read = match &columns {
                Some(columns) => columns.read(&row, &slots),
                None => table::object(&row),
            };
            self.hold(line, read, &mut way).await?;
        }
        self.finish(way).await
    }

    async fn list(mut self, bytes: &[u8]) -> Answer {
        let items: Vec<Value> = serde_json::from_slice(bytes).map_err(|error| {
            let detail = format!("line {}, column {}: {error}", error.line(), error.column());
            Problem::new(ProblemKind::MalformedJson, detail)
        })?;
        let (_, mut way) = self.begin(false).await?;
        for (at, item) in items.into_iter().enumerate() {
            let object = match item {
                Value::Object(object) => Ok(object),
                _ => Err(vec![Violation::new("", "type", "must be an object")]),
            };
            self.hold(at as u64 + 1, object, &mut way).await?;
        }
        self.finish(way).await
    }

    /// Keeps a row until there are enough of them.
    pub(super) async fn hold(
        &mut self,
        line: u64,
        read: Result<Map<String, Value>, Vec<Violation>>,
        way: &mut Way,
    ) -> Result<(), Problem> {
        self.taken.rows += 1;
        match read.and_then(|object| table::component(&self.app.engine.authoring, line, object)) {
            Ok(row) => way.held.push(row),
            Err(faults) => self.refuse(line, faults, way.is_table),
        }
        if self.whole() && way.held.len() > HELD {
            let detail = format!("All or nothing is for at most {HELD} components.");
            return Err(Problem::new(ProblemKind::PayloadTooLarge, detail));
        }
        if !self.whole() && way.held.len() == Authoring::BATCH {
            self.take(way).await?;
        }
        Ok(())
    }

    /// Takes the rows that are held.
    pub(super) async fn take(&mut self, way: &mut Way) -> Result<(), Problem> {
        let rows = std::mem::take(&mut way.held);
        let mut author = author(self.caller, DryRun { dry_run: self.query.dry_run });
        // with a fault known already nothing will be written; what else is wrong is told all the same
        author.dry_run |= self.whole() && self.taken.rejected > 0;
        let authoring = &self.app.engine.authoring;
        let made = authoring.put_components(&author, &mut way.upload, &rows).await?;
        let Taken { created, replaced, unchanged, refused, version } = made;
        self.taken.created += created;
        self.taken.replaced += replaced;
        self.taken.unchanged += unchanged;
        self.taken.version = version.or(self.taken.version);
        refused.into_iter().for_each(|(line, faults)| self.refuse(line, faults, way.is_table));
        Ok(())
    }

    fn refuse(&mut self, line: u64, faults: Vec<Violation>, is_table: bool) {
        self.taken.rejected += 1;
        if self.told < Self::TOLD {
            self.told += 1;
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

    async fn finish(mut self, mut way: Way) -> Answer {
        self.take(&mut way).await?;
        let pointer = |fault: &ComponentFault| format!("/{}{}", fault.line, fault.pointer);
        Ok(Json(self.close(pointer, &[])?).into_response())
    }

    /// What became of them all; `pointer` says where in what was sent a fault stands, `rules` what is wrong with
    /// pairing rules that came with them.
    pub(super) fn close(
        mut self,
        pointer: impl Fn(&ComponentFault) -> String,
        rules: &[Violation],
    ) -> Result<ComponentsTaken, Problem> {
        self.taken.errors.sort_by_key(|fault| fault.line);
        if self.whole() && (self.taken.rejected > 0 || !rules.is_empty()) {
            let fault = |fault: ComponentFault| {
                let pointer = pointer(&fault);
                let detail =
                    if fault.column.is_empty() { fault.detail } else { format!("{}: {}", fault.column, fault.detail) };
                Violation::new(pointer, fault.code, detail)
            };
            let detail = match (self.taken.rejected, self.taken.rows) {
                (0, _) => "Pairing rules cannot be taken, so nothing changed.".to_owned(),
                (some, all) => format!("{some} of {all} rows cannot be taken, so nothing changed."),
            };
            let faults = self.taken.errors.into_iter().map(fault).chain(rules.iter().cloned());
            let problem = Problem::invalid(faults.collect());
            return Err(Problem { detail, ..problem });
        }
        Ok(self.taken)
    }

    /// One component with its image.
    async fn form(self, request: Request) -> Answer {
        let form = Form::read(request).await?;
        let (slots, _) = self.begin(false).await?;
        let (id, mut document, fits) = form.document(&slots)?;
        let made = self.app.engine.assets.renditions(form.image.clone(), fits).await;
        let pictures = made.map_err(|error| Problem::from(error).under("/image"))?;
        document.insert("value".into(), form.value(&slots, &pictures)?);
        let dry = DryRun { dry_run: self.query.dry_run };
        let place = Place::new(Kind::Component, Some(self.creative.clone()));
        let desk = Desk::writing(self.app, self.caller, place)?;
        let bytes = serde_json::to_vec(&document).map_err(Problem::internal)?;
        // checked before the image is kept, and written after
        let expect = Precondition(if self.expect == Expect::Present { Expect::Any } else { Expect::Absent });
        let id = id.unwrap_or_else(|| naming::generate(Kind::Component, &bytes));
        let along = self.along(&pictures);
        let would = desk.write_along(&id, expect, DryRun { dry_run: true }, &bytes, along).await?;
        if dry.dry_run {
            return Ok(would);
        }
        for picture in &pictures {
            self.app.engine.assets.keep(self.account(), picture.clone()).await?;
        }
        desk.write_along(&id, expect, dry, &bytes, along).await
    }
}
