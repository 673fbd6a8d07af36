//! How long rewards take to come.

/// Rewards by how long after their decision they came: up to a second, and each class twice as long
/// as the one before it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Delays([u32; 24]);

/// How long rewards take on average, each as likely to come in any second that is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Patience {
    mean_ms: f64,
}

impl Patience {
    /// The share of rewards that are still to come after a time.
    pub(super) fn left(self, passed_ms: i64) -> f64 {
        (-(passed_ms.max(0) as f64) / self.mean_ms).exp()
    }
}

/// With fewer rewards, what is expected is a guess.
const MANY: u32 = 300;
/// With fewer rewards nothing is known of how long they take.
const ENOUGH: u32 = 30;
/// With more, those of before count half.
const MOST: u32 = 4_096;

impl Delays {
    pub(super) fn note(&mut self, delay_ms: i64) {
        let seconds = delay_ms.max(0).cast_unsigned() / 1_000;
        let class = (u64::BITS - seconds.leading_zeros()) as usize;
        self.0[class.min(self.0.len() - 1)] += 1;
        if self.0.iter().sum::<u32>() > MOST {
            self.0.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// How long they take, `None` while too few came for what is expected to be worth much.
    pub(super) fn patience(&self) -> Option<Patience> {
        let all: u32 = self.0.iter().sum();
        // the middle of each class
        let times = self.0.iter().enumerate().map(|(class, count)| f64::from(*count) * 750.0 * (1_u64 << class) as f64);
        (all >= MANY).then(|| Patience { mean_ms: times.sum::<f64>() / f64::from(all) })
    }

    /// Twice the time within which 99 of 100 came; `None` while too few did.
    ///
    /// Twice, because of what was shown of late only the quick rewards are there yet: while longer ones
    /// are still coming in, this stays ahead of all that there can be.
    pub(super) fn maturity_ms(&self) -> Option<i64> {
        let all: u32 = self.0.iter().sum();
        let mut seen = 0;
        let class = self.0.iter().position(|count| {
            seen += count;
            u64::from(seen) * 100 >= u64::from(all) * 99
        })?;
        (all >= ENOUGH).then_some(2_000_i64 << class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_a_hundred_is_left_out() {
        let mut delays = Delays::default();
        (0..29).for_each(|_| delays.note(3_500));
        assert_eq!(delays.maturity_ms(), None);
        (0..70).for_each(|_| delays.note(3_500));
        delays.note(i64::MAX);
        assert_eq!(delays.maturity_ms(), Some(8_000));
        delays.note(-5);
        (0..20_000).for_each(|_| delays.note(600_000));
        assert_eq!(delays.maturity_ms(), Some(2_048_000));
    }
}
