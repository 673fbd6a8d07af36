//! A bounded queue that is emptied in groups.

use std::time::Duration;

use tokio::{
    sync::{Mutex, MutexGuard, mpsc, oneshot},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

enum Item<T> {
    One(T),
    /// Somebody waits until everything before is dealt with.
    Flush(oneshot::Sender<()>),
}

pub(super) struct Queue<T> {
    sender: mpsc::Sender<Item<T>>,
    /// Held by whoever empties the queue, also by the one that starts after a panic.
    receiver: Mutex<mpsc::Receiver<Item<T>>>,
}

/// Some of a queue, in order.
pub(super) struct Group<T> {
    pub(super) items: Vec<T>,
    /// To be told once all items so far are dealt with.
    pub(super) flush: Option<oneshot::Sender<()>>,
}

impl<T> Queue<T> {
    pub(super) fn new(room: usize) -> Self {
        let (sender, receiver) = mpsc::channel(room);
        Self { sender, receiver: Mutex::new(receiver) }
    }

    /// Adds an item if there is room; whether there was.
    pub(super) fn offer(&self, item: T) -> bool {
        self.sender.try_send(Item::One(item)).is_ok()
    }

    /// Waits until everything offered so far is dealt with.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.sender.send(Item::Flush(done)).await.is_ok() {
            let _ended = flushed.await;
        }
    }

    /// The right to empty the queue, which one task has at a time.
    pub(super) async fn reader(&self) -> Reader<'_, T> {
        Reader(self.receiver.lock().await)
    }
}

pub(super) struct Reader<'a, T>(MutexGuard<'a, mpsc::Receiver<Item<T>>>);

impl<T> Reader<'_, T> {
    /// Waits for an item and then for others, at most `most` together and `within` a time. After
    /// `stop` it waits for nothing; none once the queue is empty then.
    pub(super) async fn next(&mut self, stop: &CancellationToken, most: usize, within: Duration) -> Option<Group<T>> {
        let mut next = match stop.run_until_cancelled(self.0.recv()).await {
            Some(item) => item,
            None => self.0.try_recv().ok(),
        };
        let end = Instant::now() + within;
        let (mut items, mut flush) = (Vec::new(), None);
        while let Some(item) = next.take() {
            match item {
                Item::One(item) => items.push(item),
                Item::Flush(done) => flush = Some(done),
            }
            if flush.is_none() && items.len() < most {
                next = match stop.run_until_cancelled(time::timeout_at(end, self.0.recv())).await {
                    Some(item) => item.ok().flatten(),
                    None => self.0.try_recv().ok(),
                };
            }
        }
        (!items.is_empty() || flush.is_some()).then_some(Group { items, flush })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_millis(5);

    #[tokio::test(start_paused = true)]
    async fn groups_end_by_size_by_time_and_by_a_flush() {
        let (queue, stop) = (Queue::new(4), CancellationToken::new());
        let mut reader = queue.reader().await;
        assert!((0..4).all(|item| queue.offer(item)));
        assert!(!queue.offer(4), "full");
        assert_eq!(reader.next(&stop, 3, WITHIN).await.expect("a group").items, [0, 1, 2]);
        let start = Instant::now();
        assert_eq!(reader.next(&stop, 3, WITHIN).await.expect("a group").items, [3]);
        assert_eq!(start.elapsed(), WITHIN);
        assert!(queue.offer(5));
        let (_, group) = tokio::join!(time::timeout(Duration::from_secs(1), queue.flush()), async {
            let group = reader.next(&stop, 3, Duration::from_secs(9)).await.expect("a group");
            group.flush.expect("a flush").send(()).expect("somebody waits");
            group.items
        });
        assert_eq!(group, [5]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_stop_it_is_emptied() {
        let (queue, stop) = (Queue::new(4), CancellationToken::new());
        let mut reader = queue.reader().await;
        assert!(queue.offer(1) && queue.offer(2) && queue.offer(3));
        stop.cancel();
        assert_eq!(reader.next(&stop, 2, WITHIN).await.expect("a group").items, [1, 2]);
        assert_eq!(reader.next(&stop, 2, WITHIN).await.expect("a group").items, [3]);
        assert!(reader.next(&stop, 2, WITHIN).await.is_none());
    }
}
