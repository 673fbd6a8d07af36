//! Templates, compiled once when they are published.

use std::collections::BTreeMap;

use super::{
    documents::TemplateDoc,
    field::Builtin,
    html::Html,
    native::Native,
    native_request::{NativeRequest, Wanted},
    prepared::Prepared,
    slot::{self, Slot},
    value::SlotValue,
    vast::Vast,
};
use crate::domain::{
    ids::NameHash,
    values::{Format, Size},
    violation::{Violation, Violations},
};

/// A template, ready to be assembled.
#[derive(Debug)]
pub struct Template {
    name: String,
    size: Option<Size>,
    slots: Vec<Slot>,
    defaults: Vec<Prepared>,
    fingerprint: u64,
    pub(super) program: Program,
}

/// What makes the markup.
#[derive(Debug)]
pub(super) enum Program {
    Html(Html),
    Native(Native),
    Vast(Vast),
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// Every fault of the document. Faults of the markup point to `/markup` and begin with their
    /// line and column.
    pub fn parse(doc: &TemplateDoc) -> Result<Self, Vec<Violation>> {
        let mut faults = Violations::new();
        if doc.name.trim().is_empty() || doc.name.chars().count() > 200 {
            faults.push("/name", "out_of_range", "must be 1 to 200 characters long");
        }
        let slots = slot::declared(doc, &mut faults);
        let program = match (doc.format, &doc.markup, &doc.native, &doc.vast) {
            (Format::Html, Some(markup), None, None) => {
                faults.keep("", Html::compile(markup, &slots)).map(Program::Html)
            }
            (Format::Native, None, Some(native), None) => {
                if doc.size.is_some() {
                    faults.push("/size", "unexpected", "a native template has no size");
                }
                faults.keep("/native", Native::compile(native, &slots)).map(Program::Native)
            }
            (Format::Vast, None, None, Some(vast)) => {
                if doc.size.is_some() {
                    faults.push("/size", "unexpected", "a vast template has no size; its companions do");
                }
                faults.keep("/vast", Vast::compile(vast, &slots)).map(Program::Vast)
            }
            (Format::Html, ..) => {
                faults.push(
                    "/markup",
                    "required",
                    "an html template has markup, and neither native assets nor a video",
                );
                None
            }
            (Format::Native, ..) => {
                faults.push(
                    "/native",
                    "required",
                    "a native template has native assets, and neither markup nor a video",
                );
                None
            }
            (Format::Vast, ..) => {
                faults.push("/vast", "required", "a vast template has a video, and neither markup nor native assets");
                None
            }
        };
        match program {
            Some(program) if faults.is_empty() => {
                let slots: Vec<Slot> = slots.into_iter().filter_map(|slot| slot.value).collect();
                let defaults =
                    slots.iter().enumerate().map(|(index, slot)| program.prepare(index, &slot.default)).collect();
                let fingerprint = fingerprint(doc);
                Ok(Self { name: doc.name.clone(), size: doc.size, slots, defaults, fingerprint, program })
            }
            _ => Err(faults.into_vec()),
        }
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells what it makes of values from what others make of them.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The kind of markup it makes.
    #[must_use]
    pub fn format(&self) -> Format {
        match self.program {
            Program::Html(_) => Format::Html,
            Program::Native(_) => Format::Native,
            Program::Vast(_) => Format::Vast,
        }
    }

    /// Its size; `None` when it adapts to any.
    #[must_use]
    pub fn size(&self) -> Option<Size> {
        self.size
    }

    /// Its slots in the order of their names: the order of what is chosen for assembly.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The slot of the video that it plays, in [`Self::slots`].
    #[must_use]
    pub fn video_slot(&self) -> Option<usize> {
        match &self.program {
            Program::Vast(vast) => Some(vast.video),
            Program::Html(_) | Program::Native(_) => None,
        }
    }

    /// Whether a value of a slot leaves a native answer possible: no required asset that only this slot fills is out
    /// of its bounds, and where only this slot fills any asset at all, one is within.
    #[must_use]
    pub fn answers(&self, slot: usize, value: &Prepared, wanted: &NativeRequest) -> bool {
        let Program::Native(native) = &self.program else { return true };
        let mut required = wanted.assets.iter().filter(|asset| asset.required);
        required.all(|asset| {
            let mut own = native.fills(&asset.kind);
            native.fills(&asset.kind).any(|own| own.slot != slot)
                || own.next().is_none()
                || native.fills(&asset.kind).any(|own| own.fits(value, &asset.kind))
        }) && wanted
            .assets
            .iter()
            .any(|asset| native.fills(&asset.kind).any(|own| own.slot != slot || own.fits(value, &asset.kind)))
    }

    /// Whether a native answer is possible at all, which has an asset: `values` are those that may stand in a slot, its
    /// default among them.
    pub fn may_answer<'v, V>(&self, wanted: &NativeRequest, values: impl Fn(usize) -> V) -> bool
    where
        V: Iterator<Item = &'v Prepared>,
    {
        let Program::Native(native) = &self.program else { return true };
        let filled = |asset: &Wanted| {
            native.fills(&asset.kind).any(|own| values(own.slot).any(|value| own.fits(value, &asset.kind)))
        };
        let mut required = wanted.assets.iter().filter(|asset| asset.required);
        required.all(filled) && wanted.assets.iter().any(filled)
    }

    /// Where a slot of this name stands in [`Self::slots`].
    #[must_use]
    pub fn slot_index(&self, name: &str) -> Option<usize> {
        self.slots.binary_search_by(|slot| slot.name.as_str().cmp(name)).ok()
    }

    /// Whether its markup has the link that counts clicks, on whatever condition; native answers
    /// and videos always have it.
    #[must_use]
    pub fn counts_clicks(&self) -> bool {
        match &self.program {
            Program::Html(html) => html.uses(Builtin::ClickUrl),
            Program::Native(_) | Program::Vast(_) => true,
        }
    }

    /// Whether a click may follow what stands in a slot, or in the products in it: it is the whole
    /// address of a link.
    #[must_use]
    pub fn follows(&self, slot: usize) -> bool {
        self.markups().any(|(_, html)| html.follows(slot))
    }

    /// Addresses of links that the markup itself holds, at least as far as their host: the pointer to
    /// the markup, the line and column in it, and the address.
    pub fn links(&self) -> impl Iterator<Item = (String, &str, &str)> {
        self.markups().flat_map(|(pointer, html)| html.links().map(move |(at, url)| (pointer.clone(), at, url)))
    }

    /// All HTML in it, with pointers into its document.
    fn markups(&self) -> impl Iterator<Item = (String, &Html)> {
        let (own, beside) = match &self.program {
            Program::Html(html) => (Some(html), &[][..]),
            Program::Native(_) => (None, &[][..]),
            Program::Vast(vast) => (None, &vast.companions[..]),
        };
        let beside = beside.iter().enumerate();
        let beside = beside.map(|(at, companion)| (format!("/vast/companions/{at}/markup"), &companion.html));
        own.into_iter().map(|html| ("/markup".to_owned(), html)).chain(beside)
    }

    /// Escapes a value once for every place in which the slot stands. `value` must have been
    /// parsed with the slot's own [`super::SlotSpec`].
    #[must_use]
    pub fn prepare(&self, slot: usize, value: &SlotValue) -> Prepared {
        self.program.prepare(slot, value)
    }

    /// The slot's default, prepared.
    #[must_use]
    pub fn default_of(&self, slot: usize) -> Option<&Prepared> {
        self.defaults.get(slot)
    }
}

impl Program {
    fn prepare(&self, slot: usize, value: &SlotValue) -> Prepared {
        match self {
            Self::Html(html) => html.prepare(slot, value),
            Self::Native(native) => native.prepare(slot, value),
            Self::Vast(vast) => vast.prepare(slot, value),
        }
    }
}

/// A hash of what a template makes of its values: not of its slots, which say only what may stand there, nor of
/// what people call it, unless players do.
fn fingerprint(doc: &TemplateDoc) -> u64 {
    let name = doc.vast.as_ref().map_or_else(String::new, |_| doc.name.clone());
    let makes = TemplateDoc { name, slots: BTreeMap::new(), ..doc.clone() };
    NameHash::of(&serde_json::to_string(&makes).unwrap_or_default()).0
}
