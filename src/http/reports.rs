//! Reports.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{app::App, auth::Caller, extract::ApiQuery, problem::Problem};
use crate::{
    domain::{
        access::Scope,
        audience::{preview::Estimate, report::Shown},
        ids::{SegmentKey, TraitName},
        values::Millis,
        violation::Violation,
    },
    engine::reports::{SegmentQuestion, SegmentReport},
    problems,
};

/// The routes of this module.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(segments))
}

problems!(ReportProblems = [BadRequest, Unauthorized, Forbidden, Invalid, Overloaded, StoreUnavailable]);

/// What to report on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SegmentsQuery {
    /// Segments, with commas between them, at most 50. Left out: the first 20 of the account.
    #[param(required = false, example = "vip,basket_abandoner")]
    segments: Option<String>,
    /// The first day of entries and exits, in UTC. Left out: as far back as they are kept.
    #[serde(default, deserialize_with = "day")]
    #[param(value_type = String, required = false, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-11-01")]
    from: Option<i64>,
    /// The last day. Left out: today.
    #[serde(default, deserialize_with = "day")]
    #[param(value_type = String, required = false, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-11-22")]
    to: Option<i64>,
    /// Traits that may tell a protected attribute and are shown all the same, with commas between them.
    #[param(required = false, example = "age")]
    allow_protected: Option<String>,
    /// Which form the answer has. Left out: CSV where `Accept` asks for `text/csv`, else JSON.
    #[param(inline, required = false)]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ReportFormat)]
pub(super) enum Format {
    /// One document.
    Json,
    /// One table.
    Csv,
}

/// A day, counted from 1970-01-01.
pub(super) fn day<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let text = String::deserialize(from)?;
    let digits = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let at = format!("{text}T00:00:00.000Z").parse::<Millis>().ok().filter(|_| digits);
    let at = at.ok_or_else(|| D::Error::custom("must be a day such as 2026-11-22"))?;
    Ok(Some(at.0.div_euclid(86_400_000)))
}

/// The names in a list, and what is wrong with those that are none.
fn names<T: std::str::FromStr<Err: ToString>>(list: Option<&str>, field: &str, faults: &mut Vec<Violation>) -> Vec<T> {
    let texts = list.into_iter().flat_map(|list| list.split(',')).map(str::trim).enumerate();
    let mut found = Vec::new();
    for (at, text) in texts {
        match text.parse::<T>() {
            Ok(name) => found.push(name),
            Err(error) => faults.push(Violation::new(format!("/{field}/{at}"), "pattern", error.to_string())),
        }
    }
    found
}

/// Report on segments
///
/// Segments side by side: how many people are in each, with an interval that holds nineteen times of
/// twenty, and in any two of them; how often each was entered and left on each day (UTC; of
/// transitions that are told, see the feed of a segment, kept for 30 days); and which values of
/// traits are more or less common in it than among everybody, with an index of 100 for as common.
/// Sizes, overlaps and traits are those of a sample of people in memory at this moment, answered by
/// the evaluator that decides; `exact` says whether the sample is everybody.
///
/// Traits that may tell a protected attribute (age, gender, religion, ethnicity, nationality, health,
/// politics, sexual orientation, unions, genes and bodies, family, crimes) are left out, and named
/// in `left_out`, unless `allow_protected` names them. Values of fewer than 5 people of the sample in
/// the segment are never told. Of all traits the 30 that most people have are shown.
///
/// As CSV it is one table: a row for each size, day, pair and value of a trait, with its kind in the
/// column `row`; texts that a spreadsheet could take for a formula begin with an apostrophe. Faults of
/// the query have pointers such as `/segments/0`. Needs a key with the scope `report`.
#[utoipa::path(
    get, path = "/v1/reports/segments", tag = "reports", operation_id = "report_segments", params(SegmentsQuery),
    security(("key" = [])),
    responses(
        (status = 200, description = "The report.", content(
            (SegmentReport = "application/json"),
            (String = "text/csv", example = "row,segment,other,day,trait,value,people,at_least,at_most,share,everywhere,index,entered,left\nsize,vip,,,,,50000,46400,53900,0.05,,,310,120\n"),
        )),
        ReportProblems
    )
)]
async fn segments(
    State(app): State<App>,
    caller: Caller,
    ApiQuery(query): ApiQuery<SegmentsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must(Scope::Report)?;
    let mut faults = Vec::new();
    let segments: Vec<SegmentKey> = names(query.segments.as_deref(), "segments", &mut faults);
    let allow_protected: Vec<TraitName> = names(query.allow_protected.as_deref(), "allow_protected", &mut faults);
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let segments = query.segments.is_some().then_some(segments);
    let question = SegmentQuestion { segments, from: query.from, to: query.to, allow_protected };
    let report = app.engine.reports.segments(&caller.account, question).await?;
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let csv = query.format.map_or(accepts.contains("text/csv"), |format| format == Format::Csv);
    if !csv {
        return Ok(Json(report).into_response());
    }
    let kind = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    let name = HeaderValue::from_static("attachment; filename=\"segments.csv\"");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], table(&report)).into_response())
}

