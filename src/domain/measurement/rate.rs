//! Rates of rare events: each with an interval, and many of them shrunk towards their mean.

use serde::{Deserialize, Serialize};

use crate::domain::measurement::numbers::{Beta, ln_beta};

/// The standard normal's 97.5% quantile, for two-sided intervals of 95%.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// Successes among trials: clicks or conversions among impressions. Counts add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Count {
    /// How often it was tried.
    pub trials: u64,
    /// How often it came about. More than the trials, where a beacon was lost, counts as many trials.
    pub successes: u64,
}

/// Where a value lies, with a probability of 95%.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A rate as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rate {
    /// Successes by trials, 0 to 1; of value, what a trial earned.
    pub value: f64,
    /// Its 95% interval, for one look; see [`Count::rate`].
    pub interval: Interval,
}

impl Count {
    /// The rate with the equal-tailed interval of Jeffreys' prior, none without a trial.
    ///
    /// For rare events it covers better than Wilson's, whose lower end is too high there, and is far
    /// shorter than the exact one (Brown, Cai and DasGupta, Statistical Science 2001).
    /// `dispersion` is how much more the count varies than that of independent trials, 1 or more
    /// ([`Sums::dispersion`](super::lift::Sums::dispersion)): several impressions of one person are
    /// worth fewer than as many people's. What is not a number counts as 1.
    #[must_use]
    pub fn rate(self, dispersion: f64) -> Option<Rate> {
        let Thinned { trials, successes } = self.thinned(dispersion);
        if trials == 0.0 {
            return None;
        }
        let mut interval = Beta { a: successes + 0.5, b: trials - successes + 0.5 }.interval();
        // without them an event that never happened could not have a rate of zero
        if successes == 0.0 {
            interval.low = 0.0;
        }
        if successes >= trials {
            interval.high = 1.0;
        }
        Some(Rate { value: successes / trials, interval })
    }

    /// As many independent trials as tell the same.
    pub(super) fn thinned(self, dispersion: f64) -> Thinned {
        let by = if dispersion.is_finite() { dispersion.max(1.0) } else { 1.0 };
        Thinned { trials: self.trials.max(self.successes) as f64 / by, successes: self.successes as f64 / by }
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.trials = self.trials.saturating_add(other.trials);
        self.successes = self.successes.saturating_add(other.successes);
    }
}

/// A [`Count`] in independent trials.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thinned {
    pub(super) trials: f64,
    pub(super) successes: f64,
}

impl Beta {
    pub(super) fn interval(self) -> Interval {
        Interval { low: self.quantile(0.025, -Z), high: self.quantile(0.975, Z) }
    }
}

/// Coefficients of variation between arms that are considered, each 1.4 times the one before, and
/// the scale of their half-normal prior: arms that differ by more than half of their mean are rare.
const VARIATIONS: i32 = 16;
const SMALLEST_VARIATION: f64 = 0.01;
const VARIATION_SCALE: f64 = 0.3;

