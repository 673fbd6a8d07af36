//! Which combinations are legal: what may stand in each slot, and which go together.

use crate::domain::optimizer::{
    layout::{DEFAULT, Layout},
    random::Random,
};

/// Which components go together.
pub trait Rules {
    /// Whether no rule is broken yet by a choice that may still have open slots (`None`). A full
    /// choice is legal exactly when this is `true`; with open slots `false` means that no way of
    /// filling them helps.
    fn allows(&self, chosen: &[Option<u16>]) -> bool;

    /// Whether any rule names a component of this slot.
    fn names(&self, slot: usize) -> bool;
}

/// Every combination is legal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Free;

impl Rules for Free {
    fn allows(&self, _: &[Option<u16>]) -> bool {
        true
    }

    fn names(&self, _: usize) -> bool {
        false
    }
}

impl<R: Rules + ?Sized> Rules for &R {
    fn allows(&self, chosen: &[Option<u16>]) -> bool {
        (**self).allows(chosen)
    }

    fn names(&self, slot: usize) -> bool {
        (**self).names(slot)
    }
}

/// No combination of what may stand in the slots is legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no legal combination")]
pub struct NoLegalCombination;

/// The legal combinations of one decision. Decisions with the same components available may share
/// one.
#[derive(Clone, Debug)]
pub struct Space<R> {
    pub(super) rules: R,
    /// Per slot what may stand in it.
    pub(super) options: Vec<Vec<u16>>,
    /// Per component 0, or minus infinity where it may not be chosen.
    pub(super) mask: Vec<f32>,
    /// The slots that rules name.
    pub(super) ruled: Vec<usize>,
    /// Legal choices for the ruled slots, one after the other, in ascending order.
    pub(super) tuples: Vec<u16>,
    /// Whether these are all.
    pub(super) complete: bool,
}

/// Legal choices for the ruled slots that are listed at most.
const MOST_TUPLES: usize = 1_024;
/// Partial choices looked at while listing them.
const MOST_LOOKS: usize = 1 << 14;
/// Where there are more: how many are drawn instead.
const DRAWN: usize = 256;

impl<R: Rules> Space<R> {
    /// What is legal of `options`, per slot the numbers of the components that may stand in it
    /// ([`DEFAULT`] where its own default may). A slot without any shows its default. Numbers that
    /// the layout does not have are left out.
    ///
    /// Where the rules allow more choices for the slots they name than can be listed, even shares
    /// are drawn among a fixed sample of them; the search still reaches them all.
    ///
    /// # Errors
    /// When no combination is legal.
    pub fn new(layout: &Layout, options: Vec<Vec<u16>>, rules: R) -> Result<Self, NoLegalCombination> {
        let mut options = options;
        options.resize(layout.slots(), Vec::new());
        for (slot, options) in options.iter_mut().enumerate() {
            options.retain(|one| *one == DEFAULT || layout.component(slot, *one).is_some());
            options.sort_unstable();
            options.dedup();
            if options.is_empty() {
                options.push(DEFAULT);
            }
        }
        let ruled = (0..options.len()).filter(|slot| rules.names(*slot)).collect();
        let mask = vec![f32::NEG_INFINITY; layout.components()];
        let mut space = Self { rules, options, mask, ruled, tuples: Vec::new(), complete: true };
        if !space.ruled.is_empty() {
            space.list()?;
        }
        for slot in 0..space.options.len() {
            let place = space.ruled.iter().position(|ruled| *ruled == slot);
            for at in 0..space.options[slot].len() {
                let one = space.options[slot][at];
                let usable =
                    place.is_none_or(|place| !space.complete || space.tuples().any(|tuple| tuple[place] == one));
                if let Some(component) = layout.component(slot, one).filter(|_| usable) {
                    space.mask[component] = 0.0;
                }
            }
        }
        Ok(space)
    }

    /// How many combinations there are that may be drawn.
    #[must_use]
    pub fn count(&self) -> f64 {
        let free = (0..self.options.len()).filter(|slot| !self.ruled.contains(slot));
        free.map(|slot| self.options[slot].len() as f64).product::<f64>() * self.tuples().len() as f64
    }

