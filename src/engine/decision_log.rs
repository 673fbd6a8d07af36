//! A compact row for each decision that was chosen by what was learned, written off the path: a
//! decision never waits for it, and losing some in a crash is accepted and counted. The exact
//! propensity is worked out here, from the very draws that chose.

use std::{collections::HashMap, sync::Arc, time::Duration};

use metrics::Counter;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::queue::Queue;
use crate::{
    domain::{
        catalog::creative::Creative,
        decision::{decided::Decision, learned::Thought, request::AdRequest},
        ids::{CampaignId, DecisionId, Uid},
        measurement::evaluate::MOST_COMBINATIONS,
        optimizer::{Likely, Mixture},
    },
    ports::{LearningStore, LoggedDecision},
};

/// Where rows go. Clones lead to the same place.
#[derive(Clone)]
pub struct DecisionLog {
    queue: Arc<Queue<Noted>>,
    store: Arc<dyn LearningStore>,
    lost: Counter,
}

/// A decision as it was noted on the path.
struct Noted {
    account: u32,
    decision: DecisionId,
    campaign: CampaignId,
    creative: Arc<Creative>,
    person: Option<Uid>,
    thought: Thought,
    choice: Vec<u16>,
}

/// What the probabilities of choices depend on.
type Context = (usize, usize, Vec<u16>, Vec<Vec<u16>>);

impl DecisionLog {
    /// Rows in one write.
    const BATCH: usize = 1_000;
    /// Decisions that may wait to be written.
    const QUEUE: usize = 16_384;
    /// How long a row waits for others.
    const GATHER: Duration = Duration::from_millis(500);
    /// A write that takes longer is given up, not cancelled.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// A queue to `store`; `lost` counts decisions that were not written, or not surely. Run
    /// [`DecisionLog::write`] as a background task.
    #[must_use]
    pub fn new(store: Arc<dyn LearningStore>, lost: Counter) -> Self {
        Self { queue: Arc::new(Queue::new(Self::QUEUE)), store, lost }
    }

    /// Notes what was chosen by what was learned, if there is room. Never waits. What was chosen of a few
    /// combinations, because an exchange reviews each of them, is left out: another rotation could not have
    /// shown there what it shows elsewhere.
    pub fn note(&self, account: u32, person: Option<Uid>, request: &AdRequest, decision: &Decision) {
        let open = request.placements.iter().zip(&decision.placements).filter(|(asked, _)| asked.listing.is_none());
        for item in open.flat_map(|(_, items)| items) {
            let Some(showing) = &item.shown else { continue };
            let (Some(campaign), Some(exposure), Some(thought)) =
                (&showing.campaign, &showing.exposure, &showing.thought)
            else {
                continue;
            };
            let noted = Noted {
                account,
                decision: item.id,
                campaign: campaign.id.clone(),
                creative: Arc::clone(&showing.creative),
                person,
                thought: thought.clone(),
                choice: exposure.choice.clone(),
            };
            if !self.queue.offer(noted) {
                self.lost.increment(1);
            }
        }
    }

    /// Waits until everything noted so far is written or lost.
    pub async fn flush(&self) {
        self.queue.flush().await;
    }

    /// Writes what is noted, until `stop` and until the queue is empty then.
    pub async fn write(self, stop: CancellationToken) {
        let mut reader = self.queue.reader().await;
        while let Some(group) = reader.next(&stop, Self::BATCH, Self::GATHER).await {
            if !group.items.is_empty() {
                self.store(group.items).await;
            }
            if let Some(done) = group.flush {
                let _gone = done.send(());
            }
        }
    }

    async fn store(&self, noted: Vec<Noted>) {
        let count = noted.len() as u64;
        let store = Arc::clone(&self.store);
        // Apart, so that giving up cancels nothing.
        let call = tokio::spawn(async move {
            match tokio::task::spawn_blocking(move || rows(noted)).await {
                Ok(rows) => store.log(rows).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        });
        match time::timeout(Self::PATIENCE, call).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => tracing::warn!(count, %error, "rows of the decision log are lost"),
            Ok(Err(_)) | Err(_) => tracing::warn!(count, "rows of the decision log are lost: it took too long"),
        }
        self.lost.increment(count);
    }
}

fn rows(noted: Vec<Noted>) -> Vec<LoggedDecision> {
    let mut contexts: HashMap<Context, (Likely, Option<Vec<u8>>)> = HashMap::new();
    let mut rows = Vec::with_capacity(noted.len());
    for Noted { account, decision, campaign, creative, person, thought, choice } in noted {
        // what chose is still there, so this is only for completeness
        let Some((draws, space)) = thought.among(&creative) else { continue };
        let learner = Arc::as_ptr(&thought.learner) as usize;
        // those that may show only some combinations are creatives of their own
        let context = (learner, Arc::as_ptr(&creative) as usize, thought.features.clone(), thought.eligible.clone());
        let (likely, packed) = contexts.entry(context).or_insert_with(|| {
            let likely = Likely::new(draws, &space, &thought.features, MOST_COMBINATIONS);
            let packed = likely.mixture().and_then(Mixture::pack);
            (likely, packed)
        });
        let shown = &choice[..space.options().len().min(choice.len())];
        rows.push(LoggedDecision {
            account,
            decision,
            campaign,
            creative: creative.id.clone(),
            person,
            version: thought.learner.version,
            eligible: thought.learner.eligible_numbers(&creative, &thought.eligible),
            propensity: likely.of(draws, &space, &thought.features, shown),
            mixture: packed.clone(),
            choice,
            features: thought.features,
        });
    }
    rows
}
