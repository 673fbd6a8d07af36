//! The slots that a template declares.

use super::{
    documents::{SlotType, TemplateDoc},
    field::Builtin,
    value::{SlotSpec, SlotValue},
};
use crate::domain::{
    ids::SlotName,
    violation::{Violations, token},
};

/// The most slots of a template.
const MOST_SLOTS: usize = 64;

/// A slot of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// Its name.
    pub name: SlotName,
    /// What it accepts.
    pub spec: SlotSpec,
    /// Its value when no component is chosen.
    pub default: SlotValue,
}

/// A declared slot while its template is compiled: what the markup needs to know of it, and the
/// slot itself where it has no faults.
pub(super) struct Declared {
    pub(super) name: SlotName,
    pub(super) kind: SlotType,
    pub(super) optional: bool,
    pub(super) value: Option<Slot>,
}

/// The slots of a template in the order of their names.
pub(super) fn declared(doc: &TemplateDoc, faults: &mut Violations) -> Vec<Declared> {
    if doc.slots.len() > MOST_SLOTS {
        faults.push("/slots", "out_of_range", format!("a template has at most {MOST_SLOTS} slots"));
    }
    let slots = doc.slots.iter().map(|(name, slot)| {
        let at = format!("/slots/{}", token(name.as_str()));
        if name.as_str().contains(['.', ':']) {
            faults.push(&at, "slot_name", "a slot's name has only letters, digits, _ and -");
        } else if Builtin::named(name.as_str()).is_some() || name.as_str() == "else" {
            faults.push(&at, "slot_name_reserved", "this name is filled in by every decision: choose another");
        }
        let value = faults.keep(&at, SlotSpec::parse(slot)).and_then(|spec| {
            let default = faults.keep(&format!("{at}/default"), SlotValue::parse(&spec, &slot.default))?;
            if matches!(default, SlotValue::Picked(_)) {
                let detail = "must be products: they are shown where a feed has none";
                faults.push(format!("{at}/default"), "default_of_feed", detail);
                return None;
            }
            Some(Slot { name: name.clone(), spec, default })
        });
        Declared { name: name.clone(), kind: slot.kind, optional: slot.optional, value }
    });
    slots.collect()
}
