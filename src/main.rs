//! The command line.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use tessera::{
    config::Config,
    domain::access::Scope,
    server::{Core, Server, import},
    simulation::{Report, Scenario},
    store::embedded,
    telemetry,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Decides which creative each person sees.
///
/// Without a command the service starts. Settings come from the file that TESSERA_CONFIG names and
/// from the environment; with none at all, a private PostgreSQL cluster is started in ./data and
/// the demo is loaded.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Let requests say when they happen (`Tessera-Time`), to replay scenarios. Loopback only.
    #[arg(long)]
    simulation: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start the service (the default).
    Serve,
    /// Bring the database's schema up to date and end.
    Migrate,
    /// Import a bundle: a folder of documents, images and people, checked whole before any of it is kept.
    ///
    /// The documents go in together, people and events after them. An import that was interrupted is
    /// finished by running it again, which doubles nothing.
    Import {
        /// The folder.
        folder: PathBuf,
        /// The account.
        #[arg(long, default_value = "default")]
        account: String,
        /// Check everything and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write an account's documents and images into a folder that `import` reads; people are left out.
    Export {
        /// The folder; it must be empty or not there.
        folder: PathBuf,
        /// The account.
        #[arg(long, default_value = "default")]
        account: String,
    },
    /// Make, list or revoke API keys.
    Keys {
        /// The account.
        #[arg(long, default_value = "default")]
        account: String,
        #[command(subcommand)]
        command: Keys,
    },
    /// Say whether the settings, the database and the data folder are in order.
    Doctor,
    /// Exit with 0 if the service on the configured address is ready.
    Healthcheck,
    /// Print the OpenAPI document.
    Openapi,
    /// Replay a scenario with a known truth against the optimizer and its rivals, in this process.
    Simulate {
        /// The scenario file.
        scenario: PathBuf,
        /// Print one JSON object instead of a table and a plot.
        #[arg(long)]
        json: bool,
        /// Runs of each policy, whose mean is told.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
        seeds: u64,
    },
    /// Becomes a process of the private PostgreSQL cluster; only Tessera itself calls it.
    #[command(name = embedded::guard::SUBCOMMAND, hide = true)]
    PostgresGuard {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

#[derive(Subcommand)]
enum Keys {
    /// Make a key, or replace the secret of the one of the same id, and print it once.
    Make {
        /// The key's id.
        id: String,
        /// What it may do: decide, events, author, report, admin, consent.
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<String>,
    },
    /// List keys, without their secrets.
    List,
    /// Revoke a key.
    Revoke {
        /// The key's id.
        id: String,
    },
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tessera: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let Cli { simulation, command } = Cli::parse();
    let command = command.unwrap_or(Command::Serve);
    if let Command::PostgresGuard { args } = &command {
        match embedded::guard::run(args)? {}
    }
    if matches!(command, Command::Openapi) {
        println!("{}", tessera::http::openapi::document().to_pretty_json()?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Simulate { scenario, json, seeds } = &command {
        return simulate(scenario, *json, *seeds);
    }
    let mut config = Config::load()?;
    config.http.simulation |= simulation;
    take_small_pages();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Serve => serve(config).await,
            Command::Healthcheck => healthcheck(&config).await,
            Command::Doctor => doctor(config).await,
            Command::Migrate => open(&config).await?.finish().await,
            Command::Import { folder, account, dry_run } => {
                let core = open(&config).await?;
                let done = import_folder(&core.0, &account, &folder, dry_run).await;
                core.finish().await?;
                done
            }
            Command::Export { folder, account } => {
                let core = open(&config).await?;
                let done = export_folder(&core.0, &account, &folder).await;
                core.finish().await?;
                done
            }
            Command::Keys { account, command } => {
                let core = open(&config).await?;
                let done = keys(&core.0, &account, command).await;
                core.finish().await?;
                done
            }
            Command::Openapi | Command::Simulate { .. } | Command::PostgresGuard { .. } => Ok(ExitCode::SUCCESS),
        }
    })
}

/// Asks for memory in pages of the usual size. The allocator asks for huge ones, of which a service
/// that mostly waits fills little: 116 MB instead of 63 when idle, and no faster.
fn take_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        eprintln!("tessera: memory is taken in huge pages: {error}");
    }
}

fn simulate(path: &std::path::Path, json: bool, seeds: u64) -> anyhow::Result<ExitCode> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
    let document = serde_json::from_slice(&bytes).with_context(|| format!("{shown} is no JSON"))?;
    match Scenario::parse(&document) {
        Ok(scenario) => {
            let report = Report::of(&scenario, seeds);
            if json {
                println!("{}", report.json())
            } else {
                println!("{report}")
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            bail!("{shown} is no scenario: {} faults", faults.len());
        }
    }
}

