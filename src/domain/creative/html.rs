//! Markup compiled into literals and places of slots.

use std::collections::BTreeSet;

use super::{
    context::Context,
    documents::SlotType,
    escape::Escaper,
    field::{self, Builtin, Field, ItemField, Nature, Part},
    prepared::{Item, Prepared},
    reading,
    slot::Declared,
    syntax::{self, Faults, Kind, Placeholder, distance},
    value::SlotValue,
};
use crate::domain::violation::Violation;

/// The largest markup, in bytes.
const LARGEST: usize = 256 * 1_024;

/// Counts the impression where the template does not.
const PIXEL: &str =
    "<img src=\"{{impression_url}}\" width=\"1\" height=\"1\" alt=\"\" style=\"position:absolute;left:-9999px\">";

/// A compiled markup.
#[derive(Debug)]
pub(super) struct Html {
    pub(super) nodes: Box<[Node]>,
    /// The places of each slot.
    places: Vec<Places>,
    /// Slots that stand as the whole address of a link, themselves or their products'.
    followed: BTreeSet<u16>,
    /// Addresses of links that are written out, with their line and column.
    links: Vec<(String, String)>,
    /// Bytes of all literals, a floor for the size of the output.
    pub(super) literals: usize,
}

/// A piece of compiled markup.
#[derive(Debug)]
pub(super) enum Node {
    Literal(Box<str>),
    /// A slot and its place.
    Slot(u16, u16),
    /// A place of the product in the loop.
    Item(u16),
    Builtin(Builtin, Escaper),
    If(Condition, Box<[Node]>, Box<[Node]>),
    Each(u16, Box<[Node]>),
}

/// What an `#if` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// Whether a slot has a value.
    Slot(u16),
    /// Whether the product in the loop has a part that not all have.
    Has(Part),
}

/// Where a slot stands: each different part and escaper once.
#[derive(Debug, Default, Clone)]
struct Places {
    values: Vec<(Field, Escaper)>,
    items: Vec<(ItemField, Escaper)>,
}

impl Html {
    /// Whether a decision fills this in somewhere in it.
    pub(super) fn uses(&self, wanted: Builtin) -> bool {
        fn any(nodes: &[Node], wanted: Builtin) -> bool {
            nodes.iter().any(|node| match node {
                Node::Builtin(builtin, _) => *builtin == wanted,
                Node::If(_, yes, no) => any(yes, wanted) || any(no, wanted),
                Node::Each(_, body) => any(body, wanted),
                Node::Literal(_) | Node::Slot(..) | Node::Item(_) => false,
            })
        }
        any(&self.nodes, wanted)
    }

    pub(super) fn compile(markup: &str, slots: &[Declared]) -> Result<Self, Vec<Violation>> {
        let markup = readable(markup)?;
        let (placed, body_end) = Compiler::run(&markup, slots)?;
        if placed.counts_impressions {
            return Ok(placed.html);
        }
        let mut counted = markup;
        counted.insert_str(body_end.unwrap_or(counted.len()), PIXEL);
        Compiler::run(&counted, slots).map(|(placed, _)| placed.html)
    }

    /// As [`Self::compile`], for what is shown beside a video, which counts its own impression.
    pub(super) fn compile_companion(markup: &str, slots: &[Declared]) -> Result<Self, Vec<Violation>> {
        let (Placed { html, counts_impressions }, _) = Compiler::run(&readable(markup)?, slots)?;
        if counts_impressions || html.uses(Builtin::ViewUrl) {
            let detail = "a companion counts neither impressions nor whether it is in view: the video does";
            return Err(vec![Violation::new("/markup", "beacon_in_companion", detail)]);
        }
        Ok(html)
    }

    pub(super) fn prepare(&self, slot: usize, value: &SlotValue) -> Prepared {
        let written = |write: &dyn Fn(&mut String)| {
            let mut text = String::new();
            write(&mut text);
            text.into_boxed_str()
        };
        let Some(places) = self.places.get(slot) else { return Prepared::default() };
        let products = match value {
            SlotValue::Products(products) if !places.items.is_empty() || self.repeats(slot) => &**products,
            _ => &[],
        };
        let item = |product| Item {
            has: Part::ALL.map(|part| part.of(product)),
            places: places.items.iter().map(|&(f, e)| written(&|out| field::write_item(product, f, e, out))).collect(),
        };
        Prepared {
            present: *value != SlotValue::Absent,
            places: places.values.iter().map(|&(f, e)| written(&|out| field::write(value, f, e, out))).collect(),
            items: products.iter().map(item).collect(),
            ..Prepared::default()
        }
    }

    /// Whether a click may follow what stands in this slot.
    pub(super) fn follows(&self, slot: usize) -> bool {
        self.followed.iter().any(|followed| usize::from(*followed) == slot)
    }