    /// Every legal combination; `None` when there are more than `most`.
    #[must_use]
    pub fn list_all(&self, most: usize) -> Option<Vec<Vec<u16>>> {
        if !self.complete || self.count() > most as f64 {
            return None;
        }
        let mut all = vec![Vec::new()];
        for (slot, options) in self.options.iter().enumerate() {
            let ruled = self.ruled.contains(&slot);
            // ruled slots are filled below, together
            let options: &[u16] = if ruled { &[DEFAULT] } else { options };
            let longer = |choice: &Vec<u16>| {
                options.iter().map(|one| choice.iter().copied().chain([*one]).collect()).collect::<Vec<Vec<u16>>>()
            };
            all = all.iter().flat_map(longer).collect();
        }
        let with = |tuple: &[u16]| {
            let mut filled = all.clone();
            for choice in &mut filled {
                self.ruled.iter().zip(tuple).for_each(|(slot, one)| choice[*slot] = *one);
            }
            filled
        };
        Some(self.tuples().flat_map(with).collect())
    }

    /// Whether every option may be chosen, as far as that is known.
    #[must_use]
    pub fn reaches_all(&self) -> bool {
        let shown = |(place, slot): (usize, &usize)| {
            self.options[*slot].iter().all(|one| self.tuples().any(|tuple| tuple[place] == *one))
        };
        !self.complete || self.ruled.iter().enumerate().all(shown)
    }

    /// Whether a draw reaches every legal combination.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether a combination is legal here.
    #[must_use]
    pub fn allows(&self, choice: &[u16]) -> bool {
        choice.len() == self.options.len()
            && choice.iter().zip(&self.options).all(|(one, options)| options.binary_search(one).is_ok())
            && (self.ruled.is_empty() || self.rules.allows(&choice.iter().copied().map(Some).collect::<Vec<_>>()))
    }

    /// The probability with which a draw gives this choice.
    #[must_use]
    pub fn share(&self, choice: &[u16]) -> f64 {
        let listed = self.complete || self.find(choice).is_some();
        if listed && self.allows(choice) { 1.0 / self.count() } else { 0.0 }
    }

    /// The positions of a choice among the options of each slot.
    #[must_use]
    pub fn positions(&self, choice: &[u16]) -> Option<Vec<u16>> {
        let same = choice.len() == self.options.len();
        let at = |(one, options): (&u16, &Vec<u16>)| Some(options.binary_search(one).ok()? as u16);
        choice.iter().zip(&self.options).map(at).collect::<Option<_>>().filter(|_| same)
    }

    /// Per slot what may stand in it, ascending.
    #[must_use]
    pub fn options(&self) -> &[Vec<u16>] {
        &self.options
    }

    /// Per slot how likely each option is where every combination is drawn in proportion to the product
    /// of its components' weights; `None` where all weigh nothing.
    #[must_use]
    pub fn shares(&self, weight: impl Fn(usize, u16) -> f64) -> Option<Vec<Vec<f64>>> {
        let weigh = |slot: usize| self.options[slot].iter().map(|one| weight(slot, *one)).collect::<Vec<_>>();
        let mut shares: Vec<Vec<f64>> = (0..self.options.len()).map(weigh).collect();
        if !self.ruled.is_empty() {
            self.ruled.iter().for_each(|slot| shares[*slot].fill(0.0));
            for tuple in self.tuples() {
                let whole: f64 = self.ruled.iter().zip(tuple).map(|(slot, one)| weight(*slot, *one)).product();
                for (slot, one) in self.ruled.iter().zip(tuple) {
                    let at = self.options[*slot].binary_search(one).ok()?;
                    shares[*slot][at] += whole;
                }
            }
        }
        for shares in &mut shares {
            let total: f64 = shares.iter().sum();
            if total <= 0.0 || !total.is_finite() {
                return None;
            }
            shares.iter_mut().for_each(|share| *share /= total);
        }
        Some(shares)
    }

    /// A combination, all equally likely.
    pub(super) fn draw(&self, random: &mut Random) -> Vec<u16> {
        self.draw_with(None, random)
    }

    /// A combination that has `one` in `slot`, all equally likely.
    pub(super) fn draw_with(&self, pinned: Option<(usize, u16)>, random: &mut Random) -> Vec<u16> {
        let mut choice: Vec<u16> = self.options.iter().map(|options| options[random.below(options.len())]).collect();
        if let Some((slot, one)) = pinned {
            choice[slot] = one;
        }
        let place = pinned.and_then(|(slot, one)| Some((self.place(slot)?, one)));
        let fits = |tuple: &&[u16]| place.is_none_or(|(place, one)| tuple[place] == one);
        if self.ruled.is_empty() {
            return choice;
        }
        let tuple = match place {
            None => self.tuples().nth(random.below(self.tuples().len())),
            Some(_) => {
                let fitting = self.tuples().filter(fits).count();
                self.tuples().filter(fits).nth(random.below(fitting.max(1)))
            }
        };
        for (slot, one) in self.ruled.iter().zip(tuple.unwrap_or_default()) {
            choice[*slot] = *one;
        }
        choice
    }

