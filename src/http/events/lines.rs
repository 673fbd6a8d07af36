//! Bodies of one JSON document a line, read as they arrive.

use std::{io::Write as _, time::Duration};

use axum::{body::Body, extract::Request, http::header};
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::item::LARGEST;
use crate::http::{
    problem::{Problem, ProblemKind},
    rows::Rows,
};

/// How long the next piece of a body may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is unpacked at a time: a bomb grows a thousandfold.
const MOUTHFUL: usize = 4 << 10;

/// The lines of a body, plain or gzipped. Never holds more than a line, or a piece of the body.
pub(super) struct Lines {
    body: Body,
    unpacking: Option<MultiGzDecoder<Vec<u8>>>,
    /// Received and not yet unpacked.
    packed: bytes::Bytes,
    /// What was received; up to `from` it is done with.
    rest: Vec<u8>,
    from: usize,
    /// Where the search for the end of the line goes on.
    searched: usize,
    /// Bytes that may still come, unpacked.
    left: u64,
    ended: bool,
}

impl Lines {
    pub(super) fn of(request: Request) -> Result<Self, Problem> {
        let unpacking = match request.headers().get(header::CONTENT_ENCODING).map(|coding| coding.as_bytes()) {
            None => None,
            Some(coding) if coding.eq_ignore_ascii_case(b"identity") => None,
            Some(coding) if coding.eq_ignore_ascii_case(b"gzip") => Some(MultiGzDecoder::new(Vec::new())),
            Some(_) => {
                let detail = "The body may be coded with gzip or not at all.";
                return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
            }
        };
        let (packed, rest) = (bytes::Bytes::new(), Vec::new());
        let left = Rows::LARGEST;
        Ok(Self { body: request.into_body(), unpacking, packed, rest, from: 0, searched: 0, left, ended: false })
    }

    /// The next line that is not blank; one that is too long comes without its end. None at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        loop {
            while let Some(length) = self.rest[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.rest[self.from..self.searched + length].trim_ascii();
                let line = (!line.is_empty()).then(|| line.to_vec());
                self.from = self.searched + length + 1;
                self.searched = self.from;
                if line.is_some() {
                    return Ok(line);
                }
            }
            self.rest.drain(..std::mem::take(&mut self.from));
            // Of a line that is too long only as much is kept as shows that it is.
            self.rest.truncate(LARGEST + 1);
            self.searched = self.rest.len();
            if self.ended {
                let line = std::mem::take(&mut self.rest).trim_ascii().to_vec();
                self.searched = 0;
                return Ok((!line.is_empty()).then_some(line));
            }
            self.more().await?;
        }
    }

    /// Takes in the next piece of the body.
    async fn more(&mut self) -> Result<(), Problem> {
        let broken = || Problem::new(ProblemKind::BadRequest, "The body is not gzip as Content-Encoding says.");
        if self.packed.is_empty() {
            let frame = timeout(PATIENCE, self.body.frame()).await;
            let frame =
                frame.map_err(|_| Problem::new(ProblemKind::RequestTimeout, "The body took too long to arrive."))?;
            match frame.transpose() {
                Ok(Some(frame)) => self.packed = frame.into_data().unwrap_or_default(),
                Ok(None) => {
                    self.ended = true;
                    if let Some(unpacking) = &mut self.unpacking {
                        unpacking.try_finish().map_err(|_| broken())?;
                        self.rest.append(unpacking.get_mut());
                    }
                    return Ok(());
                }
                Err(error) => return Err(Problem::new(ProblemKind::BadRequest, "The body broke off.").caused_by(error)),
            }
        }
        let (piece, before) = (self.packed.split_to(self.packed.len().min(MOUTHFUL)), self.rest.len());
        match &mut self.unpacking {
            None => self.rest.extend_from_slice(&piece),
            Some(unpacking) => {
                unpacking.write_all(&piece).map_err(|_| broken())?;
                self.rest.append(unpacking.get_mut());
                // what is packed well keeps this busy for long without waiting for the client
                tokio::task::yield_now().await;
            }
        }
        self.left = self.left.checked_sub((self.rest.len() - before) as u64).ok_or_else(|| {
            Problem::new(ProblemKind::PayloadTooLarge, format!("The body may have at most {} bytes.", Rows::LARGEST))
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(body: impl Into<Body>, coding: Option<&'static str>) -> Result<Vec<String>, ProblemKind> {
        let mut request = Request::new(body.into());
        if let Some(coding) = coding {
            request.headers_mut().insert(header::CONTENT_ENCODING, coding.parse().expect("a value"));
        }
        let mut lines = Lines::of(request).map_err(|problem| problem.kind)?;
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.map_err(|problem| problem.kind)? {
            all.push(String::from_utf8(line).expect("text"));
        }
        Ok(all)
    }

    #[tokio::test]
    async fn lines_end_with_a_newline_or_the_body() {
        assert_eq!(lines("{\"a\":1}\r\n\n  \n{}\n[3]", None).await.expect("lines"), ["{\"a\":1}", "{}", "[3]"]);
        assert_eq!(lines("", None).await.expect("lines"), Vec::<String>::new());
        assert_eq!(lines("x\n", Some("identity")).await.expect("lines"), ["x"]);
    }

    #[tokio::test]
    async fn a_packed_body_is_the_same() {
        let plain: String = (0..10_000).map(|at| format!("{{\"at\":{at}}}\n")).collect();
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(plain.as_bytes()).expect("packed");
        let packed = packer.finish().expect("packed");
        assert_eq!(lines(packed.clone(), Some("gzip")).await.expect("lines").join("\n") + "\n", plain);
        assert_eq!(lines(packed[..packed.len() / 2].to_vec(), Some("gzip")).await, Err(ProblemKind::BadRequest));
        assert_eq!(lines("x", Some("br")).await, Err(ProblemKind::UnsupportedMediaType));
    }

    #[tokio::test]
    async fn many_lines_in_few_bytes_are_read_in_one_pass() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&vec![b'\n'; 64 << 20]).expect("packed");
        packer.write_all(b"{}").expect("packed");
        let packed = packer.finish().expect("packed");
        // Moving the remainder at every line would take days.
        assert_eq!(lines(packed, Some("gzip")).await.expect("lines"), ["{}"]);
    }

    #[tokio::test]
    async fn a_long_line_is_not_held() {
        let body = format!("{}\n{{}}\n", "x".repeat(3 * LARGEST));
        let found = lines(body, None).await.expect("lines");
        assert_eq!((found[0].len(), found[1].as_str()), (LARGEST + 1, "{}"));
    }
}
