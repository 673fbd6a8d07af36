//! The ports on PostgreSQL: lanes of connections, the schema and the one table of errors.

mod assets;
mod attribution;
mod catalog;
mod changes;
mod commit;
mod crowds;
mod events;
mod history;
mod identity;
mod learning;
mod leftovers;
mod outcomes;
mod products;
mod rendered;
mod repeats;
mod shadow;
mod spending;
mod standings;
mod transitions;
mod units;
mod users;
mod webhooks;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    str::FromStr,
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Error, PgConnection, PgPool, Postgres,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};

pub(super) use self::{
    catalog::Catalog, changes::Changes, crowds::Crowds, events::Events, learning::Learning, outcomes::Outcomes,
    products::Products, rendered::Rendered, shadow::Shadows, spending::Spending, transitions::Transitions,
    users::Users, webhooks::Webhooks,
};
use super::Options;
use crate::ports::{Answer, StoreError};

/// What a call does with its connection.
type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'c>>;

/// Longest that opening the feed's or the migration's own connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const INGEST_LIMIT: Duration = Duration::from_secs(5);
/// Longest that a single call of an upload may take.
const UPLOAD_LIMIT: Duration = Duration::from_secs(60);
const ADMIN_LIMIT: Duration = Duration::from_secs(30);

/// Separate pools, so that reports cannot starve decisions.
pub(super) struct Lanes {
    serving: Lane,
    ingest: Lane,
    admin: Lane,
    /// For connections outside the pools.
    connect: PgConnectOptions,
    /// The same for those that look people up by key.
    by_key: PgConnectOptions,
}

impl Lanes {
    pub(super) fn new(options: &Options) -> Result<Self, StoreError> {
        let connect = PgConnectOptions::from_str(&options.url)
            .map_err(|_| StoreError::Refused("the database URL cannot be read".into()))?
            .application_name("tessera")
            .disable_statement_logging()
            .options([("idle_in_transaction_session_timeout", "10s"), ("jit", "off")]);
        // People are looked up and changed by primary key, whatever the statistics say of the moment
        // (the statements leave the planner no other way round), and planned once: there are few
        // statements, and planning over partitions costs more than running.
        let by_key = connect.clone().options([
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("plan_cache_mode", "force_generic_plan"),
        ]);
        let (serving, ingest, admin) =
            (options.serving_connections, options.ingest_connections, options.admin_connections);
        Ok(Self {
            serving: Lane::new(by_key.clone(), serving, options.serving_limit / 4, options.serving_limit),
            ingest: Lane::new(by_key.clone(), ingest, Duration::from_secs(1), INGEST_LIMIT),
            admin: Lane::new(connect.clone(), admin, Duration::from_secs(2), ADMIN_LIMIT),
            connect,
            by_key,
        })
    }
}

/// A pool whose calls have a time limit.
#[derive(Clone)]
struct Lane {
    pool: PgPool,
    limit: Duration,
}

impl Lane {
    /// How long to wait for a connection before it is asked whether the server can be reached.
    const PATIENCE: Duration = Duration::from_millis(3);

