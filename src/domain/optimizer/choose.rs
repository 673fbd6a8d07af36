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
    /// It was drawn from those that hold a component which was hardly shown yet, or too seldom of
    /// late.
    Launch,
}

/// Components of which a share of decisions show one, all equally likely, whatever is believed.
#[derive(Clone, Debug, PartialEq)]
pub struct Pins {
    /// The share of decisions.
    pub share: f64,
    /// A slot and a component each.
    pub of: Vec<(u16, u16)>,
}

impl Snapshot {
    /// Chooses a legal combination for a person with these features (those that the layout does not
    /// have are left out). A pure function of its arguments: `seed` is the decision's.
    #[must_use]
    pub fn choose<R: Rules>(&self, space: &Space<R>, features: &[u16], seed: u64) -> Chosen {
        let mut random = Random::new(seed ^ self.seed);
        let (unit, mut end) = (random.unit(), self.settings.floor);
        if unit < end {
            return Chosen { choice: space.draw(&mut random), by: By::Floor };
        }
        for pins in self.pins(space) {
            end += pins.share;
            if unit < end {
                let (slot, one) = pins.of[random.below(pins.of.len())];
                let pinned = Some((usize::from(slot), one));
                return Chosen { choice: space.draw_with(pinned, &mut random), by: By::Launch };
            }
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
        let pins = self.pins(space);
        let rest = 1.0 - self.settings.floor - pins.iter().map(|pins| pins.share).sum::<f64>();
        rest * f64::from(wins) / self.members().max(1) as f64
            + self.settings.floor * space.share(choice)
            + pins.iter().map(|pins| pins.propensity(space, choice)).sum::<f64>()
    }

    /// The components that are shown to some whatever is believed: those that were hardly shown yet, and
    /// those that were shown too seldom of late; of both the ones that may be shown here.
    pub(super) fn pins<R: Rules>(&self, space: &Space<R>) -> Vec<Pins> {
        let here = |numbers: &[usize]| -> Vec<(u16, u16)> {
            let places = numbers.iter().filter(|at| space.mask[**at] == 0.0).map(|at| self.layout.place(*at));
            // one that has to be there in any case needs no help
            let helped =
                places.filter(|(slot, one)| space.options[*slot].len() > 1 && space.count_with(*slot, *one) > 0.0);
            helped.map(|(slot, one)| (slot as u16, one)).collect()
        };
        let launching = Pins { share: self.settings.launch, of: here(&self.launching) };
        let mut rare = here(&self.rare);
        rare.retain(|(slot, _)| self.lack(space, *slot) > 0.0);
        let rare = Pins { share: self.lacking(space, &rare), of: rare };
        [launching, rare].into_iter().filter(|pins| pins.share > 0.0 && !pins.of.is_empty()).collect()
    }

    /// How much the floor leaves a component of a slot short of the least share.
    fn lack<R: Rules>(&self, space: &Space<R>, slot: u16) -> f64 {
        self.settings.least_share - self.settings.floor / space.options[usize::from(slot)].len() as f64
    }

    /// The share of decisions that gives each of the rare what it lacks: those that show another one
    /// of them draw its slot evenly.
    fn lacking<R: Rules>(&self, space: &Space<R>, rare: &[(u16, u16)]) -> f64 {
        let all = rare.len() as f64;
        let slots = rare.chunk_by(|a, b| a.0 == b.0).map(|of_slot| {
            let (slot, own) = (of_slot[0].0, of_slot.len() as f64);
            let options = space.options[usize::from(slot)].len() as f64;
            self.lack(space, slot) / (1.0 / all + (1.0 - own / all) / options)
        });
        slots.fold(0.0, f64::max).min(self.settings.launch)
    }

    /// Features are ascending, and snapshots may be older than the newest of them.
    pub(super) fn known<'a>(&self, features: &'a [u16]) -> &'a [u16] {
        &features[..features.partition_point(|feature| usize::from(*feature) < self.layout.features())]
    }
}

impl Pins {
    /// How much of a choice's probability is owed to them.
    pub(super) fn propensity<R: Rules>(&self, space: &Space<R>, choice: &[u16]) -> f64 {
        let with: f64 = self.of.iter().map(|(slot, one)| space.share_with(usize::from(*slot), *one, choice)).sum();
        self.share * with / self.of.len().max(1) as f64
    }
}
