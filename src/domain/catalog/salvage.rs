//! What of a faulty draft can be looked at all the same.

use std::collections::BTreeSet;

use super::document::RevisionDoc;
use crate::domain::{
    ids::{ComponentId, TemplateId},
    violation::Violation,
};

/// Takes out what faults point to: components, templates, pairing rules, the landing slot. Whether
/// anything was taken; if not, nothing of it can be looked at.
pub fn without(doc: &mut RevisionDoc, faults: &[Violation]) -> bool {
    let (mut templates, mut rules) = (BTreeSet::new(), BTreeSet::new());
    let mut taken = false;
    for fault in faults {
        let steps = fault.pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
        let steps: Vec<String> = steps.collect();
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        match steps[..] {
            // where a click leads shows in no picture
            ["components" | "templates", ..] if fault.code == "landing_host_not_allowed" => {
                taken |= doc.creative.landing_slot.take().is_some();
            }
            ["creative", "landing_slot", ..] => taken |= doc.creative.landing_slot.take().is_some(),
            ["components", id, ..] => {
                let id = id.parse::<ComponentId>().ok();
                taken |= id.is_some_and(|id| doc.components.remove(&id).is_some());
            }
            ["templates", id, ..] => {
                let id = id.parse::<TemplateId>().ok();
                templates.extend(doc.creative.templates.iter().position(|known| Some(known) == id.as_ref()));
            }
            ["creative", "templates", at, ..] => templates.extend(at.parse::<usize>()),
            ["creative", "pairing", at, ..] => rules.extend(at.parse::<usize>()),
            _ => {}
        }
    }
    let (listed, ruled) = (doc.creative.templates.len(), doc.creative.pairing.len());
    let mut at = 0..;
    doc.creative.templates.retain(|_| at.next().is_some_and(|at| !templates.contains(&at)));
    let mut at = 0..;
    doc.creative.pairing.retain(|_| at.next().is_some_and(|at| !rules.contains(&at)));
    taken || doc.creative.templates.len() < listed || doc.creative.pairing.len() < ruled
}
