//! What the store promises, checked on every backend it runs on.
//!
//! The private cluster is always there; `TESSERA_TEST_DATABASE_URL` names another server, on which
//! the run makes a database of its own and drops it again.
#![expect(clippy::disallowed_methods, reason = "tests have settings and ids of their own")]

mod catalog;
mod events;
#[path = "../support/family.rs"]
mod family;
mod faults;
mod feed;
mod figures;
mod identity;
mod lessons;
mod outcomes;
mod people;
mod standings;
mod suite;
mod webhooks;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use suite::{Place, runtime};
use tempfile::TempDir;
use tessera::store::embedded::{self, PrivateCluster, search_folders};

/// A cluster of our own in a folder that goes with it.
fn cluster() -> (Place, PrivateCluster, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a mode");
    let (path, home) = (std::env::var_os("PATH"), std::env::var_os("HOME").map(PathBuf::from));
    let cluster = PrivateCluster::start(embedded::Options {
        data_dir: folder.path().into(),
        guard: env!("CARGO_BIN_EXE_tessera").into(),
        binaries: None,
        search: search_folders(path.as_deref(), home.as_deref()),
    })
    .expect("the cluster starts");
    let place = Place { url: cluster.url(), data: Some(folder.path().into()) };
    (place, cluster, folder)
}

#[test]
fn on_the_private_cluster() {
    let (place, _cluster, _folder) = cluster();
    suite::run(Arc::new(place));
}

#[test]
#[ignore = "prints figures and checks nothing"]
fn figures() {
    let (place, _cluster, _folder) = cluster();
    runtime().block_on(async {
        place.open().migrate().await.expect("the schema");
        figures::print(place).await;
    });
}

#[test]
fn on_the_database_of_the_environment() {
    let Ok(url) = std::env::var("TESSERA_TEST_DATABASE_URL") else {
        eprintln!("TESSERA_TEST_DATABASE_URL is not set: only the private cluster is checked");
        return;
    };
    let name = format!("tessera_test_{}", uuid::Uuid::now_v7().simple());
    let execute = |sql: String| {
        runtime().block_on(async {
            let mut connection = PgConnection::connect(&url).await.expect("the server answers");
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("a statement of the frame");
        });
    };
    execute(format!("create database {name}"));
    let options: PgConnectOptions = url.parse().expect("a database URL");
    let place = Place { url: suite::url_of(&options.database(&name)), data: None };
    let ended = std::panic::catch_unwind(|| suite::run(Arc::new(place)));
    execute(format!("drop database {name} with (force)"));
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}
