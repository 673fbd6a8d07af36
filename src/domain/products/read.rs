//! Files of products, row by row.

use std::io::BufRead;

use super::{
    csv,
    document::FeedFormat,
    item::Settings,
    json,
    sink::{Sink, Unreadable},
    source::Lines,
    xml,
};

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
