//! What a policy hears and says.

use super::scenario::Scenario;

/// One decision and its outcomes.
#[derive(Clone, Debug)]
pub(super) struct Impression {
    /// Its number.
    pub(super) step: usize,
    /// Which kind of person.
    pub(super) user: usize,
    /// Per slot the number of a component.
    pub(super) choice: Vec<u16>,
}

/// Something that chooses and hears of clicks.
pub(super) trait Policy {
    /// Which components exist from now on, per slot.
    fn offer(&mut self, options: &[Vec<u16>]);

    /// Chooses for a kind of person.
    fn choose(&mut self, user: usize, seed: u64) -> Vec<u16>;

    /// It was shown.
    fn shown(&mut self, impression: &Impression);

    /// It was clicked.
    fn clicked(&mut self, impression: &Impression);

    /// Time passes; `step` is the next decision.
    fn tick(&mut self, _scenario: &Scenario, _step: usize) {}
}