    fn new(connect: PgConnectOptions, connections: u32, acquire: Duration, limit: Duration) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(acquire)
            .max_lifetime(Duration::from_secs(600))
            .idle_timeout(Duration::from_secs(300))
            // A ping before each use would double the round trips; one that has rested may be dead.
            .test_before_acquire(false)
            .before_acquire(|connection, resting| {
                Box::pin(async move {
                    if resting.idle_for > Duration::from_secs(1) {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(limited(connect, limit));
        Self { pool, limit }
    }

    /// A connection. The pool tries one that is refused again until its time is up; a caller should
    /// know at once.
    async fn connection(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        let mut acquired = pin!(self.pool.acquire());
        let acquired = match timeout(Self::PATIENCE, &mut acquired).await {
            Ok(acquired) => acquired,
            Err(_) => {
                let connect = self.pool.connect_options();
                tokio::select! {
                    acquired = acquired => acquired,
                    () = refused(&connect) => return Err(StoreError::Unavailable("it refuses connections".into())),
                }
            }
        };
        acquired.map_err(|error| match error {
            // The pool hides why it could not connect.
            Error::PoolTimedOut if self.pool.size() == 0 => StoreError::Unavailable("it cannot be reached".into()),
            error => error.into(),
        })
    }

    /// Runs `work` on a connection, in a task that outlives a caller who gives up.
    fn run<T, W>(&self, work: W) -> Answer<'static, T>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T> + Send + 'static,
    {
        let lane = self.clone();
        let limit = self.limit;
        detached(async move {
            let mut connection = lane.connection().await?;
            match timeout(limit, work(&mut connection)).await {
                Ok(Err(error)) => {
                    if is_dead(&error) {
                        connection.close_on_drop();
                    }
                    Err(error.into())
                }
                Ok(Ok(value)) => Ok(value),
                Err(_) => {
                    drop(connection.detach());
                    Err(StoreError::Timeout("no answer in time".into()))
                }
            }
        })
    }
}

/// Resolves when the server refuses to be connected to.
async fn refused(connect: &PgConnectOptions) {
    let (host, port) = (connect.get_host(), connect.get_port());
    let folder =
        connect.get_socket().map(PathBuf::as_path).or_else(|| Some(Path::new(host)).filter(|p| p.is_absolute()));
    let reached = match folder {
        Some(folder) => UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await.map(drop),
        None => TcpStream::connect((host, port)).await.map(drop),
    };
    // whatever else keeps a connection from being made is the pool's to tell
    if !reached.is_err_and(|error| matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound)) {
        std::future::pending::<()>().await;
    }
}

/// The server's own limit on a statement, a little below the caller's so that it answers first.
fn limited(connect: PgConnectOptions, limit: Duration) -> PgConnectOptions {
    connect.options([("statement_timeout", limit.mul_f32(0.9).as_millis())])
}

/// Runs a call in its own task, so that dropping the answer cancels nothing.
fn detached<T: Send + 'static>(
    call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Answer<'static, T> {
    Box::pin(async move {
        match tokio::spawn(call).await {
            Ok(result) => result,
            Err(end) if end.is_panic() => Err(StoreError::Refused("a call panicked".into())),
            Err(_) => Err(StoreError::Unavailable("shutting down".into())),
        }
    })
}

/// The schema and its migrations.
#[derive(Clone)]
pub(super) struct Schema {
    connect: PgConnectOptions,
    catalog: Catalog,
}

static MIGRATIONS: Migrator = sqlx::migrate!();

impl Schema {
    pub(super) fn new(lanes: &Lanes) -> Self {
        Self { connect: lanes.connect.clone(), catalog: Catalog::new(lanes) }
    }

    /// Waits for others who migrate, and takes as long as it takes.
    pub(super) fn migrate(&self) -> Answer<'static, ()> {
        let Self { connect, catalog } = self.clone();
        detached(async move {
            let mut connection = dial(&connect).await?;
            MIGRATIONS.run_direct(None, &mut connection, false).await?;
            connection.close().await?;
            catalog.ensure_default().await
        })
    }
}

/// A connection outside the pools.
async fn dial(connect: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    match timeout(CONNECT_LIMIT, connect.connect()).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(StoreError::Timeout("no connection in time".into())),
    }
}

/// Whether the server behind a connection no longer is one to write to, so that the next
/// connection may find its successor.
fn is_dead(error: &Error) -> bool {
    sqlstate(error).is_some_and(|code| code == "25006" || code.starts_with("57P0"))
}

/// How often a transaction is tried again because another replica was faster.
const TRIES: usize = 5;

/// How a transaction ended, of which another try may be worth while: somebody was faster, or it was
/// the victim of a deadlock.
fn settled<T>(tried: Result<Option<T>, Error>, tries: &mut usize) -> Option<Result<T, Error>> {
    *tries += 1;
    match tried {
        Ok(Some(done)) => Some(Ok(done)),
        Err(error) if sqlstate(&error).as_deref() != Some("40P01") => Some(Err(error)),
        _ if *tries == TRIES => Some(Err(Error::Io(std::io::ErrorKind::ResourceBusy.into()))),
        _ => None,
    }
}

fn sqlstate(error: &Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(Into::into)
}

/// The one place where the database's errors become the store's. The messages name no data:
/// the database's own are left out where it quotes what it was given (class 22).
impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        if let Some(code) = sqlstate(&error) {
            let message = match (&error, code.starts_with("22")) {
                (Error::Database(database), false) => format!("{code}: {}", database.message()),
                _ => code.clone(),
            };
            return match code.as_str() {
                "57014" | "55P03" => Self::Timeout(message),
                // Read-only, recovering, shutting down, crashed, lost, full, refused at the door, or
                // chosen as the victim of a deadlock: all worth another try.
                "25006" | "25P03" | "55000" | "40001" | "40P01" => Self::Unavailable(message),
                // A check without a name is that of a partition made while the row was on its way.
                "23514" if error.as_database_error().is_some_and(|error| error.constraint().is_none()) => {
                    Self::Unavailable(message)
                }
                code if ["08", "28", "3D", "53", "57P", "58"].iter().any(|class| code.starts_with(class)) => {
                    Self::Unavailable(message)
                }
                code if code.starts_with("XX") => Self::Corrupt(message),
                _ => Self::Refused(message),
            };
        }
        match error {
            Error::PoolTimedOut => Self::Busy,
            Error::Io(error) => Self::Unavailable(error.kind().to_string()),
            Error::Tls(error) => Self::Unavailable(error.to_string()),
            Error::Protocol(_) | Error::PoolClosed | Error::WorkerCrashed | Error::BeginFailed => {
                Self::Unavailable("the connection broke".into())
            }
            Error::ColumnDecode { index, .. } => Self::Corrupt(format!("column {index}")),
            Error::Decode(_) => Self::Corrupt("a value".into()),
            Error::RowNotFound => Self::Refused("no such account".into()),
            Error::Migrate(error) => (*error).into(),
            error => Self::Refused(error.to_string()),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            error => Self::Refused(error.to_string()),
        }
    }
}
