//! What a creative is judged beside before it is published: read, and asked off the runtime.

use std::{collections::BTreeSet, sync::Arc};

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
    ids::CreativeId,
    values::Millis,
    violation::Violation,
};

/// A creative that may be published.
pub(super) struct Passed {
    pub(super) doc: RevisionDoc,
    pub(super) warnings: Vec<Violation>,
}

impl Workspace {
    /// What is known beside a creative.
    pub(super) fn surroundings(&self, id: &CreativeId, doc: &RevisionDoc) -> Surroundings {
        let campaigns: Vec<_> = self.showing(id).collect();
        let others: BTreeSet<&CreativeId> =
            campaigns.iter().flat_map(|(_, campaign)| &campaign.creatives).filter(|other| *other != id).collect();
        let shapes = |other: &CreativeId| {
            let draft: CreativeDoc = self.typed(Kind::Creative, other.as_str())?;
            let templates =
                draft.templates.iter().filter_map(|id| self.typed::<TemplateDoc>(Kind::Template, id.as_str()));
            Some((other.clone(), templates.map(|template| (template.format, template.size)).collect()))
        };
        let others = others.into_iter().filter_map(shapes).collect();
        let placements = self
            .of(Kind::Placement, "")
            .filter_map(|(key, body)| Some((key.id.parse().ok()?, serde_json::from_value(body.clone()).ok()?)));
        Surroundings {
            advertiser: self.typed(Kind::Advertiser, doc.creative.advertiser.as_str()),
            placements: placements.collect(),
            campaigns,
            others,
        }
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

    /// Holds a creative against the gate, on a thread of its own: rules can be intricate.
    pub(super) async fn judge(
        &self,
        work: &Workspace,
        doc: RevisionDoc,
        creative: Arc<Creative>,
        fresh: bool,
    ) -> Result<Passed, AuthoringError> {
        let (beside, now) = (work.surroundings(&creative.id, &doc), self.clock.now());
        let judged = move || {
            let refused = beside.refusals(&creative, &doc, fresh, now);
            if !refused.is_empty() {
                return Err(AuthoringError::Invalid(refused));
            }
            let warnings = warnings::warnings(&creative, &doc, &beside, now);
            Ok(Passed { doc, warnings })
        };
        tokio::task::spawn_blocking(judged).await.unwrap_or_else(|gone| std::panic::resume_unwind(gone.into_panic()))
    }
}

/// Why a creative of a bundle or a draft may not be published; `fresh`: it has not served before.
pub(super) fn refusals(
    work: &Workspace,
    creative: &Creative,
    doc: &RevisionDoc,
    fresh: bool,
    now: Millis,
) -> Vec<Violation> {
    work.surroundings(&creative.id, doc).refusals(creative, doc, fresh, now)
}
