//! What happens once: migrations, the first key, the first bundle, and the words to welcome with.

use std::{
    fmt,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

use super::{Core, StartError};
use crate::{
    config::Config,
    domain::{access::Scope, values::Millis, violation::Violation},
    engine::{
        Engine,
        authoring::{
            Author,
            bundle::{Bundle, BundleError, FileFault},
            cast::person_fault,
        },
        ingest::IngestError,
        people::PeopleError,
        world::Account,
    },
    ports::{Ingested, Membership, StoreError},
    store::Opened,
};

pub use crate::engine::authoring::bundle::Imported;

/// What somebody who starts the service should read.
#[derive(Debug, Default)]
pub(super) struct Welcome {
    address: Option<SocketAddr>,
    admin: Option<Admin>,
    /// A request body that the demo answers.
    request: Option<PathBuf>,
}

/// A key that opens everything.
#[derive(Debug)]
enum Admin {
    /// The one that was made here: it is printed, as nobody else knows it.
    Made(String),
    /// The one of the settings.
    Configured,
}

impl fmt::Display for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(address) = self.address else { return Ok(()) };
        writeln!(f, "Tessera is listening on http://{address} (docs at http://{address}/docs)")?;
        let key = match &self.admin {
            None => return writeln!(f, "Make a key with: tessera keys make ops --scopes admin"),
            Some(Admin::Configured) => "$TESSERA_ADMIN_KEY",
            Some(Admin::Made(secret)) => {
                writeln!(f, "Admin key: {secret}")?;
                secret
            }
        };
        let Some(request) = &self.request else { return Ok(()) };
        writeln!(f, "Try a decision:")?;
        writeln!(f)?;
        writeln!(
            f,
            "  curl -s http://{address}/v1/decisions -H \"Authorization: Bearer {key}\" \
             -H 'Content-Type: application/json' -d '@{}'",
            request.display()
        )
    }
}

/// How long until the database is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Brings the schema up to date and makes the partitions that a start needs, trying for a while. Partitions first of
/// all that is written: making one beside the rows that belong into it turns them away.
pub(super) async fn prepare(opened: &Opened, now: Millis, patience: Duration) -> Result<(), StoreError> {
    let until = Instant::now() + patience;
    migrate(opened, until).await?;
    partitions(opened, now, until).await
}

async fn migrate(opened: &Opened, until: Instant) -> Result<(), StoreError> {
    loop {
        match time::timeout_at(until, opened.migrate()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error @ StoreError::Refused(_))) => return Err(error),
            Ok(Err(error)) if Instant::now() + PAUSE >= until => return Err(error),
            Ok(Err(_)) => time::sleep(PAUSE).await,
            Err(_) => return Err(StoreError::Timeout("the database did not answer in time".into())),
        }
    }
}

/// What is under way is not given up.
async fn partitions(opened: &Opened, now: Millis, until: Instant) -> Result<(), StoreError> {
    loop {
        let Some((_, error)) = opened.keep_partitions(now).await.into_iter().next() else { return Ok(()) };
        if !error.is_passing() || Instant::now() + PAUSE >= until {
            return Err(error);
        }
        time::sleep(PAUSE).await;
    }
}

/// Brings the schema up to date once the database is there.
pub(super) async fn migrate_later(opened: Opened, stop: CancellationToken) {
    while let Err(error) = opened.migrate().await {
        tracing::warn!(%error, "the schema could not be brought up to date yet");
        if stop.run_until_cancelled(time::sleep(Duration::from_secs(2))).await.is_none() {
            return;
        }
    }
}

/// Makes the first admin key and loads the first bundle, where there is none.
pub(super) async fn first_start(core: &Core, config: &Config, address: SocketAddr) -> Result<Welcome, StartError> {
    let mut welcome = Welcome { address: Some(address), ..Welcome::default() };
    if core.origin != Some(crate::engine::catalogue::Origin::Store) {
        return Ok(welcome);
    }
    welcome.admin = admin_key(&core.engine, config, address).await?;
    if let Some(folder) = bundle(config) {
        let world = core.engine.catalogue.world();
        let account = world.named("default").cloned();
        if let Some(account) = account {
            first_bundle(&core.engine, &account, &folder, &config.store.data).await;
        }
        // whoever reads it may be in another folder
        let request = std::path::absolute(folder.join("requests/young-buyer.json"));
        welcome.request = request.ok().filter(|request| request.exists());
    } else if config.store.database_url.is_none() {
        tracing::warn!("no folder creatives/demo was found here or beside the program, so no demo is loaded");
    }
    Ok(welcome)
}

