//! What goes where when a request has several items: what one of them shows may be all that another could.

use std::mem;

use crate::domain::{
    catalog::snapshot::Line,
    decision::{
        decided::Item,
        eligibility::screen,
        request::Candidate,
        run::{Run, Slot, Winner},
        standing::FallbackLevel,
    },
};

/// How often items of one request are asked to show something else.
const MOVES: usize = 256;

/// A search for something that an empty item could show.
#[derive(Default)]
struct Search {
    /// Items that stay with what they were given.
    fixed: Vec<usize>,
    moves: usize,
    /// Positions of all campaigns of exclusive groups, where such are shown.
    grouped: Option<Vec<usize>>,
}

impl<'a> Run<'a> {
    /// Fills all items. Each in its order takes the best that is left; where that leaves one empty for what
    /// others show, these show something else if they can. No item that was filled is emptied for another.
    pub(super) fn all(&mut self, slots: &[Slot<'a>]) -> Vec<Item> {
        if slots.len() < 2 {
            return self.fill(slots, &[]);
        }
        let winners: Vec<_> = slots.iter().map(|slot| self.seat(slot)).collect();
        let short = winners.iter().any(Option::is_none) && !self.seen.shown.is_empty();
        if let Some(shared) = short.then(|| self.share(slots, &winners)).flatten() {
            let items = self.fill(slots, &shared);
            let kept = |(item, winner): (&Item, &Option<_>)| winner.is_none() || item.fallback < FallbackLevel::Default;
            if items.iter().zip(&shared).all(kept) {
                return items;
            }
            // one has nothing that is taken, which is known only when its components are chosen
            self.explanation.clear();
        }
        self.seen.shown.clear();
        self.fill(slots, &winners)
    }

    /// Fills items one after the other beside what is shown. The `winners` are known for as long as each is shown.
    fn fill(&mut self, slots: &[Slot<'a>], mut winners: &[Option<Winner<'a>>]) -> Vec<Item> {
        let mut fill = |slot: &Slot<'a>| {
            self.leave(slot.at);
            let winner = winners.get(slot.at).copied().unwrap_or_else(|| self.elect(slot));
            let item = self.item(slot, winner);
            let shown = item.shown.as_ref().and_then(|showing| showing.campaign.as_deref());
            if shown.map(|campaign| campaign.hash) != winner.and_then(Winner::campaign).map(|campaign| campaign.hash) {
                winners = &[];
            }
            item
        };
        slots.iter().map(&mut fill).collect()
    }

    /// Gives an item the best that is left.
    fn seat(&mut self, slot: &Slot<'a>) -> Option<Winner<'a>> {
        self.leave(slot.at);
        let winner = self.elect(slot);
        if let Some(campaign) = winner.and_then(Winner::campaign) {
            self.hold(slot, campaign);
        }
        winner
    }

    fn leave(&mut self, item: usize) {
        self.seen.shown.retain(|shown| shown.item != item);
    }

    /// What wins each item when those that were left with nothing are given what others can do without; nothing
    /// where there is no such thing.
    fn share(&mut self, slots: &[Slot<'a>], winners: &[Option<Winner<'a>>]) -> Option<Vec<Option<Winner<'a>>>> {
        let mut search = Search { moves: MOVES, ..Search::default() };
        let (mut moved, mut hopeless) = (false, None);
        for at in (0..slots.len()).filter(|at| winners[*at].is_none()) {
            // items of a placement ask for the same
            if hopeless == Some(slots[at].ask.placement) {
                continue;
            }
            search.fixed.clear();
            if self.make_room(slots, &[at], &mut search) {
                moved = true;
            } else {
                hopeless = Some(slots[at].ask.placement);
            }
        }
        let shared = moved.then(|| self.settle(slots))?;
        // what there is money for may differ from item to item
        let kept = |(had, has): (&Option<_>, &Option<_>)| had.is_none() || has.is_some();
        winners.iter().zip(&shared).all(kept).then_some(shared)
    }

