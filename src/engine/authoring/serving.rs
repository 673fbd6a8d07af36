//! What serves of a creative, in a bundle: said only where it is not what its draft would make.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{
    catalog::document::{PublicationDoc, PublicationStatus, RevisionDoc},
    creative::{ComponentDoc, CreativeDoc, TemplateDoc},
    ids::{ComponentId, TemplateId},
    values::Millis,
};

/// `creatives/{id}/serving.json`. Without this file the draft is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(super) enum Serving {
    /// The draft is not published.
    Draft,
    /// It was published and serves no more.
    Archived,
    /// Something else than the draft is published: an earlier revision, or edits wait.
    Published(Box<Content>),
}

/// What a revision holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    creative: CreativeDoc,
    templates: BTreeMap<TemplateId, TemplateDoc>,
    components: BTreeMap<ComponentId, ComponentDoc>,
}

impl Content {
    /// This as a revision of its own.
    pub(super) fn revision(self, revision: u32, published_at: Millis) -> RevisionDoc {
        let Self { creative, templates, components } = self;
        RevisionDoc { revision, published_at, creative, templates, components, combinations: Vec::new() }
    }
}

impl Serving {
    /// What has to be said of a creative with this publication, whose draft, published, would make `draft` and
    /// whose revision in use is `serving`. `None` where importing the draft makes the same.
    pub(super) fn of(
        publication: Option<&PublicationDoc>,
        serving: Option<RevisionDoc>,
        draft: Option<&RevisionDoc>,
    ) -> Option<Self> {
        let Some(publication) = publication else { return Some(Self::Draft) };
        if publication.status == PublicationStatus::Archived {
            return Some(Self::Archived);
        }
        let RevisionDoc { creative, templates, components, .. } = serving?;
        let same = draft.is_some_and(|draft| {
            (&draft.creative, &draft.templates, &draft.components) == (&creative, &templates, &components)
        });
        (!same).then(|| Self::Published(Box::new(Content { creative, templates, components })))
    }
}
