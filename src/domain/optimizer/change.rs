//! Noticing that what was learned is no longer true.

use std::collections::VecDeque;

use crate::domain::{
    optimizer::{
        delays::{Delays, Patience},
        posterior::Expected,
    },
    values::Millis,
};

/// Watches whether people respond less than expected: a one-sided CUSUM (Page, Biometrika 1954)
/// over batches of impressions whose rewards have had time to come.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Detector {
    open: Batch,
    waiting: VecDeque<Batch>,
    /// The last decision of a batch that was judged: later rewards of these say nothing any more.
    judged: Millis,
    delays: Delays,
    /// When credit for rewards on their way last ran out by a part.
    settled: Millis,
    /// How far rewards have fallen short, in standard deviations, beyond the slack.
    sum: f64,
    /// Batches not to be judged, because what was learned is being learned anew.
    pause: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct Batch {
    from: Millis,
    until: Millis,
    shown: u32,
    expected: f64,
    variance: f64,
    rewarded: f64,
}

impl Batch {
    fn holds(&self, at: Millis) -> bool {
        self.shown > 0 && (self.from..=self.until).contains(&at)
    }

    fn and(self, later: Self) -> Self {
        Self {
            from: self.from.min(later.from),
            until: self.until.max(later.until),
            shown: self.shown.saturating_add(later.shown),
            expected: self.expected + later.expected,
            variance: self.variance + later.variance,
            rewarded: self.rewarded + later.rewarded,
        }
    }
}

/// Impressions of a batch.
const BATCH: u32 = 500;
/// What each batch may fall short without raising the sum, in standard deviations.
const SLACK: f64 = 0.5;
/// The sum that is an alarm.
const THRESHOLD: f64 = 8.0;
/// Batches not judged after an alarm.
const PAUSE: u32 = 10;
/// Batches that wait at most; with more, each two become one.
const MOST_WAITING: usize = 512;

impl Detector {
    /// Notes an impression of a decision made at `at`, and what was expected of it.
    pub fn shown(&mut self, at: Millis, expected: Expected) {
        let batch = &mut self.open;
        if batch.shown == 0 {
            // rewards may be there already
            *batch = Batch { from: at, until: at, rewarded: batch.rewarded, ..Batch::default() };
        }
        (batch.from, batch.until) = (batch.from.min(at), batch.until.max(at));
        batch.shown += 1;
        batch.expected += expected.rate;
        batch.variance += expected.variance;
        if batch.shown >= BATCH {
            self.waiting.push_back(std::mem::take(batch));
            if self.waiting.len() > MOST_WAITING {
                let all: Vec<Batch> = self.waiting.drain(..).collect();
                let two = |two: &[Batch]| two.iter().copied().reduce(Batch::and).unwrap_or_default();
                self.waiting = all.chunks(2).map(two).collect();
            }
        }
    }

    /// Notes a reward for a decision made at `at` that is heard of `now`. One whose batch was judged
    /// already tells only how long rewards take.
    pub fn rewarded(&mut self, at: Millis, value: f64, now: Millis) {
        self.delays.note(now.since(at));
        let own = if self.open.holds(at) {
            Some(&mut self.open)
        } else if let Some(own) = self.waiting.iter().rposition(|batch| batch.holds(at)) {
            self.waiting.get_mut(own)
        } else if at > self.judged {
            // its impression is not there yet
            let next = self.waiting.iter().position(|batch| at < batch.until);
            Some(next.and_then(|next| self.waiting.get_mut(next)).unwrap_or(&mut self.open))
        } else {
            None
        };
        if let Some(batch) = own {
            batch.rewarded += value;
        }
    }

    /// How long rewards take, where enough came to tell; and how long ago that was last asked, in ms.
    pub(super) fn patience(&mut self, now: Millis) -> (Option<Patience>, i64) {
        let passed = now.since(self.settled).max(0);
        self.settled = self.settled.max(now);
        (self.delays.patience(), passed)
    }

    /// After how long, in ms, so many rewards of a decision have come that it tells its worth: as seen from the
    /// rewards, `longest_ms` at most and while few have come.
    #[must_use]
    pub fn maturity_ms(&self, longest_ms: i64) -> i64 {
        self.delays.maturity_ms().unwrap_or(longest_ms).min(longest_ms)
    }

