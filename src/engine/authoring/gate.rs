//! What a creative is judged beside before it is published: read, and asked off the runtime.

use std::{
    collections::{BTreeSet, HashMap},
    str::FromStr,
    sync::Arc,
};

use serde::de::DeserializeOwned;

use super::{Authoring, AuthoringError, Workspace};
use crate::domain::{
    catalog::{
        creative::Creative,
        document::{CampaignDoc, RevisionDoc},
        gate::Surroundings,
        key::{DocumentKey, Kind},
        warnings,
    },
    creative::{CreativeDoc, TemplateDoc},
    ids::{CreativeId, TemplateId},
    violation::{Violation, Violations, token},
};

/// A creative that may be published.
pub(super) struct Passed {
    pub(super) doc: RevisionDoc,
    pub(super) warnings: Vec<Violation>,
}

impl Workspace {
    /// What is known beside creatives.
    pub(super) fn surroundings(&self) -> Surroundings {
        let shapes: HashMap<_, _> = self.all::<TemplateId, TemplateDoc>(Kind::Template).collect();
        let shape = |id: &TemplateId| shapes.get(id).map(|template| (template.format, template.size));
        let drafts = self.all(Kind::Creative).map(|(id, draft): (CreativeId, CreativeDoc)| {
            let shapes = draft.templates.iter().filter_map(shape).collect();
            (id, shapes)
        });
        Surroundings::new(
            self.all(Kind::Advertiser).collect(),
            self.all(Kind::Campaign).collect(),
            self.all(Kind::Placement).collect(),
            drafts.collect(),
        )
    }

    /// What cannot be shown any more of a revision: what is `found` held back, and what picks from nothing.
    pub(super) fn held(&self, doc: &RevisionDoc, found: Vec<Violation>) -> Vec<Violation> {
        let mut held = Violations::new();
        held.extend_under("", found);
        for (id, component) in &doc.components {
            let under = format!("/components/{}/value", token(id.as_str()));
            held.keep(&under, self.check_picking(&doc.creative, component));
        }
        held.into_vec()
    }

    /// The documents of a kind, typed.
    fn all<I: FromStr, T: DeserializeOwned>(&self, kind: Kind) -> impl Iterator<Item = (I, T)> {
        self.of(kind, "").filter_map(|(key, body)| Some((key.id.parse().ok()?, T::deserialize(body).ok()?)))
    }

    /// The campaigns that show a creative.
    fn showing<'a>(&'a self, id: &'a CreativeId) -> impl Iterator<Item = (String, CampaignDoc)> + 'a {
        self.of(Kind::Campaign, "").filter_map(move |(key, body)| {
            let campaign: CampaignDoc = serde_json::from_value(body.clone()).ok()?;
            let shows = campaign.creatives.contains(id) || campaign.default_creative.as_ref() == Some(id);
            shows.then(|| (key.id.clone(), campaign))
        })
    }
}

impl Authoring {
    /// Reads what a creative is judged beside; whether it is of the workspace's version.
    pub(super) async fn read_beside(
        &self,
        account: u32,
        work: &mut Workspace,
        id: &CreativeId,
    ) -> Result<bool, AuthoringError> {
        let placements = self.store.list(account, Kind::Placement, String::new(), None, Self::MANY).await?;
        let mut whole = super::steps::take(work, placements, vec![]);
        let others: BTreeSet<_> =
            work.showing(id).flat_map(|(_, campaign)| campaign.creatives).filter(|other| other != id).collect();
        if others.is_empty() {
            return Ok(whole);
        }
        let keys = others.iter().map(|other| DocumentKey::new(Kind::Creative, other.as_str())).collect();
        whole &= self.read(account, work, keys).await?;
        let drafts = others.iter().filter_map(|other| work.typed::<CreativeDoc>(Kind::Creative, other.as_str()));
        let templates: BTreeSet<_> = drafts.flat_map(|draft| draft.templates).collect();
        let keys = templates.iter().map(|id| DocumentKey::new(Kind::Template, id.as_str())).collect();
        whole &= self.read(account, work, keys).await?;
        Ok(whole)
    }

    /// Holds a creative against the gate, on a thread of its own: rules can be intricate. One that has
    /// served before may serve again whatever was `held` back of it: it is only warned of what would
    /// keep it from being published now.
    pub(super) async fn judge(
        &self,
        work: &Workspace,
        doc: RevisionDoc,
        creative: Arc<Creative>,
        held: Option<Vec<Violation>>,
    ) -> Result<Passed, AuthoringError> {
        let (beside, now) = (work.surroundings(), self.clock.now());
        let judged = move || {
            let refused = beside.refusals(&creative, &doc, now);
            if held.is_none() && !refused.is_empty() {
                return Err(AuthoringError::Invalid(refused));
            }
            let mut warnings: Vec<_> = held.into_iter().flatten().chain(refused).collect();
            let more = warnings::warnings(&creative, &doc, &beside, now);
            let more: Vec<_> = more.into_iter().filter(|warning| !warnings.contains(warning)).collect();
            warnings.extend(more);
            Ok(Passed { doc, warnings })
        };
        tokio::task::spawn_blocking(judged).await.unwrap_or_else(|gone| std::panic::resume_unwind(gone.into_panic()))
    }
}
