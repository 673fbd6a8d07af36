//! What is shown where no campaign may be.

use std::sync::Arc;

use crate::domain::{
    catalog::{
        campaign::Campaign,
        creative::Creative,
        snapshot::{Line, Placement},
    },
    decision::{decided::Showing, eligibility::Ask, explanation::Reason, request::Candidate, run::Run},
    values::Size,
};

impl Run<'_> {
    /// The default creative of a pinned campaign, else the house creative, with all defaults.
    pub(super) fn fall_back(&self, ask: &Ask<'_>, registered: Option<&Placement>) -> Option<Showing> {
        // a campaign's own money is spent on nobody that it is not for
        let bids = |line: &&Line| {
            let Line { campaign, default, .. } = line;
            let (among, free) = (ask.request.among.as_ref(), ask.request.priced || campaign.budget.is_none());
            default.is_some() && among.is_none_or(|all| free && all.binary_search(&campaign.hash).is_ok())
        };
        let line = |at: &usize| &self.snapshot.lines[*at];
        let pinned = ask.request.candidate.as_ref().and_then(|candidate| match candidate {
            Candidate::Campaign(id) => self.snapshot.line(id).as_ref().map(line).filter(bids),
            Candidate::Creative(id) => self.snapshot.listing(id).iter().map(line).find(bids),
        });
        let default = pinned.and_then(|line| Some((Some(&line.campaign), line.default.as_ref()?)));
        let house = registered.and_then(|registered| self.snapshot.creatives.get(registered.house.as_ref()?));
        let (campaign, creative, of) = [default, house.map(|creative| (None, creative))]
            .into_iter()
            .flatten()
            .filter(|(_, creative)| !ask.request.blocked_creatives.contains(&creative.id))
            .find_map(|(campaign, creative)| {
                let variant = ask.variant(creative).filter(|(at, _)| ask.plays(creative, *at, &[]))?;
                Some((campaign, creative, variant))
            })?;
        Some(self.defaults(campaign, creative, of))
    }

    /// A creative with all its defaults.
    pub(super) fn defaults(
        &self,
        campaign: Option<&Arc<Campaign>>,
        creative: &Arc<Creative>,
        of: (usize, Option<Size>),
    ) -> Showing {
        let default = Showing::of_defaults(campaign.cloned(), Arc::clone(creative), of.0, of.1);
        let tried = self.request.preview.is_some();
        Showing { reason: if tried { Reason::Preview } else { default.reason }, ..default }
    }
}
