//! Tags in shadow mode: decided as any other, shown to nobody, and compared off the path with what
//! would have been shown without the profile. A request never waits for that, and losing some in a
//! crash is accepted and counted.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use metrics::Counter;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{
    decider::{Call, Decided, Decider},
    queue::Queue,
    seeds,
    users::UserRead,
    world::Account,
};
use crate::{
    domain::{
        consent::Purposes,
        decision::{
            request::{AdRequest, Candidate, Preview, Seed},
            shadow::Asked,
        },
        ids::{DecisionId, LineItemId, NameHash},
        values::Millis,
        violation::Violation,
    },
    ports::{ShadowLine, ShadowPerson, ShadowRow, ShadowSeen, ShadowSought, ShadowStore, StoreError},
};

/// What tags in shadow mode would have shown. Clones lead to the same place.
#[derive(Clone)]
pub struct Shadows {
    queue: Arc<Queue<Noted>>,
    lines: Arc<Lines>,
    store: Arc<dyn ShadowStore>,
    lost: Counter,
}

/// Line items that tags named: on a day, by account and what the tag is of.
#[derive(Default)]
struct Lines(Mutex<(i64, Known)>);

type Known = HashMap<(u32, NameHash), HashSet<NameHash>>;

impl Lines {
    /// Line items of a tag that are told apart on a day: anybody can name any.
    const MOST: usize = 500;
    /// What all others are called.
    const OTHER: &str = "other";

    fn named(&self, account: u32, tag: NameHash, line: LineItemId, now: Millis) -> Option<LineItemId> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (day, known) = &mut *lines;
        let today = now.0.div_euclid(86_400_000);
        if *day != today {
            (*day, *known) = (today, HashMap::new());
        }
        let known = known.entry((account, tag)).or_default();
        let hash = NameHash::of(line.as_str());
        if known.contains(&hash) || known.len() < Self::MOST && known.insert(hash) {
            return Some(line);
        }
        Self::OTHER.parse().ok()
    }
}

enum Noted {
    Decided(Box<Shadowed>),
    Seen(ShadowSeen),
}

impl Noted {
    fn bytes(&self) -> usize {
        match self {
            Self::Decided(shadowed) => shadowed.bytes(),
            Self::Seen(_) => 0,
        }
    }
}

/// A decision as it was noted on the path: what it was made of, and nothing of what it would show.
struct Shadowed {
    account: Arc<Account>,
    request: Box<AdRequest>,
    id: DecisionId,
    at: Millis,
    user: UserRead,
    purposes: Purposes,
    seed: Seed,
    line_item: Option<LineItemId>,
}

impl Shadows {
    /// Rows in one write.
    const BATCH: usize = 500;
    /// What may wait to be written, by number and by size.
    const QUEUE: usize = 16_384;
    const BYTES: usize = 32 << 20;
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
        let queue = Arc::new(Queue::weighing(Self::QUEUE, Self::BYTES, Noted::bytes));
        Self { queue, lines: Arc::default(), store, lost }
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
        let Decided { account, request, decision, user, .. } = decider.decide(call, arrived).await?;
        let (id, at) = (decision.id, decision.at);
        let line_item = line_item.and_then(|line| self.lines.named(account.number(), tag(&request), line, at));
        let noted = Shadowed { account, request, id, at, user, purposes, seed, line_item };
        if !self.queue.offer(Noted::Decided(Box::new(noted))) {
            self.lost.increment(1);
        }
        Ok(id)
    }

    /// Counts a request that was not decided because there were too many.
    pub fn refuse(&self) {
        self.lost.increment(1);
    }

    /// Takes down what a browser told. Never waits.
    pub fn seen(&self, seen: ShadowSeen) {
        if !self.queue.offer(Noted::Seen(seen)) {
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
            Noted::Decided(shadowed) => rows.push(shadowed.into_row()),
        }
    }
    (rows, seen)
}

/// What the tag is of: a placement or a creative.
fn tag(request: &AdRequest) -> NameHash {
    let placement = request.placements.first();
    let creative = placement.and_then(|placement| match &placement.candidate {
        Some(Candidate::Creative(id)) => Some(id.as_str()),
        _ => None,
    });
    let named = placement.and_then(|placement| placement.placement.as_ref()).map(|id| id.as_str());
    NameHash::of(named.or(creative).unwrap_or_default())
}

impl Shadowed {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        let keywords = self.request.placements.iter().flat_map(|placement| &placement.keywords);
        let person = self.user.state.as_ref().map_or(0, |state| state.heap_bytes());
        2_048 + keywords.map(|word| 24 + word.len()).sum::<usize>() + person
    }

    fn into_row(self) -> ShadowRow {
        let asked = Asked {
            snapshot: &self.account.snapshot,
            learned: &self.account.learned,
            request: &self.request,
            state: self.user.state.as_deref(),
            standing: self.user.standing,
            counted: self.user.counted,
            purposes: self.purposes,
            now: self.at,
            seed: self.seed,
        };
        let causes = asked.causes();
        ShadowRow {
            account: self.account.number(),
            decision: self.id,
            line_item: self.line_item,
            person: self.request.person.filter(|_| self.purposes.measure),
            personalised: self.purposes.profile_read && self.user.state.is_some(),
            causes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_line_items_are_told_apart() {
        let lines = Lines::default();
        let (top, day) = (NameHash::of("top"), 86_400_000);
        let named = |account: u32, tag: NameHash, line: usize, at: i64| {
            let line = lines.named(account, tag, format!("l-{line}").parse().expect("a line item"), Millis(at));
            line.expect("a line item").as_str().to_owned()
        };
        for line in 0..Lines::MOST {
            assert_eq!(named(1, top, line, 5), format!("l-{line}"));
        }
        assert_eq!(named(1, top, 10_000, 6), "other");
        assert_eq!(named(1, top, 7, 7), "l-7", "those that are known are");
        assert_eq!(named(1, NameHash::of("side"), 10_000, 8), "l-10000", "each tag has its own");
        assert_eq!(named(2, top, 10_000, 9), "l-10000");
        assert_eq!(named(1, top, 10_000, day), "l-10000", "and each day");
    }
}
