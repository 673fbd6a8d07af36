//! Tags in shadow mode: decided as any other, shown to nobody, and compared off the path with what
//! would have been shown without the profile. A request never waits for that, and losing some in a
//! crash is accepted and counted.

use std::{sync::Arc, time::Duration};

use metrics::Counter;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{
    decider::{Call, Decided, Decider},
    queue::Queue,
    seeds,
};
use crate::{
    domain::{
        consent::Purposes,
        decision::{
            request::{Preview, Seed},
            shadow::Asked,
        },
        ids::{DecisionId, LineItemId},
        violation::Violation,
    },
    ports::{ShadowLine, ShadowPerson, ShadowRow, ShadowSeen, ShadowSought, ShadowStore, StoreError},
};

/// What tags in shadow mode would have shown. Clones lead to the same place.
#[derive(Clone)]
pub struct Shadows {
    queue: Arc<Queue<Noted>>,
    store: Arc<dyn ShadowStore>,
    lost: Counter,
}

enum Noted {
    Decided(Box<Shadowed>),
    Seen(ShadowSeen),
}

/// A decision as it was noted on the path.
struct Shadowed {
    decided: Decided,
    purposes: Purposes,
    seed: Seed,
    line_item: Option<LineItemId>,
}

impl Shadows {
    /// Rows in one write.
    const BATCH: usize = 500;
    /// What may wait to be written.
    const QUEUE: usize = 16_384;
    /// How long a row waits for others.
    const GATHER: Duration = Duration::from_millis(500);
    /// A write that takes longer is given up, not cancelled.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// Line items in one report.
    pub const LINES: u32 = 1_000;

    /// A queue to `store`; `lost` counts requests that were not written, or not surely. Run
    /// [`Shadows::write`] as a background task.
    #[must_use]
    pub fn new(store: Arc<dyn ShadowStore>, lost: Counter) -> Self {
        Self { queue: Arc::new(Queue::new(Self::QUEUE)), store, lost }
    }

    /// Decides as for anybody, but as a preview: nothing counts, and nothing is learned from it.
    ///
    /// # Errors
    /// Everything that the request names and that does not exist.
    pub async fn decide(
        &self,
        decider: &Decider,
        mut call: Call,
        line_item: Option<LineItemId>,
        arrived: std::time::Instant,
    ) -> Result<DecisionId, Vec<Violation>> {
        let (purposes, seed) = (call.purposes, seeds::draw());
        call.request.preview = Some(Preview { seed: Some(seed), ..Preview::default() });
        let decided = decider.decide(call, arrived).await?;
        let id = decided.decision.id;
        self.offer(Noted::Decided(Box::new(Shadowed { decided, purposes, seed, line_item })));
        Ok(id)
    }

    /// Takes down what a browser told. Never waits.
    pub fn seen(&self, seen: ShadowSeen) {
        self.offer(Noted::Seen(seen));
    }

    fn offer(&self, noted: Noted) {
        if !self.queue.offer(noted) {
            self.lost.increment(1);
        }
    }

    /// Line items of an account's requests on these days, at most [`Shadows::LINES`].
    ///
    /// # Errors
    /// The store's.
    pub async fn lines(&self, account: u32, days: (i32, i32)) -> Result<Vec<ShadowLine>, StoreError> {
        self.queue.flush().await;
        self.store.lines(account, days, Self::LINES).await
    }

    /// People to whom it would have made a difference.
    ///
    /// # Errors
    /// The store's.
    pub async fn people(&self, account: u32, sought: ShadowSought) -> Result<Vec<ShadowPerson>, StoreError> {
        self.queue.flush().await;
        self.store.people(account, sought).await
    }

    /// Writes what is noted, until `stop` and until the queue is empty then.
    pub async fn write(self, stop: CancellationToken) {
        let mut reader = self.queue.reader().await;
        while let Some(group) = reader.next(&stop, Self::BATCH, Self::GATHER).await {
            if !group.items.is_empty() {
                self.keep(group.items).await;
            }
            if let Some(done) = group.flush {
                let _gone = done.send(());
            }
        }
    }

    async fn keep(&self, noted: Vec<Noted>) {
        let count = noted.len() as u64;
        let store = Arc::clone(&self.store);
        // Apart, so that giving up cancels nothing.
        let call = tokio::spawn(async move {
            match tokio::task::spawn_blocking(move || rows(noted)).await {
                Ok((rows, seen)) => store.keep(rows, seen).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        });
        match time::timeout(Self::PATIENCE, call).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => tracing::warn!(count, %error, "requests in shadow mode are lost"),
            Ok(Err(_)) | Err(_) => tracing::warn!(count, "requests in shadow mode are lost: it took too long"),
        }
        self.lost.increment(count);
    }
}

fn rows(noted: Vec<Noted>) -> (Vec<ShadowRow>, Vec<ShadowSeen>) {
    let (mut rows, mut seen) = (Vec::new(), Vec::new());
    for noted in noted {
        match noted {
            Noted::Seen(told) => seen.push(told),
            Noted::Decided(shadowed) => rows.push(row(*shadowed)),
        }
    }
    (rows, seen)
}

fn row(Shadowed { decided, purposes, seed, line_item }: Shadowed) -> ShadowRow {
    let Decided { account, request, decision, user, .. } = &decided;
    let asked = Asked {
        snapshot: &account.snapshot,
        learned: &account.learned,
        request,
        state: user.state.as_deref(),
        standing: user.standing,
        counted: user.counted,
        purposes,
        now: decision.at,
        seed,
    };
    ShadowRow {
        account: account.number(),
        decision: decision.id,
        line_item,
        person: request.person.filter(|_| purposes.measure),
        personalised: purposes.profile_read && user.state.is_some(),
        causes: asked.causes(),
    }
}
