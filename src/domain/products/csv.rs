//! Rows with a separator between their cells; the first row names the columns.

use std::io::BufRead;

use super::{
    item::{Column, Item, Row, Settings},
    read::{Sink, Unreadable, broken},
    source::Lines,
};
use crate::domain::violation::Violation;

/// A row: the line it begins on, its cells, and whether a quote stayed open.
type Record = (u64, Vec<Vec<u8>>, bool);

/// Reads all rows.
pub(super) fn read<R: BufRead>(
    separator: u8,
    settings: &Settings<'_>,
    lines: &mut Lines<R>,
    sink: &mut Sink<'_>,
) -> Result<(), Unreadable> {
    let first = record(separator, lines)?.map(|(_, cells, _)| cells).unwrap_or_default();
    let columns: Vec<Option<Column>> = first.iter().map(|name| Column::named(&String::from_utf8_lossy(name))).collect();
    let missing = Column::REQUIRED.iter().filter(|column| !columns.contains(&Some(**column)));
    let missing: Vec<_> = missing.map(|column| column.name()).collect();
    if !missing.is_empty() {
        return Err(Unreadable::Columns(missing.join(", ")));
    }
    while let Some((line, cells, open)) = record(separator, lines)? {
        if sink(line, row(&columns, cells, open).and_then(|row| Item::parse(&row, settings))).is_break() {
            return Ok(());
        }
    }
    Ok(())
}

fn row(columns: &[Option<Column>], cells: Vec<Vec<u8>>, open: bool) -> Result<Row, Vec<Violation>> {
    let fault = |pointer: String, code, detail: &str| Err(vec![Violation::new(pointer, code, detail)]);
    if open {
        return fault(String::new(), "malformed_csv", "a quote is never closed");
    }
    if cells.len() != columns.len() {
        let detail = format!("must have {} cells as the first row, not {}", columns.len(), cells.len());
        return fault(String::new(), "columns", &detail);
    }
    let mut row = Row::default();
    for (column, cell) in columns.iter().zip(cells) {
        let Some(column) = column else { continue };
        match String::from_utf8(cell) {
            Ok(text) => row.set(*column, text),
            Err(_) => return fault(format!("/{}", column.name()), "not_utf8", "must be UTF-8"),
        }
    }
    Ok(row)
}

/// The next row that is not empty.
fn record<R: BufRead>(separator: u8, lines: &mut Lines<R>) -> Result<Option<Record>, Unreadable> {
    let mut text = Vec::new();
    loop {
        lines.refill();
        let line = lines.line;
        let (mut cells, mut cell, mut place) = (Vec::new(), Vec::new(), Place::Start);
        loop {
            text.clear();
            let read = lines.read_until(b'\n', &mut text).map_err(|error| broken(lines, line, error))?;
            if read == 0 && cells.is_empty() && cell.is_empty() && place == Place::Start {
                return Ok(None);
            }
            for &byte in &text {
                place = match (place, byte) {
                    (Place::Start, b'"') => Place::Quoted,
                    (Place::Quoted, b'"') => Place::Quote,
                    (Place::Quote, b'"') => {
                        cell.push(b'"');
                        Place::Quoted
                    }
                    (Place::Start | Place::Plain | Place::Quote, byte) if byte == separator => {
                        cells.push(std::mem::take(&mut cell));
                        Place::Start
                    }
                    (Place::Quoted, byte) => {
                        cell.push(byte);
                        Place::Quoted
                    }
                    (Place::Start | Place::Plain | Place::Quote, b'\r' | b'\n') => place,
                    (_, byte) => {
                        cell.push(byte);
                        Place::Plain
                    }
                };
            }
            if read == 0 || place != Place::Quoted {
                break;
            }
        }
        cells.push(cell);
        if cells.iter().any(|cell| !cell.iter().all(u8::is_ascii_whitespace)) {
            return Ok(Some((line, cells, place == Place::Quoted)));
        }
    }
}

/// Where in a row the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a cell.
    Start,
    /// Within a cell without quotes.
    Plain,
    /// Within quotes.
    Quoted,
    /// Behind a quote within quotes: it ends them, or stands for itself.
    Quote,
}
