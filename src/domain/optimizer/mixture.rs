//! How likely every choice was in one context, in few numbers: what each member takes for the best, and
//! what is shown besides. Logged with a decision, it lets other rotations be weighed later, when what
//! chose is long gone.

use crate::domain::{
    measurement::{
        exposure::{put, take},
        slate::{Design, SlateError},
    },
    optimizer::{
        choose::Pins,
        climb::Climb,
        snapshot::Snapshot,
        space::{Rules, Space},
    },
};

/// The distribution of [`Snapshot::choose`] over all seeds, for one space and one set of features.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// Share of any legal combination, all equally likely.
    pub floor: f64,
    /// Shares of combinations with one of some components.
    pub pins: Vec<Pins>,
    /// Combinations that members take for the best, and how many members do.
    pub members: Vec<(u16, Vec<u16>)>,
}

impl Snapshot {
    /// How likely every choice is.
    #[must_use]
    pub fn mixture<R: Rules>(&self, space: &Space<R>, features: &[u16]) -> Mixture {
        let features = self.known(features);
        let mut climb = Climb::new(self, space);
        let mut all: Vec<Vec<u16>> = (0..self.members())
            .map(|member| {
                climb.turn(self, member, features);
                let best = climb.best();
                climb.choice(&best)
            })
            .collect();
        all.sort_unstable();
        let members = all.chunk_by(|a, b| a == b).map(|same| (same.len() as u16, same[0].clone())).collect();
        Mixture { floor: self.settings.floor, pins: self.pins(space), members }
    }
}

impl Mixture {
    /// The longest that is kept, packed.
    const LONGEST: usize = 8 << 10;
    /// Stands before the shares; older ones begin with a share, of a million parts at most, and have
    /// one set of pins.
    const FORMAT: u64 = 2_000_000;
    /// Sets of pins at most.
    const MOST_PINS: u64 = 8;

    /// The share of what members choose.
    fn rest(&self) -> f64 {
        1.0 - self.floor - self.pins.iter().map(|pins| pins.share).sum::<f64>()
    }

    /// The probability of a choice.
    #[must_use]
    pub fn propensity<R: Rules>(&self, space: &Space<R>, choice: &[u16]) -> f64 {
        let all: u32 = self.members.iter().map(|(times, _)| u32::from(*times)).sum();
        let wins: u32 =
            self.members.iter().filter(|(_, best)| best == choice).map(|(times, _)| u32::from(*times)).sum();
        self.rest() * f64::from(wins) / f64::from(all.max(1))
            + self.floor * space.share(choice)
            + self.pins.iter().map(|pins| pins.propensity(space, choice)).sum::<f64>()
    }

    /// The probabilities of components and of pairs of them, by their positions among the options of the
    /// space that the mixture was made for.
    ///
    /// # Errors
    /// A space of other components.
    pub fn design<R: Rules>(&self, space: &Space<R>) -> Result<Design, SlateError> {
        let sizes: Vec<usize> = space.options.iter().map(Vec::len).collect();
        let mut design = Design::new(&sizes)?;
        let all: u32 = self.members.iter().map(|(times, _)| u32::from(*times)).sum();
        if all == 0 {
            return Err(SlateError::Probability);
        }
        for (times, best) in &self.members {
            let weight = self.rest() * f64::from(*times) / f64::from(all);
            design.mix_choice(weight, &space.positions(best).ok_or(SlateError::Shape)?)?;
        }
        let even = space.marginals(None);
        design.mix_pairs(self.floor, |one, other| even.together(one, other))?;
        for Pins { share, of } in &self.pins {
            for (slot, one) in of {
                let with = space.marginals(Some((usize::from(*slot), *one)));
                design.mix_pairs(share / of.len() as f64, |one, other| with.together(one, other))?;
            }
        }
        Ok(design)
    }

    /// As few bytes as a log has room for.
    #[must_use]
    pub fn pack(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let share = |share: f64| (share * 1e6).round() as u64;
        put(&mut out, Self::FORMAT);
        put(&mut out, share(self.floor));
        put(&mut out, self.pins.len() as u64);
        for pins in &self.pins {
            put(&mut out, share(pins.share));
            put(&mut out, pins.of.len() as u64);
            pins.of.iter().for_each(|(slot, one)| {
                put(&mut out, (*slot).into());
                put(&mut out, (*one).into());
            });
        }
        put(&mut out, self.members.first().map_or(0, |(_, best)| best.len() as u64));
        for (times, best) in &self.members {
            put(&mut out, (*times).into());
            // the default is the commonest: 0
            best.iter().for_each(|one| put(&mut out, one.wrapping_add(1).into()));
        }
        (out.len() <= Self::LONGEST).then_some(out)
    }

    /// What was packed; `None` for anything else.
    #[must_use]
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let mut rest = packed;
        let share = |number: u64| Some(number as f64 / 1e6).filter(|share| *share <= 1.0);
        let number = |rest: &mut &[u8]| u16::try_from(take(rest)?).ok();
        let first = take(&mut rest)?;
        let (floor, sets) = match first {
            Self::FORMAT => (share(take(&mut rest)?)?, take(&mut rest).filter(|sets| *sets <= Self::MOST_PINS)?),
            older => (share(older)?, 1),
        };
        let mut pins = Vec::new();
        for _ in 0..sets {
            let (share, count) = (share(take(&mut rest)?)?, take(&mut rest)?);
            // each takes two bytes at least
            if count > rest.len() as u64 {
                return None;
            }
            let of = (0..count).map(|_| Some((number(&mut rest)?, number(&mut rest)?))).collect::<Option<Vec<_>>>()?;
            pins.push(Pins { share, of });
        }
        pins.retain(|pins| !pins.of.is_empty());
        let slots = number(&mut rest)?;
        let mut members = Vec::new();
        while !rest.is_empty() {
            let times = number(&mut rest)?;
            let best = (0..slots).map(|_| Some(number(&mut rest)?.wrapping_sub(1))).collect::<Option<Vec<u16>>>()?;
            members.push((times, best));
        }
        let read = Self { floor, pins, members };
        (read.rest() >= 0.0).then_some(read)
    }
}
