//! Everything that goes on beside requests.

use std::{sync::Arc, time::Duration};

use super::{
    Core, boot,
    chores::{follow, maintain, upkeep},
};
use crate::{
    config::Config,
    engine::{
        catalogue::Origin,
        feed::{Feed, FeedConfig, Listener},
    },
};

impl Core {
    /// Starts the background work.
    pub(super) fn run(&mut self, config: &Config) {
        let feed = Feed::new(
            Arc::clone(&self.opened.feed),
            self.users.clone(),
            Arc::clone(&self.listener) as Arc<dyn Listener>,
            FeedConfig { interval: Duration::from_millis(config.store.feed_interval_ms), ..FeedConfig::default() },
            self.meters.clone(),
        );
        if let Some(cluster) = self.cluster.clone().filter(|_| self.unstarted) {
            self.tasks.spawn("private database", move |stop| cluster.clone().start_later(stop));
        }
        if self.origin == Some(Origin::Disk) {
            let opened = self.opened.clone();
            self.tasks.spawn("migrations", move |stop| boot::migrate_later(opened.clone(), stop));
        }
        self.tasks.spawn("feed", move |stop| feed.clone().run(stop));
        let outcomes = self.engine.outcomes.clone();
        self.tasks.spawn("outcomes", move |stop| outcomes.clone().write(stop));
        let outcomes = self.engine.outcomes.clone();
        self.tasks.spawn("outcome replay", move |stop| outcomes.clone().replay(stop));
        let reservoir = Arc::clone(&self.reservoir);
        let catalogue = Arc::clone(&self.engine.catalogue);
        self.tasks.spawn("reservoir", move |stop| Arc::clone(&reservoir).run(Arc::clone(&catalogue), stop));
        let (ingest, catalogue) = (self.engine.ingest.clone(), Arc::clone(&self.engine.catalogue));
        self.tasks.spawn("streams", move |stop| {
            let catalogue = Arc::clone(&catalogue);
            ingest.clone().backfill(move || catalogue.world(), stop)
        });
        let transitions = self.engine.transitions.clone();
        self.tasks.spawn("transitions", move |stop| transitions.clone().work(stop));
        let deliveries = self.deliveries.clone();
        self.tasks.spawn("webhooks", move |stop| deliveries.clone().work(stop));
        let keeper = Arc::clone(&self.keeper);
        self.tasks.spawn("feeds of products", move |stop| Arc::clone(&keeper).work(stop));
        let learning = self.engine.learning.clone();
        self.tasks.spawn("learning", move |stop| learning.clone().work(stop));
        let spending = self.engine.spending.clone();
        self.tasks.spawn("budgets", move |stop| spending.clone().follow(stop));
        let log = self.log.clone();
        self.tasks.spawn("decision log", move |stop| log.clone().write(stop));
        let rendered = self.engine.rendered.clone();
        self.tasks.spawn("late frames", move |stop| rendered.clone().write(stop));
        let shadows = self.engine.shadows.clone();
        self.tasks.spawn("shadows", move |stop| shadows.clone().write(stop));
        let records = self.records.clone();
        self.tasks.spawn("records", move |stop| records.clone().write(stop));
        if let Some(notes) = self.notes.take() {
            let (engine, meters) = (Arc::clone(&self.engine), self.meters.clone());
            let notes = Arc::new(tokio::sync::Mutex::new(notes));
            self.tasks
                .spawn("catalogue", move |stop| follow(Arc::clone(&engine), Arc::clone(&notes), meters.clone(), stop));
        }
        let (opened, clock) = (self.opened.clone(), Arc::clone(&self.engine.clock));
        self.tasks.spawn("partitions", move |stop| maintain(opened.clone(), Arc::clone(&clock), stop));
        let (exposition, reservations) = (self.exposition.clone(), Arc::clone(&self.reservations));
        self.tasks.spawn("upkeep", move |stop| upkeep(exposition.clone(), Arc::clone(&reservations), stop));
    }

    /// Ends background work, flushing what is under way, and stops the private cluster.
    pub async fn close(self) {
        for name in self.tasks.drain(Duration::from_secs(10)).await {
            tracing::warn!(task = name, "background work did not end in time");
        }
        drop((self.opened, self.engine));
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}
