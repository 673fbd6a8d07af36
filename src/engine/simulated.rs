//! A clock that requests set, so that scenarios of weeks replay in minutes.

use std::{
    future::Future,
    sync::atomic::{AtomicI64, Ordering},
};

use super::catalogue::MachineClock;
use crate::{domain::values::Millis, ports::Clock};

tokio::task_local! {
    static TOLD: Millis;
}

/// Says what the request being answered said, elsewhere what the last one said, and before any did
/// what the machine's clock says.
#[derive(Debug)]
pub struct SimulatedClock(AtomicI64);

impl Default for SimulatedClock {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl SimulatedClock {
    /// Runs what happens at a time.
    pub async fn at<T>(&self, time: Millis, work: impl Future<Output = T>) -> T {
        self.0.store(time.0, Ordering::Relaxed);
        TOLD.scope(time, work).await
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Millis {
        let last = || match self.0.load(Ordering::Relaxed) {
            i64::MIN => MachineClock.now(),
            last => Millis(last),
        };
        TOLD.try_with(|told| *told).unwrap_or_else(|_| last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_request_has_its_own_time() {
        let clock = SimulatedClock::default();
        assert!(clock.now() > Millis(1_700_000_000_000), "the machine's, before anybody said one");
        let one = clock.at(Millis(5), async {
            tokio::task::yield_now().await;
            clock.now()
        });
        let other = clock.at(Millis(9), async { clock.now() });
        assert_eq!(tokio::join!(one, other), (Millis(5), Millis(9)));
        assert_eq!(clock.now(), Millis(9));
    }
}
