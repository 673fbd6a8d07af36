//! Bodies of many rows, CSV or NDJSON, read piece by piece: what is held at a time is one row.

use std::{io::Write as _, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::problem::{Problem, ProblemKind};
use crate::domain::violation::Violation;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFormat {
    /// `text/csv` (RFC 4180) whose first row names the columns.
    Csv,
    /// `application/x-ndjson`: a JSON value on each line.
    NdJson,
}

impl RowFormat {
    /// The format that a body claims to be in; `None` for any other.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
        if kind.eq_ignore_ascii_case("text/csv") {
            Some(Self::Csv)
        } else if ["application/x-ndjson", "application/ndjson", "application/jsonl"]
            .iter()
            .any(|name| kind.eq_ignore_ascii_case(name))
        {
            Some(Self::NdJson)
        } else {
            None
        }
    }
}

/// What becomes of a body with rows that are refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportMode {
    /// The other rows are taken.
    #[default]
    ValidOnly,
    /// Nothing is.
    AllOrNothing,
}

/// How to import.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ImportQuery {
    /// What becomes of an import of which some is refused: the rest is taken, or nothing is. `all_or_nothing` takes
    /// at most 100,000 rows.
    #[serde(default)]
    #[param(inline, required = false, default = "valid_only")]
    pub mode: ImportMode,
    /// Check everything and change nothing; the answer shows what would be.
    #[serde(default)]
    #[param(required = false, default = false)]
    pub dry_run: bool,
}

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"line": 17, "code": "invalid_user", "detail": "a user key must be 1 to 256 bytes long, not 0"}))]
pub struct RowFault {
    /// The line that the row begins on; the first is 1.
    pub line: u64,
    /// Where in the row, as if it were one line of NDJSON; left out: the row as a whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// Stable, machine-readable name of the rule that was broken.
    pub code: &'static str,
    /// What to change.
    pub detail: String,
}

/// The rows that were refused: all are counted, the first are told.
#[derive(Debug, Default)]
pub struct RowFaults {
    /// How many rows were refused.
    pub count: u64,
    /// The first of them.
    pub first: Vec<RowFault>,
}

impl RowFaults {
    /// Rows that are told.
    const TOLD: usize = 100;

    /// Notes that a row is refused.
    pub fn push(&mut self, line: u64, (code, detail): (&'static str, String)) {
        self.push_all(line, vec![Violation { pointer: String::new(), code, detail }]);
    }

    /// Notes that a row is refused, for these reasons.
    pub fn push_all(&mut self, line: u64, faults: Vec<Violation>) {
        self.count += 1;
        if self.first.len() < Self::TOLD {
            let fault = |Violation { pointer, code, detail }| RowFault { line, pointer, code, detail };
            self.first.extend(faults.into_iter().map(fault));
        }
    }

    /// The refusal of the whole body because of these rows.
    #[must_use]
    pub fn into_problem(self, consequence: &str) -> Problem {
        let fault =
            |fault: RowFault| Violation::new(format!("/{}{}", fault.line, fault.pointer), fault.code, fault.detail);
        let detail = format!("{} rows cannot be read, so {consequence}.", self.count);
        let problem = Problem::invalid(self.first.into_iter().map(fault).collect());
        Problem { detail, ..problem }
    }
}

/// The rows of a body.
pub struct Rows {
    body: Body,
    unzip: Option<MultiGzDecoder<Vec<u8>>>,
    splitter: Splitter,
    /// Bytes left of those that the body may have.
    left: u64,
    ended: bool,
}

impl Rows {
    /// The most bytes of a body, as sent and after decompression.
    pub const LARGEST: u64 = 1 << 30;
    /// The longest wait for the next piece.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// The rows of a request's body.
    ///
    /// # Errors
    /// 415 for a coding other than gzip.
    pub fn of(request: Request, format: RowFormat) -> Result<Self, Problem> {
        let unzip = match request.headers().get(header::CONTENT_ENCODING).map(|coding| coding.as_bytes()) {
            None => None,
            Some(coding) if coding.eq_ignore_ascii_case(b"identity") => None,
            Some(coding) if coding.eq_ignore_ascii_case(b"gzip") => Some(MultiGzDecoder::new(Vec::new())),
            Some(_) => {
                let detail = "The body may be coded with gzip or not at all.";
                return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
            }
        };
        let splitter = Splitter::new(format == RowFormat::Csv);
        Ok(Self { body: request.into_body(), unzip, splitter, left: Self::LARGEST, ended: false })
    }

