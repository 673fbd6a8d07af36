//! A bounded queue that is emptied in groups.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

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
    /// What an item weighs.
    weigh: fn(&T) -> usize,
    /// All that is offered and not dealt with, and the most that may be.
    weight: AtomicUsize,
    most: usize,
}

/// Some of a queue, in order.
pub(super) struct Group<T> {
    pub(super) items: Vec<T>,
    /// To be told once all items so far are dealt with.
    pub(super) flush: Option<oneshot::Sender<()>>,
}

impl<T> Queue<T> {
    pub(super) fn new(room: usize) -> Self {
        Self::weighing(room, usize::MAX, |_| 0)
    }

    /// A queue of at most so many items, that weigh at most so much together.
    pub(super) fn weighing(room: usize, most: usize, weigh: fn(&T) -> usize) -> Self {
        let (sender, receiver) = mpsc::channel(room);
        Self { sender, receiver: Mutex::new(receiver), weigh, weight: AtomicUsize::new(0), most }
    }

    /// Adds an item if there is room; whether there was.
    pub(super) fn offer(&self, item: T) -> bool {
        let weight = (self.weigh)(&item);
        let fits = self.weight.fetch_add(weight, Ordering::Relaxed).saturating_add(weight) <= self.most;
        let taken = fits && self.sender.try_send(Item::One(item)).is_ok();
        if !taken {
            self.weight.fetch_sub(weight, Ordering::Relaxed);
        }
        taken
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
        Reader { receiver: self.receiver.lock().await, queue: self, taken: 0 }
    }
}

pub(super) struct Reader<'a, T> {
    receiver: MutexGuard<'a, mpsc::Receiver<Item<T>>>,
    queue: &'a Queue<T>,
    /// What the last group weighs.
    taken: usize,
}

impl<T> Reader<'_, T> {
    /// Waits for an item and then for others, at most `most` together and `within` a time; the group
    /// before is dealt with then. After `stop` it waits for nothing; none once the queue is empty then.
    pub(super) async fn next(&mut self, stop: &CancellationToken, most: usize, within: Duration) -> Option<Group<T>> {
        self.release();
        let mut next = match stop.run_until_cancelled(self.receiver.recv()).await {
            Some(item) => item,
            None => self.receiver.try_recv().ok(),
        };
        let end = Instant::now() + within;
        let (mut items, mut flush) = (Vec::new(), None);
        while let Some(item) = next.take() {
            match item {
                Item::One(item) => {
                    self.taken += (self.queue.weigh)(&item);
                    items.push(item);
                }
                Item::Flush(done) => flush = Some(done),
            }
            if flush.is_none() && items.len() < most {
                next = match stop.run_until_cancelled(time::timeout_at(end, self.receiver.recv())).await {
                    Some(item) => item.ok().flatten(),
                    None => self.receiver.try_recv().ok(),
                };
            }
        }
        (!items.is_empty() || flush.is_some()).then_some(Group { items, flush })
    }

    fn release(&mut self) {
        self.queue.weight.fetch_sub(std::mem::take(&mut self.taken), Ordering::Relaxed);
    }
}

impl<T> Drop for Reader<'_, T> {
    fn drop(&mut self) {
        self.release();
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
    async fn what_is_not_dealt_with_weighs_so_much_at_most() {
        let (queue, stop) = (Queue::weighing(9, 10, |item: &usize| *item), CancellationToken::new());
        assert!(queue.offer(6) && !queue.offer(5) && queue.offer(4) && !queue.offer(1));
        let mut reader = queue.reader().await;
        assert_eq!(reader.next(&stop, 1, WITHIN).await.expect("a group").items, [6]);
        assert!(!queue.offer(1), "it is being dealt with");
        assert_eq!(reader.next(&stop, 1, WITHIN).await.expect("a group").items, [4]);
        assert!(queue.offer(6) && !queue.offer(1));
        drop(reader);
        assert!(queue.offer(4) && !queue.offer(1));
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