/// What is believed of each arm's rate when all are seen together.
///
/// A hierarchical beta-binomial model: the arms' rates vary around a common mean by an unknown
/// amount, over which is averaged, so that few arms are neither pooled wholly nor left alone
/// (Gelman, Bayesian Analysis 2006; the shrinkage is what makes many comparisons honest: Gelman,
/// Hill and Yajima, J. Research on Educational Effectiveness 2012).
pub(super) fn shrink(arms: &[Count], dispersion: f64) -> Vec<Beta> {
    let arms: Vec<Thinned> = arms.iter().map(|arm| arm.thinned(dispersion)).collect();
    let models: Vec<Model> =
        (0..VARIATIONS).map(|at| Model::fit(&arms, SMALLEST_VARIATION * 1.4_f64.powi(at))).collect();
    let most = models.iter().map(|model| model.evidence).fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = models.iter().map(|model| (model.evidence - most).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mixed = |arm: &Thinned| {
        let (mut first, mut second) = (0.0, 0.0);
        for (model, weight) in models.iter().zip(&weights) {
            let (mean, variance) = model.moments(arm);
            first += weight / total * mean;
            second += weight / total * (variance + mean * mean);
        }
        // the sum may lose the variance to rounding
        Beta::with(first, (second - first * first).clamp(1e-18, 0.999 * first * (1.0 - first)))
    };
    arms.iter().map(mixed).collect()
}

/// The arms' rates are drawn from a beta distribution of this mean and strength.
struct Model {
    mean: f64,
    mean_variance: f64,
    strength: f64,
    /// Logarithm of the marginal likelihood times the prior.
    evidence: f64,
}

impl Model {
    fn fit(arms: &[Thinned], variation: f64) -> Self {
        let (trials, successes) = arms.iter().fold((0.0, 0.0), |(n, s), arm| (n + arm.trials, s + arm.successes));
        // half a success among fifty trials, so that there is a rate before there is any outcome
        let pooled = ((successes + 0.5) / (trials + 50.0)).clamp(1e-9, 1.0 - 1e-9);
        let strength = ((1.0 - pooled) / (pooled * variation * variation) - 1.0).max(0.05);
        let worth = |arm: &Thinned| arm.trials * (strength + 1.0) / (strength + arm.trials);
        let rates = arms.iter().filter(|arm| arm.trials > 0.0).map(|arm| worth(arm) * arm.successes / arm.trials);
        let weight: f64 = arms.iter().map(worth).sum();
        // with the weight of the half success as in the pooled rate
        let mean = ((rates.sum::<f64>() + pooled) / (weight + 1.0)).clamp(1e-9, 1.0 - 1e-9);
        let (a, b) = (mean * strength, (1.0 - mean) * strength);
        let prior = ln_beta(a, b);
        let likelihood: f64 =
            arms.iter().map(|arm| ln_beta(a + arm.successes, b + arm.trials - arm.successes) - prior).sum();
        // the variations lie evenly on the logarithmic scale: the density is per unit of it
        let ratio = variation / VARIATION_SCALE;
        Self {
            mean,
            mean_variance: mean * (1.0 - mean) / (weight + 1.0),
            strength,
            evidence: likelihood - 0.5 * ratio * ratio + variation.ln(),
        }
    }

    /// Mean and variance of an arm's rate, the doubt about the common mean included.
    fn moments(&self, arm: &Thinned) -> (f64, f64) {
        let posterior = Beta {
            a: self.mean * self.strength + arm.successes,
            b: (1.0 - self.mean) * self.strength + arm.trials - arm.successes,
        };
        let pull = self.strength / (self.strength + arm.trials);
        (posterior.mean(), posterior.variance() + pull * pull * self.mean_variance)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::measurement::numbers::Random;

    fn count(trials: u64, successes: u64) -> Count {
        Count { trials, successes }
    }

    #[test]
    fn a_rate_has_an_honest_interval() {
        assert_eq!(count(0, 0).rate(1.0), None);
        let none = count(1_000, 0).rate(1.0).expect("a rate");
        assert_eq!((none.value, none.interval.low), (0.0, 0.0));
        assert!((0.002..0.003).contains(&none.interval.high), "{none:?}");
        let all = count(10, 12).rate(1.0).expect("a rate");
        assert_eq!((all.value, all.interval.high), (1.0, 1.0));
        let (one, three) =
            (count(10_000, 200).rate(f64::NAN).expect("one"), count(10_000, 200).rate(4.0).expect("three"));
        let width = |rate: Rate| rate.interval.high - rate.interval.low;
        assert!((width(one) - 0.0055).abs() < 0.0002, "{one:?}");
        assert!((width(three) / width(one) - 2.0).abs() < 0.1, "four times the variance is twice the width");
    }

    #[test]
    fn intervals_of_rare_events_cover() {
        let mut random = Random::new(11);
        for expected in [1.0, 3.0, 10.0] {
            let (trials, mut covered) = (2_000, 0);
            for _ in 0..400 {
                let rate = expected / f64::from(trials);
                let successes = (0..trials).filter(|_| random.unit() < rate).count() as u64;
                let interval = count(u64::from(trials as u32), successes).rate(1.0).expect("a rate").interval;
                covered += u32::from(interval.low <= rate && rate <= interval.high);
            }
            assert!(covered >= 368, "{expected}: {covered} of 400");
        }
    }

    #[test]
    fn shrinkage_brings_extremes_home_and_leaves_what_is_known() {
        let beliefs = shrink(&[count(100, 8), count(100_000, 2_000), count(100_000, 2_100), count(0, 0)], 1.0);
        let means: Vec<f64> = beliefs.iter().map(|belief| belief.mean()).collect();
        assert!(means[0] < 0.045, "8 of 100 is mostly luck: {means:?}");
        assert!((means[1] - 0.02).abs() < 0.0003 && (means[2] - 0.021).abs() < 0.0003, "{means:?}");
        assert!((0.015..0.035).contains(&means[3]), "an arm without trials is like the others: {means:?}");
        let known = beliefs[1].interval();
        let unknown = beliefs[3].interval();
        assert!(unknown.low < known.low && known.high < unknown.high);
    }

    proptest! {
        #[test]
        fn beliefs_are_finite_and_between_the_seen_and_the_rest(
            arms in prop::collection::vec((0_u64..1_000_000, 0_u64..2_000), 1..12), dispersion in 0.5_f64..20.0,
        ) {
            let arms: Vec<Count> = arms.into_iter().map(|(trials, successes)| count(trials, successes)).collect();
            for belief in shrink(&arms, dispersion) {
                let Interval { low, high } = belief.interval();
                prop_assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0, "{:?} {} {}", belief, low, high);
                prop_assert!(belief.mean() > 0.0 && belief.mean() < 1.0);
            }
            for rate in arms.iter().filter_map(|arm| arm.rate(dispersion)) {
                prop_assert!(rate.interval.low <= rate.value && rate.value <= rate.interval.high, "{:?}", rate);
            }
        }
    }
}
