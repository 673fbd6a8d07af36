//! Delivers what webhooks tell: signed, one batch after the other for each of them, and again until
//! it is accepted. Never on the way of a decision.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use crate::{
    domain::webhook::{GIVE_UP, Message, Telling, delay, retry_after},
    ports::{AfterFailure, Courier, Delivered, DeliveryJob, Letter, PausedBy, PostError, Receipt, WebhookStore},
};

/// Takes batches that are due and delivers them. Clones are the same.
#[derive(Clone)]
pub struct Deliveries {
    store: Arc<dyn WebhookStore>,
    courier: Arc<dyn Courier>,
    /// The first wait after a failure, in ms.
    first_retry: i64,
}

impl Deliveries {
    /// Time between two looks for what is due.
    const LOOK: Duration = Duration::from_millis(250);
    /// Deliveries under way at a time on this replica: receivers that take their time hold up no more.
    const AT_A_TIME: usize = 16;
    /// How long nobody else delivers what was taken, in ms: longer than a delivery may last.
    const LEASE: i64 = 30_000;
    /// How long the end waits for deliveries under way; those cut off are made again by whoever is next.
    const LAST: Duration = Duration::from_secs(5);

    /// Deliveries from a store, first tried again after `first_retry` ms.
    #[must_use]
    pub fn new(store: Arc<dyn WebhookStore>, courier: Arc<dyn Courier>, first_retry: i64) -> Self {
        Self { store, courier, first_retry }
    }