    /// Gives every item the best that the others leave it, until nothing changes.
    fn settle(&mut self, slots: &[Slot<'a>]) -> Vec<Option<Winner<'a>>> {
        let mut winners = Vec::new();
        for _ in slots {
            let before = self.seen.shown.clone();
            winners = slots.iter().map(|slot| self.seat(slot)).collect();
            if self.seen.shown == before {
                break;
            }
        }
        winners
    }

    /// Finds something for all items that wait: the best that is left, or what others give up, who wait in turn
    /// (an augmenting path). Where it finds nothing, nothing has changed.
    fn make_room(&mut self, slots: &[Slot<'a>], waiting: &[usize], search: &mut Search) -> bool {
        let Some((&at, rest)) = waiting.split_first() else { return true };
        let (slot, before, fixed) = (&slots[at], self.seen.shown.clone(), search.fixed.len());
        if self.seat(slot).is_some() {
            let found = self.make_room(slots, rest, search);
            if !found {
                self.seen.shown = before;
            }
            return found;
        }
        search.fixed.push(at);
        for line in self.crowded_out(slot, search) {
            for rivals in self.rivals(line, slot) {
                if rivals.iter().any(|rival| search.fixed.contains(rival)) {
                    continue;
                }
                let Some(left) = search.moves.checked_sub(1) else { return false };
                search.moves = left;
                rivals.iter().for_each(|rival| self.leave(*rival));
                self.evaluator.within(slot.context);
                if screen(line, &slot.ask, &mut self.evaluator, &self.seen).is_none() {
                    self.hold(slot, &line.campaign);
                    if self.make_room(slots, &[&rivals, rest].concat(), search) {
                        return true;
                    }
                }
                self.seen.shown.clone_from(&before);
            }
        }
        // without groups, who found nothing once finds nothing for anybody else
        if search.grouped.is_some() {
            search.fixed.truncate(fixed);
        }
        false
    }

    /// The items, any of which would have to show something else for a campaign to be shown in another; all
    /// together where it is their group that is in the way.
    fn rivals(&self, line: &Line, slot: &Slot<'_>) -> Vec<Vec<usize>> {
        let (campaign, shown) = (&line.campaign, self.seen.shown.iter());
        let beside = shown.clone().filter(|shown| {
            campaign.exclusive_group.is_some() && shown.group == campaign.exclusive_group && shown.hash != campaign.hash
        });
        let group: Vec<_> = beside.map(|shown| shown.item).collect();
        if !group.is_empty() {
            return vec![group];
        }
        // who stands in the same placement could do with nothing that this one could not
        let holders = shown.filter(|shown| shown.hash == campaign.hash && shown.placement != slot.ask.placement);
        holders.map(|shown| vec![shown.item]).collect()
    }

    /// The campaigns that could be shown in an item if it were not for what is shown, the best tier first.
    fn crowded_out(&mut self, slot: &Slot<'a>, search: &mut Search) -> Vec<&'a Line> {
        let snapshot = self.snapshot;
        let shown = mem::take(&mut self.seen.shown);
        let mut found: Vec<usize> = shown.iter().filter_map(|shown| snapshot.line(&shown.id)).collect();
        if shown.iter().any(|shown| shown.group.is_some()) {
            let group = |at: &usize| &snapshot.lines[*at].campaign.exclusive_group;
            let all = || (0..snapshot.lines.len()).filter(|at| group(at).is_some()).collect();
            let grouped = search.grouped.get_or_insert_with(all).iter().copied();
            found.extend(grouped.filter(|at| shown.iter().any(|shown| shown.group == *group(at))));
        }
        found.sort_unstable();
        found.dedup();
        self.evaluator.within(slot.context);
        found.retain(|at| {
            let line = &snapshot.lines[*at];
            let wanted = match &slot.ask.request.candidate {
                None => snapshot.tickets[*at].weight > 0,
                Some(Candidate::Campaign(id)) => line.campaign.id == *id,
                Some(Candidate::Creative(id)) => line.campaign.creatives.contains(id),
            };
            wanted && screen(line, &slot.ask, &mut self.evaluator, &self.seen).is_none()
        });
        self.seen.shown = shown;
        found.into_iter().map(|at| &snapshot.lines[at]).collect()
    }
}