/// Serves until the process is asked to end.
async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    telemetry::init_logs(&config.log.filter)?;
    raise_file_limit();
    let server = Server::start(config, std::env::current_exe()?).await?;
    // before anybody is told that it runs, and may ask it to end
    let ended = ended()?;
    print!("{}", server.welcome());
    ended.await;
    server.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// Every connection is a file, and many systems start processes with room for 1,024.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit on open files stays as it was");
    }
}

/// Resolves when the process is asked to end, from now on.
fn ended() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The engine for one command, without the edge.
struct Short(Core);

impl Short {
    async fn finish(self) -> anyhow::Result<ExitCode> {
        self.0.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

async fn open(config: &Config) -> anyhow::Result<Short> {
    let url = config.http.public_url.clone().unwrap_or_else(|| format!("http://{}", config.http.bind));
    Ok(Short(Core::open(config, std::env::current_exe()?, url, None).await?))
}

async fn export_folder(core: &Core, account: &str, folder: &std::path::Path) -> anyhow::Result<ExitCode> {
    let engine = &core.engine;
    let world = engine.catalogue.world();
    let number = world.named(account).with_context(|| format!("there is no account {account}"))?.number();
    let files = engine.authoring.export_to(&engine.assets, number, folder).await?;
    println!("exported {files} files to {}", folder.display());
    Ok(ExitCode::SUCCESS)
}

async fn import_folder(
    core: &Core,
    account: &str,
    folder: &std::path::Path,
    dry_run: bool,
) -> anyhow::Result<ExitCode> {
    let world = core.engine.catalogue.world();
    let account = world.named(account).with_context(|| format!("there is no account {account}"))?;
    match import(&core.engine, account, folder, dry_run).await {
        Ok(done) => {
            let verb = if dry_run { "would import" } else { "imported" };
            println!(
                "{verb} {} documents, {} images, {} people, {} events; published {} creatives",
                done.documents, done.assets, done.people, done.events, done.published
            );
            for warning in &done.warnings {
                eprintln!("warning: {}: {}", warning.file, warning.fault);
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            for fault in error.faults() {
                eprintln!("{}: {}", fault.file, fault.fault);
            }
            bail!("{}: {error}", folder.display());
        }
    }
}

async fn keys(core: &Core, account: &str, command: Keys) -> anyhow::Result<ExitCode> {
    let world = core.engine.catalogue.world();
    let number = world.named(account).with_context(|| format!("there is no account {account}"))?.number();
    match command {
        Keys::Make { id, scopes } => {
            let scope = |name: &String| {
                serde_json::from_value::<Scope>(name.as_str().into()).with_context(|| format!("{name} is no scope"))
            };
            let scopes = scopes.iter().map(scope).collect::<Result<_, _>>()?;
            println!("{}", core.engine.keys.make(number, id.parse()?, scopes).await?);
        }
        Keys::List => {
            for key in core.engine.keys.list(number).await? {
                println!("{}\t{}\t{}", key.id, serde_json::to_string(&key.scopes)?, key.created_at);
            }
        }
        Keys::Revoke { id } => {
            core.engine.keys.revoke_any(number, &id.parse()?).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks a running service whether it is ready.
async fn healthcheck(config: &Config) -> anyhow::Result<ExitCode> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut address = config.http.bind;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let asked = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    let ready = tokio::time::timeout(std::time::Duration::from_secs(3), asked).await.context("no answer in 3 s")??;
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Opens everything once and says what it found.
async fn doctor(config: Config) -> anyhow::Result<ExitCode> {
    println!("settings: in order (listening on {})", config.http.bind);
    println!("data folder: {}", config.store.data.display());
    let core = open(&config).await?.0;
    let world = core.engine.catalogue.world();
    for account in world.accounts() {
        let snapshot = &account.snapshot;
        println!(
            "account {}: catalogue version {}, {} campaigns, {} creatives, {} segments",
            account.id(),
            snapshot.version,
            snapshot.lines.len(),
            snapshot.creatives.len(),
            snapshot.rules.len()
        );
        for (document, faults) in &snapshot.faults {
            for fault in faults {
                println!("  {document} is left out: {fault}");
            }
        }
        for (document, held) in &snapshot.held {
            for fault in held {
                println!("  {document} serves, with a part held back: {fault}");
            }
        }
    }
    let sound = world.accounts().all(|account| account.snapshot.faults.is_empty());
    core.close().await;
    println!("database: in order");
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