/// Loads a bundle into an empty catalogue, or what is missing of one that was begun.
async fn first_bundle(engine: &Engine, account: &Account, folder: &Path, data: &Path) {
    // stands while a bundle is being loaded: its documents come at once, its people one by one
    let mark = data.join("bundle.unfinished");
    let (empty, begun) = (account.snapshot.version == 0, mark.exists());
    if !empty && !begun {
        return;
    }
    if let Err(error) = std::fs::create_dir_all(data).and_then(|()| std::fs::write(&mark, "")) {
        tracing::warn!(%error, "a bundle that is not loaded whole would not be noticed");
    }
    let loaded = match empty {
        true => import(engine, account, folder, false).await,
        // documents that have been changed since are left alone
        false => match engine.authoring.read_bundle(folder) {
            Ok(bundle) => populate(engine, account, bundle).await,
            Err(error) => Err(error.into()),
        },
    };
    let whole = match &loaded {
        Ok(imported) => {
            tracing::info!(folder = %folder.display(), ?imported, "loaded the first bundle");
            true
        }
        Err(error) => {
            tracing::error!(%error, folder = %folder.display(), "the first bundle was not loaded whole");
            // with faults nothing is loaded; and where no document came in, the next start begins anew
            let world = engine.catalogue.world();
            !error.faults().is_empty() || world.account(account.number()).is_none_or(|now| now.snapshot.version == 0)
        }
    };
    if whole && let Err(error) = std::fs::remove_file(&mark) {
        tracing::warn!(%error, "the people of the bundle are loaded again at the next start");
    }
}

/// The key to try the service with: the first one, which is the configured one, or one that is made
/// where only this machine can reach the service. That one is kept in the data folder, readable by
/// its owner alone, so that it can be printed again. Where there is an admin key already none is set:
/// it would bring back what was rotated away or revoked.
async fn admin_key(engine: &Engine, config: &Config, address: SocketAddr) -> Result<Option<Admin>, StartError> {
    let world = engine.catalogue.world();
    let Some(account) = world.named("default").map(|account| account.number()) else { return Ok(None) };
    let (configured, file) = (config.store.admin_key.as_ref(), config.store.data.join("admin.key"));
    let known = match configured {
        Some(secret) => Some(secret.clone()),
        None if !address.ip().is_loopback() => return Ok(None),
        None => std::fs::read_to_string(&file).ok().map(|secret| secret.trim().to_owned()),
    };
    let shown = |secret| if configured.is_some() { Admin::Configured } else { Admin::Made(secret) };
    if let Some(secret) = known.filter(|secret| world.principal(secret, engine.clock.now()).is_some()) {
        return Ok(Some(shown(secret)));
    }
    if engine.keys.list(account).await?.iter().any(|row| row.scopes.contains(&Scope::Admin)) {
        if configured.is_some() {
            tracing::warn!(
                "the configured admin key opens nothing and is not used: it is for the first one, and there is one"
            );
        }
        return Ok(None);
    }
    let id = "admin".parse().map_err(|error| StartError::Internal(format!("{error}")))?;
    let scopes = vec![Scope::Admin, Scope::Consent];
    if let Some(secret) = configured {
        engine.keys.keep(account, id, scopes, secret).await?;
        return Ok(Some(Admin::Configured));
    }
    let secret = engine.keys.make(account, id, scopes).await?;
    let mut options = std::fs::OpenOptions::new();
    let written = std::fs::create_dir_all(&config.store.data)
        .and_then(|()| options.create(true).write(true).truncate(true).mode(0o600).open(&file))
        .and_then(|mut file| file.write_all(secret.as_bytes()));
    if let Err(error) = written {
        tracing::warn!(%error, "the admin key could not be kept: note it, it is printed only now");
    }
    Ok(Some(Admin::Made(secret)))
}

/// The bundle for an empty catalogue: the configured one, or the demo where no database is named.
fn bundle(config: &Config) -> Option<PathBuf> {
    if let Some(folder) = &config.store.bundle {
        return Some(folder.clone());
    }
    if config.store.database_url.is_some() {
        return None;
    }
    let beside = std::env::current_exe().ok();
    let above = beside.iter().flat_map(|exe| exe.ancestors().skip(1).take(4)).map(Path::to_path_buf);
    let places = std::iter::once(PathBuf::new()).chain(above).chain([PathBuf::from("/usr/share/tessera")]);
    places.map(|place| place.join("creatives/demo")).find(|folder| folder.join("bundle.json").exists())
}

