//! The best legal combination of one draw: coordinate ascent from several starts.

use crate::domain::optimizer::{
    layout::{DEFAULT, Layout},
    random::{Random, mix},
    snapshot::{Member, Snapshot},
    space::{Rules, Space},
};

/// A slot's choice as a component's number; its default has none.
const NONE: usize = usize::MAX;
/// A move must gain this, so that rounding cannot make two of them alternate for ever.
const GAIN: f32 = 1e-5;

/// The search for one draw, one person and one space.
pub(super) struct Climb<'a, R> {
    layout: &'a Layout,
    space: &'a Space<R>,
    member: Member<'a>,
    starts: u32,
    seed: u64,
    /// Per component what it is worth by itself to this person; minus infinity where it may not be
    /// chosen.
    worth: Vec<f32>,
    /// The same in the company of the other slots' choices, for the slots last asked about.
    value: Vec<f32>,
}

impl<'a, R: Rules> Climb<'a, R> {
    pub(super) fn new(snapshot: &'a Snapshot, space: &'a Space<R>) -> Self {
        let layout = &snapshot.layout;
        Self {
            layout,
            space,
            member: snapshot.member(0),
            starts: snapshot.settings.starts,
            seed: 0,
            worth: vec![0.0; layout.components()],
            value: vec![0.0; layout.components()],
        }
    }

    /// Turns to a member, for a person with these features.
    pub(super) fn turn(&mut self, snapshot: &'a Snapshot, member: usize, features: &[u16]) {
        self.member = snapshot.member(member);
        self.seed = mix(snapshot.seed ^ member as u64);
        self.worth.copy_from_slice(self.member.mains);
        let components = self.worth.len();
        for &feature in features {
            let row = &self.member.crosses[usize::from(feature) * components..][..components];
            self.worth.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
        }
        self.worth.iter_mut().zip(&self.space.mask).for_each(|(sum, mask)| *sum += mask);
    }

    /// The best combination found.
    pub(super) fn best(&mut self) -> Vec<usize> {
        let mut best: Option<(f32, Vec<usize>)> = None;
        let mut at = Vec::with_capacity(self.layout.slots());
        let starts = if self.member.pairs.is_empty() && self.space.ruled.is_empty() { 1 } else { self.starts.max(1) };
        for start in 0..starts {
            self.start(start, &mut at);
            while self.improve(&mut at) {}
            let score = self.score(&at);
            match &mut best {
                Some((most, _)) if score <= *most => {}
                Some((most, kept)) => {
                    *most = score;
                    kept.clone_from(&at);
                }
                None => best = Some((score, at.clone())),
            }
        }
        best.map_or_else(Vec::new, |(_, best)| best)
    }

    /// Whether no move improves a combination. Only such combinations are found.
    pub(super) fn is_settled(&mut self, at: &[usize]) -> bool {
        !self.improve(&mut at.to_vec())
    }

    pub(super) fn numbers(&self, choice: &[u16]) -> Vec<usize> {
        let number = |(slot, one): (usize, &u16)| self.layout.component(slot, *one).unwrap_or(NONE);
        choice.iter().enumerate().map(number).collect()
    }

    pub(super) fn choice(&self, at: &[usize]) -> Vec<u16> {
        at.iter().map(|at| if *at == NONE { DEFAULT } else { self.layout.place(*at).1 }).collect()
    }

    /// The first start is the best of each slot by itself, the others are drawn.
    fn start(&mut self, start: u32, at: &mut Vec<usize>) {
        at.clear();
        if start > 0 || !self.space.complete {
            let mut random = Random::new(self.seed ^ u64::from(start));
            at.extend(self.numbers(&self.space.draw(&mut random)));
            return;
        }
        at.resize(self.layout.slots(), NONE);
        self.value.copy_from_slice(&self.worth);
        for slot in (0..at.len()).filter(|slot| !self.space.ruled.contains(slot)) {
            at[slot] = self.better(slot, NONE, f32::NEG_INFINITY);
        }
        if !self.space.ruled.is_empty() {
            self.together(at, f32::NEG_INFINITY);
        }
    }

    /// Goes once through the slots and takes the best choice of each; whether anything changed.
    fn improve(&mut self, at: &mut [usize]) -> bool {
        let mut moved = false;
        if !self.space.ruled.is_empty() {
            moved |= self.improve_ruled(at);
        }
        for slot in 0..at.len() {
            if self.space.ruled.contains(&slot) {
                continue;
            }
            self.appraise(slot, at);
            let now = at[slot];
            let worth = if now == NONE { 0.0 } else { self.value[now] };
            let better = self.better(slot, now, worth);
            moved |= better != now;
            at[slot] = better;
        }
        moved
    }

