//! Noticing that what was learned is no longer true.

use std::collections::VecDeque;

use crate::domain::{optimizer::posterior::Expected, values::Millis};

/// Watches whether people respond less than expected: a one-sided CUSUM (Page, Biometrika 1954)
/// over batches of impressions whose rewards have had time to come.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Detector {
    open: Batch,
    waiting: VecDeque<Batch>,
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

/// Impressions of a batch.
const BATCH: u32 = 500;
/// What each batch may fall short without raising the sum, in standard deviations.
const SLACK: f64 = 0.5;
/// The sum that is an alarm.
const THRESHOLD: f64 = 8.0;
/// Batches not judged after an alarm.
const PAUSE: u32 = 10;
/// Batches that wait at most; the oldest go unjudged.
const MOST_WAITING: usize = 4_096;

impl Detector {
    /// Notes an impression of a decision made at `at`, and what was expected of it.
    pub fn shown(&mut self, at: Millis, expected: Expected) {
        let batch = &mut self.open;
        if batch.shown == 0 {
            *batch = Batch { from: at, until: at, ..Batch::default() };
        }
        (batch.from, batch.until) = (batch.from.min(at), batch.until.max(at));
        batch.shown += 1;
        batch.expected += expected.rate;
        batch.variance += expected.variance;
        if batch.shown >= BATCH {
            self.waiting.push_back(std::mem::take(batch));
            if self.waiting.len() > MOST_WAITING {
                self.waiting.pop_front();
            }
        }
    }

    /// Notes a reward for a decision made at `at`.
    pub fn rewarded(&mut self, at: Millis, value: f64) {
        let own = self.waiting.iter_mut().rev().find(|batch| (batch.from..=batch.until).contains(&at));
        own.unwrap_or(&mut self.open).rewarded += value;
    }

    /// Judges the batches whose rewards have had `maturity_ms` to come; whether there is an alarm. A
    /// clock that goes backwards makes batches wait.
    pub fn judge(&mut self, now: Millis, maturity_ms: i64) -> bool {
        let mut alarm = false;
        while let Some(batch) = self.waiting.pop_front_if(|batch| now.since(batch.until) >= maturity_ms) {
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
                detector.rewarded(at, 1.0);
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
        (0..20_000).step_by(20).for_each(|n| detector.rewarded(Millis(n), 1.0));
        assert!(!detector.judge(Millis(2_000_000), 1_000_000));
    }
}