    /// Judges the batches whose rewards have had time to come; whether there is an alarm; see
    /// [`Self::maturity_ms`]. A clock that goes backwards makes batches wait.
    pub fn judge(&mut self, now: Millis, longest_ms: i64) -> bool {
        let maturity_ms = self.maturity_ms(longest_ms);
        let mut alarm = false;
        while let Some(batch) = self.waiting.pop_front_if(|batch| now.since(batch.until) >= maturity_ms) {
            self.judged = self.judged.max(batch.until);
            if self.pause > 0 {
                self.pause -= 1;
                continue;
            }
            let short = (batch.expected - batch.rewarded) / (batch.variance + 1e-9).sqrt();
            self.sum = (self.sum + short - SLACK).max(0.0);
            if self.sum > THRESHOLD {
                (self.sum, self.pause, alarm) = (0.0, PAUSE, true);
            }
        }
        alarm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Impressions at a rate of 5%, each of them rewarded in turn at another one.
    fn alarms(rewarded_of: impl Fn(u32) -> bool, impressions: u32) -> Option<u32> {
        let mut detector = Detector::default();
        (0..impressions).find(|n| {
            let at = Millis(i64::from(*n) * 10);
            detector.shown(at, Expected { rate: 0.05, variance: 0.0475 });
            if rewarded_of(*n) {
                detector.rewarded(at, 1.0, at);
            }
            detector.judge(at, 1_000)
        })
    }

    #[test]
    fn a_fall_is_noticed_and_a_rise_or_no_change_is_not() {
        assert_eq!(alarms(|n| n % 20 == 0, 200_000), None);
        assert_eq!(alarms(|n| n % 10 == 0, 200_000), None);
        let at = alarms(|n| n % 20 == 0 && (n < 50_000 || n % 40 == 0), 200_000).expect("an alarm");
        assert!((50_000..60_000).contains(&at), "{at}");
    }

    #[test]
    fn rewards_may_be_late_and_the_clock_may_go_back() {
        let mut detector = Detector::default();
        for n in 0..20_000 {
            detector.shown(Millis(n), Expected { rate: 0.05, variance: 0.0475 });
            assert!(!detector.judge(Millis(n), 1_000_000));
        }
        assert!(!detector.judge(Millis(-5), 1_000_000));
        (0..20_000).step_by(20).for_each(|n| detector.rewarded(Millis(n), 1.0, Millis(900_000)));
        assert!(!detector.judge(Millis(2_000_000), 1_000_000));
    }

    /// 500 impressions, one a millisecond, at a rate of 5%.
    fn batch(detector: &mut Detector, from: i64) {
        (from..from + 500).for_each(|n| detector.shown(Millis(n), Expected { rate: 0.05, variance: 0.0475 }));
    }

    #[test]
    fn rewards_of_batches_that_were_judged_help_no_other() {
        let mut detector = Detector::default();
        batch(&mut detector, 0);
        assert!(!detector.judge(Millis(2_000), 1_000));
        batch(&mut detector, 10_000);
        (0..200).for_each(|_| detector.rewarded(Millis(5), 1.0, Millis(10_000)));
        assert_eq!(detector.waiting[0].rewarded + detector.open.rewarded, 0.0);
        // one that comes before its impressions stays
        (0..25).for_each(|n| detector.rewarded(Millis(20_000 + n), 1.0, Millis(20_100)));
        batch(&mut detector, 20_000);
        assert_eq!(detector.waiting[1].rewarded, 25.0);
        assert_eq!(detector.waiting[0].rewarded, 0.0);
    }

    #[test]
    fn batches_wait_as_long_as_rewards_take() {
        // rewards come after 20 s, a tenth of the longest
        let mut detector = Detector::default();
        for n in 0..200 {
            let from = n * 1_000;
            batch(&mut detector, from);
            if n >= 20 {
                (0..25).for_each(|at| detector.rewarded(Millis(from - 20_000 + at), 1.0, Millis(from)));
            }
            assert!(!detector.judge(Millis(from + 500), 200_000), "{n}");
        }
        assert!((20..=130).contains(&detector.waiting.len()), "{}", detector.waiting.len());
        // many that wait are gathered, and none is lost
        let before: u32 = detector.waiting.iter().map(|batch| batch.shown).sum();
        (0..2_000).for_each(|n| batch(&mut detector, 200_000 + n * 1_000));
        let after: u32 = detector.waiting.iter().map(|batch| batch.shown).sum();
        assert!(detector.waiting.len() <= MOST_WAITING);
        assert_eq!(after, before + 1_000_000);
    }
}
