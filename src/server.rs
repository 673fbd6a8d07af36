//! The composition root: every room is put together here and nowhere else.

mod background;
mod boot;
mod chores;
mod database;
mod error;
mod settings;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use self::{
    boot::{Imported, import},
    error::StartError,
};
use self::{
    chores::{Note, Notes},
    database::{Cluster, Database},
};
use crate::{
    config::Config,
    domain::consent::Rules,
    engine::{
        Engine,
        archive::Archive,
        assets::Assets,
        authoring::Authoring,
        catalogue::{Catalogue, MachineClock, NoCatalogue, Origin},
        decider::{Decider, Traces},
        decision_log::DecisionLog,
        deliveries::Deliveries,
        disk::Disk,
        ingest::{Ingest, IngestConfig, StreamRegistry},
        insight::Insight,
        keys::Keys,
        learning::Learning,
        members::Members,
        outcomes::{Outcomes, OutcomesConfig},
        people::People,
        products::{Keeper, Products},
        records::Records,
        rendered::Rendered,
        repeats::Repeats,
        reports::Reports,
        reservations::Reservations,
        reservoir::Reservoir,
        results::Results,
        shadows::Shadows,
        simulated::SimulatedClock,
        spending::Spending,
        tasks::Tasks,
        training::Trainer,
        transitions::Transitions,
        users::Users,
        webhooks::Webhooks,
        what_if::WhatIfs,
    },
    http::{
        accept::{self, Limits},
        admission::{Admission, AdmissionLimits},
        app::{App, Parts},
        bidding::Bidding,
        client::Proxies,
        health::Readiness,
        layers::{BODY_DEADLINE, Edge},
        player_errors::PlayerErrors,
        simulation,
    },
    outbound::HttpCourier,
    ports::{Clock, StoreError},
    schema::Schemas,
    store::{self, Opened},
    telemetry::{self, Exposition, Meters},
};

/// A running service.
pub struct Server {
    core: Core,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<accept::Drained>,
    readiness: Readiness,
    /// What was set up at the first start.
    welcome: boot::Welcome,
}

/// The engine with everything behind it, without the edge.
pub struct Core {
    /// The one face of the engine.
    pub engine: Arc<Engine>,
    /// Reads documents with all their faults.
    pub schemas: Arc<Schemas>,
    /// Handles of all metrics.
    pub meters: Meters,
    exposition: Exposition,
    opened: Opened,
    users: Users,
    reservations: Arc<Reservations>,
    reservoir: Arc<Reservoir>,
    records: Records,
    log: DecisionLog,
    deliveries: Deliveries,
    keeper: Arc<Keeper>,
    tasks: Tasks,
    notes: Option<mpsc::UnboundedReceiver<Note>>,
    listener: Arc<Notes>,
    cluster: Option<Cluster>,
    simulated: Option<Arc<SimulatedClock>>,
    /// Whether the private cluster does not run yet.
    unstarted: bool,
    origin: Option<Origin>,
}

