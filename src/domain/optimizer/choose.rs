//! Choosing a combination, and how likely each one was.

use crate::domain::optimizer::{
    climb::Climb,
    random::Random,
    snapshot::Snapshot,
    space::{Rules, Space},
};

/// What was chosen, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Per slot the number of a component, or [`super::DEFAULT`].
    pub choice: Vec<u16>,
    /// How it came about.
    pub by: By,
}

/// How a choice came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ChosenBy)]
pub enum By {
    /// It is the best by the member of this number.
    Member(u16),
    /// It was drawn from all legal combinations, so that each has a known chance.
    Floor,
    /// It was drawn from those that hold a component which was hardly shown yet.
    Launch,
}

impl Snapshot {
    /// Chooses a legal combination for a person with these features (those that the layout does not
    /// have are left out). A pure function of its arguments: `seed` is the decision's.
    #[must_use]
    pub fn choose<R: Rules>(&self, space: &Space<R>, features: &[u16], seed: u64) -> Chosen {
        let mut random = Random::new(seed ^ self.seed);
        let (unit, launch) = (random.unit(), self.launches(space));
        if unit < self.settings.floor {
            return Chosen { choice: space.draw(&mut random), by: By::Floor };
        }
        if !launch.is_empty() && unit < self.settings.floor + self.rare_share {
            let pinned = launch[random.below(launch.len())];
            return Chosen { choice: space.draw_with(Some(pinned), &mut random), by: By::Launch };
        }
        let member = random.below(self.members().max(1));
        Chosen { choice: self.best(space, features, member), by: By::Member(member as u16) }
    }

    /// The combination that is best by one member.
    #[must_use]
    pub fn best<R: Rules>(&self, space: &Space<R>, features: &[u16], member: usize) -> Vec<u16> {
        let mut climb = Climb::new(self, space);
        climb.turn(self, member, self.known(features));
        let best = climb.best();
        climb.choice(&best)
    }

    /// The exact probability with which [`Self::choose`] chooses this combination, over all seeds.
    /// 0 for one that is not legal.
    #[must_use]
    pub fn propensity<R: Rules>(&self, space: &Space<R>, features: &[u16], choice: &[u16]) -> f64 {
        if !space.allows(choice) {
            return 0.0;
        }
        let features = self.known(features);
        let mut climb = Climb::new(self, space);
        let wanted = climb.numbers(choice);
        let mut wins = 0_u32;
        for member in 0..self.members() {
            climb.turn(self, member, features);
            // most members are told apart without a search
            if climb.is_settled(&wanted) && climb.best() == wanted {
                wins += 1;
            }
        }
        let launch = self.launches(space);
        let launch_share = if launch.is_empty() { 0.0 } else { self.rare_share };
        let launched: f64 = launch.iter().map(|(slot, one)| space.share_with(*slot, *one, choice)).sum();
        (1.0 - self.settings.floor - launch_share) * f64::from(wins) / self.members().max(1) as f64
            + self.settings.floor * space.share(choice)
            + launch_share * launched / launch.len().max(1) as f64
    }

    /// The components that were hardly shown and may be shown here.
    pub(super) fn launches<R: Rules>(&self, space: &Space<R>) -> Vec<(usize, u16)> {
        if self.rare_share == 0.0 {
            return Vec::new();
        }
        let places = self.rare.iter().filter(|at| space.mask[**at] == 0.0).map(|at| self.layout.place(*at));
        // one that has to be there in any case needs no help
        places.filter(|(slot, one)| space.options[*slot].len() > 1 && space.count_with(*slot, *one) > 0.0).collect()
    }

    /// Features are ascending, and snapshots may be older than the newest of them.
    pub(super) fn known<'a>(&self, features: &'a [u16]) -> &'a [u16] {
        &features[..features.partition_point(|feature| usize::from(*feature) < self.layout.features())]
    }
}
