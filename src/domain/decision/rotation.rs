//! Choosing by weight, the same for the same person, with nothing stored.
//!
//! Weighted rendezvous hashing (Schindelhauer and Schomaker, "Weighted distributed hash tables",
//! SPAA 2005): every item draws `-ln(u) / weight` from a hash `u` of person, scope and item, and
//! the smallest draw wins. An item wins in proportion to its weight, and changing one weight
//! moves only the people who gain or lose that item.

/// Whoever a choice is kept stable for: a person, or one request of nobody known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sticky(pub u128);

/// What a draw is for, so that a person's draws for different things are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope(u64);

impl Scope {
    /// Which campaign of a tier.
    pub const CAMPAIGN: Self = Self(0x6361_6d70);
    /// Which creative of a campaign.
    pub const CREATIVE: Self = Self(0x6372_6561);
    /// Which component of a slot.
    pub const COMPONENT: Self = Self(0x636f_6d70);
    /// Which slot of a creative chooses first.
    pub const TURN: Self = Self(0x7475_726e);
    /// Whether a campaign's holdout.
    pub const HOLDOUT: Self = Self(0x686f_6c64);

    /// The same purpose within something narrower.
    #[must_use]
    pub fn within(self, part: u64) -> Self {
        Self(mix(self.0 ^ mix(part)))
    }
}

impl Sticky {
    /// This person's draws for one purpose.
    #[must_use]
    pub fn lot(self, scope: Scope) -> Lot {
        let (low, high) = (self.0 as u64, (self.0 >> 64) as u64);
        Lot(mix(mix(low ^ scope.0) ^ high))
    }

    /// [`Lot::unit`] of one item.
    #[must_use]
    pub fn unit(self, scope: Scope, item: u64) -> f64 {
        self.lot(scope).unit(item)
    }

    /// [`Lot::draw`] of one item.
    #[must_use]
    pub fn draw(self, scope: Scope, item: u64, weight: u32) -> f64 {
        self.lot(scope).draw(item, weight)
    }
}

/// One person's draws for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot(u64);

impl Lot {
    /// A number in (0, 1), uniform over people, fixed for this one, the scope and the item.
    #[must_use]
    pub fn unit(self, item: u64) -> f64 {
        /// 2^53: every such multiple of its inverse is exact in an f64.
        const STEPS: f64 = 9_007_199_254_740_992.0;
        ((mix(self.0 ^ item) >> 11) as f64 + 0.5) / STEPS
    }

    /// The item's draw; the smallest of several wins. A weight of zero never wins against another.
    #[must_use]
    pub fn draw(self, item: u64, weight: u32) -> f64 {
        if weight == 0 { f64::INFINITY } else { -self.unit(item).ln() / f64::from(weight) }
    }

    /// The item's draw if it is less than `least`. Most are not, and can be told without their
    /// logarithm: `-ln(u)` is never less than `1 - u`.
    #[must_use]
    pub fn draw_below(self, item: u64, weight: u32, least: f64) -> Option<f64> {
        if 1.0 - self.unit(item) > least * f64::from(weight) {
            return None;
        }
        Some(self.draw(item, weight)).filter(|draw| *draw < least)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijection in which every
/// input bit changes about half of the output bits.
fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEOPLE: u128 = 40_000;

    fn people() -> impl Iterator<Item = Sticky> {
        (0..PEOPLE).map(|n| Sticky(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
    }

    fn winner(person: Sticky, weights: &[u32]) -> usize {
        let draw = |at: &usize| person.draw(Scope::COMPONENT, *at as u64, weights[*at]);
        (0..weights.len()).min_by(|a, b| draw(a).total_cmp(&draw(b))).expect("an item")
    }

    #[test]
    fn items_win_in_proportion_to_their_weights() {
        let weights = [100, 300, 600, 0];
        let mut wins = [0_f64; 4];
        for person in people() {
            wins[winner(person, &weights)] += 1.0;
        }
        for (won, weight) in wins.iter().zip(weights) {
            let share = f64::from(weight) / 1_000.0;
            // five standard deviations of a binomial share
            let slack = 5.0 * (share * (1.0 - share) / PEOPLE as f64).sqrt();
            assert!((won / PEOPLE as f64 - share).abs() <= slack, "{won} of {PEOPLE} for weight {weight}");
        }
    }

    #[test]
    fn moving_a_weight_moves_few_people() {
        // 50:50 to 60:50 changes the first share from 50% to 54.5%.
        let moved = people().filter(|p| winner(*p, &[50, 50]) != winner(*p, &[60, 50])).count() as f64;
        assert!((0.04..0.051).contains(&(moved / PEOPLE as f64)), "{moved}");
        let back = people().filter(|p| winner(*p, &[50, 50]) == 0 && winner(*p, &[60, 50]) == 1).count();
        assert_eq!(back, 0, "nobody leaves the item that gained weight");
    }

    #[test]
    fn a_draw_below_is_the_draw_where_it_is_below() {
        for (n, person) in people().enumerate() {
            let lot = person.lot(Scope::CAMPAIGN);
            let (draw, least) = (lot.draw(9, 1 + n as u32 % 300), lot.draw(8, 1 + n as u32 % 7));
            assert_eq!(lot.draw_below(9, 1 + n as u32 % 300, least), (draw < least).then_some(draw));
            assert_eq!(lot.draw_below(9, 1 + n as u32 % 300, f64::INFINITY), Some(draw));
        }
    }

    #[test]
    fn scopes_are_independent() {
        let low = |p: &Sticky, scope| p.unit(scope, 7) < 0.5;
        let both = people().filter(|p| low(p, Scope::HOLDOUT) && low(p, Scope::CAMPAIGN)).count() as f64;
        assert!((0.24..0.26).contains(&(both / PEOPLE as f64)), "{both}");
    }
}