impl Core {
    /// Puts the engine together on its store. Of the background work only that runs which keeps events.
    /// `files` is the folder in which a service keeps the last catalogue and outcomes not yet stored.
    /// Nobody else writes there, so a command, which may run beside a service, has none.
    ///
    /// # Errors
    /// The private cluster does not start, or the database cannot be reached in time and there is
    /// no catalogue on disk either.
    pub async fn open(
        config: &Config,
        guard: PathBuf,
        public_url: String,
        files: Option<&Path>,
    ) -> Result<Self, StartError> {
        let disk = Disk::new(files.map(|folder| folder.join("catalogue")));
        let database = Database::find(config, guard, disk.read_access().await.is_some()).await?;
        let opened = store::open(&database.options(config))?;
        let (meters, exposition) = telemetry::metrics();
        let simulated = config.http.simulation.then(|| Arc::new(SimulatedClock::default()));
        let clock: Arc<dyn Clock> = match &simulated {
            Some(clock) => Arc::clone(clock) as Arc<dyn Clock>,
            None => Arc::new(MachineClock),
        };
        let migrated = match &database.failure {
            Some(failure) => Err(StoreError::Unavailable(failure.to_string())),
            None => boot::prepare(&opened, clock.now(), database.patience).await,
        };
        let users = Users::new(settings::users(config)?, Arc::clone(&opened.users), &meters);
        // a second of slack: a decision is not always awake
        let settled = Duration::from_millis(config.users.lease_ms + config.decisions.budget_ms + 1_000);
        let reservations = Arc::new(Reservations::new(400_000, settled, meters.reservations_refused.clone()));
        let records = Records::new(Arc::clone(&opened.outcomes), meters.records_dropped.clone());
        let log = DecisionLog::new(Arc::clone(&opened.learning), meters.records_dropped.clone());
        let outcomes_config = OutcomesConfig {
            patience: Duration::from_millis(config.store.beacon_wait_ms),
            ..OutcomesConfig::new(files.map(|folder| folder.join("outcomes")))
        };
        let behind = (Arc::clone(&opened.outcomes), Arc::clone(&clock));
        let outcomes = Outcomes::open(outcomes_config, behind, users.clone(), Arc::clone(&reservations));
        let outcomes = outcomes.map_err(|error| StartError::Io { what: "opening the outcome log".into(), error })?;
        let catalogue = Catalogue::new(Arc::clone(&opened.catalog), Arc::clone(&clock), disk, public_url);
        let catalogue = Arc::new(catalogue);
        let mut unstarted = false;
        let origin = match migrated {
            Ok(()) => Some(catalogue.start().await?),
            Err(error) => match (catalogue.start_from_disk().await, database.failure) {
                (Some(origin), failure) => {
                    tracing::error!(%error, "the database cannot be used: the last catalogue is served without it");
                    unstarted = failure.is_some();
                    Some(origin)
                }
                (None, Some(failure)) => return Err(failure),
                (None, None) => return Err(NoCatalogue(error).into()),
            },
        };
        let learning = Learning::new(
            Arc::clone(&opened.learning),
            Arc::clone(&catalogue),
            Arc::clone(&clock),
            config.store.data.join("catalogue"),
            meters.learning_failures.clone(),
        );
        learning.start().await;
        outcomes.tell(learning.clone());
        let schemas =
            Arc::new(crate::http::openapi::schemas().map_err(|error| StartError::Internal(error.to_string()))?);
        let people = usize::try_from(config.users.sampled).unwrap_or(usize::MAX);
        let streams = Arc::new(StreamRegistry::new(Arc::clone(&opened.events)));
        let reservoir = Arc::new(Reservoir::new(Arc::clone(&opened.crowds), people, Arc::clone(&streams)));
        let known = Arc::clone(&catalogue);
        let transitions = Transitions::new(
            Arc::clone(&opened.transitions),
            Arc::clone(&opened.crowds),
            move || known.world(),
            Arc::clone(&clock),
            meters.transitions_dropped.clone(),
        );
        let told = Some((transitions.clone(), Arc::clone(&clock)));
        let ingest = Ingest::new(
            IngestConfig::default(),
            Arc::clone(&opened.events),
            users.clone(),
            streams,
            told,
            meters.clone(),
        );
        let reach = settings::reach(config);
        let courier = HttpCourier::new(reach).map_err(|error| StartError::Internal(error.to_string()))?;
        let courier = Arc::new(courier);
        let first_retry = i64::try_from(config.webhooks.first_retry_ms).unwrap_or(i64::MAX);
        let deliveries = Deliveries::new(Arc::clone(&opened.webhooks), Arc::clone(&courier) as _, first_retry);
        let products = Products::new(Arc::clone(&opened.products));
        let sample = (Arc::clone(&catalogue), Arc::clone(&reservoir));
        let keeper = Arc::new(Keeper::new(products.clone(), sample.0, sample.1, courier, Arc::clone(&clock)));
        let rendered = Rendered::new(Arc::clone(&opened.rendered), meters.records_dropped.clone());
        let archive = Archive::new(Arc::clone(&opened.outcomes), Arc::clone(&catalogue));
        let (store, live) = (Arc::clone(&opened.catalog), Arc::clone(&catalogue));
        let streams = Arc::clone(ingest.streams());
        let authoring = Authoring::new(store, live, Arc::clone(&clock), Arc::clone(&schemas), streams, reach);
        let authoring = authoring.reviewing(config.openrtb.combinations(), products.clone());
        let engine = Engine {
            ingest,
            decider: Decider::new(
                Arc::clone(&catalogue),
                users.clone(),
                Arc::clone(&reservations),
                Traces { records: records.clone(), learning: learning.clone(), log: log.clone() },
                Arc::clone(&clock),
                meters.clone(),
                config.decisions.record_share,
            ),
            outcomes,
            rendered: rendered.clone(),
            shadows: Shadows::new(Arc::clone(&opened.shadows), meters.records_dropped.clone()),
            spending: Spending::new(Arc::clone(&opened.spending), Arc::clone(&catalogue), Arc::clone(&clock)),
            what_ifs: WhatIfs::new(archive.clone(), authoring.clone(), Arc::clone(&catalogue), Arc::clone(&clock)),
            archive,
            authoring,
            people: People::new(
                Arc::clone(&opened.users),
                users.clone(),
                Arc::clone(&catalogue),
                Arc::clone(&clock),
                transitions.clone(),
                rendered,
            ),
            transitions: transitions.clone(),
            products,
            webhooks: Webhooks::new(Arc::clone(&opened.webhooks), reach),
            members: Members::new(Arc::clone(&opened.crowds), users.clone(), transitions.clone()),
            reports: Reports::new(Arc::clone(&reservoir), Arc::clone(&opened.transitions), Arc::clone(&clock)),
            results: Results::new(Arc::clone(&opened.learning), learning.clone(), Arc::clone(&clock)),
            learning,
            trainer: Trainer::new(Arc::clone(&reservoir), Arc::clone(&clock)),
            insight: Insight::new(
                Arc::clone(&reservoir),
                Arc::clone(&opened.crowds),
                Arc::clone(&opened.users),
                Arc::clone(&clock),
            ),
            keys: Keys::new(Arc::clone(&opened.catalog), Arc::clone(&catalogue), Arc::clone(&clock)),
            assets: Assets::new(Arc::clone(&opened.catalog)),
            repeats: Repeats::new(Arc::clone(&opened.catalog)),
            clock,
            catalogue,
        };
        let (listener, notes) = Notes::new(&engine, Arc::clone(&reservoir));
        let tasks = Tasks::new(meters.panics.clone());
        // From the start, because a bundle may bring events.
        for worker in 0..engine.ingest.workers() {
            let ingest = engine.ingest.clone();
            tasks.spawn("ingest", move |stop| ingest.clone().work(worker, stop));
        }
        Ok(Self {
            engine: Arc::new(engine),
            schemas,
            tasks,
            meters,
            exposition,
            opened,
            users,
            reservations,
            reservoir,
            records,
            log,
            deliveries,
            keeper,
            notes: Some(notes),
            listener,
            cluster: database.cluster,
            simulated,
            unstarted,
            origin,
        })
    }
}

