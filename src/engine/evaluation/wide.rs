//! Decisions among too many combinations to weigh them one by one: they are weighed by their components,
//! as if what one adds did not depend on the others.

use std::collections::HashMap;

use super::{Row, Target};
use crate::{
    domain::{
        measurement::slate::SlotWeights,
        optimizer::{DEFAULT, Mixture, Rules, Snapshot as Draws, Space},
    },
    ports::LoggedDecision,
};

/// Weighs logged decisions.
#[derive(Default)]
pub(super) struct Wide {
    /// What is believed by each state of knowledge, without any draw.
    believed: HashMap<u64, Draws>,
    /// Steps taken; how many a decision takes grows with the cube of its components.
    spent: f64,
}

impl Wide {
    /// Steps that may be taken: some seconds.
    const STEPS: f64 = 5e9;

    /// The weights of components for the other rotation in the context of a decision, and the positions
    /// of what was shown; none where they cannot be said, or where it would take too long.
    pub(super) fn weights(
        &mut self,
        target: &Target,
        row: &Row<'_>,
        logged: &LoggedDecision,
    ) -> Option<(SlotWeights, Vec<u16>)> {
        let components: usize = row.space.options().iter().map(Vec::len).sum();
        self.spent += (components as f64).powi(3);
        if self.spent > Self::STEPS {
            return None;
        }
        let mut mixture = Mixture::unpack(logged.mixture.as_deref()?)?;
        // slots that came later showed their default
        mixture.members.iter_mut().for_each(|(_, best)| best.resize(row.choice.len(), DEFAULT));
        let shares = self.shares(target, row, logged)?;
        let weights = mixture.design(&row.space).ok()?.weights(&shares).ok()?;
        Some((weights, row.space.positions(&row.choice)?))
    }

    /// Per slot how likely the other rotation shows each option.
    fn shares(&mut self, target: &Target, row: &Row<'_>, logged: &LoggedDecision) -> Option<Vec<Vec<f64>>> {
        let (space, draws) = (&row.space, row.draws);
        match target {
            Target::Even => space.shares(|_, _| 1.0),
            Target::Weights => {
                let weight = |slot: usize, one: u16| {
                    let mut choice = vec![DEFAULT; row.choice.len()];
                    choice[slot] = one;
                    let positions = row.learner.candidates(row.creative, &choice);
                    let shown = (0..row.creative.slots.len()).find_map(|slot| row.creative.chosen(slot, &positions));
                    shown.map_or(1.0, |component| f64::from(component.weight))
                };
                space.shares(weight)
            }
            Target::Best => {
                let believed = self.believed.entry(draws.id()).or_insert_with(|| draws.believed());
                let best = space.positions(&believed.best(space, &logged.features, 0))?;
                let one = |(options, best): (&Vec<u16>, u16)| {
                    (0..options.len()).map(|at| f64::from(u8::from(at == usize::from(best)))).collect()
                };
                Some(space.options().iter().zip(best).map(one).collect())
            }
            Target::Without(gone) => {
                let left = row.without(gone)?;
                let shown = draws.mixture(&left, &logged.features).design(&left).ok()?.shown();
                Some(among(space, &left, &shown))
            }
        }
    }
}

/// Probabilities of the options of one space as those of a larger one.
fn among<R: Rules>(space: &Space<R>, left: &Space<R>, shown: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let slot = |((options, left), shown): ((&Vec<u16>, &Vec<u16>), &Vec<f64>)| {
        let share = |one: &u16| left.binary_search(one).map_or(0.0, |at| shown[at]);
        options.iter().map(share).collect()
    };
    space.options().iter().zip(left.options()).zip(shown).map(slot).collect()
}
