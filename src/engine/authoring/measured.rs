//! What a revision shows of the images of this server.

use serde_json::Value;

use super::workspace::{Slots, Workspace};
use crate::domain::{
    catalog::document::RevisionDoc,
    creative::TemplateDoc,
    violation::{Violation, Violations, token},
};

impl Workspace {
    /// A revision with the sizes of its images filled in.
    pub(super) fn measured(&self, mut doc: RevisionDoc) -> RevisionDoc {
        doc.components.values_mut().for_each(|component| self.pictures.fill(&mut component.value));
        doc
    }

    /// What is wrong with the images that a revision names.
    pub(super) fn check_pictures(&self, doc: &RevisionDoc) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        let slots = Slots::of(doc.templates.values());
        for (id, component) in &doc.components {
            let under = format!("/components/{}/value", token(id.as_str()));
            faults.keep(&under, slots.check_pictures(component.slot.as_str(), &component.value, &self.pictures));
        }
        for (id, template) in &doc.templates {
            faults.keep(&format!("/templates/{}", token(id.as_str())), self.check_template_pictures(template));
        }
        faults.into_result()
    }

    /// What is wrong with the images that a template names.
    pub(super) fn check_template_pictures(&self, doc: &TemplateDoc) -> Result<(), Vec<Violation>> {
        let mut faults = Violations::new();
        let slots = Slots::of([doc]);
        for (name, slot) in &doc.slots {
            let mut value: Value = slot.default.clone();
            self.pictures.fill(&mut value);
            let under = format!("/slots/{}/default", token(name.as_str()));
            faults.keep(&under, slots.check_value(name.as_str(), &value));
            faults.keep(&under, slots.check_pictures(name.as_str(), &value, &self.pictures));
        }
        let companions = doc.vast.iter().flat_map(|vast| &vast.companions).enumerate();
        let companions = companions.map(|(at, one)| (format!("/vast/companions/{at}/markup"), one.markup.as_str()));
        let own = doc.markup.iter().map(|markup| ("/markup".to_owned(), markup.as_str()));
        for (pointer, markup) in own.chain(companions) {
            faults.keep(&pointer, self.pictures.check_markup(markup));
        }
        faults.into_result()
    }
}