impl Server {
    /// Starts the service: the store, the engine, background work, then the edge. `guard` is the
    /// binary that watches over the private cluster, Tessera's own.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config, guard: PathBuf) -> Result<Self, StartError> {
        let bind = config.http.bind;
        if config.http.simulation && !bind.ip().is_loopback() {
            return Err(StartError::Simulation);
        }
        let listener = TcpListener::bind(bind).await;
        let listener = listener.map_err(|error| StartError::Io { what: format!("listening on {bind}"), error })?;
        let address = listener.local_addr().map_err(|error| StartError::Io { what: "listening".into(), error })?;
        let public_url = config.http.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let mut core = Core::open(&config, guard, public_url, Some(&config.store.data)).await?;
        let welcome = boot::first_start(&core, &config, address).await?;
        core.run(&config);
        let admission = Admission::new(AdmissionLimits::default().scaled(config.http.lag_scale));
        let (watch, lag) = (Arc::clone(&admission), core.meters.scheduler_lag.clone());
        core.tasks.spawn("scheduler lag", move |stop| {
            let (watch, lag) = (Arc::clone(&watch), lag.clone());
            async move {
                stop.run_until_cancelled(watch.watch_lag(lag)).await;
            }
        });
        let edge = Edge::new(admission, core.meters.clone(), BODY_DEADLINE);
        let readiness = Readiness::new(&["catalogue"]);
        readiness.set("catalogue", true);
        let enrichment = Arc::new(settings::enrichment(&config)?);
        let places = Arc::clone(&enrichment);
        core.tasks.spawn("places", move |stop| Arc::clone(&places).follow(stop));
        let app = App::new(Parts {
            engine: Arc::clone(&core.engine),
            schemas: Arc::clone(&core.schemas),
            budget_ms: config.decisions.budget_ms,
            reserve_ms: config.decisions.reserve_ms,
            consent: Rules { vendor_id: config.privacy.vendor_id, gdpr_by_default: config.privacy.gdpr_by_default },
            steps: core.meters.decision_steps.clone(),
            proxies: Proxies::new(config.http.trusted_proxies.clone()),
            simulation: config.http.simulation,
            pace: Default::default(),
            enrichment,
            bidding: Bidding::new(config.openrtb.clone(), settings::taxonomies(&config)?, &core.meters),
            player_errors: PlayerErrors::new(&core.meters),
            pages: Default::default(),
        });
        let mut router = crate::http::router(app, &edge, readiness.clone(), core.exposition.clone());
        if let Some(clock) = &core.simulated {
            router = simulation::timed(router, Arc::clone(clock));
        }
        let stop = CancellationToken::new();
        let limits = Limits {
            connections: config.http.connections,
            drain: Duration::from_millis(config.http.drain_ms),
            ..Limits::default()
        };
        let (meters, stopped) = (core.meters.clone(), stop.clone());
        let serving =
            tokio::spawn(
                async move { accept::serve(listener, router, limits, &meters, stopped.cancelled_owned()).await },
            );
        tracing::info!(%address, origin = ?core.origin, "serving");
        Ok(Self { core, address, stop, serving, readiness, welcome })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The engine, for whoever runs the service in their own process.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.core.engine
    }

    /// What somebody who starts it for the first time should read.
    #[must_use]
    pub fn welcome(&self) -> String {
        self.welcome.to_string()
    }

    /// Drains: not ready, no new connections, requests under way finish, everything accepted is
    /// written, then the private cluster stops.
    pub async fn shutdown(self) {
        self.readiness.drain();
        self.stop.cancel();
        match self.serving.await {
            Ok(drained) if drained.aborted > 0 => tracing::warn!(aborted = drained.aborted, "connections were cut"),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the accept loop ended badly"),
        }
        self.core.close().await;
    }
}
