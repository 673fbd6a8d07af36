//! Templates as they were compiled last: most creatives share theirs.

use std::{collections::BTreeMap, sync::Arc};

use super::{document::RevisionDoc, index::Shape};
use crate::domain::{
    creative::{Template, TemplateDoc},
    ids::TemplateId,
    violation::{Violation, Violations, token},
};

/// A template with what it renders.
pub(super) type Parsed = (TemplateId, Shape, Arc<Template>);

/// The newest form of each template that a creative was compiled with. A creative whose revision holds
/// the same shares it: reading markup takes most of the time of compiling, and room for each.
#[derive(Clone, Debug, Default)]
pub struct Templates(BTreeMap<TemplateId, (Arc<TemplateDoc>, Arc<Template>)>);

impl Templates {
    /// The template, compiled now or before; its assets are served from `public_url`, always the same.
    ///
    /// # Errors
    /// As [`Template::parse`].
    fn parse(&mut self, id: &TemplateId, doc: &TemplateDoc, public_url: &str) -> Result<Arc<Template>, Vec<Violation>> {
        if let Some((_, known)) = self.0.get(id).filter(|(known, _)| **known == *doc) {
            return Ok(Arc::clone(known));
        }
        let mut parsed = Template::parse(doc)?;
        parsed.serve_assets_from(public_url);
        let parsed = Arc::new(parsed);
        self.0.insert(id.clone(), (Arc::new(doc.clone()), Arc::clone(&parsed)));
        Ok(parsed)
    }

    /// The templates of a revision in its order, each of another size or format.
    pub(super) fn of(&mut self, doc: &RevisionDoc, public_url: &str, faults: &mut Violations) -> Vec<Parsed> {
        let mut parsed: Vec<Parsed> = Vec::new();
        for (at, id) in doc.creative.templates.iter().enumerate() {
            let pointer = format!("/creative/templates/{at}");
            let Some(template) = doc.templates.get(id) else {
                faults.push(pointer, "unknown_template", format!("there is no template {id}"));
                continue;
            };
            let shape = (template.format, template.size);
            if let Some((other, ..)) = parsed.iter().find(|(_, taken, _)| *taken == shape) {
                faults.push(pointer, "duplicate_size", format!("template {other} already has this format and size"));
                continue;
            }
            let under = format!("/templates/{}", token(id.as_str()));
            if let Some(template) = faults.keep(&under, self.parse(id, template, public_url)) {
                parsed.push((id.clone(), shape, template));
            }
        }
        if doc.creative.templates.is_empty() || doc.creative.templates.len() > 16 {
            faults.push("/creative/templates", "range", "must name 1 to 16 templates");
        }
        parsed
    }
}
