//! Why a run decided as it did.

use crate::domain::{
    decision::{
        decided::Showing,
        eligibility::{Ask, screen},
        exclusion::Exclusion,
        explanation::{self, ItemExplanation},
        request::Explain,
        run::Run,
        standing::FallbackLevel,
    },
    ids::{DecisionId, NameHash},
};

impl Run<'_> {
    /// Asks every campaign again, in serving order, for the first condition that failed. Of those that are
    /// `silent` all hold, but none has anything that plays.
    pub(super) fn explain(
        &mut self,
        id: DecisionId,
        ask: &Ask<'_>,
        shown: Option<&Showing>,
        level: FallbackLevel,
        silent: &[NameHash],
    ) {
        let winner = shown.filter(|_| level != FallbackLevel::Default).and_then(|showing| showing.campaign.as_ref());
        let full = self.request.explain == Explain::Full;
        let mut candidates = Vec::with_capacity(self.snapshot.lines.len());
        for line in &self.snapshot.lines {
            let campaign = &line.campaign;
            let mut excluded = screen(line, ask, &mut self.evaluator, &self.seen);
            if let (Some(Exclusion::Targeting { why }), Some(condition), true) =
                (&mut excluded, &campaign.condition, full)
            {
                *why = self.evaluator.failing(condition);
            }
            let excluded = excluded.or_else(|| match winner {
                _ if silent.contains(&campaign.hash) => Some(Exclusion::NothingPlays),
                Some(winner) if winner.id == campaign.id => None,
                _ if ask.pinned => Some(Exclusion::NotPinned),
                Some(winner) if winner.priority < campaign.priority => {
                    Some(Exclusion::LowerPriority { serving: winner.priority })
                }
                Some(winner) => Some(Exclusion::Rotation { chosen: winner.id.clone() }),
                None => None,
            });
            candidates.push(explanation::Candidate {
                campaign: campaign.id.clone(),
                tier: campaign.priority,
                excluded,
            });
        }
        let slots = match shown {
            Some(showing) if full => {
                let manner = ask.manner(showing.variant, self.manner(showing.campaign.as_deref()));
                let Showing { creative, choice, picked, .. } = showing;
                explanation::slots(creative, choice, picked, &manner, level, &mut self.evaluator)
            }
            _ => Vec::new(),
        };
        self.explanation.push(ItemExplanation {
            decision_id: id,
            placement: ask.request.id.clone(),
            position: ask.position,
            campaign: shown.and_then(|showing| showing.campaign.as_ref()).map(|campaign| campaign.id.clone()),
            creative: shown.map(|showing| showing.creative.id.clone()),
            reason: shown.map(|showing| showing.reason),
            fallback_level: level,
            candidates,
            slots,
            optimizer: shown.and_then(|showing| showing.thought.as_ref()?.reasoning(showing)),
        });
    }
}
