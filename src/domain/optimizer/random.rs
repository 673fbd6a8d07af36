//! Numbers that look random and are the same everywhere: no function of the platform's mathematics
//! library is asked, because two of them may differ in the last bit.

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

/// Its finaliser: a bijection in which every input bit changes about half of the output bits.
pub(super) fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// In [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Below `end`, which is not zero. The bias is below 2^-32 for what is counted here.
    pub(super) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// Two independent standard normals, by Marsaglia's polar method.
    pub(super) fn normals(&mut self) -> (f64, f64) {
        loop {
            let bits = self.next();
            let side = |half: u64| (half as f64 + 0.5) / (1_u64 << 31) as f64 - 1.0;
            let (x, y) = (side(bits & 0xffff_ffff), side(bits >> 32));
            let square = x * x + y * y;
            if square < 1.0 {
                let by = (-2.0 * ln(square) / square).sqrt();
                return (x * by, y * by);
            }
        }
    }
}

/// The natural logarithm of a positive finite number, to about 1e-12.
pub(super) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1_023;
    let mut part = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 1_023 << 52);
    if part > std::f64::consts::SQRT_2 {
        part *= 0.5;
        exponent += 1;
    }
    // 2 artanh s, with |s| below 0.172
    let s = (part - 1.0) / (part + 1.0);
    let square = s * s;
    let series = [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0].iter().fold(1.0 / 15.0, |sum, odd| sum * square + 1.0 / odd);
    2.0 * s * series + exponent as f64 * std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_right() {
        for x in [1e-300, 1e-9, 0.1, 0.5, 0.999, 1.0, 1.5, 2.0, 3.0, 1e9] {
            assert!((ln(x) - x.ln()).abs() <= 1e-11 * x.ln().abs().max(1.0), "{x}: {} {}", ln(x), x.ln());
        }
    }

    #[test]
    fn normals_are_normal() {
        let mut random = Random::new(7);
        let drawn: Vec<f64> = (0..100_000).flat_map(|_| <[f64; 2]>::from(random.normals())).collect();
        let count = drawn.len() as f64;
        let moment = |power: i32| drawn.iter().map(|z| z.powi(power)).sum::<f64>() / count;
        assert!(moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.015, "{} {}", moment(1), moment(2));
        assert!(moment(3).abs() < 0.03 && (moment(4) - 3.0).abs() < 0.08, "{} {}", moment(3), moment(4));
        let beyond = drawn.iter().filter(|z| z.abs() > 1.959_964).count() as f64 / count;
        assert!((beyond - 0.05).abs() < 0.003, "{beyond}");
    }

    #[test]
    fn below_is_even() {
        let mut random = Random::new(1);
        let mut counts = [0; 7];
        (0..70_000).for_each(|_| counts[random.below(7)] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
