//! Google Merchant's XML: `item` elements of RSS 2.0, or `entry` elements of Atom.

use std::io::BufRead;

use quick_xml::{
    Reader,
    escape::{resolve_predefined_entity, unescape},
    events::{BytesStart, Event},
};

use super::{
    item::{Column, Item, Row, Settings},
    sink::{Sink, Unreadable, broken},
    source::Lines,
};

/// An item that is being read.
struct Open {
    line: u64,
    row: Row,
    /// Elements open within it.
    depth: u32,
    /// The column that the element below it is, and whether it is one of Google's own namespace.
    column: Option<(Column, bool)>,
    text: String,
    /// Columns that hold what stands in Google's own namespace, which goes before the others.
    own: Vec<Column>,
}

/// Reads all items.
pub(super) fn read<R: BufRead>(
    settings: &Settings<'_>,
    lines: Lines<R>,
    sink: &mut Sink<'_>,
) -> Result<(), Unreadable> {
    let mut reader = Reader::from_reader(lines);
    let mut buffer = Vec::new();
    let mut open: Option<Open> = None;
    let (mut rooted, mut depth) = (false, 0_u32);
    loop {
        buffer.clear();
        if open.is_none() {
            reader.get_mut().refill();
        }
        let line = reader.get_ref().line;
        let event = match reader.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(quick_xml::Error::Io(error)) => {
                let line = open.map_or(line, |open| open.line);
                let error = std::io::Error::new(error.kind(), error.to_string());
                return Err(broken(reader.get_ref(), line, error));
            }
            Err(error) => return Err(Unreadable::Malformed { line, detail: error.to_string() }),
        };
        match event {
            Event::Eof => {
                return match rooted && depth == 0 && open.is_none() {
                    true => Ok(()),
                    false => Err(Unreadable::Malformed { line, detail: "the XML ends too early".to_owned() }),
                };
            }
            Event::DocType(_) => {
                return Err(Unreadable::Malformed { line, detail: "must not have a DOCTYPE".to_owned() });
            }
            Event::Start(start) => {
                match (&mut open, local(start.name().0).1) {
                    (Some(open), _) => open.start(&start),
                    (None, "item" | "entry") => open = Some(Open::new(line)),
                    (None, "rss" | "feed" | "channel" | "RDF") => rooted = true,
                    (None, _) if !rooted => {
                        return Err(Unreadable::Malformed { line, detail: "must be RSS 2.0 or Atom".to_owned() });
                    }
                    _ => {}
                }
                depth += 1;
            }
            Event::Empty(start) => {
                if let Some(open) = &mut open {
                    open.start(&start);
                    open.end();
                }
            }
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                match &mut open {
                    Some(inner) if inner.depth > 0 => inner.end(),
                    _ => {
                        if let Some(Open { line, row, .. }) = open.take()
                            && sink(line, Item::parse(&row, settings)).is_break()
                        {
                            return Ok(());
                        }
                    }
                }
            }
            Event::Text(text) => {
                if let Some(open) = &mut open {
                    open.push(&text.xml10_content());
                }
            }
            Event::CData(text) => {
                if let Some(open) = &mut open {
                    open.push(&text.xml10_content());
                }
            }
            Event::GeneralRef(name) => {
                if let Some(open) = &mut open {
                    let letter = name.resolve_char_ref().ok().flatten();
                    match (letter, resolve_predefined_entity(&name)) {
                        (Some(letter), _) => open.push(letter.encode_utf8(&mut [0; 4])),
                        (None, Some(text)) => open.push(text),
                        (None, None) => {
                            let detail = format!("there is no entity &{};", &*name);
                            return Err(Unreadable::Malformed { line, detail });
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether a name is of Google's namespace, and what it is called there.
fn local(name: &str) -> (bool, &str) {
    name.split_once(':').map_or((false, name), |(space, name)| (space == "g", name))
}

impl Open {
    fn new(line: u64) -> Self {
        Self { line, row: Row::default(), depth: 0, column: None, text: String::new(), own: Vec::new() }
    }

    fn start(&mut self, start: &BytesStart<'_>) {
        self.depth += 1;
        // what stands deeper, such as the price of a shipping, is no column
        if self.depth > 1 {
            return;
        }
        let (own, name) = local(start.name().0);
        self.column = Column::named(name).map(|column| (column, own));
        self.text.clear();
        // Atom has the address of a link in an attribute
        if let (Some((Column::Link, _)), Ok(Some(href))) = (self.column, start.try_get_attribute("href")) {
            let relation = start.try_get_attribute("rel").ok().flatten();
            if relation.is_none_or(|relation| &*relation.value == "alternate") {
                self.text = unescape(&href.value).map_or_else(|_| href.value.to_string(), Into::into);
            }
        }
    }

    fn end(&mut self) {
        self.depth -= 1;
        if self.depth > 0 {
            return;
        }
        let Some((column, own)) = self.column.take() else { return };
        // an empty availability says something that cannot be read
        let says = column == Column::Availability || !self.text.trim().is_empty();
        if !says || !own && self.own.contains(&column) {
            return;
        }
        if own {
            self.own.push(column);
        }
        self.row.set(column, std::mem::take(&mut self.text));
    }

    fn push(&mut self, text: &str) {
        if self.depth == 1 && self.column.is_some() {
            self.text.push_str(text);
        }
    }
}
