//! The exact stretch of an answer, by looking at every instant at which it may change.

use crate::domain::{audience::verdict::Verdict, values::Millis};

/// A condition that can be judged at any instant, as if later events had not happened yet.
pub(crate) trait Timeline {
    /// Whether it holds at `at`.
    fn holds(&self, at: i64) -> bool;

    /// Names every instant at which it may be otherwise than a millisecond before.
    fn edges(&self, edge: &mut dyn FnMut(i64));

    /// The latest instant up to `now` at which it may have changed.
    fn latest_edge(&self, now: i64) -> Option<Millis> {
        let mut latest = None;
        self.edges(&mut |edge| {
            if edge <= now {
                latest = latest.max(Some(Millis(edge)));
            }
        });
        latest
    }

    /// The answer at `now` with the longest stretch around it in which it stays the same.
    fn exact(&self, now: i64) -> Verdict {
        let holds = self.holds(now);
        let mut edges = Vec::new();
        self.edges(&mut |edge| edges.push(edge));
        edges.sort_unstable();
        edges.dedup();
        let (past, ahead) = edges.split_at(edges.partition_point(|&edge| edge <= now));
        let since = past.iter().rev().find(|&&edge| self.holds(edge - 1) != holds);
        let until = ahead.iter().find(|&&edge| self.holds(edge) != holds);
        Verdict::new(holds, since.copied().map(Millis), until.copied().map(Millis))
    }
}
