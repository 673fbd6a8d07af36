//! Whether it is worth asking the store now.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::backoff::Backoff;

/// Opens after [`Breaker::FAILURES`] failures in a row. While it is open one try at a time is let
/// through, after waits that grow up to [`Breaker::LONGEST`]; the first that succeeds closes it.
pub(super) struct Breaker {
    failures: u32,
    /// While open, when the next try may be made.
    retry_at: Option<Instant>,
    backoff: Backoff,
}

impl Breaker {
    const FAILURES: u32 = 3;
    const FIRST: Duration = Duration::from_millis(100);
    /// Together with one try's time well below the 5 s in which profiles must be fresh again.
    const LONGEST: Duration = Duration::from_secs(1);

    pub(super) fn new() -> Self {
        Self { failures: 0, retry_at: None, backoff: Backoff::new(Self::FIRST, Self::LONGEST) }
    }

    pub(super) fn is_open(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Whether a further try may be made beside `running` others, of which `most` are allowed
    /// while all is well.
    pub(super) fn allows(&self, running: usize, most: usize) -> bool {
        match self.retry_at {
            None => running < most,
            Some(at) => running == 0 && Instant::now() >= at,
        }
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.retry_at = None;
        self.backoff.reset();
    }

    pub(super) fn failed(&mut self) {
        self.failures += 1;
        if self.failures >= Self::FAILURES {
            self.retry_at = Some(Instant::now() + self.backoff.wait());
        }
    }

    /// The store answered, but later than anybody waits for: it may be asked again at once, by
    /// nobody who waits.
    pub(super) fn answered_late(&mut self) {
        self.retry_at = self.retry_at.map(|_| Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_tries_and_closes() {
        let mut breaker = Breaker::new();
        breaker.failed();
        breaker.failed();
        assert!(breaker.allows(3, 4) && !breaker.allows(4, 4));
        breaker.failed();
        assert!(breaker.is_open() && !breaker.allows(0, 4));
        tokio::time::advance(Breaker::FIRST).await;
        assert!(breaker.allows(0, 4) && !breaker.allows(1, 4));
        for _ in 0..10 {
            breaker.failed();
        }
        assert!(!breaker.allows(0, 4));
        tokio::time::advance(Breaker::LONGEST).await;
        assert!(breaker.allows(0, 4));
        breaker.failed();
        breaker.answered_late();
        assert!(breaker.is_open() && breaker.allows(0, 4));
        breaker.succeeded();
        assert!(!breaker.is_open() && breaker.allows(3, 4));
    }
}