    /// What each component of a slot is worth in the company of the others.
    fn appraise(&mut self, slot: usize, at: &[usize]) {
        let range = self.layout.slot(slot);
        let value = &mut self.value[range.clone()];
        value.copy_from_slice(&self.worth[range.clone()]);
        if self.member.pairs.is_empty() {
            return;
        }
        let components = self.worth.len();
        for &other in at.iter().enumerate().filter(|(of, other)| *of != slot && **other != NONE).map(|(_, other)| other)
        {
            let row = &self.member.pairs[other * components..][range.clone()];
            value.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
        }
    }

    /// The most valuable choice of a slot, `now` unless one gains on it.
    fn better(&self, slot: usize, now: usize, worth: f32) -> usize {
        let (mut best, mut most) = (now, worth + GAIN);
        for component in self.layout.slot(slot) {
            if self.value[component] > most {
                (best, most) = (component, self.value[component]);
            }
        }
        // the default, which is last among the options, is worth nothing by itself
        if most < 0.0 && self.space.options[slot].last() == Some(&DEFAULT) { NONE } else { best }
    }

    /// Moves the slots that rules name.
    fn improve_ruled(&mut self, at: &mut [usize]) -> bool {
        if self.space.complete {
            for place in 0..self.space.ruled.len() {
                let slot = self.space.ruled[place];
                let free: Vec<usize> = at
                    .iter()
                    .enumerate()
                    .map(|(of, at)| if self.space.ruled.contains(&of) { NONE } else { *at })
                    .collect();
                self.appraise(slot, &free);
            }
            let now = self.joint(self.space.ruled.iter().map(|slot| at[*slot]));
            return self.together(at, now);
        }
        let mut moved = false;
        let mut chosen: Vec<Option<u16>> = self.choice(at).into_iter().map(Some).collect();
        for place in 0..self.space.ruled.len() {
            let slot = self.space.ruled[place];
            self.appraise(slot, at);
            let worth = |at: usize| if at == NONE { 0.0 } else { self.value[at] };
            let (mut best, mut most) = (at[slot], worth(at[slot]) + GAIN);
            for &option in &self.space.options[slot] {
                let number = self.layout.component(slot, option).unwrap_or(NONE);
                let before = chosen[slot].replace(option);
                if worth(number) > most && self.space.rules.allows(&chosen) {
                    (best, most) = (number, worth(number));
                } else {
                    chosen[slot] = before;
                }
            }
            moved |= best != at[slot];
            at[slot] = best;
        }
        moved
    }

    /// Takes the best of the listed choices for all ruled slots, if it gains on `now`.
    fn together(&self, at: &mut [usize], now: f32) -> bool {
        let (mut best, mut most) = (None, now + GAIN);
        for tuple in self.space.tuples() {
            let numbers = self.space.ruled.iter().zip(tuple);
            let joint = self.joint(numbers.map(|(slot, one)| self.layout.component(*slot, *one).unwrap_or(NONE)));
            if joint > most {
                (best, most) = (Some(tuple), joint);
            }
        }
        for (slot, one) in self.space.ruled.iter().zip(best.unwrap_or_default()) {
            at[*slot] = self.layout.component(*slot, *one).unwrap_or(NONE);
        }
        best.is_some()
    }

    /// What several components are worth together, given what each was appraised at.
    fn joint(&self, numbers: impl Iterator<Item = usize> + Clone) -> f32 {
        let components = self.worth.len();
        let mut sum = 0.0;
        let mut rest = numbers.filter(|number| *number != NONE);
        while let Some(one) = rest.next() {
            sum += self.value[one];
            if !self.member.pairs.is_empty() {
                sum += rest.clone().map(|other| self.member.pairs[one * components + other]).sum::<f32>();
            }
        }
        sum
    }

    fn score(&self, at: &[usize]) -> f32 {
        let components = self.worth.len();
        let mut sum = 0.0;
        for (slot, &one) in at.iter().enumerate().filter(|(_, one)| **one != NONE) {
            sum += self.worth[one];
            if !self.member.pairs.is_empty() {
                let others = at[slot + 1..].iter().filter(|other| **other != NONE);
                sum += others.map(|other| self.member.pairs[one * components + other]).sum::<f32>();
            }
        }
        sum
    }
}