/// Why a folder was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Its documents.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Its people.
    #[error("{user}: {error}")]
    Person {
        /// Who.
        user: String,
        /// Why.
        error: PeopleError,
    },
    /// Its events, all of them.
    #[error(transparent)]
    Events(#[from] IngestError),
    /// Its images.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImportError {
    /// The faults of files, where that is what is wrong.
    #[must_use]
    pub fn faults(&self) -> &[FileFault] {
        match self {
            Self::Bundle(BundleError::Faults(faults)) => faults,
            _ => &[],
        }
    }
}

/// Imports a folder: images, then all documents in one commit, then people one by one, and what they
/// did. Everything is checked before anything is kept; doing it again finishes what was interrupted.
///
/// # Errors
/// Every fault of every file, and then nothing was changed; or the store's, and then what had come
/// before stays.
pub async fn import(engine: &Engine, account: &Account, folder: &Path, dry_run: bool) -> Result<Imported, ImportError> {
    let bundle: Bundle = engine.authoring.read_bundle(folder)?;
    let author = Author { account: account.number(), by: "import".into(), dry_run };
    // with a dry run everything is checked before anything is kept
    let check = Author { dry_run: true, ..author.clone() };
    let mut imported = engine.authoring.import_documents(&check, &bundle).await?;
    check_people(engine, account, &bundle).await?;
    imported.people = bundle.people.len();
    if dry_run {
        return Ok(imported);
    }
    for picture in &bundle.assets {
        engine.assets.keep(account.number(), picture.clone()).await?;
    }
    let documents = engine.authoring.import_documents(&author, &bundle).await?;
    let world = engine.catalogue.world();
    let account = world.account(account.number()).map_or(account, |account| account);
    let Imported { people, events, .. } = populate(engine, account, bundle).await?;
    Ok(Imported { people, events, ..documents })
}

/// Whether people may be changed and events be added up beside what the store knows of them.
async fn check_people(engine: &Engine, account: &Account, bundle: &Bundle) -> Result<(), ImportError> {
    let mut faults = bundle.uncountable(&engine.ingest.streamed(account.number()).await?.streams);
    for (line, person) in &bundle.people {
        let found = match engine.people.patch(account, &person.user, &person.traits.clone().into(), true).await {
            Ok(_) => continue,
            Err(PeopleError::Invalid(found)) => found,
            Err(error @ PeopleError::Erased) => vec![Violation::new("/user", "erased", error.to_string())],
            Err(error) => return Err(ImportError::Person { user: person.user.to_string(), error }),
        };
        faults.extend(found.into_iter().map(|fault| person_fault(*line, fault)));
    }
    if faults.is_empty() { Ok(()) } else { Err(BundleError::Faults(faults).into()) }
}

/// Writes the people of a bundle, and what they did. Doing it again changes nothing.
async fn populate(engine: &Engine, account: &Account, bundle: Bundle) -> Result<Imported, ImportError> {
    let people = bundle.people.len();
    for (_, person) in bundle.people {
        let failed = |error| ImportError::Person { user: person.user.to_string(), error };
        engine.people.patch(account, &person.user, &person.traits.clone().into(), false).await.map_err(failed)?;
        for list in &person.lists {
            let change = vec![(person.user.clone(), Membership::In { expires_at: None })];
            engine.people.change_members(account, list, change).await.map_err(failed)?;
        }
    }
    let (number, now) = (account.number(), engine.clock.now());
    let events = bundle.events.into_iter();
    let rows = events.map(|(_, event)| {
        let uid = account.uid(&event.user);
        event.into_row(number, uid, now)
    });
    let report = engine.ingest.ingest(number, rows.collect()).await?;
    let events = report.became.iter().filter(|became| **became == Ingested::Accepted).count();
    Ok(Imported { people, events, ..Imported::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_was_made_here_is_told() {
        let told = |admin| {
            let request = Some(PathBuf::from("/a folder/one.json"));
            Welcome { address: Some(([127, 0, 0, 1], 8080).into()), admin, request }.to_string()
        };
        let made = told(Some(Admin::Made("tsk_x".to_owned())));
        assert!(made.contains("Admin key: tsk_x\n") && made.contains("Bearer tsk_x\""), "{made}");
        let configured = told(Some(Admin::Configured));
        assert!(
            !configured.contains("Admin key") && configured.contains("\"Authorization: Bearer $TESSERA_ADMIN_KEY\"")
        );
        assert!(configured.contains("-d '@/a folder/one.json'"), "{configured}");
        assert!(!told(None).contains("curl"));
    }
}
