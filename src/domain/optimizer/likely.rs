//! How likely choices were, worked out once for each context.

use std::collections::HashMap;

use crate::domain::optimizer::{
    mixture::Mixture,
    snapshot::Snapshot,
    space::{Rules, Space},
};

/// How likely choices are by one snapshot, in one space and for one set of features. Each is worked
/// out when it is first asked for.
#[derive(Clone, Debug)]
pub struct Likely {
    /// Of every choice at once, where there are many.
    mixture: Option<Mixture>,
    known: HashMap<Vec<u16>, f64>,
}

impl Likely {
    /// A context; with more than `most` legal combinations the whole distribution is worked out, from
    /// which each choice's probability can be told.
    #[must_use]
    pub fn new<R: Rules>(draws: &Snapshot, space: &Space<R>, features: &[u16], most: u64) -> Self {
        let mixture = (space.count() > most as f64).then(|| draws.mixture(space, features));
        Self { mixture, known: HashMap::new() }
    }

    /// The distribution, where there are many combinations.
    #[must_use]
    pub fn mixture(&self) -> Option<&Mixture> {
        self.mixture.as_ref()
    }

    /// The exact probability of a choice; the other arguments are those of [`Self::new`].
    pub fn of<R: Rules>(&mut self, draws: &Snapshot, space: &Space<R>, features: &[u16], choice: &[u16]) -> f64 {
        if let Some(known) = self.known.get(choice) {
            return *known;
        }
        let share = match &self.mixture {
            Some(mixture) => mixture.propensity(space, choice),
            None => draws.propensity(space, features, choice),
        };
        self.known.insert(choice.to_vec(), share);
        share
    }
}
