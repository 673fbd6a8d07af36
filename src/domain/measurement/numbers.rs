//! The few functions of statistics that the standard library lacks, and numbers drawn from a seed.

use std::f64::consts::PI;

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the same numbers for a seed everywhere.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// In (0, 1), so that it has a logarithm.
    pub(super) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (2.0 * PI * self.unit()).cos()
    }

    /// A gamma variable of this positive shape and scale 1 (Marsaglia and Tsang, ACM TOMS 2000).
    pub(super) fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            return self.gamma(shape + 1.0) * self.unit().powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }
}

/// The logarithm of the gamma function of a positive number (Lanczos, g = 7, nine terms), to about
/// 1e-14 of its size.
pub(super) fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        return (PI / (PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let terms = TERMS.iter().zip(1_i32..);
    let series = terms.fold(0.999_999_999_999_809_9, |sum, (term, at)| sum + term / (x + f64::from(at)));
    let t = x + 7.5;
    0.5 * (2.0 * PI).ln() + (x + 0.5) * t.ln() - t + series.ln()
}

/// The logarithm of the beta function of two positive numbers.
#[must_use]
pub fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// A beta distribution; both parameters are positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Beta {
    pub(super) a: f64,
    pub(super) b: f64,
}

impl Beta {
    /// The one with this mean, within (0, 1), and variance, above 0 and below `mean (1 - mean)`.
    pub(super) fn with(mean: f64, variance: f64) -> Self {
        let strength = mean * (1.0 - mean) / variance - 1.0;
        Self { a: mean * strength, b: (1.0 - mean) * strength }
    }

    pub(super) fn mean(self) -> f64 {
        self.a / (self.a + self.b)
    }

    pub(super) fn variance(self) -> f64 {
        let mean = self.mean();
        mean * (1.0 - mean) / (self.a + self.b + 1.0)
    }

    pub(super) fn draw(self, random: &mut Random) -> f64 {
        let (a, b) = (random.gamma(self.a), random.gamma(self.b));
        // both are zero where the parameters are so small that they underflow
        if a + b > 0.0 { a / (a + b) } else { self.mean() }
    }

    /// The regularised incomplete beta function at `x` within [0, 1], by its continued fraction.
    pub(super) fn cdf(self, x: f64) -> f64 {
        let Self { a, b } = self;
        if x <= 0.0 || x >= 1.0 {
            return x.clamp(0.0, 1.0);
        }
        // the fraction converges quickly on this side of the mean only
        if x > (a + 1.0) / (a + b + 2.0) {
            return 1.0 - Self { a: b, b: a }.cdf(1.0 - x);
        }
        let front = (a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b)).exp() / a;
        front * self.fraction(x)
    }

    /// Lentz's method for the continued fraction of DLMF 8.17.22.
    fn fraction(self, x: f64) -> f64 {
        const TINY: f64 = 1e-300;
        let Self { a, b } = self;
        let sound = |value: f64| if value.abs() < TINY { TINY } else { value };
        let (mut c, mut d) = (1.0, 1.0 / sound(1.0 - (a + b) * x / (a + 1.0)));
        let mut result = d;
        // steps grow with the root of the parameters, which `quantile` keeps below a million
        for step in 1..20_000_u32 {
            let m = f64::from(step);
            let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
            let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
            let mut last = 1.0;
            for term in [even, odd] {
                d = 1.0 / sound(1.0 + term * d);
                c = sound(1.0 + term / c);
                last = c * d;
                result *= last;
            }
            if (last - 1.0).abs() < 1e-14 {
                break;
            }
        }
        result
    }

    /// The value below which this share lies; `z` is the standard normal's.
    pub(super) fn quantile(self, share: f64, z: f64) -> f64 {
        let logistic = |logit: f64| 1.0 / (1.0 + (-logit).exp());
        if self.a.min(self.b) > 1e5 {
            // the logit is normal to well below what anybody can see
            let deviation = (1.0 / self.a + 1.0 / self.b).sqrt();
            return logistic((self.a / self.b).ln() + z * deviation);
        }
        // on the logit scale, because rare events lie close to zero
        let (mut low, mut high) = (-700.0, 40.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if self.cdf(logistic(middle)) < share {
                low = middle;
            } else {
                high = middle;
            }
        }
        logistic(0.5 * (low + high))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gamma_and_beta_functions_have_their_known_values() {
        for (x, gamma) in [(0.5, PI.sqrt()), (1.0, 1.0), (5.0, 24.0), (0.1, 9.513_507_698_668_732)] {
            assert!((ln_gamma(x) - f64::ln(gamma)).abs() < 1e-12, "{x}");
        }
        assert!((ln_gamma(1e6) - 12_815_504.569_147_61).abs() < 1e-5);
        // at whole numbers it is the probability of at least a successes of a + b - 1 trials
        let binomial = |n: i32, k: i32| (1..=k).fold(1.0, |c, i| c * f64::from(n - k + i) / f64::from(i));
        for (a, b, x) in [(3, 40, 0.02), (3, 40, 0.2), (12, 5, 0.7), (1, 300, 0.001)] {
            let n = a + b - 1;
            let exact: f64 = (a..=n).map(|k| binomial(n, k) * f64::powi(x, k) * f64::powi(1.0 - x, n - k)).sum();
            let got = Beta { a: a.into(), b: b.into() }.cdf(x);
            assert!((got - exact).abs() < 1e-11, "{a} {b} {x}: {got} {exact}");
        }
        assert!((Beta { a: 3.0, b: 3.0 }.quantile(0.5, 0.0) - 0.5).abs() < 1e-12);
        // uniform, and a power
        assert!((Beta { a: 1.0, b: 1.0 }.cdf(0.3) - 0.3).abs() < 1e-12);
        assert!((Beta { a: 3.0, b: 1.0 }.cdf(0.3) - 0.027).abs() < 1e-12);
    }

    #[test]
    fn large_parameters_meet_the_approximation() {
        let (below, above) = (Beta { a: 99_999.0, b: 4e6 }, Beta { a: 100_001.0, b: 4e6 });
        for (share, z) in [(0.025, -1.959_964), (0.975, 1.959_964)] {
            let ratio = below.quantile(share, z) / above.quantile(share, z);
            assert!((ratio - 1.0).abs() < 5e-5, "{ratio}");
        }
    }

    #[test]
    fn draws_have_the_moments() {
        let mut random = Random::new(3);
        for beta in [Beta { a: 0.5, b: 3.0 }, Beta { a: 40.0, b: 900.0 }] {
            let drawn: Vec<f64> = (0..20_000).map(|_| beta.draw(&mut random)).collect();
            let mean = drawn.iter().sum::<f64>() / 20_000.0;
            let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
            assert!((mean - beta.mean()).abs() < 4.0 * (beta.variance() / 20_000.0).sqrt(), "{mean}");
            assert!((variance / beta.variance() - 1.0).abs() < 0.1, "{variance}");
        }
    }

    proptest! {
        #[test]
        fn quantiles_invert_the_distribution(a in 0.05_f64..5_000.0, b in 0.05_f64..50_000.0, share in 0.01_f64..0.99) {
            let beta = Beta { a, b };
            let x = beta.quantile(share, 0.0);
            prop_assume!(x > 1e-300 && x < 1.0 - 1e-12);
            prop_assert!((beta.cdf(x) - share).abs() < 1e-6, "{} {}", x, beta.cdf(x));
        }
    }
}
