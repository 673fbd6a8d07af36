//! Files of products, row by row.

use std::{
    io::{self, BufRead},
    ops::ControlFlow,
};

use super::{
    csv,
    document::FeedFormat,
    item::{Item, Settings},
    json,
    source::Lines,
    xml,
};
use crate::domain::violation::Violation;

/// Why a file cannot be read on, whatever becomes of its rows.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It breaks off.
    #[error("the file broke off near line {line}: {error}")]
    BrokenOff {
        /// The line.
        line: u64,
        /// Why.
        error: io::Error,
    },
    /// A row is longer than a row may be.
    #[error("the row on line {line} has more than 262144 bytes; is a quote or a bracket never closed?")]
    TooLong {
        /// The line.
        line: u64,
    },
    /// It is not of the format that it should be of.
    #[error("line {line}: {detail}")]
    Malformed {
        /// The line.
        line: u64,
        /// What is wrong there.
        detail: String,
    },
    /// The first row lacks columns.
    #[error("the first row must name the columns id, title, link and image_link; it lacks {0}")]
    Columns(String),
}

/// Takes rows: the line that each begins on, and the product or every fault of it, by column. It may
/// end the reading.
pub(super) type Sink<'a> = dyn FnMut(u64, Result<Item, Vec<Violation>>) -> ControlFlow<()> + 'a;

/// Reads a file row by row; no more than one row of it is held at a time. `sink` takes the line that
/// each row begins on, and the product or every fault of it, by column; it may end the reading.
///
/// # Errors
/// The file cannot be read on.
pub fn read(
    format: FeedFormat,
    settings: &Settings<'_>,
    source: impl BufRead,
    sink: &mut Sink<'_>,
) -> Result<(), Unreadable> {
    let mut lines = Lines::new(source);
    lines.skip_mark().map_err(|error| Unreadable::BrokenOff { line: 1, error })?;
    match format {
        FeedFormat::Csv => csv::read(b',', settings, &mut lines, sink),
        FeedFormat::Tsv => csv::read(b'\t', settings, &mut lines, sink),
        FeedFormat::Json => json::read(settings, &mut lines, sink),
        FeedFormat::GoogleXml => xml::read(settings, lines, sink),
    }
}

/// What an error of reading means for the row that begins on a line.
pub(super) fn broken<R: BufRead>(lines: &Lines<R>, line: u64, error: io::Error) -> Unreadable {
    if lines.is_spent() { Unreadable::TooLong { line } } else { Unreadable::BrokenOff { line, error } }
}