    /// The next row that is not empty, with the line it begins on.
    ///
    /// # Errors
    /// The body breaks off, takes too long, is too large or is no gzip; a row is too long.
    pub async fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, Problem> {
        loop {
            match self.splitter.next(self.ended) {
                Split::Row(line, row) => return Ok(Some((line, row))),
                Split::TooLong(line) => {
                    let detail = format!("The row on line {line} has more than {} bytes.", Splitter::LONGEST);
                    return Err(Problem::new(ProblemKind::PayloadTooLarge, detail));
                }
                Split::More if self.ended => return Ok(None),
                Split::More => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> Result<(), Problem> {
        let broken = || Problem::new(ProblemKind::BadRequest, "The body broke off.");
        let no_gzip = |_| Problem::new(ProblemKind::BadRequest, "The body is not gzip as Content-Encoding says.");
        let frame = timeout(Self::PATIENCE, self.body.frame()).await;
        let frame =
            frame.map_err(|_| Problem::new(ProblemKind::RequestTimeout, "The body took too long to arrive."))?;
        let piece = match frame {
            Some(frame) => frame.map_err(|error| broken().caused_by(error))?.into_data().unwrap_or_default(),
            None => {
                self.ended = true;
                Bytes::new()
            }
        };
        let plain = match &mut self.unzip {
            None => piece.into(),
            Some(unzip) => {
                // In small pieces, so that a bomb is noticed before it is unpacked.
                let mut plain = Vec::new();
                for part in piece.chunks(4 << 10) {
                    unzip.write_all(part).map_err(no_gzip)?;
                    plain.append(unzip.get_mut());
                    if plain.len() as u64 > self.left {
                        break;
                    }
                }
                if self.ended {
                    unzip.try_finish().map_err(no_gzip)?;
                    plain.append(unzip.get_mut());
                }
                plain
            }
        };
        self.left = self.left.checked_sub(plain.len() as u64).ok_or_else(|| {
            Problem::new(ProblemKind::PayloadTooLarge, format!("The body may have at most {} bytes.", Self::LARGEST))
        })?;
        self.splitter.feed(&plain);
        Ok(())
    }
}

enum Split {
    /// A row without its end of line, and the line it begins on.
    Row(u64, Vec<u8>),
    TooLong(u64),
    /// More bytes are needed.
    More,
}

/// Cuts bytes into rows. Within the quotes of CSV a line may end without ending the row.
struct Splitter {
    quotes: bool,
    held: Vec<u8>,
    /// Where the row begins, and how far it was looked at.
    from: usize,
    seen: usize,
    inside: bool,
    /// The line of `from`, and lines that end within the row so far.
    line: u64,
    lines: u64,
}

impl Splitter {
    /// The longest row, in bytes.
    const LONGEST: usize = 256 << 10;

    fn new(quotes: bool) -> Self {
        Self { quotes, held: Vec::new(), from: 0, seen: 0, inside: false, line: 1, lines: 0 }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.held.drain(..self.from);
        self.seen -= self.from;
        self.from = 0;
        self.held.extend_from_slice(bytes);
    }

    fn next(&mut self, ended: bool) -> Split {
        loop {
            let end = self.held[self.seen..].iter().position(|&byte| match byte {
                b'"' if self.quotes => {
                    self.inside = !self.inside;
                    false
                }
                b'\n' => {
                    self.lines += 1;
                    !self.inside
                }
                _ => false,
            });
            let (upto, after) = match end {
                Some(at) => (self.seen + at, self.seen + at + 1),
                None if ended && self.from < self.held.len() => (self.held.len(), self.held.len()),
                None => {
                    self.seen = self.held.len();
                    let long = self.seen - self.from > Self::LONGEST;
                    return if long { Split::TooLong(self.line) } else { Split::More };
                }
            };
            let row = &self.held[self.from..upto];
            let row = row.strip_suffix(b"\r").unwrap_or(row);
            let row = if self.line == 1 { row.strip_prefix(b"\xef\xbb\xbf").unwrap_or(row) } else { row };
            let (line, row) = (self.line, row.to_vec());
            (self.from, self.seen, self.inside) = (after, after, false);
            self.line += std::mem::take(&mut self.lines);
            if row.len() > Self::LONGEST {
                return Split::TooLong(line);
            }
            if !row.iter().all(u8::is_ascii_whitespace) {
                return Split::Row(line, row);
            }
        }
    }
}

/// The fields of a CSV row (RFC 4180).
///
/// # Errors
/// What is wrong with it.
pub fn fields(row: &[u8]) -> Result<Vec<String>, (&'static str, String)> {
    let text = std::str::from_utf8(row).map_err(|_| ("not_utf8", "must be UTF-8".to_owned()))?;
    let fault = |detail: &str| Err(("malformed_csv", detail.to_owned()));
    let (mut fields, mut rest) = (Vec::new(), text);
    loop {
        let after = if let Some(quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            let mut inside = quoted;
            loop {
                let Some(end) = inside.find('"') else { return fault("a quote is never closed") };
                field.push_str(&inside[..end]);
                inside = &inside[end + 1..];
                match inside.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        inside = more;
                    }
                    None => break,
                }
            }
            fields.push(field);
            inside
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return fault("a field with quotes must be quoted as a whole");
            }
            fields.push(rest[..end].to_owned());
            &rest[end..]
        };
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(fields),
            None => return fault("a closing quote must be followed by a comma"),
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn split(quotes: bool, pieces: &[&[u8]]) -> Vec<(u64, String)> {
        let (mut splitter, mut rows) = (Splitter::new(quotes), Vec::new());
        for (piece, ended) in pieces.iter().map(|piece| (*piece, false)).chain([(&b""[..], true)]) {
            splitter.feed(piece);
            while let Split::Row(line, row) = splitter.next(ended) {
                rows.push((line, String::from_utf8(row).expect("text")));
            }
        }
        rows
    }

    #[test]
    fn rows_keep_their_lines() {
        let row = |line, text: &str| (line, text.to_owned());
        assert_eq!(split(false, &[b"\xef\xbb\xbfa\r\n\n", b"b", b"c\nd"]), [row(1, "a"), row(3, "bc"), row(4, "d")]);
        let quoted: &[u8] = b"a,\"x\ny\"\nb";
        assert_eq!(split(true, &[quoted]), [row(1, "a,\"x\ny\""), row(3, "b")]);
        assert_eq!(split(false, &[quoted]), [row(1, "a,\"x"), row(2, "y\""), row(3, "b")]);
        let long = vec![b'x'; Splitter::LONGEST + 1];
        let mut splitter = Splitter::new(true);
        splitter.feed(&long);
        assert!(matches!(splitter.next(false), Split::TooLong(1)));
    }

    #[test]
    fn fields_are_read_by_the_letter() {
        assert_eq!(fields(b"a,,\"b,\"\"c\"\"\"").expect("fields"), ["a", "", "b,\"c\""]);
        assert_eq!(fields(b"").expect("fields"), [""]);
        for bad in [&b"\"a"[..], b"a\"b", b"\"a\"b", b"\xff"] {
            assert!(fields(bad).is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn zipped_bodies_are_read_in_pieces_and_bombs_refused() {
        let zip = |plain: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).expect("memory");
            encoder.finish().expect("memory")
        };
        let rows = |bytes: Vec<u8>| {
            let mut request = Request::new(Body::from(bytes));
            request.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().expect("a value"));
            Rows::of(request, RowFormat::NdJson).expect("gzip is read")
        };
        let mut two = rows(zip(b"1\n2\n"));
        assert_eq!(two.next().await.expect("a row"), Some((1, b"1".to_vec())));
        assert_eq!(two.next().await.expect("a row"), Some((2, b"2".to_vec())));
        assert_eq!(two.next().await.expect("the end"), None);
        let mut bomb = rows(zip(&vec![b'x'; 8 << 20]));
        assert_eq!(bomb.next().await.expect_err("refused").kind, ProblemKind::PayloadTooLarge);
        assert_eq!(rows(b"plain".to_vec()).next().await.expect_err("refused").kind, ProblemKind::BadRequest);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_whatever_the_pieces(
            rows in prop::collection::vec(prop::collection::vec("[a-z,\"\n ]{0,6}", 2..4), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let quote = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quote).collect::<Vec<_>>().join(",");
            let text = rows.iter().map(line).collect::<Vec<_>>().join("\r\n");
            let (a, b) = text.as_bytes().split_at(cut.index(text.len()));
            let read: Vec<_> = split(true, &[a, b]).iter().map(|(_, row)| fields(row.as_bytes()).expect("fields")).collect();
            prop_assert_eq!(read, rows);
        }
    }
}