const COLUMNS: [&str; 14] = [
    "row",
    "segment",
    "other",
    "day",
    "trait",
    "value",
    "people",
    "at_least",
    "at_most",
    "share",
    "everywhere",
    "index",
    "entered",
    "left",
];

/// A line of the table, by column.
#[derive(Default)]
struct Line([String; COLUMNS.len()]);

impl Line {
    fn of(row: &str, segment: &SegmentKey) -> Self {
        Self::default().with("row", row).with("segment", segment)
    }

    fn with(mut self, column: &str, value: impl ToString) -> Self {
        if let Some(at) = COLUMNS.iter().position(|known| *known == column) {
            self.0[at] = value.to_string();
        }
        self
    }

    fn sized(self, size: &Estimate) -> Self {
        let people = size.people.map(|people| people.to_string()).unwrap_or_default();
        self.with("people", people).with("at_least", size.at_least).with("at_most", size.at_most)
    }

    fn write(&self, out: &mut String) {
        for (at, cell) in self.0.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            if cell.contains([',', '"', '\n', '\r']) {
                out.push_str(&format!("\"{}\"", cell.replace('"', "\"\"")));
            } else {
                out.push_str(cell);
            }
        }
        out.push_str("\r\n");
    }
}

/// A text that no spreadsheet takes for a formula.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn written(value: &Shown) -> String {
    match value {
        Shown::Bool(yes) => yes.to_string(),
        Shown::Number(number) => number.to_string(),
        Shown::Text(text) => harmless(text),
        Shown::Band { from: Some(from), below: Some(below) } => format!("{from} to below {below}"),
        Shown::Band { from: Some(from), below: None } => format!("from {from}"),
        Shown::Band { from: None, below: Some(below) } => format!("below {below}"),
        Shown::Band { from: None, below: None } => "any".to_owned(),
    }
}

fn table(report: &SegmentReport) -> String {
    let mut lines = Vec::new();
    for one in &report.segments {
        let size = Line::of("size", &one.key).sized(&one.size).with("share", one.share);
        lines.push(size.with("entered", one.entered).with("left", one.left));
        for day in &one.days {
            let line = Line::of("day", &one.key).with("day", day.day);
            lines.push(line.with("entered", day.entered).with("left", day.left));
        }
        for of in &one.traits {
            let known = Line::of("trait_known", &one.key).with("trait", &of.name);
            lines.push(known.with("share", of.known).with("everywhere", of.known_everywhere));
            for value in &of.values {
                let line = Line::of("trait", &one.key).with("trait", &of.name).with("value", written(&value.value));
                let line = line.sized(&value.people).with("share", value.share).with("everywhere", value.everywhere);
                lines.push(line.with("index", value.index.map(|index| index.to_string()).unwrap_or_default()));
            }
        }
    }
    for pair in &report.overlap {
        let share = pair.of_one.map(|share| share.to_string()).unwrap_or_default();
        lines.push(Line::of("overlap", &pair.one).with("other", &pair.other).sized(&pair.both).with("share", share));
    }
    let mut out = COLUMNS.join(",");
    out.push_str("\r\n");
    lines.iter().for_each(|line| line.write(&mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        let mut out = String::new();
        let key = "vip".parse().expect("a key");
        let text = Shown::Text("=cmd|' /C calc'!A0, \"x\"".into());
        Line::of("trait", &key).with("value", written(&text)).with("share", 0.5).write(&mut out);
        assert_eq!(out, "trait,vip,,,,\"'=cmd|' /C calc'!A0, \"\"x\"\"\",,,,0.5,,,,\r\n");
        assert_eq!(written(&Shown::Band { from: Some(-1.5), below: Some(20.0) }), "-1.5 to below 20");
        assert_eq!(written(&Shown::Number(-3.0)), "-3");
    }

    #[test]
    fn days_are_days() {
        let read = |text: &str| {
            axum::extract::Query::<SegmentsQuery>::try_from_uri(&format!("/?from={text}").parse().expect("an address"))
                .map(|query| query.0.from)
                .ok()
        };
        assert_eq!(read("1970-01-02"), Some(Some(1)));
        assert_eq!(read("2026-11-22"), Some(Some(20_779)));
        for bad in ["2026-13-01", "2026-02-30", "yesterday", "", "2026-11-22T00:00:00Z"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
