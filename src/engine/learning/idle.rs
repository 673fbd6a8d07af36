//! All draws in memory for what decisions choose by, a few for what they have not chosen by for a while.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Known, Learning, Shared, State};
use crate::domain::{
    decision::learned::Learner,
    optimizer::{Settings, Snapshot as Draws},
};

/// How long without a decision all draws are kept.
const IDLE: Duration = Duration::from_secs(600);
/// Draws that are left then: the first of all.
const IDLE_DRAWS: usize = 4;

/// How many draws there are to choose among where decisions were made at `used`.
pub(super) fn draws(used: Option<Instant>) -> usize {
    if used.is_some() { Settings::default().members } else { IDLE_DRAWS }
}

/// When decisions were made last, unless that is long ago.
fn lately(asked: bool, used: Option<Instant>, now: Instant) -> Option<Instant> {
    if asked { Some(now) } else { used.filter(|used| now < *used + IDLE) }
}

impl Known {
    /// When decisions chose by it last, unless that is long ago.
    pub(super) fn used_lately(&self, now: Instant) -> Option<Instant> {
        lately(self.learner.was_asked(), self.used, now)
    }

    /// How many draws there are to choose among; none where nothing chooses by them.
    pub(super) fn members(&self) -> Option<usize> {
        self.learner.draws.as_ref().map(Draws::members)
    }
}

impl Shared {
    /// Draws again for what decisions choose by again, and gives up what they no longer choose among.
    pub(super) async fn attune(&self, state: &mut State) {
        let (now, mut turned) = (Instant::now(), Vec::new());
        for (subject, known) in &mut state.known {
            known.used = known.used_lately(now);
            if known.members().is_some_and(|members| members != draws(known.used)) {
                turned.push((subject.clone(), Arc::clone(&known.row)));
            }
        }
        self.take_up(state, turned).await;
        self.publish(state).await;
    }
}

impl Learning {
    /// Notes that a decision chose by something; all its draws are made at once where it had few.
    pub(super) fn asked(&self, learner: &Learner) {
        let few = learner.draws.as_ref().is_some_and(|draws| draws.members() == IDLE_DRAWS);
        if learner.ask() && few {
            self.0.enough.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_go_when_nobody_chose_by_them_for_a_while() {
        let now = Instant::now();
        assert_eq!(lately(false, None, now), None);
        assert_eq!(lately(true, None, now), Some(now));
        assert_eq!(lately(false, Some(now), now + IDLE / 2), Some(now));
        assert_eq!(lately(true, Some(now), now + IDLE / 2), Some(now + IDLE / 2));
        assert_eq!(lately(false, Some(now), now + IDLE), None);
        assert!(draws(None) < draws(Some(now)));
    }
}
