//! How far the store was looked through.

use std::time::Duration;

use tokio::time;

use crate::ports::LearnedVersion;

/// How far the store was looked through for what others learned.
#[derive(Default)]
pub(super) struct Looked {
    newest: i64,
    whole: Option<time::Instant>,
}

impl Looked {
    /// What a transaction wrote is seen when it commits, by then some seconds old, in ms.
    const OVERLAP: i64 = 20_000;
    /// Time between looks through everything, whatever clocks say.
    const WHOLE_EVERY: Duration = Duration::from_secs(60);

    /// From when on changes may not have been seen, by the store's clock.
    pub(super) fn since(&self) -> i64 {
        let due = self.whole.is_none_or(|whole| whole.elapsed() >= Self::WHOLE_EVERY);
        if due { 0 } else { self.newest.saturating_sub(Self::OVERLAP) }
    }

    /// Notes what a look found.
    pub(super) fn saw(&mut self, news: &[LearnedVersion]) {
        if self.since() == 0 {
            self.whole = Some(time::Instant::now());
        }
        self.newest = news.iter().map(|one| one.updated_at).max().unwrap_or_default().max(self.newest);
    }
}