    /// Addresses of links that are written out, at least as far as their host, with where they stand.
    pub(super) fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.links.iter().map(|(at, address)| (at.as_str(), address.as_str()))
    }

    #[cfg(test)]
    pub(super) fn value_places(&self, slot: usize) -> &[(Field, Escaper)] {
        &self.places[slot].values
    }

    #[cfg(test)]
    pub(super) fn item_places(&self, slot: usize) -> &[(ItemField, Escaper)] {
        &self.places[slot].items
    }

    fn repeats(&self, slot: usize) -> bool {
        fn within(nodes: &[Node], slot: usize) -> bool {
            nodes.iter().any(|node| match node {
                Node::Each(each, _) => usize::from(*each) == slot,
                Node::If(_, yes, no) => within(yes, slot) || within(no, slot),
                _ => false,
            })
        }
        within(&self.nodes, slot)
    }
}

/// A markup that is not too large, with plain ends of lines.
fn readable(markup: &str) -> Result<String, Vec<Violation>> {
    if markup.len() > LARGEST {
        let detail = format!("the markup has {} bytes, at most {LARGEST} are allowed", markup.len());
        return Err(vec![Violation::new("/markup", "markup_too_large", detail)]);
    }
    Ok(markup.replace("\r\n", "\n").replace('\r', "\n"))
}

struct Placed {
    html: Html,
    counts_impressions: bool,
}

struct Compiler<'a> {
    markup: &'a str,
    slots: &'a [Declared],
    placeholders: &'a [Placeholder],
    contexts: &'a [Option<Context>],
    faults: Faults<'a>,
    places: Vec<Places>,
    literals: usize,
    counts_impressions: bool,
    /// The next placeholder and where the markup before it begins.
    next: usize,
    from: usize,
    /// The slot of the loop that is open.
    each: Option<u16>,
    followed: BTreeSet<u16>,
    /// What is known to be there.
    known: Vec<Condition>,
}

impl<'a> Compiler<'a> {
    fn run(markup: &'a str, slots: &'a [Declared]) -> Result<(Placed, Option<usize>), Vec<Violation>> {
        let mut faults = Faults::new(markup);
        let placeholders = syntax::scan(markup, &mut faults);
        if !faults.is_empty() {
            return Err(faults.into_violations().into_vec());
        }
        let reading = reading::read(markup, &placeholders, &mut faults);
        let mut compiler = Compiler {
            markup,
            slots,
            placeholders: &placeholders,
            contexts: &reading.contexts,
            faults,
            places: vec![Places::default(); slots.len()],
            literals: 0,
            counts_impressions: false,
            next: 0,
            from: 0,
            each: None,
            followed: BTreeSet::new(),
            known: Vec::new(),
        };
        let (nodes, _) = compiler.nodes();
        std::mem::replace(&mut compiler.faults, Faults::new(markup)).into_violations().into_result()?;
        let links = reading.links.into_iter().map(|(at, address)| (syntax::whereabouts(markup, at), address)).collect();
        let Compiler { places, literals, followed, counts_impressions, .. } = compiler;
        let html = Html { nodes, places, literals, followed, links };
        Ok((Placed { html, counts_impressions }, reading.body_end))
    }

    /// The nodes up to the end of the block or of the markup, and what ended them.
    fn nodes(&mut self) -> (Box<[Node]>, Option<&'a Kind>) {
        let mut nodes = Vec::new();
        loop {
            let placeholder = self.placeholders.get(self.next);
            let literal = &self.markup[self.from..placeholder.map_or(self.markup.len(), |found| found.start)];
            if !literal.is_empty() {
                self.literals += literal.len();
                nodes.push(Node::Literal(literal.into()));
            }
            let Some(Placeholder { start, end, kind }) = placeholder else { return (nodes.into(), None) };
            let context = self.contexts[self.next];
            self.next += 1;
            self.from = *end;
            match kind {
                Kind::Value(name) => nodes.extend(self.value(name, context, *start)),
                Kind::If(name) => {
                    let condition = self.condition(name, *start);
                    self.known.extend(condition);
                    let (yes, ended) = self.nodes();
                    self.known.truncate(self.known.len() - usize::from(condition.is_some()));
                    let no = if ended == Some(&Kind::Else) { self.nodes().0 } else { Box::default() };
                    nodes.extend(condition.map(|condition| Node::If(condition, yes, no)));
                }
                Kind::Each(name) => {
                    self.each = self.list(name, *start);
                    let (body, _) = self.nodes();
                    nodes.extend(self.each.take().map(|slot| Node::Each(slot, body)));
                }
                Kind::Else | Kind::EndIf | Kind::EndEach => return (nodes.into(), Some(kind)),
            }
        }
    }

