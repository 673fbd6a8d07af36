//! Templates as they were compiled last: most creatives share theirs.

use std::{collections::BTreeMap, sync::Arc};

use crate::domain::{
    creative::{Template, TemplateDoc},
    ids::TemplateId,
    violation::Violation,
};

/// The newest form of each template that a creative was compiled with. A creative whose revision holds
/// the same shares it: reading markup takes most of the time of compiling, and room for each.
#[derive(Clone, Debug, Default)]
pub struct Templates(BTreeMap<TemplateId, (Arc<TemplateDoc>, Arc<Template>)>);

impl Templates {
    /// The template, compiled now or before; its assets are served from `public_url`, always the same.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub(super) fn parse(
        &mut self,
        id: &TemplateId,
        doc: &TemplateDoc,
        public_url: &str,
    ) -> Result<Arc<Template>, Vec<Violation>> {
        if let Some((_, known)) = self.0.get(id).filter(|(known, _)| **known == *doc) {
            return Ok(Arc::clone(known));
        }
        let mut parsed = Template::parse(doc)?;
        parsed.serve_assets_from(public_url);
        let parsed = Arc::new(parsed);
        self.0.insert(id.clone(), (Arc::new(doc.clone()), Arc::clone(&parsed)));
        Ok(parsed)
    }
}
