//! Background work that belongs to no part of the engine: following the catalogue, partitions, upkeep.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::ids::Uid,
    engine::{
        Engine, catalogue::Catalogue, feed::Listener, ingest::StreamRegistry, rendered::Rendered,
        reservations::Reservations, reservoir::Reservoir,
    },
    ports::Clock,
    store::Opened,
    telemetry::{Exposition, Meters},
};

/// What the feed tells besides people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    Catalog(u32, i64),
    Keys,
    Reset,
}

/// Passes the feed's notes on to the task that follows them.
pub(super) struct Notes {
    engine: std::sync::Weak<Catalogue>,
    reservoir: Arc<Reservoir>,
    rendered: Rendered,
    streams: Arc<StreamRegistry>,
    sender: mpsc::UnboundedSender<Note>,
}

impl Notes {
    pub(super) fn new(engine: &Engine, reservoir: Arc<Reservoir>) -> (Arc<Self>, mpsc::UnboundedReceiver<Note>) {
        let (sender, notes) = mpsc::unbounded_channel();
        let (rendered, streams) = (engine.rendered.clone(), Arc::clone(engine.ingest.streams()));
        (Arc::new(Self { engine: Arc::downgrade(&engine.catalogue), reservoir, rendered, streams, sender }), notes)
    }

    fn tell(&self, note: Note) {
        // nobody listens any more once the service ends
        let _gone = self.sender.send(note);
    }
}

impl Listener for Notes {
    fn on_catalog(&self, account: u32, version: i64) {
        let known = self
            .engine
            .upgrade()
            .and_then(|catalogue| catalogue.world().account(account).map(|account| account.snapshot.version));
        if known.is_none_or(|known| known < version) {
            self.tell(Note::Catalog(account, version));
        }
    }

    fn on_keys(&self) {
        self.tell(Note::Keys);
    }

    fn on_reset(&self) {
        self.reservoir.on_reset();
        self.rendered.on_reset();
        self.streams.on_reset();
        self.tell(Note::Reset);
    }

    fn on_person(&self, account: u32, uid: Uid, version: Option<i64>) {
        self.reservoir.on_person(account, uid, version);
        if version.is_none() {
            self.rendered.on_erased(account, uid);
        }
    }

    fn on_lists(&self, account: u32, from: Uid, upto: Uid) {
        self.reservoir.on_lists(account, from, upto);
    }
}

/// Follows what the feed tells, one thing at a time; what fails is tried again.
pub(super) async fn follow(
    engine: Arc<Engine>,
    notes: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Note>>>,
    meters: Meters,
    stop: CancellationToken,
) {
    let mut notes = notes.lock().await;
    let mut pending: Vec<Note> = Vec::new();
    loop {
        if pending.is_empty() {
            match stop.run_until_cancelled(notes.recv()).await {
                Some(Some(note)) => pending.push(note),
                _ => return,
            }
        }
        while let Ok(note) = notes.try_recv() {
            pending.push(note);
        }
        pending.dedup();
        if pending.contains(&Note::Reset) {
            pending = vec![Note::Reset];
        }
        let mut failed = Vec::new();
        for note in pending.drain(..) {
            let followed = match note {
                Note::Catalog(account, version) => engine.catalogue.follow(account, version).await,
                Note::Keys => engine.catalogue.follow_access().await,
                Note::Reset => engine.catalogue.reload().await,
            };
            if let Err(error) = followed {
                tracing::warn!(%error, ?note, "following the catalogue failed; trying again");
                failed.push(note);
            }
        }
        let newest = engine.catalogue.world().accounts().map(|account| account.snapshot.version).max();
        meters.catalog_version.set(newest.unwrap_or_default() as f64);
        // notes repeat while a transaction is open somewhere: no need to follow each at once
        let pause = if failed.is_empty() { Duration::from_millis(20) } else { Duration::from_millis(500) };
        pending = failed;
        if stop.run_until_cancelled(time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Erases what is left, makes coming partitions and drops old ones: at the start and every ten minutes.
pub(super) async fn maintain(opened: Opened, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        let failed = opened.maintain(clock.now()).await;
        for (step, error) in &failed {
            tracing::warn!(%error, step, "upkeep failed; trying again");
        }
        let pause = Duration::from_secs(if failed.is_empty() { 600 } else { 10 });
        if stop.run_until_cancelled(time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Small chores, every second.
pub(super) async fn upkeep(exposition: Exposition, reservations: Arc<Reservations>, stop: CancellationToken) {
    let mut second = time::interval(Duration::from_secs(1));
    while stop.run_until_cancelled(second.tick()).await.is_some() {
        exposition.upkeep();
        reservations.sweep();
    }
}
