//! How the optimizer learns and chooses.

use crate::domain::optimizer::layout::Group;

/// What may be set about learning; the defaults were chosen by simulation.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The rate to expect before anything is seen: the account's, in (0, 1). It counts as much as one
    /// reward.
    pub base_rate: f64,
    /// Per [`Group`] the standard deviation of its terms' prior, on the logit scale. That of pairs
    /// is for up to three pairs, that of features for one active feature: where more terms are
    /// active at once they share the variance.
    pub spread: [f64; 5],
    /// How far the data may move a spread, as factors.
    pub spread_limits: (f64, f64),
    /// How many draws from the posterior decisions choose among.
    pub members: usize,
    /// By what the posterior's standard deviation is multiplied in these draws. The full posterior
    /// explores more than pays off: what is learned of one combination tells of others too.
    pub temperature: f64,
    /// Share of decisions that show any legal combination, all equally likely.
    pub floor: f64,
    /// Share of decisions that show a component that was hardly shown yet, where there is one; and
    /// the most that shows others for the sake of the least share.
    pub launch: f64,
    /// Impressions after which a component has been shown enough for that.
    pub launch_until: u64,
    /// Share of decisions that each component gets at least, of those in which it may be shown.
    pub least_share: f64,
    /// Starts of the search for the best combination of a draw.
    pub starts: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_rate: 0.02,
            spread: [0.2, 0.4, 0.15, 0.5, 0.25],
            spread_limits: (0.4, 2.0),
            members: 64,
            temperature: 0.55,
            floor: 0.02,
            launch: 0.05,
            launch_until: 1_000,
            least_share: 0.005,
            starts: 5,
        }
    }
}

impl Settings {
    /// The spread of a kind of term where so many slots are filled and so many features are active
    /// at once.
    ///
    /// The variance of a whole score is a budget that its terms share: with the same spread for each
    /// term, however many there are, a wide creative would seem to have far larger effects than it
    /// can have, and would be explored without end.
    #[must_use]
    pub fn budgeted(&self, group: Group, slots: usize, features: f64) -> f64 {
        let pairs = (slots * slots.saturating_sub(1) / 2).max(1) as f64;
        let share = match group {
            Group::Bias | Group::Main => 1.0,
            Group::Pair => (3.0 / pairs).min(1.0),
            Group::Feature | Group::Cross => 1.0 / features.max(1.0),
        };
        self.spread[group as usize] * share.sqrt()
    }
}
