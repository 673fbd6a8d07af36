//! What goes where when a request has several items: what one of them shows may be all that another could.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
};

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

/// How often items of one request are asked to show something else, for those that are empty each at most half of
/// what those before it have left.
const MOVES: usize = 256;
/// What an empty item has of that at least, so that none goes without for those before it.
const LEAST_MOVES: usize = 8;
/// How often all items are given the best that the others leave them: each may leave something better for one
/// before it.
const ROUNDS: usize = 8;

/// A search for something that an empty item could show.
#[derive(Default)]
struct Search {
    /// Items that stay with what they were given.
    fixed: Vec<usize>,
    /// How often others may still be asked.
    moves: usize,
    /// Whether any campaign of an exclusive group is in the way.
    grouped: bool,
    /// By the positions of campaigns, whether each could be shown in two placements at once.
    doubles: HashMap<usize, bool>,
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
        let Some(winners_shared) = short.then(|| self.share(slots, &winners)).flatten() else {
            self.seen.shown.clear();
            return self.fill(slots, &winners);
        };
        match self.person.replay.and_then(|replay| replay.shared) {
            Some(true) => return self.fill(slots, &winners_shared),
            Some(false) => {
                self.seen.shown.clear();
                return self.fill(slots, &winners);
            }
            None => self.shared = Some(true),
        }
        let shared = self.fill(slots, &winners_shared);
        let filled = |item: &Item| item.fallback < FallbackLevel::Default;
        if shared.iter().zip(&winners_shared).all(|(item, winner)| filled(item) || winner.is_none()) {
            return shared;
        }
        // one has nothing that is taken, which is known only when its components are chosen
        let explained = mem::take(&mut self.explanation);
        self.seen.shown.clear();
        let own = self.fill(slots, &winners);
        let count = |items: &[Item]| items.iter().filter(|item| filled(item)).count();
        let kept = own.iter().zip(&shared).all(|(own, shared)| filled(shared) || !filled(own));
        if kept && count(&shared) > count(&own) {
            self.explanation = explained;
            return shared;
        }
        self.shared = Some(false);
        own
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
        let (mut search, mut left) = (Search::default(), MOVES);
        let (mut moved, mut hopeless) = (false, None);
        for at in (0..slots.len()).filter(|at| winners[*at].is_none()) {
            // items of a placement ask for the same
            if hopeless == Some(slots[at].ask.placement) {
                continue;
            }
            let most = LEAST_MOVES.max(left / 2);
            search.moves = most;
            if self.make_room(slots, &[at], &mut search) {
                moved = true;
                search.fixed.clear();
            } else {
                hopeless = Some(slots[at].ask.placement);
            }
            left = left.saturating_sub(most - search.moves);
        }
        let shared = moved.then(|| self.settle(slots))?;
        // what there is money for may differ from item to item
        let kept = |(had, has): (&Option<_>, &Option<_>)| had.is_none() || has.is_some();
        winners.iter().zip(&shared).all(kept).then_some(shared)
    }

    /// Gives every item the best that the others leave it, until nothing changes or the rounds are over.
    fn settle(&mut self, slots: &[Slot<'a>]) -> Vec<Option<Winner<'a>>> {
        let mut winners = Vec::new();
        for _ in 0..ROUNDS {
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
        let mut in_vain: Vec<Vec<usize>> = Vec::new();
        'search: for number in self.crowded_out(slot, search) {
            let line = &self.snapshot.lines[number];
            for rivals in self.rivals(line, slot) {
                if rivals.iter().any(|rival| search.fixed.contains(rival)) {
                    continue;
                }
                // another of their group leaves the others no more, unless these could show it too
                if in_vain.contains(&rivals) && !self.doubles(number, slots, search) {
                    continue;
                }
                let Some(left) = search.moves.checked_sub(1) else { break 'search };
                search.moves = left;
                rivals.iter().for_each(|rival| self.leave(*rival));
                if self.may(number, slot) {
                    self.hold(slot, &line.campaign);
                    if self.make_room(slots, &[&rivals, rest].concat(), search) {
                        return true;
                    }
                    in_vain.push(rivals);
                }
                self.seen.shown.clone_from(&before);
            }
        }
        // without groups, who found nothing once, having tried everything, finds nothing for anybody else
        if search.grouped || search.moves == 0 {
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

    /// The positions of the campaigns that could be shown in an item if it were not for what is shown, the best tier
    /// first.
    fn crowded_out(&mut self, slot: &Slot<'a>, search: &mut Search) -> Vec<usize> {
        let snapshot = self.snapshot;
        let shown = mem::take(&mut self.seen.shown);
        let groups: BTreeSet<&str> = shown.iter().filter_map(|shown| shown.group.as_deref()).collect();
        search.grouped |= !groups.is_empty();
        let mut found: Vec<usize> = shown.iter().filter_map(|shown| snapshot.line(&shown.id)).collect();
        found.extend(groups.into_iter().flat_map(|group| snapshot.group(group)));
        found.sort_unstable();
        found.dedup();
        found.retain(|at| self.may(*at, slot));
        self.seen.shown = shown;
        found
    }

    /// Whether a campaign could be shown in two placements at once, were it not for what is shown.
    fn doubles(&mut self, at: usize, slots: &[Slot<'a>], search: &mut Search) -> bool {
        if let Some(known) = search.doubles.get(&at) {
            return *known;
        }
        let shown = mem::take(&mut self.seen.shown);
        let line = &self.snapshot.lines[at];
        let held = slots.iter().filter(|slot| {
            // items of a placement ask for the same
            let may = slot.ask.position == 0 && self.may(at, slot);
            if may {
                self.hold(slot, &line.campaign);
            }
            may
        });
        let doubles = held.take(2).count() == 2;
        self.seen.shown = shown;
        search.doubles.insert(at, doubles);
        doubles
    }

    /// Whether a campaign may be shown in an item beside what is shown.
    fn may(&mut self, at: usize, slot: &Slot<'a>) -> bool {
        let line = &self.snapshot.lines[at];
        let wanted = match &slot.ask.request.candidate {
            None => self.snapshot.tickets[at].weight > 0,
            Some(Candidate::Campaign(id)) => line.campaign.id == *id,
            Some(Candidate::Creative(id)) => line.campaign.creatives.contains(id),
        };
        self.evaluator.within(slot.context);
        wanted && screen(line, &slot.ask, &mut self.evaluator, &self.seen).is_none()
    }
}
