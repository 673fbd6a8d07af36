//! Background work: started by name, started again after a panic, drained within a bound.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use metrics::Counter;
use tokio::{task::JoinHandle, time};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;

/// The background work of one service.
pub struct Tasks {
    stop: CancellationToken,
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
    panics: Counter,
}

impl Tasks {
    /// No tasks yet. `panics` counts those that panicked.
    #[must_use]
    pub fn new(panics: Counter) -> Self {
        Self { stop: CancellationToken::new(), running: Mutex::default(), panics }
    }

    /// Runs `work`, and runs it again when it panics, after a wait that grows up to 10 s. It should
    /// finish what it holds and return soon after the token it is given is cancelled.
    pub fn spawn<W, F>(&self, name: &'static str, work: W)
    where
        W: Fn(CancellationToken) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, panics) = (self.stop.clone(), self.panics.clone());
        let supervisor = tokio::spawn(async move {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
            // The panic hook has logged where it happened; the message may quote data.
            while tokio::spawn(work(stop.clone())).await.is_err() {
                panics.increment(1);
                tracing::error!(task = name, "a background task panicked and is started again");
                if stop.run_until_cancelled(time::sleep(backoff.wait())).await.is_none() {
                    return;
                }
            }
        });
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push((name, supervisor));
    }

    /// Tells all tasks to stop and waits for them, at most `bound`. Answers the names of those
    /// that had not stopped by then.
    pub async fn drain(&self, bound: Duration) -> Vec<&'static str> {
        self.stop.cancel();
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let end = time::Instant::now() + bound;
        let mut late = Vec::new();
        for (name, task) in running {
            if time::timeout_at(end, task).await.is_err() {
                late.push(name);
            }
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_and_drained() {
        let tasks = Tasks::new(Counter::noop());
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        tasks.spawn("shaky", move |stop| {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(run >= 2, "the first two runs panic");
                stop.cancelled().await;
            }
        });
        tasks.spawn("stuck", |_| std::future::pending());
        time::sleep(Duration::from_secs(2)).await;
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        assert_eq!(tasks.drain(Duration::from_secs(1)).await, ["stuck"]);
    }
}