    fn value(&mut self, name: &str, context: Option<Context>, at: usize) -> Option<Node> {
        if let Some(builtin) = Builtin::named(name) {
            if builtin == Builtin::ImpressionUrl {
                self.counts_impressions = true;
                if self.each.is_some() || !self.known.is_empty() {
                    self.faults.push(
                        at,
                        "impression_in_block",
                        "place {{impression_url}} outside of #if and #each, or not at all",
                    );
                }
            }
            let escaper = builtin.escaper(context?);
            if escaper.is_none() {
                self.faults.push(at, "slot_type", format!("{{{{{name}}}}} cannot stand {}", context?.whereabouts()));
            }
            return Some(Node::Builtin(builtin, escaper?));
        }
        let field = ItemField::named(name).filter(|_| !self.shadows(name));
        if let (Some(slot), Some((field, nature))) = (self.each, field) {
            let needed = Part::of_field(field).filter(|part| !self.known.contains(&Condition::Has(*part)));
            if let Some(guard) = needed.map(Part::name) {
                self.faults.push(
                    at,
                    "slot_unguarded",
                    format!("a product may have no {guard}: put this inside {{{{#if {guard}}}}}"),
                );
            }
            let escaper = self.escaper(nature, context?, name, at)?;
            self.followed.extend((context == Some(Context::Link)).then_some(slot));
            let places = &mut self.places[usize::from(slot)].items;
            return Some(Node::Item(place(places, (field, escaper))));
        }
        let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
        let slot = self.slot(first, at)?;
        let Declared { kind, optional, .. } = self.slots[usize::from(slot)];
        let Some((field, nature)) = Field::of(kind, rest) else {
            self.faults.push(at, "unknown_field", format!("{first} has no such part: {}", Field::hint(kind)));
            return None;
        };
        if optional && !self.known.contains(&Condition::Slot(slot)) {
            self.faults.push(
                at,
                "slot_unguarded",
                format!("{first} may have no value: put this inside {{{{#if {first}}}}}"),
            );
        }
        let escaper = self.escaper(nature, context?, name, at)?;
        self.followed.extend((context == Some(Context::Link)).then_some(slot));
        Some(Node::Slot(slot, place(&mut self.places[usize::from(slot)].values, (field, escaper))))
    }

    fn escaper(&mut self, nature: Nature, context: Context, name: &str, at: usize) -> Option<Escaper> {
        let escaper = nature.escaper(context);
        if escaper.is_none() {
            let first = name.split('.').next().unwrap_or(name);
            let kind = self.slots.iter().find(|slot| slot.name.as_str() == first).map(|slot| slot.kind);
            let hint = match (nature, kind) {
                (Nature::Compound, Some(kind)) => format!(": {}", Field::hint(kind)),
                _ => String::new(),
            };
            self.faults.push(at, "slot_type", format!("{{{{{name}}}}} cannot stand {}{hint}", context.whereabouts()));
        }
        escaper
    }

    /// Whether a slot has a name that products came to have later: within loops it is the slot still.
    fn shadows(&self, name: &str) -> bool {
        matches!(name, "brand" | "description") && self.slots.iter().any(|slot| slot.name.as_str() == name)
    }

    fn condition(&mut self, name: &str, at: usize) -> Option<Condition> {
        let condition = match (self.each, name) {
            (Some(_), name) if Part::named(name).is_some() && !self.shadows(name) => Condition::Has(Part::named(name)?),
            (Some(_), "id" | "title" | "link" | "image") => {
                self.faults.push(at, "condition_always_true", format!("every product has {name}"));
                return None;
            }
            _ => {
                let slot = self.slot(name, at)?;
                if !self.slots[usize::from(slot)].optional {
                    let detail = format!("{name} always has a value; \"optional\": true in its slot lets it be null");
                    self.faults.push(at, "condition_always_true", detail);
                }
                Condition::Slot(slot)
            }
        };
        Some(condition)
    }

    fn list(&mut self, name: &str, at: usize) -> Option<u16> {
        let slot = self.slot(name, at)?;
        let Declared { kind, optional, .. } = self.slots[usize::from(slot)];
        if kind != SlotType::Product {
            self.faults.push(at, "slot_type", format!("#each repeats a product slot, which {name} is not"));
            return None;
        }
        if optional && !self.known.contains(&Condition::Slot(slot)) {
            self.faults.push(
                at,
                "slot_unguarded",
                format!("{name} may have no value: put this inside {{{{#if {name}}}}}"),
            );
        }
        Some(slot)
    }

    fn slot(&mut self, name: &str, at: usize) -> Option<u16> {
        let found = self.slots.iter().position(|slot| slot.name.as_str() == name);
        if found.is_none() {
            let known =
                self.slots.iter().map(|slot| slot.name.as_str()).chain(Builtin::NAMES.iter().map(|(name, _)| *name));
            let near = known
                .map(|known| (distance(name, known), known))
                .min()
                .filter(|(steps, _)| *steps <= 1 + name.len() / 3);
            let hint = near.map_or(String::new(), |(_, known)| format!("; did you mean {known}?"));
            self.faults.push(at, "unknown_slot", format!("there is no slot {name}{hint}"));
        }
        found.and_then(|found| u16::try_from(found).ok())
    }
}

/// The index of a place, which is added when it is new.
fn place<T: PartialEq>(places: &mut Vec<T>, wanted: T) -> u16 {
    let found = places.iter().position(|place| *place == wanted).unwrap_or_else(|| {
        places.push(wanted);
        places.len() - 1
    });
    u16::try_from(found).unwrap_or(u16::MAX)
}
