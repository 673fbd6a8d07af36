//! Which of all campaigns is shown, where the caller has not chosen.

use crate::domain::{
    audience::{evaluate::Evaluator, value::Folded},
    catalog::{index::Offer, snapshot::Line},
    decision::{
        decided::Showing,
        eligibility::{Ask, Seen, screen},
        rotation::Scope,
        run::Run,
        standing::Degraded,
    },
    ids::{DecisionId, NameHash},
};

/// Campaigns that are asked one after the other for something that is taken.
const TRIES: usize = 1_000;

impl<'a> Run<'a> {
    /// Shows the `first` among all campaigns, or the next where that has nothing which is taken: what a
    /// player gets of a campaign is known only when its components are chosen.
    pub(super) fn show_open(
        &mut self,
        id: DecisionId,
        first: &'a Line,
        ask: &Ask<'_>,
        degraded: &mut Vec<Degraded>,
        silent: &mut Vec<NameHash>,
    ) -> Option<Showing> {
        if let Some(showing) = self.try_line(id, first, ask, degraded, silent) {
            return Some(showing);
        }
        let rest = self.ranked(ask, first);
        rest.into_iter().take(TRIES).find_map(|line| self.try_line(id, line, ask, degraded, silent))
    }

    /// Shows a campaign that may serve, or notes that it has nothing which is taken.
    pub(super) fn try_line(
        &mut self,
        id: DecisionId,
        line: &'a Line,
        ask: &Ask<'_>,
        degraded: &mut Vec<Degraded>,
        silent: &mut Vec<NameHash>,
    ) -> Option<Showing> {
        let showing = self.show_line(id, line, ask, degraded);
        if showing.is_none() {
            silent.push(line.campaign.hash);
        }
        showing
    }

    /// All other campaigns that may serve, in the order in which they would win.
    fn ranked(&mut self, ask: &Ask<'_>, first: &Line) -> Vec<&'a Line> {
        let (snapshot, lot) = (self.snapshot, self.sticky.lot(Scope::CAMPAIGN));
        let mut ranked: Vec<(u8, f64, &'a Line)> = Vec::new();
        for (ticket, line) in snapshot.tickets.iter().zip(&snapshot.lines) {
            let draw = lot.draw(ticket.hash.0, ticket.weight);
            let other = draw.is_finite() && ticket.hash != first.campaign.hash;
            if other && screen(line, ask, &mut self.evaluator, &self.seen).is_none() {
                ranked.push((ticket.priority, draw, line));
            }
        }
        ranked.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        ranked.into_iter().map(|(.., line)| line).collect()
    }

    /// The winner among all campaigns: of the first tier with an eligible one, by weight.
    pub(super) fn open(&mut self, ask: &Ask<'_>) -> Option<&'a Line> {
        let offer = Offer {
            placement: ask.registered,
            formats: ask.formats,
            sizes: ask.sizes,
            country: self.request.context.country,
            device: self.request.context.device.as_ref().map(Folded::as_str),
        };
        let (snapshot, lot) = (self.snapshot, self.sticky.lot(Scope::CAMPAIGN));
        let mut best: Option<(f64, u8, &'a Line)> = None;
        // Only a campaign that would win is asked whether it may: of many, few.
        let mut consider = |at: usize, evaluator: &mut Evaluator<'a>, seen: &Seen<'a>| {
            let (ticket, line) = (&snapshot.tickets[at], &snapshot.lines[at]);
            if best.is_some_and(|(_, tier, _)| tier < ticket.priority) {
                return false;
            }
            let least = best.map_or(f64::INFINITY, |(least, ..)| least);
            if let Some(draw) = lot.draw_below(ticket.hash.0, ticket.weight, least)
                && screen(line, ask, evaluator, seen).is_none()
            {
                best = Some((draw, ticket.priority, line));
            }
            true
        };
        if snapshot.index_holds_at(self.now) {
            let evaluator = &mut self.evaluator;
            let found = snapshot.candidates(&offer, &mut self.scratch, |ix| evaluator.segment(ix).holds());
            for at in found {
                if !consider(at, &mut self.evaluator, &self.seen) {
                    break;
                }
            }
        } else {
            // a preview of the past: campaigns that have ended since are not in the index
            for at in 0..snapshot.lines.len() {
                if !consider(at, &mut self.evaluator, &self.seen) {
                    break;
                }
            }
        }
        best.map(|(.., line)| line)
    }
}
