//! Until when an answer is worth anything.

use std::time::Duration;

use tokio::time::Instant;

/// The instant, on the monotonic clock, at which waiting ends. It counts from the arrival of the
/// request, so time spent in queues is not given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// `budget` after `arrival`.
    #[must_use]
    pub fn starting(arrival: Instant, budget: Duration) -> Self {
        Self(arrival + budget)
    }

    /// This deadline moved ahead, to leave `time` for the work that follows the waiting, such as
    /// writing the answer.
    #[must_use]
    pub fn reserving(self, time: Duration) -> Self {
        Self(self.0.checked_sub(time).unwrap_or(self.0))
    }

    /// When it is.
    #[must_use]
    pub fn instant(self) -> Instant {
        self.0
    }

    /// The time left, zero once it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        self.remaining().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_counts_from_the_arrival() {
        let arrival = Instant::now();
        tokio::time::advance(Duration::from_millis(5)).await;
        let deadline = Deadline::starting(arrival, Duration::from_millis(20)).reserving(Duration::from_millis(3));
        assert_eq!(deadline.remaining(), Duration::from_millis(12));
        tokio::time::advance(Duration::from_millis(12)).await;
        assert!(deadline.passed());
        assert_eq!(deadline.remaining(), Duration::ZERO);
    }
}