    /// Delivers until `stop`.
    pub async fn work(self, stop: CancellationToken) {
        let mut running = JoinSet::new();
        let mut backoff = Backoff::new(Self::LOOK, Duration::from_secs(10));
        while !stop.is_cancelled() {
            let mut pause = Self::LOOK;
            while running.len() < Self::AT_A_TIME {
                match self.store.claim(Message::MOST, Self::LEASE).await {
                    Ok(Some(job)) => {
                        backoff.reset();
                        running.spawn(self.clone().deliver(job));
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "looking for webhooks to deliver failed; trying again");
                        pause = backoff.wait();
                        break;
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                // whose webhook may have more
                Some(_) = running.join_next() => {}
                () = time::sleep(pause) => {}
            }
        }
        let rest = async { while running.join_next().await.is_some() {} };
        if time::timeout(Self::LAST, rest).await.is_err() {
            tracing::info!("deliveries of webhooks were cut off and will be made again");
        }
    }

    async fn deliver(self, job: DeliveryJob) {
        let (account, id, claim) = (job.account, job.id.clone(), job.claim);
        let delivered = match letter(&job) {
            None => Delivered::Accepted { sent: false },
            Some(letter) => {
                let answer = self.courier.post(letter).await;
                outcome(&job, answer, self.first_retry)
            }
        };
        match &delivered {
            Delivered::Failed { detail, then: AfterFailure::Pause(_), .. } => {
                tracing::warn!(account, %id, detail, "a webhook is paused: its receiver accepts nothing any more");
            }
            Delivered::Failed { detail, .. } => tracing::info!(account, %id, detail, "a delivery failed"),
            Delivered::Accepted { .. } => {}
        }
        match self.store.settle(account, id.clone(), claim, delivered).await {
            Ok(true) => {}
            Ok(false) => tracing::debug!(account, %id, "a webhook changed while it was delivered"),
            Err(error) => {
                tracing::warn!(%error, account, %id, "what became of a delivery is lost; it will be made again");
            }
        }
    }
}

fn message_id(job: &DeliveryJob) -> String {
    let place = |cursor: crate::ports::TransitionCursor| (cursor.xid, cursor.seq);
    Message::id(job.account, &job.id, &job.document, place(job.from), place(job.upto))
}

/// What is posted; nothing where nothing is left to tell.
fn letter(job: &DeliveryJob) -> Option<Letter> {
    if job.transitions.is_empty() {
        return None;
    }
    let told: Vec<Telling> = job.transitions.iter().cloned().map(Telling::from).collect();
    let body = Message::new(job.id.clone(), told).body();
    let (id, timestamp) = (message_id(job), job.now.0.div_euclid(1_000));
    let signatures: Vec<String> = job.secrets.iter().map(|secret| secret.sign(&id, timestamp, &body)).collect();
    let headers = vec![
        ("webhook-id", id),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ];
    Some(Letter { target: job.document.url.clone(), headers, body })
}

/// What an answer, or none, means for the batch.
fn outcome(job: &DeliveryJob, answer: Result<Receipt, PostError>, first_retry: i64) -> Delivered {
    let (status, detail, asked) = match answer {
        Ok(Receipt { status: 200..=299, .. }) => return Delivered::Accepted { sent: true },
        Ok(Receipt { status, retry_after: asked }) => {
            let asked = asked.and_then(|header| retry_after(&header, job.now));
            (Some(status), format!("the receiver answered {status}"), asked)
        }
        Err(error) => (None, error.to_string(), None),
    };
    let then = if status == Some(410) {
        AfterFailure::Pause(PausedBy::Gone)
    } else if job.failing_since.is_some_and(|since| job.now.since(since) >= GIVE_UP) {
        AfterFailure::Pause(PausedBy::GivenUp)
    } else {
        let failures = job.failures.saturating_add(1);
        // the same for every replica, and another for every batch and try
        let hash = blake3::hash(format!("{}/{failures}", message_id(job)).as_bytes());
        let draw = f64::from(u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]])) / f64::from(u16::MAX);
        AfterFailure::Retry(delay(failures, first_retry, draw, asked))
    };
    Delivered::Failed { status, detail, then }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::{
            ids::{Uid, WebhookId},
            values::Millis,
            webhook::{Secret, WebhookDoc},
        },
        ports::{Answer, Posting, TransitionCursor, TransitionRead, WebhookExpect, WebhookRow, WebhookWritten},
    };

    const NOW: Millis = Millis(1_700_000_000_000);

    fn secret(byte: u8) -> Secret {
        Secret::new([byte; 32]).expect("32 bytes")
    }

    fn job(failures: u32, failing_since: Option<Millis>) -> DeliveryJob {
        let cursor = |seq| TransitionCursor { xid: 7, seq };
        let one = TransitionRead {
            cursor: cursor(2),
            segment: "vip".parse().expect("a key"),
            uid: Uid(1),
            key: "u-1".parse().ok(),
            entered: true,
            at: Millis(5),
        };
        DeliveryJob {
            claim: Uuid::nil(),
            account: 1,
            id: "crm".parse().expect("an id"),
            document: serde_json::from_value(json!({"url": "https://crm.example/in"})).expect("a webhook"),
            secrets: vec![secret(1), secret(2)],
            from: cursor(1),
            upto: cursor(2),
            transitions: vec![one],
            failures,
            failing_since,
            now: NOW,
        }
    }

    #[test]
    fn a_letter_is_signed_with_every_secret_and_keeps_its_id() {
        let sent = letter(&job(0, None)).expect("a letter");
        let header = |name: &str| sent.headers.iter().find(|(known, _)| *known == name).expect(name).1.clone();
        let (id, signatures) = (header("webhook-id"), header("webhook-signature"));
        assert_eq!(header("webhook-timestamp"), "1700000000");
        let expected = [1, 2].map(|byte| secret(byte).sign(&id, 1_700_000_000, &sent.body));
        assert_eq!(signatures, expected.join(" "));
        let later = DeliveryJob { now: NOW.plus(60_000), ..job(3, Some(NOW)) };
        let again = letter(&later).expect("a letter");
        assert_eq!((again.headers[0].1.clone(), &again.body), (id, &sent.body));
        assert_eq!(letter(&DeliveryJob { transitions: vec![], ..later }), None);
    }

    #[test]
    fn answers_decide_what_comes_next() {
        let answer = |status, asked: Option<&str>| Ok(Receipt { status, retry_after: asked.map(str::to_owned) });
        let then = |job: &DeliveryJob, answer| match outcome(job, answer, 5_000) {
            Delivered::Accepted { sent: true } => None,
            Delivered::Failed { then, .. } => Some(then),
            other => panic!("{other:?}"),
        };
        let fresh = job(0, None);
        assert_eq!(then(&fresh, answer(200, None)), None);
        assert_eq!(then(&fresh, answer(204, None)), None);
        for (status, asked) in [(500, None), (302, None), (404, None), (429, Some("2"))] {
            let Some(AfterFailure::Retry(wait)) = then(&fresh, answer(status, asked)) else { panic!("{status}") };
            assert!((3_750..=6_250).contains(&wait), "{status}: {wait}");
        }
        assert_eq!(then(&fresh, answer(503, Some("90"))), Some(AfterFailure::Retry(90_000)));
        assert_eq!(then(&fresh, answer(410, None)), Some(AfterFailure::Pause(PausedBy::Gone)));
        let Some(AfterFailure::Retry(wait)) = then(&job(3, Some(NOW)), Err(PostError::Late)) else { panic!("a retry") };
        assert!((101_250..=168_750).contains(&wait), "{wait}");
        let old = job(12, Some(NOW.plus(-GIVE_UP)));
        assert_eq!(then(&old, answer(500, None)), Some(AfterFailure::Pause(PausedBy::GivenUp)));
        assert_eq!(then(&old, answer(200, None)), None, "as long as it is tried");
    }

    /// One batch, claimed anew until it is settled as accepted.
    struct Desk(Mutex<Vec<Delivered>>);

    impl WebhookStore for Desk {
        fn list(&self, _: u32, _: Option<String>, _: u32) -> Answer<'_, Vec<WebhookRow>> {
            unreachable!("nobody lists")
        }
        fn get(&self, _: u32, _: WebhookId) -> Answer<'_, Option<WebhookRow>> {
            unreachable!("nobody reads")
        }
        fn put(&self, _: u32, _: WebhookId, _: WebhookExpect, _: WebhookDoc, _: Secret) -> Answer<'_, WebhookWritten> {
            unreachable!("nobody writes")
        }
        fn delete(&self, _: u32, _: WebhookId, _: WebhookExpect) -> Answer<'_, WebhookWritten> {
            unreachable!("nobody deletes")
        }
        fn rotate(&self, _: u32, _: WebhookId, _: Secret, _: i64) -> Answer<'_, Option<Millis>> {
            unreachable!("nobody rotates")
        }
        fn backlog(&self, _: u32, _: WebhookId, _: u32) -> Answer<'_, u64> {
            unreachable!("nobody counts")
        }
        fn claim(&self, batch: u32, _: i64) -> Answer<'_, Option<DeliveryJob>> {
            assert_eq!(batch, 100);
            let settled = self.0.lock().expect("a lock");
            let done = settled.iter().any(|one| matches!(one, Delivered::Accepted { .. }));
            let job = (!done).then(|| job(settled.len() as u32, None));
            Box::pin(async move { Ok(job) })
        }
        fn settle(&self, _: u32, _: WebhookId, _: Uuid, delivered: Delivered) -> Answer<'_, bool> {
            self.0.lock().expect("a lock").push(delivered);
            Box::pin(async { Ok(true) })
        }
    }

    /// Answers 500 twice, then 200.
    struct Stubborn(Mutex<Vec<Letter>>);

    impl Courier for Stubborn {
        fn post(&self, letter: Letter) -> Posting<'_> {
            let mut seen = self.0.lock().expect("a lock");
            seen.push(letter);
            let status = if seen.len() < 3 { 500 } else { 200 };
            Box::pin(async move { Ok(Receipt { status, retry_after: None }) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_delivered_until_it_is_accepted() {
        let (desk, courier) = (Arc::new(Desk(Mutex::default())), Arc::new(Stubborn(Mutex::default())));
        let stop = CancellationToken::new();
        let deliveries = Deliveries { store: desk.clone(), courier: courier.clone(), first_retry: 1 };
        // one at a time, as the store hands them out
        for _ in 0..3 {
            let job = desk.claim(100, 1).await.expect("an answer").expect("a batch");
            deliveries.clone().deliver(job).await;
        }
        let work = tokio::spawn(deliveries.work(stop.clone()));
        time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
        work.await.expect("it ends");
        let letters = courier.0.lock().expect("a lock").clone();
        assert_eq!(letters.len(), 3);
        assert!(letters.iter().all(|letter| letter.headers[0] == letters[0].headers[0]));
        assert_eq!(desk.0.lock().expect("a lock").len(), 3);
    }
}