    /// How many combinations [`Self::draw_with`] draws among.
    pub(super) fn count_with(&self, slot: usize, one: u16) -> f64 {
        match self.place(slot) {
            Some(place) => {
                let fitting = self.tuples().filter(|tuple| tuple[place] == one).count();
                self.count() * fitting as f64 / self.tuples().len() as f64
            }
            None if self.options[slot].binary_search(&one).is_ok() => self.count() / self.options[slot].len() as f64,
            None => 0.0,
        }
    }

    /// The probability with which [`Self::draw_with`] gives this choice.
    pub(super) fn share_with(&self, slot: usize, one: u16, choice: &[u16]) -> f64 {
        let listed = self.complete || self.find(choice).is_some();
        let count = self.count_with(slot, one);
        if listed && count > 0.0 && choice.get(slot) == Some(&one) && self.allows(choice) { 1.0 / count } else { 0.0 }
    }

    pub(super) fn tuples(&self) -> impl ExactSizeIterator<Item = &[u16]> + Clone {
        // no ruled slot: the one empty choice
        let (width, whole) =
            (self.ruled.len().max(1), if self.ruled.is_empty() { &[DEFAULT][..] } else { &self.tuples });
        whole.chunks_exact(width)
    }

    pub(super) fn place(&self, slot: usize) -> Option<usize> {
        self.ruled.iter().position(|ruled| *ruled == slot)
    }

    /// Which of the listed tuples a choice holds.
    fn find(&self, choice: &[u16]) -> Option<usize> {
        let own: Vec<u16> = self.ruled.iter().filter_map(|slot| choice.get(*slot).copied()).collect();
        self.tuples().position(|tuple| tuple == own || self.ruled.is_empty())
    }

    /// Lists the legal choices for the ruled slots, or a sample of them.
    fn list(&mut self) -> Result<(), NoLegalCombination> {
        let mut chosen = vec![None; self.options.len()];
        let mut search = Search { space: self, looks: MOST_LOOKS, most: MOST_TUPLES, found: Vec::new(), shuffle: None };
        let complete = search.descend(0, &mut chosen) && search.looks > 0;
        let mut found = search.found;
        if !complete {
            let mut all: Vec<Vec<u16>> = found.chunks_exact(self.ruled.len()).take(1).map(<[u16]>::to_vec).collect();
            for seed in 0..DRAWN {
                let mut chosen = vec![None; self.options.len()];
                let random = Some(Random::new(seed as u64));
                let mut search = Search { space: self, looks: 256, most: 1, found: Vec::new(), shuffle: random };
                search.descend(0, &mut chosen);
                if !search.found.is_empty() {
                    all.push(search.found);
                }
            }
            all.sort_unstable();
            all.dedup();
            found = all.concat();
        }
        (self.tuples, self.complete) = (found, complete);
        if self.tuples.is_empty() { Err(NoLegalCombination) } else { Ok(()) }
    }
}

/// Depth first through the ruled slots.
struct Search<'a, R> {
    space: &'a Space<R>,
    looks: usize,
    most: usize,
    found: Vec<u16>,
    /// Tries the options of a slot in a drawn order.
    shuffle: Option<Random>,
}

impl<R: Rules> Search<'_, R> {
    /// Whether the search went on to its end.
    fn descend(&mut self, depth: usize, chosen: &mut [Option<u16>]) -> bool {
        let Some(&slot) = self.space.ruled.get(depth) else {
            if self.found.len() >= self.most * self.space.ruled.len() {
                return false;
            }
            self.found.extend(self.space.ruled.iter().filter_map(|slot| chosen[*slot]));
            return true;
        };
        let options = &self.space.options[slot];
        let first = self.shuffle.as_mut().map_or(0, |random| random.below(options.len()));
        for at in 0..options.len() {
            if self.looks == 0 {
                return false;
            }
            self.looks -= 1;
            chosen[slot] = Some(options[(first + at) % options.len()]);
            if self.space.rules.allows(chosen) && !self.descend(depth + 1, chosen) {
                return false;
            }
        }
        chosen[slot] = None;
        true
    }
}
